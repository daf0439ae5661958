"""LIMIT's 4-layer CNN for 28x28 images (supplement B of the paper, `4layer-cnn-mnist` in its code)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from lnlib.nets.spec import ImageBatch, ImageShape, NetSpec, Outputs

SIDE = 28


@dataclass(frozen=True)
class CNN(NetSpec):
    """LIMIT's CNN. Images of another size than 28x28 are resized to it (bilinear), which `note` says.

    As a "predictor" (LIMIT's auxiliary network) it has one more BatchNorm, on the 128 units of the hidden
    linear layer, as in the reference code; the paper says "same architecture".
    """

    @property
    def label(self) -> str:
        return "4-layer CNN"

    def note(self, image_shape: ImageShape) -> str:
        height, width = image_shape[1:]
        same = (height, width) == (SIDE, SIDE)
        return "" if same else f"the CNN resizes {height}×{width} images to {SIDE}×{SIDE}"

    def build(self, image_shape: ImageShape, num_classes: int, role: str = "classifier") -> "CNNClassifier":
        return CNNClassifier(image_shape[0], num_classes, hidden_batch_norm=role == "predictor")


class CNNClassifier(nn.Module):
    """What `CNN` builds: 28 → 14 → 7 → 3 → 1, then 256-128-K; 218 122 parameters for K = 10, one channel."""

    def __init__(self, channels: int, num_classes: int, hidden_batch_norm: bool) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_block(channels, 32, kernel=4, stride=2, padding=1),
            *_block(32, 32, kernel=4, stride=2, padding=1),
            *_block(32, 64, kernel=3, stride=2, padding=0),
            *_block(64, 256, kernel=3, stride=1, padding=0),
            nn.Flatten(),
        )
        self.hidden = nn.Linear(256, 128)
        self.hidden_norm = nn.BatchNorm1d(128) if hidden_batch_norm else nn.Identity()
        self.output = nn.Linear(128, num_classes)

    def forward(self, x: ImageBatch) -> Outputs:
        """Logits (B, K) and the 128 hidden units (B, 128) of images (B, C, H, W)."""
        if x.shape[-2:] != (SIDE, SIDE):
            x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)
        features = F.relu(self.hidden_norm(self.hidden(self.convolutions(x))))
        return self.output(features), features


def _block(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
