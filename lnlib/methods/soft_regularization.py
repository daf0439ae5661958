"""Penalising the information in gradients instead of predicting them (LIMIT, section 3.2, eq. (11))."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lnlib.checks import NonNegative, checked
from lnlib.methods.base import Batch, Method, Nets, cross_entropy


@checked
@dataclass(frozen=True)
class SoftRegularization(Method):
    """Cross-entropy + λ·mean ‖z‖²·‖y − s(r)‖² + β·mean ‖z‖²·‖s(a) − s(r)‖².

    z are the inputs of the last layer, a its logits, r those of a second network, the predictor, which only
    the added terms train. Nothing is held fixed. Only the norm of z feels the penalty, which is too weak to
    prevent memorising: the paper says so. The β term is in the reference code, not in eq. (11); there the
    last layer has no bias, here it has one, whose gradient does not contain z.
    """

    trained = ("classifier", "predictor")
    lam: NonNegative = 0.01
    beta: NonNegative = 0.0

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        a, z = nets["classifier"](batch.x)
        predicted = torch.softmax(nets["predictor"](batch.x)[0], dim=1)
        size = z.square().sum(dim=1)
        unpredicted = (batch.one_hot - predicted).square().sum(dim=1)
        norm = (torch.softmax(a, dim=1) - predicted).square().sum(dim=1)
        penalty = size * (self.lam * unpredicted + self.beta * norm)
        loss: Tensor = (cross_entropy(a, batch.y) + penalty).mean()
        return loss
