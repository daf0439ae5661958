"""The papers' tables with our numbers beside: what `lnlib reproduce` makes.

LIMIT, Tables 1 and 2; MetaInfoNet, Tables 1 to 6. The setting of a row is chosen by noisy validation; the
test set is only reported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lnlib.analysis.bootstrap import bootstrap_std
from lnlib.errors import InvalidValue, unknown_name
from lnlib.files import write_csv, write_text
from lnlib.papers import runner
from lnlib.papers.presets import (
    TABLES,
    Budget,
    Cell,
    Options,
    Row,
    Table,
    cell_runs,
    named_cells,
    named_rows,
)
from lnlib.papers.printed import paper_table
from lnlib.papers.spec import GIVEN, Spec
from lnlib.papers.store import LAST_EPOCHS, Result, Store

Grid = list[tuple[Options, tuple[Spec, ...]]]


COLUMNS = {
    "best": ("paper", "ours", "difference", "std"),
    "last": ("paper_last", "last", "last_difference", "last_std"),
}
"""Where the frame has the paper's number, ours, their difference and the standard deviation of ours."""
PRINTED = {"best": ("test_acc", "test_acc_best"), "last": ("test_acc_last",)}
"""What the shipped tables call these accuracies."""


@dataclass(frozen=True)
class Request:
    """A table as it is asked for: on which data, with which budget and seeds, and which part to make.

    `left_out` says which of the cells that were asked for the data cannot make, and why.
    """

    table: Table
    dataset: str
    budget: Budget
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    epochs: int | None = None
    train_size: int | None = None
    left_out: str = ""

    @classmethod
    def parse(
        cls,
        table: str,
        dataset: str = "digits",
        budget: str = "quick",
        rows: Sequence[str] | None = None,
        cells: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        epochs: int | None = None,
        train_size: int | None = None,
    ) -> "Request":
        """A request from names; raises `UnknownName` and `InvalidValue` for what does not exist.

        Cells that the data cannot make are left out; `InvalidValue` where one of `cells` selects no other.
        """
        if table not in TABLES:
            raise unknown_name("table", table, TABLES)
        found = TABLES[table]
        if budget not in found.budgets:
            raise unknown_name("budget", budget, found.budgets)
        protocol = found.budgets[budget]
        wanted = cells or protocol.cells.get(table)
        request = cls(
            found,
            dataset,
            protocol,
            named_rows(found, rows),
            named_cells(found, wanted),
            tuple(dict.fromkeys(seeds or protocol.seeds or found.seeds)),
            epochs,
            train_size,
        )
        request.grid(request.rows[0], request.cells[0])  # its runs check seeds, epochs and sizes
        if request.length < 2 and any(row.method == "fine-tuning" for row in request.rows):
            raise InvalidValue(
                f"fine-tuning needs an epoch of each kind, got {request.length}; try --epochs 2 or --rows"
            )
        obstacles = [(cell, why) for cell in request.cells if (why := request.obstacle(cell))]
        impossible = [cell for cell, _ in obstacles]
        for part in [[text] for text in cells] if cells else [wanted]:
            selected = named_cells(found, part)
            if all(cell in impossible for cell in selected):
                (why, *_) = (why for cell, why in obstacles if cell in selected)
                raise InvalidValue(f"{found.heading(selected[0])} of {table}: {why}; try other --cells")
        reasons: dict[str, list[str]] = {}
        for cell, why in obstacles:
            reasons.setdefault(why, []).append(found.heading(cell))
        return replace(
            request,
            cells=tuple(cell for cell in request.cells if cell not in impossible),
            left_out="; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items()),
        )

    @property
    def length(self) -> int:
        """The epochs of a run that nothing stretches or stops."""
        return next(n for n in (self.epochs, self.budget.epochs, self.table.epochs) if n is not None)

    @property
    def setup(self) -> Options:
        """The fields of a run that the data set decides."""
        return self.table.setups.get(self.dataset, self.table.setups[""])

    @property
    def train_images(self) -> int:
        """How many training images the other splits leave, or as many as the request or its budget allows."""
        limits = (self.train_size, self.budget.train_size, self._left)
        return min(size for size in limits if size is not None)

    @property
    def _left(self) -> int:
        return Spec.parse({**self.setup, "dataset": self.dataset}).sizes().train

    def obstacle(self, cell: Cell) -> str:
        """Why the data cannot make a cell; empty where they can."""
        run = self.grid(self.table.rows[0], cell)[0][1][0]
        if run.comes_noisy != (cell.noise == GIVEN):
            kind = "noisy labels already" if run.comes_noisy else "true labels only"
            return f"{self.dataset} has {kind}"
        if (cell.train_size or 0) > self.train_images:
            return (
                f"it needs more training images than {self.train_images}, which is what {self.dataset} has "
                "or --train-size leaves"
            )
        try:
            num_train = run.sizes().train
        except InvalidValue as error:
            return str(error)
        if num_train % run.batch_size == 1 and not run.drop_last:
            return (
                f"its {num_train} images leave one alone after batches of {run.batch_size}, which BatchNorm "
                f"cannot normalise; try --train-size {num_train - 1}"
            )
        return ""

    def grid(self, row: Row, cell: Cell) -> Grid:
        """The settings of a cell with their runs."""
        limit = self.train_images
        return cell_runs(
            self.table,
            self.dataset,
            row,
            cell,
            self.budget,
            self.seeds,
            self.epochs,
            None if limit == self._left else limit,
        )

    def runs(self) -> list[Spec]:
        """The runs of the part that is asked for, cell by cell."""
        return [
            run
            for cell in self.cells
            for row in self.rows
            for _, runs in self.grid(row, cell)
            for run in runs
        ]


