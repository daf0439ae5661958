"""One run's folder under its lock: reading it, setting aside what is damaged, beginning and ending a run.

`record.py` says what a folder holds. Files are written whole and renamed into place; the record comes last,
and says that the run is finished.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor

from lnlib.errors import CheckpointError, LnlibError
from lnlib.files import whole_file
from lnlib.papers import record
from lnlib.papers.record import ARRAYS, BEST, CHECKPOINT, SWEEP, Circumstances, Damaged, Record
from lnlib.papers.spec import Spec, Start
from lnlib.training import Run, Runs, checkpoint
from lnlib.training.evaluate import evaluate
from lnlib.training.runs import Mode

Arrays = Mapping[str, NDArray[Any]]
States = dict[str, dict[str, Tensor]]
LOCKS, SET_ASIDE = ".locks", "set-aside"
LAST_EPOCHS = 10


class DamagedRun(UserWarning):
    """A stored run that could not be read, and where it has been moved."""


@dataclass(frozen=True)
class Result:
    """A finished run: its spec, one row an epoch, and the circumstances it was trained in."""

    spec: Spec
    history: pd.DataFrame
    circumstances: Circumstances
    folder: Path
    test_size: int
    """How many images the test accuracies are shares of."""
    weights_sha256: str | None = field(default=None, repr=False)

    @property
    def best(self) -> "pd.Series[Any]":
        """The row of the epoch with the best noisy-validation accuracy, the first of equals."""
        return self.history.loc[self.history["validation_accuracy"].idxmax()]

    @property
    def first_own_epoch(self) -> float:
        """From which epoch on the run is its method's, and not plain cross-entropy's."""
        return self.spec.member_parts()[0].first_own_epoch(self.spec.epochs, self.history)

    @property
    def last(self) -> float:
        """The mean test accuracy of the last ten evaluated epochs, or of all where there are fewer; without
        those before the method began, if it did. NaN where only the best epoch was measured.
        """
        if self.spec.measured != "all":
            return float("nan")
        evaluated = self.history.dropna(subset="test_accuracy").tail(LAST_EPOCHS)
        own = evaluated[evaluated["epoch"] >= self.first_own_epoch]
        return float((evaluated if own.empty else own)["test_accuracy"].mean())

    def best_states(self) -> States:
        """The weights and buffers of that epoch, by network, on the CPU.

        Raises `CheckpointError` where they are lost or damaged; the run is then set aside with the warning
        `DamagedRun`, so that asking for it again makes it again.
        """
        with suppress(CheckpointError):
            return self._states()
        with locked(self.folder):
            try:
                return self._states()  # another process may have made them again
            except CheckpointError as error:
                why = str(error).partition(";")[0]
                if self.folder.exists():
                    _set_aside(self.folder, why)
                raise CheckpointError(f"{why}; ask for the run again to make it again") from error

    def _states(self) -> States:
        path, cpu = self.folder / BEST, torch.device("cpu")
        states = checkpoint.read(path, self.folder.name, cpu, self.weights_sha256).get("networks")
        if not isinstance(states, dict) or not all(isinstance(state, dict) for state in states.values()):
            raise CheckpointError(f"the checkpoint {path} lacks a part; move it away to train from the start")
        return states

    def with_weights(self, again: Callable[[Spec], "Result"]) -> "Result":
        """This result, or where its weights are lost or damaged the one that `again` makes of its spec."""
        try:
            self.best_states()
        except CheckpointError:  # the run is set aside by now
            return again(self.spec)
        return self

    def run(self) -> Run:
        """The run with these weights, to be asked more; raises as `best_states`."""
        states = self.best_states()
        begun = {name: states[name] for name in self.spec.member_parts()[0].warm_start}
        run = self.spec.new_run(start=begun or None)
        return run.set_weights({name: states[name] for name in run.nets})  # older stores hold meters, too

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `Store.obtain` was told to keep, by name; empty when nothing. Raises `LnlibError` where the
        file is damaged.
        """
        path = self.folder / ARRAYS
        if not path.exists():
            return {}
        try:
            if not path.is_file():
                raise IsADirectoryError
            # NumPy leaves a file that it cannot read open.
            with path.open("rb") as file, np.load(file) as stored:
                return {name: stored[name] for name in stored.files}
        except Exception as error:  # a damaged archive can raise anything
            why, name = type(error).__name__, self.folder.name
            sentence = f"{path} cannot be read ({why}); remove the run {name} to make it again"
            raise LnlibError(sentence) from error


