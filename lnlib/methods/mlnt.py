"""Meta-learning from noisy labels by consistency (MetaInfoNet, table 5, row "MLNT"; Li et al., 2019)."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import grad, grad_and_value, vmap

from lnlib.checks import Count, Finite, NonNegative, Share, checked
from lnlib.data.task import Visible
from lnlib.device import full_precision
from lnlib.errors import InvalidValue
from lnlib.methods.base import FROM_BEST_CE, Batch, Draw, Method, Nets, NewNet, TrainingData, cross_entropy
from lnlib.nets import Memory, Net
from lnlib.nets.net import Tensors

NEIGHBOURS = 10


@checked
@dataclass(frozen=True)
class MLNT(Method):
    """Cross-entropy, plus the wish that a gradient step on synthetic labels would leave the predictions with
    the teacher's.

    Each of `label_sets` synthetic label sets gives half of the batch the given label of one of their 10
    nearest neighbours; a step of `fast_lr` on their cross-entropy leads to the fast weights, and the
    consistency is the mean over sets of KL(teacher ‖ student there), an element-wise mean: with `weight` = K
    it would be the batch's mean. It counts `weight`·exp(−5(1 − u)²), where u rises from 0 to 1 between the
    shares `begin` and `full` of the training (500 and 2000 of some 94 000 steps in the original), and nothing
    before. The teacher is the classifier itself until `begin`, then its moving average, which decays by
    `decay` until `full` and by `late_decay` after it. The step is differentiated too: the reference code
    keeps the second-order terms, although the paper speaks of a first-order method; without them:
    `second_order=False`.

    So the public code (LiJunnan1992/MLNT), but: here the classifier begins from the best cross-entropy
    weights, whose features give the neighbours among all training images; there from ImageNet's, and the
    neighbours are sought inside the batch, in the features of such cross-entropy weights. The paper repeats
    the whole with each result as a mentor; this is one such round, as the code's. Raises `InvalidValue`
    unless `begin` is below `full`.
    """

    label_sets: Count = 10
    fast_lr: NonNegative = 0.02
    weight: NonNegative = 1.0
    begin: NonNegative = 0.005
    full: Finite = 0.02
    decay: Share = 0.99
    late_decay: Share = 0.999
    second_order: bool = True

    def __post_init__(self) -> None:
        if not self.begin < self.full:
            raise InvalidValue(
                f"mlnt: begin must be below full, got {self.begin} and {self.full}; "
                "try MLNT(begin=0.005, full=0.02)"
            )

    warm_start = FROM_BEST_CE

    def networks(self, new_net: NewNet, task: Visible) -> dict[str, nn.Module]:
        classifier = new_net("classifier")
        neighbours = min(NEIGHBOURS, len(task.train) - 1)
        memory = Memory(
            neighbour_labels=torch.zeros(len(task.train), neighbours, dtype=torch.long),
            seen=torch.zeros((), dtype=torch.long),
            total=torch.ones(()),
        )
        return {"classifier": classifier, "teacher": copy.deepcopy(classifier), "memory": memory}

    def draws(self, batch_size: int, num_classes: int) -> dict[str, Draw]:
        """Who is relabelled in each label set, and by which neighbour."""
        shape = (self.label_sets, batch_size)
        return {"order": Draw("uniform", shape), "neighbour": Draw("uniform", shape)}

    def start(self, nets: Nets, data: TrainingData) -> None:
        memory = nets["memory"].buffers
        _, features = data.outputs(nets["classifier"])
        kept = memory["neighbour_labels"]
        kept.copy_(data.labels[nearest(features, kept.shape[1])])
        memory["total"].fill_(data.epochs * len(data.labels))
        self.after_step(nets, 0)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        classifier, memory = nets["classifier"], nets["memory"].buffers
        on_given = cross_entropy(classifier(batch.x)[0], batch.y).mean()
        labels = synthetic_labels(batch, memory["neighbour_labels"][batch.index])
        teacher, _ = nets["teacher"].at(detached(nets["teacher"]), batch.x)
        gradient, value = self.consistency(classifier, batch.x, labels, torch.log_softmax(teacher, dim=1))
        # Linear in the weights: its gradient is the consistency's, and it adds nothing to the value.
        terms = [
            ((weight - weight.detach()) * gradient[name]).sum()
            for name, weight in classifier.parameters.items()
        ]
        ramp = self.ramp(memory["seen"] / memory["total"])
        memory["seen"].add_(len(batch.y))
        return on_given + self.weight * ramp * (value + torch.stack(terms).sum())

    def consistency(
        self,
        classifier: Net,
        x: Tensor,
        labels: Int[Tensor, "sets batch"],
        teacher: Float[Tensor, "batch classes"],
    ) -> tuple[dict[str, Tensor], Float[Tensor, ""]]:
        """The mean over label sets of mean(t·(log t − log s)), and its gradient by the classifier's weights.

        s are the predictions on images `x` (B, C, H, W) after a step on one set's labels, log t the
        `teacher`'s; BatchNorm normalises by the batch. Source: Li et al. (2019).
        """
        # A network alone and its images have their channels last, where a GPU's BatchNorm asks vmap for
        # what it lacks. Cloned: `contiguous` leaves what has one channel as it is.
        x = x.clone(memory_format=torch.contiguous_format)
        weights = {
            name: value.clone(memory_format=torch.contiguous_format)
            for name, value in detached(classifier).items()
        }

        def of_one_set(targets: Tensor) -> Any:
            def step(at: Tensors) -> Tensors:
                gradient = grad(lambda at: cross_entropy(classifier.at(at, x)[0], targets).mean())(at)
                return {name: self.fast_lr * value for name, value in gradient.items()}

            def divergence(at: Tensors) -> Tensor:
                moved = step(at if self.second_order else weights)
                fast = {name: at[name] - moved[name] for name in at}
                student = torch.log_softmax(classifier.at(fast, x)[0], dim=1)
                return (teacher.exp() * (teacher - student)).mean()

            return grad_and_value(divergence)(weights)

        # Not the gradient of a vmap: through BatchNorm its second-order terms would be wrong. Without
        # autocast: torch.func does not follow BatchNorm of mixed types.
        with full_precision(x):
            gradients, values = vmap(of_one_set)(labels)
        return {name: value.mean(dim=0) for name, value in gradients.items()}, values.mean()

    def ramp(self, share: Tensor) -> Tensor:
        """What the consistency counts after a share of the training."""
        rise = ((share - self.begin) / (self.full - self.begin)).clamp(0, 1)
        return torch.where(share < self.begin, 0.0, torch.exp(-5 * (1 - rise) ** 2))

    def after_step(self, nets: Nets, step: int) -> None:
        memory = nets["memory"].buffers
        share = memory["seen"] / memory["total"]
        early, late = (torch.full_like(share, decay) for decay in (self.decay, self.late_decay))
        decay = torch.where(share < self.full, early, late) * (share >= self.begin)
        for name, value in nets["teacher"].parameters.items():
            value.lerp_(nets["classifier"].parameters[name], 1 - decay)


def synthetic_labels(
    batch: Batch, neighbour_labels: Int[Tensor, "batch neighbours"]
) -> Int[Tensor, "sets batch"]:
    """Label sets in which half of the batch has the label of one of its neighbours, the rest its own."""
    half = len(batch.y) // 2
    replaced = batch.noise["order"].argsort(dim=1).argsort(dim=1) < half
    chosen = (batch.noise["neighbour"] * neighbour_labels.shape[1]).long()
    labels = neighbour_labels.gather(1, chosen.T).T
    return torch.where(replaced, labels, batch.y)


def nearest(
    features: Float[Tensor, "examples features"], count: int, chunk: int = 512
) -> Int[Tensor, "examples neighbours"]:
    """The rows of each example's `count` nearest others by Euclidean distance, nearest first."""
    found = []
    for rows in torch.split(torch.arange(len(features), device=features.device), chunk):
        distances = torch.cdist(features[rows], features)
        distances.scatter_(1, rows[:, None], torch.inf)
        found.append(distances.topk(count, largest=False).indices)
    return torch.cat(found)


def detached(net: Net) -> dict[str, Tensor]:
    """A network's weights by name, without their gradients."""
    return {name: value.detach() for name, value in net.parameters.items()}
