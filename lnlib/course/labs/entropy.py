"""EntropyLab: how many bits are unknown of a label, for any share of wrong ones."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lnlib import bounds
from lnlib.course import plots
from lnlib.course.labs.base import Lab
from lnlib.course.labs.controls import Slider, Steps, Values
from lnlib.course.labs.panels import Scene
from lnlib.course.labs.words import bits, percent


class EntropyLab(Lab):
    """The entropy H(y|x) of a label under uniform noise: K classes, a share p of wrong labels.

    `entropy` is that of the controls' values, in bits.
    """

    views: ClassVar = {
        "num_classes": Steps(value=10, label="classes K", width=240, values=(2, 4, 8, 10)),
        "rate": Slider(value=0.4, label="wrong labels p", width=330, step=0.05),
    }

    @property
    def entropy(self) -> float:
        """Bits per label at the controls' values."""
        return float(bounds.uniform_label_entropy(self.values.rate, self.values.num_classes))

    def view(self, results: Mapping[Any, Any], c: Values) -> Scene:
        entropy = float(bounds.uniform_label_entropy(c.rate, c.num_classes))
        panels = [
            plots.label_probabilities(c.rate, c.num_classes),
            plots.entropy_curve(c.rate, c.num_classes),
        ]
        known = "Who sees the picture knows its label" if entropy == 0 else "Who sees the picture still lacks"
        amount = "." if entropy == 0 else f" {bits(entropy)} of its label."
        return Scene(panels, f"With {percent(c.rate)} of labels wrong: {known}{amount}")
