"""Layers that the course's networks share."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import wrap_torch_function

from lnlib.errors import InvalidValue
from lnlib.nets.together import in_stack, of_all, of_each


class Dropout(nn.Module):
    """Dropout whose mask is drawn by the training run, so that a run stacked with others equals the run
    alone.

    Before each step the run puts uniform numbers of shape (batch, features) into `uniform`; an element is
    dropped where its number is below `rate`. Outside a training run the numbers come from PyTorch's global
    generator.
    """

    uniform: Tensor

    def __init__(self, rate: float, features: int) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise InvalidValue(f"dropout rate must lie in [0, 1), got {rate}; use 0 for no dropout")
        self.rate, self.features = rate, features
        self.register_buffer("uniform", torch.empty(0), persistent=False)

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """In training mode, zero a share `rate` of the features and rescale the rest: (B, F) to (B, F)."""
        if not self.training or self.rate == 0:
            return x
        uniform = self.uniform[: len(x)] if self.uniform.numel() else torch.rand_like(x)
        return x * (uniform >= self.rate) / (1 - self.rate)


class Memory(nn.Module):
    """What a method remembers between batches, as named buffers: it is saved, stacked and moved like
    weights."""

    def __init__(self, **tensors: Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


class Linear(nn.Linear):
    """PyTorch's linear layer; those of a stack of runs are one call where they stand `side_by_side`, or where
    the weights and inputs of all members come together.
    """

    side_by_side = False

    def forward(self, x: Float[Tensor, "*members batch inputs"]) -> Float[Tensor, "*members batch outputs"]:
        """(B, inputs) to (B, outputs)."""
        if self.weight.ndim == 3:
            return _stacked_linear(x, self.weight, self.bias)
        if self.side_by_side and in_stack(x, self.weight):
            return linear_side_by_side(x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias)


class BatchNorm1d(nn.BatchNorm1d):
    """PyTorch's BatchNorm over (B, F), evaluated as one scale and shift; that of a stack of runs is one call
    where they stand `side_by_side`.
    """

    side_by_side = False

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """Features normalised by the batch in training mode, else by the running statistics: (B, F) to (B,
        F).
        """
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return super().forward(x)
        if not self.training:
            scale = self.weight * torch.rsqrt(self.running_var + self.eps)
            return torch.addcmul(self.bias - self.running_mean * scale, x, scale)
        if not (self.side_by_side and in_stack(x, self.weight)):
            return super().forward(x)
        self.num_batches_tracked.add_(1)
        return batch_norm_side_by_side(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.momentum or 0.0, self.eps
        )[0]


@wrap_torch_function(lambda x, *rest: (x,))
def linear_side_by_side(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer inside `torch.vmap`, of all members by one call: (B, inputs) to (B, outputs)."""
    return of_each(_stacked_linear(of_all(x), of_all(weight), None if bias is None else of_all(bias)))


def _stacked_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    factors = x, weight.mT
    return torch.bmm(*factors) if bias is None else torch.baddbmm(bias[:, None], *factors)


@wrap_torch_function(lambda x, *rest: (x,))
def batch_norm_side_by_side(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """BatchNorm inside `torch.vmap`, of all members by one call; it updates the running statistics.

    The normalised features (B, F), and the mean and the scale (F,) that did it.
    """
    normalise = partial(torch.native_batch_norm, training=True, momentum=momentum, eps=eps)
    normalised, mean, scale = side_by_side(normalise, x, weight, bias, running_mean, running_var)
    return normalised, mean, scale


def side_by_side(function: Callable[..., Any], *tensors: Tensor | None) -> tuple[Tensor, ...]:
    """Inside `torch.vmap`, what a function of features (B, F) and of columns (F,) gives, as one call for all
    members: it is given (B, M·F) and (M·F,).
    """
    stacks = [None if tensor is None else of_all(tensor) for tensor in tensors]
    members, batch, features = next(stack.shape for stack in stacks if stack is not None and stack.ndim == 3)

    def widened(stack: Tensor) -> Tensor:
        if stack.ndim == 2:
            return stack.reshape(-1)
        return stack.transpose(0, 1).reshape(batch, members * features)

    def parted(wide: Tensor) -> Tensor:
        if wide.ndim == 1:
            return wide.view(members, features)
        return wide.view(batch, members, features).transpose(0, 1).contiguous()

    given = (None if stack is None else widened(stack) for stack in stacks)
    return tuple(of_each(parted(wide)) for wide in function(*given))


class BatchNormOfBatch(nn.Module):
    """BatchNorm by the batch alone: it keeps no running statistics, and has the weights of another layer."""

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = layer.weight, layer.bias, layer.eps
        self.side_by_side = getattr(layer, "side_by_side", False)

    def forward(self, x: Float[Tensor, "batch channels *pixels"]) -> Float[Tensor, "batch channels *pixels"]:
        """Features or channels normalised by the batch: (B, C, ...) to (B, C, ...)."""
        if self.side_by_side:
            return batch_norm_side_by_side(x, None, None, self.weight, self.bias, 0.0, self.eps)[0]
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
