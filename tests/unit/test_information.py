"""Label information from both sides, and the Laplace channel that Proposition 3.1 gets wrong."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from lnlib import bounds
from lnlib.analysis.information import (
    bottleneck_gaussians,
    bottleneck_nats,
    information_bounds,
    laplace_channel_information,
)
from lnlib.errors import InvalidValue
from lnlib.methods import LIMIT, MetaInfoNet
from lnlib.nets import MLP
from lnlib.nets.weighting import Gaussians
from lnlib.training import Member, fit, sweep


@pytest.mark.parametrize(("variance", "nats", "claimed"), [(0.01, 0.00901, 0.00498), (1.0, 0.4125, 0.3466)])
def test_laplace_noise_lets_more_through_than_the_paper_claims(variance, nats, claimed):
    information = laplace_channel_information(variance) * math.log(2)
    assert information == pytest.approx(nats, rel=1e-3)
    assert 0.5 * math.log1p(variance) == pytest.approx(claimed, rel=1e-3)
    corrected = float(bounds.gradient_information_bound(1, variance, 1.0, "laplace")) * math.log(2)
    assert claimed < information < corrected


def test_the_laplace_channel_depends_on_the_ratio_alone_and_vanishes_with_the_signal():
    assert laplace_channel_information(0.5, 2.0) == pytest.approx(laplace_channel_information(0.25), rel=1e-6)
    assert laplace_channel_information(1e-6) < 1e-5
    # A strong signal: h(X + ε) tends to h(X).
    strong = math.log2(math.sqrt(2 * math.pi * math.e * 1e4)) - (1 + math.log(math.sqrt(2))) / math.log(2)
    assert laplace_channel_information(1e4) == pytest.approx(strong, rel=1e-3)
    with pytest.raises(InvalidValue, match="signal_variance must be positive, got 0"):
        laplace_channel_information(0)


def test_each_epoch_adds_what_proposition_3_1_allows():
    history = pd.DataFrame({"epoch": [1, 2], "memorized_bits": [0.0, 0.1], "squared_gradient": [0.09, 0.18]})
    frame = information_bounds(history, sigma=0.1, num_classes=10)
    first, second = (4.5 * math.log2(1 + norm / 0.09) for norm in (0.09, 0.18))
    assert frame["at_most"].to_list() == pytest.approx([first, first + second])
    assert frame["at_least"].to_list() == [0.0, 0.1]
    laplace = information_bounds(history, 0.1, 10, "laplace")["at_most"]
    each = 5 * math.log2(1 + 0.09 / 0.1) + 10 * (0.5 * math.log(math.pi * math.e) - 1) / math.log(2)
    assert laplace[0] == pytest.approx(each)
    with pytest.raises(InvalidValue, match="the history needs the column squared_gradient"):
        information_bounds(history.drop(columns="squared_gradient"), 0.1, 10)


def test_the_bound_from_above_is_vacuous_within_an_epoch_at_a_middle_sigma_of_the_paper(make_digits_task):
    task = make_digits_task(0.5, train_size=300)
    run = fit(LIMIT("gaussian", sampling=True, sigma=0.0316), task, epochs=3)
    frame = information_bounds(run.history, 0.0316, 10)
    entropy = float(bounds.label_entropy(task.truth.matrix, task.truth.prior))
    assert frame["at_most"].iloc[0] > entropy
    assert (frame["at_least"] <= frame["at_most"]).all()
    assert np.isfinite(frame["at_most"]).all()


def gaussian_channel(signal, noise, each=45):
    """ψ = z + ε, z ~ N(0, signal) and ε ~ N(0, noise) in both of two dimensions: p(ψ|z), where z stands for
    equal shares of a normal distribution.
    """
    quantiles = torch.special.ndtri((torch.arange(each, dtype=torch.float64) + 0.5) / each)
    z = torch.cartesian_prod(quantiles, quantiles) / quantiles.std(correction=0)
    return Gaussians(signal**0.5 * z, torch.full_like(z, math.log(noise)))


@pytest.mark.parametrize(("signal", "noise"), [(0.8, 0.2), (0.3, 0.7), (2.0, 0.5)])
def test_what_passes_a_gaussian_channel_is_its_capacity(signal, noise):
    found = bottleneck_nats(gaussian_channel(signal, noise), draws=5)
    capacity = 2 * 0.5 * math.log(1 + signal / noise)
    assert found.information == pytest.approx(capacity, abs=0.03)
    bound = 2 * 0.5 * (signal + noise - math.log(noise) - 1)
    assert found.bound == pytest.approx(bound, abs=0.03)
    # What the bound gives away is KL[N(0, signal + noise) ‖ N(0, 1)]: nothing where these are one.
    wasted = signal + noise - 1 - math.log(signal + noise)
    assert found.bound - found.information == pytest.approx(wasted, abs=0.03)
    assert 0 < found.standard_error < 0.02


def test_a_bottleneck_tells_n_examples_apart_by_at_most_log_n_nats():
    far = Gaussians(100.0 * torch.arange(8.0)[:, None], torch.zeros(8, 1, requires_grad=True))
    assert bottleneck_nats(far).information == pytest.approx(math.log(8), rel=1e-9)
    alike = Gaussians(torch.ones(8, 3), torch.full((8, 3), 0.5))
    assert bottleneck_nats(alike).information == pytest.approx(0, abs=1e-12)
    assert bottleneck_nats(alike).bound == pytest.approx(1.5 * (math.exp(0.5) - 0.5), rel=1e-6)
    assert math.isnan(bottleneck_nats(alike, draws=1).standard_error)


def test_a_runs_gaussians_are_those_of_its_weighting_network_in_a_stack_too(make_digits_task):
    task = make_digits_task(0.3, train_size=60, meta_size=20)
    settings = {"net": MLP(16, 1), "epochs": 1, "batch_size": 32}
    alone = fit(MetaInfoNet(dimensions=3), task, **settings)
    stacked = sweep(
        [Member(MetaInfoNet(dimensions=3), task, seed) for seed in (0, 1)], mode="stacked", **settings
    )
    network = alone.nets["weighting"].module
    _, expected = network(alone.logits("train"), task.train.labels, None)
    for run, rounding in ((alone, 1e-6), (stacked[0], 0.02)):
        found = bottleneck_gaussians(run)
        assert found.mean.shape == found.log_variance.shape == (60, 3)
        assert not found.mean.requires_grad
        torch.testing.assert_close(found.mean, expected.mean.detach(), rtol=rounding, atol=rounding)
    with pytest.raises(InvalidValue, match="only MetaInfoNet has a bottleneck, got a run of"):
        bottleneck_gaussians(fit("cross-entropy", task, **settings))
