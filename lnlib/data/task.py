"""The task: what a learner sees of a data set, and beside it, for analysis only, the truth.

LIMIT §4: a training and a validation split with given labels, and a clean test set; MetaInfoNet §5.1: a small
clean meta set, taken out of the training images.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lnlib import noise
from lnlib.checks import Count, Factor, Part, Seed, Whole, checked
from lnlib.data.dataset import Dataset, check_every_class, held_out, stratified_order
from lnlib.data.lazy import LazyImages
from lnlib.errors import InvalidValue, unknown_name
from lnlib.seeding import stream


@dataclass(frozen=True, eq=False)
class Split:
    """Some images of a data set's training or test part, with the labels that go with them.

    `pool` (M, C, H, W) holds the images of the whole part, shared by the splits; `index` (N,) tells the
    split's rows of it, ascending; `labels` (N,) are given labels, and true ones in the meta and test sets
    (but for those of `fold_tasks`).
    """

    pool: UInt8[Tensor, "pool channels height width"] | LazyImages = field(repr=False)
    labels: Int64[Tensor, " n"] = field(repr=False)
    index: Int64[Tensor, " n"] = field(repr=False)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def images(self) -> UInt8[Tensor, "n channels height width"]:
        """The split's images (N, C, H, W), copied from the pool at each call."""
        return self.pool[self.index]


@dataclass(frozen=True, eq=False)
class Truth:
    """What only the analysis knows: never handed to a method or to model selection.

    True labels of the training (N,) and validation split, the transition matrix (K, K), the shares (K,) of
    the true classes in the training split, and how often each true class there was given each label, counts
    (K, K). Where the training labels came with a noise that nobody knows, these labels are -1, the matrix and
    the shares NaN, and the counts 0; the validation split's labels are -1 too where it is noisy.
    """

    train_labels: Int64[Tensor, " train"] = field(repr=False)
    validation_labels: Int64[Tensor, " validation"] = field(repr=False)
    matrix: NDArray[np.float64]
    prior: NDArray[np.float64]
    confusion: NDArray[np.int64]

    @property
    def known(self) -> bool:
        """Whether the training split's true labels are known."""
        return not np.isnan(self.matrix).any()


@dataclass(frozen=True, eq=False)
class Visible:
    """What a method may see of a task; nothing here leads to the true labels."""

    train: Split
    validation: Split
    meta: Split | None
    num_classes: int
    image_shape: tuple[int, int, int]


