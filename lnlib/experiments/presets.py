"""What the tables of LIMIT compare, and on which budgets: rows, cells and protocols as data.

LIMIT, section 4, and its reference code for grids and patience.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from lnlib.errors import InvalidValue, unknown_name
from lnlib.experiments.run import Run
from lnlib.methods import METHODS
from lnlib.methods.limit import lambda_to_sigma

Options = Mapping[str, Any]
Grid = tuple[Options, ...]


@dataclass(frozen=True)
class Row:
    """A method of a table: its name here, its name in the paper's table, and what it always sets."""

    name: str
    paper: str
    method: str
    options: Options = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The row whose grid and patience it shares."""
        return self.name.partition("+init")[0]


@dataclass(frozen=True)
class Cell:
    """A column of a table: the noise, its rate, and the number of training images (None for all)."""

    noise: str
    rate: float
    train_size: int | None = None

    @property
    def parts(self) -> dict[str, str]:
        """What `--cells` selects by."""
        size = "all" if self.train_size is None else str(self.train_size)
        return {"noise": self.noise, "p": f"{self.rate:g}", "n": size}


@dataclass(frozen=True)
class Table:
    """One of the paper's tables: `source` is the file with its numbers, whose rows for all images say
    `largest`.
    """

    name: str
    title: str
    source: str
    dataset: str
    largest: int
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    names: tuple[str, ...]
    """which parts of a cell its heading names"""
    seeds: tuple[int, ...]

    def heading(self, cell: Cell) -> str:
        """A cell in a few words: "p=0.5, n=1000"."""
        parts = cell.parts
        words = [parts["noise"]] if "noise" in self.names else []
        return ", ".join([*words, *(f"{name}={parts[name]}" for name in self.names if name != "noise")])


def gaussian_and_laplace(suffix: str, paper: str, **options: Any) -> tuple[Row, Row]:
    """The two rows that a variant of LIMIT has."""
    return (
        Row(f"limit-g{suffix}", f"LIMIT_G{paper}", "limit", {"q": "gaussian", **options}),
        Row(f"limit-l{suffix}", f"LIMIT_L{paper}", "limit", {"q": "laplace", **options}),
    )


CE = Row("ce", "CE", "cross-entropy")
MAE = Row("mae", "MAE", "mae")
FW = Row("fw", "FW", "forward-correction")
DMI = Row("dmi", "DMI", "dmi")

TABLE1 = Table(
    name="limit-table1",
    title="LIMIT, Table 1: MNIST with uniform label noise",
    source="limit_table1.csv",
    dataset="MNIST",
    largest=48000,
    rows=(
        CE,
        Row("ce+gn", "CE+GN", "noisy-gradients", {"noise": "gaussian"}),
        Row("ce+ln", "CE+LN", "noisy-gradients", {"noise": "laplace"}),
        MAE,
        FW,
        DMI,
        Row("soft-reg", "Soft reg. (eq. 11)", "soft-regularization"),
        *gaussian_and_laplace("+s", " +S", sampling=True),
        *gaussian_and_laplace("-s", " -S"),
    ),
    cells=tuple(Cell("uniform", p, n) for p in (0.0, 0.5, 0.8, 0.89) for n in (1000, 10000, None)),
    names=("p", "n"),
    seeds=(42, 43, 44, 45, 46),
)
TABLE2 = Table(
    name="limit-table2",
    title="LIMIT, Table 2: CIFAR with uniform and pair label noise",
    source="limit_table2.csv",
    dataset="CIFAR-10",
    largest=40000,
    rows=(
        CE,
        MAE,
        FW,
        DMI,
        *gaussian_and_laplace("", ""),
        *gaussian_and_laplace("+init", " + init.", init="cross-entropy"),
    ),
    cells=(
        *(Cell("uniform", p) for p in (0.0, 0.2, 0.4, 0.6, 0.8)),
        *(Cell("pair", p) for p in (0.1, 0.2, 0.3, 0.4)),
    ),
    names=("noise", "p"),
    seeds=(42,),
)
TABLES: Mapping[str, Table] = {table.name: table for table in (TABLE1, TABLE2)}


@dataclass(frozen=True)
class Setup:
    """How a data set is learned: the network, the batches and the augmentation."""

    net: str
    batch_size: int
    augment: bool = False


SETUPS: Mapping[str, Setup] = {
    "digits": Setup("mlp", 64),
    "mnist": Setup("cnn", 256),
    "fashion-mnist": Setup("cnn", 256),
    "cifar-10": Setup("resnet34", 256, augment=True),
    "cifar-10-jpeg": Setup("resnet34", 256, augment=True),
    "cifar-100": Setup("resnet34", 256, augment=True),
}
PAPER_DATASETS: Mapping[str, str] = {
    "mnist": "MNIST",
    "cifar-10": "CIFAR-10",
    "cifar-10-jpeg": "CIFAR-10",
    "cifar-100": "CIFAR-100",
}


@dataclass(frozen=True)
class Budget:
    """A protocol: epochs, patience, grids, seeds, and what it makes unless asked for more.

    With few training images an epoch has few steps: `stretch` says for a number of images n how many times
    the epochs are trained; they are evaluated that much more rarely. `patience` finds the row in the map of
    the noise, or else the entry "".
    """

    name: str
    title: str
    epochs: int
    grids: Mapping[str, Grid]
    cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """by table; all where it is missing"""
    seeds: tuple[int, ...] | None = None
    """the table's own unless given"""
    stretch: Mapping[int, int] = field(default_factory=dict)
    patience: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def patience_of(self, row: str, noise: str) -> int | None:
        """How many epochs after its best one a row stops; None for never."""
        own = self.patience.get(noise, {})
        return own.get(row, own.get(row.partition("+init")[0], own.get("")))

    def grid(self, row: Row) -> Grid:
        """The settings from which noisy validation chooses."""
        return self.grids.get(row.name, self.grids.get(row.base, ({},)))


