"""Telling memorising from learning: the accuracy split by clean and corrupted labels, and the memorised bits.

LIMIT, section 2.1 and Figure 1; the bound of Theorem 2.1 read backwards, in its sharp form for any noise.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from lnlib import bounds
from lnlib.checks import Count, Part, checked


class Split(NamedTuple):
    """Shares of the training set. A part without examples has NaN."""

    given: Tensor
    """predicted = given label, over all examples"""
    clean: Tensor
    """the same over the examples whose given label is true"""
    corrupted_fit: Tensor
    """over the corrupted examples: the wrong given label is predicted, it has been memorised"""
    corrupted_recovered: Tensor
    """over the corrupted examples: the true label is predicted although a wrong one was given"""


def memorization_split(
    predicted: Int[Tensor, "*runs examples"],
    given: Int[Tensor, "*runs examples"],
    true: Int[Tensor, "*runs examples"],
) -> Split:
    """How the predictions meet given and true labels, one number a run: labels (..., n) to shares (...)."""
    fits, corrupted = predicted == given, given != true
    recovered = _share(predicted == true, corrupted)
    return Split(fits.double().mean(-1), _share(fits, ~corrupted), _share(fits, corrupted), recovered)


def _share(event: Tensor, part: Tensor) -> Tensor:
    return (event & part).sum(-1).double() / part.sum(-1).double()


class MemorizedBits(NamedTuple):
    """Bits per label that a training error rate proves to be in the weights, with their band."""

    bits: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@checked
def memorized_bits(
    error_rate: float | NDArray[np.float64],
    num_examples: Count,
    matrix: NDArray[np.float64],
    prior: NDArray[np.float64],
    confidence: Part = 0.95,
) -> MemorizedBits:
    """I(w; y | x)/n in bits that training errors at `error_rate` (any shape) prove for labels drawn from
    `matrix`.

    Theorem 2.1 speaks of the expected error rate, a run shows one draw of the noise: n labels corrupted with
    probability p realise a rate that is p give or take √(p(1−p)/n), and a learner that memorises nothing errs
    at the realised rate. The band is the bound at the error rate plus and minus what that draw allows at
    `confidence` (Wilson's interval). Source: the rate-distortion form of LIMIT's Theorem 2.1, read backwards.
    """
    rate = bounds.check_rate(error_rate)
    z, n = float(ndtri((1 + confidence) / 2)), num_examples
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + (z / (2 * n)) ** 2)
    rates = np.clip(np.stack([rate, centre + reach, centre - reach]), 0.0, 1.0)
    return MemorizedBits(*np.asarray(bounds.rate_distortion(matrix, rates, prior)))
