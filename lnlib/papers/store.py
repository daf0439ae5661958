"""The store: one folder a run, named by its fingerprint, with its spec, its history, its best weights and,
until it is finished, its last checkpoint.

A finished run is returned, an interrupted one continued, a new one trained. Files are written whole and
renamed into place; the summary comes last and says that the run is finished. One process at a time works on a
run: others wait for it.
"""

import json
import os
import platform
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor

from lnlib.catalog import METHODS
from lnlib.device import default_device, describe, processor
from lnlib.errors import CheckpointError, InvalidValue, LnlibError, TrainingDiverged, unknown_name
from lnlib.files import expanded, whole_file, write_text
from lnlib.papers.spec import Spec
from lnlib.training import Epoch, Training, checkpoint

OnEpoch = Callable[[Epoch], None]
Status = Literal["finished", "diverged", "running", "interrupted", "damaged"]
Arrays = Mapping[str, NDArray[Any]]
States = dict[str, dict[str, Tensor]]
SPEC, SUMMARY, HISTORY, WHERE = "spec.json", "summary.json", "history.csv", "circumstances.json"
CHECKPOINT, BEST, ARRAYS = "checkpoint.pt", "best.pt", "arrays.npz"
LOCKS, SET_ASIDE = ".locks", "set-aside"
LAST_EPOCHS = 10


class DamagedRun(UserWarning):
    """A stored run that could not be read, and where it has been moved."""


@dataclass(frozen=True)
class Circumstances:
    """Where a run's numbers come from: invariant only under the same of these."""

    device: str
    threads: int
    mode: str
    python_version: str
    torch_version: str
    lnlib_version: str
    processor: str = ""
    instructions: str = ""
    """PyTorch's choice for the processor, as AVX2; like the processor's name unknown in older stores."""

    @classmethod
    def here(cls, device: torch.device, mode: str = "solo") -> "Circumstances":
        """Those of this process."""
        return cls(
            describe(device),
            torch.get_num_threads(),
            mode,
            platform.python_version(),
            torch.__version__,
            version("lnlib"),
            processor(),
            torch.backends.cpu.get_cpu_capability(),
        )


