"""The networks of both papers. A spec such as `MLP(64)` is a frozen dataclass; `spec.build(...)` makes the
module.
"""

from typing import Protocol, runtime_checkable

from torch import nn

from lnlib.nets.cnn import CNN
from lnlib.nets.layers import BatchNorm1d, Dropout, Memory
from lnlib.nets.mlp import MLP
from lnlib.nets.net import MemberNet, Net, Skeleton
from lnlib.nets.own import Classifier, OwnNet
from lnlib.nets.resnet import ResNet32, ResNet34, ResNet50
from lnlib.nets.wide_resnet import WideResNet

__all__ = [
    "CNN",
    "MLP",
    "BatchNorm1d",
    "Classifier",
    "Dropout",
    "MemberNet",
    "Memory",
    "Net",
    "NetSpec",
    "OwnNet",
    "ResNet32",
    "ResNet34",
    "ResNet50",
    "Skeleton",
    "WideResNet",
]


@runtime_checkable
class NetSpec(Protocol):
    """What every network spec offers."""

    @property
    def label(self) -> str:
        """A short name for figures and tables."""
        ...

    def note(self, image_shape: tuple[int, int, int]) -> str:
        """What happens to images (C, H, W) before the first layer, in words; empty when nothing does."""
        ...

    def build(self, image_shape: tuple[int, int, int], num_classes: int, role: str = ...) -> nn.Module:
        """A new classifier for images of shape (C, H, W) whose forward gives (logits, features)."""
        ...
