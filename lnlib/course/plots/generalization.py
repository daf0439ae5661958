"""The figures of LIMIT's section 2 beyond Theorem 2.1: the terms of eq. (1), I(w;S) in its two parts, and
Theorem 2.2 by size and by memorised bits.

Each function takes numbers and returns a panel of a lab, a figure as plain data.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lnlib import bounds
from lnlib.analysis.decomposition import Decomposition
from lnlib.course.plots.theme import (
    CLEAN,
    FORBIDDEN,
    NOISY,
    THEORY,
    Plain,
    area,
    line,
    panel,
    point,
    stroke,
    style,
)

Array = NDArray[np.float64]

SIZES = (10, 1_000_000)
"""From which to which number of examples `gap_by_size` draws."""

_ENTROPY, _DIVERGENCE = "#B8C4CE", "#7B8794"  # lighter and darker than THEORY's text on them
_MOST_EACH = 2.0  # bits per label, above all columns of lesson 03's problem
_TOP = 1.7  # of the gap axes, in units of the loss: σ = 0.75 with log2 10 bits per example
_BOTTOM = -0.1  # a measured gap may come to lie a little below 0
_MOST_BITS = 3.4


def cross_entropy_terms(terms: Decomposition, num_examples: int) -> Plain:
    """Eq. (1) as columns of equal height, cross-entropy + I(w;y|x) and H(y|x) + KL, in bits per label.

    A third column has the KL that the paper prints; it ends at another height wherever a label is memorised.
    """
    columns = ["cross-entropy<br>+ I(w;y|x)", "H(y|x)<br>+ KL", "H(y|x) + KL<br>as printed"]
    entropy, divergence = terms.label_entropy, terms.divergence
    return panel(
        "Eq. (1): the first two columns are equal",
        "",
        "bits per label",
        x={"range": [-0.5, 2.5]},
        y={"range": [0, _MOST_EACH]},
        traces=[
            _bars(columns, np.array(heights) / num_examples, name, color, hatch, _MOST_EACH)
            for name, heights, color, hatch in (
                ("cross-entropy", [terms.cross_entropy, np.nan, np.nan], style("CE").color, ""),
                ("H(y|x)", [np.nan, entropy, entropy], _ENTROPY, ""),
                ("I(w;y|x), memorised", [terms.label_information, np.nan, np.nan], NOISY, "/"),
                ("E KL[p(y|x,w) ‖ f]", [np.nan, divergence, np.nan], _DIVERGENCE, ""),
                ("E KL[p(y|x) ‖ f]", [np.nan, np.nan, terms.printed_divergence], "#FFFFFF", "x"),
            )
        ],
        barmode="stack",
        meta={"alt": "Three stacked columns: both sides of eq. (1), equal, and the right side as printed."},
    )


def information_by_size(terms: Sequence[Decomposition], capacity: float) -> Plain:
    """I(w;S) = I(w;x) + I(w;y|x) as one column for each n = 1, 2, ..., in bits per data set.

    `capacity` is the most that the weights can hold, the logarithm of their number.
    """
    sizes = np.arange(1, len(terms) + 1)
    inputs = np.array([part.input_information for part in terms])
    memorized = np.array([part.label_information for part in terms])
    limit = f"all that w can hold: {capacity:g} bits"
    return panel(
        "I(w;S): of the inputs, and of the noise",
        "number of examples n",
        "bits in all",
        x={"range": [0.5, len(sizes) + 0.5], "dtick": 1},
        y={"range": [0, 1.05 * capacity]},
        traces=[
            _bars(sizes, inputs, "I(w;x)", CLEAN, "", capacity),
            _bars(sizes, memorized, "I(w;y|x), memorised", NOISY, "/", capacity),
            line([0.5, len(sizes) + 0.5], [capacity] * 2, limit, stroke(THEORY, "dot", 2)),
        ],
        barmode="stack",
        meta={"alt": "Information in the weights by number of examples: of the inputs, and of the noise."},
    )


def gap_by_size(
    information: float, num_examples: int, sigma: float, measured: pd.DataFrame | None = None
) -> Plain:
    """Theorem 2.2 against n: if I(w;S) grows with n, `information` bits an example, and if it stays as it is.

    The two lines meet at `num_examples`. `measured` has columns method, num_examples, memorized_bits and gap,
    one row a run; it is shown at σ = 1/2 only, the 0-1 loss that it was measured with.
    """
    sizes = np.round(np.geomspace(*SIZES, 101))
    stays = bounds.generalization_bound(information * num_examples, sizes, sigma)
    grows = bounds.generalization_bound(information * sizes, sizes, sigma)
    side = "top right" if num_examples < 30_000 else "top left"
    return panel(
        "Theorem 2.2, by number of examples",
        "number of examples n",
        "test loss − training loss",
        x={"type": "log", "range": list(np.log10(SIZES))},
        y={"range": [_BOTTOM, _TOP]},
        traces=[
            _vacuous(SIZES, sigma),
            line(sizes, grows, "bound: I grows with n", stroke(THEORY)),
            line(sizes, stays, "bound: I stays", stroke(THEORY, "dash")),
            _you(num_examples, float(bounds.generalization_bound(information, 1, sigma)), side),
            *_measured(measured, "num_examples", sigma),
        ],
        meta={"alt": "The largest gap that Theorem 2.2 allows, by number of examples, and measured gaps."},
    )


def gap_by_information(information: float, sigma: float, measured: pd.DataFrame | None = None) -> Plain:
    """Theorem 2.2 against the bits per example I(w;S)/n, the point at `information` marked.

    `measured` as in `gap_by_size`; its memorised bits are a lower bound, so runs belong here or further
    right.
    """
    bits = np.linspace(0, _MOST_BITS, 201)
    side = "bottom right" if information < 0.4 else "top left"
    return panel(
        "Theorem 2.2, by bits per example",
        "I(w;S)/n, bits per example",
        "test loss − training loss",
        x={"range": [-0.05, _MOST_BITS]},
        y={"range": [_BOTTOM, _TOP]},
        traces=[
            _vacuous((-0.05, _MOST_BITS), sigma),
            line(bits, bounds.generalization_bound(bits, 1, sigma), "bound", stroke(THEORY)),
            _you(information, float(bounds.generalization_bound(information, 1, sigma)), side),
            *_measured(measured, "memorized_bits", sigma),
        ],
        meta={"alt": "The largest gap that Theorem 2.2 allows, by bits per example, and measured gaps."},
    )


def _bars(x: ArrayLike, heights: Array, name: str, color: str, hatch: str, top: float) -> Plain:
    """Stacked bars as plain data, a number in each that is tall enough; NaN draws nothing."""
    return {
        "type": "bar",
        "x": x,
        "y": [None if np.isnan(height) else height for height in heights],
        "name": name,
        "text": [f"{height:.2f}" if height > top / 20 else "" for height in heights],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "textfont": {"size": 13},
        "constraintext": "none",
        "marker": {
            "color": color,
            "line": {"color": "#444444", "width": 1},
            "pattern": {"shape": hatch, "fillmode": "overlay", "fgcolor": "#444444", "fgopacity": 0.35},
        },
    }


def _vacuous(reach: tuple[float, float], sigma: float) -> Plain:
    """Where the bound says nothing: a loss that lies within a range of 2σ has no larger gap."""
    heights = [2 * sigma, 2 * sigma, _TOP, _TOP]
    return area([*reach, *reach[::-1]], heights, "says nothing: above 2σ", FORBIDDEN)


def _you(x: float, y: float, side: str) -> Plain:
    return point(x, y, "you", f"<b>{y:.2f}</b>", side)


def _measured(measured: pd.DataFrame | None, column: str, sigma: float) -> Iterator[Plain]:
    if measured is None:
        return
    for method, part in measured.groupby("method", sort=False):
        look, x, y = style(str(method)), part[column].to_numpy(), part["gap"].to_numpy()
        marker = {"color": look.color, "symbol": look.symbol, "size": 10, "line": {"width": 1}}
        visible = True if sigma == 0.5 else "legendonly"  # the legend keeps its height
        yield line(x, y, f"{method}, measured", {}, mode="markers", marker=marker, visible=visible)
