"""A reader's own data set from arrays, tensors or a torch `Dataset`, in one line."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Dataset as TorchDataset

from lnlib.checks import Part, Seed, checked
from lnlib.data.dataset import Dataset, check_every_class, stratified_order, with_statistics
from lnlib.errors import InvalidValue
from lnlib.seeding import stream

REMEDY = "add examples of it, or leave it out"


@checked
def from_arrays(
    images: ArrayLike | torch.Tensor,
    labels: ArrayLike | torch.Tensor,
    test_images: ArrayLike | torch.Tensor | None = None,
    test_labels: ArrayLike | torch.Tensor | None = None,
    *,
    test_fraction: Part = 0.2,
    seed: Seed = 0,
    name: str = "own data",
) -> Dataset:
    """A data set from images (N, H, W), (N, C, H, W) or (N, H, W, C), uint8 or floats in [0, 1], and their
    labels (N,), whole numbers or words.

    The classes are the labels that occur, in their order. Without test images a stratified share
    `test_fraction` of the others is the test set. Floats are rounded to the 256 levels of a picture. Raises
    `InvalidValue` for what does not fit together.
    """
    pixels, named = _pixels(images), _labels(labels, len(images))  # type: ignore[arg-type]
    if (test_images is None) != (test_labels is None):
        raise InvalidValue("a test set needs images and labels, got one of them; give both or neither")
    classes = np.unique(named)
    rows = np.arange(len(pixels))
    if test_images is not None and test_labels is not None:
        test_pixels, test_named = _pixels(test_images), _labels(test_labels, len(test_images))  # type: ignore[arg-type]
        if test_pixels.shape[1:] != pixels.shape[1:]:
            raise InvalidValue(
                f"test images must be of the training images' shape {pixels.shape[1:]}, got "
                f"{test_pixels.shape[1:]}; resize them"
            )
        train, test = rows, len(pixels) + np.arange(len(test_pixels))
        pixels, named = np.concatenate([pixels, test_pixels]), np.concatenate([named, test_named])
        if unknown := sorted({*named[test].tolist()} - {*classes.tolist()}):
            raise InvalidValue(
                f"the test set has the class {unknown[0]!r}, which the training set lacks; {REMEDY}"
            )
    else:
        order = stratified_order(np.searchsorted(classes, named), stream(seed, "own data test"))
        num_test = round(test_fraction * len(rows))
        train, test = np.sort(order[num_test:]), np.sort(order[:num_test])
    numbers, class_names = np.searchsorted(classes, named), tuple(str(label) for label in classes.tolist())
    for part, chosen in (("training", train), ("test", test)):
        check_every_class(part, numbers[chosen], class_names, REMEDY)
    return with_statistics(name, pixels, numbers, train, test, class_names)


def from_torch(examples: TorchDataset[Any], test: TorchDataset[Any] | None = None, **options: Any) -> Dataset:
    """A data set from a torch `Dataset` of pairs: an image, which is a tensor (C, H, W) or a picture, and its
    label. All is read into memory. `test` is one of test examples, `options` are those of `from_arrays`.
    """
    parts = [_arrays(examples)] + ([] if test is None else [_arrays(test)])
    return from_arrays(*(array for part in parts for array in part), **options)


def _arrays(examples: TorchDataset[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    sized = hasattr(examples, "__getitem__") and hasattr(examples, "__len__")
    try:
        pairs = [examples[row] for row in range(len(examples))] if sized else []  # type: ignore[arg-type]
    except (LookupError, TypeError):  # a dictionary, say
        pairs = []
    if not pairs or any(not isinstance(pair, tuple | list) or len(pair) != 2 for pair in pairs):
        raise InvalidValue(
            f"a torch Dataset must give pairs (image, label), got {type(examples).__name__}; wrap it in one"
        )
    images = [np.asarray(image) for image, _ in pairs]
    if len({image.shape for image in images}) != 1:
        raise InvalidValue("the images must have one shape, got several; give a transform that resizes them")
    return np.stack(images), np.asarray([label for _, label in pairs])


def _pixels(images: ArrayLike | torch.Tensor) -> NDArray[np.uint8]:
    """Images as uint8 (N, C, H, W)."""
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or 0 in array.shape:
        raise InvalidValue(
            f"images must have the shape (N, H, W), (N, C, H, W) or (N, H, W, C), got {array.shape}; "
            "reshape them: rows of D numbers to (N, 1, 1, D), scaled to 0 to 1"
        )
    if array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise InvalidValue(
            f"images must be uint8, or floats in [0, 1], got {array.dtype}; use .astype('uint8')"
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        raise InvalidValue(
            f"images of floats must lie in [0, 1], got {low:g} to {high:g}; undo their "
            "normalisation, or divide by 255"
        )
    return np.ascontiguousarray(np.round(array * 255).astype(np.uint8))


def _labels(labels: ArrayLike | torch.Tensor, size: int) -> NDArray[Any]:
    """Labels (N,) as whole numbers or words."""
    array = np.asarray(labels)
    if array.shape != (size,):
        raise InvalidValue(
            f"labels must be one for each of {size} images, got the shape {array.shape}; reshape them"
        )
    if array.dtype.kind not in "iuUS":
        raise InvalidValue(
            f"labels must be whole numbers or words, got {array.dtype}; convert them with .astype(int)"
        )
    return array
