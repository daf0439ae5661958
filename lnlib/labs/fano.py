"""FanoLab: Theorem 2.1 of LIMIT to play with; three controls say where training errors must begin."""

import math
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go

from lnlib import bounds, plots
from lnlib.labs.base import Lab, bits, panel, percent, redraw, row


class FanoLab(Lab):
    """Sliders for K, the noise rate p and the memorised bits I/n; the bound as a crossing, and in Figure 2.

    Controls are the attributes `num_classes`, `rate` and `information`; `r0` is the bound at their values.
    The noise is uniform over the wrong classes. p ends at (K-1)/K, where given labels say nothing of the true
    ones; beyond, the true label is the least likely one, and Remark 3 no longer holds. Raises `InvalidValue`
    as `bounds.r0` does.
    """

    def __init__(self, num_classes: int = 10, rate: float = 0.8, information: float = 1.0) -> None:
        super().__init__()
        # The controls would clip bad values in silence; this raises.
        bounds.r0(bounds.uniform_label_entropy(rate, num_classes), information, num_classes)
        style = {"description_width": "initial"}
        self.num_classes = widgets.BoundedIntText(
            value=num_classes,
            min=2,
            max=1000,
            description="classes K",
            style=style,
            layout=widgets.Layout(width="125px"),
        )
        slider = {"min": 0.0, "step": 0.01, "style": style, "readout_format": ".2f"}
        self.rate = widgets.FloatSlider(
            description="wrong labels p", layout=widgets.Layout(width="300px"), **slider
        )
        self.information = widgets.FloatSlider(
            description="memorised bits per label I/n", layout=widgets.Layout(width="380px"), **slider
        )
        self._limit_sliders()
        self.rate.value, self.information.value = rate, information
        self.crossing = panel(plots.fano_crossing(*self._setting))
        self.family = panel(plots.fano_family(*self._setting))
        self.num_classes.observe(self._on_num_classes, "value")
        self.watch(self.rate, self.information)
        self.lay_out(row(self.num_classes, self.rate, self.information), row(self.crossing, self.family))
        self.update()

    @property
    def r0(self) -> float:
        """The smallest training error rate that Theorem 2.1 allows at the controls' values."""
        rate, information, num_classes = self._setting
        return float(bounds.r0(bounds.uniform_label_entropy(rate, num_classes), information, num_classes))

    def update(self) -> None:
        """Bring panels and sentence up to the controls."""
        redraw(self.crossing, plots.fano_crossing(*self._setting))
        redraw(self.family, plots.fano_family(*self._setting))
        self.sentence = self._words()

    def snapshot(self) -> go.Figure:
        """Both panels as one static figure, the sentence below them."""
        both = plots.side_by_side(plots.fano_crossing(*self._setting), plots.fano_family(*self._setting))
        return plots.small_print(both, self.sentence)

    @property
    def _setting(self) -> tuple[float, float, int]:
        return self.rate.value, self.information.value, self.num_classes.value

    def _words(self) -> str:
        rate, information, _ = self._setting
        given = f"With {percent(rate)} of labels wrong and {bits(information)} per example memorised,"
        if self.r0 > 0:
            return f"{given} no learner can make fewer than {percent(self.r0)} training errors."
        return f"{given} the bound allows a learner that makes no training errors at all."

    def _limit_sliders(self) -> None:
        """Let p end at (K-1)/K and I/n at log2 K, rounded down to the sliders' steps."""
        num_classes = self.num_classes.value
        self.rate.max = math.floor(100 * (1 - 1 / num_classes)) / 100
        self.information.max = math.floor(100 * math.log2(num_classes)) / 100

    def _on_num_classes(self, change: dict[str, Any]) -> None:
        with self.one_update():
            self._limit_sliders()
