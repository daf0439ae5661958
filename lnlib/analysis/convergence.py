"""MetaInfoNet's Theorems 1 and 2: how the bilevel gradients shrink, for a linear (convex) classifier."""

import pandas as pd
import torch
from torch import Tensor, nn

from lnlib.checks import Count, Positive, Seed, checked
from lnlib.data.task import Task
from lnlib.device import global_generator
from lnlib.errors import InvalidValue
from lnlib.methods.base import Examples, cross_entropy
from lnlib.methods.hypergradient import VirtualStep
from lnlib.methods.meta_weighting import MetaWeighting, normalized
from lnlib.nets import Net

TRAINING = "training loss by Θ"
META = "meta loss by Φ"
META_BY_CLASSIFIER = "meta loss by Θ"


class LinearClassifier(nn.Module):
    """One linear layer on the pixels."""

    def __init__(self, pixels: int, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(pixels, num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features of images (B, C, H, W)."""
        features = x.flatten(1)
        return self.layer(features), features


@checked
def gradient_norms(
    method: MetaWeighting,
    task: Task,
    steps: Count = 200,
    lr: Positive = 1.0,
    meta_lr: Positive = 10.0,
    seed: Seed = 0,
) -> pd.DataFrame:
    """Squared norms of the gradients in Algorithm 1 with all examples as one batch, a linear classifier and
    plain gradient descent, at α = `lr` for the classifier and β_t = `meta_lr`/√t for the weighting network.

    Columns: step, TRAINING (the weighted loss by the classifier), META (the meta loss after the virtual step
    by the weighting network), META_BY_CLASSIFIER (the meta loss by the classifier, as Theorem 2 is printed).
    Raises `InvalidValue` for a task without a meta set.
    """
    if task.meta is None:
        raise InvalidValue("a meta set is needed, got none; make the task with meta_size=100")
    train, meta = (
        Examples(task.dataset.train_images[split.index].double() / 255, split.labels)
        for split in (task.train, task.meta)
    )
    with global_generator():
        torch.manual_seed(seed)
        classifier = Net(LinearClassifier(train.x[0].numel(), task.num_classes).double())
        nets = {"classifier": classifier, "weighting": Net(method.new_weighting(task.num_classes).double())}
    theta, phi = (list(nets[name].module.parameters()) for name in ("classifier", "weighting"))
    rows = []
    for t in range(1, steps + 1):
        step = VirtualStep(classifier, train)
        weights = normalized(method.raw_weights(nets, step.logits, train.y, None)[0], "sum")
        measured = step.meta_gradient(meta, step.taken(weights.detach(), lr), lr)
        by_phi = torch.autograd.grad((measured.by_weight * weights).sum(), phi)
        _descend(phi, by_phi, meta_lr / t**0.5)
        raw = method.raw_weights(nets, step.logits, train.y, None)[0].detach()
        losses = cross_entropy(classifier(train.x)[0], train.y)
        by_theta = torch.autograd.grad((normalized(raw, "sum") * losses).sum(), theta)
        meta_by_theta = torch.autograd.grad(cross_entropy(classifier(meta.x)[0], meta.y).mean(), theta)
        rows.append((t, *map(_squared_norm, (by_theta, by_phi, meta_by_theta))))
        _descend(theta, by_theta, lr)
    return pd.DataFrame(rows, columns=["step", TRAINING, META, META_BY_CLASSIFIER])


@torch.no_grad()
def _descend(parameters: list[nn.Parameter], gradients: tuple[Tensor, ...], lr: float) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.sub_(lr * gradient)


def _squared_norm(gradients: tuple[Tensor, ...]) -> float:
    return float(sum(gradient.square().sum() for gradient in gradients))
