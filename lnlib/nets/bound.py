"""A network at given weights: what a method calls, whether its run trains alone or stacked with others."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.forward_ad import make_dual, unpack_dual
from torch.func import functional_call, jvp, vjp
from torch.nn.modules.batchnorm import _BatchNorm

from lnlib.device import full_precision
from lnlib.nets.layers import BatchNormOfBatch, Dropout

Tensors = Mapping[str, Tensor]
_FORWARD_MODE = Lock()


class Net:
    """A network with its own weights: `net(x)` is `(logits, features)` for a classifier.

    `parameters` and `buffers` are the live tensors by name; `at` evaluates the same network at other weights.
    """

    def __init__(self, module: nn.Module, skeleton: "Skeleton | None" = None) -> None:
        self.module = module
        self.skeleton = skeleton or Skeleton(module)
        self.parameters: Tensors = dict(module.named_parameters())

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
        buffers = self.buffers if self.skeleton.buffers else {}
        return self.skeleton.evaluate(parameters, buffers, *inputs)

    def gradient(self, output: Tensor, weights: Tensor) -> Tensors:
        """The gradient of Σ weights·output by the present weights; the output's graph stays."""
        named = self.parameters
        with full_precision(output):
            found = torch.autograd.grad(
                output, [*named.values()], weights, retain_graph=True, materialize_grads=True
            )
        return dict(zip(named, found, strict=True))

    def value_and_gradient(
        self, function: Callable[[Tensors], Tensor], parameters: Tensors
    ) -> tuple[Tensor, Tensors]:
        """A scalar function of the weights at `parameters`, and its gradient there."""
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        with torch.enable_grad():
            value = function(leaves)
        with full_precision(value):
            found = torch.autograd.grad(value, [*leaves.values()], materialize_grads=True)
        return value.detach(), dict(zip(leaves, found, strict=True))

    @torch.no_grad()
    def derivative(self, along: Tensors, *inputs: Any) -> tuple[Tensor, ...]:
        """The directional derivatives of what `at` gives at the present weights, by forward mode; the
        direction is one tensor a weight.
        """
        with _forward_mode(), forward_ad.dual_level(), self.skeleton.forward_mode():
            duals = {
                name: make_dual(value, along[name])  # type: ignore[no-untyped-call]
                for name, value in self.parameters.items()
            }
            outputs = self.at(duals, *inputs)
            return tuple(unpack_dual(output).tangent for output in outputs)  # type: ignore[no-untyped-call]


class MemberNet(Net):
    """One member of a stack by itself: the same network with weights and buffers that are views of the
    stack's.
    """

    def __init__(
        self, module: nn.Module, parameters: Tensors, buffers: Tensors, skeleton: "Skeleton"
    ) -> None:
        self.module, self.skeleton = module, skeleton
        self.parameters, self._buffers = parameters, buffers

    @property
    def buffers(self) -> Tensors:
        """The member's buffers by name; in-place updates are the stack's."""
        return self._buffers

    def __call__(self, *inputs: Any) -> Any:
        tensors = {**self.parameters, **self._buffers}
        return functional_call(self.module, tensors, inputs, tie_weights=False)


class StackedNet(MemberNet):
    """Every member at once, inside `torch.vmap`. Autograd acts outside of it."""

    def gradient(self, output: Tensor, weights: Tensor) -> Tensors:
        """As for any network."""
        named = self.parameters
        return dict(zip(named, _Gradients.apply(output, weights, *named.values()), strict=True))

    def value_and_gradient(
        self, function: Callable[[Tensors], Tensor], parameters: Tensors
    ) -> tuple[Tensor, Tensors]:
        """As for any network, by what `torch.func.vmap` can follow; faster here than autograd outside."""
        with torch.no_grad():
            value, pull_back, *_ = vjp(function, dict(parameters))
            with full_precision(value):
                return value, pull_back(torch.ones_like(value), retain_graph=False)[0]

    @torch.no_grad()
    def derivative(self, along: Tensors, *inputs: Any) -> tuple[Tensor, ...]:
        """As for any network, by what `torch.func.vmap` can follow."""
        at = dict(self.parameters)
        with _forward_mode():
            found = jvp(lambda parameters: self.at(parameters, *inputs), (at,), (dict(along),))[1]
        return tuple(found)


class _Gradients(torch.autograd.Function):
    """Gradients by the stacked weights, whose graph lies outside of `torch.vmap`."""

    @staticmethod
    def forward(*inputs: Any) -> Any:
        raise NotImplementedError("a stack's networks are used inside torch.vmap only")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing to keep: the gradients are constants."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, ...], output: Tensor, weights: Tensor, *leaves: Tensor) -> Any:
        """Gradients with the dimension of the members where the leaves have it; the graph stays."""
        weights = weights.movedim(in_dims[1], in_dims[0])
        with full_precision(output):
            found = torch.autograd.grad(output, leaves, weights, retain_graph=True, materialize_grads=True)
        return found, in_dims[2:]


@contextmanager
def _forward_mode() -> Iterator[None]:
    """One thread at a time: PyTorch has one level of forward differentiation for the whole process."""
    with _FORWARD_MODE:
        _quiet_first_use()
        yield


@cache
def _quiet_first_use() -> None:
    """PyTorch prepares forward mode at its first use, and warns there of a function of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))


class Skeleton:
    """A network's structure without weights, whose BatchNorm layers keep no running statistics.

    With `one_type` these take their input in the type of their weights.
    """

    def __init__(self, module: nn.Module, one_type: bool = False) -> None:
        self._structure = copy.deepcopy(module).to("meta").train()
        self._norms = []
        for name, layer in [*self._structure.named_modules()]:
            if isinstance(layer, _BatchNorm):
                self._norms.append(BatchNormOfBatch(layer, one_type))
                setattr(*self._place(name), self._norms[-1])
        self.buffers = [name for name, _ in self._structure.named_buffers()]
        weights = [name for name, _ in self._structure.named_parameters()]
        places = {name: self._place(name) for name in weights + self.buffers}
        for place in places.values():
            delattr(*place)
        # Plain attributes take any tensor, and faster than torch.func.functional_call puts it in.
        self._attributes = {name: (vars(layer), attribute) for name, (layer, attribute) in places.items()}

    def _place(self, name: str) -> tuple[nn.Module, str]:
        owner, _, attribute = name.rpartition(".")
        return self._structure.get_submodule(owner), attribute

    def evaluate(self, parameters: Tensors, buffers: Tensors, *inputs: Any) -> Any:
        """The network's outputs at `parameters`, in training mode; not by two threads at once."""
        for name, (attributes, attribute) in self._attributes.items():
            attributes[attribute] = parameters[name] if name in parameters else buffers[name]
        try:
            return self._structure(*inputs)
        finally:
            for attributes, attribute in self._attributes.values():
                del attributes[attribute]

    @contextmanager
    def without_dropout(self) -> Iterator[None]:
        """Within, `evaluate` drops nothing."""
        layers = [layer for layer in self._structure.modules() if isinstance(layer, Dropout)]
        for layer in layers:
            layer.eval()
        try:
            yield
        finally:
            for layer in layers:
                layer.train()

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
