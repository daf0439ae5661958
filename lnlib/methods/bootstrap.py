"""Bootstrapping: the target is partly the given label, partly what the network itself says (MetaInfoNet,
tables 2, 3 and 5, row "Bootstrap").

Reed et al. (2015).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lnlib.errors import InvalidValue
from lnlib.methods.base import Batch, Method, Nets, one_hot

USUAL_BETA = {"hard": 0.8, "soft": 0.95}


@dataclass(frozen=True)
class Bootstrap(Method):
    """Cross-entropy against the target βY + (1 − β)P: P is the softmax s, or the one-hot vector of its
    largest entry (`kind="hard"`).

    The soft kind is cross-entropy plus a share of the entropy of s, whose gradient is taken too. β is .8 for
    hard and .95 for soft unless given: the paper's values as Goldberger and Ben-Reuven's code quotes them.
    That MetaInfoNet's row is the hard kind is recalled from Meta-Weight-Net, not checked. Raises
    `InvalidValue` for an unknown kind and β outside [0, 1].
    """

    kind: Literal["hard", "soft"] = "hard"
    beta: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in USUAL_BETA:
            raise InvalidValue(f"kind must be 'hard' or 'soft', got {self.kind!r}; try kind='hard'")
        if not 0 <= self.trust <= 1:
            raise InvalidValue(f"beta must lie in [0, 1], got {self.beta}; try beta={USUAL_BETA[self.kind]}")

    @property
    def trust(self) -> float:
        """β: how far the given label is believed."""
        return USUAL_BETA[self.kind] if self.beta is None else self.beta

    @property
    def tunable(self) -> dict[str, float]:
        """β, whether it was given or not."""
        return {"beta": self.trust}

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        """Mean cross-entropy against the mixed targets, in nats."""
        logs = torch.log_softmax(nets["classifier"](batch.x)[0], dim=1)
        if self.kind == "soft":
            own = logs.exp()
        else:
            own = one_hot(logs.argmax(dim=1), batch.num_classes).to(logs.dtype)
        target = batch.one_hot + (1 - self.trust) * (own - batch.one_hot)
        return -(target * logs).sum(dim=1).mean()
