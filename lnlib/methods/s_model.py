"""The S-Model: a matrix that turns predictions into noisy ones is trained beside the classifier.

Goldberger and Ben-Reuven (2017), the simple model: the matrix does not depend on the image. MetaInfoNet,
tables 2, 3 and 5, row "S-Model".
"""

from dataclasses import dataclass
from math import log
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lnlib.checks import Part, checked
from lnlib.data.task import Visible
from lnlib.methods.base import Batch, Method, Nets, NewNet, Phase, TrainingData, WarmStart, one_hot

OFFSET = 1e-8


@checked
@dataclass(frozen=True)
class SModel(Method):
    """The mean of −log Σᵢ s_i θ_iy: s is the softmax of the logits, θ the row-wise softmax of free b (K, K).

    θ is trained with the classifier, which predicts the largest s. At first b is the logarithm of the
    confusion of predictions and given labels (`init="confusion"`; "soft" counts the softmax in place of the
    largest entry, which is recalled, not checked), from the best cross-entropy weights, from which the
    classifier also begins. With `init="prior"` all is fresh, and θ believes that a share `rate` of the labels
    is wrong, evenly. Both as in the authors' code.
    """

    trained = ("classifier", "noise_layer")
    init: Literal["confusion", "soft", "prior"] = "confusion"
    rate: Part = 0.46

    @property
    def warm_start(self) -> dict[str, WarmStart]:
        return {} if self.init == "prior" else {"classifier": WarmStart("cross-entropy", "classifier")}

    @property
    def phases(self) -> tuple[Phase, ...]:
        # Weight decay would draw θ towards noise that tells nothing.
        return (Phase(self.loss, self.trained, undecayed=("noise_layer",)),)

    def networks(self, new_net: NewNet, task: Visible) -> dict[str, nn.Module]:
        wrong = log(self.rate / (task.num_classes - 1))
        prior = torch.full((task.num_classes,) * 2, wrong).fill_diagonal_(log(1 - self.rate))
        layer = NoiseLayer(prior + 0.01 * torch.rand_like(prior))
        return {"classifier": new_net("classifier"), "noise_layer": layer}

    def start(self, nets: Nets, data: TrainingData) -> None:
        if self.init == "prior":
            return
        logits, _ = data.outputs(nets["classifier"])
        hard = one_hot(logits.argmax(dim=1), data.num_classes).to(logits.dtype)
        predictions = hard if self.init == "confusion" else torch.softmax(logits, dim=1)
        nets["noise_layer"].parameters["b"].copy_(confusion_logits(predictions, data.labels))

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        log_s = torch.log_softmax(nets["classifier"](batch.x)[0], dim=1)
        log_theta = nets["noise_layer"]()
        return -torch.logsumexp(log_s + log_theta.T[batch.y], dim=1).mean()


class NoiseLayer(nn.Module):
    """The matrix θ (K, K), rows P(given label · true label), as the softmax of free parameters b (K, K)."""

    def __init__(self, b: Float[Tensor, "classes classes"]) -> None:
        super().__init__()
        self.b = nn.Parameter(b)

    def forward(self) -> Float[Tensor, "classes classes"]:
        """log θ."""
        return torch.log_softmax(self.b, dim=1)


def confusion_logits(
    predictions: Float[Tensor, "examples classes"], labels: Int[Tensor, " examples"]
) -> Float[Tensor, "classes classes"]:
    """log(C + 1e-8), where C_ij is the share of given label j among the examples predicted to be i.

    Predictions (N, K) are one-hot or probabilities; a class that nobody predicts has a row of equal entries,
    where the authors' code divides by zero.
    """
    counts = predictions.T @ one_hot(labels, predictions.shape[1]).to(predictions.dtype)
    share = counts / counts.sum(dim=1, keepdim=True).clamp(min=torch.finfo(counts.dtype).tiny)
    return (share + OFFSET).log()
