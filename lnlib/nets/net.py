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
from torch.func import functional_call, jvp
from torch.nn.modules.batchnorm import _BatchNorm

from lnlib.device import full_precision, global_generator
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
        """The network at other weights; BatchNorm normalises by the batch and keeps no running statistics."""
        buffers = self.buffers if self.skeleton.buffers else {}
        return self.skeleton.evaluate(parameters, buffers, *inputs)

    @torch.no_grad()
    def derivative(self, along: Tensors, *inputs: Any) -> Tensor:
        """The directional derivative of the logits (B, K) at the present weights, normalised by the batch;
        the direction is one tensor a weight. A network that draws random numbers of its own has none.
        """
        # Outside of autocast: forward mode does not follow BatchNorm of mixed types.
        with full_precision(inputs[0]), forward_mode(), forward_ad.dual_level():
            dual = {
                name: forward_ad.make_dual(weight.detach(), along[name])  # type: ignore[no-untyped-call]
                for name, weight in self.parameters.items()
            }
            logits = self.at(dual, *inputs)[0]
            tangent: Tensor = forward_ad.unpack_dual(logits).tangent  # type: ignore[no-untyped-call]
        return tangent

    def gradient(self, output: Tensor, weights: Tensor) -> Tensors:
        """The gradient of Σ weights·output by the present weights; the output's graph stays."""
        return gradients(output, self.parameters, weights, keep=True)

    def value_and_gradient(
        self, function: Callable[[Tensors], Tensor], parameters: Tensors
    ) -> tuple[Tensor, Tensors]:
        """A scalar function of the weights at `parameters`, and its gradient there."""
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        with torch.enable_grad():
            value = function(leaves)
        return value.detach(), gradients(value, leaves, torch.ones_like(value))


class MemberNet(Net):
    """One member of a stack by itself: its weights and buffers are views of the stack's."""

    def __init__(
        self, module: nn.Module, parameters: Tensors, buffers: Tensors, skeleton: "Skeleton"
    ) -> None:
        self.module, self.skeleton = module, skeleton
        self.parameters, self._buffers = parameters, buffers

    @property
    def buffers(self) -> Tensors:
        return self._buffers

    def __call__(self, *inputs: Any) -> Any:
        if not self._buffers:  # training and evaluation are the same then, and this is faster
            return self.at(self.parameters, *inputs)
        tensors = {**self.parameters, **self._buffers}
        return functional_call(self.module, tensors, inputs, tie_weights=False)


@contextmanager
def forward_mode() -> Iterator[None]:
    """One thread at a time (labs train in threads): PyTorch has one forward level for the whole process."""
    with _FORWARD_MODE:
        _quiet_first_use()
        yield


@cache
def _quiet_first_use() -> None:
    """PyTorch prepares forward mode at its first use, and warns there of a function of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated")  # of two kinds, by version
        jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))


def gradients(output: Tensor, leaves: Tensors, weights: Tensor, keep: bool = False) -> Tensors:
    """The gradient of Σ weights·output by each of the leaves; the graph goes unless it is to be kept."""
    with full_precision(output):
        found = torch.autograd.grad(
            output, [*leaves.values()], weights, retain_graph=keep, materialize_grads=True
        )
    return dict(zip(leaves, found, strict=True))


class Skeleton:
    """A network's structure without weights, whose BatchNorm layers keep no running statistics."""

    def __init__(self, module: nn.Module) -> None:
        self.structure = copy.deepcopy(module).to("meta").train()
        for name, layer in [*self.structure.named_modules()]:
            if isinstance(layer, _BatchNorm):
                setattr(*self._place(name), BatchNormOfBatch(layer))
        self.buffers = [name for name, _ in self.structure.named_buffers()]
        weights = [name for name, _ in self.structure.named_parameters()]
        places = {name: self._place(name) for name in weights + self.buffers}
        for place in places.values():
            delattr(*place)
        # Plain attributes take any tensor, and faster than torch.func.functional_call puts it in.
        self._attributes = {name: (vars(layer), attribute) for name, (layer, attribute) in places.items()}

    def _place(self, name: str) -> tuple[nn.Module, str]:
        owner, _, attribute = name.rpartition(".")
        return self.structure.get_submodule(owner), attribute

    def evaluate(self, parameters: Tensors, buffers: Tensors, *inputs: Any) -> Any:
        """The network's outputs at `parameters`, in training mode; not by two threads at once."""
        for name, (attributes, attribute) in self._attributes.items():
            attributes[attribute] = parameters[name] if name in parameters else buffers[name]
        try:
            return self.structure(*inputs)
        finally:
            for attributes, attribute in self._attributes.values():
                del attributes[attribute]

    @contextmanager
    def without_dropout(self) -> Iterator[None]:
        """Within, `evaluate` drops nothing."""
        layers = [layer for layer in self.structure.modules() if isinstance(layer, Dropout)]
        for layer in layers:
            layer.eval()
        try:
            yield
        finally:
            for layer in layers:
                layer.train()


@torch.no_grad()
def repeatable(net: Net, x: Tensor) -> bool:
    """Whether two passes over images (B, C, H, W) are the same in training: not where a network draws random
    numbers of its own, as by `nn.Dropout`. Those of `lnlib.nets.Dropout` come from the run.
    """
    if x.device.type == "meta":  # where there are no numbers to compare
        return True
    devices = [x.device] if x.device.type == "cuda" else []
    with global_generator(devices), net.skeleton.without_dropout():
        first, second = (net.at(net.parameters, x)[0] for _ in range(2))
    return torch.equal(first, second)
