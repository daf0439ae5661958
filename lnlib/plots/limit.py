"""The figures of LIMIT: Theorem 2.1, Figures 1 and 2, and the split of memorising from learning.

Each function takes numbers and returns a figure. What moves in a lab is a trace, never a shape, so that a
lab can hand over the same function's newer traces.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lnlib import bounds
from lnlib.plots.theme import (
    BOTTOM,
    CLEAN,
    FORBIDDEN,
    GIVEN,
    NOISY,
    PERCENT,
    PLOT_HEIGHT,
    POINT,
    TEMPLATE,
    TEST,
    THEORY,
    panel,
    stroke,
    style,
)

FAMILY = (0.2, 0.4, 0.6, 0.8)
"""The noise rates of Figure 2."""

_FAMILY_LOOK = (("#9AA9B8", "dot"), ("#6F8AA3", "dashdot"), ("#4F6F8C", "dash"), ("#1F3A52", "solid"))
_POINTS = 200
_EM_SPACE = "\u2003"
_BAND = "rgba(213, 94, 0, 0.18)"  # NOISY, see-through


def fano_crossing(error_rate: float, information: float, num_classes: int) -> go.Figure:
    """Theorem 2.1 as a picture: H(r) + r log2(K-1) meets H(y|x) - I/n at r0, under uniform noise.

    `error_rate` is the noise's p, at most (K-1)/K, `information` I/n in bits.
    """
    most = math.log2(num_classes)
    turn = (num_classes - 1) / num_classes
    entropy = float(bounds.uniform_label_entropy(error_rate, num_classes))
    level = max(0.0, entropy - information)
    smallest = float(bounds.r0(entropy, information, num_classes))
    top = 1.1 * most
    figure = panel(
        "Training errors must begin at r₀",
        "training error rate r",
        "bits per label",
        x={"range": [0, 1], "tickformat": PERCENT},
        y={"range": [0, top]},
    )
    for start, end, line in ((0.0, turn, stroke(THEORY)), (turn, 1.0, stroke(THEORY, "dot", 1.5))):
        rates = np.linspace(start, end, _POINTS)
        left_side = bounds.uniform_label_entropy(rates, num_classes)
        figure.add_scatter(x=rates, y=left_side, name="H(r) + r log₂(K−1)", line=line, mode="lines")
    figure.data[1].showlegend = False
    figure.add_scatter(x=[0, 1], y=[entropy] * 2, name="H(y|x)", line=stroke(NOISY, "dash", 2), mode="lines")
    figure.add_scatter(x=[0, 1], y=[level] * 2, name="H(y|x) − I/n", line=stroke(CLEAN), mode="lines")
    figure.add_scatter(
        x=[0, smallest, smallest, 0],
        y=[0, 0, top, top],
        mode="lines",
        line_width=0,
        fill="toself",
        fillcolor=FORBIDDEN,
        name="impossible: r < r₀",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[0.94] * 3,
        y=[level, (level + entropy) / 2, entropy],
        mode="lines+markers+text",
        line=stroke(CLEAN, "solid", 1.5),
        marker={"symbol": "line-ew-open", "size": 10, "color": CLEAN},
        text=["", "I/n " if entropy - level > most / 10 else "", ""],
        textposition="middle left",
        textfont={"color": CLEAN},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=[smallest] * 2, y=[0, level], mode="lines", line=stroke(CLEAN, "dot", 1.5), showlegend=False
    )
    side = "right" if smallest < 0.7 else "left"
    low = level < most / 8  # then the label stands above the line, clear of the curve, which is steep there
    figure.add_scatter(
        x=[smallest],
        y=[level],
        mode="markers+text",
        marker=POINT,
        text=[f"{_EM_SPACE * 2 * low}<b>r₀ = {smallest:.1%}</b>"],
        textposition=f"{'top' if low else 'bottom'} {side}",
        textfont={"color": CLEAN, "size": 15},
        name="r₀",
        showlegend=False,
        cliponaxis=False,
    )
    return figure


def r0_frame(rates: Sequence[float], num_classes: int) -> pd.DataFrame:
    """The data of Figure 2: r0 for uniform noise of each rate and every information up to log2 K bits."""
    information = np.linspace(0, math.log2(num_classes), _POINTS)
    entropy = bounds.uniform_label_entropy(np.asarray(rates)[:, None], num_classes)
    r0 = bounds.r0(entropy, information, num_classes)
    return pd.DataFrame(
        {
            "rate": np.repeat(rates, _POINTS),
            "information": np.tile(information, len(rates)),
            "r0": np.ravel(r0),
        }
    )


def figure2(frame: pd.DataFrame) -> go.Figure:
    """LIMIT's Figure 2: the smallest training error rate against the information that the weights hold.

    `frame` has columns rate, information (bits per label) and r0, as `r0_frame` makes it; one line a rate.
    """
    figure = panel(
        "The fewest errors, by memorised bits",
        "I(w; y|x)/n, bits per label",
        "smallest error rate r₀",
        x={"range": [0, float(frame["information"].max())]},
        y={"range": [0, 1], "tickformat": PERCENT},
    )
    for position, (rate, part) in enumerate(frame.groupby("rate")):
        color, dash = _FAMILY_LOOK[position % len(_FAMILY_LOOK)]
        figure.add_scatter(
            x=part["information"].to_numpy(),
            y=part["r0"].to_numpy(),
            mode="lines",
            line=stroke(color, dash),
            name=f"p = {rate:.0%}",
        )
    return figure


def fano_family(error_rate: float, information: float, num_classes: int) -> go.Figure:
    """Figure 2 for this K, with the line of this noise rate on top and the point at this information.

    `error_rate` is the noise's p, at most (K-1)/K, `information` I/n in bits.
    """
    figure = figure2(r0_frame(FAMILY, num_classes))
    for rate, trace in zip(FAMILY, figure.data, strict=True):
        trace.visible = rate <= 1 - 1 / num_classes
    own = r0_frame([error_rate], num_classes)
    figure.add_scatter(
        x=own["information"].to_numpy(),
        y=own["r0"].to_numpy(),
        mode="lines",
        line=stroke(NOISY, "solid", 3.5),
        name=f"your p = {error_rate:.0%}",
    )
    entropy = bounds.uniform_label_entropy(error_rate, num_classes)
    smallest = float(bounds.r0(entropy, information, num_classes))
    figure.add_scatter(
        x=[information, information, 0],
        y=[0, smallest, smallest],
        mode="lines",
        line=stroke(CLEAN, "dot", 1.5),
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=[information],
        y=[smallest],
        mode="markers+text",
        marker=POINT,
        text=[f"<b>r₀ = {smallest:.1%}</b>"],
        textposition="top right" if information < 0.6 * math.log2(num_classes) else "top left",
        textfont={"color": CLEAN, "size": 15},
        name="r₀",
        showlegend=False,
        cliponaxis=False,
    )
    return figure


def figure1(frame: pd.DataFrame, rate: float) -> go.Figure:
    """LIMIT's Figure 1: accuracy by epoch on the given training labels, on clean and on noisy validation.

    `frame` has columns method, epoch, train_accuracy, validation_clean_accuracy and validation_accuracy;
    several runs of a method are averaged. `rate` is the effective error rate: the lines at 1 - p are what a
    classifier that predicts every true label scores on given labels.
    """
    panels = {
        "train_accuracy": "Training, given labels",
        "validation_clean_accuracy": "Validation, clean labels",
        "validation_accuracy": "Validation, noisy labels",
    }
    figure = make_subplots(cols=3, subplot_titles=list(panels.values()), horizontal_spacing=0.05)
    figure.update_layout(template=TEMPLATE, height=430, hovermode="x unified")
    figure.update_layout(margin={"t": 84}, legend={"orientation": "h", "y": 1.12, "yanchor": "bottom"})
    figure.update_yaxes(range=[0, 1.02], tickformat=PERCENT)
    figure.update_yaxes(title_text="accuracy", col=1)
    figure.update_xaxes(title_text="epoch")
    means = frame.groupby(["method", "epoch"], sort=False)[list(panels)].mean().reset_index()
    last = float(means["epoch"].max())
    for column, name in enumerate(panels, start=1):
        for method, part in means.groupby("method", sort=False):
            known = part.dropna(subset=[name])
            look = style(str(method))
            figure.add_scatter(
                x=known["epoch"].to_numpy(),
                y=known[name].to_numpy(),
                mode="lines+markers",
                line=look.line,
                marker={"symbol": look.symbol, "size": 8, "maxdisplayed": 8},
                name=str(method),
                legendgroup=str(method),
                showlegend=column == 1,
                row=1,
                col=column,
            )
        if name != "validation_clean_accuracy":
            best = _target(last, 1 - rate, f"best without memorising: {1 - rate:.0%}")
            figure.add_trace(best.update(legendgroup="best", showlegend=column == 1), row=1, col=column)
    return figure


def accuracy_split(frame: pd.DataFrame, rate: float) -> go.Figure:
    """Accuracy by epoch on given labels, on their clean and corrupted parts, and on test images.

    `frame` is a `History.to_frame()`; `rate` is the effective error rate.
    """
    lines: dict[str, tuple[str, dict[str, Any], str]] = {
        "train_accuracy": ("all given labels", stroke(GIVEN), "circle"),
        "clean_accuracy": ("clean part", stroke(CLEAN), "square"),
        "corrupted_fit": ("corrupted part, fitted", stroke(NOISY), "x"),
        "corrupted_recovered": ("corrupted part, recovered", stroke(NOISY, "dash"), "circle-open"),
        "test_accuracy": ("test", stroke(TEST, "longdash"), "diamond"),
    }
    figure = _epochs("What is fitted, and what is recovered", frame)
    figure.update_yaxes(title_text="accuracy", range=[0, 1.02], tickformat=PERCENT)
    for column, (name, line, symbol) in lines.items():
        known = frame.dropna(subset=[column])
        figure.add_scatter(
            x=known["epoch"].to_numpy(),
            y=known[column].to_numpy(),
            mode="lines+markers",
            line=line,
            marker={"symbol": symbol, "size": 8, "maxdisplayed": 8},
            name=name,
        )
    best = _target(float(frame["epoch"].max()), 1 - rate, f"best without memorising: {1 - rate:.0%}")
    return figure.add_trace(best)


def bits_by_epoch(frame: pd.DataFrame, entropy: float) -> go.Figure:
    """Memorised bits per label by epoch with their band, under all there is to memorise, H(y|x) = `entropy`.

    `frame` is a `History.to_frame()`.
    """
    known = frame.dropna(subset=["memorized_bits"])
    epochs = known["epoch"].to_numpy()
    figure = _epochs("Memorised label information, at least", frame)
    figure.update_yaxes(title_text="bits per label", range=[0, max(1.15 * entropy, 0.1)])
    low, high = known["memorized_bits_low"].to_numpy(), known["memorized_bits_high"].to_numpy()
    figure.add_scatter(
        x=np.concatenate([epochs, epochs[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        mode="lines",
        line_width=0,
        fill="toself",
        fillcolor=_BAND,
        name="what the drawn noise leaves open",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=epochs,
        y=known["memorized_bits"].to_numpy(),
        mode="lines+markers",
        line=stroke(NOISY),
        marker={"symbol": "x", "size": 8, "maxdisplayed": 8},
        name="memorised bits",
    )
    return figure.add_trace(_target(float(frame["epoch"].max()), entropy, f"H(y|x) = {entropy:.2f} bits"))


def memorization_split(frame: pd.DataFrame, rate: float, entropy: float) -> go.Figure:
    """`accuracy_split` and `bits_by_epoch` of one run, side by side."""
    return side_by_side(accuracy_split(frame, rate), bits_by_epoch(frame, entropy))


def bound_check(bound: pd.DataFrame, measured: pd.DataFrame, title: str) -> go.Figure:
    """Learners whose information is known, against what bounds say: none may come to lie below, on average.

    `bound` has columns bound, information (bits per label) and r0, one line a bound; `measured` has columns
    information and error_rate, one row a draw of the noise, drawn one by one and as their mean.
    """
    information = float(bound["information"].max())
    figure = panel(
        title,
        "I(w; y|x)/n, bits per label",
        "training error rate",
        x={"range": [-0.02 * information, 1.02 * information]},
        y={"range": [0, 1.1 * float(measured["error_rate"].max())], "tickformat": PERCENT},
        entry_width=165,
    )
    looks = (stroke(THEORY), stroke(CLEAN, "dash"))
    for position, (name, part) in enumerate(bound.groupby("bound", sort=False)):
        figure.add_scatter(
            x=part["information"].to_numpy(),
            y=part["r0"].to_numpy(),
            mode="lines",
            line=looks[position % len(looks)],
            name=str(name),
        )
    mean = measured.groupby("information", as_index=False)["error_rate"].mean()
    for name, points, marker in (
        ("one draw of the noise", measured, {"color": NOISY, "opacity": 0.35, "size": 5}),
        ("mean of the draws", mean, {"color": NOISY, "symbol": "x", "size": 9}),
    ):
        x, y = points["information"].to_numpy(), points["error_rate"].to_numpy()
        figure.add_scatter(x=x, y=y, mode="markers", marker=marker, name=name)
    return figure


def side_by_side(left: go.Figure, right: go.Figure) -> go.Figure:
    """Two one-panel figures as one, each with its own legend below it."""
    both = make_subplots(
        cols=2,
        subplot_titles=[figure.layout.title.text for figure in (left, right)],
        horizontal_spacing=0.13,
    )
    rows = max(sum(trace.showlegend is not False for trace in figure.data) for figure in (left, right))
    bottom = BOTTOM + 22 * rows
    both.update_layout(template=TEMPLATE, height=PLOT_HEIGHT + bottom, margin_b=bottom)
    for column, (figure, legend) in enumerate(((left, "legend"), (right, "legend2")), start=1):
        subplot = both.get_subplot(1, column)
        place = {"x": subplot.xaxis.domain[0], "y": -0.18, "yanchor": "top", "font": {"size": 13}}
        both.update_layout({legend: place})
        for trace in figure.data:
            both.add_trace(go.Figure(trace).data[0].update(legend=legend), row=1, col=column)
        for name in ("xaxis", "yaxis"):
            axis = figure.layout[name]
            getattr(subplot, name).update(range=axis.range, tickformat=axis.tickformat, title=axis.title)
    return both


def _epochs(title: str, frame: pd.DataFrame) -> go.Figure:
    epochs = [0, 1.02 * float(frame["epoch"].max())]
    return panel(title, "epoch", "", x={"range": epochs}, y={}, entry_width=165)


def _target(last: float, level: float, name: str) -> go.Scatter:
    return go.Scatter(x=[0, last], y=[level] * 2, mode="lines", line=stroke(THEORY, "dot", 2), name=name)
