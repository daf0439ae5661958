"""Latent class-conditional noise (MetaInfoNet, table 5, row "LCCN"; Yao et al., 2019)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lnlib.checks import Count, NonNegative, Positive, checked
from lnlib.data.task import Visible
from lnlib.methods.base import FROM_BEST_CE, Batch, Draw, Method, Nets, NewNet, TrainingData, cross_entropy
from lnlib.nets import Memory


@checked
@dataclass(frozen=True)
class LCCN(Method):
    """Cross-entropy on latent labels z, one an example, drawn anew in each batch: z ~ Cat(∝ p(z|x)·T[z, y]).

    C (K, K) counts how often latent label i has given label j, and T is its rows, with `alpha` added to each
    count, divided by their sums. z begins as the prediction of the best cross-entropy weights, from which the
    classifier begins too. T follows C every `every` steps after a share `warmup` of the training; until then
    it stays as it began. The original waits 20 000 steps of some 47 000. Each epoch reports the share of
    examples whose latent label is not the given one.
    """

    alpha: Positive = 1.0
    warmup: NonNegative = 0.43
    every: Count = 200

    warm_start = FROM_BEST_CE

    def networks(self, new_net: NewNet, task: Visible) -> dict[str, nn.Module]:
        classes, size = task.num_classes, len(task.train)
        memory = Memory(
            latent=torch.zeros(size, dtype=torch.long),
            counts=torch.zeros(classes, classes),
            matrix=torch.eye(classes),
            seen=torch.zeros((), dtype=torch.long),
            first_update=torch.zeros(()),
        )
        return {"classifier": new_net("classifier"), "memory": memory}

    def draws(self, batch_size: int, num_classes: int) -> dict[str, Draw]:
        return {"latent": Draw("uniform", (batch_size,))}

    def start(self, nets: Nets, data: TrainingData) -> None:
        memory = nets["memory"].buffers
        logits, _ = data.outputs(nets["classifier"])
        memory["latent"].copy_(logits.argmax(dim=1))
        ones = torch.ones_like(data.labels, dtype=memory["counts"].dtype)
        memory["counts"].index_put_((memory["latent"], data.labels), ones, accumulate=True)
        memory["matrix"].copy_(transition(memory["counts"], self.alpha))
        memory["first_update"].fill_(self.warmup * data.epochs * len(data.labels))

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        logits, _ = nets["classifier"](batch.x)
        memory = nets["memory"].buffers
        weights = torch.softmax(logits.detach().to(memory["matrix"].dtype), dim=1)
        drawn = categorical(weights * memory["matrix"].T[batch.y], batch.noise["latent"])
        counts, classes = memory["counts"].view(-1), batch.num_classes
        ones = torch.ones_like(drawn, dtype=counts.dtype)
        counts.index_add_(0, memory["latent"][batch.index] * classes + batch.y, -ones)
        counts.index_add_(0, drawn * classes + batch.y, ones)
        memory["latent"].index_put_((batch.index,), drawn)
        memory["seen"].add_(len(batch.y))
        return cross_entropy(logits, drawn).mean()

    def after_step(self, nets: Nets, step: int) -> None:
        memory = nets["memory"].buffers
        if step % self.every == 0:
            begun = memory["seen"] > memory["first_update"]
            follows = transition(memory["counts"], self.alpha)
            memory["matrix"].copy_(torch.where(begun, follows, memory["matrix"]))

    def report(self, nets: Nets) -> dict[str, Tensor]:
        counts = nets["memory"].buffers["counts"]
        return {"relabelled": 1 - (counts.trace() / counts.sum()).double()}


def transition(counts: Float[Tensor, "classes classes"], alpha: float) -> Float[Tensor, "classes classes"]:
    """Counts (K, K), plus `alpha` each, as probabilities: the mean under a symmetric Dirichlet prior."""
    smoothed = counts + alpha
    return smoothed / smoothed.sum(dim=1, keepdim=True)


def categorical(
    weights: Float[Tensor, "batch classes"], uniform: Float[Tensor, " batch"]
) -> Int[Tensor, " batch"]:
    """One class a row, drawn proportionally to `weights` by uniform numbers on [0, 1)."""
    cumulative = weights.cumsum(dim=1)
    below = cumulative <= uniform[:, None] * cumulative[:, -1:]
    return below.sum(dim=1).clamp_max(weights.shape[1] - 1)
