"""Cross-entropy whose gradients at the logits are noisy (LIMIT, section 4.1, rows "CE + GN" and "CE + LN").

The control for LIMIT with sampling: it too limits the information in gradients, but predicts nothing.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from lnlib.checks import NonNegative, checked
from lnlib.methods.base import Batch, Draw, Method, Nets, cross_entropy


@checked
@dataclass(frozen=True)
class NoisyGradients(Method):
    """The gradient at the logits of one example is (s − y + ξ)/B; ξ is Gaussian or Laplace noise of standard
    deviation `std` in each class.

    The reference code adds ξ after the division by B (`scale="reference"`), which is B times more noise an
    example: with its batches of 256 a std of .1 means 25.6. Source: LIMIT, section 4.1.
    """

    noise: Literal["gaussian", "laplace"] = "gaussian"
    std: NonNegative = 0.1
    scale: Literal["example", "reference"] = "example"

    def draws(self, batch_size: int, num_classes: int) -> dict[str, Draw]:
        kind: Literal["normal", "laplace"] = "normal" if self.noise == "gaussian" else "laplace"
        return {"xi": Draw(kind, (batch_size, num_classes))}

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        """Cross-entropy plus Σ a·ξ, which is linear in the logits a: its gradient is the noise itself."""
        logits, _ = nets["classifier"](batch.x)
        added = (logits * self.std * batch.noise["xi"]).sum(dim=1)
        noise: Tensor = added.sum() if self.scale == "reference" else added.mean()
        return cross_entropy(logits, batch.y).mean() + noise
