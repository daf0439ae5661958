"""Making what a table needs: every run once, those that others begin from first."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from lnlib.device import default_device
from lnlib.errors import LnlibError
from lnlib.papers.executors import Event, Executor, Work
from lnlib.papers.executors.here import Here
from lnlib.papers.run_folder import is_locked
from lnlib.papers.spec import Spec
from lnlib.papers.store import Circumstances, Keep, Result, Store
from lnlib.training.runs import timed_step

OnProgress = Callable[[str, float], None]
"""Called with what is being done and the share that is done."""
Then = Callable[[Spec, AbstractSet[str]], Iterable[Spec]]
"""What to train, too, now that a run has ended: called with it and the fingerprints of all that have."""
HERE = Here()
RETRIES = 3
"""How often a run is tried again whose process died before it got further."""
STEPS = {
    **dict.fromkeys(("limit", "soft-regularization", "co-teaching"), 2),
    **dict.fromkeys(("l2rw", "lossnet", "logitnet", "metainfonet"), 4),
    "mlnt": 20,
}
"""How many plain training steps one step of a method costs, roughly, where it is more than one."""


def in_order(specs: Iterable[Spec]) -> list[Spec]:
    """Each run once, after the ones that it begins from."""
    ordered: dict[str, Spec] = {}
    for spec in specs:
        for source in in_order(spec.sources().values()):
            ordered.setdefault(source.fingerprint, source)
        ordered.setdefault(spec.fingerprint, spec)
    return list(ordered.values())


def stages(specs: Iterable[Spec], store: Store) -> tuple[list[Spec], list[Spec]]:
    """What is missing of some runs and of those that they begin from: first the runs that begin from none,
    or from finished ones, and then the others; the longest of each first.
    """
    missing = [spec for spec in in_order(specs) if store.find(spec) is None and not store.failure(spec)]
    missing.sort(key=effort, reverse=True)
    names = {spec.fingerprint for spec in missing}
    parts: tuple[list[Spec], list[Spec]] = [], []
    for spec in missing:
        parts[not names.isdisjoint(source.fingerprint for source in spec.sources().values())].append(spec)
    return parts


def make(
    specs: Sequence[Spec],
    store: Store,
    device: torch.device | None = None,
    progress: OnProgress = lambda what, share: None,
    on_wait: Callable[[Spec], None] | None = None,
    *,
    executor: Executor = HERE,
    keep: Keep | None = None,
    then: Then = lambda spec, ended: (),
    expected: Iterable[Spec] = (),
) -> dict[str, str]:
    """Train what is missing of the specs' runs and of those that they begin from; what diverges is left out.

    `then` says which runs are wanted, too, now that one has ended; `expected` are these as far as they can be
    foreseen, for the progress. Returns the messages of the runs that diverged, by fingerprint. Raises what
    `Store.training` raises besides, and `LnlibError` for a run whose process dies again and again.
    """
    plan = _Plan(store, then)
    plan.add(specs)
    foreseen = {spec.fingerprint: spec for spec in in_order(expected) if store.find(spec) is None}
    total = sum(map(effort, {**foreseen, **plan.waiting}.values()))
    if not plan.waiting:
        return plan.diverged
    with executor.session(Work(store, device, keep, on_wait)) as session:
        while plan.waiting or plan.running:
            for spec in plan.begin(session.places):
                session.start(spec)
                progress(plan.said(), min(1.0, plan.done / total))
            for event in session.events():
                plan.hear(event)
                progress(plan.said() or event.spec.label, min(1.0, plan.done / total))
    progress(event.spec.label, 1.0)
    return plan.diverged


class _Plan:
    """Which runs wait, which train, and what has become of the others; all by their fingerprints."""

    def __init__(self, store: Store, then: Then) -> None:
        self.store, self.then = store, then
        self.waiting, self.running = dict[str, Spec](), dict[str, Event]()
        self.ended, self.diverged = set[str](), dict[str, str]()
        self.efforts, self.behind = dict[str, float](), defaultdict[str, float](float)
        self.shares, self.deaths = dict[str, float](), Counter[str]()

    def add(self, specs: Iterable[Spec]) -> None:
        """Want these runs, too."""
        for spec in in_order(specs):
            name = spec.fingerprint
            if name in self.ended or name in self.running or name in self.waiting:
                continue
            if self.store.find(spec) is not None:
                self._end(spec)
            elif failure := self._failure(spec):
                self._end(spec, failure)
            else:
                self.waiting[name], self.efforts[name] = spec, effort(spec)
                for source in spec.sources().values():
                    self.behind[source.fingerprint] = max(self.behind[source.fingerprint], self.efforts[name])

    def _failure(self, spec: Spec) -> str:
        """Why it cannot be finished: it or what it begins from has diverged."""
        names = (self.diverged.get(one.fingerprint) for one in spec.sources().values())
        return next(filter(None, names), "") or self.store.failure(spec)

    def _end(self, spec: Spec, failure: str = "") -> None:
        self.ended.add(spec.fingerprint)
        if failure:
            self.diverged[spec.fingerprint] = failure
            for name, other in [*self.waiting.items()]:
                if spec in other.sources().values():
                    del self.waiting[name]
                    self._end(other, failure)
        self.add(self.then(spec, self.ended))

    def begin(self, places: int) -> list[Spec]:
        """What to start now: in several places the longest first, counting what begins from a run, too."""
        room = places - len(self.running)
        if room <= 0:
            return []
        unfinished = self.waiting.keys() | self.running.keys()
        ready = [
            name
            for name, spec in self.waiting.items()
            if unfinished.isdisjoint(source.fingerprint for source in spec.sources().values())
        ]
        if places > 1:
            ready.sort(key=lambda name: self.efforts[name] + self.behind[name], reverse=True)
        # What another process trains comes last, or overlapping jobs would train one run after the other.
        free = (name for name in ready if not is_locked(self.store.root / name))
        chosen = [*islice(free, room)] or ready[: not self.running]
        specs = [self.waiting.pop(name) for name in chosen]
        self.running |= {name: Event("trains", spec) for name, spec in zip(chosen, specs, strict=True)}
        return specs

    def hear(self, event: Event) -> None:
        """Take account of what has become of a run; raises `LnlibError` where it is hopeless."""
        spec, name = event.spec, event.spec.fingerprint
        if event.kind == "trains":
            share = event.epoch / spec.epochs
            if share > self.shares.get(name, 0.0):
                self.shares[name], self.deaths[name] = share, 0
            self.running[name] = event
            return
        del self.running[name]
        if event.message or (event.kind == "ended" and self.store.find(spec) is not None):
            return self._end(spec, event.message)
        self.deaths[name] += 1
        if self.deaths[name] > RETRIES:
            where = event.where or "an unknown place"
            raise LnlibError(
                f"{spec.label} died {self.deaths[name]} times in the same epoch, the last time on {where}; "
                "look there for what ends it (most often too little memory), and give the command again"
            )
        self.waiting[name] = spec

    @property
    def done(self) -> float:
        """The effort so far."""
        return sum(
            own if name in self.ended else own * self.shares.get(name, 0.0)
            for name, own in self.efforts.items()
        )

    def said(self) -> str:
        """What trains, and where, in a line."""
        if not any(event.where for event in self.running.values()):
            return next((event.spec.label for event in self.running.values()), "")
        ended = len(self.ended & self.efforts.keys())
        places = [
            f"{event.where}: {event.spec.label}, epoch {event.epoch}"
            for event in sorted(self.running.values(), key=lambda event: event.where)
            if event.where
        ]
        return f"{ended} of {len(self.efforts)} runs · {' · '.join(places)}"


def effort(spec: Spec) -> float:
    """How long a run takes beside others, roughly: a plain training step costs three forward passes."""
    sizes = spec.sizes()
    an_epoch = 3 * STEPS.get(spec.method, 1) * sizes.train + sum(sizes) / spec.evaluate_every
    return float(spec.epochs) * an_epoch


class Outlook(NamedTuple):
    """How far the cells of a table are, and about how many seconds the rest takes on this machine."""

    cells_done: int
    cells: int
    runs_done: int
    runs: int
    seconds: float


def outlook(
    cells: Sequence[Sequence[Spec]],
    known: Iterable[Spec],
    store: Store,
    device: torch.device | None = None,
) -> Outlook:
    """What `make` has before it for the cells' runs; those that have diverged are done.

    The time is judged by finished runs among the `known` ones: by those of the same method, else by all; and
    without any on this machine by timed steps of cross-entropy.
    """
    device = device or default_device()
    specs = in_order(spec for cell in cells for spec in cell)
    made = [result for spec in in_order([*specs, *known]) if (result := store.find(spec))]
    ended = {result.spec.fingerprint for result in made}
    left = [spec for spec in specs if spec.fingerprint not in ended and not store.failure(spec)]
    open_runs = {spec.fingerprint for spec in left}
    done = sum(open_runs.isdisjoint(spec.fingerprint for spec in cell) for cell in cells)
    rates = _rates(made, device)
    if left and not rates:
        rates = {"": _timed_rate(left[0], device)}
    seconds = sum(effort(spec) * rates.get(spec.method, rates[""]) for spec in left)
    return Outlook(done, len(cells), len(specs) - len(left), len(specs), seconds)


def _rates(made: Sequence[Result], device: torch.device) -> dict[str, float]:
    """Seconds for a unit of effort in runs on this machine, by method, and "" for all of them together."""
    here = Circumstances.here(device)
    spent: defaultdict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
    for result in made:
        there = result.circumstances
        if (there.device, there.processor) == (here.device, here.processor):
            seconds = np.nansum(result.history[["seconds", "evaluation_seconds"]])
            for name in (result.spec.method, ""):
                spent[name] += seconds, effort(result.spec)
    return {name: float(seconds / efforts) for name, (seconds, efforts) in spent.items()}


def _timed_rate(spec: Spec, device: torch.device) -> float:
    """The same from some training steps of cross-entropy."""
    plain = spec.model_copy(update={"method": "cross-entropy", "method_options": {}, "source_options": {}})
    return timed_step(plain.new_run(device).state) / (3 * min(spec.batch_size, spec.sizes().train))
