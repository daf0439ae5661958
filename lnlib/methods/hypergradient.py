"""How the loss after a virtual step changes with the weights of the step's examples.

MetaInfoNet, Algorithm 1, lines 5 to 11; Meta-Weight-Net and L2RW use the same step. With
Θ̂ = Θ − α Σᵢ wᵢ∇ℓᵢ(Θ), ∂L_meta(Θ̂)/∂wᵢ = −α ∇ℓᵢ(Θ)·∇L_meta(Θ̂): a directional derivative of each example's
loss, which forward mode gives for all of them in one pass.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lnlib.methods.base import Examples, cross_entropy, one_hot
from lnlib.nets import Net

Parameters = Mapping[str, Tensor]


class MetaGradient(NamedTuple):
    """The meta loss in nats, and its derivative by each example's weight (B,)."""

    loss: Tensor
    by_weight: Float[Tensor, " batch"]


class VirtualStep:
    """A classifier's step on one weighted batch, which is only imagined: its weights and running statistics
    stay. BatchNorm normalises by the batch.

    `logits` (B, K) are those before the step. Works inside `torch.vmap`.
    """

    logits: Tensor

    def __init__(self, classifier: Net, examples: Examples) -> None:
        self.classifier, self.examples = classifier, examples
        self.parameters = {name: value.detach() for name, value in classifier.parameters.items()}
        with torch.no_grad():
            self.logits, self._pull_back = classifier.pulled_back(self._logits, self.parameters)
            targets = one_hot(examples.y, self.logits.shape[1]).to(self.logits.dtype)
            self._residual = torch.softmax(self.logits, dim=1) - targets

    def _logits(self, parameters: Parameters) -> Tensor:
        logits: Tensor = self.classifier.at(parameters, self.examples.x)[0]
        return logits

    @torch.no_grad()
    def taken(self, weights: Tensor, lr: float | Tensor, drift: Parameters | None = None) -> Parameters:
        """Θ̂ = Θ + drift − α Σᵢ wᵢ∇ℓᵢ(Θ) for weights (B,)."""
        gradient = self._pull_back(weights[:, None] * self._residual)
        del self._pull_back  # and with it what the forward pass kept
        return {
            name: value - lr * gradient[name] + (drift[name] if drift else 0)
            for name, value in self.parameters.items()
        }

    @torch.no_grad()
    def meta_gradient(self, meta: Examples, at: Parameters, lr: float | Tensor) -> MetaGradient:
        """The mean cross-entropy of `meta` at Θ̂, and −α ∇ℓᵢ(Θ)·∇L_meta(Θ̂) for each example."""
        loss, direction = self._meta_direction(meta, at)
        change, _ = self.classifier.derivative(self.parameters, direction, self.examples.x)
        return MetaGradient(loss, -lr * (self._residual * change).sum(dim=1))

    def _meta_direction(self, meta: Examples, at: Parameters) -> tuple[Tensor, Parameters]:
        def meta_loss(parameters: Parameters) -> Tensor:
            return cross_entropy(self.classifier.at(parameters, meta.x)[0], meta.y).mean()

        loss, pull_back = self.classifier.pulled_back(meta_loss, at)
        return loss, pull_back(torch.ones_like(loss))


def double_backward_loss(
    classifier: Net, examples: Examples, weights: Tensor, meta: Examples, lr: float
) -> Float[Tensor, ""]:
    """The meta loss after the virtual step, as a function of the weights (B,) that autograd can
    differentiate.

    The way of the public codes; it keeps the graph of the step's gradient. Not inside `torch.vmap`, where
    second derivatives through BatchNorm are wrong.
    """
    parameters = {name: value.detach().requires_grad_() for name, value in classifier.parameters.items()}
    losses = cross_entropy(classifier.at(parameters, examples.x)[0], examples.y)
    gradient = torch.autograd.grad((weights * losses).sum(), [*parameters.values()], create_graph=True)
    taken = {
        name: value - lr * change for (name, value), change in zip(parameters.items(), gradient, strict=True)
    }
    return cross_entropy(classifier.at(taken, meta.x)[0], meta.y).mean()


@torch.no_grad()
def finite_differences(
    classifier: Net, examples: Examples, weights: Tensor, meta: Examples, lr: float, by: float = 1e-4
) -> Float[Tensor, " batch"]:
    """∂L_meta/∂wᵢ (B,) from central differences: two virtual steps an example, for small nets in float64."""

    def meta_loss(changed: Tensor) -> Tensor:
        at = VirtualStep(classifier, examples).taken(changed, lr)
        return cross_entropy(classifier.at(at, meta.x)[0], meta.y).mean()

    moves = by * torch.eye(len(weights), dtype=weights.dtype, device=weights.device)
    return torch.stack([(meta_loss(weights + move) - meta_loss(weights - move)) / (2 * by) for move in moves])
