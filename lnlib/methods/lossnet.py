"""LossNet, better known as Meta-Weight-Net: an example's weight is a learned function of its loss.

MetaInfoNet, section 3.2; Shu et al. (2019).
"""

from dataclasses import dataclass

from torch import Tensor, nn

from lnlib.checks import checked
from lnlib.methods.base import Nets, cross_entropy
from lnlib.methods.meta_weighting import MetaWeighting
from lnlib.nets.weighting import WeightFromLoss


@checked
@dataclass(frozen=True)
class LossNet(MetaWeighting):
    """w̃ = σ(W₂ ReLU(W₁ ℓ)), where ℓ is the example's cross-entropy; see `MetaWeighting`."""

    def new_weighting(self, num_classes: int) -> nn.Module:
        return WeightFromLoss(self.hidden)

    def raw_weights(
        self, nets: Nets, logits: Tensor, labels: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, None]:
        return nets["weighting"](cross_entropy(logits, labels)), None
