"""How far a test accuracy would vary with the test images: the bootstrap of LIMIT, section 4.2 (Table 2)."""

import numpy as np

from lnlib.errors import InvalidValue
from lnlib.seeding import stream

RESAMPLES = 1000


def resampled_accuracies(accuracy: float, size: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """The accuracies (resamples,) on test sets drawn with replacement from the one of `size` images.

    Each of a resample's images is a hit with probability `accuracy`, the share of hits among the images that
    it is drawn from, and independently of the others: the number of hits is binomial, and drawing it is
    drawing the resample. Raises `InvalidValue` for an accuracy outside [0, 1] and counts below 1.
    """
    if not 0 <= accuracy <= 1:
        raise InvalidValue(f"an accuracy must lie in [0, 1], got {accuracy}; give a share, not percent")
    if size < 1 or resamples < 1:
        raise InvalidValue(
            f"size and resamples must be at least 1, got {size} and {resamples}; "
            "the paper resamples 1000 times"
        )
    return stream(seed, "bootstrap").binomial(size, accuracy, resamples) / size


def bootstrap_std(accuracy: float, size: int, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """The standard deviation of a test accuracy over resamples of the test set: about √(q(1−q)/N).

    Raises as `resampled_accuracies`. Source: LIMIT, section 4.2.
    """
    return float(resampled_accuracies(accuracy, size, resamples, seed).std())
