"""The task: what a learner sees of a data set, and beside it, for analysis only, the truth.

LIMIT §4: a training and a validation split with given labels, and a clean test set; MetaInfoNet §5.1: a small
clean meta set, taken out of the training images.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lnlib import noise
from lnlib.data.dataset import Dataset, check_every_class, stratified_order
from lnlib.data.lazy import LazyImages
from lnlib.errors import InvalidValue
from lnlib.seeding import stream


@dataclass(frozen=True, eq=False)
class Split:
    """Some images of a data set's training or test part, with the labels that go with them.

    `pool` (M, C, H, W) holds the images of the whole part, shared by the splits; `index` (N,) tells the
    split's rows of it, ascending; `labels` (N,) are given labels, and true ones in the meta and test sets.
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
    the shares NaN, and the counts 0.
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


@dataclass(frozen=True, eq=False)
class Task:
    """A data set under label noise, cut into disjoint splits; made by `make_task` or `given_task`."""

    dataset: Dataset
    train: Split
    validation: Split
    test: Split
    meta: Split | None
    truth: Truth = field(repr=False)
    seed: int
    label_hash: str
    """Tells apart tasks whose splits or given labels differ: 16 hexadecimal digits of a SHA-256."""

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
        """The expected share of wrong labels in the training split, given its true classes; NaN if
        unknown.
        """
        if not self.truth.known:
            return float("nan")
        return noise.effective_error_rate(self.truth.matrix, self.truth.prior)

    @property
    def visible(self) -> Visible:
        """What a method may see."""
        return Visible(self.train, self.validation, self.meta, self.num_classes, self.image_shape)


def make_task(
    dataset: Dataset,
    transition_matrix: ArrayLike,
    seed: int = 0,
    *,
    train_size: int | None = None,
    validation: float | int = 0.2,
    meta_size: int = 0,
) -> Task:
    """The task of learning `dataset` under the noise of a matrix (K, K).

    `validation` is a share of the data set's training images or, as a whole number, a count; its labels are
    noisy too. A meta set of `meta_size` keeps its true labels. `train_size` takes a part of the images that
    are left, by default all. The splits are stratified, disjoint, and the same whatever the matrix; a smaller
    one is part of a larger. An image's given label depends on the seed and the matrix alone, and under more
    noise of one kind the corrupted stay corrupted.

    Raises `InvalidValue` for a matrix that is none or does not fit the classes, sizes that are too large or
    too small for every class to be in every split, and a bad seed.
    """
    matrix = noise.validate(transition_matrix).copy()
    if len(matrix) != dataset.num_classes:
        raise InvalidValue(
            f"the transition matrix has {len(matrix)} classes and {dataset.name} has {dataset.num_classes}; "
            f"make it with num_classes={dataset.num_classes}"
        )
    if dataset.num_clean is not None:
        raise InvalidValue(
            f"noise needs true labels to corrupt, the training labels of {dataset.name} are noisy already; "
            "use given_task"
        )
    true = dataset.train_labels.numpy()
    num_train, num_validation, num_meta = _sizes(len(true), train_size, validation, meta_size)
    order = stratified_order(true, stream(seed, "split"))
    # The meta set comes from the end, so that having one changes nothing else.
    rows = {
        "validation": np.sort(order[:num_validation]),
        "training": np.sort(order[num_validation : num_validation + num_train]),
        "meta": np.sort(order[len(true) - num_meta :]),
    }
    for part, chosen in rows.items():
        if part != "meta" or meta_size:
            check_every_class(part, true[chosen], dataset.class_names, "make it larger")
    given = noise.corrupt(true, matrix, seed)

    def split(labels: NDArray[np.int64], part: str) -> Split:
        index = rows[part]
        return Split(dataset.train_images, torch.from_numpy(labels[index]), torch.from_numpy(index))

    train, noisy_validation = split(given, "training"), split(given, "validation")
    meta = split(true, "meta") if num_meta else None
    confusion = noise.confusion(true[rows["training"]], train.labels.numpy(), dataset.num_classes)
    truth = Truth(
        train_labels=torch.from_numpy(true[rows["training"]]),
        validation_labels=torch.from_numpy(true[rows["validation"]]),
        matrix=matrix,
        prior=confusion.sum(axis=1) / num_train,
        confusion=confusion,
    )
    test = Split(dataset.test_images, dataset.test_labels, torch.arange(len(dataset.test_labels)))
    return Task(
        dataset, train, noisy_validation, test, meta, truth, seed, _hash(train, noisy_validation, meta)
    )


