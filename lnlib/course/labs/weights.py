"""WeightsLab: what LossNet, LogitNet, MetaInfoNet and L2RW make each training example weigh.

MetaInfoNet, Figure 1, for other noise and at every epoch.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from lnlib import noise
from lnlib.analysis.weights import EDGES, WeightSummary, evaluation_histogram, evaluation_summary
from lnlib.course import plots
from lnlib.course.labs.base import Lab
from lnlib.course.labs.controls import SEED, DataMenu, Menu, Steps, Values, epoch, epochs
from lnlib.course.labs.panels import Scene
from lnlib.course.labs.runs import budget_of, load, place
from lnlib.course.labs.worker import Report
from lnlib.data.task import Task, make_task
from lnlib.methods import L2RW, LogitNet, LossNet, MetaInfoNet, Method
from lnlib.nets import MLP
from lnlib.training import SGD, Member, Run, Runs

RATES = (0.2, 0.4, 0.6)
LAMBDAS = (0.0, 0.01, 0.1, 1.0)
"""*Train* trains the four methods at every noise rate, MetaInfoNet with every λ."""

KINDS = {"flip-1": 1, "flip-2": 2, "symmetric": 0}
"""The noises, with the number of wrong classes that a class's labels move to; 0 for all."""

NET, BATCH, META = MLP(64, 2), 100, 100
Key = tuple[float, str, float]
"""Noise rate, the method's label, λ (0 for all but MetaInfoNet)."""

WEIGHERS: dict[str, type[Method]] = {one.label: one for one in (LossNet, LogitNet, MetaInfoNet, L2RW)}
ROWS = {
    "auc": "AUC",
    "clean": "mean weight, right",
    "noisy": "mean weight, wrong",
    "effective": "effective sample size",
    "information_nats": "nats",
    "best": "test, best",
    "last": "test, last",
}
EMPTY = pd.DataFrame({"low": EDGES[:-1], "high": EDGES[1:], "clean": 0, "noisy": 0})


