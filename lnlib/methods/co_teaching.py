"""Co-teaching: two networks, each of which learns the examples of small loss that the other picks.

Han et al. (2018), algorithm 1; MetaInfoNet, tables 2-3, row "Co-teaching".
"""

from dataclasses import dataclass
from math import log
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lnlib.checks import Count, Positive, Rate, checked
from lnlib.methods.base import Batch, Method, Nets, cross_entropy

ROUNDING = 1e-3
"""Of an example, lest rounding lose one that a share of the batch counts in full."""
Schedule = Literal["code", "paper"]


@checked
@dataclass(frozen=True)
class CoTeaching(Method):
    """Cross-entropy of each network, averaged over the share R(t) of the batch that has the smallest losses
    under the other one; R(t) is `remember_rate`.

    `forget_rate` must be the effective error rate, which any-class noise has below its own rate:
    `lnlib.noise.effective_error_rate`. One optimiser trains both. The prediction is the mean of both
    networks' probabilities: the authors' code reports each network, MetaInfoNet does not say. The authors'
    code also divides each mean by the number of examples once more, which Adam does not notice and this does
    not do.
    """

    trained = ("classifier", "peer")  # which differ by their first weights
    forget_rate: Annotated[Rate, "use the effective error rate"] = 0.2
    ramp_epochs: Count = 10
    exponent: Positive = 1.0
    schedule: Schedule = "code"

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        """The sum of both networks' losses, in nats; no gradient passes through the selection."""
        first, second = (cross_entropy(nets[name](batch.x)[0], batch.y) for name in self.trained)
        ramp = self.ramp_epochs, self.exponent, self.schedule
        share = remember_rate(batch.epoch, self.forget_rate, *ramp)
        picked_by_first = smallest(first.detach(), share)
        picked_by_second = smallest(second.detach(), share)
        return _mean(first, picked_by_second) + _mean(second, picked_by_first)

    def predict(self, nets: Nets, x: Tensor) -> Float[Tensor, "batch classes"]:
        first, second = (torch.log_softmax(nets[name](x)[0], dim=1) for name in self.trained)
        return torch.logaddexp(first, second) - log(2)


def remember_rate(
    epoch: int,
    forget_rate: float,
    ramp_epochs: int = 10,
    exponent: float = 1.0,
    schedule: Schedule = "code",
) -> float:
    """R(t): the share of a batch that is learnt in an epoch (from 1), with t = epoch − 1, the forget rate τ,
    T ramp epochs and the exponent c.

    The authors' code forgets τᶜ·t/(T − 1) for t < T, then τ, which is a jump where c ≠ 1; their paper
    ("paper") τ·min(tᶜ/T, 1). Source: Han et al. (2018), algorithm 1 and section 4; their code.
    """
    t = epoch - 1
    if schedule == "code":
        return 1 - (forget_rate**exponent * t / max(ramp_epochs - 1, 1) if t < ramp_epochs else forget_rate)
    grown: Any = t**exponent / ramp_epochs
    # In a stack the exponent is a tensor.
    grown = grown.clamp(max=1) if isinstance(grown, Tensor) else min(grown, 1.0)
    share: float = 1 - forget_rate * grown
    return share


def smallest(losses: Float[Tensor, " batch"], share: float | Tensor) -> Float[Tensor, " batch"]:
    """1 for the ⌊share·B⌋ smallest of losses (B,), at least one and never more, and 0 for the others."""
    count = (losses.new_zeros(()) + share * len(losses) + ROUNDING).floor().clamp(min=1)
    ranks = losses.argsort(stable=True).argsort()
    return (ranks < count).to(losses.dtype)


def _mean(losses: Tensor, picked: Tensor) -> Tensor:
    return (picked * losses).sum() / picked.sum()
