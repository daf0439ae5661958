"""How far a test accuracy would vary with the test images: the bootstrap of LIMIT, section 4.2 (Table 2)."""

from typing import Annotated

import numpy as np

from lnlib.checks import Count, Seed, Share, checked
from lnlib.seeding import stream

RESAMPLES = 1000
Accuracy = Annotated[Share, "give a share, not percent"]


@checked
def resampled_accuracies(
    accuracy: Accuracy, size: Count, resamples: Count = RESAMPLES, seed: Seed = 0
) -> np.ndarray:
    """The accuracies (resamples,) on test sets drawn with replacement from the one of `size` images.

    Each of a resample's images is a hit with probability `accuracy`, the share of hits among the images that
    it is drawn from, and independently of the others: the number of hits is binomial, and drawing it is
    drawing the resample.
    """
    return stream(seed, "bootstrap").binomial(size, accuracy, resamples) / size


@checked
def bootstrap_std(accuracy: Accuracy, size: Count, resamples: Count = RESAMPLES, seed: Seed = 0) -> float:
    """The standard deviation of a test accuracy over resamples of the test set: about √(q(1−q)/N)."""
    return float(resampled_accuracies(accuracy, size, resamples, seed).std())
