"""The figures of LIMIT that `lnlib figures` regenerates: Figures 1 to 4 and A0, the memorisation split, and
Table 1 as a chart.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lnlib import bounds
from lnlib.analysis import detection
from lnlib.course import plots
from lnlib.errors import LnlibError
from lnlib.papers import tables, writing
from lnlib.papers.figure_data import Budget, FigureData, Making, provenance, small_print
from lnlib.papers.presets import TABLES
from lnlib.papers.request import Request
from lnlib.papers.spec import Spec
from lnlib.papers.store import Result

Grid = tuple[Mapping[str, Any], ...]

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


SEEDS = (0, 1, 2)
"""The first chooses the settings; those that it chooses are trained with all."""


def figure1_runs(dataset: str, budget: Budget) -> list[tuple[str, Spec]]:
    """The runs of the first seed behind Figure 1, with the line that each belongs to."""
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
                "seed": SEEDS[0],
                **setting,
            }
            fields["net_options"] = net | dict(setting.get("net_options", {}))
            runs.append((label, Spec.parse(fields)))
    return runs


def figure1(dataset: str, budget: Budget, making: Making) -> FigureData:
    labels, runs = zip(*figure1_runs(dataset, budget), strict=True)
    # Of the work that lies ahead the first seed takes this share.
    lines, others = len({*labels}), len(SEEDS) - 1
    share = len(runs) / (len(runs) + lines * others)
    made = making.part(0, share).obtained(runs)
    best = _chosen_settings(list(zip(labels, made, strict=True)))
    more = [result.spec.model_copy(update={"seed": seed}) for _, result in best for seed in SEEDS[1:]]
    rest = making.part(share, 1).obtained(more)
    labels += tuple(label for label, _ in best for _ in SEEDS[1:])
    made += rest
    frame = figure1_frame(list(zip(labels, made, strict=True)))
    drawing = plots.figure1(frame[frame["selected"]], 1 - RATE)
    return FigureData(frame, plots.small_print(drawing, small_print(made)), provenance(made))


def _chosen_settings(results: Sequence[tuple[str, Result]]) -> list[tuple[str, Result]]:
    """For each line the run of the first seed with the best noisy-validation accuracy."""
    best: dict[str, Result] = {}
    for label, result in results:
        if result.spec.seed == SEEDS[0]:
            known = best.setdefault(label, result)
            if result.best["validation_accuracy"] > known.best["validation_accuracy"]:
                best[label] = result
    return list(best.items())


def figure1_frame(results: Sequence[tuple[str, Result]]) -> pd.DataFrame:
    """One row a run and epoch; `selected` marks, for each line, the setting with which the first seed has the
    best noisy-validation accuracy.
    """
    chosen = {(label, setting_text(result.spec)) for label, result in _chosen_settings(results)}
    parts = []
    for label, result in results:
        setting = setting_text(result.spec)
        part = result.history.assign(selected=(label, setting) in chosen)
        part.insert(0, "method", label)
        part.insert(1, "setting", setting)
        part.insert(2, "seed", result.spec.seed)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def setting_text(run: Spec) -> str:
    """The hyper-parameter that Figure 1's grids vary, in words."""
    if "dropout" in run.net_options:
        return f"dropout={run.net_options['dropout']:g}"
    if "weight_decay" in run.optimizer_options:
        return f"weight_decay={run.optimizer_options['weight_decay']:g}"
    return f"beta={run.method_options['beta']:g}" if "beta" in run.method_options else "plain"


# Figure 2: the bound, for several noise rates.


def figure2(dataset: str, budget: Budget, making: Making) -> FigureData:
    frame = plots.r0_frame(plots.FAMILY, num_classes=10)
    making.progress("Figure 2", 1.0)
    facts = {"formula": "lnlib.bounds.r0", "num_classes": 10, "rates": plots.FAMILY}
    return FigureData(frame, plots.figure2(frame), facts)


# The memorisation split of one run.


