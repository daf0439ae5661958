"""What a data set is, and what every source of one needs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import platformdirs
import torch
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lnlib.checks import Count, Finite, Positive, checked
from lnlib.data.lazy import LazyImages
from lnlib.data.reading import Reading
from lnlib.errors import DataUnavailable, InvalidValue, cause_of
from lnlib.files import expanded

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What LIMIT's experiments scale colour images with."""
METAINFONET_MEAN = (125.3 / 255, 123.0 / 255, 113.9 / 255)
METAINFONET_STD = (63.0 / 255, 62.1 / 255, 66.7 / 255)
"""What Meta-Weight-Net's code scales CIFAR with, and with it MetaInfoNet."""


@checked
@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, true labels and a clean test set, on the CPU.

    Images are uint8 (N, C, H, W) and labels int64 (N,) from 0 to K-1; `mean` and `std` are per channel, of
    pixels scaled to [0, 1]. Of a data set that comes with noisy labels, the last `num_clean` training rows
    have true labels, and those before them given ones whose truth is unknown; where people gave other labels
    to images whose truth is known, these are `given_labels` (N,). Raises `InvalidValue` when these do not fit
    together.
    """

    name: str
    train_images: Tensor | LazyImages = field(repr=False)
    train_labels: Tensor = field(repr=False)
    test_images: Tensor | LazyImages = field(repr=False)
    test_labels: Tensor = field(repr=False)
    class_names: tuple[str, ...]
    mean: Annotated[tuple[Finite, ...], "compute it from the training images"]
    std: Annotated[tuple[Positive, ...], "compute it from the training images"]
    train_files: tuple[str, ...] = field(default=(), repr=False)
    """of pictures in a folder: the training images' paths below it, row by row; empty elsewhere"""
    num_clean: Annotated[Count | None, "use None for a data set with true labels"] = None
    test_files: tuple[str, ...] = field(default=(), repr=False)
    """the same of the test images"""
    given_labels: Tensor | None = field(default=None, repr=False)
    reading: Reading | None = field(default=None, repr=False)
    """of a reader's own files: what was found, skipped and doubled; None elsewhere"""

    def __post_init__(self) -> None:
        for part, files, named in (
            ("training", self.train_files, self.train_images),
            ("test", self.test_files, self.test_images),
        ):
            if files and len(files) != len(named):
                raise InvalidValue(
                    f"{self.name} needs a file for each of {len(named)} {part} images, got {len(files)}; "
                    "name them row by row or not at all"
                )
        if self.num_classes < 2:
            raise InvalidValue(
                f"{self.name} must have at least 2 classes, got {self.num_classes}; add another"
            )
        given = self.train_labels if self.given_labels is None else self.given_labels
        for part, images, labels in (
            ("training", self.train_images, self.train_labels),
            ("given training", self.train_images, given),
            ("test", self.test_images, self.test_labels),
        ):
            if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != self.image_shape:
                raise InvalidValue(
                    f"{part} images of {self.name} must be uint8 (N, C, H, W) like the training images, "
                    f"got {images.dtype} {tuple(images.shape)}; convert them"
                )
            if labels.dtype != torch.int64 or labels.shape != images.shape[:1] or not len(labels):
                raise InvalidValue(
                    f"{part} labels of {self.name} must be int64 ({len(images)},), one per image, "
                    f"got {labels.dtype} {tuple(labels.shape)}; convert them"
                )
            if labels.min() < 0 or labels.max() >= self.num_classes:
                raise InvalidValue(
                    f"{part} labels of {self.name} must lie in 0 to {self.num_classes - 1}, "
                    f"got {labels.min()} to {labels.max()}; name every class in class_names"
                )
        if self.num_clean is not None and self.given_labels is not None:
            raise InvalidValue(
                f"{self.name} must have num_clean or given_labels, got both; use given_labels where every "
                "true label is known"
            )
        if self.num_clean is not None and self.num_clean >= len(self.train_labels):
            raise InvalidValue(
                f"num_clean must lie in 1 to {len(self.train_labels) - 1}, got {self.num_clean}; "
                "use None for a data set with true labels"
            )
        channels = self.image_shape[0]
        if len(self.mean) != channels or len(self.std) != channels:
            raise InvalidValue(
                f"{self.name} needs a mean and a std for each of {channels} channels, "
                f"got {self.mean} and {self.std}; compute them from the training images"
            )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @cached_property
    def train_groups(self) -> NDArray[np.int64] | None:
        """A number (N,) for each training image, the same where files have the same bytes; None where no two
        do.

        What has one number must not fall on both sides of a split.
        """
        if self.reading is None or not self.reading.contradictions + self.reading.duplicates:
            return None
        return self.reading.groups(self.train_files)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def normalize(
        self, images: UInt8[Tensor, "*batch channels height width"]
    ) -> Float32[Tensor, "*batch channels height width"]:
        """Pixels (..., C, H, W) as a network takes them: in [0, 1], less the mean, divided by the std."""
        mean = torch.tensor(self.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.std, device=images.device)[:, None, None]
        return images.to(torch.float32).div_(255).sub_(mean).div_(std)


