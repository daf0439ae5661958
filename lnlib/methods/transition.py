"""What the corrections by the transition matrix share: the matrix, given or estimated from anchor points.

Patrini et al. (2017), section 4; LIMIT, section 4.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lnlib.checks import Share, checked
from lnlib.data.task import Visible
from lnlib.errors import InvalidValue
from lnlib.methods.base import FROM_BEST_CE, Method, Nets, NewNet, TrainingData
from lnlib.nets import Memory

Outliers = Literal["class-aware", "reference", "keep"]


@checked
@dataclass(frozen=True)
class MatrixCorrection(Method):
    """A method that corrects its loss by a transition matrix T (K, K).

    T is estimated from the anchor points of the best cross-entropy weights, from which the classifier also
    begins; `matrix` gives a known one instead, as rows. For `outliers` see `anchor_matrix`. The estimate is
    made on images as they are; the reference code augments them. When training starts, raises `InvalidValue`
    for a matrix that does not fit the classes.
    """

    matrix: tuple[tuple[Share, ...], ...] | None = None
    outliers: Outliers = "class-aware"

    warm_start = FROM_BEST_CE

    def networks(self, new_net: NewNet, task: Visible) -> dict[str, nn.Module]:
        return {"classifier": new_net("classifier"), "transition": Memory(matrix=torch.eye(task.num_classes))}

    def start(self, nets: Nets, data: TrainingData) -> None:
        kept = nets["transition"].buffers["matrix"]
        if self.matrix is None:
            logits, _ = data.outputs(nets["classifier"])
            kept.copy_(anchor_matrix(torch.softmax(logits, dim=1), self.outliers))
            return
        known = torch.tensor(self.matrix, dtype=kept.dtype, device=kept.device)
        if known.shape != kept.shape:
            raise InvalidValue(
                f"the matrix must have {len(kept)} rows and columns, one a class, got {tuple(known.shape)}; "
                "take it from lnlib.noise"
            )
        kept.copy_(known)


def anchor_matrix(
    posterior: Float[Tensor, "examples classes"], outliers: Outliers = "class-aware"
) -> Float[Tensor, "classes classes"]:
    """The matrix (K, K) whose row i is the posterior of class i's anchor: the example that looks most like i.

    The most extreme scores of each class are left out as outliers. The reference code drops the top 3% of all
    examples ("reference"), which for K = 100 is three classes, and writes zeros over their scores: where an
    anchor is an outlier of an earlier class, its row loses that class. "class-aware" drops .3/K of the
    examples, for every K the same share of a class and at K = 10 as many as the reference, and changes no
    row. "keep" drops none. Source: Patrini et al. (2017), eq. (12) and (13); LIMIT's code, after theirs.
    """
    share = {"class-aware": 1 - 0.3 / posterior.shape[1], "reference": 0.97, "keep": None}[outliers]
    extreme = torch.zeros_like(posterior, dtype=torch.bool)
    if share is not None:
        # The percentile with the interpolation "higher", as the reference code has it.
        extreme = posterior >= posterior.kthvalue(1 + ceil(share * (len(posterior) - 1)), dim=0).values
    anchors = posterior.masked_fill(extreme, -1.0).argmax(dim=0)
    rows = posterior[anchors]
    if outliers == "reference":
        rows = rows.masked_fill(extreme[anchors].tril(-1), 0.0)
    return rows / rows.sum(dim=1, keepdim=True)
