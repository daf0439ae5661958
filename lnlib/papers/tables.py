"""The papers' tables with our numbers beside: what `lnlib reproduce` makes.

LIMIT, Tables 1 and 2; MetaInfoNet, Tables 1 to 6. The setting of a row is chosen by noisy validation; the
test set is only reported.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import pandas as pd

from lnlib.analysis.bootstrap import bootstrap_std
from lnlib.analysis.paired import Difference, behind_best
from lnlib.papers import runner
from lnlib.papers.executors import Executor
from lnlib.papers.printed import Printed, printed_numbers
from lnlib.papers.protocol import Cell, Metric, Options, Row
from lnlib.papers.request import Grid, Request
from lnlib.papers.run_folder import devices
from lnlib.papers.spec import Spec
from lnlib.papers.store import Result, Store

PRINTED: Mapping[Metric, tuple[str, ...]] = {
    "best": ("test_acc", "test_acc_best"),
    "last": ("test_acc_last",),
}
"""What the shipped tables call these accuracies."""
BOOTSTRAPPED = "limit-table2"
"""Whose printed ± is "computed by bootstrapping the test set": in the other tables it is over trials."""


def column(name: str, metric: Metric) -> str:
    """Where `gather` puts a metric's number: "ours" at the best epoch is "last" over the last ones."""
    last = {"ours": "last", "paper": "paper_last"}
    return name if metric == "best" else last.get(name, f"last_{name}")


def reproduce(
    request: Request,
    store: Store | None = None,
    progress: runner.OnProgress = lambda what, share: None,
    on_wait: Callable[[Spec], None] | None = None,
    executor: Executor = runner.HERE,
) -> pd.DataFrame:
    """Make what is missing of the requested part, and give the table of all that the store holds; see
    `gather`.
    """
    store = store or Store()
    make(request, store, progress, on_wait, executor)
    return gather(request, store)


def make(
    request: Request,
    store: Store,
    progress: runner.OnProgress = lambda what, share: None,
    on_wait: Callable[[Spec], None] | None = None,
    executor: Executor = runner.HERE,
) -> None:
    """Train what is missing: the runs that choose the settings, then the chosen ones' other seeds."""
    choosing = [({spec.fingerprint for spec in deciding(request, grid)}, grid) for grid in request.grids]

    def then(spec: Spec, ended: AbstractSet[str]) -> list[Spec]:
        """What the cells take that this run was the last to choose for."""
        decided = [grid for names, grid in choosing if spec.fingerprint in names and names <= ended]
        return planned(request, decided, store)

    expected = planned(request, request.grids, store)
    runner.make(
        request.specs(), store, None, progress, on_wait, executor=executor, then=then, expected=expected
    )


def wanted(request: Request, store: Store) -> list[Spec]:
    """The runs that choose, and of what is chosen already the other seeds'."""
    specs = []
    for grid in request.grids:
        own = deciding(request, grid)
        open_ones = [spec for spec in own if store.find(spec) is None and not store.failure(spec)]
        specs += own if open_ones else planned(request, [grid], store)
    return specs


def deciding(request: Request, grid: Grid) -> list[Spec]:
    """The runs by which the setting of a cell is chosen."""
    return [spec for _, specs in grid for spec in request.deciding(specs)]


def outlook(request: Request, store: Store) -> runner.Outlook:
    """How far the requested part is and what it still takes, judged by the runs of the whole table."""
    table = [request.grid(row, cell) for cell in _possible(request) for row in request.table.rows]
    cells = [planned(request, [grid], store) for grid in request.grids]
    return runner.outlook(cells, [spec for grid in table for _, specs in grid for spec in specs], store)


def _possible(request: Request) -> list[Cell]:
    """The table's cells that the data can make."""
    return [cell for cell in request.table.cells if cell.heading not in request.obstacles]


