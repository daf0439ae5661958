"""Augmentation as batched tensor code: it runs where the images are, with random numbers from the run's own
stream.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lnlib.errors import InvalidValue


@dataclass(frozen=True)
class FlipCrop:
    """A horizontal flip with probability 1/2 and a random crop of the zero-padded image, as both papers do on
    CIFAR.

    LIMIT's text says "28x28 crops padded back to 32x32"; its code pads by 4 and crops 32, which is what this
    does.
    """

    padding: int = 4

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise InvalidValue(f"padding must be at least 0, got {self.padding}; the papers use 4")

    def __call__(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels height width"]:
        """Flipped and shifted images of the same shape (B, C, H, W), drawn from `generator` on the images'
        device.
        """
        batch, _, height, width = images.shape
        device, reach = images.device, 2 * self.padding + 1
        top, left = torch.randint(reach, (2, batch, 1), generator=generator, device=device)
        flip = torch.rand((batch, 1), generator=generator, device=device) < 0.5
        rows = top + torch.arange(height, device=device)
        steps = torch.arange(width, device=device)
        columns = left + torch.where(flip, width - 1 - steps, steps)
        padded = F.pad(images, (self.padding,) * 4)
        examples = torch.arange(batch, device=device)
        # Advanced indices around a slice put the channels last: (B, H, W, C).
        crop = padded[examples[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return crop.permute(0, 3, 1, 2)
