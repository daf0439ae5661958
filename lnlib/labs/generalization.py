"""DecompositionLab and GeneralizationLab: LIMIT's eq. (1) and Theorem 2.2 to play with."""

import math
from functools import lru_cache

import ipywidgets as widgets
import pandas as pd
import plotly.graph_objects as go

from lnlib import bounds, plots
from lnlib.analysis.decomposition import Decomposition, decompose, four_inputs, gibbs_learner
from lnlib.errors import InvalidValue
from lnlib.labs.base import Lab, bits, panel, percent, redraw, row

MOST_EXAMPLES = 4
"""So many that every data set of lesson 03's four inputs can be counted while a slider moves."""

_CAPACITY = 4.0  # bits, of sixteen tables
_STYLE = {"description_width": "initial"}
_LEGEND = {"x": 0, "y": -0.22, "yanchor": "top", "font_size": 13}  # a line an entry, so that none is cut off
_PANEL = {"height": 490, "margin": {"l": 56, "r": 10, "b": 176}, "legend": _LEGEND}


class DecompositionLab(Lab):
    """Sliders for the noise rate p, the learner's greed and n; eq. (1) and I(w;S) of four enumerated inputs.

    Controls are the attributes `rate`, `greed` and `num_examples`; `terms` are the exact numbers at their
    values. Raises `InvalidValue` for values outside the sliders.
    """

    def __init__(self, rate: float = 0.2, greed: float = 2.0, num_examples: int = 3) -> None:
        super().__init__()
        self.rate = _slider("wrong labels p", rate, 0.0, 0.5, 0.05, 270)
        self.greed = _slider("greed of the learner", greed, 0.0, 5.0, 0.25, 310)
        _check("number of examples", num_examples, 1, MOST_EXAMPLES)
        self.num_examples = widgets.IntSlider(
            value=num_examples,
            min=1,
            max=MOST_EXAMPLES,
            description="examples n",
            style=_STYLE,
            layout=widgets.Layout(width="225px"),
        )
        self.equation, self.information = (_panel(figure) for figure in self._figures)
        self.watch(self.rate, self.greed, self.num_examples)
        self.lay_out(row(self.rate, self.greed, self.num_examples), row(self.equation, self.information))
        self.update()

    @property
    def terms(self) -> Decomposition:
        """Every term at the controls' values."""
        return _terms(self.rate.value, self.greed.value, self.num_examples.value)

    def update(self) -> None:
        """Bring panels and sentence up to the controls."""
        for shown, figure in zip((self.equation, self.information), self._figures, strict=True):
            redraw(shown, figure)
        self.sentence = " ".join(self._words())

    def snapshot(self) -> go.Figure:
        """Both panels as one static figure, the sentence below them."""
        both = plots.side_by_side(*self._figures).update_layout(barmode="stack")
        return _below(both, self._words())

    @property
    def _by_size(self) -> list[Decomposition]:
        rate, greed = self.rate.value, self.greed.value
        return [_terms(rate, greed, size) for size in range(1, MOST_EXAMPLES + 1)]

    @property
    def _figures(self) -> tuple[go.Figure, go.Figure]:
        return (
            plots.cross_entropy_terms(self.terms, self.num_examples.value),
            plots.information_by_size(self._by_size, _CAPACITY),
        )

    def _words(self) -> tuple[str, ...]:
        terms, size = self.terms, self.num_examples.value
        if terms.label_entropy == 0:
            memory = "Every label is right, and there is no noise to memorise"
        else:
            held, noise = terms.label_information, terms.label_entropy
            memory = f"The weights hold {held:.2f} of {noise:.2f} bits of label noise"
        bound = float(bounds.generalization_bound(terms.information, size, 0.5))
        return (
            f"{memory}: {percent(terms.training_error)} errors on the training labels, "
            f"{percent(terms.test_error)} on fresh ones.",
            f"The gap is {terms.gap:.2f}; Theorem 2.2 allows {bound:.2f}.",
        )


