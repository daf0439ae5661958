"""Lesson 00b, bits."""

import math

from lnlib import bounds
from lnlib.course.exercises.exercise import exercise


@exercise(
    tolerance=0.02,
    unit="bits",
    slips={"that many questions are needed in the worst case: on average fewer do": lambda: 5.0},
)
def one_letter() -> float:
    """Somebody thinks of one of 26 letters, each as likely. How many bits is that?

    Hint: Each yes or no halves what is left, at best. How often can 26 be halved?

    Hint: $\\log_2 26$.

    In words: $2^4 = 16$ is too few and $2^5 = 32$ more than enough, so the answer lies between 4 and 5.
    """
    return math.log2(26)


@exercise(
    tolerance=0.01,
    unit="bits",
    slips={
        "that is for two labels that are equally likely": lambda: 1.0,
        "you left the minority's part out: both labels count": lambda: -0.75 * math.log2(0.75),
    },
)
def three_to_one() -> float:
    """Four people label a picture. Three say "7", one says "1". How many bits are unknown of the next label,
    if it is drawn like these?

    Hint: The probabilities are 3/4 and 1/4.

    Hint: $-\\frac34\\log_2\\frac34 - \\frac14\\log_2\\frac14$.

    In words: A label counts $-\\log_2$ of its probability, as often as it comes. A rare "1" says two bits,
    but comes only once in four times.
    """
    return float(bounds.binary_entropy(0.25))


@exercise(
    tolerance=0.01,
    unit="bits per label",
    slips={
        "that is what one stored label holds: not all are stored": lambda: float(
            bounds.uniform_label_entropy(0.4, 10)
        ),
        "that is what is still unknown": lambda: 0.7 * float(bounds.uniform_label_entropy(0.4, 10)),
        "a label of 40% noise holds fewer than log2 10 bits: the picture already tells much": lambda: (
            0.3 * math.log2(10)
        ),
    },
)
def three_in_ten_stored() -> float:
    """Ten classes, 40% uniform noise. A learner stores the given labels of 30% of its examples, and of the
    others only what their pictures tell. How many bits per label do its weights hold about the labels beyond
    the images?

    Hint: How many bits are unknown of one label, once its picture is seen? EntropyLab shows it.

    Hint: $0.3 \\cdot \\left(H(0.4) + 0.4\\log_2 9\\right)$.

    In words: One stored label saves $H(0.4) + 0.4\\log_2 9$ bits, and three in ten are stored.
    """
    return 0.3 * float(bounds.uniform_label_entropy(0.4, 10))
