"""MetaInfoNet: weights from labels, and logits through a bottleneck (section 4.3 and eq. (7))."""

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor, nn

from lnlib.checks import Count, Finite, NonNegative, checked
from lnlib.methods.base import Draw, Nets
from lnlib.methods.meta_weighting import MetaWeighting
from lnlib.nets.weighting import LOG_VARIANCE, Gaussians, WeightThroughBottleneck


@checked
@dataclass(frozen=True)
class MetaInfoNet(MetaWeighting):
    """w̃ = MLP(ψ′ ⊙ e(y)): ψ is drawn from a Gaussian that depends on the logits z, ψ′ is linear in [ψ; z];
    the meta loss pays λ for each nat of KL[p(ψ|z) ‖ N(0, I)], an upper bound of I(z; ψ). See `MetaWeighting`.

    What the paper leaves open: λ of its grid (0, .01, .03, .1, .3, 1), `dimensions` d of ψ (None is K),
    whether the tables have the `skip` connection, the prior (standard normal here), where log σ² begins
    (`log_variance`), and whether the real step's weights come from a sample of ψ or from its mean
    (`real_step`). A larger λ leaves less of the logits, whatever the text below eq. (5) says.
    """

    lam: NonNegative = 0.1
    skip: bool = True
    dimensions: Annotated[Count | None, "None takes one a class"] = None
    real_step: Literal["mean", "sample"] = "mean"
    log_variance: Finite = LOG_VARIANCE

    def new_weighting(self, num_classes: int) -> nn.Module:
        dimensions = self.dimensions or num_classes
        return WeightThroughBottleneck(num_classes, dimensions, self.skip, self.hidden, self.log_variance)

    def draws(self, batch_size: int, num_classes: int) -> dict[str, Draw]:
        return {"psi": Draw("normal", (batch_size, self.dimensions or num_classes))}

    @property
    def penalty(self) -> float:
        return self.lam

    def raw_weights(
        self, nets: Nets, logits: Tensor, labels: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Gaussians]:
        """The weights come through a sample of ψ, or its mean without noise."""
        weights, gaussians = nets["weighting"](logits, labels, noise)
        return weights, gaussians

    @property
    def real_draws(self) -> tuple[str, ...]:
        return ("psi",) if self.real_step == "sample" else ()
