"""How the loss after a virtual step changes with the weights of the step's examples.

MetaInfoNet, Algorithm 1, lines 5 to 11; Meta-Weight-Net and L2RW use the same step. With
Θ̂ = Θ − α Σᵢ wᵢ∇ℓᵢ(Θ), ∂L_meta(Θ̂)/∂wᵢ = −α ∇ℓᵢ(Θ)·∇L_meta(Θ̂): a directional derivative of each example's
loss, which forward mode gives for all of them at once.
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
    """A classifier's step on one weighted batch, which is only imagined: its weights stay.

    `logits` (B, K) are those before the step, with their graph: of a forward pass that the real step may use
    again, or of a new one that moves no running statistics. Works inside `torch.vmap`.
    """

    def __init__(self, classifier: Net, examples: Examples, logits: Tensor | None = None) -> None:
        self.classifier, self.examples = classifier, examples
        with torch.enable_grad():
            self._logits = classifier.at(classifier.parameters, examples.x)[0] if logits is None else logits
        self.logits = self._logits.detach()
        targets = one_hot(examples.y, self.logits.shape[1]).to(self.logits.dtype)
        self._residual = torch.softmax(self.logits, dim=1) - targets

    @torch.no_grad()
    def taken(self, weights: Tensor, lr: float, drift: Parameters | None = None) -> Parameters:
        """Θ̂ = Θ + drift − α Σᵢ wᵢ∇ℓᵢ(Θ) for weights (B,)."""
        gradient = self.classifier.gradient(self._logits, weights[:, None] * self._residual)
        taken = stepped(self.classifier.parameters, gradient, lr)
        return {name: value + drift[name] for name, value in taken.items()} if drift else taken

    @torch.no_grad()
    def meta_gradient(self, meta: Examples, at: Parameters, lr: float) -> MetaGradient:
        """The mean cross-entropy of `meta` at Θ̂, and −α ∇ℓᵢ(Θ)·∇L_meta(Θ̂) for each example."""

        def meta_loss(parameters: Parameters) -> Tensor:
            return cross_entropy(self.classifier.at(parameters, meta.x)[0], meta.y).mean()

        loss, direction = self.classifier.value_and_gradient(meta_loss, at)
        change = self.classifier.derivative(direction, self.examples.x)
        return MetaGradient(loss, -lr * (self._residual * change).sum(dim=1))


def stepped(parameters: Parameters, gradient: Parameters, lr: float) -> dict[str, Tensor]:
    """A step of plain gradient descent."""
    return {name: torch.add(value, gradient[name], alpha=-lr) for name, value in parameters.items()}


def double_backward_loss(
    classifier: Net, examples: Examples, weights: Tensor, meta: Examples, lr: float
) -> Float[Tensor, ""]:
    """The meta loss after the virtual step, as a function of the weights (B,) that autograd can follow.

    The way of the public codes; it keeps the graph of the step's gradient. Not inside `torch.vmap`, where
    second derivatives through BatchNorm are wrong.
    """
    parameters = {name: value.detach().requires_grad_() for name, value in classifier.parameters.items()}
    losses = cross_entropy(classifier.at(parameters, examples.x)[0], examples.y)
    gradient = torch.autograd.grad((weights * losses).sum(), [*parameters.values()], create_graph=True)
    taken = stepped(parameters, dict(zip(parameters, gradient, strict=True)), lr)
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
