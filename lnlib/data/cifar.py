"""CIFAR-10 and CIFAR-100: torchvision's files, and CIFAR-10 from a folder of JPEG pictures."""

import contextlib
import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lnlib.data.dataset import IMAGENET_MEAN, IMAGENET_STD, Dataset, check_every_class, reading
from lnlib.data.decoding import OnPicture, colour_once
from lnlib.data.listing import list_folder
from lnlib.errors import DataUnavailable

JPEG_TITLE = "CIFAR-10 (JPEG copy)"
SIDE = 32


def read_cifar(folder: Path, name: str, torchvision_class: Any) -> Dataset:
    """CIFAR-10 or CIFAR-100 (its fine labels) from the unpacked files in a folder.

    Raises `DataUnavailable`, which names the first file that is missing or lacks torchvision's checksum.
    """
    meta = torchvision_class.meta
    expected = [*torchvision_class.train_list, *torchvision_class.test_list, [meta["filename"], meta["md5"]]]
    if missing := [file for file, _ in expected if not (folder / file).is_file()]:
        raise DataUnavailable(f"there is no {folder / missing[0]}")
    for file, md5 in expected:
        with reading(folder / file):
            content = (folder / file).read_bytes()
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise DataUnavailable(f"{folder / file} is damaged: its checksum is not the published one")
    with old_pickles():
        train, test = (torchvision_class(str(folder.parent), train=part) for part in (True, False))
    return Dataset(
        name,
        _channels_first(train.data),
        torch.tensor(train.targets),
        _channels_first(test.data),
        torch.tensor(test.targets),
        tuple(train.classes),
        IMAGENET_MEAN,
        IMAGENET_STD,
    )


@contextlib.contextmanager
def old_pickles() -> Iterator[None]:
    """Keeps NumPy 2.4.0 to 2.4.4 from warning of CIFAR's files, which were pickled in 2009."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"dtype\(\): align")
        yield


def _channels_first(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def read_cifar_jpeg(folder: Path, name: str, progress: OnPicture | None = None) -> Dataset:
    """CIFAR-10 from pictures in folder/train/CLASS/* and folder/test/CLASS/*, whose JPEG compression changed
    some pixels: other numbers than CIFAR-10's own come out.

    The decoded pictures are kept in the user's cache folder, until the names, sizes or dates of the files
    change. Raises `DataUnavailable` and `InvalidValue` as `image_folder`.
    """
    if not (folder / "train").is_dir() or not (folder / "test").is_dir():
        raise DataUnavailable(f"there is no {folder} with the folders train and test")
    listed = list_folder(folder)
    class_names, paths, num_train = listed.class_names, listed.files, listed.splits.count("training")
    labels = np.searchsorted(class_names, listed.classes)
    check_every_class("training", labels[:num_train], class_names, "add pictures")
    check_every_class("test", labels[num_train:], class_names, "add pictures")
    images = torch.from_numpy(colour_once(folder, [str(folder / path) for path in paths], SIDE, progress))
    return Dataset(
        name,
        images[:num_train],
        torch.from_numpy(labels[:num_train]),
        images[num_train:],
        torch.from_numpy(labels[num_train:]),
        class_names,
        IMAGENET_MEAN,
        IMAGENET_STD,
        train_files=paths[:num_train],
        test_files=paths[num_train:],
    )
