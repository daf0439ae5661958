"""Lesson 00, start here."""

from lnlib import noise
from lnlib.course.exercises.exercise import exercise


@exercise(
    tolerance=0.001,
    unit="as a fraction",
    slips={
        "that spreads the noise over all ten classes: the true one is not among the wrong ones": lambda: 0.04,
        "that is the probability of any wrong label: there are nine of them": lambda: 0.4,
    },
)
def one_wrong_class() -> float:
    """Ten classes, 40% uniform noise (wrong classes only). With which probability is a 3 labelled as an 8?

    Hint: 40% is shared out evenly. Among how many classes?

    Hint: All but the true class: nine.

    In words: A label is wrong with probability 0.4, and each of the nine wrong classes is as likely: 0.4/9.
    """
    return float(noise.uniform(0.4, num_classes=10)[3, 8])
