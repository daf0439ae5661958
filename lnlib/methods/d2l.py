"""Dimensionality-driven learning (MetaInfoNet, tables 2 and 3, row "D2L"; Ma et al., 2018)."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lnlib.checks import Several, Whole, checked
from lnlib.data.task import Visible
from lnlib.methods.base import Batch, Method, Nets, NewNet, TrainingData, cross_entropy
from lnlib.nets import Memory, Net

BATCH, BATCHES, NEIGHBOURS = 128, 10, 20


@checked
@dataclass(frozen=True)
class D2L(Method):
    """Cross-entropy until the features' local intrinsic dimensionality (LID) turns up, then on α·y + (1 −
    α)·onehot(prediction).

    The LID is the mean over up to 1280 training images, others after each epoch, whose neighbours are sought
    inside batches of 128. From epoch `init_epoch` + `window` on, an epoch turns when its LID exceeds the mean
    of the last `window` by more than two of their standard deviations: the classifier goes back to the
    weights of the epoch before (the optimiser's state does not), and from then on α = exp(−(t/T)·LID_t/min
    LID before t) after every epoch t of T. That of the untrained network counts as epoch 0. The paper's
    `init_epoch` is 5 on MNIST and 40 on CIFAR-10.

    So the authors' code, but for three things: there the minimum has LID_t, too; the weights that it goes
    back to are those just saved, which changes nothing, while the paper goes back; and before the turn it has
    since used another loss than the paper's cross-entropy.
    """

    init_epoch: Whole = 5
    window: Several = 5

    def networks(self, new_net: NewNet, task: Visible) -> dict[str, nn.Module]:
        memory = Memory(
            # The run's own stream is what PyTorch draws from here.
            order=torch.randperm(len(task.train)),
            recent=torch.zeros(self.window),
            lowest=torch.tensor(torch.inf),
            lid=torch.zeros(()),
            alpha=torch.ones(()),
            turned_at=torch.zeros(()),
        )
        classifier = new_net("classifier")
        return {"classifier": classifier, "previous": copy.deepcopy(classifier), "memory": memory}

    def start(self, nets: Nets, data: TrainingData) -> None:
        memory = nets["memory"].buffers
        _remember(memory, mean_lid(nets["classifier"], data, subset(memory["order"], 0)))

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        logits, _ = nets["classifier"](batch.x)
        alpha = nets["memory"].buffers["alpha"]
        on_given = cross_entropy(logits, batch.y)
        on_predicted = cross_entropy(logits, logits.argmax(dim=1))
        return (alpha * on_given + (1 - alpha) * on_predicted).mean()

    def end_epoch(self, nets: Nets, data: TrainingData, epoch: int) -> None:
        """Measure the LID, go back where it turns, and pace α from then on."""
        memory = nets["memory"].buffers
        lid_now = mean_lid(nets["classifier"], data, subset(memory["order"], epoch))
        before = memory["turned_at"] > 0
        turns = ~before & is_turning_point(memory["recent"], lid_now)
        if epoch < self.init_epoch + self.window:
            turns = torch.zeros_like(turns)
        memory["turned_at"].masked_fill_(turns, epoch)
        # The classifier goes back to the epoch before the turn; until then its copy follows it.
        _copy_where(turns, nets["previous"], nets["classifier"])
        _copy_where(~before & ~turns, nets["classifier"], nets["previous"])
        paced = torch.exp(-(epoch / data.epochs) * lid_now / memory["lowest"])
        memory["alpha"].copy_(torch.where(before | turns, paced, memory["alpha"]))
        _remember(memory, lid_now)

    def first_own_epoch(self, epochs: int, history: Mapping[str, Iterable[float]]) -> float:
        """The epoch after the turn: that of the turn ends with the weights of the one before."""
        turned_at = max(history["turned_at"])
        return turned_at + 1 if turned_at else inf

    def report(self, nets: Nets) -> dict[str, Tensor]:
        """The epoch's LID (before going back), α, and the epoch that turned, 0 before there is one."""
        memory = nets["memory"].buffers
        return {name: memory[name] for name in ("lid", "alpha", "turned_at")}


def lid(distances: Float[Tensor, "*points neighbours"]) -> Float[Tensor, "*points"]:
    """The local intrinsic dimensionality −1/mean_j log(r_j/r_k) from the distances r_1 to r_k of a point's
    neighbours, its maximum-likelihood estimate.

    Infinite where all distances are equal; an exact duplicate counts as very near. Source: Ma et al. (2018),
    after Amsaleg et al. (2015).
    """
    logarithms = distances.clamp_min(torch.finfo(distances.dtype).tiny).log()
    return 1 / (logarithms.amax(dim=-1, keepdim=True) - logarithms).mean(dim=-1)


def subset(order: Int[Tensor, " examples"], epoch: int) -> Int[Tensor, "batches batch"]:
    """The rows, in batches, on which an epoch (from 0) measures the LID: the next stretch of an `order` (N,),
    which begins again after its end.
    """
    size = min(BATCH, len(order))
    count = min(BATCHES, len(order) // size) * size
    places = torch.arange(epoch * count, (epoch + 1) * count, device=order.device) % len(order)
    return order[places].view(-1, size)


def mean_lid(net: Net, data: TrainingData, rows: Tensor) -> Float[Tensor, ""]:
    """The mean finite LID of images `rows` (batches, B), eval-mode, among each batch's 20 nearest."""
    flat = rows.flatten()
    chosen = replace(data, images=lambda part: data.images(flat[part]), labels=data.labels[flat])
    features = chosen.outputs(net)[1].view(*rows.shape, -1)
    count = min(NEIGHBOURS, rows.shape[1] - 1)
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    # The nearest is the point itself.
    nearest = distances.topk(count + 1, largest=False).values[..., 1:]
    found = lid(nearest)
    finite = found.isfinite()
    return torch.where(finite, found, 0).sum() / finite.sum()


def is_turning_point(recent: Float[Tensor, " window"], now: Float[Tensor, ""]) -> Bool[Tensor, ""]:
    """Whether a LID exceeds the mean of the last ones by more than two of their standard deviations."""
    return now - recent.mean() > 2 * recent.std(correction=0)


def _remember(memory: Mapping[str, Tensor], lid_now: Float[Tensor, ""]) -> None:
    memory["lid"].copy_(lid_now)
    memory["lowest"].clamp_(max=lid_now)
    memory["recent"].copy_(torch.cat([memory["recent"][1:], lid_now[None]]))


def _copy_where(so: Bool[Tensor, ""], source: Net, target: Net) -> None:
    """Masked, so that nothing waits to learn whether it is so."""
    values = {**source.parameters, **source.buffers}
    for name, value in {**target.parameters, **target.buffers}.items():
        value.copy_(torch.where(so, values[name], value))
