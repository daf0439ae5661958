"""The fully connected network of LIMIT's Figure 1 (four layers of 512 ReLU units) and its small sibling for
the lessons.
"""

from dataclasses import dataclass
from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from lnlib.checks import Count, Rate, checked
from lnlib.nets.layers import BatchNorm1d, Dropout


@checked
@dataclass(frozen=True)
class MLP:
    """An MLP sized by the data: `depth` hidden layers of `width` ReLU units. 4x512 is the paper's, 4x64 the
    lessons'.

    The paper names "ReLU units" only, its code puts BatchNorm before each of them: `batch_norm=True` follows
    the code. Dropout comes after the activation. Raises `InvalidValue`
    for sizes below 1. Source: LIMIT, section 2.1.
    """

    width: Count = 64
    depth: Count = 4
    batch_norm: bool = True
    dropout: Rate = 0.0

    @property
    def label(self) -> str:
        """A short name for figures and tables."""
        return f"MLP {self.depth}×{self.width}" + (f", dropout {self.dropout:g}" if self.dropout else "")

    def note(self, image_shape: tuple[int, int, int]) -> str:
        """Nothing: an MLP takes images of every size."""
        return ""

    def build(
        self, image_shape: tuple[int, int, int], num_classes: int, role: str = "classifier"
    ) -> "MLPClassifier":
        """A new network for images of shape (C, H, W); every role has the same layers."""
        return MLPClassifier(self, prod(image_shape), num_classes)


class MLPClassifier(nn.Module):
    """The module that `MLP` builds."""

    def __init__(self, spec: MLP, inputs: int, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for _ in range(spec.depth):
            layers.append(nn.Linear(inputs, spec.width))
            if spec.batch_norm:
                layers.append(BatchNorm1d(spec.width))
            layers.append(nn.ReLU(inplace=True))
            if spec.dropout:
                layers.append(Dropout(spec.dropout, spec.width))
            inputs = spec.width
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(inputs, num_classes)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch features"]]:
        """Logits (B, K) and the last hidden layer (B, width) of images (B, C, H, W)."""
        features = self.hidden(x)
        return self.output(features), features
