"""LIMIT's 4-layer CNN for 28x28 images (supplement B of the paper, `4layer-cnn-mnist` in its code)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from lnlib.checks import Count, checked
from lnlib.nets.spec import ImageBatch, ImageShape, NetSpec, Outputs

SIDE = 28


@checked
@dataclass(frozen=True)
class CNN(NetSpec):
    """LIMIT's CNN. Images of another size than 28x28 are resized to it (bilinear), which `note` says.

    As a "predictor" (LIMIT's auxiliary network) it has one more BatchNorm, on the 128 units of the hidden
    linear layer, as in the reference code; the paper says "same architecture". The layers have 1, 1,
    2, 8 and 4 times `width` channels and hidden units; 32 is LIMIT's.
    """

    width: Count = 32

    @property
    def label(self) -> str:
        return "4-layer CNN" + (f" of width {self.width}" if self.width != 32 else "")

    def note(self, image_shape: ImageShape) -> str:
        height, width = image_shape[1:]
        same = (height, width) == (SIDE, SIDE)
        return "" if same else f"the CNN resizes {height}×{width} images to {SIDE}×{SIDE}"

    def build(self, image_shape: ImageShape, num_classes: int, role: str = "classifier") -> "CNNClassifier":
        return CNNClassifier(image_shape[0], num_classes, self.width, hidden_batch_norm=role == "predictor")


class CNNClassifier(nn.Module):
    """What `CNN` builds: 28 → 14 → 7 → 3 → 1, then 256-128-K; 218 122 parameters for K = 10, one channel.

    The numbers are those of width 32.
    """

    def __init__(self, channels: int, num_classes: int, width: int, hidden_batch_norm: bool) -> None:
        super().__init__()
        hidden = 4 * width
        self.convolutions = nn.Sequential(
            *_block(channels, width, kernel=4, stride=2, padding=1),
            *_block(width, width, kernel=4, stride=2, padding=1),
            *_block(width, 2 * width, kernel=3, stride=2, padding=0),
            *_block(2 * width, 8 * width, kernel=3, stride=1, padding=0),
            nn.Flatten(),
        )
        self.hidden = nn.Linear(8 * width, hidden)
        self.hidden_norm = nn.BatchNorm1d(hidden) if hidden_batch_norm else nn.Identity()
        self.output = nn.Linear(hidden, num_classes)

    def forward(self, x: ImageBatch) -> Outputs:
        """Logits (B, K) and the hidden units (B, 4·width) of images (B, C, H, W)."""
        if x.shape[-2:] != (SIDE, SIDE):
            x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)
        features = F.relu(self.hidden_norm(self.hidden(self.convolutions(x))))
        return self.output(features), features


def _block(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
