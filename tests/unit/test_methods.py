"""Methods against closed forms: losses, gradients, and the identities that explain LIMIT."""

import numpy as np
import pytest
import torch
from torch import nn

from lnlib.catalog import METHODS
from lnlib.errors import InvalidValue
from lnlib.methods import LIMIT, Batch, CrossEntropy
from lnlib.methods.base import cross_entropy, one_hot
from lnlib.methods.limit import lambda_to_sigma
from lnlib.nets import MLP, Net
from lnlib.optimizers import SGD
from lnlib.training import Member, fit, sweep


class Fixed(nn.Module):
    """A "network" whose logits are its parameter."""

    def __init__(self, logits: np.ndarray) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.logits, self.logits


def batch_of(oracle, noise=None) -> Batch:
    labels = torch.tensor(oracle["labels"])
    x = torch.zeros(3, 1, 2, 2, dtype=torch.float64)
    return Batch(x, labels, torch.arange(3), 1, 1, 0, 1e-3, 4, None, noise or {})


def nets_of(oracle) -> dict[str, Net]:
    return {
        "classifier": Net(Fixed(oracle["logits"])),
        "predictor": Net(Fixed(oracle["q_logits"])),
    }


def gradients(method, oracle, noise=None):
    nets = nets_of(oracle)
    loss = method.loss(nets, batch_of(oracle, noise))
    loss.backward()
    return loss.item(), nets["classifier"].module.logits.grad, nets["predictor"].module.logits.grad


@pytest.mark.rounding
def test_cross_entropy_matches_the_oracle_and_its_gradient_is_s_minus_y_over_b(oracle):
    logits, labels = torch.tensor(oracle["logits"]), torch.tensor(oracle["labels"])
    assert cross_entropy(logits, labels).tolist() == pytest.approx(oracle["cross_entropy"], rel=1e-12)
    loss, gradient, _ = gradients(CrossEntropy(), oracle)
    assert loss == pytest.approx(oracle["cross_entropy_mean"], rel=1e-12)
    expected = (logits.softmax(1) - one_hot(labels, 4)) / 3
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14, check_dtype=False)


@pytest.mark.parametrize("q", ["gaussian", "laplace"])
def test_the_classifier_receives_exactly_the_predicted_gradient(oracle, q):
    _, gradient, _ = gradients(LIMIT(q=q, beta=3.0), oracle)
    np.testing.assert_allclose(gradient.numpy(), np.array(oracle["mu"]) / 3, rtol=1e-12)
    _, gradient, _ = gradients(LIMIT(q=q, beta=3.0, scale="reference"), oracle)
    np.testing.assert_allclose(gradient.numpy(), np.array(oracle["mu"]), rtol=1e-12)


@pytest.mark.parametrize(("q", "name"), [("gaussian", "limit_gaussian"), ("laplace", "limit_laplace")])
def test_the_predictor_loss_matches_the_oracle(oracle, q, name):
    pull = float((np.array(oracle["mu"]) * oracle["logits"]).sum(1).mean())
    loss, _, _ = gradients(LIMIT(q=q, beta=0.0), oracle)
    assert loss - pull == pytest.approx(oracle[name], rel=1e-12)
    penalised, _, _ = gradients(LIMIT(q=q, beta=1.0), oracle)
    assert penalised - loss == pytest.approx(oracle["limit_penalty"], rel=1e-12)


def test_without_a_penalty_gaussian_limit_trains_the_predictor_by_the_brier_score(oracle):
    # μ − g = y − s(r): with β = 0 the classifier has no say in how the predictor learns.
    _, _, gradient = gradients(LIMIT(q="gaussian", beta=0.0), oracle)
    r = torch.tensor(oracle["q_logits"], requires_grad=True)
    y = one_hot(torch.tensor(oracle["labels"]), 4)
    (y - r.softmax(1)).square().sum(1).mean().backward()
    torch.testing.assert_close(gradient, r.grad, rtol=1e-12, atol=1e-15)


def test_the_classifier_of_limit_distils_from_the_predictor(oracle):
    _, gradient, _ = gradients(LIMIT(), oracle)
    a = torch.tensor(oracle["logits"], requires_grad=True)
    teacher = torch.tensor(oracle["q_logits"]).softmax(1)
    nn.functional.cross_entropy(a, teacher).backward()
    torch.testing.assert_close(gradient, a.grad, rtol=1e-10, atol=1e-14)


def test_sampling_adds_sigma_times_the_run_noise(oracle):
    noise = {"q": torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))}
    _, plain, predictor = gradients(LIMIT(beta=2.0), oracle)
    _, sampled, sampled_predictor = gradients(LIMIT(beta=2.0, sampling=True, sigma=0.3), oracle, noise)
    torch.testing.assert_close(sampled - plain, 0.3 * noise["q"] / 3)
    torch.testing.assert_close(sampled_predictor, predictor)
    assert LIMIT(sampling=True, q="laplace").draws(5, 4)["q"] == ("laplace", (5, 4))
    assert LIMIT(sampling=True, q="gaussian").draws(5, 4)["q"].kind == "normal"
    assert LIMIT().draws(5, 4) == {}


@pytest.mark.parametrize(
    ("lam", "q", "sigma"),
    [(5, "gaussian", 0.31623), (5000, "gaussian", 0.01), (5, "laplace", 0.28284), (100, "laplace", 0.01414)],
)
def test_lambda_to_sigma_matches_the_reference_grid(lam, q, sigma):
    assert lambda_to_sigma(lam, q) == pytest.approx(sigma, abs=5e-6)


def test_bad_hyper_parameters_name_value_and_remedy():
    with pytest.raises(InvalidValue, match="beta must be at least 0, got -1"):
        LIMIT(beta=-1)
    with pytest.raises(InvalidValue, match="beta must be at least 0, got nan"):
        LIMIT(beta=float("nan"))
    with pytest.raises(InvalidValue, match="q must be 'gaussian' or 'laplace', got 'cauchy'"):
        LIMIT(q="cauchy")


@pytest.mark.rounding
@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_in_bfloat16_about_as_in_float32(name, make_digits_task):
    options = {"last_epochs": 1} if name == "fine-tuning" else {}
    method, task = METHODS[name].load()(**options), make_digits_task(0.2, train_size=300, meta_size=50)
    settings = {"net": MLP(16, 1), "batch_size": 100, "optimizer": SGD(0.01), "epochs": 2}
    best = {}
    for source in method.warm_start.values():
        best[source.method] = fit(CrossEntropy(), task, **settings | {"epochs": 1}).weights
    member = Member(method, task, 0, method.begun_from(best))
    losses = {}
    for precision in ("float32", "bfloat16"):
        for mode in ("solo", "stacked"):
            runs = sweep([member, member], mode=mode, precision=precision, **settings)
            losses[precision, mode] = runs[0].records[-1].train_loss
    exact = losses["float32", "solo"]
    assert all(loss == pytest.approx(exact, rel=0.1) for loss in losses.values()), losses
