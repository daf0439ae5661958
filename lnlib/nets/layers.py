"""Layers that the course's networks share."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from lnlib.errors import InvalidValue


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


class BatchNorm1d(nn.BatchNorm1d):
    """PyTorch's BatchNorm over (B, F), evaluated as one scale and shift.

    With `side_by_side`, the training steps of a stack of runs normalise all members by one call. For large
    stacks both are faster than `torch.vmap`'s own rules.
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
        if not self.side_by_side:
            return super().forward(x)
        self.num_batches_tracked.add_(1)
        return batch_norm_side_by_side(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.momentum, self.eps
        )[0]


def batch_norm_side_by_side(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    """BatchNorm for all members of a stack by one call, inside `torch.vmap`: features (B, F), normalised, and
    what they were shifted and scaled by (F,). `rest` is running mean and variance, weight and bias (F,),
    momentum and ε.
    """
    if has_torch_function((x,)):
        found = handle_torch_function(batch_norm_side_by_side, (x,), x, *rest)
    else:
        found = _SideBySide.apply(x, *rest)
    normalised, mean, scale = found
    return normalised, mean, scale


class _SideBySide(torch.autograd.Function):
    """BatchNorm of (M, B, F) under `torch.vmap`, as one of (B, M·F); it updates the running statistics.

    Autograd acts outside of `vmap` and records that one call.
    """

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        raise NotImplementedError("BatchNorm goes side by side inside torch.vmap only")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing to keep: the call inside is recorded by itself."""
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        x: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor,
        bias: Tensor,
        momentum: float,
        eps: float,
    ) -> Any:
        """Features (M, B, F), statistics and weights (M, F) to normalised features (M, B, F)."""
        members, batch, features = x.shape
        columns = (mean.view(-1), var.view(-1), weight.reshape(-1), bias.reshape(-1))
        wide = x.transpose(0, 1).reshape(batch, members * features)
        wide, mean, scale = torch.native_batch_norm(wide, *columns[2:], *columns[:2], True, momentum, eps)
        y = wide.view(batch, members, features).transpose(0, 1).contiguous()
        return (y, mean.view(members, -1), scale.view(members, -1)), (0, 0, 0)


class BatchNormOfBatch(nn.Module):
    """BatchNorm by the batch alone: it keeps no running statistics, and has the weights of another layer.

    With `one_type` the input gets the type of the weights: torch.func cannot differentiate BatchNorm of two.
    """

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm, one_type: bool = False) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = layer.weight, layer.bias, layer.eps
        self.one_type = one_type

    def forward(self, x: Float[Tensor, "batch channels *pixels"]) -> Float[Tensor, "batch channels *pixels"]:
        """Features or channels normalised by the batch: (B, C, ...) to (B, C, ...)."""
        if self.one_type:
            x = x.to(self.weight.dtype)
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
