"""A network at given weights: what a method calls, whether its run trains alone or stacked with others."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map

from lnlib.device import full_precision
from lnlib.nets.layers import BatchNormOfBatch, Dropout
from lnlib.nets.record import Record
from lnlib.nets.together import in_stack, of_all, of_each

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
        return _gradients(output, self.parameters, weights, keep=True)

    def value_and_gradient(
        self, function: Callable[[Tensors], Tensor], parameters: Tensors
    ) -> tuple[Tensor, Tensors]:
        """A scalar function of the weights at `parameters`, and its gradient there."""
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        with torch.enable_grad():
            value = function(leaves)
        return value.detach(), _gradients(value, leaves, torch.ones_like(value))


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

    def _call(self, *inputs: Any) -> Any:
        return self(*inputs)


class StackedNet(MemberNet):
    """Every member at once, inside `torch.vmap`. Autograd acts outside of it."""

    def __call__(self, *inputs: Any) -> Any:
        if self._buffers:
            return super().__call__(*inputs)
        if getattr(self.module, "takes_stacks", False):
            tensors = [value for value in inputs if isinstance(value, Tensor)]
            if in_stack(*tensors, *self.parameters.values()):
                return self._at_once(*inputs)
        with self.skeleton.side_by_side():
            return self.at(self.parameters, *inputs)

    def _at_once(self, *inputs: Any) -> Any:
        """The outputs for all members by one call."""
        parameters = {name: of_all(value) for name, value in self.parameters.items()}
        stacks = (of_all(value) if isinstance(value, Tensor) else value for value in inputs)
        return tree_map(of_each, self.skeleton.evaluate(parameters, {}, *stacks))

    def gradient(self, output: Tensor, weights: Tensor) -> Tensors:
        """As for any network."""
        leaves = {name: of_all(value) for name, value in self.parameters.items()}
        found = _gradients(of_all(output), leaves, of_all(weights), keep=True)
        return {name: of_each(gradient) for name, gradient in found.items()}

    def value_and_gradient(
        self, function: Callable[[Tensors], Tensor], parameters: Tensors
    ) -> tuple[Tensor, Tensors]:
        """As for any network."""
        leaves = {name: nn.Parameter(of_all(value.detach())) for name, value in parameters.items()}
        with torch.enable_grad(), self.skeleton.side_by_side():
            value = function({name: of_each(leaf) for name, leaf in leaves.items()})
        found = _gradients(of_all(value), leaves, torch.ones_like(of_all(value)))
        return value.detach(), {name: of_each(gradient) for name, gradient in found.items()}


def _gradients(output: Tensor, leaves: Tensors, weights: Tensor, keep: bool = False) -> Tensors:
    """The gradient of Σ weights·output by each of the leaves; the graph goes unless it is to be kept."""
    with full_precision(output):
        found = torch.autograd.grad(
            output, [*leaves.values()], weights, retain_graph=keep, materialize_grads=True
        )
    return dict(zip(leaves, found, strict=True))


class Skeleton:
    """A network's structure without weights, whose BatchNorm layers keep no running statistics."""

    def __init__(self, module: nn.Module) -> None:
        self._structure = copy.deepcopy(module).to("meta").train()
        for name, layer in [*self._structure.named_modules()]:
            if isinstance(layer, _BatchNorm):
                setattr(*self._place(name), BatchNormOfBatch(layer))
        layers = self._structure.modules()
        self._together: list[Any] = [layer for layer in layers if getattr(layer, "side_by_side", False)]
        self._stand_side_by_side(False)
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
    def side_by_side(self) -> Iterator[None]:
        """Within, the layers take all members of a stack by one call, where those of the network do."""
        self._stand_side_by_side(True)
        try:
            yield
        finally:
            self._stand_side_by_side(False)

    def _stand_side_by_side(self, so: bool) -> None:
        for layer in self._together:
            layer.side_by_side = so
