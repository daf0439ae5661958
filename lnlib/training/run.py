"""A training run, alone or one of many: `fit` trains it, and `Run` is what it returns."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from lnlib.data.task import Split, Task
from lnlib.device import mixed_precision
from lnlib.errors import InvalidValue, shown, unknown_name
from lnlib.files import expanded
from lnlib.methods.base import Method, Nets
from lnlib.nets import Net
from lnlib.training import checkpoint, loop
from lnlib.training.asked import device_of, member_of, settings_of
from lnlib.training.history import Epoch, History
from lnlib.training.images import Images, Resident
from lnlib.training.networks import Alone, Weights
from lnlib.training.state import OnStep, State
from lnlib.training.watching import watched


def fit(method: Method | str, task: Task, **options: Any) -> "Run":
    """Train `method` on `task` to the end; `options` are those of `Run`: seed, start, device, on_step, and
    the fields of `Settings` (net, optimizer, epochs, batch_size, ...).

    Raises `InvalidValue` for what cannot train, and `TrainingDiverged` where the loss is no finite number.
    """
    return Run(method, task, **options).train()


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
        self.method, self.task = self.member.method, self.member.task
        self.settings, self.device, self.mode = state.settings, state.device, state.networks.mode
        return self

    def __repr__(self) -> str:
        where = f"{self.task.dataset.name}, seed {self.member.seed}"
        return f"Run({self.method!r}, {where}, epoch {len(self.records)} of {self.settings.epochs})"

    def __iter__(self) -> Iterator[Epoch]:
        epochs = loop.epochs(self.state)
        while not self.finished:
            yield next(epochs)[self.position]

    def train(self) -> "Run":
        """Train to the end; a passing line tells a person who watches how far it has come."""
        with watched([self.state]):
            for _ in self:
                pass
        return self

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or there is no patience left."""
        return self.state.finished or self.state.out_of_patience(self.position)

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
        """Take other weights and buffers, by network: `best_weights`, or those of a run like this one.

        Raises `InvalidValue` for any that this run's networks do not have, or not in that shape, and for some
        of them only.
        """
        named = isinstance(weights, Mapping) and all(isinstance(own, Mapping) for own in weights.values())
        different = _shapes(weights if named else {}) ^ _shapes(self.weights)
        if different:
            (name, shape), *_ = sorted(different)
            raise InvalidValue(
                f"the weights must be those of a run with the same method, net and data, got others: {name} "
                f"{shape} is in one of them only; take run.weights, or run.best_weights once there are some"
            )
        self.state.networks.set_weights(self.position, weights)
        return self

    @torch.no_grad()
    def sample_weights(self) -> Tensor | None:
        """What each training example (N,) counts, with mean one, on the CPU; None where all count alike."""
        found = self.method.sample_weights(self.nets, self.state.data.whole(self.task))
        return None if found is None else found.cpu()

    def predict(self, images: Tensor) -> Tensor:
        """Eval-mode logits (n, K), on the CPU, of normalised images, or `InvalidValue` for another shape."""
        shape = self.task.image_shape
        try:
            given = torch.as_tensor(images)
        except (TypeError, ValueError, RuntimeError):  # no array at all
            given = torch.empty(0)
        if given.shape[1:] != shape or not len(given):
            raise InvalidValue(
                f"images must be a tensor of shape {('n', *shape)}, got "
                f"{tuple(given.shape) or shown(images)}; normalise them with task.dataset.normalize"
            )
        given = given.to(self.device, self.settings.dtype)
        return self._in_parts(self.method.predict, torch.arange(len(given), device=self.device), given)

    def logits(self, split: Split | str = "test", network: str | None = None) -> Tensor:
        """Eval-mode logits (n, K), on the CPU, for a split of the task ("train", "validation", "meta" or
        "test"): what the method predicts, or the logits of one of its networks.

        Raises `UnknownName` for a split that the task lacks and for a network that is no classifier of the
        method's, and `InvalidValue` for what is no split of this task.
        """
        modules = self.state.networks.modules
        trained = [name for phase in self.state.networks.phases for name in phase.networks]
        kind = type(modules["classifier"])
        classifiers = {name for name in trained if isinstance(modules[name], kind)}
        if network is not None and (not isinstance(network, str) or network not in classifiers):
            raise unknown_name(f"network of {self.method.label}", network, classifiers)
        chosen = self.task.split(split) if isinstance(split, str) else split
        if not any(chosen is own for own in self.task.splits.values()):
            raise InvalidValue(
                f"split must be one of this run's task, got {shown(split)}; try 'train' or 'test'"
            )
        rows = chosen.index.to(self.device)
        images = self.state.data.test if chosen is self.task.test else self.state.data.train
        predict = self.method.predict if network is None else lambda nets, x: nets[network](x)[0]
        return self._in_parts(predict, rows, images)

    @torch.no_grad()
    def _in_parts(self, predict: Callable[[Nets, Tensor], Tensor], rows: Tensor, images: Images) -> Tensor:
        self.state.networks.train(False)
        nets = self.nets
        with mixed_precision(self.device, self.settings.precision):
            parts = [predict(nets, x) for x in self.state.data.in_parts(rows, images)]
        return torch.cat(parts).to(self.settings.dtype).cpu()

    def save(self, path: Path | str) -> None:
        """Write a checkpoint from which `load` goes on as if the run had never stopped; raises as
        `whole_file`, and `LnlibError` inside an epoch.
        """
        checkpoint.write({"fingerprint": self.fingerprint, **self.state.saved(self.position)}, expanded(path))

    def load(self, path: Path | str) -> "Run":
        """Go on from a checkpoint; raises `CheckpointError` for one that is missing, damaged or another's."""
        saved = checkpoint.read(expanded(path), self.fingerprint, self.device)
        with checkpoint.whole(expanded(path)):
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


def _shapes(weights: Weights) -> set[tuple[str, tuple[int, ...]]]:
    return {
        (f"{name}.{key}", tuple(value.shape))
        for name, named in weights.items()
        for key, value in named.items()
    }


def tensor_hash(state: Weights) -> str:
    """A short hash of state dicts by network."""
    digest = hashlib.sha256()
    for name in sorted(state):
        for key, value in sorted(state[name].items()):
            digest.update(f"{name}.{key}".encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
