"""GeneralizationLab: LIMIT's Theorem 2.2 to play with, beside gaps that were measured."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pandas as pd
import plotly.graph_objects as go

from lnlib import bounds
from lnlib.course import plots
from lnlib.course.labs.base import Lab
from lnlib.course.labs.controls import LogSlider, Slider, Values
from lnlib.course.labs.panels import Scene
from lnlib.course.labs.words import bits, significant, whole

_FEWEST, _MOST = plots.SIZES


class GeneralizationLab(Lab):
    """The largest gap: training set size, bits per example in the weights, and σ of the loss.

    `bound` is Theorem 2.2's at the controls' values; `measured` is drawn as `plots.gap_by_size` says, `about`
    says of it what small print says.
    """

    views: ClassVar = {
        "num_examples": LogSlider(value=1200, label="training set n", width=290, low=_FEWEST, high=_MOST),
        "information": Slider(value=2.58, label="bits per example I/n", width=310, high=3.32),
        "sigma": Slider(value=0.5, label="σ of the loss", width=205, low=0.05, high=0.75, step=0.05),
    }
    script = "generalization.js"
    words: ClassVar = {
        "nothing": "Weights that hold nothing of the data do as well on fresh data as on their own: no gap.",
        "allows": "With {memorised} per example Theorem 2.2 allows a gap of {gap}{reach}. Were the weights "
        "to stay at their {total} bits in all, it would be {later} at n = {most}.",
        "any": ", at this n as at any",
        "empty": ", which says nothing: a loss within a range of {range} has no larger gap",
    }

    def __init__(
        self, *args: Any, measured: pd.DataFrame | None = None, about: str = "", **named: Any
    ) -> None:
        self.measured, self.about = measured, about
        super().__init__(*args, **named)

    @property
    def bound(self) -> float:
        """The largest expected gap that Theorem 2.2 allows at the controls' values, in units of the loss."""
        return _bound(self.values)

    def view(self, results: Mapping[Any, Any], c: Values) -> Scene:
        figures = [
            plots.gap_by_size(c.information, c.num_examples, c.sigma, self.measured),
            plots.gap_by_information(c.information, c.sigma, self.measured),
        ]
        total, bound = c.information * c.num_examples, _bound(c)
        reach = self.words["empty" if bound >= 2 * c.sigma else "any"]
        sentence = self.words["nothing" if bound == 0 else "allows"].format(
            memorised=bits(c.information),
            gap=f"{bound:.2f}",
            reach=reach.format(range=significant(2 * c.sigma, 3)),
            total=whole(total),
            later=significant(float(bounds.generalization_bound(total, _MOST, c.sigma)), 2),
            most=whole(_MOST),
        )
        return Scene(figures, sentence, self.about)

    def still(self, results: Mapping[Any, Any], c: Values) -> go.Figure:
        """Both panels, and the sentence in two lines, as a notebook's column holds no longer ones."""
        scene = self.view(results, c)
        figure = plots.side_by_side(*scene.figures)
        for words in (*scene.sentence.replace(". Were", ".\nWere").split("\n"), self.about):
            plots.small_print(figure, words)
        return figure


def _bound(c: Values) -> float:
    return float(bounds.generalization_bound(c.information, 1, c.sigma))
