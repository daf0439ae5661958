"""What weights of training examples are worth: do they tell right labels from wrong ones, and how many
examples are left?

MetaInfoNet, Figure 1. The true labels enter only the functions called `evaluation_...`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from lnlib.errors import InvalidValue

Run = Any  # lnlib.training.Run, which brings PyTorch: the figures of weights do without

EDGES = np.linspace(0.0, 4.0, 21)
"""The bins of a histogram of weights with mean one; the last takes what is larger as well."""

# Not NDArray: of NumPy 2.5, where that is an alias of another kind, jaxtyping makes nothing.
Weights = np.ndarray[tuple[Any, ...], np.dtype[np.floating]]
Marks = np.ndarray[tuple[Any, ...], np.dtype[np.bool_]]


class WeightSummary(NamedTuple):
    """Weights with mean one in four numbers: the AUC as a score of cleanliness (a clean example weighs more
    than a wrong one with this probability), the mean weights of both, and the effective sample size.
    """

    auc: float
    clean: float
    noisy: float
    effective: float


def effective_sample_size(weights: Float[Weights, " examples"]) -> float:
    """(Σw)²/(nΣw²) of weights (n,): the share of equal examples that average as well; 0 for zeros."""
    squares = float(np.square(weights, dtype=np.float64).sum())
    total = float(weights.sum(dtype=np.float64))
    return total**2 / (len(weights) * squares) if squares else 0.0


def evaluation_summary(
    weights: Float[Weights, " examples"], clean: Bool[Marks, " examples"]
) -> WeightSummary:
    """Weights (n,) judged by which given labels are true (n,); raises `InvalidValue` if all or none are."""
    from sklearn.metrics import roc_auc_score  # takes half a second, which figures of weights need not

    if clean.all() or not clean.any():
        raise InvalidValue(
            f"clean and wrong labels are needed to compare, got {int(clean.sum())} clean of {len(clean)}; "
            "take a task with noise"
        )
    return WeightSummary(
        float(roc_auc_score(clean, weights)),
        float(weights[clean].mean()),
        float(weights[~clean].mean()),
        effective_sample_size(weights),
    )


def evaluation_histogram(
    weights: Float[Weights, " examples"], clean: Bool[Marks, " examples"]
) -> pd.DataFrame:
    """How many clean and wrong labels fall in each bin of EDGES: columns low, high, clean, noisy."""
    inside = np.minimum(weights, EDGES[-1])
    counts = {
        name: np.histogram(inside[own], EDGES)[0] for name, own in (("clean", clean), ("noisy", ~clean))
    }
    return pd.DataFrame({"low": EDGES[:-1], "high": EDGES[1:], **counts})


def evaluation_table(runs: Mapping[str, Iterable[Run]]) -> pd.DataFrame:
    """Finished runs, each name with those of its seeds, in numbers: one row a run, by name and seed.

    The columns are those of `evaluation_summary` (NaN for a method that does not weigh), the nats of the
    bottleneck's penalty, and the test accuracy: `best`, at the best noisy validation, and `last`, the mean of
    the last ten epochs.
    """
    rows = {(name, run.member.seed): _numbers(run) for name, several in runs.items() for run in several}
    table = pd.DataFrame.from_dict(rows, orient="index", dtype=float)
    return table.reindex(columns=[*WeightSummary._fields, "nats", "best", "last"]).rename_axis(
        ["method", "seed"]
    )


def _numbers(run: Run) -> dict[str, float | None]:
    found, accuracy = run.sample_weights(), run.history["test_accuracy"]
    row: dict[str, float | None] = {"nats": run.records[-1].extra.get("information_nats")}
    if found is not None:
        clean = (run.task.train.labels == run.task.truth.train_labels).numpy()
        row |= evaluation_summary(found.numpy(), clean)._asdict()
    best = accuracy[run.history["validation_accuracy"].idxmax()]
    return row | {"best": float(best), "last": float(accuracy.tail(10).mean())}
