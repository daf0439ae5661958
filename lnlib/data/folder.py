"""The reader's own pictures: one folder per class."""

import hashlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lnlib.checks import Count, Part, Seed, checked
from lnlib.data.dataset import (
    Dataset,
    OnPicture,
    cause_of,
    check_every_class,
    stratified_order,
    with_statistics,
)
from lnlib.data.reading import ClassCount, Reading
from lnlib.errors import DataUnavailable, InvalidValue, LnlibError
from lnlib.files import expanded, whole_file
from lnlib.seeding import stream


@checked
def image_folder(
    path: str | os.PathLike[str],
    size: Count = 28,
    test_fraction: Part = 0.2,
    seed: Seed = 0,
    progress: OnPicture | None = None,
) -> Dataset:
    """The reader's own pictures: path/CLASS/*, or path/train/CLASS/* and path/test/CLASS/*.

    In the first layout a stratified share `test_fraction` becomes the test set. Pictures are turned upright,
    scaled so that the short side has `size` pixels, and cropped to the size × size in their centre, in colour
    unless all of them are grey. `progress(done, total)` is called as they are read. Raises `DataUnavailable`
    for a missing folder or pictures that cannot be read, `InvalidValue` for too few classes or pictures, a
    bad size or share.
    """
    root = expanded(path)
    if not root.is_dir():
        raise DataUnavailable(f"there is no folder {root}; give the folder that holds one folder per class")
    if (root / "train").is_dir() and (root / "test").is_dir():
        class_names, files, labels, num_train = train_and_test(root)
        train, test = np.split(np.arange(len(files)), [num_train])
    else:
        class_names = _class_folders(root)
        files, labels = _pictures(root, class_names)
        order = stratified_order(labels, stream(seed, "image folder test"))
        num_test = round(test_fraction * len(files))
        train, test = np.sort(order[num_test:]), np.sort(order[:num_test])
    check_every_class("training", labels[train], class_names, "add pictures or remove the folder")
    check_every_class("test", labels[test], class_names, "add pictures or remove the folder")
    paths = tuple(file.relative_to(root).as_posix() for file in files)
    counts = [np.bincount(labels[rows], minlength=len(class_names)).tolist() for rows in (train, test)]
    classes = tuple(map(ClassCount, class_names, *counts))
    dataset = with_statistics(
        root.name, decode(root, files, size, progress), labels, train, test, class_names, files=paths
    )
    return replace(dataset, reading=Reading(str(root.absolute()), "a folder for each class", classes))


def train_and_test(root: Path) -> tuple[tuple[str, ...], list[Path], NDArray[np.int64], int]:
    """The classes of root/train/CLASS/* and root/test/CLASS/*, the picture files with their labels, those of
    train first, and how many these are. Raises `InvalidValue` where classes differ or there are no pictures.
    """
    class_names = _class_folders(root / "train")
    if odd := set(class_names) ^ set(_class_folders(root / "test")):
        raise InvalidValue(
            f"train and test of {root} must hold the same classes, but only one of them has "
            f"{', '.join(sorted(odd))}; add or remove these folders"
        )
    train_files, train_labels = _pictures(root / "train", class_names)
    test_files, test_labels = _pictures(root / "test", class_names)
    labels = np.concatenate([train_labels, test_labels])
    return class_names, train_files + test_files, labels, len(train_files)


def _class_folders(root: Path) -> tuple[str, ...]:
    # Editors and notebooks leave hidden folders behind.
    names = sorted(
        entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    if len(names) < 2:
        raise InvalidValue(
            f"{root} must hold at least 2 folders, one per class, got {len(names)}"
            f"{' (' + names[0] + ')' if names else ''}; add folders"
        )
    return tuple(names)


def _pictures(root: Path, class_names: tuple[str, ...]) -> tuple[list[Path], NDArray[np.int64]]:
    """The picture files below the class folders, by torchvision's rule, and their labels."""
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    classes = {name: label for label, name in enumerate(class_names)}
    found = make_dataset(str(root), classes, extensions=IMG_EXTENSIONS, allow_empty=True)
    visible = [(Path(file), label) for file, label in found if not Path(file).name.startswith(".")]
    if not visible:
        raise InvalidValue(f"there is no picture under {root}; put some into each of its class folders")
    return [file for file, _ in visible], np.array([label for _, label in visible], dtype=np.int64)


def decode(root: Path, files: list[Path], size: int, progress: OnPicture | None = None) -> NDArray[np.uint8]:
    """Pictures (N, C, size, size), C being 1 where all of them are grey and 3 elsewhere.

    Raises `DataUnavailable` where some cannot be read: how many, and which first.
    """
    decoded, faults = [], []
    for done, file in enumerate(files, start=1):
        try:
            decoded.append(_picture(file, size))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            faults.append(f"{file} ({cause_of(error)})")
        if progress:
            progress(done, len(files))
    if faults:
        raise DataUnavailable(
            f"{len(faults)} of {len(files)} pictures under {root} cannot be read, the first is {faults[0]}; "
            "repair or remove them"
        )
    channels = max(len(picture) for picture in decoded)
    return np.stack([np.broadcast_to(picture, (channels, size, size)) for picture in decoded])


def decoded_once(
    folder: Path, files: list[Path], side: int, progress: OnPicture | None = None
) -> NDArray[np.uint8]:
    """Pictures in colour (N, 3, side, side), from the user's cache folder where the files' names, sizes and
    dates are as they were when these pictures were decoded. Raises as `decode`.
    """
    place = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    cache = platformdirs.user_cache_path("lnlib", appauthor=False) / f"decoded-{place}.npz"
    listing = _listing(files)
    try:
        with open(cache, "rb") as file, np.load(file, allow_pickle=False) as kept:
            if kept["listing"] == listing:
                pixels: NDArray[np.uint8] = kept["pixels"]
                return pixels
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # not there, or damaged: it is written again
    pixels = decode(folder, files, side, progress)
    pixels = np.ascontiguousarray(np.broadcast_to(pixels, (len(pixels), 3, side, side)))
    try:
        with whole_file(cache) as new:
            np.savez(new, listing=np.array(listing), pixels=pixels)
    except LnlibError:
        pass  # the cache is a convenience
    return pixels


def _listing(files: list[Path]) -> str:
    """A hash of the files' names, sizes and dates."""
    digest = hashlib.sha256()
    for file in files:
        status = os.stat(file)
        digest.update(f"{file}|{status.st_size}|{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _picture(file: Path, size: int) -> NDArray[np.uint8]:
    with Image.open(file) as opened:
        if opened.mode.startswith(("I", "F")):
            raise ValueError("it has more than 8 bits per channel; save it with 8")
        upright = ImageOps.exif_transpose(opened)
        colour = upright.convert("L" if upright.mode in ("1", "L") else "RGB")
        pixels = np.asarray(ImageOps.fit(colour, (size, size), Image.Resampling.BILINEAR))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
