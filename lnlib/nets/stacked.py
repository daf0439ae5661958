"""What makes a stack of runs faster than `torch.vmap` alone: all members' layers and derivatives by one call.

PyTorch's public way out of `vmap`, an `autograd.Function` with a rule of its own, takes .1 to .2 ms a call,
as long as the layer itself. The private parts imported here are what it uses inside, under these names since
2.0, and no other file knows of them. Should they go, methods train beneath plain `vmap`, and those that take
a virtual step one by one.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import jvp
from torch.utils._pytree import tree_map

from lnlib.device import full_precision
from lnlib.nets.layers import BatchNorm1d, BatchNormOfBatch
from lnlib.nets.net import MemberNet, Tensors, forward_mode, gradients

try:
    from torch._C._functorch import (
        _add_batch_dim,
        get_unwrapped,
        is_batchedtensor,
        maybe_current_level,
        maybe_get_bdim,
        maybe_get_level,
    )
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True


def in_stack(*tensors: Tensor) -> bool:
    """Whether all of them are one member's inside `torch.vmap`, and in no other transform within it."""
    if not AVAILABLE or not all(map(is_batchedtensor, tensors)):
        return False
    level = maybe_current_level()
    return all(maybe_get_level(tensor) == level for tensor in tensors)


def of_all(tensor: Tensor) -> Tensor:
    """The tensors of all members (M, ...), from what `torch.vmap` shows as one of them."""
    place: int = maybe_get_bdim(tensor)
    stacked: Tensor = get_unwrapped(tensor)
    return stacked.movedim(place, 0) if place else stacked


def of_each(stacked: Tensor) -> Tensor:
    """One member's tensor as `torch.vmap` shows it, from those of all members (M, ...)."""
    level: Any = maybe_current_level()
    member: Tensor = _add_batch_dim(stacked, 0, level)
    return member


def stand_side_by_side(module: nn.Module) -> None:
    """Let the layers of a stack's own template take all members by one call."""
    for layer in module.modules():
        layer.__class__ = SIDE_BY_SIDE.get(type(layer), type(layer))


class StackedLinear(nn.Linear):
    """The linear layers of all members; also where the weights and inputs of all come together (M, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.ndim == 3:
            return _linear(x, self.weight, self.bias)
        if in_stack(x, self.weight):
            bias = None if self.bias is None else of_all(self.bias)
            return of_each(_linear(of_all(x), of_all(self.weight), bias))
        return super().forward(x)


class StackedBatchNorm1d(BatchNorm1d):
    """The BatchNorm layers of all members, which move their running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.num_batches_tracked is None or not in_stack(x, self.weight):
            return super().forward(x)
        self.num_batches_tracked.add_(1)
        statistics = self.running_mean, self.running_var
        return _batch_norm(x, *statistics, self.weight, self.bias, self.momentum or 0.0, self.eps)


class StackedBatchNormOfBatch(BatchNormOfBatch):
    """The BatchNorm layers of all members, by the batch alone."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 2 or not in_stack(x, self.weight):
            return super().forward(x)
        return _batch_norm(x, None, None, self.weight, self.bias, 0.0, self.eps)


SIDE_BY_SIDE: dict[type, type] = {
    nn.Linear: StackedLinear,
    BatchNorm1d: StackedBatchNorm1d,
    BatchNormOfBatch: StackedBatchNormOfBatch,
}


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    factors = x, weight.mT
    return torch.bmm(*factors) if bias is None else torch.baddbmm(bias[:, None], *factors)


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    momentum: float,
    eps: float,
) -> Tensor:
    """(B, F) inside `torch.vmap`: all members' features as those (B, M·F) of one layer; statistics move."""
    stack = of_all(x)
    members, batch, features = stack.shape
    columns = (weight, bias, running_mean, running_var)
    wide = [None if column is None else of_all(column).reshape(-1) for column in columns]
    normalise = partial(torch.native_batch_norm, training=True, momentum=momentum, eps=eps)
    normalised = normalise(stack.transpose(0, 1).reshape(batch, members * features), *wide)[0]
    return of_each(normalised.view(batch, members, features).transpose(0, 1).contiguous())


class StackedNet(MemberNet):
    """Every member at once, inside `torch.vmap`. Autograd acts outside of it."""

    def __call__(self, *inputs: Any) -> Any:
        takes_stacks = getattr(self.module, "takes_stacks", False)  # it leaves leading dimensions alone
        if not takes_stacks or not in_stack(*_tensors(inputs), *self.parameters.values()):
            return super().__call__(*inputs)
        parameters = {name: of_all(value) for name, value in self.parameters.items()}
        stacks = (of_all(value) if isinstance(value, Tensor) else value for value in inputs)
        return tree_map(of_each, self.skeleton.evaluate(parameters, {}, *stacks))

    def gradient(self, output: Tensor, weights: Tensor) -> Tensors:
        leaves = {name: of_all(value) for name, value in self.parameters.items()}
        found = gradients(of_all(output), leaves, of_all(weights), keep=True)
        return {name: of_each(gradient) for name, gradient in found.items()}

    def value_and_gradient(
        self, function: Callable[[Tensors], Tensor], parameters: Tensors
    ) -> tuple[Tensor, Tensors]:
        leaves = {name: nn.Parameter(of_all(value.detach())) for name, value in parameters.items()}
        with torch.enable_grad():
            value = function({name: of_each(leaf) for name, leaf in leaves.items()})
        found = gradients(of_all(value), leaves, torch.ones_like(of_all(value)))
        return value.detach(), {name: of_each(gradient) for name, gradient in found.items()}

    @torch.no_grad()
    def derivative(self, along: Tensors, *inputs: Any) -> Tensor:
        at, along = dict(self.parameters), dict(along)
        if not in_stack(*_tensors(inputs), *at.values(), *along.values()):
            with full_precision(inputs[0]), forward_mode():  # which `vmap` knows of by `jvp` alone
                change: Tensor = jvp(lambda at: self.at(at, *inputs)[0], (at,), (along,))[1]
            return change
        with full_precision(inputs[0]), forward_mode(), forward_ad.dual_level():
            dual = {
                name: of_each(forward_ad.make_dual(of_all(weight.detach()), of_all(along[name])))  # type: ignore[no-untyped-call]
                for name, weight in at.items()
            }
            logits = of_all(self.at(dual, *inputs)[0])
            tangent: Tensor = forward_ad.unpack_dual(logits).tangent  # type: ignore[no-untyped-call]
            return of_each(tangent)


def _tensors(inputs: tuple[Any, ...]) -> list[Tensor]:
    return [value for value in inputs if isinstance(value, Tensor)]
