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
