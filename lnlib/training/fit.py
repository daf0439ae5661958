"""One training run: `for epoch in fit(method, task)` trains an epoch at a time and yields its record."""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lnlib.data.task import Split, Task
from lnlib.device import default_device
from lnlib.errors import InvalidValue
from lnlib.methods.base import Method
from lnlib.nets import Net
from lnlib.training.engine import (
    Engine,
    Member,
    OnStep,
    Settings,
    build_networks,
    dropout_draws,
    dropout_widths,
)
from lnlib.training.history import Epoch, History
from lnlib.training.images import Images, Resident


def fit(
    method: Method,
    task: Task,
    *,
    seed: int = 0,
    device: torch.device | None = None,
    start: Mapping[str, Mapping[str, Tensor]] | None = None,
    on_step: OnStep | None = None,
    **settings: Any,
) -> "Training":
    """A training run of `method` on `task`; `settings` are the fields of `Settings` (net, optimizer, epochs,
    batch_size, ...).

    Nothing trains until the run is iterated. `start` gives state dicts by network to begin from; what a
    network has beyond them keeps its fresh values. Raises `InvalidValue` for settings that cannot train this
    task.
    """
    member = Member(method, task, seed, start)
    return Training(member, Settings(**settings), device or default_device(), None, on_step)


class Training(Engine):
    """A run that `fit` made: iterate it, read `history`, ask it to `predict`."""

    mode = "solo"

    def __init__(
        self,
        member: Member,
        settings: Settings,
        device: torch.device,
        resident: Resident | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        super().__init__([member], settings, device, resident, on_step)
        self.member, self.method = member, member.method
        self.networks = build_networks(member, settings, device)
        self._check_batches(self.networks.values())
        for module in self.networks.values():
            if any(isinstance(layer, nn.Conv2d) for layer in module.modules()):
                module.to(memory_format=torch.channels_last)
            if settings.compile:
                module.compile()
        self.nets = {name: Net(module) for name, module in self.networks.items()}
        self._dropout = dropout_widths(self.networks)
        self._each("start", lambda method, nets, task: method.start(nets, self._data(task)))
        self._build_optimizers({name: net.parameters for name, net in self.nets.items()}, stacked=False)

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

    def outputs(self, split: Split, network: str = "predictor") -> Tensor:
        """Eval-mode logits (n, K) of one network, on the CPU, for the images of one of the task's splits.

        Raises `UnknownName` for a network that the method does not train.
        """
        return self.member_outputs(0, split, network)

    def restore_best(self) -> None:
        """Put back the weights of the epoch with the best noisy-validation accuracy."""
        best = self.best_states[0]
        if best is None:
            raise InvalidValue(
                "no epoch has been evaluated yet, got an empty history; train at least one epoch first"
            )
        self.begin_at(best)

    def begin_at(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take the weights and buffers of another run of the same spec, by network."""
        for name, module in self.networks.items():
            module.load_state_dict(states[name])

    def member_nets(self, position: int = 0) -> dict[str, Net]:
        """The networks by name."""
        return self.nets

    def member_state(self, position: int = 0) -> dict[str, dict[str, Tensor]]:
        """A copy of the weights and buffers by network."""
        return {
            name: {key: value.detach().clone() for key, value in module.state_dict().items()}
            for name, module in self.networks.items()
        }

    def _collect(self, tensors: Iterable[Tensor]) -> Tensor:
        (tensor,) = tensors
        return tensor

    def _draw_dropout(self, rows: int) -> None:
        for network, module in self.networks.items():
            if not module.training:
                module.train()
            for name, uniform in self._draw(dropout_draws(self._dropout[network], rows)).items():
                module.get_submodule(name.removesuffix(".uniform")).uniform = uniform

    def _set_gradients(
        self,
        phase: int,
        examples: Mapping[str, Tensor],
        noise: Mapping[str, Tensor],
        kept: dict[str, Tensor],
    ) -> Tensor:
        names = self.phases[phase].networks
        trained = [value for name in names for value in self.nets[name].parameters.values()]
        for parameter in trained:
            parameter.grad = None
        loss = self.phases[phase].loss(self.nets, self._batch(examples, noise, kept))
        loss.backward(inputs=trained)  # type: ignore[no-untyped-call]
        return loss.detach()

    @torch.no_grad()
    def _logits(self, rows: Tensor, images: Images) -> Tensor:
        return self._in_parts(lambda x: self.method.predict(self.nets, x), rows, images)[None]

    def _in_parts(self, logits: Callable[[Tensor], Tensor], rows: Tensor, images: Images) -> Tensor:
        for module in self.networks.values():
            module.eval()
        with torch.autocast(self.device.type, torch.bfloat16, self.settings.precision == "bfloat16"):
            parts = [logits(x) for x in self.evaluation_batches(rows, images)]
        return torch.cat(parts).to(self.settings.dtype)

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
