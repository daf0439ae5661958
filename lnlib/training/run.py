"""A training run, alone or one of many: `fit` and `sweep` train, `Run` and `Runs` are what they return."""

import copy
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import pandas as pd
import torch
from torch import Tensor

from lnlib.data.task import Split, Task
from lnlib.device import mixed_precision
from lnlib.errors import InvalidValue, unknown_name
from lnlib.methods.base import Method, Nets
from lnlib.nets import Net, stacked
from lnlib.training import checkpoint, loop
from lnlib.training.asked import device_of, member_of, settings_of, shown
from lnlib.training.history import Epoch, History
from lnlib.training.images import Images, Resident
from lnlib.training.networks import Alone, Stacked, Weights
from lnlib.training.settings import Member
from lnlib.training.state import OnStep, State
from lnlib.training.watching import watched

Mode = Literal["auto", "stacked", "solo"]
TIMED_STEPS = 3


def fit(method: Method | str, task: Task, **options: Any) -> "Run":
    """Train `method` on `task` to the end; `options` are those of `Run`: seed, start, device, on_step, and
    the fields of `Settings` (net, optimizer, epochs, batch_size, ...).

    Raises `InvalidValue` for what cannot train, and `TrainingDiverged` where the loss is no finite number.
    """
    return Run(method, task, **options).train()


def sweep(members: Sequence[Member], **options: Any) -> "Runs":
    """Train many runs with the same settings to the end; `options` are those of `Runs`."""
    return Runs(members, **options).train()


