"""Backward correction: the losses of all labels, weighted by the inverse of the noise.

Patrini et al. (2017), theorem 1. Not in LIMIT's tables; the course sets it beside forward correction.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lnlib.checks import checked
from lnlib.errors import InvalidValue
from lnlib.methods.base import Batch, Nets, TrainingData
from lnlib.methods.transition import MatrixCorrection


@checked
@dataclass(frozen=True)
class BackwardCorrection(MatrixCorrection):
    """The mean of Σ_j (T⁻¹)_yj · (−log s_j): in expectation over the noise, cross-entropy on the true labels.

    It can be negative, and its variance grows with the noise. Raises `InvalidValue` for a matrix without an
    inverse, when training starts.
    """

    def start(self, nets: Nets, data: TrainingData) -> None:
        super().start(nets, data)
        matrix = nets["transition"].buffers["matrix"]
        if (rank := int(torch.linalg.matrix_rank(matrix))) < len(matrix):
            raise InvalidValue(
                f"backward correction needs a transition matrix with an inverse, got one of rank {rank} for "
                f"{len(matrix)} classes; use ForwardCorrection, or less noise"
            )

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        logits, _ = nets["classifier"](batch.x)
        # `inv` would wait for the device to learn whether there is an inverse; `start` has looked.
        weights: Tensor = batch.one_hot @ torch.linalg.inv_ex(nets["transition"].buffers["matrix"])[0]
        losses: Tensor = (weights * -torch.log_softmax(logits, dim=1)).sum(dim=1)
        return losses.mean()
