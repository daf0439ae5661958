"""The fully connected network of LIMIT's Figure 1 (4x512), and its small sibling for the lessons."""

from dataclasses import dataclass
from math import prod

from torch import nn

from lnlib.checks import Count, Rate, checked
from lnlib.nets.layers import BatchNorm1d, Dropout
from lnlib.nets.spec import ImageBatch, ImageShape, NetSpec, Outputs


@checked
@dataclass(frozen=True)
class MLP(NetSpec):
    """An MLP: `depth` hidden layers of `width` ReLU units. 4x512 is the paper's, 4x64 the lessons'.

    The paper names "ReLU units" only, its code puts BatchNorm before each of them: `batch_norm=True` follows
    the code. Dropout comes after the activation. Source: LIMIT, section 2.1.
    """

    width: Count = 64
    depth: Count = 4
    batch_norm: bool = True
    dropout: Rate = 0.0

    @property
    def label(self) -> str:
        return f"MLP {self.depth}×{self.width}" + (f", dropout {self.dropout:g}" if self.dropout else "")

    def build(self, image_shape: ImageShape, num_classes: int, role: str = "classifier") -> "MLPClassifier":
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

    def forward(self, x: ImageBatch) -> Outputs:
        """Logits (B, K) and the last hidden layer (B, width) of images (B, C, H, W)."""
        features = self.hidden(x)
        return self.output(features), features
