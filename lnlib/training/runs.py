"""Many runs: `sweep` trains them, stacked where that is faster, and `Runs` is what it returns."""

import copy
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import pandas as pd
import torch

from lnlib.errors import InvalidValue, shown, unknown_name
from lnlib.files import expanded
from lnlib.nets import stacked
from lnlib.training import checkpoint, loop
from lnlib.training.asked import device_of, member_of, settings_of
from lnlib.training.history import Epoch
from lnlib.training.images import Resident
from lnlib.training.networks import Alone, Stacked
from lnlib.training.run import Run
from lnlib.training.settings import Member
from lnlib.training.state import OnStep, State
from lnlib.training.watching import watched

Mode = Literal["auto", "stacked", "solo"]
TIMED_STEPS = 3


def sweep(members: Sequence[Member], **options: Any) -> "Runs":
    """Train many runs with the same settings to the end; `options` are those of `Runs`."""
    return Runs(members, **options).train()


class Runs(Sequence[Run]):
    """Many runs with the same settings, in the order of their members.

    Members that share method, image shape and training size train as one stack where a timed step shows that
    this is faster and a GPU's memory holds it, or where `mode` says so ("stacked", "solo"); `Run.mode` says
    what was chosen. `settings` are the fields of `Settings`. Nothing trains before `train`, or before
    `epochs` is iterated.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        device: torch.device | str | None = None,
        mode: Mode = "auto",
        on_step: OnStep | None = None,
        **settings: Any,
    ) -> None:
        members = _members(members)
        if not isinstance(mode, str) or mode not in ("auto", "stacked", "solo"):
            raise InvalidValue(f"mode must be 'auto', 'stacked' or 'solo', got {shown(mode)}; try 'auto'")
        where, known = device_of(device), settings_of(settings)
        resident, made = Resident(where, known.dtype), dict[int, Run]()
        for positions in _groups(members):
            group = [members[position] for position in positions]
            common = {"device": where, "resident": resident, "on_step": on_step}
            places = _placed(group, mode, partial(State, settings=known, **common))  # type: ignore[arg-type]
            for position, place in zip(positions, places, strict=True):
                made[position] = Run.__new__(Run)._hold(*place)
        self._runs = [made[position] for position in range(len(members))]

    @classmethod
    def _of(cls, runs: Sequence[Run]) -> "Runs":
        made = cls.__new__(cls)
        made._runs = list(runs)
        return made

    def __repr__(self) -> str:
        return f"Runs({self._runs!r})"

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, place: int) -> Run: ...
    @overload
    def __getitem__(self, place: slice) -> "Runs": ...
    def __getitem__(self, place: int | slice) -> "Run | Runs":
        return Runs._of(self._runs[place]) if isinstance(place, slice) else self._runs[place]

    @property
    def _states(self) -> list[State]:
        """What trains them: one for a stack."""
        return list(dict.fromkeys(run.state for run in self))

    @property
    def finished(self) -> bool:
        """Whether all have trained to their end."""
        return all(state.finished for state in self._states)

    def train(self) -> "Runs":
        """Train all to the end, as `Run.train` does."""
        with watched(self._states):
            for _ in self.epochs():
                pass
        return self

    def epochs(self) -> Iterator[list[Epoch]]:
        """Train all together, an epoch at a time; the last record of each."""
        loops = [loop.epochs(state) for state in self._states]
        while not self.finished:
            for each in loops:
                next(each, None)
            yield [run.records[-1] for run in self]

    def table(self, columns: Sequence[str] | str, at: Literal["last", "best"] = "last") -> pd.DataFrame:
        """The columns of the runs' histories at their last epoch, or at the best on noisy validation: one row
        a run, by method and seed.

        Raises `UnknownName` for a column that a history lacks, and `InvalidValue` before there is a record.
        """
        columns = [columns] if isinstance(columns, str) else columns
        if not isinstance(columns, list | tuple) or not all(isinstance(name, str) for name in columns):
            raise InvalidValue(f"columns must be names, got {shown(columns)}; try ['test_accuracy']")
        if not isinstance(at, str) or at not in ("last", "best"):
            raise InvalidValue(f"at must be 'last' or 'best', got {shown(at)}; try 'last'")
        rows = []
        for run in self:
            if not len(run.records):
                raise InvalidValue("a table needs trained runs, got one without a record; train them first")
            history = run.history
            for column in columns:
                if column not in history:
                    raise unknown_name("column of a history", column, history.columns)
            epoch = run.best.epoch if at == "best" and run.best else run.records[-1].epoch
            rows.append(history.loc[history["epoch"] == epoch, columns].iloc[0])
        index = pd.MultiIndex.from_tuples(
            [(run.method.label, run.member.seed) for run in self], names=["method", "seed"]
        )
        return pd.DataFrame(rows).set_axis(index)

    def save(self, path: Path | str) -> None:
        """Write one checkpoint of all runs; raises as `whole_file`."""
        saved = [run.state.saved(run.position) for run in self]
        checkpoint.write({"fingerprint": self.fingerprint, "runs": saved}, expanded(path))

    def load(self, path: Path | str) -> "Runs":
        """Go on from a checkpoint of the same runs in the same modes; raises `CheckpointError`."""
        saved = checkpoint.read(expanded(path), self.fingerprint, self[0].device)
        with checkpoint.whole(expanded(path)):
            for run, own in zip(self, saved["runs"], strict=True):
                run.state.restore(run.position, own)
        return self

    @property
    def fingerprint(self) -> str:
        """A short hash of what a checkpoint must share with the runs."""
        text = "-".join(run.fingerprint for run in self)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _members(asked: Any) -> list[Member]:
    """The members of a sweep, as they are meant."""
    members = list(asked) if isinstance(asked, Iterable) else []
    if not members or not all(isinstance(member, Member) for member in members):
        raise InvalidValue(
            f"a sweep must have at least one member, got {shown(asked)}; pass a list: "
            "[Member(method, task, seed) for seed in range(3)]"
        )
    return [member_of(member.method, member.task, member.seed, member.start) for member in members]


def _placed(group: Sequence[Member], mode: Mode, state: Callable[..., State]) -> list[tuple[State, int]]:
    """Where each of some members that could be one stack trains: a state, and its place there."""
    method = group[0].method
    stackable = method.stackable and (stacked.AVAILABLE or not method.steps_virtually)
    if stackable and mode == "stacked":
        together = state(Stacked, group)
        return [(together, place) for place in range(len(group))]
    first = state(Alone, group[:1])
    several = mode == "auto" and len(group) > 1
    if stackable and several and first.repeatable() and (stack := _faster(group, first, state)):
        return [(stack, place) for place in range(len(group))]
    return [(first, 0), *((state(Alone, [member]), 0) for member in group[1:])]


def _faster(group: Sequence[Member], first: State, state: Callable[..., State]) -> State | None:
    """The members' stack, if its step takes less than those of all one by one and memory holds it."""
    try:
        stack = state(Stacked, group)
        return stack if timed_step(stack) < timed_step(first) * len(group) else None
    except torch.OutOfMemoryError:  # of a GPU, which may have room for one at a time
        return None