class Run:
    """One training run. Iterating it trains, an epoch at a time, and gives the records; breaking out leaves a
    run that can go on, or be saved with `save` and go on elsewhere with `load`.

    `start` gives state dicts by network to begin from; what a network has beyond them keeps its fresh values.
    Nothing trains until the run is iterated, or told to `train`. Of a stack of runs, all advance with the one
    that is iterated: train them together by `Runs.epochs`.
    """

    def __init__(
        self,
        method: Method | str,
        task: Task,
        *,
        seed: int = 0,
        start: Weights | None = None,
        device: torch.device | str | None = None,
        on_step: OnStep | None = None,
        **settings: Any,
    ) -> None:
        member, known = member_of(method, task, seed, start), settings_of(settings)
        where = device_of(device)
        self._hold(State(Alone, [member], known, where, Resident(where, known.dtype), on_step), 0)

    def _hold(self, state: State, position: int) -> "Run":
        self.state, self.position, self.member = state, position, state.members[position]
        return self

    method = property(lambda self: self.member.method)
    task = property(lambda self: self.member.task)
    settings = property(lambda self: self.state.settings)
    device = property(lambda self: self.state.device)

    @property
    def mode(self) -> str:
        """How it trains: "solo" or "stacked"."""
        return self.state.networks.mode

    # Training.

    def __iter__(self) -> Iterator[Epoch]:
        for records in loop.epochs(self.state):
            yield records[self.position]

    def train(self) -> "Run":
        """Train to the end; a passing line tells a person who watches how far it has come."""
        with watched([self.state]):
            for _ in self:
                pass
        return self

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or there is no patience left."""
        return self.state.finished

    # What it knows.

    @property
    def records(self) -> History:
        """One record an epoch."""
        return self.state.histories[self.position]

    @property
    def history(self) -> pd.DataFrame:
        """One row an epoch."""
        return self.records.to_frame()

    @property
    def best(self) -> Epoch | None:
        """The record with the best accuracy on the noisy validation split, the first of equals."""
        return self.records.best

    @property
    def nets(self) -> dict[str, Net]:
        """The networks by name; what is done to their tensors in place is done to the run."""
        return self.state.networks.nets(self.position)

    @property
    def weights(self) -> Weights:
        """A copy of the present weights and buffers by network."""
        return self.state.networks.weights(self.position)

    @property
    def best_weights(self) -> Weights | None:
        """Those of the epoch `best`; None before there is one."""
        return self.state.best[self.position]

    def set_weights(self, weights: Weights) -> "Run":
        """Take other weights and buffers, by network: `best_weights`, or those of a run like this one."""
        self.state.networks.set_weights(self.position, weights)
        return self

    @torch.no_grad()
    def sample_weights(self) -> Tensor | None:
        """What each training example (N,) counts at present, with mean one, on the CPU; None where all count
        alike.
        """
        found = self.method.sample_weights(self.nets, self.state.data.whole(self.task))
        return None if found is None else found.cpu()

    def predict(self, images: Tensor) -> Tensor:
        """Eval-mode logits (n, K), on the CPU, of normalised images (n, C, H, W)."""
        images = images.to(self.device, self.settings.dtype)
        return self._in_parts(self.method.predict, torch.arange(len(images), device=self.device), images)

    def logits(self, split: Split | str = "test", network: str | None = None) -> Tensor:
        """Eval-mode logits (n, K), on the CPU, for a split of the task ("train", "validation", "meta" or
        "test"): what the method predicts, or the logits of one of its networks.

        Raises `UnknownName` for a split that the task lacks and for a network that the method does not train.
        """
        trained = {name for phase in self.state.networks.phases for name in phase.networks}
        if network is not None and network not in trained:
            raise unknown_name(f"network of {self.method.label}", network, trained)
        chosen = self.task.split(split) if isinstance(split, str) else split
        rows = chosen.index.to(self.device)
        images = self.state.data.test if chosen is self.task.test else self.state.data.train
        return self._in_parts(self.method.predict if network is None else _logits_of(network), rows, images)

    @torch.no_grad()
    def _in_parts(self, predict: Callable[[Nets, Tensor], Tensor], rows: Tensor, images: Images) -> Tensor:
        self.state.networks.train(False)
        nets = self.nets
        with mixed_precision(self.device, self.settings.precision):
            parts = [predict(nets, x) for x in self.state.data.in_parts(rows, images)]
        return torch.cat(parts).to(self.settings.dtype).cpu()

    # Checkpoints.

    def save(self, path: Path | str) -> None:
        """Write a checkpoint from which `load` goes on as if the run had never stopped; raises as
        `whole_file`.
        """
        checkpoint.write({"fingerprint": self.fingerprint, **self.state.saved(self.position)}, Path(path))

    def load(self, path: Path | str) -> "Run":
        """Go on from a checkpoint; raises `CheckpointError` for one that is missing, damaged or another's."""
        saved = checkpoint.read(Path(path), self.fingerprint, self.device)
        self.state.restore(self.position, saved)
        return self

    @property
    def fingerprint(self) -> str:
        """A short hash of what a checkpoint must share with a run: member, settings, mode, kind of device."""
        task, start = self.task, self.member.start
        member = self.method, task.dataset.name, task.image_shape, task.label_hash, self.member.seed
        begun = tensor_hash(start) if start else ""
        text = repr((member, begun, self.settings, self.mode, self.device.type))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Runs(Sequence[Run]):
    """Many runs with the same settings, in the order of their members.

    Members that share method, image shape and training size train as one stack where a timed step shows that
    this is faster, or where `mode` says so ("stacked", "solo"); `Run.mode` says what was chosen. `settings`
    are the fields of `Settings`. Nothing trains before `train`, or before `epochs` is iterated.
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
        if mode not in ("auto", "stacked", "solo"):
            raise InvalidValue(f"mode must be 'auto', 'stacked' or 'solo', got {mode!r}; try 'auto'")
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

    def train(self) -> "Runs":
        """Train all to the end, as `Run.train` does."""
        with watched(self._states):
            for _ in self.epochs():
                pass
        return self

    def epochs(self) -> Iterator[list[Epoch]]:
        """Train all together, an epoch at a time; the last record of each."""
        loops = [loop.epochs(state) for state in self._states]
        while not all(state.finished for state in self._states):
            for each in loops:
                next(each, None)
            yield [run.records[-1] for run in self]

    def table(self, columns: Sequence[str], at: Literal["last", "best"] = "last") -> pd.DataFrame:
        """The columns of the runs' histories at their last epoch, or at the best on noisy validation: one row
        a run, by method and seed.

        Raises `UnknownName` for a column that a history lacks.
        """
        rows = []
        for run in self:
            history = run.history
            for column in columns:
                if column not in history:
                    raise unknown_name("column of a history", column, history.columns)
            epoch = run.best.epoch if at == "best" and run.best else run.records[-1].epoch
            rows.append(history.loc[history["epoch"] == epoch, list(columns)].iloc[0])
        index = pd.MultiIndex.from_tuples(
            [(run.method.label, run.member.seed) for run in self], names=["method", "seed"]
        )
        return pd.DataFrame(rows).set_axis(index)

    def save(self, path: Path | str) -> None:
        """Write one checkpoint of all runs; raises as `whole_file`."""
        saved = [run.state.saved(run.position) for run in self]
        checkpoint.write({"fingerprint": self.fingerprint, "runs": saved}, Path(path))

    def load(self, path: Path | str) -> "Runs":
        """Go on from a checkpoint of the same runs in the same modes; raises `CheckpointError`."""
        saved = checkpoint.read(Path(path), self.fingerprint, self[0].device)["runs"]
        for run, own in zip(self, saved, strict=True):
            run.state.restore(run.position, own)
        return self

    @property
    def fingerprint(self) -> str:
        """A short hash of what a checkpoint must share with the runs."""
        text = "-".join(run.fingerprint for run in self)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _logits_of(network: str) -> Callable[[Nets, Tensor], Tensor]:
    def logits(nets: Nets, x: Tensor) -> Tensor:
        found: Tensor = nets[network](x)[0]
        return found

    return logits


def _placed(group: Sequence[Member], mode: Mode, state: Callable[..., State]) -> list[tuple[State, int]]:
    """Where each of some members that could be one stack trains: a state, and its place there."""
    method = group[0].method
    stackable = method.stackable and (stacked.AVAILABLE or not method.steps_virtually)
    if stackable and mode == "stacked":
        stack = state(Stacked, group)
        return [(stack, place) for place in range(len(group))]
    first = state(Alone, group[:1])
    if stackable and mode == "auto" and len(group) > 1 and first.repeatable():
        stack = state(Stacked, group)
        if timed_step(stack) < timed_step(first) * len(group):
            return [(stack, place) for place in range(len(group))]
    return [(first, 0), *((state(Alone, [member]), 0) for member in group[1:])]


def _members(asked: Any) -> list[Member]:
    """The members of a sweep, as they are meant."""
    members = list(asked) if isinstance(asked, Iterable) else []
    if not members or not all(isinstance(member, Member) for member in members):
        raise InvalidValue(
            f"a sweep must have at least one member, got {shown(asked)}; pass a list: "
            "[Member(method, task, seed) for seed in range(3)]"
        )
    return [member_of(member.method, member.task, member.seed, member.start) for member in members]


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


def tensor_hash(state: Weights) -> str:
    """A short hash of state dicts by network."""
    digest = hashlib.sha256()
    for name in sorted(state):
        for key, value in sorted(state[name].items()):
            digest.update(f"{name}.{key}".encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
