"""Self-paced learning: only examples of small loss are learnt (MetaInfoNet, tables 2-3, row "Self-paced").

Kumar et al. (2010); the moving threshold is that of MentorNet's code (Jiang et al., 2018).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lnlib.checks import Share, checked
from lnlib.data.task import Visible
from lnlib.methods.base import Batch, Method, Nets, NewNet, TrainingData, cross_entropy, mean_one
from lnlib.nets import Memory

FIRST_SHARE = 0.5


@checked
@dataclass(frozen=True)
class SelfPaced(Method):
    """The mean over the batch of v·ℓ, where v = 1 for examples whose cross-entropy ℓ is at most λ, else 0.

    With `schedule="percentile"` λ is a moving average (`decay`), from 0, of the `percentile` of the batches'
    losses: it follows the losses down, and leaves out the worst to the end. With "fraction" it is the largest
    of a share of the batch's losses that rises by the epoch from one half to `final`; Kumar et al. begin with
    about half and end with all examples (recalled, not checked), 1 minus the share of wrong labels leaves as
    many out. Each epoch reports the share of selected examples.
    """

    schedule: Literal["percentile", "fraction"] = "percentile"
    percentile: Share = 0.7
    decay: Share = 0.5
    final: Share = 1.0

    def networks(self, new_net: NewNet, task: Visible) -> dict[str, nn.Module]:
        return {"classifier": new_net("classifier"), "pace": Memory(threshold=torch.zeros(()))}

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        losses = cross_entropy(nets["classifier"](batch.x)[0], batch.y)
        pace = nets["pace"].buffers
        pace["threshold"].copy_(self.threshold(losses.detach(), pace["threshold"], batch))
        selected = (losses.detach() <= pace["threshold"]).to(losses.dtype)
        batch.note("selected_share", selected.mean())
        return (selected * losses).mean()

    def threshold(
        self, losses: Float[Tensor, " batch"], before: Float[Tensor, ""], batch: Batch
    ) -> Float[Tensor, ""]:
        """λ for a batch of losses (B,), given λ before it."""
        if self.schedule == "percentile":
            now = quantile(losses, self.percentile)
            return self.decay * before + (1 - self.decay) * now
        done = (batch.epoch - 1) / max(batch.epochs - 1, 1)
        return quantile(losses, FIRST_SHARE + (self.final - FIRST_SHARE) * done)

    def sample_weights(self, nets: Nets, data: TrainingData) -> Float[Tensor, " train"]:
        """v of every training example by the present λ, over its mean; zeros where none is selected."""
        logits, _ = data.outputs(nets["classifier"])
        selected = cross_entropy(logits, data.labels) <= nets["pace"].buffers["threshold"]
        return mean_one(selected.to(logits.dtype))


def quantile(values: Float[Tensor, " n"], share: float | Tensor) -> Float[Tensor, ""]:
    """The value (of n) at the nearest rank to `share` of the way from the smallest to the largest.

    `torch.quantile` refuses a share that differs between the members of a stack.
    """
    rank = (values.new_zeros(()) + share * (len(values) - 1)).round().long()
    return values.sort().values.gather(0, rank[None])[0]
