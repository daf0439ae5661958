"""Residual networks: ResNet-34 (LIMIT) and 32 (MetaInfoNet) for small images, 50 for photographs."""

from dataclasses import dataclass
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lnlib.checks import checked
from lnlib.errors import DataUnavailable, InvalidValue
from lnlib.nets.spec import ImageBatch, ImageShape, NetSpec, Outputs


@dataclass(frozen=True)
class ResNet34(NetSpec):
    """ResNet-34 as LIMIT trains it on CIFAR: a 3x3 convolution of stride 1 replaces the 7x7 one and the
    pooling, so that a 32x32 image is 4x4 before the last pooling.

    It takes images of every size. 21 282 122 parameters for K = 10. Blocks are torchvision's; initial weights
    are PyTorch's own, uniform with a standard deviation of 1/√(3·inputs), as in the reference code, and not
    torchvision's. Source: LIMIT, section 4.2; its reference code.
    """

    @property
    def label(self) -> str:
        return "ResNet-34"

    def build(self, image_shape: ImageShape, num_classes: int, role: str = "classifier") -> nn.Module:
        from torchvision.models.resnet import BasicBlock, ResNet  # takes seconds, and MLPs do without

        body = ResNet(BasicBlock, [3, 4, 6, 3])
        body.conv1 = nn.Conv2d(image_shape[0], 64, kernel_size=3, padding=1, bias=False)
        body.maxpool = nn.Identity()
        for layer in body.modules():
            if isinstance(layer, nn.Conv2d):
                layer.reset_parameters()
        return ResNetClassifier(body, num_classes)


@checked
@dataclass(frozen=True)
class ResNet50(NetSpec):
    """torchvision's ResNet-50, for Clothing1M and other photographs; it takes images of every size.

    `weights="imagenet"` begins from torchvision's ImageNet weights (IMAGENET1K_V1) under a new last layer,
    as MetaInfoNet does; LIMIT's code begins from random ones, its text is silent.
    """

    weights: Literal["none", "imagenet"] = "none"

    @property
    def label(self) -> str:
        return "ResNet-50" + (" from ImageNet" if self.weights == "imagenet" else "")

    def build(self, image_shape: ImageShape, num_classes: int, role: str = "classifier") -> nn.Module:
        """Raises `DataUnavailable` without the ImageNet weights, `InvalidValue` unless channels fit them."""
        from torchvision.models import resnet50  # takes seconds, and MLPs do without

        channels = image_shape[0]
        body = resnet50()
        if self.weights == "imagenet":
            if channels != 3:
                raise InvalidValue(
                    f"ImageNet weights take images of 3 channels, got {channels}; use weights='none'"
                )
            body.load_state_dict(_imagenet_weights())
        elif channels != 3:
            body.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
        return ResNetClassifier(body, num_classes)


class ResNetClassifier(nn.Module):
    """What `ResNet34` and `ResNet50` build: torchvision's network with the last layer set apart."""

    def __init__(self, body: Any, num_classes: int) -> None:
        super().__init__()
        self.output = nn.Linear(body.fc.in_features, num_classes)
        body.fc = nn.Identity()
        self.body = body

    def forward(self, x: ImageBatch) -> Outputs:
        """Logits (B, K) and the pooled features (B, F), 512 or 2048 of them, of images (B, C, H, W)."""
        features = self.body(x)
        return self.output(features), features


@dataclass(frozen=True)
class ResNet32(NetSpec):
    """ResNet-32 as MetaInfoNet trains it on CIFAR: 16, 32 and 64 channels in five blocks each, and shortcuts
    without parameters.

    It takes images of every size. 464 154 parameters for K = 10, 470 004 for K = 100. Source: MetaInfoNet,
    section 5.1; He et al. (CVPR 2016), section 4.2, option A; initial weights as in the code that is usual
    for it (akamaster/pytorch_resnet_cifar10).
    """

    @property
    def label(self) -> str:
        return "ResNet-32"

    def build(self, image_shape: ImageShape, num_classes: int, role: str = "classifier") -> nn.Module:
        return ResNet32Classifier(image_shape[0], num_classes)


class ResNet32Classifier(nn.Module):
    """What `ResNet32` builds: a 3x3 convolution, fifteen blocks, a mean over the picture, a linear layer."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, kernel_size=3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(16)
        widths = [16] * 6 + [32] * 5 + [64] * 5
        self.blocks = nn.Sequential(*(_Block(*pair) for pair in pairwise(widths)))
        self.output = nn.Linear(64, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, x: ImageBatch) -> Outputs:
        """Logits (B, K) and the 64 pooled features (B, 64) of images (B, C, H, W)."""
        features = self.blocks(F.relu(self.stem_norm(self.stem(x)))).mean((2, 3))
        return self.output(features), features


class _Block(nn.Module):
    """Two 3x3 convolutions beside the identity; where the width doubles, every second pixel is taken and the
    identity's new channels are zero, half before and half after the others (option A).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride, self.new = outputs // inputs, (outputs - inputs) // 2
        self.first = nn.Conv2d(inputs, outputs, 3, stride=self.stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        if self.new:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.new, self.new))
        return F.relu(residual + x)


def _imagenet_weights() -> dict[str, Tensor]:
    """ResNet-50's weights from torch.hub's folder, where torchvision downloads them to and checks them."""
    from torchvision.models import ResNet50_Weights

    published = ResNet50_Weights.IMAGENET1K_V1
    file = Path(torch.hub.get_dir(), "checkpoints", published.url.rpartition("/")[2])
    try:
        state: dict[str, Tensor] = published.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError, HTTPException) as error:
        cause = str(error).strip().splitlines()[-1].strip("<>") if str(error) else type(error).__name__
        raise DataUnavailable(
            f"cannot get ResNet-50's ImageNet weights: {cause}; put {published.url} into {file.parent} by "
            "hand, or use weights='none'"
        ) from error
    return state