def grid(**values: Sequence[Any]) -> Grid:
    """All combinations: grid(beta=(3, 10), sigma=(0.1,))."""
    return tuple(dict(zip(values, chosen, strict=True)) for chosen in product(*values.values()))


def sigmas(q: str, lambdas: Sequence[float]) -> tuple[float, ...]:
    """The standard deviations of q that the reference code's λ stand for."""
    return tuple(round(lambda_to_sigma(lam, q), 4) for lam in lambdas)  # type: ignore[arg-type]


BETAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
PAPER_GRIDS: Mapping[str, Grid] = {
    **{f"ce+{q}n": grid(std=(0.01, 0.03, 0.1, 0.3), scale=("reference",)) for q in "gl"},
    "dmi": grid(lr=(1e-3, 1e-4, 1e-5, 1e-6)),
    "soft-reg": grid(lam=(0.001, 0.01, 0.03, 0.1), beta=(0.0, 0.01, 0.1, 1.0, 10.0)),
    "limit-g+s": grid(beta=BETAS, sigma=sigmas("gaussian", (5, 50, 500, 5000))),
    "limit-l+s": grid(beta=BETAS, sigma=sigmas("laplace", (5, 10, 30, 100))),
    **{f"limit-{q}-s": grid(beta=BETAS) for q in "gl"},
    **{f"limit-{q}": grid(beta=BETAS[:-1]) for q in "gl"},
}
SHORT_GRIDS: Mapping[str, Grid] = {
    **{f"ce+{q}n": grid(std=(0.1, 1.0)) for q in "gl"},
    "dmi": grid(lr=(1e-3, 1e-4)),
    "soft-reg": grid(lam=(0.01,)),
    **{f"limit-{q}+s": grid(beta=(3.0, 10.0), sigma=(0.1,)) for q in "gl"},
    **{f"limit-{q}-s": grid(beta=(3.0, 10.0)) for q in "gl"},
    **{f"limit-{q}": grid(beta=(3.0, 10.0)) for q in "gl"},
}
SHORT_CELLS = {"limit-table2": ("noise=uniform,p=0.4", "noise=pair,p=0.4")}

