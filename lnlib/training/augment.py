"""Augmentation as batched tensor code: it runs where the images are, with random numbers from the run's own
stream.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lnlib.errors import InvalidValue

ImageShape = tuple[int, int, int]


class Augmentation(Protocol):
    """What every augmentation offers."""

    def shape(self, image_shape: ImageShape) -> ImageShape:
        """The shape (C, H, W) that a network sees of images (C, H, W)."""
        ...

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W) as they are trained on, drawn from `generator` on the images' device."""
        ...

    def evaluation(self, images: Tensor) -> Tensor:
        """Images (..., C, H, W) as they are evaluated: in the same shape, with nothing drawn."""
        ...


@dataclass(frozen=True)
class FlipCrop:
    """A horizontal flip with probability 1/2 and a random crop of the padded image, as both papers do on
    CIFAR.

    LIMIT's text says "28x28 crops padded back to 32x32"; its code pads by 4 zeros and crops 32, which is what
    this does. `mode="reflect"` pads with the image's own reflection instead, as MW-Net's code does and with
    it MetaInfoNet.
    """

    padding: int = 4
    mode: Literal["zeros", "reflect"] = "zeros"

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise InvalidValue(f"padding must be at least 0, got {self.padding}; the papers use 4")
        if self.mode not in ("zeros", "reflect"):
            raise InvalidValue(f"mode must be 'zeros' or 'reflect', got {self.mode!r}; LIMIT uses 'zeros'")

    def shape(self, image_shape: ImageShape) -> ImageShape:
        """The same: (C, H, W) to (C, H, W); raises `InvalidValue` for images too small to be reflected."""
        if self.mode == "reflect" and self.padding >= min(image_shape[1:]):
            raise InvalidValue(
                f"a reflection of {self.padding} pixels needs larger images, got "
                f"{image_shape[1]}×{image_shape[2]}; make padding smaller"
            )
        return image_shape

    def __call__(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels height width"]:
        """Flipped and shifted images of the same shape (B, C, H, W), drawn from `generator` on the images'
        device.
        """
        height, width = images.shape[-2:]
        reach = 2 * self.padding + 1
        corners = torch.randint(reach, (2, len(images), 1), generator=generator, device=images.device)
        mode = "constant" if self.mode == "zeros" else "reflect"
        padded = F.pad(images, (self.padding,) * 4, mode)
        return _flipped_crops(padded, corners, (height, width), generator)

    def evaluation(
        self, images: Float[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "*batch channels height width"]:
        """The images as they are."""
        return images


@dataclass(frozen=True)
class CropFlip:
    """A random crop of size × size and a horizontal flip with probability 1/2, as LIMIT does on Clothing1M:
    224 out of 256. For evaluation the whole image is resized to size × size (bilinear, with antialiasing).
    """

    size: int = 224

    def __post_init__(self) -> None:
        _check_size(self.size)

    def shape(self, image_shape: ImageShape) -> ImageShape:
        """(C, size, size); raises `InvalidValue` for images (C, H, W) that are smaller."""
        return _crop_shape(self.size, image_shape)

    def __call__(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels size size"]:
        """Crops (B, C, size, size) of images (B, C, H, W), drawn from `generator` on the images' device."""
        height, width = images.shape[-2:]
        corners = torch.stack(
            [
                torch.randint(
                    side - self.size + 1, (len(images), 1), generator=generator, device=images.device
                )
                for side in (height, width)
            ]
        )
        return _flipped_crops(images, corners, (self.size, self.size), generator)

    def evaluation(
        self, images: Float[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "*batch channels size size"]:
        """The images (..., C, H, W) resized to (..., C, size, size)."""
        flat = images.flatten(end_dim=-4) if images.ndim > 4 else images
        small = F.interpolate(flat, (self.size, self.size), mode="bilinear", antialias=True)
        return small.reshape(*images.shape[:-2], self.size, self.size)


@dataclass(frozen=True)
class CenterCrop:
    """The middle size × size of an image, in training and in evaluation: MetaInfoNet's way with Clothing1M,
    224 out of 256.
    """

    size: int = 224

    def __post_init__(self) -> None:
        _check_size(self.size)

    def shape(self, image_shape: ImageShape) -> ImageShape:
        """(C, size, size); raises `InvalidValue` for images (C, H, W) that are smaller."""
        return _crop_shape(self.size, image_shape)

    def __call__(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels size size"]:
        """The middles (B, C, size, size) of images (B, C, H, W); nothing is drawn."""
        return self.evaluation(images)

    def evaluation(
        self, images: Float[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "*batch channels size size"]:
        """The middles (..., C, size, size) of images (..., C, H, W)."""
        height, width = images.shape[-2:]
        top, left = (height - self.size) // 2, (width - self.size) // 2
        return images[..., top : top + self.size, left : left + self.size]


def _check_size(size: int) -> None:
    if size < 1:
        raise InvalidValue(f"size must be at least 1 pixel, got {size}; the papers use 224")


def _crop_shape(size: int, image_shape: ImageShape) -> ImageShape:
    channels, height, width = image_shape
    if min(height, width) < size:
        raise InvalidValue(
            f"crops of {size}×{size} need images at least as large, got {height}×{width}; make size smaller"
        )
    return channels, size, size


def _flipped_crops(
    images: Tensor, corners: Tensor, size: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Crops (B, C, *size) whose tops and lefts are `corners` (2, B, 1), half of them flipped."""
    (top, left), (height, width) = corners, size
    device, batch = images.device, len(images)
    flip = torch.rand((batch, 1), generator=generator, device=device) < 0.5
    rows = top + torch.arange(height, device=device)
    steps = torch.arange(width, device=device)
    columns = left + torch.where(flip, width - 1 - steps, steps)
    examples = torch.arange(batch, device=device)
    # Advanced indices around a slice put the channels last: (B, H, W, C).
    crop = images[examples[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return crop.permute(0, 3, 1, 2)
