"""Accuracy and example weights by class of a long tail (MetaInfoNet, section 5.2 and table 1)."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lnlib.checks import Count, Share, checked
from lnlib.nets.weighting import WeightFromLoss

ENDS = 3
"""How many of the largest classes are called the head, and how many of the smallest the tail."""


@checked
def class_means(
    values: Float[Tensor, " examples"], labels: Int[Tensor, " examples"], num_classes: Count
) -> Float[Tensor, " classes"]:
    """The mean of values (N,) over the examples of each class (K,); NaN for a class without examples."""
    counts = torch.bincount(labels, minlength=num_classes)
    return torch.bincount(labels, weights=values.double(), minlength=num_classes) / counts


def class_accuracy(
    logits: Float[Tensor, "examples classes"], labels: Int[Tensor, " examples"]
) -> Float[Tensor, " classes"]:
    """The share of each class (K,) that logits (N, K) get right; NaN for a class without examples."""
    return class_means((logits.argmax(dim=1) == labels).double(), labels, logits.shape[1])


@checked
def effective_number(counts: Float[Tensor, " classes"], beta: Share) -> Float[Tensor, " classes"]:
    """(1 − β^n)/(1 − β) for classes of n examples: how many different ones to expect if each is drawn from N
    and β = (N − 1)/N, since the j-th is new with the chance β^(j−1); n itself for β = 1.

    Source: Cui et al. (2019), eq. (1) and (2).
    """
    return counts if beta == 1 else (1 - beta**counts) / (1 - beta)


def weights_by_loss(
    weighting: Mapping[str, Tensor], losses: Float[Tensor, " losses"]
) -> Float[Tensor, " losses"]:
    """The weights in (0, 1) that a LossNet with this state dict gives to losses in nats."""
    network = WeightFromLoss()
    network.load_state_dict(weighting)
    with torch.no_grad():
        weights: Tensor = network(losses)
    return weights
