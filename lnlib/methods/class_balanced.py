"""Cross-entropy weighted by the effective number of examples of each class.

Cui et al. (2019), section 4; MetaInfoNet, table 1, row "Class-balanced".
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from lnlib.checks import Rate, checked
from lnlib.data.task import Visible
from lnlib.methods.base import Batch, Method, Nets, NewNet, TrainingData, cross_entropy, mean_one
from lnlib.nets import Memory


@checked
@dataclass(frozen=True)
class ClassBalanced(Method):
    """The mean of −α_y log softmax(h(x))_y; the weights α are `class_balanced_weights` of the given labels of
    the training split.

    MetaInfoNet does not say which loss is weighted, nor β: softmax cross-entropy and the default of the
    authors' scripts, .9999.
    """

    beta: Rate = 0.9999

    def networks(self, new_net: NewNet, task: Visible) -> dict[str, nn.Module]:
        counts = torch.bincount(task.train.labels, minlength=task.num_classes)
        weights = class_balanced_weights(counts, self.beta)
        return {"classifier": new_net("classifier"), "balance": Memory(weights=weights)}

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        logits, _ = nets["classifier"](batch.x)
        weights = nets["balance"].buffers["weights"]
        return (weights[batch.y] * cross_entropy(logits, batch.y)).mean()

    def sample_weights(self, nets: Nets, data: TrainingData) -> Float[Tensor, " train"]:
        weights = nets["balance"].buffers["weights"][data.labels]
        return mean_one(weights)


def class_balanced_weights(counts: Int[Tensor, " classes"], beta: float) -> Float64[Tensor, " classes"]:
    """Weights (K,) proportional to (1 − β)/(1 − β^n) for classes of n examples, with the sum K.

    β = 0 weighs all examples alike; β → 1 weighs them by 1/n, so that all classes count alike. A class
    without examples weighs 0. Source: Cui et al. (2019), section 4.
    """
    inverse = (1 - beta) / (1 - beta ** counts.double())
    weights = torch.where(counts > 0, inverse, 0.0)
    return weights * (len(counts) / weights.sum())
