"""Label information in weights from both sides, epoch by epoch, for LIMIT with sampling; and what passes
MetaInfoNet's bottleneck.

From below: the training error, by Theorem 2.1 in its sharp form. From above: the chain rule, eq. (7), and
Proposition 3.1 for each step (LIMIT, sections 2.1, 3.1 and 3.4). Eq. (6) of MetaInfoNet, with its bound.
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.special import log_ndtr, logsumexp, xlogy

from lnlib import bounds
from lnlib.checks import Count, Positive, Seed, Several, checked
from lnlib.errors import InvalidValue
from lnlib.methods.limit import Distribution
from lnlib.methods.metainfonet import MetaInfoNet
from lnlib.nets.weighting import Gaussians
from lnlib.seeding import stream
from lnlib.training import Run


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


def bottleneck_gaussians(run: Run) -> Gaussians:
    """p(ψ|z) of each training example of a MetaInfoNet run at its present weights: mean and log σ² (N, d), on
    the CPU.

    Raises `InvalidValue` for a run of another method.
    """
    if not isinstance(run.method, MetaInfoNet):
        raise InvalidValue(f"only MetaInfoNet has a bottleneck, got a run of {run.method.label}; train that")
    logits, labels = run.logits("train").to(run.device), run.task.train.labels.to(run.device)
    with torch.no_grad():
        _, gaussians = run.nets["weighting"](logits, labels, None)
    return Gaussians(*(part.cpu() for part in gaussians))


class BottleneckNats(NamedTuple):
    """I(z; ψ) in nats with the standard error of its estimate, and the mean KL that bounds it from above."""

    information: float
    standard_error: float
    bound: float


@checked
def bottleneck_nats(gaussians: Gaussians, draws: Count = 10, seed: Seed = 0) -> BottleneckNats:
    """How many nats of the logits a sample of ψ holds, where z is one of these n examples, all as likely, and
    what eq. (6) of MetaInfoNet bounds it by.

    I(z; ψ) = E[log p(ψ|z) − log p(ψ)], where p(ψ) is the mean of the n Gaussians and the expectation one over
    so many `draws` of ψ an example; at most log n. The bound exceeds it by KL[p(ψ) ‖ N(0, I)]. Memory for n²
    numbers.
    """
    mean, log_variance = (part.detach().double().cpu().numpy() for part in gaussians)
    generator, ratios = stream(seed, "bottleneck"), []
    for _ in range(draws):
        psi = mean + np.exp(log_variance / 2) * generator.standard_normal(mean.shape)
        log_density = sum(  # of each ψ (rows) under each example's Gaussian (columns), up to a constant
            -0.5 * ((psi[:, [k]] - mean[:, k]) ** 2 / np.exp(log_variance[:, k]) + log_variance[:, k])
            for k in range(mean.shape[1])
        )
        marginal = logsumexp(log_density, axis=1) - math.log(len(mean))
        ratios.append(np.diagonal(log_density) - marginal)
    by_draw = np.mean(ratios, axis=1)
    error = by_draw.std(ddof=1) / math.sqrt(draws) if draws > 1 else math.nan
    return BottleneckNats(float(by_draw.mean()), float(error), float(gaussians.nats.detach().double().mean()))
