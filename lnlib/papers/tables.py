"""The papers' tables with our numbers beside: what `lnlib reproduce` makes.

LIMIT, Tables 1 and 2; MetaInfoNet, Tables 1 to 6. The setting of a row is chosen by noisy validation; the
test set is only reported.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from lnlib.analysis.bootstrap import bootstrap_std
from lnlib.papers import runner
from lnlib.papers.printed import paper_table
from lnlib.papers.protocol import Cell, Metric, Options, Row
from lnlib.papers.request import Grid, Request
from lnlib.papers.spec import Spec
from lnlib.papers.store import Result, Store

PRINTED: Mapping[Metric, tuple[str, ...]] = {
    "best": ("test_acc", "test_acc_best"),
    "last": ("test_acc_last",),
}
"""What the shipped tables call these accuracies."""


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
    runner.make(request.specs(), store, progress=progress, on_wait=on_wait)
    return gather(request, store)


def gather(request: Request, store: Store) -> pd.DataFrame:
    """One row for each of the table's rows and cells, with what the store holds on the request's data, budget
    and seeds, whichever call made it; accuracies in percent.

    Of the settings whose runs are complete, the one with the highest noisy-validation accuracy, averaged over
    seeds, is chosen; its test accuracy is that at each run's best noisy-validation epoch. `std` is over
    seeds, or of the bootstrap where there is one seed.
    """
    return pd.DataFrame(
        [
            _record(request, row, cell, num_train, store)
            for cell in request.table.cells
            if cell.heading not in request.obstacles
            for num_train in [request.num_train(cell)]
            for row in request.table.rows
        ]
    )


def _record(request: Request, row: Row, cell: Cell, num_train: int, store: Store) -> dict[str, Any]:
    """One row of the table that `gather` gives, its columns in order."""
    paper, ours = paper_value(request, row, cell), _ours(request.grid(row, cell), store)
    last, last_std = ours.pop("last"), ours.pop("last_std")
    record = {
        "row": row.name,
        "method": row.paper,
        "cell": cell.heading,
        "noise": cell.noise,
        "rate": cell.rate,
        "n": num_train,
        "paper": paper,
        "ours": ours["ours"],
        "difference": ours["ours"] - paper,
        **ours,
    }
    if "last" in request.table.metrics:
        paper = paper_value(request, row, cell, "last")
        record |= {"paper_last": paper, "last": last, "last_difference": last - paper, "last_std": last_std}
    return record


def _ours(grid: Grid, store: Store) -> dict[str, Any]:
    """What the store says of one cell; without finished settings only how far it is."""
    complete = finished(grid, store)
    done = [setting for _, setting, _ in complete]
    failed = [
        setting_text(setting) or "the only setting"
        for setting, specs in grid
        if setting not in done and any(store.failure(spec) for spec in specs)
    ]
    numbers = _numbers(*max(complete, key=lambda one: one[0])) if complete else {}
    return UNMADE | {"settings": f"{len(complete)} of {len(grid)}", "diverged": ", ".join(failed)} | numbers


TEXTS = ("setting", "settings", "diverged", "epochs", "best_epoch", "device", "fingerprints")
UNMADE: dict[str, Any] = {"ours": np.nan, "std": np.nan, "std_over": "", "seeds": 0, "validation": np.nan}
UNMADE |= {**dict.fromkeys(TEXTS, ""), "last": np.nan, "last_std": np.nan}


def _numbers(score: float, setting: Options, results: Sequence[Result]) -> dict[str, Any]:
    """The numbers of a setting from its finished runs."""
    best, test_size = [result.best for result in results], results[0].test_size
    mean, std = _mean_and_std([float(row["test_accuracy"]) for row in best], test_size)
    last, last_std = _mean_and_std([result.last for result in results], test_size)
    return {
        "ours": mean,
        "std": std,
        "std_over": "bootstrap" if len(results) == 1 else "seeds",
        "seeds": len(results),
        "validation": 100 * score,
        "setting": setting_text(setting),
        "epochs": _joined(len(result.history) for result in results),
        "best_epoch": _joined(int(row["epoch"]) for row in best),
        "device": ", ".join(dict.fromkeys(result.circumstances.device for result in results)),
        "fingerprints": _joined(result.spec.fingerprint for result in results),
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
    for setting, specs in grid:
        results = [result for spec in specs if (result := store.find(spec)) is not None]
        if len(results) == len(specs):
            score = float(np.mean([result.best["validation_accuracy"] for result in results]))
            complete.append((score, setting, results))
    return complete


def setting_text(setting: Options) -> str:
    """A setting in words: "beta=10, sigma=0.1"."""
    return ", ".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in setting.items()
    )


def _joined(values: Iterable[object]) -> str:
    return " ".join(map(str, dict.fromkeys(values)))


# The paper's own numbers.


def paper_value(request: Request, row: Row, cell: Cell, metric: Metric = "best") -> float:
    """The paper's test accuracy in percent, best or last; NaN where it prints none.

    For data that the paper did not use it is the number of the table's own data set.
    """
    table = request.table
    dataset = table.datasets.get(request.dataset, table.dataset)
    size = cell.train_size or table.largest if table.largest else None
    values = _printed_values(table.source, bool(table.largest))
    found = (values.get((dataset, *cell.printed_as, size, row.paper, name)) for name in PRINTED[metric])
    return next((value for value in found if value is not None), np.nan)


@cache
def _printed_values(source: str, by_size: bool) -> dict[tuple[object, ...], float]:
    """The numbers of a shipped table, by data set, noise, its level, number of images, method and metric."""
    frame = paper_table(source).astype({"rate": object, "n_train": object})
    frame.loc[frame["noise"] == "real", "rate"] = None  # of which there is one kind
    frame["n_train"] = frame["n_train"] if by_size else None
    names = ["dataset", "noise", "rate", "n_train", "method", "metric"]
    keys = frame[names].itertuples(index=False, name=None)
    return dict(zip(keys, frame["value"].tolist(), strict=True))