def planned(request: Request, grids: Iterable[Grid], store: Store) -> list[Spec]:
    """The runs that choose, and all of what they have chosen; before they have, of the first setting."""
    wanted = []
    for grid in grids:
        wanted += deciding(request, grid)
        chosen, results = choice(finished(request, grid, store))
        wanted += next((specs for setting, specs in grid if results and setting == chosen), grid[0][1])
    return list({spec.fingerprint: spec for spec in wanted}.values())


def gather(request: Request, store: Store) -> pd.DataFrame:
    """One row for each of the table's rows and cells, with what the store holds on the request's data, budget
    and seeds, whichever call made it; accuracies in percent.

    `ours` is the mean test accuracy at each run's best noisy-validation epoch, in the setting of `choice`,
    over its finished `seeds`; others are `missing`. `std` is over seeds, NaN for one, and `by_seed` has each
    seed's number, "42:97.1 43:96.8", for any other pair of rows. `bootstrap_std` is over
    test images: what a single run's accuracy would vary by. `behind` is the paired difference to the best row
    of the cell, `behind_se` its standard error, `pairs` the number of seeds that both have, and `tied` says
    that it may be 0; see `behind_best`. `difference` is ours − the paper's, and NaN unless `same_setting`.
    In `not_begun` of the runs that epoch lies before the method departs from cross-entropy. `oracle` is
    what the row is told of the true noise.
    """
    return pd.DataFrame([record for cell in _possible(request) for record in _records(request, cell, store)])


def _records(request: Request, cell: Cell, store: Store) -> list[dict[str, Any]]:
    """The rows of one cell, their columns in order."""
    num_train, rows, metrics = request.num_train(cell), request.table.rows, request.table.metrics
    tried = {row.name: finished(request, request.grid(row, cell), store) for row in rows}
    chosen = {name: choice(settings) for name, settings in tried.items()}
    ours = {
        metric: {name: _by_seed(results, metric) for name, (_, results) in chosen.items()}
        for metric in metrics
    }
    behind = {metric: behind_best(ours[metric]) for metric in metrics}
    records = []
    for row in rows:
        name, same = row.name, _is_papers(request, row, cell, num_train)
        record: dict[str, Any] = {"row": name, "method": row.paper, "cell": cell.heading, "noise": cell.noise}
        record |= {"rate": cell.rate, "n": num_train, "oracle": row.oracle, "same_setting": same}
        for metric in metrics:
            printed, accuracies = paper_number(request, row, cell, metric), [*ours[metric][name].values()]
            numbers = _beside(printed, accuracies, same) | _standing(behind[metric].get(name))
            numbers["by_seed"] = _joined(
                f"{seed}:{one:.6g}" for seed, one in ours[metric][name].items() if one == one
            )
            numbers["not_begun"] = sum(_not_begun(result, metric) for result in chosen[name][1])
            record |= {column(key, metric): value for key, value in numbers.items()}
        failed = [
            setting_text(setting) or "the only setting"
            for setting, specs in request.grid(row, cell)
            if any(store.failure(spec) for spec in specs)
        ]
        record |= {
            "settings": f"{len(tried[name])} of {len(request.grid(row, cell))}",
            "diverged": ", ".join(failed),
        }
        seeds = [spec.seed for spec in request.grid(row, cell)[0][1]]
        records.append(record | _origin(seeds, *chosen[name]))
    return records


def _by_seed(results: Iterable[Result], metric: Metric) -> dict[int, float]:
    """The test accuracies in percent."""
    return {
        result.spec.seed: 100 * float(result.last if metric == "last" else result.best["test_accuracy"])
        for result in results
    }


def _beside(printed: Printed, ours: list[float], same: bool) -> dict[str, Any]:
    """The paper's number and ours; arithmetic between them only in the same setting."""
    mean = float(np.mean(ours)) if ours else np.nan
    return {
        "paper": printed.value,
        "paper_std": printed.std,
        "ours": mean,
        "std": float(np.std(ours, ddof=1)) if len(ours) > 1 else np.nan,
        "difference": mean - printed.value if same else np.nan,
    }


