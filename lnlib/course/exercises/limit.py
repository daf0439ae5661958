"""Lesson 04, LIMIT."""

import math

import pandas as pd
import torch
from scipy.special import entr

from lnlib import bounds, data
from lnlib.course.exercises.exercise import exercise


@exercise(
    tolerance=0.05,
    unit="bits",
    slips={
        "you counted ten dimensions: μ sums to zero, so one of them is not free": lambda: (
            5 * math.log2(1 + 0.09 / (10 * 0.01))
        ),
        "you took σ for σ²": lambda: 4.5 * math.log2(1 + 0.09 / (9 * 0.1)),
        "the squared norm is shared out among the nine dimensions": lambda: 4.5 * math.log2(1 + 0.09 / 0.01),
    },
)
def bits_in_one_gradient() -> float:
    """K = 10, Gaussian q with σ = 0.1, predicted gradients with a mean squared norm of 0.09. How many
    bits of label information can one sampled gradient carry at most? (μ sums to zero: count K − 1.)

    Hint: A Gaussian channel, $d$ dimensions: $\\frac d2 \\log_2(1 + \\text{signal each}/\\sigma^2)$.

    Hint: $d = 9$, and the signal per dimension is 0.09/9, which is as much as $\\sigma^2$.

    In words: Signal and noise are alike in nine dimensions, 0.01 each: $\\frac12\\log_2 2$ is half a bit.
    """
    return float(bounds.gradient_information_bound(9, norm_squared_bound=0.09, sigma=0.1))


@exercise(tolerance=0.001, unit="as a fraction", slips={"you lost the factor 2": lambda: 0.01})
def how_faint_mae_begins() -> float:
    """K = 100, and training has just begun: each class has probability 1/100. How large is the gradient
    of the absolute error at the given label's logit, as a multiple of cross-entropy's?

    Hint: Cross-entropy's is $p - 1$. The absolute error is $2(1 - p)$: differentiate it by the logit.

    Hint: $\\partial p/\\partial z = p(1-p)$, so the absolute error has $2p(p-1)$.

    In words: The quotient of $2p(p-1)$ and $p-1$ is $2p$: a fiftieth, as long as the label is not believed.
    """
    probability = 1 / 100
    absolute_error, cross_entropy = 2 * probability * (probability - 1), probability - 1
    return absolute_error / cross_entropy


@exercise(
    tolerance=0.0005,
    unit="as a fraction",
    slips={
        "you took one factor for each class: the eigenvalue of the constant vector is 1": lambda: (
            (1 - 0.4 * 10 / 9) ** 10
        ),
        "an eigenvalue is 1 − pK/(K − 1), and you took 1 − p": lambda: 0.6**9,
    },
)
def shrunken_determinant() -> float:
    """DMI of a perfect classifier under uniform noise, K = 10, p = 0.4. By which factor does the noise
    shrink the determinant of the confusion matrix?

    Hint: The confusion matrix is multiplied by $T$, and determinants multiply. Which eigenvalues has $T$?

    Hint: One is 1, and the other nine are $1 - pK/(K-1)$.

    In words: $\\det T = (1 - 0.4 \\cdot 10/9)^9$. The determinant shrinks, but where it is largest stays.
    """
    rate, num_classes = 0.4, 10
    return float((1 - rate * num_classes / (num_classes - 1)) ** (num_classes - 1))


@exercise(
    tolerance=0.01,
    unit="bits per label",
    slips={
        "no label is wrong, but a picture no longer tells its label: count": lambda: 0.0,
        "that is H(y), of one who sees no picture: count each of the sixteen by itself": lambda: 3.32,
        "weigh the sixteen entropies by how often their pictures occur": lambda: 2.21,
    },
)
def noise_without_a_wrong_label() -> float:
    """Make H(y|x) > 0 without a wrong label. Blur the 1500 `dataset.train_images` until four pixels are left,
    the means of the quarters, each white where its mean is above 80 and black elsewhere. There are sixteen
    such pictures. How large is H(y|x) with the true labels, counted as in lesson 00b?

    Hint: `reshape(-1, 2, 4, 2, 4)` cuts a picture of 8 by 8 into quarters; then `.mean(dim=(2, 4))`.

    Hint: Make a table of counts, a row for each of the sixteen pictures and a column for each digit. Take the
    entropy of each row, and their mean, weighted by how many digits look like that.

    In words: 2.2 of 3.3 bits stay unknown, as with 40% wrong labels, though each label is right. No network
    can learn these by heart: to alike pictures it gives one answer. In section 6 no two pictures were alike.
    """
    digits = data.load("digits")
    images = digits.train_images[torch.arange(1500)].double()
    quarters = images.reshape(-1, 2, 4, 2, 4).mean(dim=(2, 4)) > 80
    pictures = [str(four) for four in quarters.flatten(1).tolist()]
    counts = pd.crosstab(pictures, digits.train_labels.numpy()).to_numpy()
    sizes = counts.sum(axis=1)
    entropies = entr(counts / sizes[:, None]).sum(axis=1) / math.log(2)
    return float(sizes @ entropies / sizes.sum())


@exercise(
    tolerance=0.01,
    unit="bits",
    slips={
        "that is for one number: a gradient has ten": lambda: 0.104,
        "all ten count: Laplace noise in one direction tells about the noise in the others": lambda: 0.94,
    },
)
def what_laplace_noise_adds() -> float:
    """K = 10. The corrected bound of Proposition 3.1 for Laplace noise adds ½ ln(πe) − 1 = 0.0724 nats for
    each number of a gradient. How many bits of slack are that for one gradient?

    Hint: All $K$ numbers count here, and a nat is $1/\\ln 2$ bits.

    In words: $10 \\cdot 0.0724/\\ln 2$: one bit, whatever the signal. The lesson's exercise 1 allows 4.5.
    """
    each = math.log(math.pi * math.e) / 2 - 1
    return 10 * each / math.log(2)
