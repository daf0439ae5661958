"""The networks that weigh examples: from the loss, from the logits, or through an information bottleneck.

MetaInfoNet, sections 3.2, 4.2 and 4.3, figures 3 and 4. The paper leaves the sizes open; a hidden layer of
100 is that of Meta-Weight-Net.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

HIDDEN = 100
"""Meta-Weight-Net's number of hidden units."""
LOG_VARIANCE = -2.0
"""Where the bottleneck's log σ² begins: σ = .37, quiet enough to learn through."""


def _weight_of(inputs: int, hidden: int) -> nn.Sequential:
    """A weight in (0, 1) from a representation: one hidden layer, then a sigmoid."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, 1), nn.Sigmoid())


class Gaussians(NamedTuple):
    """A normal distribution for each example, its dimensions independent."""

    mean: Float[Tensor, "batch dimensions"]
    log_variance: Float[Tensor, "batch dimensions"]

    @property
    def nats(self) -> Float[Tensor, " batch"]:
        """What they tell of the example, at most: their divergence from the standard normal distribution."""
        return kl_to_standard_normal(self.mean, self.log_variance)


class WeightingNet(nn.Module):
    """A network that a stack of runs calls once for all members: it leaves leading dimensions alone, and its
    layers take weights that have one.
    """

    takes_stacks = True


class LabelEmbedding(nn.Linear):
    """A linear layer without bias for one-hot labels, which looks their columns up."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, num_classes, bias=False)

    def forward(self, labels: Int[Tensor, "*members batch"]) -> Float[Tensor, "*members batch classes"]:
        """Labels (B,) to (B, K)."""
        return self.weight.mT.gather(-2, labels[..., None].expand(*labels.shape, self.out_features))


class WeightFromLoss(WeightingNet):
    """LossNet: 1-100-1, from an example's cross-entropy (B,) to its weight (B,). 301 parameters."""

    def __init__(self, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.weight = _weight_of(1, hidden)

    def forward(self, losses: Float[Tensor, "*members batch"]) -> Float[Tensor, "*members batch"]:
        """Weights in (0, 1)."""
        weights: Tensor = self.weight(losses[..., None])
        return weights[..., 0]


class WeightFromLogits(WeightingNet):
    """LogitNet: logits times an embedding of the given label, class by class, then K-100-1. With `linear` the
    logits pass a Linear(K, K) first: MetaInfoNet without noise, penalty or second path, as a control.
    """

    def __init__(self, num_classes: int, linear: bool = False, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.representation = nn.Linear(num_classes, num_classes) if linear else nn.Identity()
        self.embedding = LabelEmbedding(num_classes)
        self.weight = _weight_of(num_classes, hidden)

    def forward(
        self, logits: Float[Tensor, "*members batch classes"], labels: Int[Tensor, "*members batch"]
    ) -> Float[Tensor, "*members batch"]:
        """Weights in (0, 1) of logits (B, K) under given labels (B,)."""
        weights: Tensor = self.weight(self.representation(logits) * self.embedding(labels))
        return weights[..., 0]


class WeightThroughBottleneck(WeightingNet):
    """MetaInfoNet: the logits become a Gaussian ψ of d dimensions; [ψ; z] (with `skip`) or ψ becomes K
    numbers that meet the label's embedding as in LogitNet.

    The paper is silent on d; d = K is ours.
    """

    def __init__(
        self,
        num_classes: int,
        dimensions: int,
        skip: bool = True,
        hidden: int = HIDDEN,
        log_variance: float = LOG_VARIANCE,
    ) -> None:
        super().__init__()
        self.skip = skip
        self.gaussian = nn.Linear(num_classes, 2 * dimensions)
        nn.init.constant_(self.gaussian.bias[dimensions:], log_variance)
        self.representation = nn.Linear(dimensions + num_classes * skip, num_classes)
        self.embedding = LabelEmbedding(num_classes)
        self.weight = _weight_of(num_classes, hidden)

    def forward(
        self,
        logits: Float[Tensor, "*members batch classes"],
        labels: Int[Tensor, "*members batch"],
        noise: Float[Tensor, "*members batch dimensions"] | None,
    ) -> tuple[Float[Tensor, "*members batch"], Gaussians]:
        """Weights in (0, 1), and p(ψ|z); ψ = μ + σ·noise for standard normal noise (B, d), μ without."""
        gaussians = Gaussians(*self.gaussian(logits).chunk(2, dim=-1))
        psi = gaussians.mean
        if noise is not None:
            psi = psi + torch.exp(gaussians.log_variance / 2) * noise
        joined = torch.cat([psi, logits], dim=-1) if self.skip else psi
        weights: Tensor = self.weight(self.representation(joined) * self.embedding(labels))
        return weights[..., 0], gaussians


def kl_to_standard_normal(
    mean: Float[Tensor, "batch dimensions"], log_variance: Float[Tensor, "batch dimensions"]
) -> Float[Tensor, " batch"]:
    """KL[N(μ, σ²) ‖ N(0, I)] in nats, one an example: ½Σ(μ² + σ² − log σ² − 1). MetaInfoNet, eq. (7)."""
    return (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1) / 2
