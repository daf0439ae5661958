"""Lesson 03, generalisation."""

import math

from lnlib.course.exercises.exercise import exercise


@exercise(
    tolerance=0.01,
    unit="bits per label",
    slips={"you added them: a lower loss means more memorised bits": lambda: 1.9},
)
def bits_behind_a_low_loss() -> float:
    """Some learner has an expected training cross-entropy of 0.4 bits per label, and the labels hold
    H(y|x) = 1.5 bits of noise each. How many bits per label has it memorised at least?

    Hint: The decomposition: loss = $H(y|x)$ + divergence − memorised. Which part may be zero?

    Hint: The divergence is never negative, so memorised $\\ge H(y|x)$ − loss.

    In words: Without memory the loss would be at least 1.5 bits. It is 0.4, so 1.1 bits came from memory, or
    more, where the divergence is not zero.
    """
    cross_entropy, entropy, least_divergence = 0.4, 1.5, 0.0
    return entropy + least_divergence - cross_entropy


@exercise(
    tolerance=0.005,
    unit="as a fraction",
    slips={
        "fresh labels carry the same noise as those it was trained on, and you took true ones": lambda: 0.38,
        "you left out the mistakes that happen to meet a wrong label": lambda: 0.62,
    },
)
def gap_from_clean_test_images() -> float:
    """K = 10, 40% uniform noise. A network agrees with 98% of the given labels that it was trained on, and
    is right on 60% of new images. How large is its gap: by how much is its error rate higher on fresh *given*
    labels?

    Hint: First its agreement with fresh given labels. It agrees in two ways.

    Hint: $0.6 \\cdot 0.6 + 0.4 \\cdot 0.4/9$, and the gap is 0.98 less that.

    In words: It agrees where it is right and the label is true, 0.36, and by chance where both are wrong,
    0.018. So it errs on 62.2% of fresh given labels, and on 2% of its own.
    """
    given, right, wrong, num_classes = 0.98, 0.6, 0.4, 10
    fresh = right * (1 - wrong) + (1 - right) * wrong / (num_classes - 1)
    return given - fresh


@exercise(
    tolerance=0.01,
    unit="bits per example",
    slips={"a loss between 0 and 1 has σ = 1/2, and you took σ = 1": lambda: 0.36 / 2 / math.log(2)},
)
def bits_behind_a_gap() -> float:
    """A network is right on 98% of the given labels that it was trained on and on 38% of fresh given
    labels. How many bits per example must its weights hold at least, by Theorem 2.2? Take expected values
    for granted.

    Hint: The gap is 0.60. Solve gap $\\le \\sqrt{2\\sigma^2 I/n}$ for $I/n$.

    Hint: A loss between 0 and 1 is sub-Gaussian with σ = 1/2. And the theorem speaks nats.

    In words: $I/n \\ge \\mathrm{gap}^2 / (2\\sigma^2)$ with σ = 1/2, 0.72 nats; divided by ln 2 in bits.
    """
    gap, sigma = 0.98 - 0.38, 0.5
    return gap**2 / (2 * sigma**2) / math.log(2)


@exercise(
    tolerance=2000,
    unit="examples",
    slips={
        "you left the 1000 bits as they are: the theorem speaks nats": lambda: 2 * 0.25 * 1000 / 0.05**2,
        "a loss between 0 and 1 has σ = 1/2, and you took σ = 1": lambda: 2 * 1000 * math.log(2) / 0.05**2,
        "you did not square the gap": lambda: 2 * 0.25 * 1000 * math.log(2) / 0.05,
    },
)
def examples_for_a_small_gap() -> float:
    """The weights hold 1000 bits about the training set, and no more of a larger one. From how many
    examples on does Theorem 2.2 promise a gap of at most 5 points of accuracy?

    Hint: Solve gap $= \\sqrt{2\\sigma^2 I/n}$ for $n$.

    Hint: $n = 2\\sigma^2 I/\\mathrm{gap}^2$ with σ = 1/2, the gap as a fraction, and $I$ in nats.

    In words: 1000 bits are 693 nats, and $2 \\cdot 0.25 \\cdot 693 / 0.05^2$ examples make them thin.
    """
    information_nats, gap, sigma = 1000 * math.log(2), 0.05, 0.5
    return 2 * sigma**2 * information_nats / gap**2
