"""ANIMAL-10N (Song et al., ICML 2019): photographs of ten animals in pairs that look alike, about 8% of the
training labels wrong.

Read from its published layout: training/LABEL_NAME.jpg and testing/LABEL_NAME.jpg.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lnlib.data.dataset import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Dataset,
    check_every_class,
    reading,
    stratified_order,
)
from lnlib.data.decoding import OnPicture, colour_once
from lnlib.errors import DataUnavailable
from lnlib.seeding import stream

CLASS_NAMES = (
    "Cat", "Lynx", "Wolf", "Coyote", "Cheetah", "Jaguar", "Chimpanzee", "Orangutan", "Hamster", "Guinea pig",
)  # fmt: skip
"""As published; a public loader holds that 4 and 5 are exchanged, which only their names would show."""
COUNTS = {"training": 50_000, "testing": 5_000}
NUM_CLEAN = 1000
SIDE = 64


def has_parts(folder: Path) -> bool:
    """Whether the two folders lie there; their pictures are counted by `read_animal10n`."""
    return all((folder / part).is_dir() for part in COUNTS)


def read_animal10n(
    folder: Path,
    name: str,
    progress: OnPicture | None = None,
    counts: tuple[int, int] = (COUNTS["training"], COUNTS["testing"]),
    num_clean: int = NUM_CLEAN,
) -> Dataset:
    """ANIMAL-10N at its own 64×64 pixels: the noisy training images, and after them `num_clean` of the clean
    test images, stratified and always the same, for a meta set; the other test images are the test set.

    MetaInfoNet takes its meta set from there (section 5.1); it leaves the input's size open. Decoded pictures
    are kept as those of `read_cifar_jpeg`. Raises `DataUnavailable` where the folders do not hold as many
    pictures as `counts` or a file's name tells no label, and `InvalidValue` where a class is missing.
    """
    files, labels = [], []
    for part, count in zip(COUNTS, counts, strict=True):
        found = _files(folder / part)
        if len(found) != count:
            raise DataUnavailable(f"{folder / part} must hold {count} pictures, it has {len(found)}")
        files += found
        labels.append(_labels(found))
        check_every_class(part, labels[-1], CLASS_NAMES, "unpack it again")
    order = counts[0] + stratified_order(labels[1], stream(0, "animal-10n meta"))
    clean, test = np.sort(order[:num_clean]), np.sort(order[num_clean:])
    train = np.concatenate([np.arange(counts[0]), clean])
    pixels, true = colour_once(folder, [*map(str, files)], SIDE, progress), np.concatenate(labels)
    paths = [file.relative_to(folder).as_posix() for file in files]
    return Dataset(
        name,
        torch.from_numpy(pixels[train]),
        torch.from_numpy(true[train]),
        torch.from_numpy(pixels[test]),
        torch.from_numpy(true[test]),
        CLASS_NAMES,
        IMAGENET_MEAN,
        IMAGENET_STD,
        train_files=tuple(paths[row] for row in train),
        num_clean=num_clean,
        test_files=tuple(paths[row] for row in test),
    )


def _files(part: Path) -> list[Path]:
    with reading(part):
        return sorted(file for file in part.iterdir() if file.suffix == ".jpg" and file.name[0] != ".")


def _labels(files: list[Path]) -> NDArray[np.int64]:
    """The numbers before the underscores."""
    numbers = [file.name.partition("_")[0] for file in files]
    odd = [
        file
        for file, number in zip(files, numbers, strict=True)
        if not number.isdecimal() or int(number) >= len(CLASS_NAMES)
    ]
    if odd:
        raise DataUnavailable(
            f"{len(odd)} of {len(files)} pictures have no label from 0 to {len(CLASS_NAMES) - 1} before an "
            f"underscore, the first is {odd[0]}"
        )
    return np.array(numbers, dtype=np.int64)
