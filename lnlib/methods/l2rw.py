"""Learning to reweight examples: weights straight from the agreement of gradients, without a network.

MetaInfoNet's tables, row "L2RW"; Ren et al. (2018).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lnlib.checks import checked
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
from lnlib.methods.meta_weighting import meta_of, normalized, require_meta

CHUNK = 256
"""At most so many training examples are weighed together for `sample_weights`, in equal parts: BatchNorm sees
one as one batch."""


@checked
@dataclass(frozen=True)
class L2RW(Method):
    """w ∝ max(−∂L_meta/∂ε, 0) at ε = 0, where ε weighs the examples of a virtual step: an example counts as
    far as its gradient agrees with the meta set's.

    At ε = 0 the virtual step stands still, so its length cancels. The weights of a batch sum to one; a batch
    in which no gradient agrees is skipped and counted. Raises `InvalidValue` for a task without a meta set.
    """

    steps_virtually: ClassVar[bool] = True

    def networks(self, new_net: NewNet, task: Visible) -> dict[str, nn.Module]:
        require_meta(self, task)
        return super().networks(new_net, task)

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase(self.loss, ("classifier",), skip_zero=True, meta=True),)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        logits = nets["classifier"](batch.x)[0]
        step = VirtualStep(nets["classifier"], Examples(batch.x, batch.y), logits)
        weights = normalized(agreement(step, meta_of(batch)), "sum")
        return (weights * cross_entropy(logits, batch.y)).sum()

    def sample_weights(self, nets: Nets, data: TrainingData) -> Float[Tensor, " train"]:
        """The weights of all training examples (N,) beside the whole meta set, without dropout."""
        if data.meta is None:
            raise InvalidValue("a meta set is needed, got none; make the task with meta_size=100")
        classifier, meta = nets["classifier"], data.meta()
        rows = torch.arange(len(data.labels), device=data.labels.device)
        with classifier.skeleton.without_dropout():
            parts = [
                agreement(VirtualStep(classifier, Examples(data.images(part), data.labels[part])), meta)
                for part in torch.tensor_split(rows, -(-len(rows) // CHUNK))
            ]
        return mean_one(torch.cat(parts))


def agreement(step: VirtualStep, meta: Examples) -> Float[Tensor, " batch"]:
    """max(∇ℓᵢ·∇L_meta, 0) for each example (B,) of the step, both at the classifier's present weights."""
    return -step.meta_gradient(meta, step.classifier.parameters, 1.0).by_weight.clamp(max=0)
