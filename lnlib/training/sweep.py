"""Many runs at once: the weights of runs that share a shape and a code path are stacked and trained by one
`vmap`.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import stack_module_state, vmap

from lnlib.data.task import Split
from lnlib.device import default_device
from lnlib.errors import InvalidValue
from lnlib.nets import BatchNorm1d, Linear, MemberNet, Net, Skeleton, StackedNet, together
from lnlib.training import checkpoint
from lnlib.training.engine import (
    Engine,
    Member,
    OnStep,
    Settings,
    build_networks,
    dropout_draws,
    dropout_widths,
)
from lnlib.training.fit import Training
from lnlib.training.history import Epoch, History
from lnlib.training.images import Images, Resident

Mode = Literal["auto", "stacked", "solo"]
Stacked = dict[str, dict[str, Tensor]]
TIMED_STEPS = 3


def sweep(
    members: Sequence[Member],
    *,
    device: torch.device | None = None,
    mode: Mode = "auto",
    on_step: OnStep | None = None,
    **settings: Any,
) -> "Sweep":
    """Many runs with the same `settings` (the fields of `Settings`); iterating yields the list of the
    members' records of an epoch.

    Members that share method, image shape and training size are trained as one stack where a timed step shows
    that this is faster; `mode` "stacked" or "solo" skips the timing, and `Sweep.modes` says what was chosen.
    Raises `InvalidValue` for no members.
    """
    return Sweep(members, Settings(**settings), device or default_device(), mode, on_step)


class Sweep:
    """The runs that `sweep` made, in the order of its members."""

    def __init__(
        self,
        members: Sequence[Member],
        settings: Settings,
        device: torch.device,
        mode: Mode = "auto",
        on_step: OnStep | None = None,
    ) -> None:
        if not members:
            raise InvalidValue(
                "a sweep must have at least one member, got none; pass a list of Member(method, task)"
            )
        if mode not in ("auto", "stacked", "solo"):
            raise InvalidValue(f"mode must be 'auto', 'stacked' or 'solo', got {mode!r}; try 'auto'")
        self.members, self.settings, self.device = list(members), settings, device
        resident = Resident(device, settings.dtype)
        self._groups: list[tuple[list[int], Engine]] = []
        for positions in _groups(self.members):
            group = [self.members[position] for position in positions]
            stackable = together.AVAILABLE and group[0].method.stackable
            solo = mode == "solo" or not stackable or (mode == "auto" and len(group) == 1)
            stack = None if solo else Stack(group, settings, device, resident, on_step)
            first = (
                None
                if mode == "stacked" and not solo
                else Training(group[0], settings, device, resident, on_step)
            )
            if stack and (first is None or _is_faster(stack, first)):
                self._groups.append((positions, stack))
            else:
                rest = [Training(member, settings, device, resident, on_step) for member in group[1:]]
                runs = [first, *rest] if first else rest
                self._groups.extend(([position], run) for position, run in zip(positions, runs, strict=True))

    @property
    def modes(self) -> list[str]:
        """How each member trains: "stacked" or "solo"."""
        found = {position: engine.mode for positions, engine in self._groups for position in positions}
        return [found[position] for position in range(len(self.members))]

    @property
    def histories(self) -> list[History]:
        """The records of each member so far."""
        found = {
            position: history
            for positions, engine in self._groups
            for position, history in zip(positions, engine.histories, strict=True)
        }
        return [found[position] for position in range(len(self.members))]

    @property
    def epoch(self) -> int:
        """The epochs done."""
        return max(engine.epoch for _, engine in self._groups)

    @property
    def finished(self) -> bool:
        """Whether every member is done."""
        return all(engine.finished for _, engine in self._groups)

    def __iter__(self) -> Iterator[list[Epoch]]:
        while not self.finished:
            for _, engine in self._groups:
                if not engine.finished:
                    engine.advance()
            yield [history[-1] for history in self.histories]

    def best_state(self, position: int) -> dict[str, dict[str, Tensor]] | None:
        """The weights of a member at its best noisy-validation accuracy, by network."""
        engine, place = self._find(position)
        return engine.best_states[place]

    def member_state(self, position: int) -> dict[str, dict[str, Tensor]]:
        """The present weights of a member, by network; one of a stack that ran out of patience trains on
        until the last has, unrecorded.
        """
        engine, place = self._find(position)
        return engine.member_state(place)

    def outputs(self, position: int, split: Split, network: str = "predictor") -> Tensor:
        """Eval-mode logits (n, K) of a member's network, on the CPU, for the images of one of its task's
        splits; raises `UnknownName` for a network that the method does not train.
        """
        engine, place = self._find(position)
        return engine.member_outputs(place, split, network)

    def sample_weights(self, position: int) -> Tensor | None:
        """What each training example (N,) counts for a member at present, with mean one; None where all count
        alike.
        """
        engine, place = self._find(position)
        return engine.sample_weights(place)

    def save(self, path: Path | str) -> None:
        """Write a checkpoint from which `load` continues as if the sweep had never stopped; raises as
        `whole_file`.
        """
        states = [engine.checkpoint_state() for _, engine in self._groups]
        checkpoint.write({"fingerprint": self.fingerprint, "engines": states}, Path(path))

    def load(self, path: Path | str) -> None:
        """Continue from a checkpoint of the same members and modes; raises `CheckpointError`."""
        state = checkpoint.read(Path(path), self.fingerprint, self.device)
        for (_, engine), saved in zip(self._groups, state["engines"], strict=True):
            engine.restore_checkpoint(saved)

    @property
    def fingerprint(self) -> str:
        """A short hash of what a checkpoint must share with a sweep: its members' runs and how they are
        stacked.
        """
        return "-".join(engine.fingerprint for _, engine in self._groups)

    def _find(self, position: int) -> tuple[Engine, int]:
        for positions, engine in self._groups:
            if position in positions:
                return engine, positions.index(position)
        raise InvalidValue(
            f"position must lie in 0..{len(self.members) - 1}, got {position}; see Sweep.members"
        )


class Stack(Engine):
    """Members that train in lockstep: every tensor has a leading dimension for the member."""

    mode = "stacked"

    def __init__(
        self,
        members: Sequence[Member],
        settings: Settings,
        device: torch.device,
        resident: Resident | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        super().__init__(members, settings, device, resident, on_step)
        networks = [build_networks(member, settings, device) for member in self.members]
        self._check_batches(networks[0].values())
        self.method = members[0].method
        self.templates = {name: copy.deepcopy(module).to("meta") for name, module in networks[0].items()}
        for template in self.templates.values():
            for layer in template.modules():
                if isinstance(layer, Linear | BatchNorm1d):
                    layer.side_by_side = True
        self._dropout = dropout_widths(self.templates)
        self.skeletons = {name: Skeleton(module) for name, module in self.templates.items()}
        self.parameters: Stacked = {}
        self.buffers: Stacked = {}
        for name in self.templates:
            parameters, buffers = stack_module_state([own[name] for own in networks])
            self.parameters[name] = parameters
            self.buffers[name] = {key: buffer.detach().clone() for key, buffer in buffers.items()}
        tunable = [member.method.tunable for member in self.members]
        self.values = {
            key: torch.tensor([values[key] for values in tunable], dtype=settings.dtype, device=device)
            for key in tunable[0]
        }
        self._each("start", lambda method, nets, task: method.start(nets, self._data(task)))
        self._build_optimizers(self.parameters, stacked=True)

    def advance(self) -> list[Epoch]:
        """Train one more epoch and return the members' records."""
        return self._advance()

    def member_nets(self, position: int) -> dict[str, Net]:
        """One member's networks, whose tensors are views of the stack's."""
        return self._nets(_member(self.parameters, position), _member(self.buffers, position), MemberNet)

    def member_state(self, position: int) -> dict[str, dict[str, Tensor]]:
        """A copy of one member's weights and buffers by network, as its modules alone would have them."""
        states = {}
        for name, template in self.templates.items():
            everything = {**self.parameters[name], **self.buffers[name]}
            states[name] = {key: everything[key][position].detach().clone() for key in template.state_dict()}
        return states

    def _collect(self, tensors: Iterable[Tensor]) -> Tensor:
        return torch.stack(list(tensors))

    def _draw_dropout(self, rows: int) -> None:
        for name, template in self.templates.items():
            if not template.training:
                template.train()
            self.buffers[name].update(self._draw(dropout_draws(self._dropout[name], rows)))

    def _set_gradients(
        self,
        phase: int,
        examples: Mapping[str, Tensor],
        noise: Mapping[str, Tensor],
        kept: dict[str, Tensor],
    ) -> Tensor:
        names = self.phases[phase].networks
        trained = {name: self.parameters[name] for name in names}
        fixed = {name: named for name, named in self.parameters.items() if name not in names}
        tensors = [parameter for named in trained.values() for parameter in named.values()]
        for tensor in tensors:
            tensor.grad = None
        losses: Tensor
        losses, now_kept = vmap(partial(self._member_loss, phase))(
            trained, fixed, self.buffers, self.values, dict(examples), dict(noise), kept
        )
        kept.update(now_kept)
        # The members share nothing, so the gradient of their sum is each one's own.
        losses.sum().backward(inputs=tensors)  # type: ignore[no-untyped-call]
        return losses.detach()

    def _member_loss(
        self,
        phase: int,
        trained: Stacked,
        fixed: Stacked,
        buffers: Stacked,
        values: Mapping[str, Tensor],
        examples: Mapping[str, Tensor],
        noise: Mapping[str, Tensor],
        kept: dict[str, Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One member's loss and what is kept for later phases, for `vmap`; buffers change in place."""
        nets = self._nets({**trained, **fixed}, buffers)
        method = self.method.with_values(values)
        return method.phases[phase].loss(nets, self._batch(examples, noise, kept)), kept

    def _nets(
        self, parameters: Stacked, buffers: Stacked, kind: type[MemberNet] = StackedNet
    ) -> dict[str, Net]:
        return {
            name: kind(template, parameters[name], buffers[name], self.skeletons[name])
            for name, template in self.templates.items()
        }

    @torch.no_grad()
    def _logits(self, rows: Tensor, images: Images) -> Tensor:
        for template in self.templates.values():
            template.eval()

        def member_logits(
            parameters: Stacked, buffers: Stacked, values: Mapping[str, Tensor], x: Tensor
        ) -> Tensor:
            return self.method.with_values(values).predict(self._nets(parameters, buffers), x)

        logits = []
        for x in self.evaluation_batches(rows, images):
            with torch.autocast(self.device.type, torch.bfloat16, self.settings.precision == "bfloat16"):
                logits.append(vmap(member_logits)(self.parameters, self.buffers, self.values, x))
        return torch.cat(logits, dim=1).to(self.settings.dtype)

    def _state(self) -> dict[str, Any]:
        return {
            "parameters": {
                name: {key: value.detach() for key, value in named.items()}
                for name, named in self.parameters.items()
            },
            "buffers": self.buffers,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    @torch.no_grad()
    def _restore(self, state: Mapping[str, Any]) -> None:
        for name, named in self.parameters.items():
            for key, parameter in named.items():
                parameter.copy_(state["parameters"][name][key])
        self.buffers = copy.deepcopy(state["buffers"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(copy.deepcopy(saved))


def _member(stacked: Stacked, position: int) -> Stacked:
    return {name: {key: value[position] for key, value in named.items()} for name, named in stacked.items()}


def _is_faster(stack: Stack, first: Training) -> bool:
    """Whether a stacked step takes less time, by the clock, than a solo step of every member."""
    return stack.timed_steps(TIMED_STEPS) < first.timed_steps(TIMED_STEPS) * len(stack.members)


def _groups(members: Sequence[Member]) -> list[list[int]]:
    """Positions of the members that can be stacked: the same code path and the same shapes."""
    groups: dict[object, list[int]] = {}
    for position, member in enumerate(members):
        task, method = member.task, member.method
        structure = method.with_values(dict.fromkeys(method.tunable, 0.0))
        meta = len(task.meta) if task.meta else 0
        sizes = len(task.train), len(task.validation), meta
        alone = None if method.stackable else position
        key = type(method), repr(structure), id(task.dataset), sizes, alone
        groups.setdefault(key, []).append(position)
    return list(groups.values())
