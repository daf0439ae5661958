"""What a table compares and how its runs are trained, as data: rows, cells, tables and budgets, and the runs
that they make.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from lnlib.catalog import METHODS
from lnlib.errors import InvalidValue, unknown_name
from lnlib.papers.spec import GIVEN, Spec

Options = Mapping[str, Any]
Grid = tuple[Options, ...]


def nothing(run: Spec) -> Options:
    """No options."""
    return {}


@dataclass(frozen=True)
class Row:
    """A method of a table: its name here, its name in the paper's table, what it always sets, and what it
    takes from the run that it is part of (its epochs, its noise).
    """

    name: str
    paper: str
    method: str
    options: Options = field(default_factory=dict)
    options_of: Callable[[Spec], Options] = nothing

    @property
    def base(self) -> str:
        """The row whose grid and patience it shares."""
        return self.name.partition("+init")[0]


@dataclass(frozen=True)
class Cell:
    """A column of a table: the noise with its options, its rate, the number of training images (None for
    all), and how many times more images the largest class has than the smallest.

    `printed` is what the shipped table calls the noise, where that is not `noise`.
    """

    noise: str
    rate: float
    train_size: int | None = None
    imbalance: float = 1.0
    noise_options: Options = field(default_factory=dict)
    printed: str = ""
    heading: str = ""

    @property
    def parts(self) -> dict[str, str]:
        """What `--cells` selects by."""
        size = "all" if self.train_size is None else str(self.train_size)
        kind = "real" if self.noise == GIVEN else self.noise
        return {"noise": kind, "p": f"{self.rate:g}", "n": size, "factor": f"{self.imbalance:g}"}

    @property
    def fields(self) -> Options:
        """The cell as fields of a run. Clean labels are written in one way, so that tables share the runs."""
        if self.noise != GIVEN and self.rate == 0:
            return {"noise": "uniform", "rate": 0.0, "imbalance": self.imbalance}
        noise = {"noise": self.noise, "rate": self.rate, "noise_options": dict(self.noise_options)}
        return noise | {"imbalance": self.imbalance}


@dataclass(frozen=True)
class Budget:
    """A protocol: epochs, patience, grids, seeds, and what it makes unless asked for more.

    With few training images an epoch has few steps: `stretch` says for a number of images n how many times
    the epochs are trained, and after how many of them a run is evaluated. `patience` finds the row in the map
    of the noise, or else the entry "".
    """

    name: str
    title: str
    grids: Mapping[str, Grid]
    epochs: int | None = None
    """the table's own unless given"""
    train_size: int | None = None
    """at most so many training images"""
    cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """by table; all where it is missing"""
    seeds: tuple[int, ...] | None = None
    """the table's own unless given"""
    stretch: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    patience: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def patience_of(self, row: str, noise: str) -> int | None:
        """How many epochs after its best one a row stops; None for never."""
        own = self.patience.get(noise, {})
        return own.get(row, own.get(row.partition("+init")[0], own.get("")))

    def grid(self, row: Row) -> Grid:
        """The settings from which noisy validation chooses."""
        return self.grids.get(row.name, self.grids.get(row.base, ({},)))


@dataclass(frozen=True)
class Table:
    """One of the papers' tables: `source` is the file with its numbers, whose rows for all images say
    `largest`, or nothing that counts.

    The runs take their fields from `setups`, by data set ("" for another). `milestones` are the shares of
    the epochs after which the learning rate falls. Other data than in `datasets`, which gives their names in
    the source, is set beside the numbers for `dataset`.
    """

    name: str
    title: str
    source: str
    dataset: str
    datasets: Mapping[str, str]
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    names: tuple[str, ...]
    """which parts of a cell its heading names"""
    seeds: tuple[int, ...]
    epochs: int
    setups: Mapping[str, Options]
    budgets: Mapping[str, Budget]
    largest: int | None = None
    milestones: tuple[float, ...] = ()
    metrics: tuple[str, ...] = ("best",)
    """which accuracies it shows: at the best noisy-validation epoch, and the mean of the last epochs"""
    note: str = ""
    """what a reader has to know of all its numbers"""

    def heading(self, cell: Cell) -> str:
        """A cell in a few words: "p=0.5, n=1000"."""
        if cell.heading:
            return cell.heading
        parts = cell.parts
        words = [parts["noise"]] if "noise" in self.names else []
        return ", ".join([*words, *(f"{name}={parts[name]}" for name in self.names if name != "noise")])


def grid(**values: Sequence[Any]) -> Grid:
    """All combinations: grid(beta=(3, 10), sigma=(0.1,))."""
    return tuple(dict(zip(values, chosen, strict=True)) for chosen in product(*values.values()))


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
        is_number = name in ("p", "factor") and re.fullmatch(r"\d*\.?\d+|\d+\.", value)
        as_printed = f"{float(value):g}" if is_number else value
        if as_printed not in known[name]:
            raise unknown_name(f"{name} of {table.name}", value, known[name])
        wanted[name] = as_printed
    if not any(wanted.items() <= other.parts.items() for other in table.cells):
        raise InvalidValue(f"--cells must name a cell of {table.name}, got {text!r}; leave a part out")
    return wanted.items() <= cell.parts.items()


def cell_runs(
    table: Table,
    dataset: str,
    row: Row,
    cell: Cell,
    budget: Budget,
    seeds: Sequence[int],
    epochs: int | None = None,
    limit: int | None = None,
) -> list[tuple[Options, tuple[Spec, ...]]]:
    """The settings of a cell's grid, each with its runs by seed; `limit` bounds the training images."""
    setup = table.setups.get(dataset, table.setups[""])
    times, evaluate_every = budget.stretch.get(cell.train_size or 0, (1, 1))
    length = next(n for n in (epochs, budget.epochs, table.epochs) if n is not None) * times
    patience = budget.patience_of(row.name, cell.noise)
    source = budget.patience_of(table.rows[0].name, cell.noise)
    fields = {
        **setup,
        **cell.fields,
        "dataset": dataset,
        "train_size": min((n for n in (cell.train_size, limit) if n is not None), default=None),
        "epochs": length,
        "evaluate_every": evaluate_every,
        "patience": patience,
    }
    if table.milestones:
        steps = [round(share * length) for share in table.milestones]
        fields["optimizer_options"] = {**setup.get("optimizer_options", {}), "milestones": steps}
    options = {**row.options, **row.options_of(Spec.parse(fields))}
    begins_from_another = bool(METHODS[row.method].load()(**options).warm_start)
    fields |= {
        "method": row.method,
        "source_options": {"patience": source} if begins_from_another and source != patience else {},
    }
    return [
        (
            setting,
            tuple(
                Spec.parse({**fields, "method_options": {**options, **setting}, "seed": seed})
                for seed in seeds
            ),
        )
        for setting in budget.grid(row)
    ]
