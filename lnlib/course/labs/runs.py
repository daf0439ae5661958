"""Runs as the labs train and draw them: how much data, a task under uniform noise, a sweep that reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np
import pandas as pd

from lnlib import bounds, data, noise
from lnlib.course import plots
from lnlib.course.labs.worker import Report
from lnlib.course.plots.theme import Plain
from lnlib.data.task import Task, make_task
from lnlib.device import default_device, describe
from lnlib.training import Member, Run, Runs
from lnlib.training.history import COLUMNS


@dataclass(frozen=True)
class Budget:
    """How much of a data set a lab trains on, so that its runs take seconds to minutes on a laptop."""

    train_size: int | None
    batch_size: int


BUDGETS: Mapping[str, Budget] = {"digits": Budget(None, 64)}
LARGE = Budget(5000, 256)
"""For every data set that BUDGETS does not list."""


def budget_of(dataset: str) -> Budget:
    """How much of a data set is trained on."""
    return BUDGETS.get(dataset, LARGE)


@dataclass(frozen=True, eq=False)
class Frame:
    """A run under uniform noise as a lab shows it; `history` is that of the run, `rate` the noise
    rate, `entropy` H(y|x) in bits.
    """

    rate: float
    effective_rate: float
    num_classes: int
    num_train: int | None
    history: pd.DataFrame
    entropy: float

    @classmethod
    def untrained(cls, rate: float, epochs: int) -> "Frame":
        """Empty curves and the lines that need no training, for the ten classes of every data set here."""
        names = [*COLUMNS, "memorized_bits", "memorized_bits_low", "memorized_bits_high"]
        history = pd.DataFrame(np.nan, index=range(epochs), columns=names)
        history["epoch"] = np.arange(1, epochs + 1)
        return cls(rate, rate, 10, None, history, float(bounds.uniform_label_entropy(rate, 10)))

    @classmethod
    def of(cls, rate: float, task: Task, run: Run) -> "Frame":
        entropy = float(bounds.label_entropy(task.truth.matrix, task.truth.prior))
        sizes = len(task.truth.matrix), len(task.train)
        return cls(rate, task.effective_error_rate, *sizes, run.history, entropy)

    def accuracy(self, epoch: int) -> Plain:
        """`plots.accuracy_split` with a cursor at an epoch."""
        best = max(1 - self.effective_rate, self.effective_rate / (self.num_classes - 1))
        return plots.accuracy_split(self.history, best, epoch)

    def bits(self, epoch: int) -> Plain:
        """`plots.bits_by_epoch` with a cursor; its axis reaches to log2 K whatever the rate, so that nothing
        jumps.
        """
        return plots.bits_by_epoch(self.history, self.entropy, epoch, 1.05 * float(np.log2(self.num_classes)))

    def facts(self, dataset: str, setting: str) -> str:
        """The small print: data, noise, the setting's own words, device."""
        size = f", n = {self.num_train}" if self.num_train else ""
        return (
            f"{dataset}{size} · uniform noise {self.rate:.2f} (effective error rate "
            f"{self.effective_rate:.2f}) · {setting} · {place()}"
        )


THREADS = 1
"""So many threads of the CPU train a lab's runs. The networks are tiny: where nothing else runs, two are as
fast or a third faster; beside a browser that draws, they wait for each other and take three times as long."""


def place() -> str:
    """Where a lab trains, in words."""
    return describe(default_device(), THREADS)


@lru_cache(maxsize=1)
def load(name: str) -> data.Dataset:
    """A data set, kept until a lab asks for another; raises as `lnlib.data.load`."""
    return data.load(name)


def uniform_task(dataset: str, rate: float, seed: int) -> Task:
    """The task of a lab's run: uniform noise, as many images as the data set's budget says."""
    loaded = load(dataset)
    matrix = noise.uniform(rate, loaded.num_classes)
    return make_task(loaded, matrix, seed, train_size=budget_of(dataset).train_size)


def train_together(members: Sequence[Member], report: Report, epochs: int, **settings: Any) -> Runs:
    """Train members in one sweep to the end; `report` hears of every step. Raises as `sweep` and `report`."""
    taken, engines = count(1), 1

    def on_step(done: int, batches: int) -> None:
        report(next(taken), batches * engines * epochs)

    runs = Runs(members, on_step=on_step, epochs=epochs, **settings)
    engines = [run.mode for run in runs].count("solo") or 1
    return runs.train()
