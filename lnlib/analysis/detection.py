"""Which labels are wrong: every image scored by how little its given label agrees with what was learnt.

LIMIT, section 4.1, Figure 4 and supplement C. The true labels, where they are known, enter only the functions
called `evaluation_...`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from lnlib.analysis.weights import Marks
from lnlib.checks import Count, checked
from lnlib.data.dataset import Dataset
from lnlib.data.task import Split, Task
from lnlib.errors import InvalidValue, shown, unknown_name
from lnlib.methods.base import cross_entropy, one_hot

Score = Callable[[Tensor, Tensor], Tensor]
Scores = np.ndarray[tuple[Any, ...], np.dtype[np.float64]]  # not NDArray: see `weights`


def gradient_distance(
    predictor_logits: Float[Tensor, "examples classes"], given: Int[Tensor, " examples"]
) -> Float[Tensor, " examples"]:
    """How far the predicted gradient is from that of cross-entropy, ‖μ − g‖₂, from 0 to √2, one number an
    example.

    With μ = s(a) − s(r) and g = s(a) − y the classifier's a cancels, and ‖y − s(r)‖₂ remains: the eval-mode
    logits r of LIMIT's predictor are all it takes. In float64, where confident predictions still differ.
    Source: LIMIT, section 4.1.
    """
    predicted = torch.softmax(predictor_logits.double(), dim=1)
    distances: Tensor = torch.linalg.vector_norm(one_hot(given, predicted.shape[1]) - predicted, dim=1)
    return distances


def loss_score(
    logits: Float[Tensor, "examples classes"], given: Int[Tensor, " examples"]
) -> Float[Tensor, " examples"]:
    """The cross-entropy of the given label in nats, in float64; it ranks as "self-confidence" does."""
    return cross_entropy(logits.double(), given)


SCORES: Mapping[str, Score] = {"loss": loss_score, "distance": gradient_distance}
"""By the names that the command line has for them. In `figures/suspects.csv` LIMIT's loss finds more than its
distance save under 30% pair noise on digits, and most of all where the network is often wrong itself: one
that is sure of another class has nearly the largest distance, whatever it thinks of the given one.
"""


class HeldOut(NamedTuple):
    """What networks said of images that they had not seen: rows (N,) of the data set, ascending, their given
    labels (N,), logits (N, K), and the number (N,) of the fold, from 1.
    """

    rows: Tensor
    labels: Tensor
    logits: Tensor
    fold: Tensor


def held_out(tasks: Sequence[Task], logits: Sequence[Tensor]) -> HeldOut:
    """Each image of `data.fold_tasks` once, with the logits (n, K) of the network that held it out, as
    `run.logits("test", "predictor")` gives them. Raises `InvalidValue` for another number of logits.
    """
    for task, outputs in zip(tasks, logits, strict=True):
        _check_number("held-out", task.test, outputs)
    rows = torch.cat([task.test.index for task in tasks]).numpy()
    _, first = np.unique(rows, return_index=True)  # two folds may share an image
    fold = [torch.full((len(task.test),), number) for number, task in enumerate(tasks, start=1)]
    columns = [task.test.index for task in tasks], [task.test.labels for task in tasks], logits, fold
    return HeldOut(*(torch.cat([*column])[torch.from_numpy(first)] for column in columns))


def suspects(task: Task, logits: Mapping[str, Tensor], score: Score = gradient_distance) -> pd.DataFrame:
    """The images of the parts that `logits` names, the most suspicious first; equal scores keep their order.

    `logits` maps "training", "validation" or "test" to a tensor (n, K), as `run.logits("train", "predictor")`
    gives it; of these only the given labels of the training part were trained on. Columns: rank (from 1),
    part, row (of the data set's training images, or of its test images), given and suggested (class names,
    the latter of the largest logit), their probabilities given_probability and suggested_probability, score;
    and file, where the images came from files. Raises `UnknownName` for another part and `InvalidValue` for
    another number of logits.
    """
    if not hasattr(task, "dataset") or not isinstance(logits, Mapping) or not logits:
        raise InvalidValue(
            f"suspects needs a task and a part's logits by its name, got {shown(task)} and {shown(logits)}; "
            'try suspects(run.task, {"training": run.logits("train")})'
        )
    splits = {"training": task.train, "validation": task.validation, "test": task.test}
    parts = []
    for part, outputs in logits.items():
        if part not in splits:
            raise unknown_name("part of a task", part, splits)
        _check_number(part, split := splits[part], outputs)
        parts.append(_scored(task.dataset, part, split.index, split.labels, outputs, score))
    return _ranked(parts)


def suspects_of_folds(dataset: Dataset, found: HeldOut, score: Score = gradient_distance) -> pd.DataFrame:
    """The same of images that were held out of training, with their fold as one column more; `dataset` is
    that of the folds' tasks.
    """
    frame = _scored(dataset, "held out", found.rows, found.labels, found.logits, score)
    return _ranked([frame.assign(fold=found.fold.numpy())])


def _check_number(part: str, split: Split, outputs: Tensor) -> None:
    if len(outputs) != len(split):
        raise InvalidValue(
            f"the {part} part has {len(split)} images, got logits for {len(outputs)}; "
            "take them from run.logits(...)"
        )


def _scored(
    dataset: Dataset, part: str, rows: Tensor, labels: Tensor, logits: Tensor, score: Score
) -> pd.DataFrame:
    names = np.array(dataset.class_names, dtype=object)
    files = dataset.test_files if part == "test" else dataset.train_files
    probabilities = torch.softmax(logits.double(), dim=1)
    largest, suggested = probabilities.max(dim=1)
    columns = {
        "part": part,
        "row": rows.numpy(),
        "given": _as_they_are(names[labels.numpy()]),
        "suggested": _as_they_are(names[suggested.numpy()]),
        "given_probability": probabilities.gather(1, labels[:, None])[:, 0].numpy(),
        "suggested_probability": largest.numpy(),
        "score": score(logits, labels).numpy(),
    }
    if files:
        columns["file"] = _as_they_are([files[row] for row in rows.tolist()])
    return pd.DataFrame(columns)


def _as_they_are(names: Sequence[str] | NDArray[np.object_]) -> pd.Series:
    """Names of files, which pandas' own strings refuse where they are not UTF-8."""
    return pd.Series(names, dtype=object)