BUDGETS: Mapping[str, Budget] = {
    budget.name: budget
    for budget in (
        Budget(
            name="quick",
            title="short grids, no early stopping, one seed: a minute or two on digits",
            epochs=40,
            grids=SHORT_GRIDS,
            cells={"limit-table1": ("p=0.5,n=all", "p=0.8,n=all"), **SHORT_CELLS},
            seeds=(42,),
        ),
        Budget(
            name="laptop",
            title="short grids, no early stopping, one seed: MNIST in an evening on two cores",
            epochs=15,
            grids=SHORT_GRIDS,
            cells={
                "limit-table1": ("p=0.5,n=1000", "p=0.5,n=all", "p=0.8,n=1000", "p=0.8,n=all"),
                **SHORT_CELLS,
            },
            seeds=(42,),
            stretch={1000: 10, 10000: 3},
        ),
        Budget(
            name="paper",
            title="the paper's grids, seeds and epochs, and the reference code's patience, unequal as it is",
            epochs=400,
            grids=PAPER_GRIDS,
            patience={
                "uniform": {"": 100, "limit-g": 200, "limit-l": 200},
                "pair": {
                    "": 50,
                    "dmi": 100,
                    "limit-g": 100,
                    "limit-l": 100,
                    "limit-g+init": 200,
                    "limit-l+init": 200,
                },
            },
        ),
        Budget(
            name="equal",
            title="the paper's grids, seeds and epochs, and the same patience for all rows",
            epochs=400,
            grids=PAPER_GRIDS,
            patience={"uniform": {"": 200}, "pair": {"": 200}},
        ),
    )
}


def named_rows(table: Table, names: Sequence[str] | None) -> tuple[Row, ...]:
    """The rows called `names`, all without; raises `UnknownName`."""
    known = {row.name: row for row in table.rows}
    known |= {re.sub(r"\s", "", row.paper.lower()): row for row in table.rows}
    wanted = [re.sub(r"\s", "", name.lower()) for name in names or ()]
    for name in wanted:
        if name not in known:
            raise unknown_name(f"row of {table.name}", name, [row.name for row in table.rows])
    return tuple(row for row in table.rows if not wanted or row in [known[name] for name in wanted])


def named_cells(table: Table, texts: Sequence[str] | None) -> tuple[Cell, ...]:
    """The cells that any of the texts selects ("p=0.5,n=all", "p=0.8"), all without.

    Raises `UnknownName` for a part that no cell has and `InvalidValue` where nothing is selected.
    """
    return tuple(
        cell for cell in table.cells if not texts or any(_selects(table, text, cell) for text in texts)
    )


def _selects(table: Table, text: str, cell: Cell) -> bool:
    known = {name: {other.parts[name] for other in table.cells} for name in table.names}
    wanted = {}
    for part in text.replace(" ", "").split(","):
        name, equals, value = part.partition("=")
        if not equals:
            example = ",".join(f"{key}={table.cells[-1].parts[key]}" for key in table.names)
            raise InvalidValue(f"--cells takes NAME=VALUE, got {part!r}; try {example}")
        if name not in known:
            raise unknown_name(f"part of a cell of {table.name}", name, known)
        with_zero = f"{float(value):g}" if name == "p" and re.fullmatch(r"[\d.]*\d[\d.]*", value) else value
        if with_zero not in known[name]:
            raise unknown_name(f"{name} of {table.name}", value, known[name])
        wanted[name] = with_zero
    if not any(wanted.items() <= other.parts.items() for other in table.cells):
        raise InvalidValue(f"--cells must name a cell of {table.name}, got {text!r}; leave a part out")
    return wanted.items() <= cell.parts.items()


def cell_runs(
    dataset: str,
    row: Row,
    cell: Cell,
    budget: Budget,
    seeds: Sequence[int],
    epochs: int | None = None,
    limit: int | None = None,
) -> list[tuple[Options, tuple[Run, ...]]]:
    """The settings of a cell's grid, each with its runs by seed; `limit` bounds the training images."""
    setup = SETUPS.get(dataset, Setup("cnn", 256))
    stretch = budget.stretch.get(cell.train_size or 0, 1)
    size = min((n for n in (cell.train_size, limit) if n is not None), default=None)
    patience = budget.patience_of(row.name, cell.noise)
    source = budget.patience_of(CE.name, cell.noise)
    begins_from_ce = bool(METHODS[row.method](**row.options).warm_start)
    fields = {
        "dataset": dataset,
        "train_size": size,
        "noise": cell.noise,
        "rate": cell.rate,
        "method": row.method,
        "source_options": {"patience": source} if begins_from_ce and source != patience else {},
        "net": setup.net,
        "epochs": (budget.epochs if epochs is None else epochs) * stretch,
        "batch_size": setup.batch_size,
        "evaluate_every": stretch,
        "patience": patience,
        "augment": setup.augment,
    }
    return [
        (
            setting,
            tuple(
                Run.parse({**fields, "method_options": {**row.options, **setting}, "seed": seed})
                for seed in seeds
            ),
        )
        for setting in budget.grid(row)
    ]
