"""Layers that the course's networks share."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

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
        normalised: Tensor = _SideBySide.apply(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.momentum, self.eps
        )
        return normalised


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
    ) -> tuple[Tensor, int]:
        """Features (M, B, F), statistics and weights (M, F) to normalised features (M, B, F)."""
        members, batch, features = x.shape
        columns = (mean.view(-1), var.view(-1), weight.reshape(-1), bias.reshape(-1))
        wide = x.transpose(0, 1).reshape(batch, members * features)
        wide = F.batch_norm(wide, *columns, True, momentum, eps)
        return wide.view(batch, members, features).transpose(0, 1).contiguous(), 0


class BatchNormOfBatch(nn.Module):
    """BatchNorm by the batch alone: it keeps no running statistics, and has the weights of another layer.

    In `forward_mode` the directional derivative of images takes a third of the passes that PyTorch's own
    takes. With `one_type` the input gets the type of the weights: torch.func cannot differentiate
    BatchNorm of two.
    """

    forward_mode = False

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm, one_type: bool = False) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = layer.weight, layer.bias, layer.eps
        self.one_type = one_type

    def forward(self, x: Float[Tensor, "batch channels *pixels"]) -> Float[Tensor, "batch channels *pixels"]:
        """Features or channels normalised by the batch: (B, C, ...) to (B, C, ...)."""
        if self.one_type:
            x = x.to(self.weight.dtype)
        if self.forward_mode and x.ndim > 2:
            normalised: Tensor = _ForwardModeNorm.apply(x, self.weight, self.bias, self.eps)[0]
            return normalised
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


class _ForwardModeNorm(torch.autograd.Function):
    """Batch normalisation y = γ(x − μ)r + β with its directional derivative, which is linear in x and ẋ."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Any:
        return torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what the derivative needs."""
        x, weight, _, _ = inputs
        _, mean, scale = output
        ctx.mark_non_differentiable(mean, scale)
        ctx.save_for_forward(x, weight, mean, scale)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, None, None]:
        """ẏ = aẋ + bx + c with a = γr, b = γ̇r − ar²·cov(x, ẋ) and c = β̇ − bμ − a·mean(ẋ), by channel."""
        x, weight, mean, scale = ctx.saved_tensors
        x_dot, weight_dot, bias_dot, _ = tangents
        others, count = [0, *range(2, x.ndim)], x.numel() // x.shape[1]
        mean_dot = x_dot.sum(others, dtype=weight.dtype) / count
        covariance = (x * x_dot).sum(others, dtype=weight.dtype) / count - mean * mean_dot
        a = weight * scale
        b = weight_dot * scale - a * scale.square() * covariance
        c = bias_dot - b * mean - a * mean_dot
        a, b, c = (column.view(1, -1, *[1] * (x.ndim - 2)) for column in (a, b, c))
        return torch.addcmul(torch.addcmul(c, x, b), x_dot, a).to(x.dtype), None, None
