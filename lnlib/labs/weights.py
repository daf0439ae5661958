"""WeightsLab: what LossNet, LogitNet, MetaInfoNet and L2RW make each training example weigh.

MetaInfoNet, Figure 1, for other noise and at every epoch.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import ipywidgets as widgets
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from lnlib import noise, plots
from lnlib.analysis.weights import EDGES, WeightSummary, evaluation_histogram, evaluation_summary
from lnlib.data.task import Task, make_task
from lnlib.device import default_device, describe
from lnlib.errors import InvalidValue
from lnlib.labs import training
from lnlib.labs.base import panel, redraw
from lnlib.labs.training import TrainingLab, budget_of, check_name, sized
from lnlib.labs.worker import Report
from lnlib.methods import L2RW, LogitNet, LossNet, MetaInfoNet, Method
from lnlib.nets import MLP
from lnlib.training import SGD, History, Member, sweep

RATES = (0.2, 0.4, 0.6)
LAMBDAS = (0.0, 0.01, 0.1, 1.0)
"""*Train* trains the four methods at every noise rate, MetaInfoNet with every λ."""

KINDS = {"flip-1": 1, "flip-2": 2, "symmetric": 0}
"""The noises, with the number of wrong classes that a class's labels move to; 0 for all."""

NET, BATCH, META = MLP(64, 2), 100, 100
Key = tuple[float, str, float]
"""Noise rate, the method's label, λ (0 for all but MetaInfoNet)."""

METHODS: dict[str, type[Method]] = {method.label: method for method in (LossNet, LogitNet, MetaInfoNet, L2RW)}
COLUMNS = {
    "auc": "AUC",
    "clean": "mean weight, right",
    "noisy": "mean weight, wrong",
    "effective": "effective sample size",
    "information_nats": "nats",
    "best": "test, best",
    "last": "test, last",
}
EMPTY = pd.DataFrame({"low": EDGES[:-1], "high": EDGES[1:], "clean": 0, "noisy": 0})