def timed_step(state: State) -> float:
    """The shortest of some training steps after a first one, in seconds; the runs stay as they were."""
    saved = [copy.deepcopy(state.saved(position)) for position in range(len(state.members))]
    index = state.data.of_epoch(state.streams)[0]
    loop.set_learning_rates(state, epoch=1)
    state.networks.train()
    seconds = []
    for _ in range(1 + TIMED_STEPS):
        began = time.perf_counter()
        loop.train_step(state, 1, index, next(state.data.images([index])))
        if state.device.type == "cuda":
            torch.cuda.synchronize(state.device)
        seconds.append(time.perf_counter() - began)
    for position, own in enumerate(saved):
        state.restore(position, own)
    return min(seconds[1:])


def _groups(members: Sequence[Member]) -> list[list[int]]:
    """Positions of the members that can be stacked: the same code path and the same shapes."""
    groups: dict[object, list[int]] = {}
    for position, member in enumerate(members):
        task, method = member.task, member.method
        structure = method.with_values(dict.fromkeys(method.tunable, 0.0))
        sizes = len(task.train), len(task.validation), len(task.meta) if task.meta else 0
        alone = None if method.stackable else position
        key = type(method), repr(structure), id(task.dataset), sizes, alone
        groups.setdefault(key, []).append(position)
    return list(groups.values())
