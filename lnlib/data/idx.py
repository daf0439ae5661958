"""MNIST and data sets in its format: four files of bytes, headed by their sizes."""

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lnlib.data.dataset import Dataset, reading
from lnlib.errors import DataUnavailable

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_idx_dataset(
    folder: Path, name: str, title: str, class_names: tuple[str, ...], checksums: tuple[str | None, ...]
) -> Dataset:
    """The data set in the four files of a folder.

    The checksums (MD5) are of the unpacked files, where they are known: torchvision checks the archives, but
    files may be laid out by hand. Raises `DataUnavailable`, which names the faulty file.
    """
    paths = [folder / file for file in FILES]
    parts = [_read_idx(path, md5) for path, md5 in zip(paths, checksums, strict=True)]
    for images, labels, path in zip(parts[::2], parts[1::2], paths[1::2], strict=True):
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or labels.max(initial=0) > 9:
            raise DataUnavailable(f"{path} is not {title}'s: its labels do not fit the images beside it")
    train_images, train_labels, test_images, test_labels = map(torch.from_numpy, parts)
    return Dataset(
        name,
        train_images[:, None],
        train_labels.long(),
        test_images[:, None],
        test_labels.long(),
        class_names,
        # LIMIT's experiments scale MNIST with these, not with its own statistics (.1307, .3081).
        mean=(0.456,),
        std=(0.224,),
    )


def _read_idx(path: Path, md5: str | None) -> NDArray[np.uint8]:
    """A file in MNIST's format: bytes 0, 0, 8 and the number of sizes, sizes as big-endian int32, data."""
    with reading(path):
        content = np.fromfile(path, dtype=np.uint8)
    start = 4 + 4 * int(content[3]) if len(content) > 3 else 4
    shape = content[4:start].view(">i4").tolist() if len(content) >= start else []
    if content[:3].tolist() != [0, 0, 8] or not shape:
        raise DataUnavailable(f"{path} is cut short or damaged: its header is not that of images or labels")
    if len(content) != (announced := start + math.prod(shape)):
        raise DataUnavailable(
            f"{path} is cut short or damaged: its header announces {announced} bytes, it has {len(content)}"
        )
    if md5 and hashlib.md5(content.data, usedforsecurity=False).hexdigest() != md5:
        raise DataUnavailable(f"{path} is damaged: its checksum is not the published one")
    return content[start:].reshape(shape)
