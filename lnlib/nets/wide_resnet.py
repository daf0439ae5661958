"""Wide residual networks (Zagoruyko and Komodakis, BMVC 2016), MetaInfoNet's under symmetric noise."""

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from lnlib.checks import Count, checked
from lnlib.errors import InvalidValue
from lnlib.nets.spec import ImageBatch, ImageShape, NetSpec, Outputs


@checked
@dataclass(frozen=True)
class WideResNet(NetSpec):
    """WRN-28-10 by default: 160, 320 and 640 channels in four blocks each, without dropout.

    It takes images of every size. 36 479 194 parameters for K = 10, 36 536 884 for K = 100. Raises
    `InvalidValue` for a depth that is not 6n + 4. Source: MetaInfoNet, section 5.1; initial weights as in the
    code that is usual for it (xternalz/WideResNet-pytorch).
    """

    depth: Count = 28
    width: Count = 10

    def __post_init__(self) -> None:
        if self.depth < 10 or (self.depth - 4) % 6:
            raise InvalidValue(f"depth must be 6n + 4 for n blocks a stage, got {self.depth}; try depth=28")

    @property
    def label(self) -> str:
        return f"WRN-{self.depth}-{self.width}"

    def build(self, image_shape: ImageShape, num_classes: int, role: str = "classifier") -> nn.Module:
        return WideResNetClassifier(image_shape[0], num_classes, (self.depth - 4) // 6, self.width)


class WideResNetClassifier(nn.Module):
    """A 3x3 convolution, three stages of blocks, the mean over the picture, a linear layer."""

    def __init__(self, channels: int, num_classes: int, blocks: int, width: int) -> None:
        super().__init__()
        widths = [16] + [16 * width] * blocks + [32 * width] * blocks + [64 * width] * blocks
        self.stem = nn.Conv2d(channels, 16, kernel_size=3, padding=1, bias=False)
        self.blocks = nn.Sequential(
            *(
                _Block(inputs, outputs, stride=2 if number in (blocks, 2 * blocks) else 1)
                for number, (inputs, outputs) in enumerate(pairwise(widths))
            )
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.output = nn.Linear(widths[-1], num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        nn.init.zeros_(self.output.bias)

    def forward(self, x: ImageBatch) -> Outputs:
        """Logits (B, K) and the pooled features (B, 64·width) of images (B, C, H, W)."""
        features = F.relu(self.norm(self.blocks(self.stem(x)))).mean((2, 3))
        return self.output(features), features


class _Block(nn.Module):
    """BatchNorm and ReLU before each of two 3x3 convolutions; a 1x1 convolution on the shortcut where the
    width changes, which takes what comes out of the first ReLU.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first_norm = nn.BatchNorm2d(inputs)
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = inputs == outputs
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.first_norm(x))
        residual: Tensor = self.second(F.relu(self.second_norm(self.first(active))))
        return residual + (x if self.shortcut is None else self.shortcut(active))
