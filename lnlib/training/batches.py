"""What one step of training sees: images, given labels, meta examples, random numbers.

Every tensor has a leading axis for the runs (M, ...), also where there is one.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import prod

import torch
from torch import Tensor

from lnlib.data.task import Split, Task
from lnlib.methods.base import Batch, Draw, Examples, Phase, TrainingData
from lnlib.training.images import Images, Resident, StreamedImages, in_batches
from lnlib.training.settings import Member, Settings
from lnlib.training.streams import Streams, sample

EVALUATION_PIXELS = {"cpu": 2**18, "cuda": 2**22, "mps": 2**22, "meta": 2**22}
"""What one forward pass of an evaluation takes at most, over all runs: on a CPU 334 images of 28x28, whose
activations stay in the cache, and on a GPU enough to keep it busy."""
FEWEST_STREAMED = 16
"""Images that a loading process hands over together in an evaluation, at least."""


class Batches:
    """The data of runs that share their images and their sizes, on the device."""

    def __init__(
        self, members: Sequence[Member], settings: Settings, device: torch.device, resident: Resident
    ) -> None:
        self.members, self.settings, self.device = members, settings, device
        task, self.method = members[0].task, members[0].method
        self.num_train, self.num_classes = len(task.train), task.num_classes
        self.train, self.test = (resident.images(task.dataset, part) for part in ("train", "test"))
        black = task.dataset.normalize(torch.zeros(task.image_shape[0], 1, 1, dtype=torch.uint8))
        self._black = black.to(device, settings.dtype)
        self.rows, self.given = self.column("train", "index"), self.column("train", "labels")
        self.num_meta = len(task.meta) if task.meta is not None else 0
        if self.num_meta:
            self.meta_rows, self.meta_labels = self.column("meta", "index"), self.column("meta", "labels")
            # Needed at each step: files are read once.
            self._meta_images = self.train[self.meta_rows] if isinstance(self.train, StreamedImages) else None

    def column(self, split: str, what: str) -> Tensor:
        """One number for each example of a split, of every run (M, n)."""
        splits = [getattr(member.task, split) for member in self.members]
        return torch.stack([getattr(own, what).to(self.device) for own in splits])

    def of_epoch(self, streams: Sequence[Streams]) -> list[Tensor]:
        """Which examples each batch of an epoch has (M, B), in each run's own order."""
        order = torch.stack([self._shuffled(self.num_train, own["order"]) for own in streams])
        parts = torch.split(order, self.settings.batch_size, dim=-1)
        if self.settings.drop_last and parts[-1].shape[-1] < self.settings.batch_size:
            parts = parts[:-1]
        return list(parts)

    def images(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """The images of each batch (M, B, C, H, W)."""
        return in_batches(self.train, (self.rows.gather(-1, index) for index in batches))

    def batch(
        self,
        index: Tensor,
        x: Tensor,
        phases: Sequence[Phase],
        streams: Sequence[Streams],
        epoch: int,
        step: int,
        lr: float,
    ) -> Batch:
        """One minibatch, with the meta examples and random numbers that the phases of this step use."""
        draws = self.method.draws(index.shape[-1], self.num_classes)
        used = {
            name: draw
            for name, draw in draws.items()
            if any(phase.draws is None or name in phase.draws for phase in phases)
        }
        return Batch(
            x=self._augmented(x, streams, "augmentation") if self.settings.augment else x,
            y=self.given.gather(-1, index),
            index=index,
            epoch=epoch,
            epochs=self.settings.epochs,
            step=step,
            lr=lr,
            num_classes=self.num_classes,
            meta=self._meta(streams) if self.num_meta and any(phase.meta for phase in phases) else None,
            noise=self.drawn(used, streams) if used else {},
        )

    def drawn(self, draws: Mapping[str, Draw], streams: Sequence[Streams]) -> dict[str, Tensor]:
        """Random tensors (M, ...) by name, every run's from its own stream."""
        return {
            name: torch.stack(
                [sample(draw, own["draws"], self.device, self.settings.dtype) for own in streams]
            )
            for name, draw in draws.items()
        }

    def _meta(self, streams: Sequence[Streams]) -> Examples:
        size = self.settings.meta_batch_size
        chosen = torch.stack([self._shuffled(self.num_meta, own["meta"])[:size] for own in streams])
        if isinstance(self._meta_images, Tensor):
            runs = torch.arange(len(streams), device=self.device)[:, None]
            x = self._meta_images[runs, chosen]
        else:
            x = self.train[self.meta_rows.gather(-1, chosen)]
        if self.settings.augment:
            x = self._augmented(x, streams, "meta") if self.settings.augment_meta else self.for_evaluation(x)
        return Examples(x, self.meta_labels.gather(-1, chosen))

    def _augmented(self, x: Tensor, streams: Sequence[Streams], stream: str) -> Tensor:
        augment = self.settings.augment
        assert augment is not None
        return torch.stack(
            [augment(part, own[stream], self._black) for part, own in zip(x, streams, strict=True)]
        )

    def _shuffled(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randperm(count, generator=generator, device=self.device)

    def for_evaluation(self, x: Tensor) -> Tensor:
        """Images as networks are to see them in an evaluation."""
        return x if self.settings.augment is None else self.settings.augment.evaluation(x)

    def in_parts(self, rows: Tensor, images: Images) -> Iterator[Tensor]:
        """The images of rows (..., n) for an evaluation, in parts that bound the memory of a forward pass."""
        parts = torch.split(rows, self.at_once(rows[..., 0].numel()), dim=-1)
        return map(self.for_evaluation, in_batches(images, parts))

    def at_once(self, runs: int = 1) -> int:
        """How many images an evaluation takes in one forward pass of so many runs."""
        least = FEWEST_STREAMED if isinstance(self.train, StreamedImages) else 1
        pixels = prod(self.members[0].task.image_shape) * runs
        return max(least, EVALUATION_PIXELS[self.device.type] // pixels)

    def whole(self, task: Task) -> TrainingData:
        """What a method may use of a run's task between batches."""
        rows = task.train.index.to(self.device)

        def examples(split: Split) -> Examples:
            return Examples(
                self.for_evaluation(self.train[split.index.to(self.device)]), split.labels.to(self.device)
            )

        return TrainingData(
            lambda part: self.for_evaluation(self.train[rows[part]]),
            task.train.labels.to(self.device),
            self.num_classes,
            self.settings.epochs,
            partial(examples, task.meta) if task.meta is not None else None,
            chunk=self.at_once(),
        )
