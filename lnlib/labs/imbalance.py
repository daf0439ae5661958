"""ImbalanceLab: what a method makes the classes of a long tail weigh, and which of them it then reads.

MetaInfoNet, section 5.2 and table 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from numpy.typing import NDArray

from lnlib import plots
from lnlib.analysis.imbalance import ENDS, class_accuracy, class_means
from lnlib.data.task import Task, make_task
from lnlib.device import default_device, describe
from lnlib.errors import InvalidValue
from lnlib.labs import training
from lnlib.labs.base import panel, redraw
from lnlib.labs.training import PANEL, TrainingLab, budget_of, check_name, sized
from lnlib.labs.worker import Report
from lnlib.methods import (
    L2RW,
    ClassBalanced,
    CrossEntropy,
    FineTuning,
    FocalLoss,
    LogitNet,
    LossNet,
    MetaInfoNet,
    Method,
)
from lnlib.nets import MLP
from lnlib.training import SGD, Adam, Member, Sweep, sweep

FACTORS = (1.0, 2.0, 5.0, 10.0, 20.0, 200.0)
"""*Train* trains at every factor that leaves an image of every class; digits have too few for 200."""

SEEDS = 3
"""Runs at every factor: seed, seed + 1, ..."""

NET, BATCH, META = MLP(64, 2), 50, 100
META_OPTIMIZER = Adam(3e-3, weight_decay=5e-4)
"""Three times the paper's learning rate: on 357 digits, 40 epochs are 320 steps."""

