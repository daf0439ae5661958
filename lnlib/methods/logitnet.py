"""LogitNet: an example's weight is learned from its logits and given label (MetaInfoNet, section 4.2)."""

from dataclasses import dataclass

from torch import Tensor, nn

from lnlib.checks import checked
from lnlib.methods.base import Nets
from lnlib.methods.meta_weighting import MetaWeighting
from lnlib.nets.weighting import WeightFromLogits


@checked
@dataclass(frozen=True)
class LogitNet(MetaWeighting):
    """w̃ = MLP(z ⊙ e(y)): logits z, an embedding e of the given label; see `MetaWeighting`.

    With `linear` one linear layer maps the logits first: the control that tells MetaInfoNet's bottleneck from
    its additional layer.
    """

    linear: bool = False

    def new_weighting(self, num_classes: int) -> nn.Module:
        return WeightFromLogits(num_classes, self.linear, self.hidden)

    def raw_weights(
        self, nets: Nets, logits: Tensor, labels: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, None]:
        return nets["weighting"](logits, labels), None
