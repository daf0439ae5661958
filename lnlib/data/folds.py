"""Cross-fitting: a data set cut into folds, so that every image is judged by a network that never saw it."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from lnlib.checks import Count, Part, Seed, Several, checked
from lnlib.data.dataset import Dataset, check_every_class, stratified_order
from lnlib.data.task import Split, Task, given_labels, known_task
from lnlib.errors import InvalidValue
from lnlib.seeding import stream


def pooled(dataset: Dataset) -> Dataset:
    """A data set's training and test images as one pool, which is its training part and its test part."""
    images = torch.cat([dataset.train_images, dataset.test_images])  # type: ignore[list-item]
    labels = torch.cat([dataset.train_labels, dataset.test_labels])
    files = dataset.train_files + dataset.test_files
    parts = {"train_images": images, "train_labels": labels, "train_files": files}
    return replace(dataset, **parts, test_images=images, test_labels=labels, test_files=files)  # type: ignore[arg-type]


@checked
def fold_tasks(
    dataset: Dataset,
    transition_matrix: ArrayLike | None = None,
    seed: Seed = 0,
    *,
    folds: Several = 5,
    size: Count | None = None,
    validation: Part | Count = 0.2,
) -> tuple[Task, ...]:
    """One task a fold: its images, held out, are the test split, with their *given* labels.

    The data set's training images (or `size` of them) get the given labels that they have with `make_task`,
    or with `given_task` where there is no matrix (K, K), and are cut into folds, stratified by these. What a
    fold leaves is cut into a training and a validation split, of which `validation` is the share or the
    number; no image of a fold, and no copy of one, is in either. The splits of all folds have equal sizes, so
    that one stack trains them: where these do not come out even, an image is held out by two folds, or left
    out of one fold's training.

    Raises `InvalidValue` for fewer than two images of a class, for training labels whose truth is unknown,
    and for sizes that leave a split without images.
    """
    if dataset.num_clean is not None:
        raise InvalidValue(
            f"folds are cut from images in memory whose labels have one origin, {dataset.name} is not of "
            "that kind; use one split"
        )
    true = dataset.train_labels.numpy()
    given, matrix = given_labels(dataset, transition_matrix, seed)
    # The order of one split, whose training and validation images are thus the same as those of all folds.
    pool = stratified_order(true, stream(seed, "split"))[:size]
    _check_counts(given[pool], dataset.class_names)
    pool = pool[stratified_order(given[pool], stream(seed, "folds"))]
    held = -(-len(pool) // folds)
    begins = [number * (len(pool) - held) // (folds - 1) for number in range(folds)]
    windows = [pool[begin : begin + held] for begin in begins]
    twins = _first_of_equals(dataset)
    rests = [_rest(pool, window, twins) for window in windows]
    least = min(map(len, rests))
    num_held = round(validation * least) if isinstance(validation, float) else validation
    if not 0 < num_held < least:
        raise InvalidValue(
            f"validation must leave images to train on of the {least} beside a fold, got {validation}; "
            "make it smaller"
        )
    shared = replace(
        dataset,
        test_images=dataset.train_images,
        test_labels=dataset.train_labels,
        test_files=dataset.train_files,
    )
    tasks = []
    for number, (window, rest) in enumerate(zip(windows, rests, strict=True)):
        order = rest[stratified_order(given[rest], stream(seed, f"fold {number}"))][:least]
        rows = {"validation": order[:num_held], "training": order[num_held:], "meta": order[:0]}
        check_every_class(
            "training", given[rows["training"]], dataset.class_names, "add images or use fewer folds"
        )
        index = np.sort(window)
        test = Split(shared.test_images, torch.from_numpy(given[index]), torch.from_numpy(index))
        tasks.append(replace(known_task(shared, given, matrix, seed, rows), test=test))
    return tuple(tasks)


def _check_counts(given: NDArray[np.int64], class_names: tuple[str, ...]) -> None:
    counts = np.bincount(given, minlength=len(class_names))
    if counts.min() < 2:
        raise InvalidValue(
            f"folds need at least 2 images of every class, got {counts.min()} of "
            f"{class_names[counts.argmin()]}; add one, or leave the class out"
        )


def _first_of_equals(dataset: Dataset) -> NDArray[np.int64]:
    """Of each training image (N,) the first row that holds the same pixels."""
    pixels = dataset.train_images.numpy().reshape(len(dataset.train_images), -1)  # type: ignore[union-attr]
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(row.tobytes(), place) for place, row in enumerate(pixels)])


def _rest(pool: NDArray[np.int64], window: NDArray[np.int64], twins: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows outside a fold, once each, without copies of its images."""
    left = pool[~np.isin(twins[pool], twins[window])]
    return left[np.sort(np.unique(twins[left], return_index=True)[1])]
