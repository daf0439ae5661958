"""Stores for tests: a small one with a run of each kind, to copy and to damage."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lnlib.errors import TrainingDiverged
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store
from lnlib.training import Run, checkpoint

TINY = {"train_size": 60, "net_options": {"width": 4, "depth": 1}, "epochs": 1}
LONG = TINY | {"train_size": None, "net_options": {"width": 256, "depth": 4}, "epochs": 120}
"""A run of some seconds, so that it can be met in the middle."""
CLOCK = ["seconds", "evaluation_seconds"]
SPECS = {
    "bystander": Spec.parse(TINY | {"seed": 1}),
    "finished": Spec.parse(TINY),
    "first format": Spec.parse(TINY | {"seed": 2}),
    "interrupted": Spec.parse(TINY | {"epochs": 2}),
    "diverged": Spec.parse(TINY | {"epochs": 9, "optimizer": "sgd", "optimizer_options": {"lr": 1e30}}),
}


class Interrupted(Exception):
    pass


def interrupt_after(last: int):
    def stop(epoch):
        if epoch.epoch == last:
            raise Interrupted

    return stop


def reached_in(path: Path, spec: Spec) -> int:
    """The epoch of a checkpoint; 0 where there is none."""
    if not path.exists():
        return 0
    run = spec.new_run()
    return int(checkpoint.read(path, run.fingerprint, run.device)["epoch"])


def kept(run: Run) -> dict[str, Any]:
    return {"labels": run.task.train.labels.numpy()}


def into_first_format(folder: Path) -> None:
    """Write a finished run as the first version of the store did."""
    stored = json.loads((folder / "run.json").read_text())
    (folder / "run.json").unlink()
    frame = pd.DataFrame(stored["history"], dtype=float)
    frame.insert(0, "epoch", range(1, len(frame) + 1))
    frame.to_csv(folder / "history.csv", index=False)
    (folder / "spec.json").write_text(json.dumps(stored["spec"], indent=1))
    (folder / "circumstances.json").write_text(json.dumps(stored["circumstances"], indent=1))
    numbers = {"epochs": len(frame), "test_size": stored["test_size"]}
    summary = {"status": "finished", "message": "", "numbers": numbers}
    (folder / "summary.json").write_text(json.dumps(summary, indent=1))


@dataclass(frozen=True)
class Made:
    """A store with a run of each kind, and the histories that they have or will have."""

    root: Path
    histories: dict[str, pd.DataFrame]

    def copy(self, root: Path) -> Store:
        shutil.copytree(self.root, root)
        return Store(root)


def make(tmp_path_factory) -> Made:
    store, folder = Store(tmp_path_factory.mktemp("made")), tmp_path_factory.mktemp("whole")
    histories = {}
    for name, spec in SPECS.items():
        if name == "diverged":
            with pytest.raises(TrainingDiverged):
                store.obtain(spec, checkpoint_seconds=0)
            continue
        histories[name] = Store(folder).obtain(spec).history
        if name == "interrupted":
            with pytest.raises(Interrupted):
                store.obtain(spec, checkpoint_seconds=0, on_epoch=interrupt_after(1))
        else:
            store.obtain(spec, keep=kept)
    into_first_format(store.folder(SPECS["first format"]))
    statuses = {run.fingerprint: run.status for run in store.runs()}
    assert [statuses[spec.fingerprint] for spec in SPECS.values()] == [
        *["finished"] * 3,
        "interrupted",
        "diverged",
    ]
    return Made(store.root, histories)


def same_numbers(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one.drop(columns=CLOCK), other.drop(columns=CLOCK), check_exact=True)
