"""Backward correction: the losses of all labels, weighted by the inverse of the noise.

Patrini et al. (2017), theorem 1. Not in LIMIT's tables; the course sets it beside forward correction.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lnlib.checks import checked
from lnlib.methods.base import Batch, Nets
from lnlib.methods.transition import MatrixCorrection


@checked
@dataclass(frozen=True)
class BackwardCorrection(MatrixCorrection):
    """The mean of Σ_j (T⁻¹)_yj · (−log s_j): in expectation over the noise, cross-entropy on the true labels.

    It can be negative, and its variance grows with the noise.
    """

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        logits, _ = nets["classifier"](batch.x)
        weights: Tensor = batch.one_hot @ torch.linalg.inv(nets["transition"].buffers["matrix"])
        losses: Tensor = (weights * -torch.log_softmax(logits, dim=1)).sum(dim=1)
        return losses.mean()
