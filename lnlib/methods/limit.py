"""LIMIT: train the classifier with gradients that a second network predicts without seeing labels.

LIMIT, sections 3.3 and 3.4: eq. (12) with the norm penalty, Gaussian or Laplace q, sampled or not.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from lnlib.checks import Count, NonNegative, Positive, Whole, checked, refusal
from lnlib.data.task import Visible
from lnlib.methods.base import Batch, Draw, Method, Nets, NewNet, WarmStart

Distribution = Literal["gaussian", "laplace"]


@checked
@dataclass(frozen=True)
class LIMIT(Method):
    """The classifier's logits a receive the predicted gradient μ = s(a) − s(r) in place of s(a) − y; r is the
    predictor's logits.

    The predictor minimises ‖μ − g‖² (Gaussian q) or ‖μ − g‖₁ (Laplace q), where g = s(a) − y, plus β‖μ‖²:
    sums over classes, means over the batch. With `sampling` the classifier receives a sample of q, whose
    standard deviation is σ in each class. The reference code does not divide μ by the batch size:
    `scale="reference"`; Adam does not notice. With `init="cross-entropy"` (rows "+ init.") the predictor
    begins from the best cross-entropy weights and running statistics; its one BatchNorm more stays fresh. The
    reference code leaves the running statistics behind: `init="reference"`. Each epoch reports the mean of
    ‖μ‖², the L² of Proposition 3.1.

    Beside β section 3.4 names two other ways to keep the predictor from overfitting, which it does not try: a
    small network (`narrower`, so many times fewer units in each hidden layer), and frozen layers (`frozen`,
    so many linear or convolutional ones from the first on, with the BatchNorm after each). Frozen weights
    stay as they begin: random, or pre-trained without labels and given by `fit(start={"predictor": ...})`.
    Source: LIMIT, sections 3.3-3.4 and 4.2.
    """

    trained = ("classifier", "predictor")  # by one optimiser, as in the reference code
    q: Distribution = "laplace"
    beta: NonNegative = 10.0
    sampling: bool = False
    sigma: NonNegative = 0.1
    scale: Literal["mean", "reference"] = "mean"
    init: Literal["fresh", "cross-entropy", "reference"] = "fresh"
    narrower: Count = 1
    frozen: Whole = 0

    def __post_init__(self) -> None:
        if self.init != "fresh" and (self.narrower > 1 or self.frozen):
            raise refusal(
                "init", "be 'fresh' where the predictor is narrower or frozen", self.init, "leave one out"
            )

    def networks(self, new_net: NewNet, task: Visible) -> dict[str, nn.Module]:
        predictor = new_net("predictor", self.narrower)
        if self.frozen:
            freeze(predictor, self.frozen)
        return {"classifier": new_net("classifier"), "predictor": predictor}

    @property
    def warm_start(self) -> dict[str, WarmStart]:
        if self.init == "fresh":
            return {}
        return {"predictor": WarmStart("cross-entropy", "classifier", buffers=self.init == "cross-entropy")}

    def draws(self, batch_size: int, num_classes: int) -> dict[str, Draw]:
        kind: Literal["normal", "laplace"] = "normal" if self.q == "gaussian" else "laplace"
        return {"q": Draw(kind, (batch_size, num_classes))} if self.sampling else {}

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        """Its gradient is the predicted one for the classifier, and the penalised fit for the predictor."""
        a, _ = nets["classifier"](batch.x)
        r, _ = nets["predictor"](batch.x)
        s = torch.softmax(a.detach(), dim=1)
        mu = s - torch.softmax(r, dim=1)
        g = s - batch.one_hot
        norm = squared_norm(mu)
        batch.note("squared_gradient", norm.mean())
        return self.classifier_term(a, mu, batch) + (self.distance(mu, g) + self.beta * norm).mean()

    def classifier_term(self, a: Tensor, mu: Tensor, batch: Batch) -> Tensor:
        """mean(Σ a·μ) with μ held fixed: linear in a, so its gradient at an example's logits is μ/B."""
        gradient = mu.detach() + self.sigma * batch.noise["q"] if self.sampling else mu.detach()
        per_example = (a * gradient).sum(dim=1)
        return per_example.sum() if self.scale == "reference" else per_example.mean()

    def distance(self, mu: Tensor, g: Tensor) -> Tensor:
        """−log q(g) up to constants, one number an example: ‖μ − g‖² (Gaussian q) or ‖μ − g‖₁ (Laplace)."""
        return squared_norm(mu - g) if self.q == "gaussian" else (mu - g).abs().sum(dim=1)


def freeze(net: nn.Module, layers: int) -> None:
    """Make buffers of the weights of a network's first linear or convolutional layers, and of what stands
    between them: no optimiser sees a buffer. Raises `InvalidValue` where no layer is left to train.
    """
    parts = [part for _, part in sorted(net.named_modules(), key=lambda named: named[0] == "output")]
    weighted = [place for place, part in enumerate(parts) if isinstance(part, nn.Linear | nn.Conv2d)]
    if layers >= len(weighted):
        raise refusal(
            "frozen", f"be below the {len(weighted)} layers of the predictor", layers, "leave one to train"
        )
    for part in parts[: weighted[layers]]:
        for name, weight in [*part.named_parameters(recurse=False)]:
            delattr(part, name)
            part.register_buffer(name, weight.detach())


def squared_norm(rows: Tensor) -> Tensor:
    """‖row‖² of each row: (B, K) to (B,)."""
    return rows.square().sum(dim=1)


@checked
def lambda_to_sigma(lam: Annotated[Positive, "the reference grid starts at 5"], q: Distribution) -> float:
    """The standard deviation σ of q that the reference code's λ stands for: √(1/(2λ)) for Gaussian q, √2/λ
    for Laplace q.

    The paper uses λ for the weight of the information term, which the reference code leaves at 1.
    """
    return sqrt(1 / (2 * lam)) if q == "gaussian" else sqrt(2) / lam
