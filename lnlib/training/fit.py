"""One training run: `for epoch in fit(method, task)` trains an epoch at a time and yields its record."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lnlib.data.task import Task
from lnlib.device import default_device
from lnlib.errors import InvalidValue
from lnlib.methods.base import Method
from lnlib.nets import CNN, Net
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
from lnlib.training.history import Epoch, History

State = Mapping[str, Tensor]


def fit(
    method: Method,
    task: Task,
    *,
    seed: int = 0,
    device: torch.device | None = None,
    start: Mapping[str, State] | None = None,
    on_step: OnStep | None = None,
    **settings: Any,
) -> "Training":
    """A training run of `method` on `task`; `settings` are the fields of `Settings` (net, optimizer, epochs,
    batch_size, ...).

    Nothing trains until the run is iterated. `start` gives state dicts by network to begin from; what a
    network has beyond them keeps its fresh values. Raises `InvalidValue` for settings that cannot train this
    task.
    """
    return Training(
        Member(method, task, seed), Settings(**settings), device or default_device(), start, None, on_step
    )


class Training(Engine):
    """A run that `fit` made: iterate it, read `history`, ask it to `predict`."""

    mode = "solo"

    def __init__(
        self,
        member: Member,
        settings: Settings,
        device: torch.device,
        start: Mapping[str, State] | None = None,
        resident: Resident | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        super().__init__([member], settings, device, resident, on_step)
        self.member, self.method = member, member.method
        self.networks = build_networks(member, settings, device)
        check_last_batch(self.num_train, settings, self.networks.values())
        if isinstance(settings.net, CNN):
            for module in self.networks.values():
                module.to(memory_format=torch.channels_last)
        for name, state in (start or {}).items():
            _begin_from(self.networks, name, state)
        self.nets = {name: Net(module) for name, module in self.networks.items()}
        self.method.start(self.nets, member.task.visible)
        self.phases = self.method.phases
        self.optimizers = [
            settings.optimizer.build(*decay_groups(self._phase_parameters(phase.networks), stacked=False))
            for phase in self.phases
        ]

    @property
    def history(self) -> History:
        """The records so far."""
        return self.histories[0]

    def advance(self) -> Epoch:
        """Train one more epoch and return its record."""
        return self._advance()[0]

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Eval-mode logits (N, K), on the CPU, of normalised images (N, C, H, W)."""
        everything = torch.arange(len(images), device=self.device)
        return self._logits(everything, images.to(self.device, self.settings.dtype))[0].cpu()

    def restore_best(self) -> None:
        """Put back the weights of the epoch with the best noisy-validation accuracy."""
        best = self.best_states[0]
        if best is None:
            raise InvalidValue(
                "no epoch has been evaluated yet, got an empty history; train at least one epoch first"
            )
        for name, module in self.networks.items():
            module.load_state_dict(best[name])

    def member_state(self, position: int = 0) -> dict[str, dict[str, Tensor]]:
        """A copy of the weights and buffers by network."""
        return {
            name: {key: value.detach().clone() for key, value in module.state_dict().items()}
            for name, module in self.networks.items()
        }

    def _phase_parameters(self, networks: tuple[str, ...]) -> dict[str, Tensor]:
        return {
            f"{name}.{key}": value
            for name in networks
            for key, value in self.networks[name].named_parameters()
        }

    def _collect(self, tensors: Iterable[Tensor]) -> Tensor:
        (tensor,) = tensors
        return tensor

    def _train_step(self, examples: Mapping[str, Tensor], lr: float) -> Tensor:
        for module in self.networks.values():
            module.train()
        size = len(examples["x"])
        noise = self._draw(self.method.draws(size, self.num_classes))
        for module in self.networks.values():
            for name, uniform in self._draw(dropout_draws(module, size)).items():
                module.get_submodule(name.removesuffix(".uniform")).uniform = uniform
        batch = self._batch(examples, lr, noise)
        total = torch.zeros((), device=self.device, dtype=torch.float64)
        for phase, optimizer in zip(self.phases, self.optimizers, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, torch.bfloat16, self.settings.precision == "bfloat16"):
                loss = phase.loss(self.nets, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach()
        self.method.after_step(self.nets)
        return total

    @torch.no_grad()
    def _logits(self, rows: Tensor, images: Tensor) -> Tensor:
        for module in self.networks.values():
            module.eval()
        with torch.autocast(self.device.type, torch.bfloat16, self.settings.precision == "bfloat16"):
            parts = [
                self.method.predict(self.nets, images[part]) for part in torch.split(rows, EVALUATION_ROWS)
            ]
        return torch.cat(parts)[None].to(self.settings.dtype)

    def _end_epoch(self) -> None:
        self.method.end_epoch(self.nets, self.member.task.visible, self.epoch + 1)

    def _state(self) -> dict[str, Any]:
        return {
            "networks": {name: module.state_dict() for name, module in self.networks.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        for name, module in self.networks.items():
            module.load_state_dict(state["networks"][name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(copy.deepcopy(saved))


def _begin_from(networks: Mapping[str, nn.Module], name: str, state: State) -> None:
    """Copy what `state` and the network share, buffers included; shapes must agree."""
    if name not in networks:
        raise InvalidValue(
            f"start names the network {name!r}, expected one of {', '.join(networks)}; rename it"
        )
    own = networks[name].state_dict()
    unknown = [key for key in state if key not in own or own[key].shape != state[key].shape]
    if unknown:
        raise InvalidValue(
            f"start[{name!r}] has {unknown[0]!r}, which this network does not have in that shape; "
            "start from a run with the same net and data"
        )
    networks[name].load_state_dict({**own, **state})