def reproduce(
    request: Request,
    store: Store | None = None,
    progress: runner.OnProgress = lambda what, share: None,
    on_wait: Callable[[Spec], None] | None = None,
) -> pd.DataFrame:
    """Make what is missing of the requested part, and give the table of all that the store holds; see
    `gather`.
    """
    store = store or Store()
    runner.make(request.runs(), store, progress=progress, on_wait=on_wait)
    return gather(request, store)


def gather(request: Request, store: Store) -> pd.DataFrame:
    """One row for each of the table's rows and cells, with what the store holds on the request's data, budget
    and seeds, whichever call made it; accuracies in percent.

    Of the settings whose runs are complete, the one with the highest noisy-validation accuracy, averaged over
    seeds, is chosen; its test accuracy is that at each run's best noisy-validation epoch. `std` is over
    seeds, or of the bootstrap where there is one seed.
    """
    table = request.table
    records = []
    for cell in table.cells:
        if request.obstacle(cell):
            continue
        images = request.grid(table.rows[0], cell)[0][1][0].sizes().train
        for row in table.rows:
            ours = _ours(request.grid(row, cell), store)
            records.append(
                {
                    "row": row.name,
                    "method": row.paper,
                    "cell": table.heading(cell),
                    "noise": cell.noise,
                    "rate": cell.rate,
                    "n": images,
                    "paper": paper_value(request, row, cell),
                    **{name: value for name, value in ours.items() if name not in COLUMNS["last"]},
                    **_last(request, row, cell, ours),
                }
            )
    frame = pd.DataFrame(records)
    frame.insert(list(frame).index("ours") + 1, "difference", frame["ours"] - frame["paper"])
    return frame


def _last(request: Request, row: Row, cell: Cell, ours: Mapping[str, Any]) -> dict[str, float]:
    """The columns of the last epochs, for a table that shows them."""
    if "last" not in request.table.metrics:
        return {}
    paper = paper_value(request, row, cell, "last")
    numbers = (paper, ours["last"], ours["last"] - paper, ours["last_std"])
    return dict(zip(COLUMNS["last"], numbers, strict=True))


