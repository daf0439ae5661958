"""A network at given weights: what a method calls, whether its run trains alone or stacked with others."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp
from torch.nn.modules.batchnorm import _BatchNorm

from lnlib.device import full_precision
from lnlib.nets.layers import BatchNormOfBatch, Dropout
from lnlib.nets.record import Record

Tensors = Mapping[str, Tensor]


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

    def recorded(self, *inputs: Any, moving: bool = True) -> "Pass":
        """A forward pass at the present weights that can be differentiated again; running statistics move,
        unless `moving` is False.
        """
        return Pass(self, lambda: self._call(*inputs) if moving else self.at(self.parameters, *inputs))

    def _call(self, *inputs: Any) -> Any:
        """The network's own layers, where `torch.compile` has made others too."""
        return self.module.forward(*inputs)

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


class Pass:
    """A forward pass at a network's weights, to be differentiated by them in both directions, more than
    once; `logits` (B, K) has its graph.
    """

    def __init__(self, net: Net, evaluate: Callable[[], Any]) -> None:
        self._net, self._record = net, Record(net.parameters)
        with torch.enable_grad(), self._record:
            self.logits: Tensor = evaluate()[0]

    def gradient(self, weights: Tensor) -> Tensors:
        """The gradient of Σ weights·logits for weights (B, K)."""
        return self._net.gradient(self.logits, weights)

    def derivative(self, along: Tensors) -> Tensor:
        """The directional derivative of the logits (B, K); the direction is one tensor a weight."""
        return self._record.tangent(self.logits, along)


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
        if not self._buffers:  # training and evaluation are the same then, and this is faster
            return self.at(self.parameters, *inputs)
        tensors = {**self.parameters, **self._buffers}
        return functional_call(self.module, tensors, inputs, tie_weights=False)

    _call = __call__


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


class Skeleton:
    """A network's structure without weights, whose BatchNorm layers keep no running statistics.

    With `one_type` these take their input in the type of their weights.
    """

    def __init__(self, module: nn.Module, one_type: bool = False) -> None:
        self._structure = copy.deepcopy(module).to("meta").train()
        for name, layer in [*self._structure.named_modules()]:
            if isinstance(layer, _BatchNorm):
                setattr(*self._place(name), BatchNormOfBatch(layer, one_type))
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
