"""All that training changes, and what it needs: of one run, or of runs that train in lockstep."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from lnlib.device import keep_freed_memory
from lnlib.errors import InvalidValue, LnlibError
from lnlib.methods.base import Draw
from lnlib.nets.net import repeatable
from lnlib.optimizers import is_like, weights_of
from lnlib.training.batches import Batches
from lnlib.training.history import History, NoiseFacts
from lnlib.training.images import Resident
from lnlib.training.meters import Meters
from lnlib.training.networks import Alone, Networks, Stacked, Weights
from lnlib.training.settings import Member, Settings
from lnlib.training.streams import Streams

OnStep = Callable[[int, int], None]


class State:
    """What the loop holds for its runs.

    `on_step(done, total)` is called after every batch of an epoch; what it raises stops the runs there.
    """

    def __init__(
        self,
        kind: type[Alone] | type[Stacked],
        members: Sequence[Member],
        settings: Settings,
        device: torch.device,
        resident: Resident,
        on_step: OnStep | None = None,
    ) -> None:
        if device.type == "cpu":
            keep_freed_memory()
        self.members, self.settings, self.device, self.on_step = list(members), settings, device, on_step
        self.streams = [Streams(member.seed, device) for member in members]
        self.data = Batches(self.members, settings, device, resident)
        self.networks: Networks = kind(members, settings, device)
        self._check_batches()
        self._check_random_numbers()
        with torch.no_grad():
            for position, member in enumerate(self.members):
                member.method.start(self.networks.nets(position), self.data.whole(member.task))
        self.networks.build_optimizers(settings)
        self.histories = [History(NoiseFacts.of(member.task)) for member in members]
        self.best: list[Weights | None] = [None] * len(self.members)
        self.stopped: dict[int, Weights] = {}
        self.epoch = self.step = 0
        self.lr = settings.optimizer.lr_at(1)
        self.meters = Meters(settings.dtype)
        self.reached = [0] * len(self.members)
        """the epoch where each run stands, -1 inside one; checkpoints of single runs can part them"""

    def zeros(self) -> Tensor:
        """A count for each run (M,)."""
        return torch.zeros(len(self.members), dtype=torch.float64, device=self.device)

    def out_of_patience(self, position: int) -> bool:
        """Whether a run has gone so many epochs without a better one."""
        history, patience = self.histories[position], self.settings.patience
        if patience is None or history.best is None:
            return False
        return history.evaluated[-1].epoch - history.best.epoch >= patience

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or every run is out of patience."""
        everyone = range(len(self.members))
        return min(self.reached) >= self.settings.epochs or all(map(self.out_of_patience, everyone))

    def check_together(self) -> None:
        """Raise `LnlibError` for runs that were stopped inside an epoch, or stand at different ones."""
        if -1 in self.reached:
            raise LnlibError(
                f"this run was stopped inside epoch {self.epoch + 1}; load its checkpoint or start it again"
            )
        if len(set(self.reached)) > 1:
            raise LnlibError(
                f"runs of a stack must stand at the same epoch, got {', '.join(map(str, self.reached))}; "
                "load a checkpoint of each"
            )

    def repeatable(self) -> bool:
        """Whether the classifier draws no random numbers of its own."""
        first = self.data.for_evaluation(self.data.train[self.data.rows[0, :2]])
        return repeatable(self.networks.nets(0)["classifier"], first)

    def draw_dropout(self, rows: int) -> None:
        """Give every dropout layer its random numbers for so many examples."""
        for network, widths in self.networks.dropout.items():
            draws = {name: Draw("uniform", (rows, width)) for name, width in widths.items()}
            self.networks.drop(network, self.data.drawn(draws, self.streams))

    def _check_batches(self) -> None:
        """Raise `InvalidValue` without a full batch, or for one of one example that BatchNorm cannot take."""
        size, num_train = self.settings.batch_size, self.data.num_train
        if self.settings.drop_last and num_train < size:
            raise InvalidValue(
                f"batch_size must be at most the {num_train} training examples with drop_last, got {size}; "
                "make it smaller"
            )
        layers = [layer for module in self.networks.modules.values() for layer in module.modules()]
        if not any(isinstance(layer, _BatchNorm) for layer in layers):
            return
        if size == 1 or (num_train % size == 1 and not self.settings.drop_last):
            raise InvalidValue(
                f"the last batch must hold at least 2 examples under BatchNorm, got 1 ({num_train} examples "
                f"in batches of {size}); choose another batch_size, drop_last or a net without BatchNorm"
            )
        looks_at_meta = any(phase.meta for phase in self.networks.phases)
        if looks_at_meta and min(self.settings.meta_batch_size, self.data.num_meta) == 1:
            raise InvalidValue(
                "a meta batch must hold at least 2 examples under BatchNorm, got 1; choose a larger "
                "meta_batch_size and meta set, or a net without BatchNorm"
            )

    def _check_random_numbers(self) -> None:
        """Raise `InvalidValue` for a network that draws its own in a stack or under a virtual step."""
        stack, virtual = self.networks.mode == "stacked", self.networks.method.steps_virtually
        if not (stack or virtual) or self.repeatable():
            return
        if virtual:  # whose second pass would be another's
            raise InvalidValue(
                "a virtual step needs a network whose passes are the same each time, got one that draws "
                "random numbers of its own (nn.Dropout?); use lnlib.nets.Dropout, whose numbers the run gives"
            )
        raise InvalidValue(
            "a stack needs a network whose random numbers come from its runs, got one that draws its own "
            "(nn.Dropout?); use lnlib.nets.Dropout, or mode='solo'"
        )

    # A checkpoint is of one run, whether it trains alone or in a stack.

    def saved(self, position: int) -> dict[str, Any]:
        """All that one run needs to go on, as tensors and plain values; raises as `check_together`."""
        self.check_together()
        return {
            "epoch": self.epoch,
            "step": self.step,
            "streams": self.streams[position].state(),
            "history": [epoch.numbers() for epoch in self.histories[position]],
            "best": self.best[position],
            "weights": self.networks.weights(position),
            "optimizers": [
                [self._saved_momenta(optimizer, weight, position) for weight in weights_of(optimizer)]
                for optimizer in self.networks.optimizers
            ],
        }

    @torch.no_grad()
    def restore(self, position: int, saved: dict[str, Any]) -> None:
        """Let one run go on from there; raises whatever a missing part leads to."""
        for weights in (saved["weights"], saved["best"]):
            if weights is not None and weights.keys() != self.networks.modules.keys():
                raise KeyError("weights")
        self.epoch = self.reached[position] = saved["epoch"]
        self.step = saved["step"]
        self.streams[position].restore(saved["streams"])
        self.histories[position] = History.from_numbers(self.histories[position].facts, saved["history"])
        self.best[position] = saved["best"]
        self.networks.set_weights(position, saved["weights"])
        self.stopped.pop(position, None)
        if self.out_of_patience(position):
            self.stopped[position] = saved["weights"]
        for optimizer, momenta in zip(self.networks.optimizers, saved["optimizers"], strict=True):
            for weight, own in zip(weights_of(optimizer), momenta, strict=True):
                self._restore_momenta(optimizer, weight, position, own)

    def _saved_momenta(
        self, optimizer: torch.optim.Optimizer, weight: Tensor, position: int
    ) -> dict[str, dict[str, Any]]:
        """What an optimiser keeps for a run's part of a weight, and for all runs (Adam's count of steps)."""
        kept = optimizer.state.get(weight, {})
        own = {name: value for name, value in kept.items() if is_like(value, weight)}
        shared = {name: copy.deepcopy(value) for name, value in kept.items() if name not in own}
        return {
            "own": {name: self._part(value, position).clone() for name, value in own.items()},
            "shared": shared,
        }

    def _restore_momenta(
        self,
        optimizer: torch.optim.Optimizer,
        weight: Tensor,
        position: int,
        saved: dict[str, dict[str, Any]],
    ) -> None:
        if not any(saved.values()):  # it had not made a step
            optimizer.state.pop(weight, None)
            return
        kept = optimizer.state[weight]
        kept.update(copy.deepcopy(saved["shared"]))
        for name, value in saved["own"].items():
            if name not in kept:
                kept[name] = torch.zeros_like(weight, requires_grad=False)
            self._part(kept[name], position).copy_(value)

    def _part(self, value: Tensor, position: int) -> Tensor:
        return value[position] if self.networks.mode == "stacked" else value
