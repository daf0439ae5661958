"""Label information in weights from both sides, epoch by epoch, for LIMIT with sampling.

From below: the training error, by Theorem 2.1 in its sharp form. From above: the chain rule, eq. (7), and
Proposition 3.1 for each step (LIMIT, sections 2.1, 3.1 and 3.4).
"""

import math

import numpy as np
import pandas as pd
from scipy.special import log_ndtr, xlogy

from lnlib import bounds
from lnlib.checks import Positive, Several, checked
from lnlib.errors import InvalidValue
from lnlib.methods.limit import Distribution


@checked
def information_bounds(
    history: pd.DataFrame, sigma: Positive, num_classes: Several, q: Distribution = "gaussian"
) -> pd.DataFrame:
    """I(w; y|x)/n by epoch, in bits per label: columns epoch, at_least, at_most.

    `history` is the `History.to_frame()` of a LIMIT run with sampling. Each epoch shows every label once,
    through one sampled gradient at the logits, and adds what Proposition 3.1 allows for the epoch's mean of
    ‖μ‖². μ sums to zero over the classes: with Gaussian noise K−1 numbers count, with Laplace noise all K.
    Raises `InvalidValue` for a history without ‖μ‖², and as `bounds.gradient_information_bound`.
    """
    if "squared_gradient" not in history:
        raise InvalidValue(
            f"the history needs the column squared_gradient, got {list(history.columns)}; take a LIMIT run's"
        )
    dimension = num_classes - 1 if q == "gaussian" else num_classes
    norms = history["squared_gradient"].to_numpy()
    per_epoch = bounds.gradient_information_bound(dimension, norms, sigma, q)
    return pd.DataFrame(
        {"epoch": history["epoch"], "at_least": history["memorized_bits"], "at_most": per_epoch.cumsum()}
    )


@checked
def laplace_channel_information(signal_variance: Positive, noise_variance: Positive = 1.0) -> float:
    """I(X; X + ε) in bits for X ~ N(0, `signal_variance`) and Laplace ε of `noise_variance`, by integration.

    What Proposition 3.1 would allow if it held for Laplace noise as it stands is ½·log2(1 + signal/noise);
    the information is larger.
    """
    spread, scale = math.sqrt(signal_variance), math.sqrt(noise_variance / 2)
    reach = 12 * (spread + math.sqrt(noise_variance))
    x = np.linspace(-reach, reach, 200_001)
    # The density of a Gaussian plus a Laplace variable, in closed form; logarithms keep the tails finite.
    ratio = spread / scale
    sides = [sign * x / scale + log_ndtr(-sign * x / spread - ratio) for sign in (1, -1)]
    density = np.exp(np.logaddexp(*sides) + ratio**2 / 2) / (2 * scale)
    entropy_nats = -np.trapezoid(xlogy(density, density), x)
    return float((entropy_nats - 1 - math.log(2 * scale)) / math.log(2))