def _ranked(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    frame = pd.concat(parts).sort_values("score", ascending=False, kind="stable", ignore_index=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    return frame


@checked
def first_of_each(suspects: pd.DataFrame, count: Count) -> pd.DataFrame:
    """The `count` most suspicious images of each suggested class: all firsts by class, then all seconds.

    A score that saturates ranks by what a class's logits happen to reach, and the first suspects of all may
    then show two classes.
    """
    places = suspects.groupby("suggested").cumcount()
    order = suspects.assign(place=places)[places < count].sort_values(["place", "suggested"], kind="stable")
    return order.drop(columns="place").reset_index(drop=True)


def evaluation_frame(suspects: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The frame of `suspects`, or of `suspects_of_folds` and one fold's task, and a column `wrong`; raises
    `InvalidValue` where nobody knows the truth.
    """
    if not task.truth.known:
        raise InvalidValue(
            f"an evaluation needs true labels, those of {task.dataset.name} are unknown; "
            "corrupt a data set that has them"
        )
    names = np.array(task.dataset.class_names, dtype=object)
    train, test = (names[labels.numpy()] for labels in (task.dataset.train_labels, task.dataset.test_labels))
    true = [
        (test if part == "test" else train)[row]
        for part, row in zip(suspects["part"], suspects["row"], strict=True)
    ]
    return suspects.assign(wrong=suspects["given"].to_numpy() != np.array(true, dtype=object))


def evaluation_auc(scores: Float[Scores, " examples"], wrong: Bool[Marks, " examples"]) -> float:
    """The area under the ROC curve, ties counting half; raises `InvalidValue` without both kinds of label."""
    from sklearn.metrics import roc_auc_score

    _check_both(wrong)
    return float(roc_auc_score(wrong, scores))


def evaluation_roc(scores: Float[Scores, " examples"], wrong: Bool[Marks, " examples"]) -> pd.DataFrame:
    """The ROC's corners, wrong labels as positives: false_positive_rate, true_positive_rate, threshold.

    Raises as `evaluation_auc`.
    """
    from sklearn.metrics import roc_curve

    _check_both(wrong)
    columns = ("false_positive_rate", "true_positive_rate", "threshold")
    return pd.DataFrame(dict(zip(columns, roc_curve(wrong, scores), strict=True)))


@checked
def evaluation_precision(
    scores: Float[Scores, " examples"], wrong: Bool[Marks, " examples"], k: Count
) -> float:
    """The share of wrong labels among the `k` highest scores; equal scores keep their order.

    Raises `InvalidValue` for a k that is not from 1 to the number of scores.
    """
    if k > len(scores):
        raise InvalidValue(f"k must lie in 1 to the {len(scores)} scores, got {k}; try k={len(scores)}")
    return float(wrong[np.argsort(-scores, kind="stable")[:k]].mean())


def evaluation_recovered(
    logits: Float[Tensor, "examples classes"],
    given: Int[Tensor, " examples"],
    true: Int[Tensor, " examples"],
) -> float:
    """The share of wrong labels in whose place the largest logit says the true class.

    Raises `InvalidValue` where no label is wrong. Source: LIMIT, section 4.1, of the classifier's logits and
    of the predictor's.
    """
    wrong = given != true
    if not wrong.any():
        raise InvalidValue(
            f"only wrong labels can be recovered, got none among {len(given)}; add noise to the labels first"
        )
    return float((logits.argmax(dim=1) == true)[wrong].double().mean())


def _check_both(wrong: Marks) -> None:
    if not 0 < wrong.sum() < len(wrong):
        raise InvalidValue(
            f"a ROC curve needs both right and wrong labels, got {wrong.sum()} wrong of {len(wrong)}; "
            "add noise to the labels first"
        )