@checked
@dataclass(frozen=True, eq=False)
class Task:
    """A data set under label noise, cut into disjoint splits; made by `make_task` or `given_task`.

    Raises `InvalidValue` for splits that share images, labels that are not one an image, and a meta set that
    misses a class.
    """

    dataset: Dataset
    train: Split
    validation: Split
    test: Split
    meta: Split | None
    truth: Truth = field(repr=False)
    seed: Seed
    label_hash: str
    """Tells apart tasks whose splits or given labels differ: 16 hexadecimal digits of a SHA-256."""

    def __post_init__(self) -> None:
        splits = {"training": self.train, "validation": self.validation, "meta": self.meta}
        taken = torch.zeros(len(self.dataset.train_images), dtype=torch.bool)
        for name, split in splits.items():
            if split is None:
                continue
            if len(split.labels) != len(split.index):
                raise InvalidValue(
                    f"the {name} split needs a label an image, got {len(split.labels)} labels for "
                    f"{len(split.index)} images; take both from one split"
                )
            shared = int(taken[split.index].sum())
            if shared:
                raise InvalidValue(
                    f"the {name} split must share no image with the others, got {shared} that it shares; "
                    "make the task with make_task or given_task"
                )
            taken[split.index] = True
        if self.meta and (missing := set(range(self.num_classes)) - set(self.meta.labels.tolist())):
            raise InvalidValue(
                f"the meta set needs every class, got none of class {min(missing)}; make it larger, or "
                "evenly with make_task"
            )

    @property
    def num_classes(self) -> int:
        """K."""
        return self.dataset.num_classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.dataset.image_shape

    @property
    def effective_error_rate(self) -> float:
        """The expected share of wrong labels in the training split by its true classes; NaN if unknown."""
        if not self.truth.known:
            return float("nan")
        return noise.effective_error_rate(self.truth.matrix, self.truth.prior)

    @property
    def bayes_accuracy(self) -> float:
        """The best expected accuracy on given training labels without memorising; NaN if unknown."""
        if not self.truth.known:
            return float("nan")
        return noise.bayes_accuracy(self.truth.matrix, self.truth.prior)

    def split(self, name: str) -> Split:
        """A split by its name; raises `UnknownName` for another, and for a meta set that the task lacks."""
        if name not in self.splits:
            raise unknown_name("split of this task", name, self.splits)
        return self.splits[name]

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that there are, by name."""
        splits = {"train": self.train, "validation": self.validation, "meta": self.meta, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    @property
    def visible(self) -> Visible:
        """What a method may see."""
        return Visible(self.train, self.validation, self.meta, self.num_classes, self.image_shape)


@checked
def make_task(
    dataset: Dataset,
    transition_matrix: ArrayLike,
    seed: Seed = 0,
    *,
    train_size: Count | None = None,
    validation: Part | Count = 0.2,
    meta_size: Whole = 0,
    imbalance: Factor = 1.0,
) -> Task:
    """The task of learning `dataset` under the noise of a matrix (K, K).

    `validation` is a share of the data set's training images or, as a whole number, a count; its labels are
    noisy too. A meta set of `meta_size` holds the classes evenly and keeps its true labels. `train_size`
    takes a part of the images that are left, by default all. The splits are disjoint, and the same whatever
    the matrix; a smaller one is part of a larger. An image's given label depends on the seed and the matrix
    alone, and under more noise of one kind the corrupted stay corrupted.

    An `imbalance` above 1 then thins the training split to a long tail: class 0 keeps as many images as the
    smallest class has, the last class that number divided by `imbalance` (`noise.long_tailed_sizes`). The
    validation split comes from the same distribution: it is thinned in the same proportions, down to one
    image of a class. The meta and test sets stay even. More imbalance keeps a part of what less keeps.

    Raises `InvalidValue` for a matrix that is none or does not fit the classes, sizes and imbalances that are
    too large or too small for every class to be in every split, and a bad seed.
    """
    given, matrix = given_labels(dataset, transition_matrix, seed)
    rows = split_rows(dataset, seed, train_size, validation, meta_size, imbalance)
    return known_task(dataset, given, matrix, seed, rows)


@checked
def given_task(
    dataset: Dataset,
    seed: Seed = 0,
    *,
    train_size: Count | None = None,
    validation: Part | Count | None = None,
    meta_size: Whole = 0,
) -> Task:
    """The task of learning a data set whose training labels are noisy already.

    Where its true labels are known (CIFAR-10N), the splits are those of `make_task`, and the matrix in
    `truth` is how often people gave each label to each class. Elsewhere the meta set comes from the clean
    rows (the last `num_clean`), and the validation split is what it leaves of them, as LIMIT has it on
    Clothing1M, or with `validation` a share or a number of the noisy rows. `train_size` takes a stratified
    part of the noisy rows that are left, by default all; a smaller one is part of a larger.

    Raises `InvalidValue` for a data set with true labels only, for sizes that are too large or too small for
    every class to be in every split, and a bad seed. Source: LIMIT, section 4.2 (clean validation set);
    MetaInfoNet, section 5.1 (clean meta set).
    """
    if dataset.given_labels is not None:
        rows = split_rows(dataset, seed, train_size, 0.2 if validation is None else validation, meta_size)
        given, matrix = given_labels(dataset, None, seed)
        return known_task(dataset, given, matrix, seed, rows)
    if dataset.num_clean is None:
        raise InvalidValue(f"{dataset.name} has true labels, expected noisy ones; use make_task")
    labels = dataset.train_labels.numpy()
    num_noisy = len(labels) - dataset.num_clean
    num_held = 0 if validation is None else _count(validation, num_noisy)
    most_train = num_noisy - num_held
    most_meta = dataset.num_clean - (validation is None)
    num_train = most_train if train_size is None else train_size
    if not 0 < num_train <= most_train or not 0 <= meta_size <= most_meta:
        raise InvalidValue(
            f"train_size must lie in 1 to {most_train} and meta_size in 0 to {most_meta}, got "
            f"{train_size} and {meta_size}; choose other sizes"
        )
    noisy = stratified_order(labels[:num_noisy], stream(seed, "split"))
    clean = num_noisy + stratified_order(labels[num_noisy:], stream(seed, "clean split"))
    # The meta set comes from the end, so that having one changes nothing else.
    left, meta = np.split(clean, [len(clean) - meta_size])
    rows = {
        "training": noisy[num_held : num_held + num_train],
        "validation": left if validation is None else noisy[:num_held],
        "meta": meta,
    }
    _check_parts(dataset, labels, rows)
    splits = _splits(dataset, labels, rows)
    held = splits["validation"].labels
    truth = Truth(
        train_labels=torch.full((num_train,), -1),
        validation_labels=held.clone() if validation is None else torch.full((num_held,), -1),
        matrix=np.full((dataset.num_classes,) * 2, np.nan),
        prior=np.full(dataset.num_classes, np.nan),
        confusion=np.zeros((dataset.num_classes,) * 2, dtype=np.int64),
    )
    return _task(dataset, splits, truth, seed)


def given_labels(
    dataset: Dataset, transition_matrix: ArrayLike | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The given labels (N,) of all training images under a noise matrix (K, K), and the matrix; without one
    the labels that the data set came with, and how often people gave each to each class.

    Raises `InvalidValue` for a matrix that is none or does not fit, and for labels that are noisy already.
    """
    if transition_matrix is None and dataset.given_labels is not None:
        given = dataset.given_labels.numpy()
        counts = noise.confusion(dataset.train_labels, given, dataset.num_classes)
        return given, counts / counts.sum(axis=1, keepdims=True)
    unchanged = np.eye(dataset.num_classes)
    matrix = noise.validate(unchanged if transition_matrix is None else transition_matrix).copy()
    if len(matrix) != dataset.num_classes:
        raise InvalidValue(
            f"the transition matrix has {len(matrix)} classes and {dataset.name} has {dataset.num_classes}; "
            f"make it with num_classes={dataset.num_classes}"
        )
    if dataset.num_clean is not None or dataset.given_labels is not None:
        raise InvalidValue(
            f"noise needs true labels to corrupt, the training labels of {dataset.name} are noisy already; "
            "use given_task"
        )
    return noise.corrupt(dataset.train_labels.numpy(), matrix, seed), matrix