@dataclass(frozen=True, eq=False)
class Weighed:
    """A run as the lab shows it: a histogram and a summary of the weights after each epoch, and history."""

    histograms: Sequence[pd.DataFrame]
    summaries: Sequence[WeightSummary]
    history: pd.DataFrame
    num_train: int

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The last epoch's summary, the bottleneck's nats, and the test accuracy at the best noisy validation
        and as the mean of the last ten epochs.
        """
        accuracy, nats = self.history["test_accuracy"], self.history.get("information_nats")
        return {
            **self.summaries[-1]._asdict(),
            "information_nats": np.nan if nats is None else float(nats.iloc[-1]) or np.nan,
            "best": float(accuracy[self.history["validation_accuracy"].idxmax()]),
            "last": float(accuracy.tail(10).mean()),
        }

    @cached_property
    def test_accuracy(self) -> NDArray[np.float64]:
        return np.asarray(self.history["test_accuracy"], float)


class WeightsLab(Lab):
    """What each training example weighs: four methods, by noise rate, λ and epoch.

    *Train* runs the four methods at every noise rate, MetaInfoNet with every λ. `table()` has their numbers.
    """

    settings: ClassVar = {
        "dataset": DataMenu(),
        "kind": Menu(value="flip-1", label="noise", width=150, options=KINDS),
        "epochs": epochs(30),
        "seed": SEED,
    }
    views: ClassVar = {
        "rate": Steps(value=0.4, label="noise rate", width=225, values=RATES, form=".2f"),
        "lam": Steps(value=0.1, label="λ", width=195, values=LAMBDAS),
        "epoch": epoch(),
    }

    def grid(self, c: Values) -> Collection[Key]:
        return [
            (rate, label, lam)
            for label in WEIGHERS
            for rate in RATES
            for lam in (LAMBDAS if label == MetaInfoNet.label else (0.0,))
        ]

    def job(self, c: Values, keys: Sequence[Key], report: Report) -> dict[Key, Weighed]:
        """Train what the keys name, the members of a method together."""
        tasks = {rate: task_of(c, rate) for rate in dict.fromkeys(key[0] for key in keys)}
        made: dict[Key, Weighed] = {}
        taken = 0
        for label in dict.fromkeys(key[1] for key in keys):
            chosen = [key for key in keys if key[1] == label]

            def on_step(done: int, batches: int, runs: int = len(chosen)) -> None:
                nonlocal taken
                taken += runs
                report(taken, batches * c.epochs * len(keys))

            members = [Member(method_of(label, key[2]), tasks[key[0]], c.seed) for key in chosen]
            settings: Any = dict(net=NET, batch_size=BATCH, optimizer=optimizer(c.epochs), epochs=c.epochs)
            together = Runs(members, mode="stacked", on_step=on_step, **settings)
            weights: list[list[NDArray[np.floating]]] = [[] for _ in chosen]
            for _ in together.epochs():
                for run, by_epoch in zip(together, weights, strict=True):
                    now = run.sample_weights()
                    assert now is not None, "the lab's methods all weigh"
                    by_epoch.append(now.numpy())
            for key, by_epoch, run in zip(chosen, weights, together, strict=True):
                made[key] = weighed(tasks[key[0]], by_epoch, run)
        return {key: made[key] for key in keys}

    def view(self, results: Mapping[Key, Weighed], c: Values) -> Scene:
        runs, at = shown(results, c), c.epoch - 1
        figures = []
        for label, run in runs.items():
            histogram, summary = (run.histograms[at], run.summaries[at]) if run else (EMPTY, None)
            note = f" · test {run.test_accuracy[at]:.0%}" if run else ""
            figures.append(plots.weight_histogram(label, histogram, summary, note))
        return Scene(figures, _describe(runs, c) if all(runs.values()) else "", _facts(results, c))

    def still(self, results: Mapping[Key, Weighed], c: Values) -> go.Figure:
        at = c.epoch - 1
        histograms, summaries = {}, {}
        for label, run in shown(results, c).items():
            histograms[label] = (run.histograms[at] if run else EMPTY).assign(method=label)
            summaries[label] = run.summaries[at] if run else None
        figure = plots.weight_histograms(pd.concat(histograms.values()), summaries)
        words = f"epoch {c.epoch} · λ = {c.lam:g} · {_facts(results, c)}"
        return plots.small_print(figure, words)

    def table(self) -> pd.DataFrame:
        """All runs at the chosen noise rate in numbers, at the end of training; empty before."""
        rows = {
            f"{label}, λ = {lam:g}" if label == MetaInfoNet.label else label: run.numbers
            for (rate, label, lam), run in self.results.items()
            if rate == self.values.rate
        }
        return pd.DataFrame(rows).T.reindex(columns=list(ROWS)).rename(columns=ROWS).round(2)


def matrix(kind: str, rate: float, num_classes: int, seed: int) -> NDArray[np.float64]:
    """The transition matrix of one of KINDS, its wrong classes drawn from the seed."""
    if not KINDS[kind]:
        return noise.symmetric(rate, num_classes)
    with warnings.catch_warnings():  # the lab's sentence says it
        warnings.filterwarnings("ignore", "at noise rate .* the wrong class is the mode")
        return noise.flip(rate, num_classes, KINDS[kind], seed=seed)


def method_of(label: str, lam: float) -> Method:
    """The method of a key."""
    return MetaInfoNet(lam=lam) if label == MetaInfoNet.label else WEIGHERS[label]()


def task_of(c: Values, rate: float) -> Task:
    """The task at a noise rate, with a meta set."""
    loaded, size = load(c.dataset), budget_of(c.dataset).train_size
    noisy = matrix(c.kind, rate, loaded.num_classes, c.seed)
    return make_task(loaded, noisy, c.seed, train_size=size, meta_size=META)


def optimizer(epochs: int) -> SGD:
    """The paper's, its learning rate falling after two and five sixths of the epochs."""
    return SGD(0.1, milestones=(max(epochs * 2 // 3, 1), max(epochs * 5 // 6, 2)))


def weighed(task: Task, by_epoch: Sequence[NDArray[np.floating]], run: Run) -> Weighed:
    """What is kept of a run, of its weights after each epoch."""
    clean = (task.train.labels == task.truth.train_labels).numpy()
    return Weighed(
        [evaluation_histogram(weights, clean) for weights in by_epoch],
        [evaluation_summary(weights, clean) for weights in by_epoch],
        run.history,
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


def shown(results: Mapping[Key, Weighed], c: Values) -> dict[str, Weighed | None]:
    """The run of each method at the present controls; None before it is trained."""
    return {
        label: results.get((c.rate, label, c.lam if label == MetaInfoNet.label else 0.0))
        for label in WEIGHERS
    }


def _describe(runs: Mapping[str, Any], c: Values) -> str:
    """What the three networks' weights say at the chosen epoch, and which test accuracies follow."""
    at = c.epoch - 1
    said = {label: verdict(label, run.summaries[at]) for label, run in runs.items()}
    tests = ", ".join(f"{label} {run.test_accuracy[at]:.0%}" for label, run in runs.items())
    when = "At the end" if c.epoch == c.epochs else f"After {c.epoch} epoch{'s'[: c.epoch > 1]}"
    targets = KINDS[c.kind]
    wrong_mode = bool(targets) and c.rate / targets >= 1 - c.rate
    return (
        f"{when}, {said[MetaInfoNet.label]}; {said[LogitNet.label]}; {said[LossNet.label]}. "
        f"On test images: {tests}."
    ) + " The wrong class is the mode here, only the meta set can tell." * wrong_mode


def _facts(results: Mapping[Key, Weighed], c: Values) -> str:
    run = next(iter(results.values()), None)
    size = f", n = {run.num_train}" if run else ""
    wrong = noise.effective_error_rate(matrix(c.kind, c.rate, 10, c.seed))
    return (
        f"{c.dataset}{size} · meta set {META} · {c.kind} noise {c.rate:.2f} (effective error rate "
        f"{wrong:.2f}) · {NET.label} · {c.epochs} epochs, batch {BATCH} · seed {c.seed} · {place()}"
    )
