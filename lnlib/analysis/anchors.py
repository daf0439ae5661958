"""A simulation for the anchor-point estimate of the transition matrix: what its outlier filter does.

The matrix and the posterior are known here, so the error of the estimate can be measured (LIMIT, section 4,
"FW").
"""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lnlib.checks import Count, NonNegative, Seed, Share, checked
from lnlib.seeding import stream


@checked
def simulated_posterior(
    matrix: NDArray[np.float64],
    examples: Count,
    outliers: Share = 0.0,
    spread: NonNegative = 0.3,
    seed: Seed = 0,
) -> Float[Tensor, "examples classes"]:
    """Posteriors (N, K) of a nearly perfect network under the noise of a matrix (K, K).

    An example's logits are the logarithms of its true class's row, with Gaussian errors of size `spread`; a
    share `outliers` of the examples is quite sure of one class, whichever it is.
    """
    random = stream(seed, "posterior")
    num_classes = len(matrix)
    true = random.integers(num_classes, size=examples)
    logits = np.log(matrix[true] + 1e-6) + spread * random.normal(size=(examples, num_classes))
    strange = random.random(examples) < outliers
    logits[strange, random.integers(num_classes, size=strange.sum())] += 6
    return torch.softmax(torch.from_numpy(logits), dim=1)


def row_error(estimate: Float[Tensor, "classes classes"], matrix: NDArray[np.float64]) -> float:
    """The mean over the rows of Σ_j |estimate − matrix|: 0 is exact, 2 the most there can be."""
    return float(np.abs(estimate.numpy() - matrix).sum(axis=1).mean())