class GeneralizationLab(Lab):
    """Sliders for n, bits per example I(w;S)/n and σ; Theorem 2.2 by size and by bits, and measured runs.

    Controls are the attributes `num_examples`, `information` and `sigma`; `bound` is the theorem's at their
    values. `measured` is drawn as `plots.gap_by_size` says. Raises `InvalidValue` for values outside the
    sliders.
    """

    def __init__(
        self,
        num_examples: int = 1200,
        information: float = 2.58,
        sigma: float = 0.5,
        measured: pd.DataFrame | None = None,
    ) -> None:
        super().__init__()
        low, high = plots.SIZES
        _check("number of examples", num_examples, low, high)
        self._measured = measured
        self.num_examples = widgets.FloatLogSlider(
            value=num_examples,
            min=math.log10(low),
            max=math.log10(high),
            step=0.0001,  # the browser rounds to it, and 1200 is to stay 1200
            description="training set n",
            readout_format=",.0f",
            style=_STYLE,
            layout=widgets.Layout(width="290px"),
        )
        self.information = _slider("bits per example I/n", information, 0.0, 3.32, 0.01, 310)
        self.sigma = _slider("σ of the loss", sigma, 0.05, 0.75, 0.05, 205)
        self.by_size, self.by_information = (_panel(figure) for figure in self._figures)
        self.watch(self.num_examples, self.information, self.sigma)
        self.lay_out(
            row(self.num_examples, self.information, self.sigma), row(self.by_size, self.by_information)
        )
        self.update()

    @property
    def bound(self) -> float:
        """The largest expected gap that Theorem 2.2 allows at the controls' values, in units of the loss."""
        information, size, sigma = self._setting
        return float(bounds.generalization_bound(information * size, size, sigma))

    def update(self) -> None:
        """Bring panels and sentence up to the controls."""
        for shown, figure in zip((self.by_size, self.by_information), self._figures, strict=True):
            redraw(shown, figure)
        self.sentence = " ".join(self._words())

    def snapshot(self) -> go.Figure:
        """Both panels as one static figure, the sentence below them."""
        both = plots.side_by_side(*self._figures)
        return _below(both.update_xaxes(type="log", col=1), self._words())

    @property
    def _setting(self) -> tuple[float, int, float]:
        return self.information.value, round(self.num_examples.value), self.sigma.value

    @property
    def _figures(self) -> tuple[go.Figure, go.Figure]:
        information, size, sigma = self._setting
        return (
            plots.gap_by_size(information, size, sigma, self._measured),
            plots.gap_by_information(information, sigma, self._measured),
        )

    def _words(self) -> tuple[str, ...]:
        information, size, sigma = self._setting
        if self.bound == 0:
            return (
                "Weights that hold nothing of the data do as well on fresh data as on their own: no gap.",
            )
        most = plots.SIZES[1]
        total = information * size
        later = float(bounds.generalization_bound(total, most, sigma))
        if self.bound >= 2 * sigma:
            empty = f", which says nothing: a loss within a range of {2 * sigma:g} has no larger gap"
        else:
            empty = ", at this n as at any"
        return (
            f"With {bits(information)} per example Theorem 2.2 allows a gap of {self.bound:.2f}{empty}.",
            f"Were the weights to stay at their {total:,.0f} bits in all, it would be {later:.2g} at "
            f"n = {most:,}.",
        )


@lru_cache(maxsize=256)
def _terms(rate: float, greed: float, num_examples: int) -> Decomposition:
    problem = four_inputs(rate, num_examples)
    return decompose(problem, gibbs_learner(problem, greed))


def _panel(figure: go.Figure) -> go.FigureWidget:
    shown = panel(figure)
    shown.layout.legend = {}
    return shown.update_layout(_PANEL)


def _below(figure: go.Figure, sentences: tuple[str, ...]) -> go.Figure:
    """One line each, as a notebook's column holds no longer ones."""
    for sentence in sentences:
        plots.small_print(figure, sentence)
    return figure


def _slider(
    description: str, value: float, low: float, high: float, step: float, width: int
) -> widgets.FloatSlider:
    _check(description, value, low, high)
    return widgets.FloatSlider(
        value=value,
        min=low,
        max=high,
        step=step,
        description=description,
        readout_format=".2f",
        style=_STYLE,
        layout=widgets.Layout(width=f"{width}px"),
    )


def _check(name: str, value: float, low: float, high: float) -> None:
    """Raise for what a control would clip in silence."""
    if not low <= value <= high:
        raise InvalidValue(f"{name} must lie in [{low:g}, {high:g}], got {value}; move it inside")
