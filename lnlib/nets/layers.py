"""Layers that the course's networks share."""

import torch
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


class BatchNorm1d(nn.BatchNorm1d):
    """PyTorch's BatchNorm over (B, F), evaluated as one scale and shift.

    That takes half the time of `torch.vmap`'s own rule when a stack of runs is evaluated.
    """

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """Features normalised by the batch in training mode, else by the running statistics: (B, F) to (B,
        F).
        """
        if self.training or self.running_mean is None or self.running_var is None:
            return super().forward(x)
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return torch.addcmul(self.bias - self.running_mean * scale, x, scale)
