"""What every network spec offers, and the shapes that all classifiers share."""

from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from lnlib.errors import InvalidValue

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


def narrowed(net: Any, times: int) -> NetSpec:
    """The same network with so many times fewer units in each hidden layer.

    Raises `InvalidValue` for one that comes in a single width.
    """
    if not hasattr(net, "width"):
        raise InvalidValue(f"{net.label} comes in one width, got narrower={times}; take an MLP, CNN or WRN")
    narrow: NetSpec = replace(net, width=max(1, net.width // times))
    return narrow
