"""Forward correction: predictions pass the noise (Patrini et al., 2017, theorem 2; LIMIT, section 4, FW)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lnlib.checks import checked
from lnlib.methods.base import Batch, Nets
from lnlib.methods.transition import MatrixCorrection

SMALLEST = 1e-10


@checked
@dataclass(frozen=True)
class ForwardCorrection(MatrixCorrection):
    """The mean of −log (sᵀT)_y: s is the softmax of the logits, T the transition matrix."""

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        logits, _ = nets["classifier"](batch.x)
        noisy = torch.softmax(logits, dim=1) @ nets["transition"].buffers["matrix"]
        return -noisy.gather(1, batch.y[:, None]).clamp(min=SMALLEST).log().mean()
