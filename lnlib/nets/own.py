"""A reader's own network in the place of one of lnlib's."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lnlib.errors import InvalidValue, shown
from lnlib.nets.spec import ImageShape, NetSpec


@dataclass(frozen=True, eq=False)
class OwnNet(NetSpec):
    """The spec of a module that gives logits (B, K), or (logits, features), for images (B, C, H, W).

    A module's own weights are where the classifier begins; a method's other networks are copies with fresh
    ones, by `reset_parameters`. A function that makes a module is called for each network, whose weights then
    come from the run's seed. Where no features are given they are the logits.
    """

    source: nn.Module | Callable[[], nn.Module]

    @property
    def label(self) -> str:
        return type(self._made()).__name__

    def build(self, image_shape: ImageShape, num_classes: int, role: str = "classifier") -> nn.Module:
        """The network for images (C, H, W); raises `InvalidValue` where it gives no logits for them."""
        module = self._made()
        if module is self.source:
            module = copy.deepcopy(module)
            if role != "classifier":
                for layer in module.modules():
                    if callable(reset := getattr(layer, "reset_parameters", None)):
                        reset()
        network = Classifier(module)
        _check(network, image_shape, num_classes)
        return network

    def _made(self) -> nn.Module:
        try:
            made = self.source if isinstance(self.source, nn.Module) else self.source()
        except TypeError as error:  # one that needs arguments
            raise InvalidValue(
                f"net must be a network or a function that makes one from nothing, got {shown(self.source)}; "
                "try lambda: MyNet(...)"
            ) from error
        if not isinstance(made, nn.Module):
            raise InvalidValue(
                f"net must be a network, its name, or a function that makes one, got one of {shown(made)}; "
                "return a torch.nn.Module"
            )
        return made

    def __repr__(self) -> str:
        return f"OwnNet({self._made()!r})"


class Classifier(nn.Module):
    """A module that gives (logits, features) as lnlib's networks do; its logits where it has no features."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and features of images (B, C, H, W)."""
        found: Any = self.net(x)
        if isinstance(found, Tensor):
            return found, found
        logits, features = found
        return logits, features


@torch.no_grad()
def _check(network: Classifier, image_shape: ImageShape, num_classes: int) -> None:
    training = network.training
    expected = f"logits of shape (batch, {num_classes}) for images of shape {image_shape}"
    try:
        logits, _ = network.eval()(torch.zeros(2, *image_shape))
        shape = tuple(logits.shape)
    except Exception as error:  # a reader's code can raise anything
        cause = str(error).strip().partition("\n")[0]
        raise InvalidValue(
            f"net must give {expected}, got {type(error).__name__}: {cause}; try it on torch.zeros(2, "
            f"{', '.join(map(str, image_shape))})"
        ) from error
    network.train(training)
    if shape != (2, num_classes):
        raise InvalidValue(
            f"net must give {expected}, got {shape} for two images; end it with nn.Linear(..., {num_classes})"
        )
