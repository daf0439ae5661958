"""The networks of one run, or of many that train as one: the same few functions in two versions.

Tensors come and go with a leading axis for the runs (M, ...). `Alone` takes it off; `Stacked` lets `vmap`
hide it.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import stack_module_state, vmap

from lnlib.methods.base import Batch, Examples, Phase
from lnlib.nets import Dropout, MemberNet, Net, Skeleton
from lnlib.nets.stacked import StackedNet, stand_side_by_side
from lnlib.training.building import build_networks
from lnlib.training.settings import Member, Settings

Tensors = dict[str, dict[str, Tensor]]
Weights = Mapping[str, Mapping[str, Tensor]]
"""The weights and buffers of one run, by network."""


class Alone:
    """One run's networks: plain modules."""

    mode = "solo"

    def __init__(self, members: Sequence[Member], settings: Settings, device: torch.device) -> None:
        (member,) = members
        self.method, self.phases = member.method, member.method.phases
        self.modules = build_networks(member, settings, device)
        for module in self.modules.values():
            if any(isinstance(layer, nn.Conv2d) for layer in module.modules()):
                module.to(memory_format=torch.channels_last)
            if settings.compile:
                module.compile()
        self._nets = {name: Net(module) for name, module in self.modules.items()}
        self.dropout = dropout_widths(self.modules)

    def build_optimizers(self, settings: Settings) -> None:
        """One optimiser a phase; after `Method.start`, which may change weights."""
        parameters = {name: net.parameters for name, net in self._nets.items()}
        self.optimizers = optimizers(self.phases, parameters, settings, matrix=2)

    def backward(self, place: int, batch: Batch) -> Tensor:
        """Put the gradients of a phase's loss where its optimiser finds them; the losses (M,)."""
        phase = self.phases[place]
        weights = [weight for name in phase.networks for weight in self._nets[name].parameters.values()]
        for weight in weights:
            weight.grad = None
        own = replace(
            batch,
            x=batch.x[0],
            y=batch.y[0],
            index=batch.index[0],
            meta=Examples(batch.meta.x[0], batch.meta.y[0]) if batch.meta else None,
            noise={name: numbers[0] for name, numbers in batch.noise.items()},
        )
        loss = phase.loss(self._nets, own)
        loss.backward(inputs=weights)  # type: ignore[no-untyped-call]
        return loss.detach()[None]

    def logits(self, x: Tensor) -> Tensor:
        """What the method predicts (M, n, K) for images (M, n, C, H, W)."""
        return self.method.predict(self._nets, x[0])[None]

    def train(self, mode: bool = True) -> None:
        """Training mode, or evaluation."""
        for module in self.modules.values():
            module.train(mode)

    def drop(self, network: str, uniform: Mapping[str, Tensor]) -> None:
        """Give a network's dropout layers their random numbers (M, B, F)."""
        for name, numbers in uniform.items():
            self.modules[network].get_submodule(name.removesuffix(".uniform")).uniform = numbers[0]

    def nets(self, position: int = 0) -> dict[str, Net]:
        """One run's networks by name; what is done to their tensors in place is done to the run."""
        return self._nets

    def weights(self, position: int = 0) -> Tensors:
        """A copy of the weights and buffers by network."""
        return {
            name: {key: value.detach().clone() for key, value in module.state_dict().items()}
            for name, module in self.modules.items()
        }

    def set_weights(self, position: int, weights: Weights) -> None:
        """Take other weights and buffers."""
        for name, module in self.modules.items():
            module.load_state_dict(weights[name])