def _standing(behind: Difference | None) -> dict[str, Any]:
    """How far behind the cell's best row, NaN where nothing is compared."""
    mean, error, _, _, pairs = behind or (np.nan, np.nan, np.nan, np.nan, 0)
    return {"behind": mean, "behind_se": error, "pairs": pairs, "tied": bool(behind and behind.tied)}


def _not_begun(result: Result, metric: Metric) -> bool:
    epoch = result.history["epoch"].max() if metric == "last" else result.best["epoch"]
    return bool(result.first_own_epoch > epoch)


def _origin(wanted: list[int], setting: Options, results: list[Result]) -> dict[str, Any]:
    """Where a cell's numbers come from."""
    seeds, best = [result.spec.seed for result in results], [result.best for result in results]
    test, validation = (
        float(np.mean([row[f"{split}_accuracy"] for row in best])) if best else np.nan
        for split in ("test", "validation")
    )
    return {
        "bootstrap_std": 100 * bootstrap_std(test, results[0].test_size) if results else np.nan,
        "seeds": len(results),
        "missing": _joined(seed for seed in wanted if results and seed not in seeds),
        "validation": 100 * validation,
        "setting": setting_text(setting),
        "epochs": _joined(len(result.history) for result in results),
        "best_epoch": " ".join(str(int(row["epoch"])) for row in best),  # a seed's each
        "device": devices(results),
        "fingerprints": _joined(result.spec.fingerprint for result in results),
    }


Tried = list[tuple[tuple[int, float], Options, list[Result]]]


def choice(tried: Tried) -> tuple[Options, list[Result]]:
    """The setting that a cell shows, with its finished runs: of those that the most seeds have a say in the
    one with the highest noisy-validation accuracy; no run where nothing is finished.
    """
    _, setting, results = max(tried, key=lambda one: one[0], default=((0, 0.0), {}, []))
    return setting, results


def finished(request: Request, grid: Grid, store: Store) -> Tried:
    """The settings of which some runs are finished and none has diverged: how many of the runs that choose,
    with their mean noisy-validation accuracy, the setting, and all its finished runs.
    """
    found: Tried = []
    for setting, specs in grid:
        results = [result for spec in specs if (result := store.find(spec)) is not None]
        seeds = {spec.seed for spec in request.deciding(specs)}
        deciding = [one.best["validation_accuracy"] for one in results if one.spec.seed in seeds]
        if deciding and not any(store.failure(spec) for spec in specs):
            found.append(((len(deciding), float(np.mean(deciding))), setting, results))
    return found


def setting_text(setting: Options) -> str:
    """A setting in words: "beta=10, sigma=0.1"."""
    return ", ".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in setting.items()
    )


def _joined(values: Iterable[object]) -> str:
    return " ".join(map(str, dict.fromkeys(values)))


# The paper's own numbers.


def paper_number(request: Request, row: Row, cell: Cell, metric: Metric = "best") -> Printed:
    """What the paper prints for a test accuracy, best or last. For data that it did not use it is the number
    of the table's own data set.
    """
    table = request.table
    dataset = table.datasets.get(request.dataset, table.dataset)
    size = cell.train_size or table.largest if table.largest else None
    values = printed_numbers(table.source, bool(table.largest))
    found = (values.get((dataset, *cell.printed_as, size, row.paper, name)) for name in PRINTED[metric])
    printed = next((value for value in found if value is not None), Printed())
    return printed._replace(std=np.nan) if table.name == BOOTSTRAPPED else printed


def _is_papers(request: Request, row: Row, cell: Cell, num_train: int) -> bool:
    """Whether data set, network and number of training images are those of the paper's number."""
    printed = paper_number(request, row, cell)
    net = request.grid(row, cell)[0][1][0].member_parts()[1].net.label
    same_net = bool(printed.model) and net.startswith(printed.model.partition(" (")[0])
    return request.dataset in request.table.datasets and same_net and num_train == printed.num_train
