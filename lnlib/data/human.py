"""CIFAR-10N and CIFAR-100N (Wei et al., ICLR 2022): CIFAR's training images with the labels of people."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lnlib.data.cifar import old_pickles
from lnlib.data.dataset import Dataset
from lnlib.errors import DataUnavailable, cause_of

TRUE_LABELS = "clean_label"
# The files hold NumPy arrays, which `torch.load` builds only where it is told that it may.
_REBUILD = np.empty(0).__reduce__()[0]
_ALLOWED: list[Any] = [
    (_REBUILD, "numpy.core.multiarray._reconstruct"),
    (_REBUILD, "numpy._core.multiarray._reconstruct"),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in "bBhHiIlLqQ"),
]


def with_human_labels(cifar: Dataset, name: str, file: Path, key: str) -> Dataset:
    """`cifar` with the labels that `file` (CIFAR-10_human.pt or CIFAR-100_human.pt) holds under `key`.

    Raises `DataUnavailable` for a file that is missing or damaged, has no such labels, or whose true labels
    are not CIFAR's in CIFAR's order.
    """
    try:
        with old_pickles(), torch.serialization.safe_globals(_ALLOWED):
            content = torch.load(file, weights_only=True)
    except FileNotFoundError as error:
        raise DataUnavailable(f"there is no {file}") from error
    except OSError as error:
        raise DataUnavailable(f"cannot read {file}: {cause_of(error)}") from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise DataUnavailable(f"{file} is damaged or holds something else than labels") from error
    true, given = (_labels(content, part, file, cifar) for part in (TRUE_LABELS, key))
    if not torch.equal(true, cifar.train_labels):
        raise DataUnavailable(
            f"{file} is in another order than CIFAR's files: its true labels are not theirs"
        )
    return replace(cifar, name=name, given_labels=given)


def _labels(content: object, key: str, file: Path, cifar: Dataset) -> Tensor:
    if not isinstance(content, dict) or key not in content:
        raise DataUnavailable(f"{file} has no {key}")
    labels, count = np.asarray(content[key]), len(cifar.train_labels)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise DataUnavailable(f"{key} of {file} must be {count} labels, got {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() >= cifar.num_classes:
        raise DataUnavailable(
            f"{key} of {file} must lie in 0 to {cifar.num_classes - 1}, got {labels.min()} to {labels.max()}"
        )
    return torch.from_numpy(labels.astype(np.int64))
