"""The figures of the lesson on bits: a label's probabilities, and their entropy.

Each function takes numbers and returns a panel of a lab, a figure as plain data.
"""

import math

import numpy as np

from lnlib import bounds
from lnlib.course.plots.theme import CLEAN, NOISY, PERCENT, THEORY, Plain, line, panel, point, stroke

_POINTS = 200


def label_probabilities(error_rate: float, num_classes: int) -> Plain:
    """Which label an image of the first class is given, under uniform noise: one bar a class."""
    wrong = error_rate / (num_classes - 1)
    bars = [1 - error_rate] + [wrong] * (num_classes - 1)
    return panel(
        "How likely is each label of this picture?",
        "given label",
        "probability",
        x={"dtick": 1, "range": [-0.6, num_classes - 0.4]},
        y={"range": [0, 1.05], "tickformat": PERCENT},
        traces=[
            {
                "type": "bar",
                "x": list(range(len(bars)))[where],
                "y": bars[where],
                "name": name,
                "marker": {"color": color, "pattern": {"shape": hatch}},
            }
            for where, name, color, hatch in (
                (slice(0, 1), "the true class", CLEAN, ""),
                (slice(1, None), "a wrong class", NOISY, "/"),
            )
        ],
        meta={"alt": "One bar a class: the true one has 1 - p, and each wrong one an equal part of p."},
    )


def entropy_curve(error_rate: float, num_classes: int) -> Plain:
    """The entropy of a label under uniform noise of every rate, in bits, with the point at this one."""
    rates, most = np.linspace(0, 1, _POINTS + 1), math.log2(num_classes)
    here = float(bounds.uniform_label_entropy(error_rate, num_classes))
    side = f"{'bottom' if here > most / 2 else 'top'} {'right' if error_rate < 0.6 else 'left'}"
    return panel(
        "How many bits are unknown of it?",
        "share of wrong labels p",
        "entropy, bits per label",
        x={"range": [0, 1], "tickformat": PERCENT},
        y={"range": [0, 1.1 * most]},
        traces=[
            line(rates, bounds.uniform_label_entropy(rates, num_classes), "entropy", stroke(CLEAN)),
            line([0, 1], [most] * 2, f"log₂ {num_classes}, all labels alike", stroke(THEORY, "dash", 1.5)),
            point(error_rate, here, "this label", f"<b>{here:.2f} bits</b>", side),
        ],
        meta={"alt": "Entropy rises from 0 to log2 K where all labels are alike, and falls again."},
    )
