"""Many runs at once: the weights of runs that share a shape and a code path are stacked and trained by one
`vmap`.
"""

import copy
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import grad_and_value, stack_module_state, vmap

from lnlib.device import default_device
from lnlib.errors import InvalidValue
from lnlib.methods.base import Method
from lnlib.nets import Net, Skeleton, StackedNet
from lnlib.training.engine import (
    EVALUATION_ROWS,
    Engine,
    Member,
    OnStep,
    Resident,
    Settings,
    build_networks,
    check_last_batch,
    decay_groups,
    dropout_draws,
)
from lnlib.training.fit import Training
from lnlib.training.history import Epoch, History

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
        self.members, self.settings = list(members), settings
        resident = Resident(device, settings.dtype)
        self._groups: list[tuple[list[int], Engine]] = []
        for positions in _groups(self.members):
            group = [self.members[position] for position in positions]
            chosen = _faster(group, settings, device, resident) if mode == "auto" else mode
            if chosen == "stacked":
                self._groups.append((positions, Stack(group, settings, device, resident, on_step)))
            else:
                self._groups.extend(
                    ([position], Training(self.members[position], settings, device, None, resident, on_step))
                    for position in positions
                )

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
        for positions, engine in self._groups:
            if position in positions:
                return engine.best_states[positions.index(position)]
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
        check_last_batch(self.num_train, settings, networks[0].values())
        for member, own in zip(self.members, networks, strict=True):
            member.method.start({name: Net(module) for name, module in own.items()}, member.task.visible)
        self.method = members[0].method
        self.templates = {name: copy.deepcopy(module).to("meta") for name, module in networks[0].items()}
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
        self.phases = self.method.phases
        self.optimizers = [
            settings.optimizer.build(*decay_groups(self._flat(phase.networks), stacked=True))
            for phase in self.phases
        ]

    def advance(self) -> list[Epoch]:
        """Train one more epoch and return the members' records."""
        return self._advance()

    def member_state(self, position: int) -> dict[str, dict[str, Tensor]]:
        """A copy of one member's weights and buffers by network, as its modules alone would have them."""
        states = {}
        for name, template in self.templates.items():
            everything = {**self.parameters[name], **self.buffers[name]}
            states[name] = {key: everything[key][position].detach().clone() for key in template.state_dict()}
        return states

    def _flat(self, networks: tuple[str, ...]) -> dict[str, Tensor]:
        return {f"{name}.{key}": value for name in networks for key, value in self.parameters[name].items()}

    def _collect(self, tensors: Iterable[Tensor]) -> Tensor:
        return torch.stack(list(tensors))

    def _train_step(self, examples: Mapping[str, Tensor], lr: float) -> Tensor:
        size = examples["x"].shape[1]
        noise = self._draw(self.method.draws(size, self.num_classes))
        for name, template in self.templates.items():
            template.train()
            self.buffers[name].update(self._draw(dropout_draws(template, size)))
        total = torch.zeros(len(self.members), device=self.device, dtype=torch.float64)
        for position, (phase, optimizer) in enumerate(zip(self.phases, self.optimizers, strict=True)):
            trained = {name: self.parameters[name] for name in phase.networks}
            fixed = {name: named for name, named in self.parameters.items() if name not in trained}
            loss_of_member = partial(self._member_loss, position, lr)
            with torch.autocast(self.device.type, torch.bfloat16, self.settings.precision == "bfloat16"):
                gradients, (loss, self.buffers) = vmap(grad_and_value(loss_of_member, has_aux=True))(
                    trained, fixed, self.buffers, self.values, examples, noise
                )
            for name, named in trained.items():
                for key, parameter in named.items():
                    parameter.grad = gradients[name][key]
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
            total += loss.detach()
        self.method.after_step(self._nets(self.parameters, self.buffers))
        return total

    def _member_loss(
        self,
        phase: int,
        lr: float,
        trained: Stacked,
        fixed: Stacked,
        buffers: Stacked,
        values: Mapping[str, Tensor],
        examples: Mapping[str, Tensor],
        noise: Mapping[str, Tensor],
    ) -> tuple[Tensor, Stacked]:
        """One member's loss and its buffers after the forward passes, as a pure function for
        `vmap(grad(...))`.
        """
        # Copies made in here may be updated in place (BatchNorm's running statistics, a method's memory).
        own = {
            name: {key: buffer.clone() for key, buffer in named.items()} for name, named in buffers.items()
        }
        nets = self._nets({**trained, **fixed}, own)
        batch = self._batch(examples, lr, noise)
        return self.method.with_values(values).phases[phase].loss(nets, batch), own

    def _nets(self, parameters: Stacked, buffers: Stacked) -> dict[str, Net]:
        return {
            name: StackedNet(template, parameters[name], buffers[name], self.skeletons[name])
            for name, template in self.templates.items()
        }

    @torch.no_grad()
    def _logits(self, rows: Tensor, images: Tensor) -> Tensor:
        for template in self.templates.values():
            template.eval()

        def member_logits(
            parameters: Stacked, buffers: Stacked, values: Mapping[str, Tensor], x: Tensor
        ) -> Tensor:
            return self.method.with_values(values).predict(self._nets(parameters, buffers), x)

        logits = []
        for part in torch.split(rows, EVALUATION_ROWS // len(self.members) + 1, dim=-1):
            with torch.autocast(self.device.type, torch.bfloat16, self.settings.precision == "bfloat16"):
                logits.append(vmap(member_logits)(self.parameters, self.buffers, self.values, images[part]))
        return torch.cat(logits, dim=1).to(self.settings.dtype)

    def _end_epoch(self) -> None:
        if type(self.method).end_epoch is Method.end_epoch:
            return
        for position, member in enumerate(self.members):
            state = self.member_state(position)
            nets = {}
            for name, template in self.templates.items():
                module = copy.deepcopy(template).to_empty(device=self.device)
                module.load_state_dict(state[name])
                nets[name] = Net(module)
            member.method.end_epoch(nets, member.task.visible, self.epoch + 1)
            with torch.no_grad():
                for name, net in nets.items():
                    everything = {**self.parameters[name], **self.buffers[name]}
                    for key, value in net.module.state_dict().items():
                        everything[key][position].copy_(value)

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
        self.buffers = {
            name: {key: value.to(self.device) for key, value in named.items()}
            for name, named in state["buffers"].items()
        }
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(copy.deepcopy(saved))


def _groups(members: Sequence[Member]) -> list[list[int]]:
    """Positions of the members that can be stacked: the same code path and the same shapes."""
    groups: dict[object, list[int]] = {}
    for position, member in enumerate(members):
        task, method = member.task, member.method
        structure = method.with_values(dict.fromkeys(method.tunable, 0.0))
        meta = len(task.meta) if task.meta else 0
        sizes = len(task.train), len(task.validation), meta
        key = type(method), repr(structure), id(task.dataset), sizes
        groups.setdefault(key, []).append(position)
    return list(groups.values())


def _faster(
    members: Sequence[Member], settings: Settings, device: torch.device, resident: Resident
) -> Literal["stacked", "solo"]:
    """Which is faster, by the clock: one stacked step, or a solo step a member."""
    if len(members) == 1:
        return "solo"
    stacked = _step_seconds(Stack(members, settings, device, resident))
    solo = _step_seconds(Training(members[0], settings, device, None, resident)) * len(members)
    return "stacked" if stacked < solo else "solo"


def _step_seconds(engine: Engine) -> float:
    """The shortest of a few training steps after a first one, in seconds."""
    seconds = []
    for _ in range(1 + TIMED_STEPS):
        began = time.perf_counter()
        engine.trial_step()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])
