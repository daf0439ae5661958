"""Which labels are wrong: every image scored by how little its given label agrees with what was learnt.

LIMIT, section 4.1, Figure 4 and supplement C. The true labels, where they are known, enter only the functions
called `evaluation_...`.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from lnlib.checks import Count, checked
from lnlib.data.task import Task
from lnlib.errors import InvalidValue, shown, unknown_name
from lnlib.methods.base import cross_entropy, one_hot

Score = Callable[[Tensor, Tensor], Tensor]
Scores = NDArray[np.float64]
Marks = NDArray[np.bool_]


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


def suspects(task: Task, logits: Mapping[str, Tensor], score: Score = gradient_distance) -> pd.DataFrame:
    """The images of the parts that `logits` names, the most suspicious first; equal scores keep their order.

    `logits` maps "training", "validation" or "test" to a tensor (n, K), as `run.logits("train", "predictor")`
    gives it; of these only the given labels of the training part were trained on. Columns: rank (from 1),
    part, row (of the data set's training images, or of its test images), given and predicted (class names,
    the latter the largest logit), score; and file, where the images came from files. Raises `UnknownName` for
    another part and `InvalidValue` for another number of logits.
    """
    if not hasattr(task, "dataset") or not isinstance(logits, Mapping) or not logits:
        raise InvalidValue(
            f"suspects needs a task and a part's logits by its name, got {shown(task)} and {shown(logits)}; "
            'try suspects(run.task, {"training": run.logits("train")})'
        )
    splits = {"training": task.train, "validation": task.validation, "test": task.test}
    names = np.array(task.dataset.class_names, dtype=object)
    parts = []
    for part, outputs in logits.items():
        if part not in splits:
            raise unknown_name("part of a task", part, splits)
        split, files = splits[part], task.dataset.test_files if part == "test" else task.dataset.train_files
        if len(outputs) != len(split):
            raise InvalidValue(
                f"the {part} part has {len(split)} images, got logits for {len(outputs)}; "
                "take them from run.logits(...)"
            )
        columns = {
            "part": part,
            "row": split.index.numpy(),
            "given": names[split.labels.numpy()],
            "predicted": names[outputs.argmax(dim=1).numpy()],
            "score": score(outputs, split.labels).numpy(),
        }
        if files:
            columns["file"] = [files[row] for row in split.index.tolist()]
        parts.append(pd.DataFrame(columns))
    frame = pd.concat(parts).sort_values("score", ascending=False, kind="stable", ignore_index=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    return frame


def evaluation_frame(suspects: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The frame of `suspects` and a column `wrong`; raises `InvalidValue` where nobody knows the truth."""
    if not task.truth.known:
        raise InvalidValue(
            f"an evaluation needs true labels, those of {task.dataset.name} are unknown; "
            "corrupt a data set that has them"
        )
    truths = {
        "training": (task.train, task.truth.train_labels),
        "validation": (task.validation, task.truth.validation_labels),
        "test": (task.test, task.test.labels),
    }
    marks = pd.concat(
        pd.DataFrame({"part": part, "row": split.index.numpy(), "wrong": (split.labels != true).numpy()})
        for part, (split, true) in truths.items()
    )
    return suspects.merge(marks, on=["part", "row"], validate="one_to_one")


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