@dataclass(frozen=True)
class DatasetInfo:
    """A data set that `load` knows: is it `present`, `where` does it lie or would it, and `how` to get it."""

    name: str
    title: str
    present: bool
    where: str
    size: str
    how: str


def data_root() -> Path:
    """The folder of downloaded data: `LNLIB_DATA`, or the user's cache folder."""
    chosen = os.environ.get("LNLIB_DATA")
    return expanded(chosen) if chosen else platformdirs.user_cache_path("lnlib", appauthor=False)


def stratified_order(labels: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """A random order of the rows, every stretch of which holds the classes in their shares, give or take one.

    Labels (N,) to rows (N,). So cuts of the order are disjoint and stratified, and a shorter cut is part of a
    longer.
    """
    by_class = generator.permutation(len(labels))
    by_class = by_class[np.argsort(labels[by_class], kind="stable")]
    place = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in np.bincount(labels)])
    # Classes of one size have equal places; these come in random order.
    return by_class[np.lexsort((generator.random(len(labels)), place))]


def held_out(
    order: NDArray[np.int64],
    count: int,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first `count` rows of a stratified order, and the others, both in order.

    A class that is not among the first sends its own first row ahead, so that three of a class are enough for
    three parts. Rows with one number in `groups` (N,) stay together and come after those that are alone; so
    that every class is held out, there may be a few rows more. `labels` (N,) are those of all rows.
    """
    sizes = (
        np.ones(len(order), dtype=np.int64) if groups is None else np.bincount(groups[order])[groups[order]]
    )
    order = np.concatenate([order[sizes == 1], order[sizes > 1]])
    _, first = np.unique(labels[order], return_index=True)
    late = np.sort(first[first >= count])
    order = np.concatenate([order[late], np.delete(order, late)])
    if groups is None or not (sizes > 1).any():
        return order[:count], order[count:]
    counts, held = np.bincount(groups[order]), np.zeros(len(groups), dtype=bool)
    _, first = np.unique(labels[order], return_index=True)
    held[groups[order[first if len(first) <= count else first[:0]]]] = True
    room = count - counts[held[: len(counts)]].sum()
    for group in groups[order]:
        if not held[group] and counts[group] <= room:
            held[group] = True
            room -= counts[group]
    inside = held[groups[order]]
    return order[inside], order[~inside]


def check_every_class(
    part: str, labels: NDArray[np.int64], class_names: tuple[str, ...], remedy: str
) -> None:
    """Raise `InvalidValue` where a part of the data has no example of some class."""
    counts = np.bincount(labels, minlength=len(class_names))
    if missing := [class_names[label] for label in np.flatnonzero(counts == 0)]:
        more = f" and {len(missing) - 5} others" if len(missing) > 6 else ""
        raise InvalidValue(
            f"the {part} set needs an image of every class, its {len(labels)} have none of "
            f"{', '.join(missing[:5] if more else missing)}{more}; {remedy}"
        )


def with_statistics(
    name: str,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    class_names: tuple[str, ...],
    files: tuple[str, ...] = (),
) -> Dataset:
    """A data set whose rows `train` and `test` are told, with the mean and std of its own training images.

    `files` names the pictures by row of `pixels`, where they came from files.
    """
    chosen, levels = pixels[train], np.arange(256) / 255
    # Block by block, as each is copied; Pillow counts four times faster than NumPy.
    blocks = np.array_split(chosen, len(chosen) // 1000 + 1)
    histograms = [
        sum(_levels_of(block[:, channel]) for block in blocks) for channel in range(chosen.shape[1])
    ]
    means = [float(np.average(levels, weights=counts)) for counts in histograms]
    variances = [
        # A channel that is the same everywhere is only shifted.
        float(np.average((levels - mean) ** 2, weights=counts)) if np.count_nonzero(counts) > 1 else 1.0
        for mean, counts in zip(means, histograms, strict=True)
    ]
    return Dataset(
        name,
        torch.from_numpy(chosen),
        torch.from_numpy(labels[train]),
        torch.from_numpy(pixels[test]),
        torch.from_numpy(labels[test]),
        class_names,
        tuple(means),
        tuple(variance**0.5 for variance in variances),
        train_files=tuple(files[row] for row in train) if files else (),
        test_files=tuple(files[row] for row in test) if files else (),
    )


def _levels_of(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels (N, H, W) have each of the 256 values."""
    return np.array(Image.fromarray(np.ascontiguousarray(pixels).reshape(-1, pixels.shape[-1])).histogram())


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Makes what the system says of a file or folder a `DataUnavailable`."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataUnavailable(f"there is no {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataUnavailable(f"cannot read {path}: {cause_of(error)}") from error
