"""The figures that `lnlib figures` regenerates: each is a table of data, the drawing of it, and where its
numbers come from.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go
import torch
from numpy.typing import NDArray

from lnlib import bounds
from lnlib.analysis import detection
from lnlib.analysis.weights import WeightSummary, evaluation_histogram, evaluation_summary
from lnlib.course import plots
from lnlib.device import default_device
from lnlib.errors import InvalidValue, unknown_name
from lnlib.files import write_csv, write_text
from lnlib.papers import claims, runner, tables, writing
from lnlib.papers.request import Request
from lnlib.papers.run_folder import Arrays
from lnlib.papers.spec import Spec
from lnlib.papers.store import Circumstances, Result, Store
from lnlib.training import Epoch, Run

Budget = Literal["quick", "full"]
Grid = tuple[Mapping[str, Any], ...]
OnProgress = Callable[[str, float], None]
"""Called with what is being done and the share that is done."""


@dataclass(frozen=True)
class FigureData:
    """A figure's table, its drawing, None for a table alone, and its provenance (specs, seeds, device,
    versions).
    """

    frame: pd.DataFrame
    drawing: go.Figure | None
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class FigureSpec:
    """How a figure is made. `needs_data` tells whether `dataset` and `budget` change it."""

    title: str
    make: Callable[[str, Budget, Store, OnProgress], FigureData]
    needs_data: bool = True


def make(
    name: str,
    dataset: str = "digits",
    budget: Budget = "quick",
    output: Path | str = "figures",
    store: Store | None = None,
    progress: OnProgress = lambda what, share: None,
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
    figure = spec.make(dataset, budget, store or Store(), progress)
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", dataset).strip("-")
    stem = Path(output) / (f"{name}-{slug}" if spec.needs_data else name)
    table, facts = Path(f"{stem}.csv"), Path(f"{stem}.json")
    write_csv(table, figure.frame, float_format="%.6g")
    write_text(facts, json.dumps(figure.provenance, indent=1) + "\n")
    return [table, facts, *(plots.save(figure.drawing, stem) if figure.drawing else ())]


# Figure 1: memorisation, and what stops it.

RATE = 0.8


DROPOUT = tuple({"net_options": {"dropout": rate}} for rate in (0.25, 0.5, 0.75))
DECAY = tuple({"optimizer_options": {"weight_decay": decay}} for decay in (1e-4, 1e-3, 3e-3))
BETA = tuple({"method": "limit", "method_options": {"q": "laplace", "beta": b}} for b in (3.0, 10.0, 30.0))
CURVES: Mapping[str, Grid]
CURVES = {"CE": ({},), "CE + dropout": DROPOUT, "CE + weight decay": DECAY, "LIMIT-L": BETA}
"""Each line with the settings from which noisy validation chooses: the grids of the reference code, of whose
five β (1, 3, 10, 30, 100) the middle three are kept.
"""


def figure1_runs(dataset: str, budget: Budget) -> list[tuple[str, Spec]]:
    """The runs behind Figure 1, with the line that each belongs to."""
    small = dataset == "digits"
    net = {"width": 64 if small else 512, "depth": 4}
    runs = []
    for label, settings in CURVES.items():
        for setting in settings if budget == "full" else [settings[len(settings) // 2]]:
            fields: dict[str, Any] = {
                "dataset": dataset,
                "rate": RATE,
                "epochs": (60 if small else 50) if budget == "full" else 20,
                "batch_size": 64 if small else 256,
                "train_size": None if budget == "full" or small else 5000,
                **setting,
            }
            fields["net_options"] = net | dict(setting.get("net_options", {}))
            runs.append((label, Spec.parse(fields)))
    return runs


def _figure1(dataset: str, budget: Budget, store: Store, progress: OnProgress) -> FigureData:
    runs = figure1_runs(dataset, budget)
    made = list(_results([run for _, run in runs], store, progress))
    frame = figure1_frame([(label, result) for (label, _), result in zip(runs, made, strict=True)])
    drawing = plots.figure1(frame[frame["selected"]], RATE)
    return FigureData(frame, plots.small_print(drawing, small_print(made)), provenance(made))


def _results(
    runs: Sequence[Spec],
    store: Store,
    progress: OnProgress,
    keep: Callable[[Run], Arrays] | None = None,
    names: Collection[str] = (),
) -> Iterator[Result]:
    """The runs' results, one after the other; all have the arrays of these names, which `keep` makes."""
    for position, run in enumerate(runs):

        def tick(epoch: Epoch, position: int = position, run: Spec = run) -> None:
            progress(run.label, (position + epoch.epoch / run.epochs) / len(runs))

        result = store.obtain(run, on_epoch=tick, keep=keep)
        if not {*names} <= {*result.arrays()}:  # made by another command, which keeps others or none
            store.remove(run.fingerprint)
            result = store.obtain(run, on_epoch=tick, keep=keep)
        yield result
        progress(run.label, (position + 1) / len(runs))


