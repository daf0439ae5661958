"""The figures that `lnlib figures` regenerates: each is a table of data, the drawing of it, and where its
numbers come from.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from lnlib.analysis.weights import WeightSummary, evaluation_histogram, evaluation_summary
from lnlib.course import plots
from lnlib.errors import InvalidValue, unknown_name
from lnlib.files import write_csv, write_text
from lnlib.papers import claims, limit_figures, runner
from lnlib.papers.executors import Executor
from lnlib.papers.figure_data import Budget, FigureData, Making, OnProgress, provenance, small_print
from lnlib.papers.spec import Spec
from lnlib.papers.store import Result, Store
from lnlib.training import Run


@dataclass(frozen=True)
class FigureSpec:
    """How a figure is made. `needs_data` tells whether `dataset` and `budget` change it."""

    title: str
    make: Callable[[str, Budget, Making], FigureData]
    needs_data: bool = True


def make(
    name: str,
    dataset: str = "digits",
    budget: Budget = "quick",
    output: Path | str = "figures",
    store: Store | None = None,
    progress: OnProgress = lambda what, share: None,
    executor: Executor = runner.HERE,
) -> list[Path]:
    """Make one figure: PNG (where a browser is installed), HTML, CSV, and provenance as JSON beside the CSV;
    returns the files.

    Runs that the store holds are reused, half-done ones continued. Raises `UnknownName` for an unknown
    figure, `InvalidValue` for an unknown budget and `DataUnavailable` for data that is not there.
    """
    if name not in FIGURES:
        raise unknown_name("figure", name, FIGURES)
    if budget not in ("quick", "full"):
        raise InvalidValue(f"budget must be 'quick' or 'full', got {budget!r}; try quick")
    spec = FIGURES[name]
    figure = spec.make(dataset, budget, Making(store or Store(), progress, executor))
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", dataset).strip("-")
    stem = Path(output) / (f"{name}-{slug}" if spec.needs_data else name)
    table, facts = Path(f"{stem}.csv"), Path(f"{stem}.json")
    write_csv(table, figure.frame, float_format="%.6g")
    write_text(facts, json.dumps(figure.provenance, indent=1) + "\n")
    return [table, facts, *(plots.save(figure.drawing, stem) if figure.drawing else ())]


# Figure 1 of MetaInfoNet: the weights of training examples.

WEIGHERS = {"LossNet": "lossnet", "LogitNet": "logitnet", "MetaInfoNet": "metainfonet", "L2RW": "l2rw"}
"""The paper's three networks, and L2RW, which weighs without one."""


