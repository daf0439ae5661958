"""A network at given weights: what a method calls, whether its run trains alone or stacked with others."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

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
        return functional_call(self.module, {**self._parameters, **self._buffers}, inputs)


class Skeleton:
    """A network's structure without weights, whose BatchNorm layers keep no running statistics."""

    def __init__(self, module: nn.Module) -> None:
        self._structure = copy.deepcopy(module).to("meta").train()
        for layer in self._structure.modules():
            if isinstance(layer, _BatchNorm):
                layer.track_running_stats = False
                layer.running_mean = layer.running_var = layer.num_batches_tracked = None
        self._buffers = {name for name, _ in self._structure.named_buffers()}

    def evaluate(self, parameters: Tensors, buffers: Tensors, *inputs: Any) -> Any:
        """The network's outputs at `parameters`, in training mode."""
        kept = {name: buffer for name, buffer in buffers.items() if name in self._buffers}
        return functional_call(self._structure, {**parameters, **kept}, inputs)
