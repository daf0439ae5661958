"""Determinant-based mutual information (LIMIT, section 4, row "DMI"; Xu et al., 2019)."""

from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from lnlib.checks import Positive, checked
from lnlib.methods.base import FROM_BEST_CE, Batch, Method, Nets, Phase
from lnlib.optimizers import Adam

OFFSET = 1e-3


@checked
@dataclass(frozen=True)
class DMI(Method):
    """−log(|det U| + .001), where U = YᵀS is the batch's confusion (K, K) of given labels and predictions.

    The classifier begins from the best cross-entropy weights. A batch that lacks a class has det U = 0: the
    loss is −log .001 and moves nothing; such batches are counted and reported. The determinant is computed in
    float64 through its logarithm: with K = 100 it exceeds float32. `lr` is the method's own learning rate
    (Adam; the paper's grid is 1e-3 to 1e-6), by default the run's. Negative values are normal.
    """

    lr: Positive | None = None

    warm_start = FROM_BEST_CE

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase(self.loss, ("classifier",), Adam(self.lr) if self.lr else None),)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        logits, _ = nets["classifier"](batch.x)
        confusion = batch.one_hot.double().T @ torch.softmax(logits.double(), dim=1)
        singular = ~torch.linalg.slogdet(confusion.detach()).logabsdet.isfinite()
        batch.count("singular_batches", singular)
        return dmi_loss(confusion, singular)


def dmi_loss(
    confusion: Float[Tensor, "classes classes"], singular: Tensor | None = None
) -> Float[Tensor, ""]:
    """−log(|det U| + .001) of a matrix U (K, K), and −log .001 with zero gradient where it is `singular`."""
    if singular is None:
        singular = ~torch.linalg.slogdet(confusion.detach()).logabsdet.isfinite()
    # The gradient of a singular determinant is not a number: another matrix takes its place.
    stand_in = torch.eye(len(confusion), dtype=confusion.dtype, device=confusion.device)
    log_determinant = torch.linalg.slogdet(torch.where(singular, stand_in, confusion)).logabsdet
    loss = -torch.logaddexp(log_determinant, torch.full_like(log_determinant, log(OFFSET)))
    return torch.where(singular, -log(OFFSET), loss)