class Stacked:
    """Many runs' networks: one module's structure, and each of its tensors once for all runs."""

    mode = "stacked"

    def __init__(self, members: Sequence[Member], settings: Settings, device: torch.device) -> None:
        self.method, self.phases = members[0].method, members[0].method.phases
        built = [build_networks(member, settings, device) for member in members]
        self.modules = {name: copy.deepcopy(module).to("meta") for name, module in built[0].items()}
        self.skeletons = {name: Skeleton(module) for name, module in self.modules.items()}
        for name, skeleton in self.skeletons.items():
            stand_side_by_side(self.modules[name])
            stand_side_by_side(skeleton.structure)
        self.parameters: Tensors = {}
        self.buffers: Tensors = {}
        for name in self.modules:
            self.parameters[name], buffers = stack_module_state([own[name] for own in built])
            self.buffers[name] = {key: buffer.detach().clone() for key, buffer in buffers.items()}
        # Hyper-parameters that differ between the runs: the method's floats, as tensors (M,).
        own_values = [member.method.tunable for member in members]
        self.values = {
            key: torch.tensor([own[key] for own in own_values], dtype=settings.dtype, device=device)
            for key in own_values[0]
        }
        self.dropout = dropout_widths(self.modules)

    def build_optimizers(self, settings: Settings) -> None:
        self.optimizers = optimizers(self.phases, self.parameters, settings, matrix=3)

    def backward(self, place: int, batch: Batch) -> Tensor:
        networks = self.phases[place].networks
        weights = [weight for name in networks for weight in self.parameters[name].values()]
        for weight in weights:
            weight.grad = None

        def loss_of_one(
            parameters: Tensors, buffers: Tensors, values: Mapping[str, Tensor], own: dict[str, Any]
        ) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
            phase, mine = self.method.with_values(values).phases[place], of_one(batch, own)
            return phase.loss(self._at(parameters, buffers), mine), outputs(mine)

        losses: Tensor
        losses, found = vmap(loss_of_one)(self.parameters, self.buffers, self.values, tensors(batch))
        for name, values in found.items():
            getattr(batch, name).update(values)
        # The runs share nothing, so the gradient of their sum is each one's own.
        losses.sum().backward(inputs=weights)  # type: ignore[no-untyped-call]
        return losses.detach()

    def logits(self, x: Tensor) -> Tensor:
        def logits_of_one(
            parameters: Tensors, buffers: Tensors, values: Mapping[str, Tensor], x: Tensor
        ) -> Tensor:
            return self.method.with_values(values).predict(self._at(parameters, buffers), x)

        logits: Tensor = vmap(logits_of_one)(self.parameters, self.buffers, self.values, x)
        return logits

    def train(self, mode: bool = True) -> None:
        for module in self.modules.values():
            module.train(mode)

    def drop(self, network: str, uniform: Mapping[str, Tensor]) -> None:
        self.buffers[network].update(uniform)

    def nets(self, position: int) -> dict[str, Net]:
        parameters, buffers = (
            {name: {key: value[position] for key, value in named.items()} for name, named in stack.items()}
            for stack in (self.parameters, self.buffers)
        )
        return self._at(parameters, buffers, MemberNet)

    def weights(self, position: int) -> Tensors:
        """A copy of one run's weights and buffers by network, as its modules alone would have them."""
        return {
            name: {key: self._stacked(name, key)[position].detach().clone() for key in module.state_dict()}
            for name, module in self.modules.items()
        }

    @torch.no_grad()
    def set_weights(self, position: int, weights: Weights) -> None:
        for name, named in weights.items():
            for key, value in named.items():
                self._stacked(name, key)[position].copy_(value)

    def _stacked(self, network: str, key: str) -> Tensor:
        return {**self.parameters[network], **self.buffers[network]}[key]

    def _at(
        self, parameters: Tensors, buffers: Tensors, kind: type[MemberNet] = StackedNet
    ) -> dict[str, Net]:
        return {
            name: kind(module, parameters[name], buffers[name], self.skeletons[name])
            for name, module in self.modules.items()
        }


Networks = Alone | Stacked


def tensors(batch: Batch) -> dict[str, Any]:
    """What of a batch differs between the runs, with their axis."""
    found = {"x": batch.x, "y": batch.y, "index": batch.index, "noise": batch.noise, "carried": batch.carried}
    return found if batch.meta is None else {**found, "meta": {"x": batch.meta.x, "y": batch.meta.y}}


def of_one(batch: Batch, own: Mapping[str, Any]) -> Batch:
    """The same batch as one run sees it, with its own tensors and nothing noted."""
    meta = Examples(**own["meta"]) if "meta" in own else None
    return replace(batch, **{**own, "carried": {**own["carried"]}, "meta": meta, "noted": {}, "counted": {}})


def outputs(batch: Batch) -> dict[str, dict[str, Tensor]]:
    """What a loss leaves behind: for later phases of the step, and for the record."""
    return {name: getattr(batch, name) for name in ("carried", "noted", "counted")}


def optimizers(
    phases: Sequence[Phase], parameters: Mapping[str, Mapping[str, Tensor]], settings: Settings, matrix: int
) -> list[torch.optim.Optimizer]:
    """One optimiser a phase, over the parameters of the networks that it trains.

    Matrices and kernels are the tensors of at least `matrix` dimensions.
    """
    found = []
    for phase in phases:
        optimizer = phase.optimizer or settings.optimizer
        decayed: list[Tensor] = []
        plain: list[Tensor] = []
        for name in phase.networks:
            for tensor in parameters[name].values():
                moved = optimizer.decay == "all" or tensor.ndim >= matrix
                (decayed if moved and name not in phase.undecayed else plain).append(tensor)
        found.append(optimizer.build(decayed, plain))
    return found


def dropout_widths(modules: Mapping[str, nn.Module]) -> dict[str, dict[str, int]]:
    """By network and by name of a buffer: how many uniform numbers a dropout layer needs for an example."""
    widths = {
        network: {
            f"{name}.uniform": layer.features
            for name, layer in module.named_modules()
            if isinstance(layer, Dropout) and layer.rate
        }
        for network, module in modules.items()
    }
    return {network: own for network, own in widths.items() if own}