def given_task(dataset: Dataset, seed: int = 0, *, train_size: int | None = None, meta_size: int = 0) -> Task:
    """The task of learning a data set whose training labels are noisy already, such as Clothing1M.

    Its clean rows (the last `num_clean`) are the validation split, less a meta set of `meta_size` of them.
    `train_size` takes a stratified part of the noisy rows, by default all; a smaller one is part of a larger.
    Raises `InvalidValue` for a data set with true labels, for sizes that are too large or too small for every
    class to be in every split, and a bad seed. Source: LIMIT, section 4.2 (clean validation set).
    """
    if dataset.num_clean is None:
        raise InvalidValue(f"{dataset.name} has true labels, expected noisy ones; use make_task")
    labels = dataset.train_labels.numpy()
    num_noisy = len(labels) - dataset.num_clean
    num_train = num_noisy if train_size is None else train_size
    if not 0 < num_train <= num_noisy or not 0 <= meta_size < dataset.num_clean:
        raise InvalidValue(
            f"train_size must lie in 1 to {num_noisy} and meta_size in 0 to {dataset.num_clean - 1}, got "
            f"{train_size} and {meta_size}; choose other sizes"
        )
    noisy = stratified_order(labels[:num_noisy], stream(seed, "split"))
    clean = num_noisy + stratified_order(labels[num_noisy:], stream(seed, "clean split"))
    num_validation = dataset.num_clean - meta_size
    # The meta set comes from the end, so that having one changes nothing else.
    rows = {
        "training": noisy[:num_train],
        "validation": clean[:num_validation],
        "meta": clean[num_validation:],
    }
    splits = {}
    for part, chosen in rows.items():
        if part != "meta" or meta_size:
            check_every_class(part, labels[chosen], dataset.class_names, "make it larger")
        index = np.sort(chosen)
        splits[part] = Split(dataset.train_images, torch.from_numpy(labels[index]), torch.from_numpy(index))
    train, validation = splits["training"], splits["validation"]
    meta = splits["meta"] if meta_size else None
    truth = Truth(
        train_labels=torch.full((num_train,), -1),
        validation_labels=validation.labels.clone(),
        matrix=np.full((dataset.num_classes,) * 2, np.nan),
        prior=np.full(dataset.num_classes, np.nan),
        confusion=np.zeros((dataset.num_classes,) * 2, dtype=np.int64),
    )
    test = Split(dataset.test_images, dataset.test_labels, torch.arange(len(dataset.test_labels)))
    return Task(dataset, train, validation, test, meta, truth, seed, _hash(train, validation, meta))


def _sizes(
    total: int, train_size: int | None, validation: float | int, meta_size: int
) -> tuple[int, int, int]:
    """The numbers of training, validation and meta images."""
    if isinstance(validation, float):
        if not 0 < validation < 1:
            raise InvalidValue(
                f"validation must be a share in (0, 1) or a whole number, got {validation}; try 0.2"
            )
        validation = round(validation * total)
    left = total - validation - meta_size
    num_train = left if train_size is None else train_size
    if min(validation, meta_size, num_train) < 0 or num_train > left:
        raise InvalidValue(
            f"validation, meta_size and train_size must be counts that sum to at most the {total} images, "
            f"got {validation}, {meta_size} and {train_size}; make them smaller"
        )
    return num_train, validation, meta_size


def _hash(*splits: Split | None) -> str:
    digest = hashlib.sha256()
    for split in splits:
        for part in (split.index, split.labels) if split else ():
            digest.update(part.numpy().astype("<i8").tobytes() + b"|")
    return digest.hexdigest()[:16]
