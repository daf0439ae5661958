"""Bootstrapping: the target is partly the given label, partly what the network itself says.

Reed et al. (2015); MetaInfoNet, tables 2, 3 and 5, row "Bootstrap".
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from lnlib.checks import Share, checked
from lnlib.methods.base import Batch, Method, Nets, one_hot

USUAL_BETA = {"hard": 0.8, "soft": 0.95}


@checked
@dataclass(frozen=True)
class Bootstrap(Method):
    """Cross-entropy against the target βY + (1 − β)P: P is the softmax s, or the one-hot vector of its
    largest entry (`kind="hard"`).

    The soft kind is cross-entropy plus a share of the entropy of s, whose gradient is taken too. β is .8 for
    hard and .95 for soft unless given: the paper's values as Goldberger and Ben-Reuven's code quotes them.
    That MetaInfoNet's row is the hard kind is recalled from Meta-Weight-Net, not checked.
    """

    kind: Literal["hard", "soft"] = "hard"
    beta: Annotated[Share | None, "leave it out for the usual value"] = None

    @property
    def trust(self) -> float:
        """β: how far the given label is believed."""
        return USUAL_BETA[self.kind] if self.beta is None else self.beta

    @property
    def tunable(self) -> dict[str, float]:
        """β, whether it was given or not."""
        return {"beta": self.trust}

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        logs = torch.log_softmax(nets["classifier"](batch.x)[0], dim=1)
        if self.kind == "soft":
            own = logs.exp()
        else:
            own = one_hot(logs.argmax(dim=1), batch.num_classes).to(logs.dtype)
        target = batch.one_hot + (1 - self.trust) * (own - batch.one_hot)
        return -(target * logs).sum(dim=1).mean()
