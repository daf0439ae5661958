"""What weights of training examples are worth: do they tell right labels from wrong ones, and how many
examples are left?

MetaInfoNet, Figure 1. The true labels enter only the functions called `evaluation_...`.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from lnlib.errors import InvalidValue

EDGES = np.linspace(0.0, 4.0, 21)
"""The bins of a histogram of weights with mean one; the last takes what is larger as well."""

Weights = NDArray[np.floating]
Marks = NDArray[np.bool_]


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