def weights_runs(dataset: str, budget: Budget) -> dict[str, Spec]:
    """The runs behind the histograms: 40% flip-1 noise, and a meta set of 100 or, for "full" beyond digits,
    of 1000 clean images beside 10 000 noisy ones; the learning rate falls after two and five sixths of the
    epochs.
    """
    small, full = dataset == "digits", budget == "full"
    epochs = 60 if full and small else 30
    fields = {
        "dataset": dataset,
        "train_size": None if small else (10_000 if full else 2000),
        "meta_size": 1000 if full and not small else 100,
        "noise": "flip",
        "rate": 0.4,
        "epochs": epochs,
        "batch_size": 100,
        "net": "mlp" if small else "cnn",
        "net_options": {"width": 64, "depth": 2} if small else {},
        "optimizer": "sgd",
        "optimizer_options": {"lr": 0.1, "milestones": [epochs * 2 // 3, epochs * 5 // 6]},
    }
    return {label: Spec.parse({**fields, "method": name}) for label, name in WEIGHERS.items()}


def _weights(dataset: str, budget: Budget, making: Making) -> FigureData:
    runs = weights_runs(dataset, budget)
    parts, summaries, results = [], {}, []
    for label, result in zip(runs, making.obtained([*runs.values()], kept_weights, ["weights"]), strict=True):
        task, weights = result.spec.task(), result.arrays()["weights"]
        clean = (task.train.labels == task.truth.train_labels).numpy()
        parts.append(evaluation_histogram(weights, clean).assign(method=label))
        summaries[label] = evaluation_summary(weights, clean)
        results.append(result)
    frame = pd.concat(parts, ignore_index=True)
    drawing = plots.weight_histograms(frame, summaries)
    plots.small_print(
        drawing,
        f"flip-1, meta set of {results[0].spec.meta_size} · " + small_print(results),
        "Heights are square roots, so that groups of a few examples show beside large ones: read the ticks.",
    )
    return FigureData(frame, drawing, provenance(results) | {"summaries": _by_method(summaries, results)})


def kept_weights(run: Run) -> dict[str, NDArray[Any]]:
    """What the training examples weigh at the end, for the store."""
    weights = run.sample_weights()
    return {} if weights is None else {"weights": weights.numpy()}


def _by_method(summaries: Mapping[str, WeightSummary], results: Sequence[Result]) -> dict[str, Any]:
    return {
        label: summary._asdict()
        | {
            "best_test_accuracy": float(result.best["test_accuracy"]),
            "last_test_accuracy": float(result.history["test_accuracy"].tail(10).mean()),
        }
        for (label, summary), result in zip(summaries.items(), results, strict=True)
    }


# What the lessons say of several seeds.


def _claims(dataset: str, budget: Budget, making: Making, lesson: str) -> FigureData:
    found = claims.lessons()[lesson]
    specs = runner.in_order(spec for claim in found for own in claim.specs().values() for spec in own)
    names = claims.measures(found)
    made = making.obtained(specs, partial(claims.kept, names=names), names)
    frame = claims.frame(found, {result.spec.fingerprint: result for result in made})
    circumstances = [asdict(result.circumstances) for result in made]
    facts = {
        "prose": {claim.name: claim.prose for claim in found},
        "specs": f"lnlib/papers/presets/claims_{lesson}.toml",
        "fingerprints": [result.spec.fingerprint for result in made],
        "trained_with": [one for place, one in enumerate(circumstances) if one not in circumstances[:place]],
    }
    return FigureData(frame, None, facts)


FIGURES: Mapping[str, FigureSpec] = {
    "limit-fig1": FigureSpec(
        "Memorisation under 80% uniform noise, and what stops it (LIMIT, Figure 1)", limit_figures.figure1
    ),
    "limit-fig2": FigureSpec(
        "The smallest training error that Theorem 2.1 allows (LIMIT, Figure 2)",
        limit_figures.figure2,
        needs_data=False,
    ),
    "limit-fig3": FigureSpec(
        "Training and test accuracy under 80% uniform noise, by epoch (LIMIT, Figure 3)",
        limit_figures.figure3,
    ),
    "limit-fig4": FigureSpec(
        "The labels that LIMIT suspects most under uniform noise (LIMIT, Figure 4)", limit_figures.figure4
    ),
    "limit-fig4-by-class": FigureSpec(
        "The same, the first three of each predicted class", partial(limit_figures.figure4, by_class=True)
    ),
    "limit-figA0": FigureSpec(
        "Test accuracy by β under 50% uniform noise (LIMIT, Figure A0)", limit_figures.figure_a0
    ),
    "limit-table1": FigureSpec("Table 1 of LIMIT, the paper's numbers beside ours", limit_figures.table1),
    "metainfonet-fig1": FigureSpec(
        "Sample weights of right and wrong labels under 40% flip-1 noise (MetaInfoNet, Figure 1)", _weights
    ),
    "memorization-split": FigureSpec(
        "Cross-entropy on clean and corrupted labels, epoch by epoch", limit_figures.split
    ),
    **{
        f"claims-{lesson}": FigureSpec(
            f"What lesson {lesson} says of several seeds, as a table", partial(_claims, lesson=lesson), False
        )
        for lesson in claims.lessons()
    },
}