def _ours(grid: Grid, store: Store) -> dict[str, Any]:
    """What the store says of one cell; without finished settings only how far it is."""
    complete = finished(grid, store)
    done = [setting for _, setting, _ in complete]
    failed = [
        setting_text(setting) or "the only setting"
        for setting, runs in grid
        if setting not in done and any(store.failure(run) for run in runs)
    ]
    record: dict[str, Any] = {
        "ours": np.nan,
        "std": np.nan,
        "std_over": "",
        "seeds": 0,
        "validation": np.nan,
        "setting": "",
        "settings": f"{len(complete)} of {len(grid)}",
        "diverged": ", ".join(failed),
        "epochs": "",
        "best_epoch": "",
        "device": "",
        "fingerprints": "",
        "last": np.nan,
        "last_std": np.nan,
    }
    if not complete:
        return record
    score, setting, results = max(complete, key=lambda one: one[0])
    best = [result.best for result in results]
    mean, std = _mean_and_std([float(row["test_accuracy"]) for row in best], results[0].test_size)
    last, last_std = _mean_and_std([result.last for result in results], results[0].test_size)
    devices = dict.fromkeys(result.circumstances.device for result in results)
    return record | {
        "ours": mean,
        "std": std,
        "std_over": "bootstrap" if len(results) == 1 else "seeds",
        "seeds": len(results),
        "validation": 100 * score,
        "setting": setting_text(setting),
        "epochs": _joined(len(result.history) for result in results),
        "best_epoch": _joined(int(row["epoch"]) for row in best),
        "device": ", ".join(devices),
        "fingerprints": _joined(result.run.fingerprint for result in results),
        "last": last,
        "last_std": last_std,
    }


def _mean_and_std(accuracies: Sequence[float], test_size: int) -> tuple[float, float]:
    """In percent; the standard deviation is over seeds, or of the bootstrap for one."""
    one_seed = len(accuracies) == 1
    std = bootstrap_std(accuracies[0], test_size) if one_seed else float(np.std(accuracies, ddof=1))
    return 100 * float(np.mean(accuracies)), 100 * std


def finished(grid: Grid, store: Store) -> list[tuple[float, Options, list[Result]]]:
    """The settings whose runs are all finished, each with its noisy-validation accuracy and its runs."""
    complete = []
    for setting, runs in grid:
        results = [result for run in runs if (result := store.find(run)) is not None]
        if len(results) == len(runs):
            score = float(np.mean([result.best["validation_accuracy"] for result in results]))
            complete.append((score, setting, results))
    return complete


def paper_value(request: Request, row: Row, cell: Cell, metric: str = "best") -> float:
    """The paper's test accuracy in percent, best or last; NaN where it prints none.

    For data that the paper did not use it is the number of the table's own data set.
    """
    table = request.table
    numbers = paper_table(table.source)
    noise, level = cell.printed or cell.noise, cell.rate
    if noise == "imbalance":
        level = cell.imbalance
    elif cell.rate == 0 and noise != "real":
        noise = "none"
    wanted = (
        (numbers["dataset"] == table.datasets.get(request.dataset, table.dataset))
        & (numbers["noise"] == noise)
        & (numbers["method"] == row.paper)
        & numbers["metric"].isin(PRINTED[metric])
    )
    if noise != "real":  # of which there is one kind
        wanted &= numbers["rate"] == level
    if table.largest is not None:
        wanted &= numbers["n_train"] == (cell.train_size or table.largest)
    return float(numbers.loc[wanted, "value"].iloc[0]) if wanted.any() else np.nan


def setting_text(setting: Options) -> str:
    """A setting in words: "beta=10, sigma=0.1"."""
    return ", ".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in setting.items()
    )


def _joined(values: Any) -> str:
    return " ".join(map(str, dict.fromkeys(values)))


# Writing.


def caption(request: Request, frame: pd.DataFrame) -> str:
    """Data, budget and what the numbers are, in a few sentences."""
    budget, table = request.budget, request.table
    epochs = request.length
    stretched = [
        f"n={n}: {epochs * times} epochs, evaluated every {every}"
        for n, (times, every) in budget.stretch.items()
        if n <= request.train_images and any(cell.train_size == n for cell in table.cells)
    ]
    grids = {row.name: len(budget.grid(row)) for row in table.rows}
    size = min((n for n in (request.train_size, budget.train_size) if n is not None), default=None)
    limit = f" At most {size} training images." if size else ""
    other = (
        ""
        if request.dataset in table.datasets
        else f" The paper's numbers are for {table.dataset}, ours for {request.dataset}."
    )
    last = (
        f" Last: the mean over the last {LAST_EPOCHS} evaluated epochs, or all of a shorter run."
        if "last" in table.metrics
        else ""
    )
    meta = f"; meta set of {request.setup['meta_size']}" if "meta_size" in request.setup else ""
    left_out = f" Left out: {request.left_out}." if request.left_out else ""
    note = f" {table.note}" if table.note else ""
    devices = ", ".join(dict.fromkeys(filter(None, frame["device"]))) or "none yet"
    return (
        f"Test accuracy in percent at each run's best noisy-validation epoch.{last} Data: {request.dataset}"
        f"{meta}; budget {budget.name}: {budget.title}; up to {epochs} epochs"
        + "".join(f" ({'; '.join(stretched)})" for _ in stretched[:1])
        + f"; seeds {', '.join(map(str, request.seeds))}; settings tried: "
        + ", ".join(f"{name} {count}" for name, count in grids.items())
        + f". Chosen by mean noisy-validation accuracy. Device: {devices}.{limit}{other}{note}{left_out}"
    )


