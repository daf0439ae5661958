"""Learning to reweight examples: weights straight from the agreement of gradients, without a network.

MetaInfoNet's tables, row "L2RW"; Ren et al. (2018).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lnlib.data.task import Visible
from lnlib.errors import InvalidValue
from lnlib.methods.base import (
    Batch,
    Examples,
    Method,
    Nets,
    NewNet,
    Phase,
    TrainingData,
    cross_entropy,
    mean_one,
)
from lnlib.methods.hypergradient import VirtualStep
from lnlib.methods.meta_weighting import count_weights, meta_of, normalized, read_meter, require_meta
from lnlib.nets import Memory

CHUNK = 256
"""Training examples that are weighed together for `sample_weights`: BatchNorm sees them as one batch."""


@dataclass(frozen=True)
class L2RW(Method):
    """w ∝ max(−∂L_meta/∂ε, 0) at ε = 0, where ε weighs the examples of a virtual step: an example counts as
    far as its gradient agrees with the meta set's.

    At ε = 0 the virtual step stands still, so its length cancels. The weights of a batch sum to one; a batch
    in which no gradient agrees is skipped and counted. Raises `InvalidValue` for a task without a meta set.
    """

    name: ClassVar[str] = "l2rw"
    label: ClassVar[str] = "L2RW"

    def networks(self, new_net: NewNet, task: Visible) -> dict[str, nn.Module]:
        """The classifier and a meter."""
        require_meta(self, task)
        meter = Memory(**{name: torch.zeros(()) for name in ("effective", "steps", "skipped")})
        return {"classifier": new_net("classifier"), "meter": meter}

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The classifier, under weights that are new for each batch."""
        return (Phase(self.loss, ("classifier",), skip_zero=True),)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        """Σ wᵢℓᵢ."""
        weights = normalized(agreement(nets, Examples(batch.x, batch.y), meta_of(batch)), "sum")
        count_weights(nets, weights)
        logits, _ = nets["classifier"](batch.x)
        return (weights * cross_entropy(logits, batch.y)).sum()

    def report(self, nets: Nets) -> dict[str, float]:
        """The mean effective sample size 1/Σw² as a share of the batch, and how many steps were skipped."""
        sums = read_meter(nets)
        taken = max(sums["steps"] - sums["skipped"], 1)
        return {"effective_sample_size": sums["effective"] / taken, "skipped_steps": sums["skipped"]}

    def sample_weights(self, nets: Nets, data: TrainingData) -> Float[Tensor, " train"]:
        """The weights that all training examples (N,) would have beside the whole meta set, with mean one."""
        if data.meta is None:
            raise InvalidValue("a meta set is needed, got none; make the task with meta_size=100")
        rows = torch.arange(len(data.labels), device=data.labels.device)
        parts = [
            agreement(nets, Examples(data.images(part), data.labels[part]), data.meta)
            for part in torch.split(rows, CHUNK)
        ]
        return mean_one(torch.cat(parts))


def agreement(nets: Nets, examples: Examples, meta: Examples) -> Float[Tensor, " batch"]:
    """max(∇ℓᵢ·∇L_meta, 0) for each example (B,), both at the classifier's present weights."""
    step = VirtualStep(nets["classifier"], examples)
    return -step.meta_gradient(meta, step.parameters, 1.0).by_weight.clamp(max=0)