def figure1_frame(results: Sequence[tuple[str, Result]]) -> pd.DataFrame:
    """One row a run and epoch; `selected` marks, for each line, the setting with the best noisy-validation
    accuracy.
    """
    parts = []
    for label, result in results:
        part = result.history.copy()
        part.insert(0, "method", label)
        part.insert(1, "setting", setting_text(result.spec))
        part.insert(2, "seed", result.spec.seed)
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    best = frame.groupby(["method", "setting"], sort=False)["validation_accuracy"].max().reset_index()
    winners = best.loc[best.groupby("method")["validation_accuracy"].idxmax()]
    chosen = set(zip(winners["method"], winners["setting"], strict=True))
    frame["selected"] = [pair in chosen for pair in zip(frame["method"], frame["setting"], strict=True)]
    return frame


def setting_text(run: Spec) -> str:
    """The hyper-parameter that Figure 1's grids vary, in words."""
    if "dropout" in run.net_options:
        return f"dropout={run.net_options['dropout']:g}"
    if "weight_decay" in run.optimizer_options:
        return f"weight_decay={run.optimizer_options['weight_decay']:g}"
    return f"beta={run.method_options['beta']:g}" if "beta" in run.method_options else "-"


# Figure 2: the bound, for several noise rates.


def _figure2(dataset: str, budget: Budget, store: Store, progress: OnProgress) -> FigureData:
    frame = plots.r0_frame(plots.FAMILY, num_classes=10)
    progress("Figure 2", 1.0)
    facts = {"formula": "lnlib.bounds.r0", "num_classes": 10, "rates": plots.FAMILY}
    return FigureData(frame, plots.figure2(frame), facts)


# The memorisation split of one run.


def _split(dataset: str, budget: Budget, store: Store, progress: OnProgress) -> FigureData:
    label, run = figure1_runs(dataset, budget)[0]
    run = run.model_copy(update={"rate": 0.5})
    result = store.obtain(run, on_epoch=lambda epoch: progress(run.label, epoch.epoch / run.epochs))
    entropy = float(bounds.label_entropy(run.matrix()))
    drawing = plots.memorization_split(result.history, run.rate, entropy)
    plots.small_print(drawing, f"{label} · " + small_print([result]))
    return FigureData(result.history, drawing, provenance([result]))


# Table 1 as a chart, Figure 3 from its runs, and Figure 4 from LIMIT's.

TABLE_BUDGETS: Mapping[Budget, str] = {"quick": "quick", "full": "laptop"}
FIGURE3_ROWS = ("ce", "mae", "fw", "dmi", "limit-g-s", "limit-l-s")
SUSPECTS = 32


def _table1(dataset: str, budget: Budget, store: Store, progress: OnProgress) -> FigureData:
    request = Request.parse("limit-table1", dataset, TABLE_BUDGETS[budget])
    frame = tables.reproduce(request, store, progress)
    drawing = plots.table_chart(frame, request.table.title)
    plots.small_print(drawing, writing.short_caption(request, frame))
    chosen = [store.find(spec) for spec in request.specs()]
    return FigureData(frame, drawing, provenance([result for result in chosen if result]))


def _chosen(
    rows: Sequence[str], dataset: str, budget: Budget, store: Store, progress: OnProgress
) -> dict[str, Result]:
    """Rows of Table 1 at p = 0.8 and all images, each at the setting that noisy validation chooses."""
    request = Request.parse("limit-table1", dataset, TABLE_BUDGETS[budget], rows, [f"p={RATE:g},n=all"])
    runner.make(request.specs(), store, progress=progress)
    chosen = {}
    for row in request.rows:
        complete = tables.finished(request.grid(row, request.cells[0]), store)
        if complete:
            chosen[row.paper] = max(complete, key=lambda one: one[0])[2][0]
    return chosen


def _figure3(dataset: str, budget: Budget, store: Store, progress: OnProgress) -> FigureData:
    chosen = _chosen(FIGURE3_ROWS, dataset, budget, store, progress)
    parts = []
    for name, result in chosen.items():
        part = result.history.copy()
        part.insert(0, "method", LINES.get(name, name))
        part.insert(1, "seed", result.spec.seed)
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    drawing = plots.figure3(frame, RATE)
    made = list(chosen.values())
    return FigureData(frame, plots.small_print(drawing, small_print(made)), provenance(made))


LINES = {"LIMIT_G -S": "LIMIT-G", "LIMIT_L -S": "LIMIT-L"}
"""How lines are called where the table's rows say more than is needed."""


def _figure4(dataset: str, budget: Budget, store: Store, progress: OnProgress) -> FigureData:
    (result,) = _chosen(["limit-l-s"], dataset, budget, store, progress).values()
    trained, states = result.spec.new_run(), result.best_states()
    trained.set_weights({name: states[name] for name in trained.nets})  # older stores hold meters beside them
    task = trained.task
    ranked = detection.suspects(task, {"training": trained.logits("train", "predictor")})
    marked = detection.evaluation_frame(ranked, task)
    score, wrong = marked["score"].to_numpy(), marked["wrong"].to_numpy()
    auc = detection.evaluation_auc(score, wrong)
    top = marked.head(SUSPECTS)
    images = task.dataset.train_images[torch.from_numpy(top["row"].to_numpy())].numpy()
    shown = top.assign(row=range(len(top)))
    drawing = plots.suspect_gallery(shown, images, top["wrong"].tolist())
    plots.small_print(drawing, f"LIMIT-L, AUC {auc:.2%} on training examples · " + small_print([result]))
    return FigureData(marked.head(1000), drawing, provenance([result]) | {"auc": auc})


