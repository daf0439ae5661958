"""Clothing1M (Xiao et al., CVPR 2015): a million photographs with the shops' labels, about 38% of them wrong.

Read from its published layout: lists of keys, labels by key, pictures in images/0 to images/9.
"""

import os
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from lnlib.data.dataset import IMAGENET_MEAN, IMAGENET_STD, Dataset, reading
from lnlib.data.decoding import OnPicture
from lnlib.data.lazy import LazyImages
from lnlib.errors import DataUnavailable, InvalidValue

LISTS = {
    "training": ("noisy_train_key_list.txt", "noisy_label_kv.txt"),
    "validation": ("clean_val_key_list.txt", "clean_label_kv.txt"),
    "test": ("clean_test_key_list.txt", "clean_label_kv.txt"),
}
CLASS_NAMES = (
    "T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker", "Jacket", "Downcoat",
    "Suit", "Shawl", "Dress", "Vest", "Underwear",
)  # fmt: skip
SIDE = 256
"""Pictures are read at this size, from which both papers crop 224."""


def has_lists(folder: Path) -> bool:
    """Whether the lists of keys and labels lie there; the pictures are looked for by `read_clothing1m`."""
    return all((folder / file).is_file() for files in LISTS.values() for file in files)


def read_clothing1m(folder: Path, name: str, progress: OnPicture | None = None, side: int = SIDE) -> Dataset:
    """Clothing1M's noisy training images, and after them the clean validation images; clean test images.

    Pictures are read only when they are needed, at `side` × `side`. Raises `DataUnavailable` for files that
    are missing (how many, and which first; `progress` counts the folders looked into), and `InvalidValue` for
    lists that contradict themselves.
    """
    labels = {file: _labels(folder / file) for file in {labels for _, labels in LISTS.values()}}
    keys = {part: _lines(folder / file) for part, (file, _) in LISTS.items()}
    values = {part: _of(keys[part], labels[file], part, folder / file) for part, (_, file) in LISTS.items()}
    seen: dict[str, str] = {}
    for part, names in keys.items():
        for key in names:
            if key in seen:
                raise InvalidValue(
                    f"the lists in {folder} must name each picture once, got {key} for {seen[key]} and "
                    f"{part}; put the published lists in their place"
                )
            seen[key] = part
    _check_files(folder, list(seen), progress)
    return Dataset(
        name,
        LazyImages(folder, keys["training"] + keys["validation"], side),
        torch.cat([values["training"], values["validation"]]),
        LazyImages(folder, keys["test"], side),
        values["test"],
        CLASS_NAMES,
        IMAGENET_MEAN,
        IMAGENET_STD,
        num_clean=len(keys["validation"]),
    )


def _lines(path: Path) -> list[str]:
    with reading(path):
        found = path.read_text(encoding="utf-8").split("\n")
    lines = [line.strip() for line in found if line.strip()]
    if not lines:
        raise DataUnavailable(f"{path} is empty")
    return lines


def _labels(path: Path) -> dict[str, int]:
    """Labels by key, from lines of a key and a number."""
    labels = {}
    for number, line in enumerate(_lines(path), start=1):
        key, _, label = line.rpartition(" ")
        if not key or not label.isdecimal() or int(label) >= len(CLASS_NAMES):
            raise DataUnavailable(
                f"line {number} of {path} must hold a key and a label from 0 to {len(CLASS_NAMES) - 1}, "
                f"got {line!r}"
            )
        labels[key] = int(label)
    return labels


def _of(keys: list[str], labels: dict[str, int], part: str, path: Path) -> Tensor:
    if unlabelled := [key for key in keys if key not in labels]:
        raise DataUnavailable(
            f"{len(unlabelled)} of {len(keys)} {part} pictures have no label in {path}, the first is "
            f"{unlabelled[0]}"
        )
    return torch.tensor([labels[key] for key in keys])


def _check_files(folder: Path, keys: list[str], progress: OnPicture | None) -> None:
    """Compare the keys with the listings of their folders: a million pictures need not be opened for that."""
    wanted = defaultdict(list)
    for key in keys:
        parent, _, file = key.rpartition("/")
        wanted[parent].append(file)
    missing: set[str] = set()
    for done, (parent, files) in enumerate(wanted.items(), start=1):
        try:
            with os.scandir(folder / parent) as entries:
                there = {entry.name for entry in entries}
        except OSError:
            there = set()
        missing.update(f"{parent}/{file}" for file in files if file not in there)
        if progress:
            progress(done, len(wanted))
    if missing:
        first = next(key for key in keys if key in missing)
        raise DataUnavailable(
            f"{len(missing)} of {len(keys)} pictures of Clothing1M are missing, the first is {folder / first}"
        )
