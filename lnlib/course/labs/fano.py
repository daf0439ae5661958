"""FanoLab: Theorem 2.1 of LIMIT to play with; three controls say where training errors must begin."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from lnlib import bounds
from lnlib.course import plots
from lnlib.course.labs.base import Lab
from lnlib.course.labs.controls import Number, Slider, Values
from lnlib.course.labs.panels import Scene
from lnlib.course.labs.words import bits, percent


def _most_wrong(c: Values) -> float:
    return float(math.floor(100 * (1 - 1 / c.num_classes)) / 100)  # down to the slider's step


def _most_bits(c: Values) -> float:
    return math.floor(100 * math.log2(c.num_classes)) / 100


class FanoLab(Lab):
    """Where training errors must begin: K classes, a share p of wrong labels, I/n memorised bits.

    The noise is uniform over the wrong classes. p ends at (K-1)/K, where given labels say nothing of the true
    ones; beyond, the true label is the least likely one, and Remark 3 no longer holds. `r0` is the bound at
    the controls' values.
    """

    views: ClassVar = {
        "num_classes": Number(value=10, label="classes K", width=125, low=2, high=1000),
        "rate": Slider(value=0.8, label="wrong labels p", width=300, high=_most_wrong),
        "information": Slider(value=1.0, label="memorised bits per label I/n", width=380, high=_most_bits),
    }
    script = "fano.js"
    words: ClassVar = {
        "some": "With {wrong} of labels wrong and {memorised} per label memorised, no learner can make "
        "fewer than {errors} training errors.",
        "none": "With {wrong} of labels wrong and {memorised} per label memorised, the bound allows a "
        "learner that makes no training errors at all.",
    }

    @property
    def r0(self) -> float:
        """The smallest training error rate that Theorem 2.1 allows at the controls' values."""
        return _smallest(self.values)

    def view(self, results: Mapping[Any, Any], c: Values) -> Scene:
        setting, smallest = (c.rate, c.information, c.num_classes), _smallest(c)
        sentence = self.words["some" if smallest > 0 else "none"].format(
            wrong=percent(c.rate), memorised=bits(c.information), errors=percent(smallest)
        )
        return Scene([plots.fano_crossing(*setting), plots.fano_family(*setting)], sentence)


def _smallest(c: Values) -> float:
    entropy = bounds.uniform_label_entropy(c.rate, c.num_classes)
    return float(bounds.r0(entropy, c.information, c.num_classes))