def short_caption(request: Request, frame: pd.DataFrame) -> str:
    """Data, budget, seeds and device in one line."""
    devices = ", ".join(dict.fromkeys(filter(None, frame["device"])))
    seeds = ", ".join(map(str, request.seeds))
    budget = f"budget {request.budget.name}, {request.length} epochs"
    return f"{request.dataset} · {budget} · seed {seeds} · {devices}"


def to_markdown(request: Request, frame: pd.DataFrame) -> str:
    """The table as Markdown: paper → ours ± std (difference), then how each number came about."""
    cells = list(dict.fromkeys(frame["cell"]))
    shown = [
        cell for cell in cells if frame.loc[frame["cell"] == cell, ["ours", "paper"]].notna().any(axis=None)
    ]
    by = {(record["row"], record["cell"]): record for record in frame.to_dict("records")}
    methods = dict(zip(frame["row"], frame["method"], strict=True))
    lines = [
        f"# {request.table.title}",
        "",
        caption(request, frame),
        "",
        "Paper → ours ± std (ours − paper); blank: not made.",
        "",
    ]
    for metric in request.table.metrics:
        lines += [f"## {metric.capitalize()}", ""] if len(request.table.metrics) > 1 else []
        lines += _markdown(
            ["row", *shown],
            [[name, *(cell_text(by[row, cell], metric) for cell in shown)] for row, name in methods.items()],
        )
        lines += [""]
    done = frame[frame["ours"].notna() | (frame["diverged"] != "")]
    names = [
        "row",
        "cell",
        *(name for metric in request.table.metrics for name in COLUMNS[metric][1::2]),
        "std_over",
        "seeds",
        "setting",
        "settings",
        "validation",
        "epochs",
        "best_epoch",
        "device",
        "diverged",
    ]
    rows = [[_text(record[name]) for name in names] for record in done.to_dict("records")]
    lines += [
        "## How each number came about",
        "",
        *_markdown([name.replace("_", " ") for name in names], rows),
    ]
    return "\n".join(lines) + "\n"


def cell_text(record: Mapping[Any, Any], metric: str = "best") -> str:
    """One cell in words: "71.8 → 70.2 ± 0.5 (−1.6)"."""
    printed, ours, by, std = (record[name] for name in COLUMNS[metric])
    paper = "–" if np.isnan(printed) else f"{printed:.1f}"
    if np.isnan(ours):
        return f"{paper} → diverged" if record["diverged"] else f"{paper} →" if paper != "–" else ""
    difference = "" if np.isnan(by) else f" ({by:+.1f})".replace("-", "−")
    return f"{paper} → {ours:.1f} ± {std:.1f}{difference}"


def _text(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _markdown(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (names, ["---"] * len(names), *rows)]


def write(request: Request, frame: pd.DataFrame, output: Path | str) -> list[Path]:
    """Write the table as CSV, Markdown and an interactive page; returns the files."""
    from lnlib.course import plots

    stem = (
        Path(output)
        / f"{request.table.name}-{request.dataset.replace(':', '-').replace('/', '-')}-{request.budget.name}"
    )
    paths = [Path(f"{stem}{suffix}") for suffix in (".csv", ".md", ".html")]
    write_csv(paths[0], frame, float_format="%.6g")
    write_text(paths[1], to_markdown(request, frame))
    figure = plots.table_comparison(frame, request.table.title, caption(request, frame))
    write_text(paths[2], plots.to_page(figure))
    return paths