def devices(results: Iterable[Result]) -> str:
    """Where these runs trained, each device once: "CPU, 1 thread; NVIDIA H100"."""
    return "; ".join(dict.fromkeys(result.circumstances.device for result in results))


def _lock(folder: Path) -> Path:
    return folder.parent / LOCKS / f"{folder.name}.lock"


@contextmanager
def locked(folder: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Holds a run's lock; where another process does, calls `on_wait` and waits."""
    path = _lock(folder)
    with in_a_sentence(f"write {path.parent}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if on_wait:
                on_wait()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    if not _lock(folder).exists():
        return False
    try:
        with FileLock(_lock(folder), thread_local=False, blocking=False):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # a lock that one may not touch is none of ours
        return False


@contextmanager
def in_a_sentence(what: str) -> Iterator[None]:
    """Makes what the system says an `LnlibError`."""
    try:
        yield
    except (OSError, NotImplementedError) as error:  # some file systems have no locks
        why = getattr(error, "strerror", None) or error
        sentence = f"could not {what}: {why}; free some space or choose a folder you may write to"
        raise LnlibError(sentence) from error


def read_result(spec: Spec, folder: Path) -> Result | None:
    """The finished run in a folder, None where it is unfinished; raises `Damaged`."""
    found = record.read(folder)
    if found is None:
        return None
    if found.spec.model_dump_json() != spec.spelled_out().model_dump_json():
        # A field or an option that is new since, or a default that has changed.
        try:
            fingerprint = Spec.parse(found.spec.model_dump()).fingerprint
        except LnlibError as error:
            raise Damaged(f"{folder} holds no run: {error}") from error
        if fingerprint != folder.name:
            raise Damaged(f"{folder} holds the run {fingerprint}")
    return _result(spec, folder, found) if found.status == "finished" else None


def _result(spec: Spec, folder: Path, found: Record) -> Result:
    assert found.circumstances is not None and found.test_size is not None
    return Result(spec, found.frame(), found.circumstances, folder, found.test_size, found.weights_sha256)


def checked_result(spec: Spec, folder: Path) -> Result | None:
    """As `read_result`, and puts right what a killed or a damaged run has left."""
    try:
        result = read_result(spec, folder)
    except Damaged as error:
        _set_aside(folder, str(error))
        return None
    if result:
        with suppress(OSError):
            (folder / CHECKPOINT).unlink(missing_ok=True)
    return result


def let_owner_in(folder: Path) -> None:
    """Let the owner into a folder and those in it; without that they can neither be moved nor emptied."""
    folder.chmod(0o700)
    for inner, names, _ in os.walk(folder):
        for path in (Path(inner, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)


def _set_aside(path: Path, why: str) -> None:
    """Move a run's folder, or a file in it, where it is kept but not found."""
    is_run = is_fingerprint(path.name)
    root, name = (path.parent, path.name) if is_run else (path.parents[1], f"{path.parent.name}-{path.name}")
    number = 1
    while os.path.lexists(kept := root / SET_ASIDE / f"{name}-{number}"):
        number += 1
    with in_a_sentence(f"set {path} aside"):
        kept.parent.mkdir(exist_ok=True)
        if path.is_dir() and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            let_owner_in(path)
        os.replace(path, kept)
    warnings.warn(f"{why}; it was set aside as {kept}", DamagedRun, stacklevel=4)


def prepared(spec: Spec, folder: Path, device: torch.device, start: Start | None) -> Run:
    """The run, where it was interrupted if it was; all that it will write has been tried."""
    run = spec.new_run(device, start)
    _cleared(spec, folder)
    path = folder / CHECKPOINT
    if path.exists():
        try:
            run.load(path)
            _check_whole(run, path)
        except CheckpointError as error:
            _set_aside(path, str(error).partition(";")[0])
            run = spec.new_run(device, start)
    _try_weights(folder, run)
    return run


def prepared_together(
    specs: Sequence[Spec], folders: Sequence[Path], device: torch.device, starts: Sequence[Start | None]
) -> Runs:
    """The same of runs with equal settings that train in one sweep, whose checkpoint is the first's."""
    members = [spec.member(start) for spec, start in zip(specs, starts, strict=True)]
    made = partial(Runs, members, device=device, **specs[0].settings())
    for spec, folder in zip(specs, folders, strict=True):
        _cleared(spec, folder)
    path = folders[0] / SWEEP
    runs = _loaded(made, path) if path.exists() else made()
    for folder, run in zip(folders, runs, strict=True):
        _try_weights(folder, run)
    return runs


def _loaded(made: Callable[..., Runs], path: Path) -> Runs:
    fault = CheckpointError("")
    modes: tuple[Mode, ...] = ("stacked", "solo")  # by the timing of the process that wrote it
    for mode in modes:
        try:
            runs = made(mode=mode).load(path)
            for run in runs:
                _check_whole(run, path)
            return runs
        except CheckpointError as error:
            fault = error
    _set_aside(path, str(fault).partition(";")[0])
    return made()


def _cleared(spec: Spec, folder: Path) -> None:
    """Begin a run's record, and clear away what another try has left."""
    record.write(Record(spec=spec.spelled_out()), folder)
    with in_a_sentence(f"write {folder}"):
        for name in (BEST, ARRAYS, CHECKPOINT, SWEEP):
            if os.path.lexists(folder / name) and not (folder / name).is_file():
                _set_aside(folder / name, f"{folder / name} is not a file")
        for name in (BEST, ARRAYS, *record.OLDER):
            (folder / name).unlink(missing_ok=True)
        for name in (record.RECORD, BEST, ARRAYS, CHECKPOINT, SWEEP):
            for unfinished in folder.glob(f".{name}.????????"):  # what a killed process was writing
                if unfinished.is_file():
                    unfinished.unlink()


def _check_whole(run: Run, path: Path) -> None:
    # Without these a run would train on, and fail at its end.
    if len(run.records) != run.state.epoch or (run.best is None) != (run.best_weights is None):
        raise CheckpointError(f"the checkpoint {path} lacks a part")


def _try_weights(folder: Path, run: Run) -> None:
    # Nobody should learn at the end that there is no room for the weights.
    _write_weights(folder, run.weights)
    (folder / BEST).unlink(missing_ok=True)


def _write_weights(folder: Path, states: Start | None) -> None:
    checkpoint.write({"fingerprint": folder.name, "networks": states}, folder / BEST)


def finish(spec: Spec, folder: Path, run: Run, arrays: Arrays) -> Result:
    if arrays:
        with whole_file(folder / ARRAYS) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    _write_weights(folder, run.best_weights)
    if spec.measured != "all":
        _measure_best(run)
    finished = Record(
        spec=spec.spelled_out(),
        status="finished",
        history=record.columns(run.history),
        test_size=len(run.task.test),
        circumstances=Circumstances.here(run.device, run.mode),
        weights_sha256=checkpoint.checksum(folder / BEST),
    )
    record.write(finished, folder)
    with suppress(OSError):
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return _result(spec, folder, finished)


def _measure_best(run: Run) -> None:
    """Measure on all splits, the test set too, the one epoch that noisy validation has chosen."""
    assert run.best is not None and run.best_weights is not None
    run.set_weights(run.best_weights)
    (numbers,) = evaluate(run.state.networks, run.state.data, replace(run.settings, measured="all"))
    run.records[run.best.epoch - 1] = replace(run.best, **numbers)  # type: ignore[arg-type]


def is_fingerprint(name: str) -> bool:
    return len(name) == 16 and not set(name) - set("0123456789abcdef")
