"""Rows of a table compared seed by seed. Equal seeds have the same split, noise and order of examples, so
that a difference varies less than the accuracies do.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

from lnlib.checks import Part, checked

CONFIDENCE = 0.95
BySeed = Mapping[int, float]


class Difference(NamedTuple):
    """A mean difference with its standard error and the ends of its t interval; NaN without two pairs."""

    mean: float
    standard_error: float
    low: float
    high: float
    pairs: int

    @property
    def tied(self) -> bool:
        """Whether the interval does not lie above 0."""
        return self.low <= 0


@checked
def paired_difference(one: BySeed, other: BySeed, confidence: Part = CONFIDENCE) -> Difference:
    """The mean of `one` − `other` over the seeds that both have: d̄ ± t(n − 1) · s/√n, Student's paired t
    interval.
    """
    seeds = sorted(one.keys() & other.keys())
    pairs = len(seeds)
    if pairs < 2:
        return Difference(*(np.nan,) * 4, pairs)
    differences = np.array([one[seed] - other[seed] for seed in seeds])
    mean, error = float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(pairs))
    half = float(stats.t.ppf((1 + confidence) / 2, pairs - 1)) * error
    return Difference(mean, error, mean - half, mean + half, pairs)


@checked
def behind_best(rows: Mapping[str, BySeed]) -> dict[str, Difference]:
    """How far each row lies behind the best, which is behind itself by 0: the one with the highest mean over
    the seeds that all have.

    Rows that have no two seeds, or no two of the best row's, are left out; all are where only one remains.
    The intervals are not corrected for the number of rows.
    """
    several = {name: values for name, values in rows.items() if len(values) > 1}
    if not several:
        return {}
    shared = set.intersection(*({*values} for values in several.values()))

    def mean(name: str) -> float:
        return float(
            np.mean([value for seed, value in several[name].items() if seed in shared or not shared])
        )

    best = several[max(several, key=mean)]
    found = {name: paired_difference(best, values) for name, values in several.items()}
    compared = {name: difference for name, difference in found.items() if difference.pairs > 1}
    return compared if len(compared) > 1 else {}