@checked
def split_rows(
    dataset: Dataset,
    seed: Seed,
    train_size: Count | None = None,
    validation: Part | Count = 0.2,
    meta_size: Whole = 0,
    imbalance: Factor = 1.0,
) -> dict[str, NDArray[np.int64]]:
    """Rows of the "training", "validation" and "meta" splits, by true labels; otherwise as `make_task`."""
    true, num_classes = dataset.train_labels.numpy(), dataset.num_classes
    num_train, num_validation = _sizes(len(true), train_size, validation, meta_size)
    order = stratified_order(true, stream(seed, "split"))
    groups = dataset.train_groups
    held, left = held_out(order, num_validation, true, groups)
    # The meta set comes from the end, so that having one changes nothing else where there is room for both.
    from_end = left[::-1]
    meta = from_end[np.argsort(_rank_in_class(true[from_end]), kind="stable")[:meta_size]]
    available = np.bincount(true[left], minlength=num_classes)
    scarcest, most = dataset.class_names[available.argmin()], int(available.min()) - 1
    if most >= 0 and meta_size > num_classes * most:
        raise InvalidValue(
            f"the meta set takes the classes evenly and leaves each an image to train on, got meta_size "
            f"{meta_size} where {scarcest} has {most + 1} images beside the validation set; use at most "
            f"{num_classes * most}"
        )
    same = left if groups is None else groups[left]
    train = left[~np.isin(same, meta if groups is None else groups[meta])][:num_train]
    rows = {"validation": held, "training": train, "meta": meta}
    _check_parts(dataset, true, rows)
    if imbalance != 1:
        largest = int(np.bincount(true[train]).min())
        if imbalance > largest:
            raise InvalidValue(
                f"imbalance factor {imbalance:g} leaves no training image of {dataset.class_names[-1]}; use "
                f"at most {largest}"
            )
        sizes = noise.long_tailed_sizes(largest, num_classes, imbalance)
        rows["training"] = _thinned(train, true, sizes)
        held_sizes = sizes * int(np.bincount(true[held]).min()) // largest
        rows["validation"] = _thinned(held, true, np.maximum(held_sizes, 1))
    return rows


