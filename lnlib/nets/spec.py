"""What every network spec offers, and the shapes that all classifiers share."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

ImageShape = tuple[int, int, int]
ImageBatch = Float[Tensor, "batch channels height width"]
Outputs = tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch features"]]
"""Logits (B, K) and the features (B, F) that the last layer makes them of."""


@runtime_checkable
class NetSpec(Protocol):
    """A frozen description of a network, from which `build` makes any number of them."""

    @property
    def label(self) -> str:
        """A short name for figures and tables."""
        ...

    def note(self, image_shape: ImageShape) -> str:
        """What happens to images (C, H, W) before the first layer, in words; empty when nothing does."""
        return ""

    def build(self, image_shape: ImageShape, num_classes: int, role: str = "classifier") -> nn.Module:
        """A new classifier for images of shape (C, H, W) whose forward gives (logits, features)."""
        ...