def split(dataset: str, budget: Budget, making: Making) -> FigureData:
    label, run = figure1_runs(dataset, budget)[0]
    run = run.model_copy(update={"rate": 0.5})
    (result,) = making.obtained([run])
    entropy = float(bounds.label_entropy(run.matrix()))
    drawing = plots.memorization_split(result.history, 1 - run.rate, entropy)
    plots.small_print(drawing, f"{label} · " + small_print([result]))
    return FigureData(result.history, drawing, provenance([result]))


# Table 1 as a chart, Figure 3 from its runs, and Figure 4 from LIMIT's.

TABLE_BUDGETS: Mapping[Budget, str] = {"quick": "quick", "full": "cores"}
Place = tuple[str, tuple[str, ...], str]
"""Where a figure's runs come from: table, rows and cell."""
FIGURE3: Place = ("limit-table1", ("ce", "mae", "fw", "dmi", "limit-g-s", "limit-l-s"), f"p={RATE:g},n=all")
FIGURE4: Place = ("limit-table1", ("limit-l-s",), f"p={RATE:g},n=all")
FIGURE4_CIFAR: Place = ("limit-table2", ("limit-l+init",), "uniform, p=0.4")
SUSPECTS, EACH, MOST_COLUMNS = 32, 3, 10
"""How many suspects Figure 4 shows, and how many of each class."""
SATURATED = 1.41
"""Of Figure 4's scores, which end at √2."""


def table1(dataset: str, budget: Budget, making: Making) -> FigureData:
    request = Request.parse("limit-table1", dataset, TABLE_BUDGETS[budget])
    frame = tables.reproduce(request, making.store, making.progress, executor=making.executor)
    shown = frame.assign(method=frame["method"].map(spelled))
    drawing = plots.table_chart(shown, request.table.title)
    plots.small_print(drawing, writing.short_caption(request, frame))
    behind = {name for names in frame["fingerprints"].dropna() for name in str(names).split()}
    tried = (spec for grid in request.grids for _, specs in grid for spec in specs)
    chosen = [making.store.find(spec) for spec in tried if spec.fingerprint in behind]
    return FigureData(frame, drawing, provenance([result for result in chosen if result]))


def spelled(method: str) -> str:
    """A row's name as the figures spell it: "LIMIT-G + S" for the table's "LIMIT_G +S"."""
    return re.sub(r" ([+-])S$", r" \1 S", method).replace("LIMIT_", "LIMIT-").replace(" - ", " − ")


def _chosen(
    place: Place, dataset: str, budget: Budget, making: Making, *, first: bool
) -> dict[str, list[Result]]:
    """Rows of a table's cell, each with its runs at the setting that noisy validation chooses; of the `first`
    seed alone, or of all. Raises `LnlibError` where all of them diverged.
    """
    (table, rows, cell), protocol = place, TABLE_BUDGETS[budget]
    seeds = (TABLES[table].protocols[protocol].seeds or TABLES[table].seeds)[:1] if first else None
    request = Request.parse(table, dataset, protocol, rows, [cell], seeds)
    tables.make(request, making.store, making.progress, executor=making.executor)
    chosen = {}
    for row in request.rows:
        _, results = tables.choice(
            tables.finished(request, request.grid(row, request.cells[0]), making.store)
        )
        if results:
            chosen[row.paper] = results
    if not chosen:
        raise LnlibError(f"all runs of {cell} of {table} on {dataset} have diverged; try another data set")
    return chosen


def figure3(dataset: str, budget: Budget, making: Making) -> FigureData:
    chosen = _chosen(FIGURE3, dataset, budget, making, first=False)
    parts = []
    for name, results in chosen.items():
        for result in results:
            part = result.history.copy()
            part.insert(0, "method", LINES.get(name, name))
            part.insert(1, "seed", result.spec.seed)
            parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    drawing = plots.figure3(frame, RATE)
    made = [result for results in chosen.values() for result in results]
    return FigureData(frame, plots.small_print(drawing, small_print(made)), provenance(made))


LINES = {"LIMIT_G -S": "LIMIT-G", "LIMIT_L -S": "LIMIT-L"}
"""How lines are called where the table's rows say more than is needed."""


