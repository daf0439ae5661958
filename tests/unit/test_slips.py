"""Whatever a caller puts in the place of an argument, the answer is a result or one sentence of lnlib's."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lnlib import data, noise
from lnlib.analysis import detection
from lnlib.data import from_arrays, from_torch, make_task
from lnlib.data.task import given_task
from lnlib.errors import LnlibError
from lnlib.methods import CrossEntropy
from lnlib.nets import MLP
from lnlib.training import Adam, Member, Run, Runs, fit, sweep

pytestmark = pytest.mark.filterwarnings("ignore")
JUNK: tuple[Any, ...] = (
    *(None, True, 0, -1, 5, 2.5, float("nan"), float("inf"), 10**30),
    *("", "x", "10", b"x", [], [1], (), {}, {"x": 1}, {1}),
    *(object(), int, len, MLP(4, 1), CrossEntropy(), Path("nowhere"), np.zeros(3), torch.zeros(2, 2)),
)


def calls(folder: Path) -> Mapping[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """The public interface by name, each with arguments that work."""
    digits, matrix = data.load("digits"), noise.uniform(0.3, 10)
    task = make_task(digits, matrix, train_size=60, meta_size=20)
    quick = {"net": MLP(4, 1), "epochs": 1, "batch_size": 30}
    member = Member(CrossEntropy(), task)
    run, runs = fit("ce", task, **quick), sweep([member, member], **quick)
    images, labels = digits.train_images[:40].numpy(), np.arange(40) % 4
    run.save(folder / "run.pt")
    return {
        "fit": (
            fit,
            {"method": "ce", "task": task, **quick, "optimizer": Adam(), "seed": 0, "device": "cpu"},
        ),
        "settings": (partial(Run, "ce", task), {**quick, "patience": 3, "augment": None, "start": None}),
        "more settings": (
            partial(Run, "ce", task, **quick),
            {"precision": "float32", "drop_last": False, "evaluate_every": 1, "meta_batch_size": 5},
        ),
        "sweep": (sweep, {"members": [member], "mode": "solo", **quick}),
        "Member": (Member, {"method": CrossEntropy(), "task": task, "seed": 0, "start": None}),
        "Runs": (Runs, {"members": [member, member], **quick}),
        "predict": (run.predict, {"images": digits.normalize(digits.test_images[:3])}),
        "logits": (run.logits, {"split": "train", "network": "classifier"}),
        "set_weights": (run.set_weights, {"weights": run.weights}),
        "save": (run.save, {"path": folder / "saved.pt"}),
        "load run": (run.load, {"path": folder / "run.pt"}),
        "table": (runs.table, {"columns": ["test_accuracy"], "at": "best"}),
        "load": (data.load, {"name": "digits"}),
        "make_task": (
            make_task,
            {"dataset": digits, "transition_matrix": matrix, "seed": 0, "train_size": 60, "imbalance": 1.0},
        ),
        "given_task": (given_task, {"dataset": digits, "seed": 0}),
        "from_arrays": (from_arrays, {"images": images, "labels": labels, "seed": 0, "name": "own"}),
        "from_torch": (from_torch, {"examples": [*zip(images, labels, strict=True)], "test": None}),
        "image_folder": (data.image_folder, {"path": folder, "size": 8, "test_fraction": 0.2, "seed": 0}),
        "suspects": (detection.suspects, {"task": task, "logits": {"training": run.logits("train")}}),
        "matrix": (noise.matrix, {"kind": "flip", "rate": 0.3, "num_classes": 10}),
    }


def test_a_slip_is_answered_by_a_result_or_by_one_sentence(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # where a run is saved under a name that happens to be one
    raw = []
    for call, (function, arguments) in calls(tmp_path).items():
        for name, value in product(arguments, JUNK):
            if name == "epochs" and isinstance(value, int) and value > 5:
                continue  # no slip: it trains for long
            try:
                function(**arguments | {name: value})
            except LnlibError as error:
                if "\n" in str(error) or not str(error):
                    raw.append(f"{call}, {name}={value!r}: {error}")
            except Exception as error:
                raw.append(f"{call}, {name}={value!r}: {type(error).__name__} {error}")
    assert raw == []
