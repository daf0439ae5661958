"""The mean absolute error, which tolerates label noise (LIMIT, section 4, "MAE"; Ghosh et al., 2017)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lnlib.checks import checked
from lnlib.methods.base import Batch, Method, Nets


@checked
@dataclass(frozen=True)
class MeanAbsoluteError(Method):
    """The mean over the batch of Σ_k |y_k − s_k| = 2(1 − s_y), s the softmax of the logits.

    Its gradient at the logits, 2·s_y·(s − y), vanishes with s_y: with 100 classes s_y ≈ .01 at the start and
    learning hardly begins. LIMIT's section 4.2 prints it without the 2, which Adam does not notice.
    """

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        logits, _ = nets["classifier"](batch.x)
        return (batch.one_hot - torch.softmax(logits, dim=1)).abs().sum(dim=1).mean()
