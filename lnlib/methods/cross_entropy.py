"""Cross-entropy, the baseline of both papers (LIMIT section 4, rows "CE"; MetaInfoNet, rows "Standard")."""

from dataclasses import dataclass

from torch import Tensor

from lnlib.checks import checked
from lnlib.methods.base import Batch, Method, Nets, cross_entropy


@checked
@dataclass(frozen=True)
class CrossEntropy(Method):
    """The mean of −log softmax(h(x))_y over the batch; its gradient at an example's logits is (s − y)/B."""

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        logits, _ = nets["classifier"](batch.x)
        return cross_entropy(logits, batch.y).mean()
