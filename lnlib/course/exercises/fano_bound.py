"""Lesson 01, the Fano bound."""

from lnlib import bounds, noise
from lnlib.course.exercises.exercise import exercise


def _labels() -> float:
    return float(bounds.uniform_label_entropy(0.6, num_classes=10))


@exercise(
    tolerance=0.01,
    unit="bits per label",
    slips={
        "that is all that is unknown of a label: take off what 5% errors leave unknown": _labels,
        "you took H(0.05) off, but not the 0.05 log2(9) for which wrong class an error is": lambda: (
            _labels() - float(bounds.binary_entropy(0.05))
        ),
        "you took H(y|x) without its second part, 0.6 log2(9)": lambda: float(
            bounds.memorized_information(0.05, bounds.binary_entropy(0.6), num_classes=10)
        ),
    },
)
def bits_behind_five_percent() -> float:
    """K = 10 and 60% uniform noise. A network makes 5% training errors on the given labels. How many bits
    per label has it memorised at least?

    Hint: Read the bound backwards: $H(y|x)$ less what 5% errors leave unknown.

    Hint: $H(y|x) = H(0.6) + 0.6 \\log_2 9$, and 5% errors leave $H(0.05) + 0.05 \\log_2 9$.

    In words: The noise puts $H(0.6) + 0.6\\log_2 9$ bits into a label. Errors of 5% leave
    $H(0.05) + 0.05\\log_2 9$ of them open. The rest must be in the weights.
    """
    entropy = bounds.uniform_label_entropy(0.6, num_classes=10)
    return float(bounds.memorized_information(0.05, entropy, num_classes=10))


@exercise(
    tolerance=0.002,
    unit="as a fraction",
    slips={
        "that is H(r), in bits: now look for the r with that entropy": lambda: float(
            bounds.binary_entropy(0.3) - 0.5
        ),
    },
)
def two_classes() -> float:
    """Two classes, labels flipped with probability 0.3, and half a bit memorised per label. Which error
    rate does Remark 2 allow at least?

    Hint: With two classes the bound is $H(r) \\ge H(y|x) - I/n$.

    Hint: $H(0.3) - 0.5 = 0.381$. Which $r$ below one half has that entropy? `bounds.r0` finds it.

    In words: Half a bit of the $H(0.3) = 0.881$ is known, so $H(r)$ must be at least 0.381. The smaller of
    the two rates with that entropy is the answer.
    """
    entropy = bounds.binary_entropy(0.3)
    return float(bounds.r0(entropy, 0.5, num_classes=2))


@exercise(
    tolerance=0.005,
    unit="bits per label",
    slips={
        "that is what Theorem 2.1 proves: for flip-1 noise it is not sharp": lambda: float(
            bounds.memorized_information(0.1, bounds.label_entropy(noise.flip(0.3, 10)), 10)
        ),
        "that is all that is unknown of a label: 10% errors leave some of it open": lambda: float(
            bounds.binary_entropy(0.3)
        ),
    },
)
def flipped_labels() -> float:
    """Flip-1 noise, K = 10: each class has one wrong class that its labels change to, with probability
    0.3. A network makes 10% training errors on the given labels. How many bits per label has it memorised
    at least, by the sharp bound?

    Hint: Given the image, such a label is a biased coin: flipped or not.

    Hint: The rate-distortion function of a coin with bias $p$ is $H(p) - H(r)$, or ask
    `bounds.rate_distortion`.

    In words: Only whether a label was flipped is unknown: $H(0.3)$ bits. Errors of 10% leave $H(0.1)$ open,
    and for a coin this is sharp.
    """
    matrix = noise.flip(0.3, num_classes=10)
    return float(bounds.rate_distortion(matrix, 0.1))
