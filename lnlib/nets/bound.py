"""A network at given weights: what a method calls, whether its run trains alone or stacked with others."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.forward_ad import make_dual, unpack_dual
from torch.func import functional_call, jvp, vjp
from torch.nn.modules.batchnorm import _BatchNorm

from lnlib.nets.layers import BatchNormOfBatch

Tensors = Mapping[str, Tensor]


class Net:
    """A network with its own weights: `net(x)` is `(logits, features)` for a classifier.

    `parameters` and `buffers` are the live tensors by name; `at` evaluates the same network at other weights.
    """

    def __init__(self, module: nn.Module, skeleton: "Skeleton | None" = None) -> None:
        self.module = module
        self.skeleton = skeleton or Skeleton(module)

    @property
    def parameters(self) -> Tensors:
        """The weights by name."""
        return dict(self.module.named_parameters())

    @property
    def buffers(self) -> Tensors:
        """The buffers by name: running statistics, dropout numbers, and whatever memory a method keeps."""
        return dict(self.module.named_buffers())

    def __call__(self, *inputs: Any) -> Any:
        return self.module(*inputs)

    def at(self, parameters: Tensors, *inputs: Any) -> Any:
        """The network at other weights; its BatchNorm normalises by the batch and keeps no running
        statistics.
        """
        return self.skeleton.evaluate(parameters, self.buffers, *inputs)

    def pulled_back(
        self, function: Callable[[Tensors], Tensor], parameters: Tensors
    ) -> tuple[Tensor, Callable[[Tensor], Tensors]]:
        """The value of a function of the weights, and the map from a gradient by it to one by the weights, to
        be used once.
        """
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        with torch.enable_grad():
            value = function(leaves)

        def pull_back(gradient: Tensor) -> Tensors:
            return dict(zip(leaves, torch.autograd.grad(value, [*leaves.values()], gradient), strict=True))

        return value.detach(), pull_back

    @torch.no_grad()
    def derivative(self, parameters: Tensors, along: Tensors, *inputs: Any) -> tuple[Tensor, ...]:
        """The directional derivatives of what `at` gives, by forward mode; the direction is one tensor a
        weight.
        """
        _quiet_first_use()
        with forward_ad.dual_level(), self.skeleton.forward_mode():
            duals = {
                name: make_dual(value, along[name])  # type: ignore[no-untyped-call]
                for name, value in parameters.items()
            }
            outputs = self.at(duals, *inputs)
            return tuple(unpack_dual(output).tangent for output in outputs)  # type: ignore[no-untyped-call]


class StackedNet(Net):
    """One member of a stack: the same network with its weights handed in by `torch.func.vmap`."""

    def __init__(
        self, module: nn.Module, parameters: Tensors, buffers: Tensors, skeleton: "Skeleton"
    ) -> None:
        super().__init__(module, skeleton)
        self._parameters, self._buffers = parameters, buffers

    @property
    def parameters(self) -> Tensors:
        """The member's weights by name."""
        return self._parameters

    @property
    def buffers(self) -> Tensors:
        """The member's buffers by name; in-place updates are carried back to the stack."""
        return self._buffers

    def __call__(self, *inputs: Any) -> Any:
        tensors = {**self._parameters, **self._buffers}
        return functional_call(self.module, tensors, inputs, tie_weights=False)

    def pulled_back(
        self, function: Callable[[Tensors], Tensor], parameters: Tensors
    ) -> tuple[Tensor, Callable[[Tensor], Tensors]]:
        """As for any network, by what `torch.func.vmap` can follow."""
        with torch.no_grad():
            value, pull_back, *_ = vjp(function, dict(parameters))
        return value, lambda gradient: pull_back(gradient, retain_graph=False)[0]

    @torch.no_grad()
    def derivative(self, parameters: Tensors, along: Tensors, *inputs: Any) -> tuple[Tensor, ...]:
        """As for any network, by what `torch.func.vmap` can follow."""
        _quiet_first_use()
        found: tuple[Tensor, ...] = jvp(lambda at: self.at(at, *inputs), (dict(parameters),), (dict(along),))[
            1
        ]
        return found


@cache
def _quiet_first_use() -> None:
    """PyTorch prepares forward mode at its first use, and warns there of a function of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))


class Skeleton:
    """A network's structure without weights, whose BatchNorm layers keep no running statistics."""

    def __init__(self, module: nn.Module) -> None:
        self._structure = copy.deepcopy(module).to("meta").train()
        self._norms = []
        for name, layer in [*self._structure.named_modules()]:
            if isinstance(layer, _BatchNorm):
                parent, _, own = name.rpartition(".")
                self._norms.append(BatchNormOfBatch(layer))
                setattr(self._structure.get_submodule(parent), own, self._norms[-1])
        self._buffers = {name for name, _ in self._structure.named_buffers()}

    def evaluate(self, parameters: Tensors, buffers: Tensors, *inputs: Any) -> Any:
        """The network's outputs at `parameters`, in training mode."""
        kept = {name: buffer for name, buffer in buffers.items() if name in self._buffers}
        # No network here shares weights between its layers, and to look for some takes time.
        return functional_call(self._structure, {**parameters, **kept}, inputs, tie_weights=False)

    @contextmanager
    def forward_mode(self) -> Iterator[None]:
        """Within, BatchNorm has the derivative that is quick in forward mode, and none in reverse mode."""
        for norm in self._norms:
            norm.forward_mode = True
        try:
            yield
        finally:
            for norm in self._norms:
                norm.forward_mode = False
