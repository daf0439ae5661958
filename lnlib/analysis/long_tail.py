"""Methods on a long tail, followed by class: what a sweep over seeds does to head and tail after each epoch.

MetaInfoNet, section 5.2 and table 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lnlib.analysis.imbalance import ENDS, class_accuracy, class_means
from lnlib.checks import Count, Seed, checked
from lnlib.data.task import Task
from lnlib.methods import L2RW, ClassBalanced, FineTuning, FocalLoss, LogitNet, LossNet, MetaInfoNet, Method
from lnlib.nets import MLP
from lnlib.training import SGD, Adam, Member, Run, Runs

NET, BATCH = MLP(64, 2), 50
META_OPTIMIZER = Adam(3e-3, weight_decay=5e-4, decay="all")
"""Three times the paper's learning rate: on 357 digits, 40 epochs are 320 steps."""

CONTENDERS: dict[str, Callable[[int], Method]] = {
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


@checked
def settings(epochs: Count) -> dict[str, Any]:
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
        """An example's weight in the tail over one's in the head: NaN without weights, infinite over 0."""
        now = self.weights[epoch].mean(axis=0)
        head, tail = float(now[:ENDS].mean()), float(now[-ENDS:].mean())
        return tail / head if head else np.inf


@checked
def follow(
    method: Method, tasks: Sequence[Task], epochs: Count, seed: Seed = 0, on_step: OnStep | None = None
) -> ByClass:
    """Train a method on tasks of equal sizes as one sweep, with the seeds seed, seed + 1, ..., and look at
    the classes after each epoch. Raises what `sweep` and `on_step` raise.
    """
    members = [Member(method, task, seed + place) for place, task in enumerate(tasks)]
    runs = Runs(members, on_step=on_step, **settings(epochs))
    accuracy, weights = [], []
    for _ in runs.epochs():
        accuracy.append([_accuracy(run) for run in runs])
        weights.append([_weights(run) for run in runs])
    training = np.stack([run.history["train_accuracy"] for run in runs], axis=1)
    return ByClass(np.array(accuracy), np.array(weights), training)


def summary(runs: Mapping[str, ByClass]) -> pd.DataFrame:
    """How methods, by name, end: the weight of a tail's image over a head's, and the accuracies."""
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


def _accuracy(run: Run) -> Array:
    return class_accuracy(run.logits("test", "classifier"), run.task.test.labels).numpy()


def _weights(run: Run) -> Array:
    task, weights = run.task, run.sample_weights()
    if weights is None:
        return np.full(task.num_classes, np.nan)
    return class_means(weights, task.train.labels, task.num_classes).numpy()