@dataclass(frozen=True)
class Result:
    """A finished run: its spec, one row an epoch, and the circumstances it was trained in."""

    run: Spec
    history: pd.DataFrame
    circumstances: Circumstances
    folder: Path
    test_size: int
    """How many images the test accuracies are shares of."""

    @property
    def best(self) -> "pd.Series[Any]":
        """The row of the epoch with the best noisy-validation accuracy, the first of equals."""
        return self.history.loc[self.history["validation_accuracy"].idxmax()]

    @property
    def last(self) -> float:
        """The mean test accuracy of the last ten evaluated epochs, or of all where there are fewer."""
        return float(self.history["test_accuracy"].dropna().tail(LAST_EPOCHS).mean())

    def best_states(self) -> States:
        """The weights and buffers of that epoch, by network, on the CPU; raises `CheckpointError`."""
        return _best_states(self.folder)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `Store.obtain` was told to keep, by name; empty when nothing."""
        path = self.folder / ARRAYS
        if not path.exists():
            return {}
        with np.load(path) as stored:
            return {name: stored[name] for name in stored.files}


@dataclass(frozen=True)
class StoredRun:
    """What a listing of the store says of a run: read from its small files only."""

    fingerprint: str
    status: Status
    spec: Mapping[str, Any] = field(repr=False)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """of a finished run: epochs, best_epoch, and the accuracies at the best noisy-validation epoch"""
    message: str = ""

    @property
    def method(self) -> str:
        """The method with the options that differ from its defaults: "limit(beta=3.0)"."""
        name, options = self.spec.get("method", ""), self.spec.get("method_options", {})
        # As the spec has come back from its file: lists in place of tuples.
        usual = json.loads(json.dumps(asdict(METHODS[name].load()()))) if name in METHODS else {}
        changed = [f"{key}={value}" for key, value in options.items() if usual.get(key, self) != value]
        return f"{name}({', '.join(changed)})" if changed else name


class Store:
    """A folder of runs, by default `runs/` in the working folder or what LNLIB_RUNS says."""

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = expanded(root or os.environ.get("LNLIB_RUNS") or "runs")
        if self.root.exists() and not self.root.is_dir():
            raise InvalidValue(f"runs need a folder, got the file {self.root}; set LNLIB_RUNS to another")

    def folder(self, run: Spec) -> Path:
        """Where a run lives."""
        return self.root / run.fingerprint

    def find(self, run: Spec) -> Result | None:
        """The finished run, or None. A damaged one is set aside with the warning `DamagedRun`."""
        folder = self.folder(run)
        if not folder.exists():
            return None
        try:
            return _read(run, folder)
        except _Damaged:
            with self._locked(run):
                return self._checked(run)

    def failure(self, run: Spec) -> str:
        """Why the run cannot be finished, where an earlier try has diverged; else empty."""
        summary = _json(self.folder(run) / SUMMARY)
        return summary["message"] if summary.get("status") == "diverged" else ""

    def obtain(
        self,
        run: Spec,
        device: torch.device | None = None,
        checkpoint_every: int = 1,
        checkpoint_seconds: float = 5.0,
        on_epoch: OnEpoch | None = None,
        on_wait: Callable[[Spec], None] | None = None,
        keep: Callable[[Training], Arrays] | None = None,
    ) -> Result:
        """The run's result, training what is missing and continuing from the last checkpoint where there is
        one; the runs that it begins from are found or made first.

        A checkpoint is due every `checkpoint_every` epochs, but not within `checkpoint_seconds` of the last.
        Where another process is at work on the run, `on_wait` is called and its result awaited. `keep` gives
        arrays to store with the run when it ends. A damaged folder or checkpoint is set aside with the
        warning `DamagedRun`. Raises `TrainingDiverged` where the loss is not finite, now or when the run was
        tried before, and `LnlibError` without space or permission; finished runs stay.
        """
        if found := self.find(run):
            return found
        again = partial(
            self.obtain,
            device=device,
            checkpoint_every=checkpoint_every,
            checkpoint_seconds=checkpoint_seconds,
            on_wait=on_wait,
        )
        sources = {name: again(source) for name, source in run.sources().items()}
        with self._locked(run, on_wait):
            if found := self._checked(run):
                return found
            if failure := self.failure(run):
                raise TrainingDiverged(failure)
            start = self._start(run, sources, again)
            training = self._prepared(run, device or default_device(), start)
            saved = time.monotonic()
            try:
                for epoch in training:
                    due = epoch.epoch % checkpoint_every == 0
                    if due and not training.finished and time.monotonic() - saved >= checkpoint_seconds:
                        training.save(self.folder(run) / CHECKPOINT)
                        saved = time.monotonic()
                    if on_epoch:
                        on_epoch(epoch)
            except TrainingDiverged as error:
                summary = {"status": "diverged", "message": str(error)}
                write_text(self.folder(run) / SUMMARY, json.dumps(summary, indent=1))
                raise
            return self._finish(run, training, keep(training) if keep else {})

    def runs(self) -> list[StoredRun]:
        """All runs, by fingerprint; reads two small files a run and changes nothing."""
        if not self.root.is_dir():
            return []
        with os.scandir(self.root) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and _is_fingerprint(entry.name))
        return [self._listed(name) for name in names]

    def named(self, fingerprint: str) -> StoredRun:
        """The run whose fingerprint is or begins with `fingerprint`; raises `UnknownName` where none or more
        than one does.
        """
        found = [name for name in self._names() if name.startswith(fingerprint)]
        if len(found) != 1 or not fingerprint:
            raise unknown_name(
                "run" if not found else "run, too short to tell", fingerprint, found or self._names()
            )
        return self._listed(found[0])

    def history(self, stored: StoredRun) -> pd.DataFrame:
        """One row an epoch of a finished run; raises `LnlibError` for another."""
        if stored.status != "finished":
            raise LnlibError(
                f"the run {stored.fingerprint} is {stored.status}, not finished; train it to its end"
            )
        return pd.read_csv(self.root / stored.fingerprint / HISTORY)

    def compare(self, one: str, other: str) -> pd.DataFrame:
        """What differs in two runs' specs, and their numbers: rows by name, one column a run.

        Raises `UnknownName` for a fingerprint that is not there.
        """
        pair = [self.named(one), self.named(other)]
        flat = [_flat(stored.spec) for stored in pair]
        names = [name for name in {**flat[0], **flat[1]} if flat[0].get(name) != flat[1].get(name)]
        rows = {name: [values.get(name) for values in flat] for name in names}
        rows |= {
            name: [stored.numbers.get(name) for stored in pair]
            for name in {**pair[0].numbers, **pair[1].numbers}
        }
        return pd.DataFrame.from_dict(
            rows, orient="index", columns=[one.fingerprint for one in pair], dtype=object
        )

    def remove(self, fingerprint: str) -> StoredRun:
        """Delete one run, finished or not; raises `UnknownName` as `named`, and `LnlibError` while it
        trains.
        """
        stored = self.named(fingerprint)
        lock = self._lock(stored.fingerprint)
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(self.root / stored.fingerprint)
        except Timeout as error:
            raise LnlibError(
                f"the run {stored.fingerprint} is being trained by another process; stop that one first"
            ) from error
        return stored

    def _names(self) -> list[str]:
        return [path.name for path in sorted(self.root.glob("*")) if _is_fingerprint(path.name)]

    def _listed(self, name: str) -> StoredRun:
        folder = self.root / name
        try:
            spec = _json(folder / SPEC)
            summary = _json(folder / SUMMARY)
        except _Damaged as error:
            return StoredRun(name, "damaged", {}, message=str(error))
        if summary:
            return StoredRun(name, summary["status"], spec, summary.get("numbers", {}), summary["message"])
        return StoredRun(name, "running" if self._is_locked(name) else "interrupted", spec)

    # One process at a time.

    def _lock(self, name: str) -> FileLock:
        locks = self.root / LOCKS
        try:
            locks.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LnlibError(
                f"could not write {locks}: {error}; free some space or choose a folder you may write to"
            ) from error
        return FileLock(locks / f"{name}.lock", thread_local=False)

    @contextmanager
    def _locked(self, run: Spec, on_wait: Callable[[Spec], None] | None = None) -> Iterator[None]:
        lock = self._lock(run.fingerprint)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if on_wait:
                on_wait(run)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _is_locked(self, name: str) -> bool:
        if not (self.root / LOCKS / f"{name}.lock").exists():
            return False
        try:
            with self._lock(name).acquire(timeout=0):
                return False
        except Timeout:
            return True

    # Reading and writing one run, while its lock is held.

    def _checked(self, run: Spec) -> Result | None:
        try:
            return _read(run, self.folder(run))
        except _Damaged as error:
            self._set_aside(self.folder(run), str(error))
            return None

    def _set_aside(self, path: Path, why: str) -> None:
        """Move a folder, or a file of a run, where it is kept but not found."""
        name = path.name if path.parent == self.root else f"{path.parent.name}-{path.name}"
        number = 1
        while (kept := self.root / SET_ASIDE / f"{name}-{number}").exists():
            number += 1
        kept.parent.mkdir(exist_ok=True)
        os.replace(path, kept)
        warnings.warn(f"{why}; it is now {kept}, and the run is made again", DamagedRun, stacklevel=4)

    def _start(
        self, run: Spec, sources: Mapping[str, Result], again: Callable[[Spec], Result]
    ) -> dict[str, Mapping[str, Tensor]] | None:
        best = {}
        for name, source in sources.items():
            try:
                best[name] = source.best_states()
            except CheckpointError as error:
                with self._locked(source.run):
                    self._set_aside(source.folder, str(error))
                best[name] = again(source.run).best_states()
        return run.member_parts()[0].begun_from(best) if best else None

    def _prepared(
        self, run: Spec, device: torch.device, start: Mapping[str, Mapping[str, Tensor]] | None
    ) -> Training:
        folder = self.folder(run)
        training = run.training(device, start)
        for unfinished in folder.glob(".*"):  # what a killed process was writing
            unfinished.unlink()
        write_text(folder / SPEC, run.spelled_out().model_dump_json(indent=1))
        if (folder / CHECKPOINT).exists():
            try:
                training.load(folder / CHECKPOINT)
            except CheckpointError as error:
                self._set_aside(folder / CHECKPOINT, str(error).partition(";")[0])
        return training

    def _finish(self, run: Spec, training: Training, arrays: Arrays) -> Result:
        folder = self.folder(run)
        circumstances = Circumstances.here(training.device, training.mode)
        history = training.history.to_frame()
        best = training.history.best
        if arrays:
            with whole_file(folder / ARRAYS) as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        checkpoint.write({"fingerprint": folder.name, "networks": training.best_states[0]}, folder / BEST)
        write_text(folder / WHERE, json.dumps(asdict(circumstances), indent=1))
        write_text(folder / HISTORY, history.to_csv(index=False))
        numbers = {
            "epochs": len(history),
            "best_epoch": best.epoch if best else None,
            "validation_accuracy": best.validation_accuracy if best else None,
            "test_accuracy": best.test_accuracy if best else None,
            "last_test_accuracy": training.history[-1].test_accuracy,
            "test_size": len(training.member.task.test),
            "seconds": round(float(history[["seconds", "evaluation_seconds"]].to_numpy().sum()), 3),
            "device": circumstances.device,
        }
        summary = {"status": "finished", "message": "", "numbers": numbers}
        write_text(folder / SUMMARY, json.dumps(summary, indent=1))
        (folder / CHECKPOINT).unlink(missing_ok=True)
        result = _read(run, folder)
        assert result is not None
        return result


class _Damaged(Exception):
    """A run folder that cannot be what the store wrote."""


def _is_fingerprint(name: str) -> bool:
    return len(name) == 16 and not set(name) - set("0123456789abcdef")


def _json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _Damaged(f"{path} cannot be read ({type(error).__name__})") from error
    if not isinstance(value, dict):
        raise _Damaged(f"{path} does not hold what it should")
    return value


def _read(run: Spec, folder: Path) -> Result | None:
    """The finished run in a folder, None where it is unfinished; raises `_Damaged`."""
    if not folder.exists():
        return None
    spec, summary = _json(folder / SPEC), _json(folder / SUMMARY)
    if spec:
        try:
            found = Spec.parse(spec).fingerprint
        except LnlibError as error:
            raise _Damaged(f"{folder / SPEC} is no run: {error}") from error
        if found != folder.name:
            raise _Damaged(f"{folder} holds the run {found}")
    if summary.get("status") != "finished":
        return None
    try:
        circumstances = Circumstances(**_json(folder / WHERE))
        history = pd.read_csv(folder / HISTORY)
        numbers = summary["numbers"]
        whole = len(history) == numbers["epochs"] and {"validation_accuracy", "test_accuracy"} <= {*history}
        test_size = int(numbers["test_size"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _Damaged(f"{folder} cannot be read ({type(error).__name__}: {error})") from error
    if not (spec and whole):
        raise _Damaged(f"{folder} lacks a part of its run")
    return Result(run, history, circumstances, folder, test_size)


def _best_states(folder: Path) -> States:
    states: States = checkpoint.read(folder / BEST, folder.name, torch.device("cpu"))["networks"]
    return states


def _flat(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec with its options as fields of their own: "method_options.beta"."""
    flat: dict[str, Any] = {}
    for name, value in spec.items():
        flat |= (
            {f"{name}.{key}": part for key, part in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    return flat
