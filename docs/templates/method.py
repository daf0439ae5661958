"""Generalised cross-entropy, between cross-entropy and the mean absolute error (Zhang and Sabuncu, 2018).

A template: copy it to `lnlib/methods/NAME.py`, and put the paper's words and formula in the place of these.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lnlib.checks import Part, checked
from lnlib.methods.base import Batch, Method, Nets


@checked
@dataclass(frozen=True)
class GeneralisedCrossEntropy(Method):
    """The mean over the batch of (1 − s_y^q)/q, s_y the softmax at the given label (eq. (6) of the paper).

    q → 0 is cross-entropy, −log s_y; q → 1 is half the mean absolute error, 1 − s_y.
    """

    q: Part = 0.7

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        logits, _ = nets["classifier"](batch.x)
        given = (torch.softmax(logits, dim=1) * batch.one_hot).sum(dim=1)
        return ((1 - given**self.q) / self.q).mean()