@dataclass(frozen=True)
class Setup:
    """Everything that decides the numbers but noise rate, method and λ; equal setups share their results."""

    dataset: str
    kind: str
    epochs: int
    seed: int

    def task(self, rate: float) -> Task:
        """The task at a noise rate, with a meta set."""
        loaded = training.load(self.dataset)
        return make_task(
            loaded,
            matrix(self.kind, rate, loaded.num_classes, self.seed),
            self.seed,
            train_size=budget_of(self.dataset).train_size,
            meta_size=META,
        )

    @property
    def optimizer(self) -> SGD:
        """The paper's, its learning rate falling after two and five sixths of the epochs."""
        return SGD(0.1, milestones=(max(self.epochs * 2 // 3, 1), max(self.epochs * 5 // 6, 2)))


@dataclass(frozen=True, eq=False)
class Weighed:
    """A run as the lab shows it: a histogram and a summary of the weights after each epoch, and the
    history.
    """

    histograms: Sequence[pd.DataFrame]
    summaries: Sequence[WeightSummary]
    history: pd.DataFrame
    num_train: int

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The last epoch's summary, the bottleneck's nats, and the test accuracy at the best noisy validation
        and as the mean of the last ten epochs.
        """
        accuracy = self.history["test_accuracy"]
        return {
            **self.summaries[-1]._asdict(),
            "information_nats": self._nats,
            "best": float(accuracy[self.history["validation_accuracy"].idxmax()]),
            "last": float(accuracy.tail(10).mean()),
        }

    @property
    def _nats(self) -> float:
        """The nats of the bottleneck at the end; not a number for methods without one."""
        nats = self.history.get("information_nats")
        return np.nan if nats is None or not nats.iloc[-1] else float(nats.iloc[-1])


def matrix(kind: str, rate: float, num_classes: int, seed: int) -> NDArray[np.float64]:
    """The transition matrix of one of KINDS, its wrong classes drawn from the seed."""
    if not KINDS[kind]:
        return noise.symmetric(rate, num_classes)
    with warnings.catch_warnings():  # the lab's sentence says it
        warnings.filterwarnings("ignore", "at noise rate .* the wrong class is the mode")
        return noise.flip(rate, num_classes, KINDS[kind], seed=seed)


def method_of(label: str, lam: float) -> Method:
    """The method of a key."""
    return MetaInfoNet(lam=lam) if label == MetaInfoNet.label else METHODS[label]()


def train(setup: Setup, keys: Sequence[Key], report: Report) -> dict[Key, Weighed]:
    """Train what the keys name, the members of a method together; `report` hears of every step of every run.

    Raises what loading, training and `report` raise.
    """
    tasks = {rate: setup.task(rate) for rate in dict.fromkeys(key[0] for key in keys)}
    made: dict[Key, Weighed] = {}
    taken = 0
    for label in dict.fromkeys(key[1] for key in keys):
        chosen = [key for key in keys if key[1] == label]

        def on_step(done: int, batches: int, runs: int = len(chosen)) -> None:
            nonlocal taken
            taken += runs
            report(taken, batches * setup.epochs * len(keys))

        members = [Member(method_of(label, key[2]), tasks[key[0]], setup.seed) for key in chosen]
        together = sweep(
            members,
            mode="stacked",
            on_step=on_step,
            net=NET,
            batch_size=BATCH,
            optimizer=setup.optimizer,
            epochs=setup.epochs,
        )
        weights: list[list[NDArray[np.floating]]] = [[] for _ in chosen]
        for _ in together:
            for position, by_epoch in enumerate(weights):
                now = together.sample_weights(position)
                assert now is not None, "the lab's methods all weigh"
                by_epoch.append(now.numpy())
        for key, by_epoch, history in zip(chosen, weights, together.histories, strict=True):
            made[key] = weighed(tasks[key[0]], by_epoch, history)
    return {key: made[key] for key in keys}


def weighed(task: Task, by_epoch: Sequence[NDArray[np.floating]], history: History) -> Weighed:
    """What is kept of a run, of its weights after each epoch."""
    clean = (task.train.labels == task.truth.train_labels).numpy()
    return Weighed(
        [evaluation_histogram(weights, clean) for weights in by_epoch],
        [evaluation_summary(weights, clean) for weights in by_epoch],
        history.to_frame(),
        len(task.train),
    )


def verdict(label: str, summary: WeightSummary) -> str:
    """What a method's weights say, in words."""
    if summary.auc < 0.4:
        return f"{label} prefers the wrong labels (AUC {summary.auc:.2f})"
    if summary.auc < 0.6:
        return f"{label} cannot tell right from wrong labels (AUC {summary.auc:.2f})"
    if not summary.noisy:
        return f"{label} gives wrong labels no weight at all (AUC {summary.auc:.2f})"
    ratio = summary.clean / summary.noisy
    return f"{label} gives right labels {ratio:.2g} times the weight of wrong ones (AUC {summary.auc:.2f})"


class WeightsLab(TrainingLab[Setup, Key, Weighed]):
    """*Train* runs the four methods at every noise rate, MetaInfoNet with every λ, in a worker thread; then
    the sliders move at once.

    Controls are the attributes `dataset`, `kind`, `epochs`, `seed`, `rate`, `lam` and `epoch`; buttons are
    `train_button`, `stop_button` and `reset_button`; `train()`, `stop()` and `reset()` do what they do;
    `wait()` waits. Results are kept by settings until *Reset*. Raises `UnknownName` for an unknown data set
    or noise, `InvalidValue` for a noise rate or λ that the lab does not train.
    """

    def __init__(
        self,
        dataset: str = "digits",
        kind: str = "flip-1",
        epochs: int = 30,
        seed: int = 0,
        rate: float = 0.4,
        lam: float = 0.1,
    ) -> None:
        super().__init__(dataset, epochs, seed)
        check_name("noise", kind, KINDS)
        for name, value, known in (("noise rate", rate, RATES), ("λ", lam, LAMBDAS)):
            if value not in known:
                options = ", ".join(f"{option:g}" for option in known)
                raise InvalidValue(f"{name} must be one of {options}, got {value}; choose one of these")
        self.train_button.tooltip = f"Train four methods at {len(RATES)} noise rates"
        self.kind = widgets.Dropdown(options=list(KINDS), value=kind, description="noise", **sized(150))
        self.rate = widgets.SelectionSlider(
            options=[(f"{value:.2f}", value) for value in RATES],
            value=rate,
            description="noise rate",
            **sized(250),
        )
        self.lam = widgets.SelectionSlider(
            options=[(f"{value:g}", value) for value in LAMBDAS], value=lam, description="λ", **sized(220)
        )
        self.panels = {label: panel(self._panel(label)) for label in METHODS}
        self.assemble(
            settings=(self.dataset, self.kind, self.epochs, self.seed),
            views=(self.rate, self.lam, self.epoch),
            panels=tuple(self.panels.values()),
        )

    @property
    def setup(self) -> Setup:
        """What the controls ask for."""
        return Setup(self.dataset.value, self.kind.value, self.epochs.value, self.seed.value)

    @property
    def grid(self) -> list[Key]:
        """Every method at every noise rate, MetaInfoNet with every λ."""
        return [
            (rate, label, lam)
            for label in METHODS
            for rate in RATES
            for lam in (LAMBDAS if label == MetaInfoNet.label else (0.0,))
        ]

    def job(self, setup: Setup, keys: Sequence[Key], report: Report) -> dict[Key, Weighed]:
        """`train`."""
        return train(setup, keys, report)

    def shown(self, label: str) -> Weighed | None:
        """The run of a method on show; None before it is trained."""
        lam = self.lam.value if label == MetaInfoNet.label else 0.0
        return self.results.get((self.rate.value, label, lam))

    def draw(self) -> None:
        """Bring the panels up to the controls."""
        for label, shown in self.panels.items():
            redraw(shown, self._panel(label))

    def words(self) -> str:
        """What the three networks' weights say at the chosen epoch, and which test accuracies follow."""
        epoch, last = self.epoch.value, self.epoch.value == self.epochs.value
        told = list(self._summaries())
        tests = ", ".join(f"{label} {test:.0%}" for label, _, test in told)
        said = {label: verdict(label, summary) for label, summary, _ in told}
        when = "At the end" if last else f"After {epoch} epoch{'s'[: epoch > 1]}"
        mode = " The wrong class is the mode here, only the meta set can tell." * self._mode_is_wrong
        return (
            f"{when}, {said[MetaInfoNet.label]}; {said[LogitNet.label]}; {said[LossNet.label]}. "
            f"On test images: {tests}.{mode}"
        )

    def facts(self) -> str:
        """Data, noise, net, budget and device."""
        run = next(iter(self.results.values()), None)
        size = f", n = {run.num_train}" if run else ""
        setup = self.setup
        wrong = noise.effective_error_rate(matrix(setup.kind, self.rate.value, 10, setup.seed))
        return (
            f"{setup.dataset}{size} · meta set {META} · {setup.kind} noise {self.rate.value:.2f} "
            f"(effective error rate {wrong:.2f}) · {NET.label} · {setup.epochs} epochs, batch {BATCH} · "
            f"seed {setup.seed} · {describe(default_device())}"
        )

    def table(self) -> pd.DataFrame:
        """All runs at the chosen noise rate in numbers, at the end of training; empty before."""
        rows = {
            f"{label}, λ = {lam:g}" if label == MetaInfoNet.label else label: run.numbers
            for (rate, label, lam), run in self.results.items()
            if rate == self.rate.value
        }
        return pd.DataFrame(rows).T.reindex(columns=list(COLUMNS)).rename(columns=COLUMNS).round(2)

    def snapshot(self) -> go.Figure:
        """The panels as one static figure; raises `InvalidValue` before anything is trained."""
        runs = {label: self.shown(label) for label in METHODS}
        at = self.epoch.value - 1
        trained = {label: run for label, run in runs.items() if run}
        if not trained:
            raise InvalidValue("there is nothing to draw, got an untrained lab; call train() and wait()")
        frame = pd.concat([run.histograms[at].assign(method=label) for label, run in trained.items()])
        figure = plots.weight_histograms(frame, {label: run.summaries[at] for label, run in trained.items()})
        words = f"epoch {self.epoch.value} · λ = {self.lam.value:g} · {self.facts()}"
        return plots.small_print(figure, words)

    def _panel(self, label: str) -> go.Figure:
        run, at = self.shown(label), self.epoch.value - 1
        if run is None:
            figure = plots.weight_histogram(EMPTY, None)
        else:
            test = run.history["test_accuracy"].iloc[at]
            figure = plots.weight_histogram(run.histograms[at], run.summaries[at], f" · test {test:.0%}")
        return figure.update_layout(
            title_text=label,
            height=360,
            margin={"l": 60, "r": 22, "t": 36, "b": 126},
            legend={"x": 0, "y": -0.26, "yanchor": "top", "font_size": 13},
        )

    def _summaries(self) -> Iterator[tuple[str, WeightSummary, float]]:
        at = self.epoch.value - 1
        for label in METHODS:
            if run := self.shown(label):
                yield label, run.summaries[at], float(run.history["test_accuracy"].iloc[at])

    @property
    def _mode_is_wrong(self) -> bool:
        targets = KINDS[self.kind.value]
        return bool(targets) and self.rate.value / targets >= 1 - self.rate.value
