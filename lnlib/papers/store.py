"""The store: one folder a run, named by its fingerprint.

A finished run is returned, an interrupted one continued, a new one trained. One process at a time works on a
run: others wait for it. What cannot be read is named in listings, and set aside where it is asked for.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from lnlib.catalog import METHODS
from lnlib.device import default_device
from lnlib.errors import LnlibError, TrainingDiverged, unknown_name
from lnlib.papers import record, run_folder
from lnlib.papers.record import CHECKPOINT, SWEEP, Circumstances, Damaged, Record
from lnlib.papers.run_folder import LAST_EPOCHS, SET_ASIDE, Arrays, DamagedRun, Result, in_a_sentence, locked
from lnlib.papers.spec import Spec, Start
from lnlib.training import Epoch, Run

__all__ = ["LAST_EPOCHS", "SET_ASIDE", "Circumstances", "DamagedRun", "Result", "Store", "StoredRun"]
OnEpoch = Callable[[Epoch], None]
Keep = Callable[[Run], Arrays]
"""Arrays of a run's end to store with it, by name."""
Status = Literal["finished", "diverged", "running", "interrupted", "damaged"]


@dataclass(frozen=True)
class StoredRun:
    """What a listing of the store says of a run: read from its record only."""

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
    """A folder of runs, by default `runs/` in the working folder or what LNLIB_RUNS says.

    Raises `LnlibError` where that can be no folder.
    """

    def __init__(self, root: Path | str | None = None) -> None:
        chosen = root or os.environ.get("LNLIB_RUNS") or "runs"
        why = "it is not a folder"
        try:
            self.root = Path(chosen).expanduser()
            possible = self.root.is_dir() or not self.root.exists()
        except (OSError, RuntimeError, ValueError) as error:  # as for a user who does not exist
            possible, why = False, str(error)
        if not possible:
            at = repr(str(chosen))
            raise LnlibError(f"runs cannot be kept in {at}: {why}; name a folder, in LNLIB_RUNS say")

    def folder(self, spec: Spec) -> Path:
        """Where a run lives."""
        return self.root / spec.fingerprint

    def find(self, spec: Spec) -> Result | None:
        """The finished run, or None. A damaged one is set aside with the warning `DamagedRun`."""
        folder = self.folder(spec)
        try:
            result = run_folder.read_result(spec, folder)
        except Damaged:
            with locked(folder):
                return run_folder.checked_result(spec, folder)
        if result and (folder / CHECKPOINT).exists():  # its trainer was killed before the last step
            with suppress(LnlibError), locked(folder):
                return run_folder.checked_result(spec, folder)
        return result

    def failure(self, spec: Spec) -> str:
        """Why the run cannot be finished, where an earlier try has diverged; else empty."""
        with suppress(Damaged):
            stored = record.read(self.folder(spec))
            return stored.message if stored and stored.status == "diverged" else ""
        return ""

    def obtain(
        self,
        spec: Spec,
        device: torch.device | None = None,
        *,
        on_epoch: OnEpoch | None = None,
        **options: Any,
    ) -> Result:
        """The run's result: what `training` returns, whose epochs `on_epoch` is told; `options` are its."""
        with closing(self.training(spec, device, **options)) as training:
            while True:
                try:
                    epoch = next(training)
                except StopIteration as ended:
                    result: Result = ended.value
                    return result
                if on_epoch:
                    on_epoch(epoch)

    def training(
        self,
        spec: Spec,
        device: torch.device | None = None,
        *,
        checkpoint_every: int = 1,
        checkpoint_seconds: float = 5.0,
        on_wait: Callable[[Spec], None] | None = None,
        keep: Keep | None = None,
    ) -> Generator[Epoch, None, Result]:
        """Train what is missing of a run, continuing from the last checkpoint where there is one; gives the
        epochs as they end, and returns the result. The runs that it begins from are found or made first.

        A checkpoint is due every `checkpoint_every` epochs, but not within `checkpoint_seconds` of the last.
        Where another process is at work on the run, `on_wait` is called and its result awaited. `keep` gives
        arrays to store with the run when it ends. A damaged folder or checkpoint is set aside with the
        warning `DamagedRun`. Raises `TrainingDiverged` where the loss is not finite, now or when the run was
        tried before, and `LnlibError` without space or permission, before training where that can be known;
        finished runs stay.
        """
        if found := self.find(spec):
            return found

        def again(source: Spec) -> Result:
            often = {"checkpoint_every": checkpoint_every, "checkpoint_seconds": checkpoint_seconds}
            return self.obtain(source, device, on_epoch=None, on_wait=on_wait, **often)

        sources = {name: again(source) for name, source in spec.sources().items()}
        folder = self.folder(spec)
        with locked(folder, partial(on_wait, spec) if on_wait else None):
            if found := run_folder.checked_result(spec, folder):
                return found
            if failure := self.failure(spec):
                raise TrainingDiverged(failure)
            run = run_folder.prepared(spec, folder, device or default_device(), _start(spec, sources, again))
            saved = time.monotonic()
            try:
                for epoch in run:
                    due = epoch.epoch % checkpoint_every == 0
                    if due and not run.finished and time.monotonic() - saved >= checkpoint_seconds:
                        run.save(folder / CHECKPOINT)
                        saved = time.monotonic()
                    yield epoch
            except TrainingDiverged as error:
                record.write(Record(spec=spec.spelled_out(), status="diverged", message=str(error)), folder)
                raise
            return run_folder.finish(spec, folder, run, keep(run) if keep else {})

    def obtain_together(
        self,
        specs: Sequence[Spec],
        device: torch.device | None = None,
        checkpoint_seconds: float = 5.0,
        on_epochs: Callable[[Sequence[Epoch]], None] | None = None,
        on_wait: Callable[[Spec], None] | None = None,
    ) -> list[Result]:
        """The results of runs with equal settings, as the folds of a data set: those that are missing train
        in one sweep, which goes on where it was interrupted. Otherwise as `obtain`; but of runs that diverge
        nothing is kept.
        """
        missing = [spec for spec in specs if self.find(spec) is None]
        if not missing:
            return [self.obtain(spec) for spec in specs]

        def again(source: Spec) -> Result:
            return self.obtain(source, device, checkpoint_seconds=checkpoint_seconds, on_wait=on_wait)

        sources = {
            name: self.obtain_together(
                [spec.sources()[name] for spec in missing], device, checkpoint_seconds, on_wait=on_wait
            )
            for name in missing[0].sources()
        }
        starts = {
            spec.fingerprint: _start(spec, {name: own[place] for name, own in sources.items()}, again)
            for place, spec in enumerate(missing)
        }
        with ExitStack() as locks:
            for spec in sorted(missing, key=lambda spec: spec.fingerprint):  # so that no two wait in a circle
                locks.enter_context(locked(self.folder(spec), partial(on_wait, spec) if on_wait else None))
            left = [spec for spec in missing if run_folder.checked_result(spec, self.folder(spec)) is None]
            if left:
                begun = [starts[spec.fingerprint] for spec in left]
                folders = [self.folder(spec) for spec in left]
                runs = run_folder.prepared_together(left, folders, device or default_device(), begun)
                saved = time.monotonic()
                for epochs in runs.epochs():
                    if not runs.finished and time.monotonic() - saved >= checkpoint_seconds:
                        runs.save(folders[0] / SWEEP)
                        saved = time.monotonic()
                    if on_epochs:
                        on_epochs(epochs)
                for spec, folder, run in zip(left, folders, runs, strict=True):
                    run_folder.finish(spec, folder, run, {})
                with suppress(OSError):
                    (folders[0] / SWEEP).unlink(missing_ok=True)
        return [self.obtain(spec, device, on_wait=on_wait) for spec in specs]

    def runs(self) -> list[StoredRun]:
        """All runs, by fingerprint; reads one file a run and changes nothing."""
        return [self._listed(name) for name in self._names()]

    def named(self, fingerprint: str) -> StoredRun:
        """The run whose fingerprint is or begins with `fingerprint`; raises `UnknownName` where none or more
        than one does.
        """
        names = self._names()
        found = [name for name in names if name.startswith(fingerprint)]
        if len(found) != 1 or not fingerprint:
            raise unknown_name("run" if not found else "run, too short to tell", fingerprint, found or names)
        return self._listed(found[0])

    def history(self, stored: StoredRun) -> pd.DataFrame:
        """One row an epoch of a finished run; raises `LnlibError` for another."""
        with suppress(Damaged):
            found = record.read(self.root / stored.fingerprint)
            if found and found.status == "finished":
                return found.frame()
        name, status = stored.fingerprint, stored.status
        raise LnlibError(f"the run {name} is {status}, not finished; train it to its end")

    def compare(self, one: str, other: str) -> pd.DataFrame:
        """What differs in two runs' specs, and their numbers: rows by name, one column a run.

        Raises `UnknownName` for a fingerprint that is not there, and `LnlibError` for a damaged run.
        """
        pair = [self.named(one), self.named(other)]
        for stored in pair:
            if stored.status == "damaged":
                raise LnlibError(f"the run {stored.fingerprint} is damaged: {stored.message}; remove it")
        fields = [flat(stored.spec) for stored in pair]
        names = [name for name in {**fields[0], **fields[1]} if fields[0].get(name) != fields[1].get(name)]
        rows = {name: [values.get(name) for values in fields] for name in names}
        for name in {**pair[0].numbers, **pair[1].numbers}:
            rows[name] = [stored.numbers.get(name) for stored in pair]
        columns = [stored.fingerprint for stored in pair]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=object)

    def remove(self, fingerprint: str) -> StoredRun:
        """Delete one run, finished, unfinished or damaged; raises `UnknownName` as `named`, and `LnlibError`
        while it trains.
        """
        stored = self.named(fingerprint)
        folder = self.root / stored.fingerprint

        def refuse() -> None:
            name = stored.fingerprint
            raise LnlibError(f"the run {name} is being trained by another process; stop that one first")

        with locked(folder, refuse), in_a_sentence(f"remove {folder}"):
            if folder.is_dir() and not folder.is_symlink():
                run_folder.let_owner_in(folder)
                shutil.rmtree(folder)
            else:
                folder.unlink()
        return stored

    def _names(self) -> list[str]:
        with in_a_sentence(f"read {self.root}"):
            names = os.listdir(self.root) if self.root.exists() else []
        return sorted(filter(run_folder.is_fingerprint, names))

    def _listed(self, name: str) -> StoredRun:
        folder = self.root / name
        try:
            found = record.read(folder)
        except Damaged as error:
            return StoredRun(name, "damaged", {}, message=str(error))
        spec = found.spec.model_dump(mode="json") if found else {}
        if found and found.status != "unfinished":
            return StoredRun(name, found.status, spec, found.numbers, found.message)
        return StoredRun(name, "running" if run_folder.is_locked(folder) else "interrupted", spec)


def _start(spec: Spec, sources: Mapping[str, Result], again: Callable[[Spec], Result]) -> Start | None:
    best = {name: source.with_weights(again).best_states() for name, source in sources.items()}
    return spec.member_parts()[0].begun_from(best) if best else None


def flat(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec with its options as fields of their own: "method_options.beta"."""
    flat: dict[str, Any] = {}
    for name, value in spec.items():
        options = isinstance(value, dict)
        flat |= {f"{name}.{key}": part for key, part in value.items()} if options else {name: value}
    return flat
