"""Lesson 07, a template: copy it to `lnlib/course/exercises/NAME.py`. Each exercise is one function."""

from lnlib.course.exercises.exercise import exercise


@exercise(
    tolerance=0.01,
    unit="as a fraction",
    slips={"that is the share of labels that stay: how many are wrong?": lambda: 0.75},
)
def wrong_of_four() -> float:
    """Of four labels one is wrong. What is the noise rate?

    Hint: It is a share of all labels.

    In words: One of four labels is wrong: 1/4.
    """
    return 1 / 4
