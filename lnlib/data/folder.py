"""The reader's own pictures: in one folder per class, or in a table of files and labels."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lnlib.checks import Count, Part, Seed, checked
from lnlib.data.dataset import Dataset, check_every_class, held_out, stratified_order, with_statistics
from lnlib.data.decoding import KEPT_FROM, OnPicture, decoded_once, unreadable_pictures
from lnlib.data.listing import Layout, Listed, list_folder, missing_folder
from lnlib.data.reading import ClassCount, Reading, Skipped, numbered, same_bytes
from lnlib.data.table import list_table
from lnlib.errors import InvalidValue
from lnlib.files import expanded
from lnlib.seeding import stream

Unreadable = Literal["stop", "skip"]


@checked
def image_folder(
    path: str | os.PathLike[str],
    size: Count = 28,
    test_fraction: Part = 0.2,
    seed: Seed = 0,
    progress: OnPicture | None = None,
    *,
    layout: Layout = "auto",
    unreadable: Unreadable = "stop",
) -> Dataset:
    """The reader's own pictures: path/CLASS/*, or path/train/CLASS/*, path/val/CLASS/* and path/test/CLASS/*.

    In the first layout a stratified share `test_fraction` becomes the test set. In the second it is what test
    holds, or val where there is no test; else val's pictures join those of train. Pictures are turned
    upright, laid on white where they are transparent, scaled so that the short side has `size` pixels, and
    cropped to the size × size in their centre, in colour unless all of them are grey. `progress(done, total)`
    is called as they are read. What was found and left out is the data set's `reading`; pictures with the
    same bytes fall on one side of every split.

    `layout="classes"` takes the folders in `path` for the classes even where they look like something else,
    and `unreadable="skip"` leaves out pictures that cannot be read. Raises `DataUnavailable` for a missing
    folder or pictures that cannot be read, `InvalidValue` for a folder that may be meant otherwise, too few
    classes or pictures, a bad size or share.
    """
    root = expanded(path)
    if not root.is_dir():
        raise missing_folder(root)
    return _data_set(root, root, list_folder(root, layout), size, test_fraction, seed, progress, unreadable)


@checked
def image_table(
    file: str | os.PathLike[str],
    size: Count = 28,
    test_fraction: Part = 0.2,
    seed: Seed = 0,
    progress: OnPicture | None = None,
    *,
    path_column: str = "path",
    label_column: str = "label",
    split_column: str = "split",
    unreadable: Unreadable = "stop",
) -> Dataset:
    """The pictures that a CSV table lists: the same data set as `image_folder` makes of the same files.

    `path_column`, relative to the table's folder, and `label_column` are needed; `split_column` says train,
    val or test where it is there. Commas, semicolons and tabs may part the columns. A line that says the same
    as one before it is left out; one that gives the same file another label is a contradiction, and is kept.
    Raises `DataUnavailable` for a missing or damaged table and pictures, `InvalidValue` for columns or cells
    that are missing, and as `image_folder` does.
    """
    place = expanded(file)
    listed = list_table(place, path_column, label_column, split_column)
    return _data_set(place.parent, place, listed, size, test_fraction, seed, progress, unreadable)


def _data_set(
    root: Path,
    place: Path,
    listed: Listed,
    size: int,
    test_fraction: float,
    seed: int,
    progress: OnPicture | None,
    unreadable: Unreadable,
) -> Dataset:
    paths = [os.path.join(root, file) for file in listed.files]
    decoded = decoded_once(place, paths, size, progress, KEPT_FROM)
    if decoded.faults and unreadable == "stop":
        way_out = "repair or remove them, or leave them out with --unreadable skip"
        raise unreadable_pictures(place, paths, decoded.faults, way_out)
    skipped = [Skipped(listed.files[row], f"unreadable: {cause}") for row, cause in decoded.faults.items()]
    whole = np.setdiff1d(np.arange(len(paths)), list(decoded.faults))
    files = [listed.files[row] for row in whole]
    named = [listed.classes[row] for row in whole]
    digests = [decoded.digests[row] for row in whole]
    class_names = listed.class_names
    numbers = {name: number for number, name in enumerate(class_names)}
    labels = np.array([numbers[name] for name in named], dtype=np.int64)
    splits, groups = np.array(listed.splits, dtype=object)[whole], numbered(digests)
    train, test = _parts(splits, labels, groups, class_names, test_fraction, seed)
    for part, rows in (("training", train), ("test", test)):
        check_every_class(part, labels[rows], class_names, "add pictures or remove the folder")
    counts = [np.bincount(labels[rows], minlength=len(class_names)).tolist() for rows in (train, test)]
    reading = Reading(
        str(place.absolute()),
        listed.layout,
        tuple(map(ClassCount, class_names, *counts)),
        tuple(sorted([*listed.skipped, *skipped], key=lambda one: one.file)),
        *same_bytes(files, named, digests),
    )
    pixels = decoded.pixels[whole] if len(whole) < len(paths) else decoded.pixels
    name = place.stem if place.is_file() else place.resolve().name
    dataset = with_statistics(name, pixels, labels, train, test, class_names, tuple(files))
    return replace(dataset, reading=reading)


def _parts(
    splits: NDArray[np.object_],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    class_names: tuple[str, ...],
    test_fraction: float,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of training and test pictures: as the splits have it, else a stratified share for the test."""
    there = {*splits.tolist()}
    own = "test" if "test" in there else "validation" if "validation" in there else None
    needed, places = (
        (2, "to train on and to validate") if own else (3, "to train on, to validate and to test")
    )
    rows = np.flatnonzero(splits != own)
    for number, name in enumerate(class_names):
        if (count := len(np.unique(groups[rows][labels[rows] == number]))) < needed:
            raise InvalidValue(
                f"every class needs at least {needed} different pictures {places}, {name} has {count}; add "
                "pictures or remove the folder"
            )
    if own:
        return rows, np.flatnonzero(splits == own)
    order = stratified_order(labels, stream(seed, "image folder test"))
    held, left = held_out(order, max(round(test_fraction * len(labels)), len(class_names)), labels, groups)
    return np.sort(left), np.sort(held)