def _rank_in_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each label (N,) how many equal ones stand before it."""
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - np.repeat(counts.cumsum() - counts, counts)
    return rank


def _thinned(
    rows: NDArray[np.int64], labels: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The first rows of each class, as many as its size (K,) says."""
    return rows[_rank_in_class(labels[rows]) < sizes[labels[rows]]]


def _check_parts(dataset: Dataset, labels: NDArray[np.int64], rows: Mapping[str, NDArray[np.int64]]) -> None:
    """Raise `InvalidValue` where a split lacks a class; there need be no meta set."""
    for part, chosen in rows.items():
        if part != "meta" or len(chosen):
            remedy = "make it larger"
            if np.bincount(labels, minlength=dataset.num_classes).min() < 2:
                remedy = "add images, a class needs at least 2 of them beside those of the test set"
            elif part == "validation" and len(chosen) < dataset.num_classes:
                remedy = f"make it larger, at least one of each with --validation {dataset.num_classes}"
            check_every_class(part, labels[chosen], dataset.class_names, remedy)


def _splits(
    dataset: Dataset, labels: NDArray[np.int64], rows: Mapping[str, NDArray[np.int64]]
) -> dict[str, Split]:
    """The splits with these labels (N,) of all training images."""
    index = {part: np.sort(chosen) for part, chosen in rows.items()}
    return {
        part: Split(dataset.train_images, torch.from_numpy(labels[chosen]), torch.from_numpy(chosen))
        for part, chosen in index.items()
    }


def known_task(
    dataset: Dataset,
    given: NDArray[np.int64],
    matrix: NDArray[np.float64],
    seed: int,
    rows: Mapping[str, NDArray[np.int64]],
) -> Task:
    """The task of a data set whose true labels are known, under the labels `given` (N,) to its images."""
    clean = _splits(dataset, dataset.train_labels.numpy(), rows)
    splits = _splits(dataset, given, rows) | {"meta": clean["meta"]}
    true = clean["training"].labels
    confusion = noise.confusion(true.numpy(), splits["training"].labels.numpy(), dataset.num_classes)
    truth = Truth(
        train_labels=true,
        validation_labels=clean["validation"].labels,
        matrix=matrix,
        prior=confusion.sum(axis=1) / len(true),
        confusion=confusion,
    )
    return _task(dataset, splits, truth, seed)


def _task(dataset: Dataset, splits: Mapping[str, Split], truth: Truth, seed: int) -> Task:
    train, validation = splits["training"], splits["validation"]
    meta = splits["meta"] if len(splits["meta"]) else None
    test = Split(dataset.test_images, dataset.test_labels, torch.arange(len(dataset.test_labels)))
    return Task(dataset, train, validation, test, meta, truth, seed, _hash(train, validation, meta))


def _count(share: float | int, total: int) -> int:
    """A share of `total`, or the number itself."""
    return round(share * total) if isinstance(share, float) else share


def _sizes(total: int, train_size: int | None, validation: float | int, meta_size: int) -> tuple[int, int]:
    """The numbers of training and validation images."""
    validation = _count(validation, total)
    left = total - validation - meta_size
    num_train = left if train_size is None else train_size
    if not 0 <= num_train <= left:
        raise InvalidValue(
            f"validation, meta_size and train_size must be counts that sum to at most the {total} images, "
            f"got {validation}, {meta_size} and {train_size}; make them smaller"
        )
    return num_train, validation


def _hash(*splits: Split | None) -> str:
    digest = hashlib.sha256()
    for split in splits:
        for part in (split.index, split.labels) if split else ():
            digest.update(part.numpy().astype("<i8").tobytes() + b"|")
    return digest.hexdigest()[:16]
