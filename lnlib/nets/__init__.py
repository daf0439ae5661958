"""The networks of both papers. A spec such as `MLP(64)` is a frozen dataclass that builds the module."""

from lnlib.nets.cnn import CNN
from lnlib.nets.layers import BatchNorm1d, Dropout, Memory
from lnlib.nets.mlp import MLP
from lnlib.nets.net import MemberNet, Net, Skeleton
from lnlib.nets.own import Classifier, OwnNet
from lnlib.nets.resnet import ResNet32, ResNet34, ResNet50
from lnlib.nets.spec import NetSpec
from lnlib.nets.wide_resnet import WideResNet

__all__ = [
    "CNN", "MLP", "BatchNorm1d", "Classifier", "Dropout", "MemberNet", "Memory", "Net", "NetSpec", "OwnNet",
    "ResNet32", "ResNet34", "ResNet50", "Skeleton", "WideResNet",
]  # fmt: skip
