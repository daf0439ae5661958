"""ImbalanceLab: what a method makes the classes of a long tail weigh, and which of them it then reads.

MetaInfoNet, section 5.2 and table 1.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import numpy as np
import plotly.graph_objects as go
import torch

from lnlib.analysis.imbalance import ENDS
from lnlib.analysis.long_tail import BATCH, CONTENDERS, NET, Array, ByClass, follow
from lnlib.course import plots
from lnlib.course.labs.base import Lab
from lnlib.course.labs.controls import SEED, DataMenu, Menu, Steps, Values, epoch, epochs
from lnlib.course.labs.panels import Scene
from lnlib.course.labs.runs import budget_of, load, place
from lnlib.course.labs.worker import Report
from lnlib.data.task import Task, make_task
from lnlib.errors import InvalidValue
from lnlib.methods import CrossEntropy

FACTORS = (1.0, 2.0, 5.0, 10.0, 20.0, 200.0)
"""*Train* trains at every factor that leaves an image of every class; digits have too few for 200."""

SEEDS = 3
"""Runs at every factor: seed, seed + 1, ..."""

META = 100


@dataclass(frozen=True, eq=False)
class Compared:
    """A method beside Standard at one factor; or, in words, why there is nothing to train there."""

    counts: Array
    standard: ByClass
    method: ByClass
    impossible: str = ""

    @classmethod
    def nothing(cls, epochs: int, why: str = "") -> "Compared":
        empty = np.full((epochs, SEEDS, 10), np.nan)
        none = ByClass(empty, empty, empty[..., 0])
        return cls(np.full(10, np.nan), none, none, why)


class ImbalanceLab(Lab):
    """What a long tail does: a method beside Standard at every imbalance factor, by epoch."""

    settings: ClassVar = {
        "dataset": DataMenu(),
        "method": Menu(value="LogitNet", label="method", width=200, options=CONTENDERS),
        "epochs": epochs(30),
        "seed": SEED,
    }
    views: ClassVar = {
        "factor": Steps(value=20.0, label="imbalance factor", width=320, values=FACTORS),
        "epoch": epoch(300),
    }

    def grid(self, c: Values) -> Collection[float]:
        return FACTORS

    def job(self, c: Values, keys: Sequence[float], report: Report) -> dict[float, Compared]:
        """Train Standard and the method at every factor; one that leaves a class empty is no error."""
        tasks: dict[float, list[Task]] = {}
        made: dict[float, Compared] = {}
        for factor in keys:
            try:
                tasks[factor] = _tasks(c, factor)
            except InvalidValue as error:
                made[factor] = Compared.nothing(c.epochs, str(error))
        batches = [-(-len(found[0].train) // BATCH) for found in tasks.values()]
        taken, total = count(1), 2 * c.epochs * sum(batches)

        def on_step(done: int, of: int) -> None:
            report(next(taken), total)

        for factor, found in tasks.items():
            standard, other = (
                follow(one, found, c.epochs, c.seed, on_step)
                for one in (CrossEntropy(), CONTENDERS[c.method](c.epochs))
            )
            counts = torch.bincount(found[0].train.labels).numpy().astype(float)
            made[factor] = Compared(counts, standard, other)
        return {factor: made[factor] for factor in keys}

    def view(self, results: Mapping[float, Compared], c: Values) -> Scene:
        now, at = results.get(c.factor) or Compared.nothing(c.epochs), c.epoch - 1
        size = "" if np.isnan(now.counts).any() else f", n = {now.counts.sum():.0f}"
        shares = plots.weight_shares(now.counts, now.method.weights[at], c.method)
        accuracies = plots.class_accuracies(now.standard.accuracy[at], now.method.accuracy[at], c.method)
        return Scene(
            [shares, accuracies],
            describe_classes(c.method, c.factor, now, c.epoch) if results else "",
            f"{c.dataset}{size} · imbalance factor {c.factor:g} · even meta set {META} · {NET.label} · "
            f"{c.epochs} epochs, batch {BATCH} · seeds {c.seed} to {c.seed + SEEDS - 1} · {place()}",
        )

    def still(self, results: Mapping[Any, Any], c: Values) -> go.Figure:
        scene = self.view(results, c)
        both = plots.side_by_side(*scene.figures)
        return plots.small_print(both, f"epoch {c.epoch} · {scene.small_print}")


def _tasks(c: Values, factor: float) -> list[Task]:
    """A long-tailed task a seed, with an even meta set; raises `InvalidValue` for an empty class."""
    dataset, size = load(c.dataset), budget_of(c.dataset).train_size
    options: dict[str, Any] = {"train_size": size, "meta_size": META, "imbalance": factor}
    clean = np.eye(dataset.num_classes)
    return [make_task(dataset, clean, c.seed + place, **options) for place in range(SEEDS)]


def describe_classes(method: str, factor: float, compared: Compared, epoch: int) -> str:
    """What a method does to head and tail at an epoch (from 1), in words."""
    if compared.impossible:
        return f"Nothing to train: {compared.impossible}."
    at, counts, mine = epoch - 1, compared.counts, compared.method
    preference = mine.preference(at)
    tail = f"an image of the tail (the last {ENDS} classes)"
    gives = f"{tail} {preference:.2g} times the weight of one of the head"
    if not np.isfinite(preference):
        gives = "examples no weights of their own" if np.isnan(preference) else "the head no weight at all"
    return (
        f"Factor {factor:g}, {counts[0]:.0f} to {counts[-1]:.0f} images of a class, epoch {epoch}: {method} "
        f"gives {gives}. It reads {mine.tail(at):.0%} of the tail and {mine.head(at):.0%} of the head "
        f"(Standard {compared.standard.tail(at):.0%} and {compared.standard.head(at):.0%}), "
        f"{mine.overall(at):.1%} of all test images (Standard {compared.standard.overall(at):.1%})."
    )
