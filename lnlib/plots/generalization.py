"""The figures of LIMIT's section 2 beyond Theorem 2.1: the terms of eq. (1), I(w;S) in its two parts, and
Theorem 2.2 by size and by memorised bits.

Each function takes numbers and returns a figure; what moves in a lab is a trace, as in `plots.limit`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from lnlib import bounds
from lnlib.analysis.decomposition import Decomposition
from lnlib.plots.theme import CLEAN, FORBIDDEN, NOISY, POINT, THEORY, panel, stroke, style

SIZES = (10, 1_000_000)
"""From which to which number of examples `gap_by_size` draws."""

_ENTROPY, _DIVERGENCE = "#B8C4CE", "#7B8794"  # lighter and darker than THEORY's text on them
_MOST_EACH = 2.0  # bits per example, above all columns of lesson 03's problem
_TOP = 1.7  # of the gap axes, in units of the loss: σ = 0.75 with log2 10 bits per example
_BOTTOM = -0.1  # a measured gap may come to lie a little below 0
_MOST_BITS = 3.4
_ENTRY = 175  # pixels of a legend entry


def cross_entropy_terms(terms: Decomposition, num_examples: int) -> go.Figure:
    """Eq. (1) as columns of equal height, cross-entropy + I(w;y|x) and H(y|x) + KL, in bits per example.

    A third column has the KL that the paper prints; it ends at another height wherever a label is memorised.
    """
    figure = panel(
        "Eq. (1): the first two columns are equal",
        "",
        "bits per example",
        x={"range": [-0.5, 2.5]},
        y={"range": [0, _MOST_EACH]},
        entry_width=_ENTRY,
    )
    columns = ["cross-entropy<br>+ I(w;y|x)", "H(y|x)<br>+ KL", "H(y|x) + KL<br>as printed"]
    entropy, divergence = terms.label_entropy, terms.divergence
    for name, heights, color, hatch in (
        ("cross-entropy", [terms.cross_entropy, None, None], style("CE").color, ""),
        ("H(y|x)", [None, entropy, entropy], _ENTROPY, ""),
        ("I(w;y|x), memorised", [terms.label_information, None, None], NOISY, "/"),
        ("E KL[p(y|x,w) ‖ f]", [None, divergence, None], _DIVERGENCE, ""),
        ("E KL[p(y|x) ‖ f]", [None, None, terms.printed_divergence], "#FFFFFF", "x"),
    ):
        each = [None if height is None else height / num_examples for height in heights]
        figure.add_trace(_bars(columns, each, name, color, hatch, _MOST_EACH))
    return figure.update_layout(barmode="stack")


def information_by_size(terms: Sequence[Decomposition], capacity: float) -> go.Figure:
    """I(w;S) = I(w;x) + I(w;y|x) as one column for each n = 1, 2, ..., in bits per data set.

    `capacity` is the most that the weights can hold, the logarithm of their number.
    """
    sizes = list(range(1, len(terms) + 1))
    figure = panel(
        "I(w;S): of the inputs, and of the noise",
        "number of examples n",
        "bits in all",
        x={"range": [0.5, len(sizes) + 0.5], "dtick": 1},
        y={"range": [0, 1.05 * capacity]},
        entry_width=_ENTRY,
    )
    inputs = [part.input_information for part in terms]
    memorized = [part.label_information for part in terms]
    figure.add_trace(_bars(sizes, inputs, "I(w;x)", CLEAN, "", capacity))
    figure.add_trace(_bars(sizes, memorized, "I(w;y|x), memorised", NOISY, "/", capacity))
    figure.add_scatter(
        x=[0.5, len(sizes) + 0.5],
        y=[capacity] * 2,
        mode="lines",
        line=stroke(THEORY, "dot", 2),
        name=f"all that w can hold: {capacity:g} bits",
    )
    return figure.update_layout(barmode="stack")


def gap_by_size(
    information: float, num_examples: int, sigma: float, measured: pd.DataFrame | None = None
) -> go.Figure:
    """Theorem 2.2 against n: if I(w;S) grows with n, `information` bits an example, and if it stays as it is.

    The two lines meet at `num_examples`. `measured` has columns method, num_examples, memorized_bits and gap,
    one row a run; it is shown at σ = 1/2 only, the 0-1 loss that it was measured with.
    """
    figure = panel(
        "Theorem 2.2, by number of examples",
        "number of examples n",
        "test loss − training loss",
        x={"type": "log", "range": list(np.log10(SIZES))},
        y={"range": [_BOTTOM, _TOP]},
        entry_width=_ENTRY,
    )
    sizes = np.round(np.geomspace(*SIZES, 101))
    figure.add_trace(_vacuous(SIZES, sigma))
    stays = bounds.generalization_bound(information * num_examples, sizes, sigma)
    grows = bounds.generalization_bound(information * sizes, sizes, sigma)
    for name, bound, line in (
        ("bound: I grows with n", grows, stroke(THEORY)),
        ("bound: I stays", stays, stroke(THEORY, "dash")),
    ):
        figure.add_scatter(x=sizes, y=bound, mode="lines", line=line, name=name)
    here = float(bounds.generalization_bound(information * num_examples, num_examples, sigma))
    figure.add_trace(_point(num_examples, here, "top right" if num_examples < 30_000 else "top left"))
    return _add_measured(figure, measured, "num_examples", sigma)


def gap_by_information(information: float, sigma: float, measured: pd.DataFrame | None = None) -> go.Figure:
    """Theorem 2.2 against the bits per example I(w;S)/n, the point at `information` marked.

    `measured` as in `gap_by_size`; its memorised bits are a lower bound, so runs belong here or further
    right.
    """
    figure = panel(
        "Theorem 2.2, by bits per example",
        "I(w;S)/n, bits per example",
        "test loss − training loss",
        x={"range": [-0.05, _MOST_BITS]},
        y={"range": [_BOTTOM, _TOP]},
        entry_width=_ENTRY,
    )
    bits = np.linspace(0, _MOST_BITS, 201)
    figure.add_trace(_vacuous((-0.05, _MOST_BITS), sigma))
    figure.add_scatter(
        x=bits, y=bounds.generalization_bound(bits, 1, sigma), mode="lines", line=stroke(THEORY), name="bound"
    )
    here = float(bounds.generalization_bound(information, 1, sigma))
    figure.add_trace(_point(information, here, "bottom right" if information < 0.4 else "top left"))
    return _add_measured(figure, measured, "memorized_bits", sigma)


def _bars(
    x: Sequence[str | int],
    heights: Sequence[float | None],
    name: str,
    color: str,
    hatch: str,
    top: float,
) -> go.Bar:
    return go.Bar(
        x=list(x),
        y=list(heights),
        name=name,
        text=[f"{height:.2f}" if height and height > top / 20 else "" for height in heights],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        textfont_size=13,
        constraintext="none",
        marker={
            "color": color,
            "line": {"color": "#444444", "width": 1},
            "pattern": {"shape": hatch, "fillmode": "overlay", "fgcolor": "#444444", "fgopacity": 0.35},
        },
    )


def _vacuous(reach: tuple[float, float], sigma: float) -> go.Scatter:
    """Where the bound says nothing: a loss that lies within a range of 2σ has no larger gap."""
    left, right = reach
    return go.Scatter(
        x=[left, right, right, left],
        y=[2 * sigma, 2 * sigma, _TOP, _TOP],
        mode="lines",
        line_width=0,
        fill="toself",
        fillcolor=FORBIDDEN,
        name="says nothing: above 2σ",
        hoverinfo="skip",
    )


def _point(x: float, y: float, side: str) -> go.Scatter:
    return go.Scatter(
        x=[x],
        y=[y],
        mode="markers+text",
        marker=POINT,
        text=[f"<b>{y:.2f}</b>"],
        textposition=side,
        textfont={"color": CLEAN, "size": 15},
        name="you",
        showlegend=False,
    )


def _add_measured(figure: go.Figure, measured: pd.DataFrame | None, column: str, sigma: float) -> go.Figure:
    if measured is None:
        return figure
    for method, part in measured.groupby("method", sort=False):
        look = style(str(method))
        figure.add_scatter(
            x=part[column].to_numpy(),
            y=part["gap"].to_numpy(),
            mode="markers",
            marker={"color": look.color, "symbol": look.symbol, "size": 10, "line": {"width": 1}},
            name=f"{method}, measured",
            visible=True if sigma == 0.5 else "legendonly",  # the legend keeps its height
        )
    return figure