# Figure 1 of MetaInfoNet: the weights of training examples.

WEIGHERS = {"LossNet": "lossnet", "LogitNet": "logitnet", "MetaInfoNet": "metainfonet", "L2RW": "l2rw"}
"""The paper's three networks, and L2RW, which weighs without one."""


def weights_runs(dataset: str, budget: Budget) -> dict[str, Spec]:
    """The runs behind the histograms: 40% flip-1 noise, and a meta set of 100 or, for "full" beyond digits,
    of 1000 clean images; the learning rate falls after two and five sixths of the epochs.
    """
    small, full = dataset == "digits", budget == "full"
    epochs = 60 if full and small else 30
    fields = {
        "dataset": dataset,
        "train_size": None if small else (5000 if full else 2000),
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


def _weights(dataset: str, budget: Budget, store: Store, progress: OnProgress) -> FigureData:
    runs = weights_runs(dataset, budget)
    parts, summaries, results = [], {}, []
    for label, result in zip(
        runs, _results([*runs.values()], store, progress, kept_weights, ["weights"]), strict=True
    ):
        task, weights = result.spec.task(), result.arrays()["weights"]
        clean = (task.train.labels == task.truth.train_labels).numpy()
        parts.append(evaluation_histogram(weights, clean).assign(method=label))
        summaries[label] = evaluation_summary(weights, clean)
        results.append(result)
    frame = pd.concat(parts, ignore_index=True)
    drawing = plots.weight_histograms(frame, summaries)
    plots.small_print(drawing, f"flip-1, meta set of {results[0].spec.meta_size} · " + small_print(results))
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


def _claims(dataset: str, budget: Budget, store: Store, progress: OnProgress, lesson: str) -> FigureData:
    found = claims.lessons()[lesson]
    specs = runner.in_order(spec for claim in found for own in claim.specs().values() for spec in own)
    names = claims.measures(found)
    made = list(_results(specs, store, progress, partial(claims.kept, names=names), names))
    frame = claims.frame(found, {result.spec.fingerprint: result for result in made})
    circumstances = [asdict(result.circumstances) for result in made]
    facts = {
        "prose": {claim.name: claim.prose for claim in found},
        "specs": f"lnlib/papers/presets/claims_{lesson}.toml",
        "fingerprints": [result.spec.fingerprint for result in made],
        "trained_with": [one for place, one in enumerate(circumstances) if one not in circumstances[:place]],
    }
    return FigureData(frame, None, facts)


def small_print(results: Sequence[Result]) -> str:
    """Data set, net, budget, seeds and device in one line."""
    run, device = results[0].spec, results[0].circumstances.device
    size = f"n = {run.train_size}" if run.train_size else "all of its training split"
    net, seeds = run.member_parts()[1].net.label, sorted({result.spec.seed for result in results})
    note = f" · {run.note()}" if run.note() else ""
    return (
        f"{run.dataset}, {size}, {run.noise} noise {run.rate:.0%} · {net} · {run.epochs} epochs, "
        f"batch {run.batch_size} · seed {', '.join(map(str, seeds))} · {device}{note}"
    )


def provenance(results: Sequence[Result]) -> dict[str, Any]:
    """The specs and circumstances behind a figure, as plain values."""
    return {
        "runs": [
            {"fingerprint": result.spec.fingerprint, "spec": result.spec.model_dump(mode="json")}
            | asdict(result.circumstances)
            for result in results
        ],
        "made_with": asdict(Circumstances.here(default_device())),
    }


FIGURES: Mapping[str, FigureSpec] = {
    "limit-fig1": FigureSpec(
        "Memorisation under 80% uniform noise, and what stops it (LIMIT, Figure 1)", _figure1
    ),
    "limit-fig2": FigureSpec(
        "The smallest training error that Theorem 2.1 allows (LIMIT, Figure 2)", _figure2, needs_data=False
    ),
    "limit-fig3": FigureSpec(
        "Training and test accuracy under 80% uniform noise, by epoch (LIMIT, Figure 3)", _figure3
    ),
    "limit-fig4": FigureSpec(
        "The labels that LIMIT suspects most under 80% uniform noise (LIMIT, Figure 4)", _figure4
    ),
    "limit-table1": FigureSpec("Table 1 of LIMIT, the paper's numbers beside ours", _table1),
    "metainfonet-fig1": FigureSpec(
        "Sample weights of right and wrong labels under 40% flip-1 noise (MetaInfoNet, Figure 1)", _weights
    ),
    "memorization-split": FigureSpec("Cross-entropy on clean and corrupted labels, epoch by epoch", _split),
    **{
        f"claims-{lesson}": FigureSpec(
            f"What lesson {lesson} says of several seeds, as a table", partial(_claims, lesson=lesson), False
        )
        for lesson in claims.lessons()
    },
}
