"""MentorNet, a network that sets the curriculum (MetaInfoNet, tables 2 and 3; Jiang et al., 2018)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lnlib.checks import Count, NonNegative, Share, checked
from lnlib.data.task import Visible
from lnlib.errors import InvalidValue
from lnlib.methods.base import (
    Batch,
    Draw,
    Examples,
    Method,
    Nets,
    NewNet,
    TrainingData,
    cross_entropy,
    mean_one,
)
from lnlib.methods.self_paced import quantile
from lnlib.nets import Dropout, Memory, Net
from lnlib.nets.mentor import PERCENTS, Mentor

BURN_IN, SELF_PACED, LINEAR = 17, 18, 90
"""Percents of the training: until when examples are dropped often and all count, and from when linearly."""
MENTOR_LR, MENTOR_DECAY, MENTOR_CLIP, MENTOR_BATCH = 0.1, 0.9**30, 5.0, 512
REHEARSAL_LR, REHEARSAL_BATCH = 3e-4, 16


class Seen(NamedTuple):
    """What the mentor sees, each (B,): losses, their excess over the percentile, percents done."""

    losses: Float[Tensor, " batch"]
    differences: Float[Tensor, " batch"]
    percents: Int[Tensor, " batch"]


@checked
@dataclass(frozen=True)
class MentorNet(Method):
    """The batch's mean of v·cross-entropy, where a second network, the mentor, sets the weights v.

    The mentor sees each example's loss, its difference to a moving average (`decay`) of the batches'
    `percentile`, and the percent of training done. It is trained before the run and then held
    fixed: on invented losses towards a fixed curriculum ("predefined", the choice here, since MetaInfoNet
    does not name its own), or ("learned") on the task's clean meta set: there the method corrupts a share
    `corruption` of the labels itself, by its own random numbers, trains a copy of the classifier on them and
    teaches the mentor which labels were kept; the noise of the task is never looked at. In the first 18% of
    training all examples count. In the first 17% an example is dropped with probability `early_dropout`,
    later with `dropout`.

    The mentor learns as in the public code: by the squared error to v*, and by the cross-entropy where v* is
    0 or 1 ("learned"); by Adam (.1, decayed to .9³⁰ of it, gradients clipped to 5), but in fewer, larger
    steps: `mentor_steps` of 512, not 30 000 of 32. Not done here: scaling weight decay by the mean of v, and
    the code's last 5% of epochs, in which it drops every example. Raises `InvalidValue` for a learned
    curriculum without a meta set.
    """

    curriculum: Literal["predefined", "learned"] = "predefined"
    percentile: Share = 0.75
    decay: Share = 0.5
    gamma: NonNegative = 1.0
    early_dropout: Share = 0.5
    dropout: Share = 0.05
    corruption: Share = 0.4
    mentor_steps: Count = 1000

    def networks(self, new_net: NewNet, task: Visible) -> dict[str, nn.Module]:
        if self.curriculum == "learned" and task.meta is None:
            raise InvalidValue(
                "a learned curriculum needs a clean meta set, got a task without one; make it with "
                "make_task(..., meta_size=100) or use curriculum='predefined'"
            )
        memory = Memory(
            # Drawn from the run's own stream, like the weights.
            seed=torch.randint(2**62, ()),
            percentile=torch.zeros(()),
            percent=torch.zeros((), dtype=torch.long),
        )
        return {"classifier": new_net("classifier"), "mentor": Mentor(), "memory": memory}

    def draws(self, batch_size: int, num_classes: int) -> dict[str, Draw]:
        return {"drop": Draw("uniform", (batch_size,))}

    def start(self, nets: Nets, data: TrainingData) -> None:
        seed = int(nets["memory"].buffers["seed"])
        generator = torch.Generator(data.labels.device).manual_seed(seed)
        if data.meta is None or self.curriculum == "predefined":
            dtype = nets["memory"].buffers["percentile"].dtype

            def examples() -> tuple[Seen, Tensor]:
                seen = invented(MENTOR_BATCH, generator, dtype)
                return seen, predefined(seen.differences, seen.percents, self.gamma)
        else:
            rehearsed, kept = self.rehearse(nets["classifier"], data.meta(), data, generator)

            def examples() -> tuple[Seen, Tensor]:
                rows = torch.randint(len(kept), (MENTOR_BATCH,), generator=generator, device=generator.device)
                return Seen(*(column[rows] for column in rehearsed)), kept[rows]

        train_mentor(nets["mentor"], examples, self.mentor_steps, binary=self.curriculum == "learned")

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        losses = cross_entropy(nets["classifier"](batch.x)[0], batch.y)
        memory = nets["memory"].buffers
        percent = PERCENTS * (batch.epoch - 1) // batch.epochs
        memory["percent"].fill_(percent)
        self.follow(memory["percentile"], losses.detach())
        weights = weigh(nets, losses.detach())
        kept = batch.noise["drop"] >= (self.early_dropout if percent < BURN_IN else self.dropout)
        batch.note("mean_weight", weights.mean())  # before dropping
        return (weights * kept * losses).mean()

    def follow(self, average: Tensor, losses: Float[Tensor, " batch"]) -> None:
        """Move the average, in place, towards the percentile of a batch's losses."""
        average.mul_(self.decay).add_((1 - self.decay) * quantile(losses, self.percentile))

    def rehearse(
        self, classifier: Net, meta: Examples, data: TrainingData, generator: torch.Generator
    ) -> tuple[Seen, Float[Tensor, " seen"]]:
        """What a mentor would have seen of the meta set, some of its labels corrupted, had a copy of the
        classifier trained on it for as many epochs as the run has; and 1 where a label was kept, or all
        count.
        """
        device, size = meta.y.device, len(meta.y)
        shift = torch.randint(1, data.num_classes, (size,), generator=generator, device=device)
        corrupted = torch.rand(size, generator=generator, device=device) < self.corruption
        labels = torch.where(corrupted, (meta.y + shift) % data.num_classes, meta.y)
        weights = trainable_copy(classifier)
        optimizer = torch.optim.Adam(weights.values(), lr=REHEARSAL_LR, fused=True)
        average = torch.zeros((), device=device, dtype=meta.x.dtype)
        rows: list[tuple[Tensor, ...]] = []
        for epoch in range(data.epochs):
            percent = PERCENTS * epoch // data.epochs
            order = torch.randperm(size, generator=generator, device=device)
            for part in order.tensor_split(max(1, size // REHEARSAL_BATCH)):
                with torch.enable_grad():
                    buffers = {**classifier.buffers, **dropout_numbers(classifier, len(part), generator)}
                    logits, _ = classifier.skeleton.evaluate(weights, buffers, meta.x[part])
                    losses = cross_entropy(logits, labels[part])
                    optimizer.zero_grad()
                    losses.mean().backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                found = losses.detach()
                self.follow(average, found)
                kept = ~corrupted[part] | (percent <= SELF_PACED)
                percents = torch.full_like(part, percent)
                rows.append((found, found - average, percents, kept.to(found.dtype)))
        *seen, kept = (torch.cat(column) for column in zip(*rows, strict=True))
        return Seen(*seen), kept

    def sample_weights(self, nets: Nets, data: TrainingData) -> Float[Tensor, " train"]:
        """v of each training example at the present epoch and percentile, with mean one (N,)."""
        logits, _ = data.outputs(nets["classifier"])
        return mean_one(weigh(nets, cross_entropy(logits, data.labels)))


def weigh(nets: Nets, losses: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """The mentor's weights of examples (B,) by their losses, without gradients."""
    memory = nets["memory"].buffers
    percents = memory["percent"].expand(len(losses))
    logits: Tensor = nets["mentor"](losses, losses - memory["percentile"], percents)
    return torch.sigmoid(logits).detach()


def predefined(
    differences: Float[Tensor, " batch"], percents: Int[Tensor, " batch"], gamma: float
) -> Float[Tensor, " batch"]:
    """The predefined curriculum v*: all count up to 18% of training; then those with losses up to the
    percentile (self-paced); from 90% on clip(1 − difference/γ, 0, 1). Source: Jiang et al. (2018) and their
    code.
    """
    self_paced = (differences <= 0).to(differences.dtype)
    linear = (1 - differences / max(gamma, torch.finfo(differences.dtype).tiny)).clamp(0, 1)
    late = torch.where(percents >= LINEAR, linear, self_paced)
    return torch.where(percents <= SELF_PACED, torch.ones_like(late), late)


def invented(size: int, generator: torch.Generator, dtype: torch.dtype) -> Seen:
    """What a mentor learns from: exponential losses and percentiles (means 2, 1 nats), uniform percents."""
    losses, percentile = torch.empty((2, size), device=generator.device, dtype=dtype).exponential_(
        generator=generator
    )
    percents = torch.randint(PERCENTS, (size,), generator=generator, device=generator.device)
    return Seen(2 * losses, 2 * losses - percentile, percents)


def train_mentor(mentor: Net, examples: Callable[[], tuple[Seen, Tensor]], steps: int, binary: bool) -> None:
    """Train a mentor's weights in place to give the targets that `examples` draws with what it sees."""
    weights = trainable_copy(mentor)
    optimizer = torch.optim.Adam(weights.values(), lr=MENTOR_LR, fused=True)
    for step in range(steps):
        seen, target = examples()
        with torch.enable_grad():
            loss = mentor_loss(mentor.at(weights, *seen), target, binary)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights.values(), MENTOR_CLIP)
        optimizer.param_groups[0]["lr"] = MENTOR_LR * MENTOR_DECAY ** (step / steps)
        optimizer.step()
    for name, value in mentor.parameters.items():
        value.copy_(weights[name])


def mentor_loss(
    logits: Float[Tensor, " batch"], targets: Float[Tensor, " batch"], binary: bool
) -> Float[Tensor, ""]:
    """The cross-entropy of v = σ(logits) to `binary` targets v*, in nats; to others the mean of (v − v*)²."""
    if binary:
        return F.binary_cross_entropy_with_logits(logits, targets)
    return F.mse_loss(torch.sigmoid(logits), targets)


def trainable_copy(net: Net) -> dict[str, Tensor]:
    """A copy of a network's weights by name, to be trained beside the run."""
    return {name: value.detach().clone().requires_grad_() for name, value in net.parameters.items()}


def dropout_numbers(net: Net, rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Random numbers for a network's dropout layers outside of the run's steps, by buffer name."""
    return {
        f"{name}.uniform": torch.rand(rows, layer.features, generator=generator, device=generator.device)
        for name, layer in net.module.named_modules()
        if isinstance(layer, Dropout)
    }
