"""Training on the given labels, then on the clean meta set (MetaInfoNet, tables 1-3, 6, "Fine-tuning")."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from lnlib.checks import Count, checked
from lnlib.errors import InvalidValue
from lnlib.methods.base import Batch, Method, Nets, Phase, TrainingData, cross_entropy


@checked
@dataclass(frozen=True)
class FineTuning(Method):
    """Mean cross-entropy: on the given labels, and in the `last_epochs` on batches of the meta set only.

    An epoch keeps its number of steps. MetaInfoNet gives no recipe; the code of L2RW goes on for 5000 steps
    at the last learning rate, which on CIFAR with batches of 100 is about ten epochs of 490. The learning
    rate is what the run's schedule has there. Model selection by noisy validation may prefer an epoch before
    the change. When training starts, raises `InvalidValue` without a meta set and where the run is no longer
    than `last_epochs`.
    """

    last_epochs: Annotated[Count, "cross-entropy trains without them"] = 10

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase(self.loss, ("classifier",), meta=True),)

    def start(self, nets: Nets, data: TrainingData) -> None:
        if data.meta is None:
            raise InvalidValue(
                f"{self.label} ends on clean meta examples, got a task without; make it with meta_size=100"
            )
        if self.last_epochs >= data.epochs:
            raise InvalidValue(
                f"last_epochs must be smaller than the run's {data.epochs} epochs, got {self.last_epochs}; "
                "lower it or train longer"
            )

    def first_own_epoch(self, epochs: int, history: Mapping[str, Iterable[float]]) -> float:
        return epochs - self.last_epochs + 1

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        is_last = batch.epoch > batch.epochs - self.last_epochs
        examples = batch.meta if is_last and batch.meta is not None else batch
        logits, _ = nets["classifier"](examples.x)
        return cross_entropy(logits, examples.y).mean()