METHODS: dict[str, Callable[[int], Method]] = {
    ClassBalanced.label: lambda epochs: ClassBalanced(),
    FocalLoss.label: lambda epochs: FocalLoss(),
    FineTuning.label: lambda epochs: FineTuning(last_epochs=max(epochs // 2, 1)),
    L2RW.label: lambda epochs: L2RW(),
    LossNet.label: lambda epochs: LossNet(meta_optimizer=META_OPTIMIZER),
    LogitNet.label: lambda epochs: LogitNet(meta_optimizer=META_OPTIMIZER),
    MetaInfoNet.label: lambda epochs: MetaInfoNet(meta_optimizer=META_OPTIMIZER),
}
"""By label, the method for a run of so many epochs. Fine-tuning gets the second half: later the learning rate
is too small to change anything."""

Array = NDArray[np.float64]
OnStep = Callable[[int, int], None]


def settings(epochs: int) -> dict[str, Any]:
    """What `sweep` needs: plain SGD, so that the virtual step is the real one, its learning rate falling
    after two thirds and five sixths of the epochs.
    """
    milestones = max(epochs * 2 // 3, 1), max(epochs * 5 // 6, 2)
    optimizer = SGD(0.1, momentum=0.0, milestones=milestones)
    return {"net": NET, "batch_size": BATCH, "epochs": epochs, "optimizer": optimizer, "mode": "stacked"}


@dataclass(frozen=True, eq=False)
class ByClass:
    """Runs of a method with several seeds, after each epoch: test accuracy by class and the mean weight of an
    example by class, both (epochs, seeds, K), and training accuracy (epochs, seeds); weights are NaN for a
    method without.
    """

    accuracy: Array
    weights: Array
    training: Array

    def head(self, epoch: int = -1) -> float:
        """The mean accuracy on the largest classes at an epoch (from 0; -1 is the last)."""
        return float(self.accuracy[epoch, :, :ENDS].mean())

    def tail(self, epoch: int = -1) -> float:
        """The mean accuracy on the smallest classes."""
        return float(self.accuracy[epoch, :, -ENDS:].mean())

    def overall(self, epoch: int = -1) -> float:
        """The mean accuracy, all classes counting alike."""
        return float(self.accuracy[epoch].mean())

    def fitted(self, epoch: int = -1) -> float:
        """The mean share of the training images that are read as labelled."""
        return float(self.training[epoch].mean())

    def preference(self, epoch: int = -1) -> float:
        """The weight of an example of a smallest class over that of a largest; NaN without
        weights, infinite where the largest have none."""
        now = self.weights[epoch].mean(axis=0)
        head, tail = float(now[:ENDS].mean()), float(now[-ENDS:].mean())
        return tail / head if head else np.inf


def follow(
    method: Method, tasks: Sequence[Task], epochs: int, seed: int = 0, on_step: OnStep | None = None
) -> ByClass:
    """Train a method on tasks of equal sizes as one sweep, with the seeds seed, seed + 1, ..., and look at
    the classes after each epoch. Raises what `sweep` and `on_step` raise.
    """
    members = [Member(method, task, seed + place) for place, task in enumerate(tasks)]
    runs = sweep(members, on_step=on_step, **settings(epochs))
    accuracy, weights = [], []
    for _ in runs:
        accuracy.append([_accuracy(runs, place) for place in range(len(tasks))])
        weights.append([_weights(runs, place) for place in range(len(tasks))])
    training = np.stack([history.to_frame()["train_accuracy"] for history in runs.histories], axis=1)
    return ByClass(np.array(accuracy), np.array(weights), training)


def summary(runs: Mapping[str, ByClass]) -> pd.DataFrame:
    """What methods, by name, end with: the weight of an image of the tail over one of the head, training
    accuracy, and test accuracies.
    """
    rows = {
        name: {
            "weight, tail : head": round(run.preference(), 1),
            "train": round(run.fitted(), 3),
            "head": round(run.head(), 3),
            "tail": round(run.tail(), 3),
            "all": round(run.overall(), 3),
            "all, by seed": " ".join(f"{one:.3f}" for one in run.accuracy[-1].mean(axis=1)),
        }
        for name, run in runs.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _accuracy(runs: Sweep, place: int) -> Array:
    test = runs.members[place].task.test
    return class_accuracy(runs.outputs(place, test, "classifier"), test.labels).numpy()


def _weights(runs: Sweep, place: int) -> Array:
    task, weights = runs.members[place].task, runs.sample_weights(place)
    if weights is None:
        return np.full(task.num_classes, np.nan)
    return class_means(weights, task.train.labels, task.num_classes).numpy()


@dataclass(frozen=True)
class Setup:
    """Everything that decides the numbers but the imbalance factor; equal setups share their results."""

    dataset: str
    method: str
    epochs: int
    seed: int

    def tasks(self, factor: float) -> list[Task]:
        """A long-tailed task a seed, with an even meta set; raises `InvalidValue` where a class would be
        empty.
        """
        dataset = training.load(self.dataset)
        size = budget_of(self.dataset).train_size
        return [
            make_task(
                dataset,
                np.eye(dataset.num_classes),
                self.seed + place,
                train_size=size,
                meta_size=META,
                imbalance=factor,
            )
            for place in range(SEEDS)
        ]


@dataclass(frozen=True, eq=False)
class Compared:
    """A method beside Standard at one factor; or, in words, why there is nothing to train there."""

    counts: Array
    standard: ByClass
    method: ByClass
    impossible: str = ""

    @classmethod
    def nothing(cls, epochs: int, why: str = "") -> "Compared":
        """No numbers."""
        empty = np.full((epochs, SEEDS, 10), np.nan)
        none = ByClass(empty, empty, empty[..., 0])
        return cls(np.full(10, np.nan), none, none, why)


def train(setup: Setup, factors: Sequence[float], report: Report) -> dict[float, Compared]:
    """Train Standard and the setup's method at every factor; `report` hears of every step.

    Raises what loading, training and `report` raise. A factor that leaves a class empty is no error.
    """
    tasks: dict[float, list[Task]] = {}
    made: dict[float, Compared] = {}
    for factor in factors:
        try:
            tasks[factor] = setup.tasks(factor)
        except InvalidValue as error:
            made[factor] = Compared.nothing(setup.epochs, str(error))
    batches = [-(-len(found[0].train) // BATCH) for found in tasks.values()]
    total = 2 * setup.epochs * sum(batches)
    method = METHODS[setup.method](setup.epochs)
    taken = 0

    def on_step(done: int, of: int) -> None:
        nonlocal taken
        taken += 1
        report(taken, total)

    for factor, found in tasks.items():
        standard, other = (
            follow(one, found, setup.epochs, setup.seed, on_step) for one in (CrossEntropy(), method)
        )
        counts = torch.bincount(found[0].train.labels).numpy().astype(float)
        made[factor] = Compared(counts, standard, other)
    return {factor: made[factor] for factor in factors}


def describe_classes(method: str, factor: float, compared: Compared, epoch: int) -> str:
    """What a method does to head and tail at an epoch (from 1), in words."""
    if compared.impossible:
        return f"Nothing to train: {compared.impossible}."
    at, counts, mine = epoch - 1, compared.counts, compared.method
    text = (
        f"Factor {factor:g}, {counts[0]:.0f} to {counts[-1]:.0f} images of a class, epoch {epoch}: {method} "
    )
    preference = mine.preference(at)
    if np.isnan(preference):
        text += "gives examples no weights of their own. It "
    elif np.isfinite(preference):
        text += (
            f"gives an image of the tail (the last {ENDS} classes) {preference:.2g} times the weight of one "
            "of the head. It "
        )
    else:
        text += "gives the head no weight at all. It "
    return text + (
        f"reads {mine.tail(at):.0%} of the tail and {mine.head(at):.0%} of the head (Standard "
        f"{compared.standard.tail(at):.0%} and {compared.standard.head(at):.0%}), "
        f"{mine.overall(at):.1%} of all test images (Standard {compared.standard.overall(at):.1%})."
    )


class ImbalanceLab(TrainingLab[Setup, float, Compared]):
    """*Train* runs a method and Standard at every imbalance factor in a worker thread; then the sliders move
    at once.

    Controls are the attributes `dataset`, `method`, `epochs`, `seed`, `factor` and `epoch`; buttons are
    `train_button`, `stop_button` and `reset_button`; `train()`, `stop()` and `reset()` do what they do;
    `wait()` waits. Results are kept by settings until *Reset*. Raises `UnknownName` for an unknown data set
    or method, `InvalidValue` for a factor that the lab does not train.
    """

    def __init__(
        self,
        dataset: str = "digits",
        method: str = "LogitNet",
        epochs: int = 30,
        seed: int = 0,
        factor: float = 20.0,
    ) -> None:
        super().__init__(dataset, epochs, seed)
        check_name("method", method, METHODS)
        if factor not in FACTORS:
            options = ", ".join(f"{option:g}" for option in FACTORS)
            raise InvalidValue(
                f"imbalance factor must be one of {options}, got {factor}; choose one that the lab trains"
            )
        self.train_button.tooltip = f"Train {SEEDS} seeds at {len(FACTORS)} imbalance factors"
        self.method = widgets.Dropdown(
            options=list(METHODS), value=method, description="method", **sized(200)
        )
        self.factor = widgets.SelectionSlider(
            options=[(f"{value:g}", value) for value in FACTORS],
            value=factor,
            description="imbalance factor",
            **sized(320),
        )
        self.shares, self.accuracy = panel(self._shares), panel(self._accuracy)
        for shown in (self.shares, self.accuracy):
            shown.layout.legend = {}
            shown.update_layout(PANEL).update_layout(height=440, margin_b=136)
        self.assemble(
            settings=(self.dataset, self.method, self.epochs, self.seed),
            views=(self.factor, self.epoch),
            panels=(self.shares, self.accuracy),
        )

    @property
    def setup(self) -> Setup:
        """What the controls ask for."""
        return Setup(self.dataset.value, self.method.value, self.epochs.value, self.seed.value)

    @property
    def grid(self) -> tuple[float, ...]:
        """The imbalance factors."""
        return FACTORS

    @property
    def compared(self) -> Compared:
        """What is on show; empty before it is trained."""
        return self.results.get(self.factor.value) or Compared.nothing(self.epochs.value)

    def job(self, setup: Setup, keys: Sequence[float], report: Report) -> dict[float, Compared]:
        """`train`."""
        return train(setup, keys, report)

    def draw(self) -> None:
        """Bring both panels up to the controls."""
        for shown, figure in ((self.shares, self._shares), (self.accuracy, self._accuracy)):
            redraw(shown, figure)
            for old, new in zip(shown.data, figure.data, strict=True):
                if isinstance(new, go.Bar) and old.marker.color != new.marker.color:  # another method
                    old.marker.color = new.marker.color

    def words(self) -> str:
        """What the method does to head and tail at the chosen epoch."""
        return describe_classes(self.method.value, self.factor.value, self.compared, self.epoch.value)

    def facts(self) -> str:
        """Data, imbalance, net, budget and device."""
        setup, counts = self.setup, self.compared.counts
        size = "" if np.isnan(counts).any() else f", n = {counts.sum():.0f}"
        return (
            f"{setup.dataset}{size} · imbalance factor {self.factor.value:g} · even meta set {META} · "
            f"{NET.label} · {setup.epochs} epochs, batch {BATCH} · seeds {setup.seed} to "
            f"{setup.seed + SEEDS - 1} · {describe(default_device())}"
        )

    def snapshot(self) -> go.Figure:
        """Both panels as one static figure."""
        both = plots.side_by_side(go.Figure(self.shares), go.Figure(self.accuracy))
        both.update_layout(barmode="overlay").update_xaxes(dtick=1)
        return plots.small_print(both, f"epoch {self.epoch.value} · {self.facts()}")

    @property
    def _shares(self) -> go.Figure:
        now = self.compared
        return plots.weight_shares(now.counts, now.method.weights[self._at], self.method.value)

    @property
    def _accuracy(self) -> go.Figure:
        now = self.compared
        return plots.class_accuracies(
            now.standard.accuracy[self._at], now.method.accuracy[self._at], self.method.value
        )

    @property
    def _at(self) -> int:
        return int(self.epoch.value) - 1
