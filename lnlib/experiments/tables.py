"""The paper's tables with our numbers beside: what `lnlib reproduce` makes.

LIMIT, Tables 1 and 2. The setting of a row is chosen by noisy validation; the test set is only reported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lnlib.analysis.bootstrap import bootstrap_std
from lnlib.errors import InvalidValue, unknown_name
from lnlib.experiments import runner
from lnlib.experiments.presets import (
    BUDGETS,
    PAPER_DATASETS,
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
from lnlib.experiments.run import Run
from lnlib.experiments.store import Result, Store
from lnlib.files import write_text

Grid = list[tuple[Options, tuple[Run, ...]]]


@dataclass(frozen=True)
class Request:
    """A table as it is asked for: on which data, with which budget and seeds, and which part to make."""

    table: Table
    dataset: str
    budget: Budget
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    epochs: int | None = None
    train_size: int | None = None

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
        """A request from names; raises `UnknownName` and `InvalidValue` for what does not exist."""
        if table not in TABLES:
            raise unknown_name("table", table, TABLES)
        if budget not in BUDGETS:
            raise unknown_name("budget", budget, BUDGETS)
        found, protocol = TABLES[table], BUDGETS[budget]
        request = cls(
            found,
            dataset,
            protocol,
            named_rows(found, rows),
            named_cells(found, cells or protocol.cells.get(table)),
            tuple(dict.fromkeys(seeds or protocol.seeds or found.seeds)),
            epochs,
            train_size,
        )
        request.grid(request.rows[0], request.cells[0])  # its runs check seeds, epochs and sizes
        available = request.train_images
        chosen = tuple(cell for cell in request.cells if (cell.train_size or 0) <= available)
        if not chosen:
            raise InvalidValue(
                f"these cells need more training images than {available}, which is what {dataset} has or "
                "--train-size leaves; try --cells n=all"
            )
        return cls(**{**vars(request), "cells": chosen})

    @property
    def train_images(self) -> int:
        """How many training images the data set leaves beside its validation split, or `train_size`."""
        available = Run(dataset=self.dataset).sizes().train
        return available if self.train_size is None else min(available, self.train_size)

    def grid(self, row: Row, cell: Cell) -> Grid:
        """The settings of a cell with their runs."""
        return cell_runs(self.dataset, row, cell, self.budget, self.seeds, self.epochs, self.train_size)

    def runs(self) -> list[Run]:
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
    on_wait: Callable[[Run], None] | None = None,
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
    available = request.train_images
    table = request.table
    records = []
    for cell in table.cells:
        if (cell.train_size or 0) > available:
            continue
        for row in table.rows:
            records.append(
                {
                    "row": row.name,
                    "method": row.paper,
                    "cell": table.heading(cell),
                    "noise": cell.noise,
                    "rate": cell.rate,
                    "n": cell.train_size or available,
                    "paper": paper_value(request, row, cell),
                    **_ours(request.grid(row, cell), store),
                }
            )
    frame = pd.DataFrame(records)
    frame.insert(list(frame).index("ours") + 1, "difference", frame["ours"] - frame["paper"])
    return frame


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
    }
    if not complete:
        return record
    score, setting, results = max(complete, key=lambda one: one[0])
    best = [result.best for result in results]
    tests = [float(row["test_accuracy"]) for row in best]
    one_seed = len(tests) == 1
    std = bootstrap_std(tests[0], results[0].test_size) if one_seed else float(np.std(tests, ddof=1))
    devices = dict.fromkeys(result.circumstances.device for result in results)
    return record | {
        "ours": 100 * float(np.mean(tests)),
        "std": 100 * std,
        "std_over": "bootstrap" if one_seed else "seeds",
        "seeds": len(results),
        "validation": 100 * score,
        "setting": setting_text(setting),
        "epochs": _joined(len(result.history) for result in results),
        "best_epoch": _joined(int(row["epoch"]) for row in best),
        "device": ", ".join(devices),
        "fingerprints": _joined(result.run.fingerprint for result in results),
    }


def finished(grid: Grid, store: Store) -> list[tuple[float, Options, list[Result]]]:
    """The settings whose runs are all finished, each with its noisy-validation accuracy and its runs."""
    complete = []
    for setting, runs in grid:
        results = [result for run in runs if (result := store.find(run)) is not None]
        if len(results) == len(runs):
            score = float(np.mean([result.best["validation_accuracy"] for result in results]))
            complete.append((score, setting, results))
    return complete


def paper_value(request: Request, row: Row, cell: Cell) -> float:
    """The paper's test accuracy in percent; NaN where it prints none.

    For data that the paper did not use it is the number of the table's own data set.
    """
    table = request.table
    numbers = paper_table(table.source)
    noise = "none" if cell.rate == 0 else {"uniform": "uniform_wrong"}.get(cell.noise, cell.noise)
    found = numbers[
        (numbers["dataset"] == PAPER_DATASETS.get(request.dataset, table.dataset))
        & (numbers["noise"] == noise)
        & (numbers["rate"] == cell.rate)
        & (numbers["n_train"] == (cell.train_size or table.largest))
        & (numbers["method"] == row.paper)
    ]
    return float(found["value"].iloc[0]) if len(found) else np.nan


def paper_table(name: str) -> pd.DataFrame:
    """A table of the papers, as shipped with lnlib: "limit_table1.csv"."""
    with files("lnlib").joinpath("papers", name).open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False, na_values=[""])


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
    epochs = budget.epochs if request.epochs is None else request.epochs
    stretched = [
        f"n={n}: {epochs * times} epochs, evaluated every {times}"
        for n, times in budget.stretch.items()
        if n <= request.train_images and any(cell.train_size == n for cell in table.cells)
    ]
    grids = {row.name: len(budget.grid(row)) for row in table.rows}
    limit = f" At most {request.train_size} training images." if request.train_size else ""
    own = PAPER_DATASETS.get(request.dataset, table.dataset)
    other = (
        ""
        if request.dataset in PAPER_DATASETS
        else f" The paper's numbers are for {own}, ours for {request.dataset}."
    )
    devices = ", ".join(dict.fromkeys(filter(None, frame["device"]))) or "none yet"
    return (
        f"Test accuracy in percent at each run's best noisy-validation epoch. Data: {request.dataset}; "
        f"budget {budget.name}: {budget.title}; up to {epochs} epochs"
        + "".join(f" ({'; '.join(stretched)})" for _ in stretched[:1])
        + f"; seeds {', '.join(map(str, request.seeds))}; settings tried: "
        + ", ".join(f"{name} {count}" for name, count in grids.items())
        + f". Chosen by mean noisy-validation accuracy. Device: {devices}.{limit}{other}"
    )


def short_caption(request: Request, frame: pd.DataFrame) -> str:
    """Data, budget, seeds and device in one line."""
    epochs = request.budget.epochs if request.epochs is None else request.epochs
    devices = ", ".join(dict.fromkeys(filter(None, frame["device"])))
    seeds = ", ".join(map(str, request.seeds))
    return f"{request.dataset} · budget {request.budget.name}, {epochs} epochs · seed {seeds} · {devices}"


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
    lines += _markdown(
        ["row", *shown],
        [[name, *(cell_text(by[row, cell]) for cell in shown)] for row, name in methods.items()],
    )
    done = frame[frame["ours"].notna() | (frame["diverged"] != "")]
    names = [
        "row",
        "cell",
        "ours",
        "std",
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
        "",
        "## How each number came about",
        "",
        *_markdown([name.replace("_", " ") for name in names], rows),
    ]
    return "\n".join(lines) + "\n"


def cell_text(record: Mapping[Any, Any]) -> str:
    """One cell in words: "71.8 → 70.2 ± 0.5 (−1.6)"."""
    paper = "–" if np.isnan(record["paper"]) else f"{record['paper']:.1f}"
    if np.isnan(record["ours"]):
        return f"{paper} → diverged" if record["diverged"] else f"{paper} →" if paper != "–" else ""
    difference = "" if np.isnan(record["difference"]) else f" ({record['difference']:+.1f})".replace("-", "−")
    return f"{paper} → {record['ours']:.1f} ± {record['std']:.1f}{difference}"


def _text(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _markdown(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (names, ["---"] * len(names), *rows)]


def write(request: Request, frame: pd.DataFrame, output: Path | str) -> list[Path]:
    """Write the table as CSV, Markdown and an interactive page; returns the files."""
    from lnlib import plots

    stem = (
        Path(output)
        / f"{request.table.name}-{request.dataset.replace(':', '-').replace('/', '-')}-{request.budget.name}"
    )
    paths = [Path(f"{stem}{suffix}") for suffix in (".csv", ".md", ".html")]
    write_text(paths[0], frame.to_csv(index=False, float_format="%.6g"))
    write_text(paths[1], to_markdown(request, frame))
    figure = plots.table_comparison(frame, request.table.title, caption(request, frame))
    write_text(paths[2], figure.to_html(include_plotlyjs=True, config={"responsive": True}))
    return paths