def figure4(dataset: str, budget: Budget, making: Making, by_class: bool = False) -> FigureData:
    place = FIGURE4_CIFAR if dataset.startswith("cifar") else FIGURE4
    ((name, (result,)),) = _chosen(place, dataset, budget, making, first=True).items()
    result = result.with_weights(lambda spec: making.obtained([spec])[0])  # they may lie on another machine
    trained = result.run()
    task = trained.task
    logits = {name: trained.logits("train", name) for name in ("predictor", "classifier")}
    marked = detection.evaluation_frame(detection.suspects(task, {"training": logits["predictor"]}), task)
    auc = detection.evaluation_auc(marked["score"].to_numpy(), marked["wrong"].to_numpy())
    labels = task.train.labels, task.truth.train_labels
    recovered = {name: detection.evaluation_recovered(one, *labels) for name, one in logits.items()}
    top = detection.first_of_each(marked, EACH) if by_class else marked.head(SUSPECTS)
    images = task.dataset.train_images[top["row"].tolist()].numpy()
    columns = min(top["suggested"].nunique(), MOST_COLUMNS) if by_class else 8
    drawing = plots.suspect_gallery(top.assign(row=range(len(top))), images, top["wrong"].tolist(), columns)
    whose = f"the {EACH} highest scores of each predicted class" if by_class else "the highest scores"
    saturated = ""
    if top["score"].max() > SATURATED:
        saturated = (
            ", nearly reached where the predictor is certain of another class; the order there is decided by "
            "decimals that are not shown, and says only how large a class's logits grow"
        )
    words = (
        f"{spelled(LINES.get(name, name))}: {whose}, ‖μ − g‖₂ = ‖y − s(r)‖₂. The largest possible is √2 = "
        f"1.414{saturated}. "
        f"Training examples: AUC {auc:.2%}; in place of wrong labels the predictor says the true ones for "
        f"{recovered['predictor']:.1%}, the classifier for {recovered['classifier']:.1%}. The paper names no "
        "noise rate for its figure."
    )
    plots.small_print(drawing, words, small_print([result]))
    facts = {"auc": auc, "wrong_labels_recovered": recovered}
    frame = top if by_class else marked.head(1000)
    return FigureData(frame, drawing, provenance([result]) | facts)


# Figure A0 of LIMIT: the choice of β.

BETAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


def figure_a0_runs(dataset: str, budget: Budget) -> list[Spec]:
    """The runs behind Figure A0: the reference code's grid of β for both kinds of q, half of the labels
    wrong; beyond digits on 1000 images with the CNN, as in Table 1. The budget "full" has three seeds.
    """
    small = dataset == "digits"
    fields: dict[str, Any] = {
        "dataset": dataset,
        "rate": 0.5,
        "method": "limit",
        "epochs": 60 if small else 150,
        "batch_size": 64 if small else 256,
        "evaluate_every": 2 if small else 5,
        "train_size": None if small else 1000,
        "net": "mlp" if small else "cnn",
    }
    seeds = SEEDS if budget == "full" else SEEDS[:1]
    options = [{"q": q, "beta": beta} for q in ("gaussian", "laplace") for beta in BETAS]
    return [Spec.parse({**fields, "seed": seed, "method_options": own}) for seed in seeds for own in options]


def figure_a0(dataset: str, budget: Budget, making: Making) -> FigureData:
    made = making.obtained(figure_a0_runs(dataset, budget))
    frame = pd.DataFrame(
        {
            **result.spec.method_options,
            "seed": result.spec.seed,
            "validation": result.best["validation_accuracy"],
            "best_epoch": int(result.best["epoch"]),
            "best": result.best["test_accuracy"],
            "last": result.last,
        }
        for result in made
    )
    spread = ("Bars are the range of the seeds.",) if frame["seed"].nunique() > 1 else ()
    drawing = plots.small_print(plots.figure_a0(frame), small_print(made), *spread)
    return FigureData(frame, drawing, provenance(made))
