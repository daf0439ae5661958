"""The figures of LIMIT: Theorem 2.1, Figures 1 and 2, and the split of memorising from learning.

Each function takes numbers and returns a figure; the panels of labs are figures as plain data.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from lnlib import bounds
from lnlib.course.plots.theme import (
    BOTTOM,
    CLEAN,
    FORBIDDEN,
    GIVEN,
    LONG_DASH,
    NOISY,
    PERCENT,
    PLOT_HEIGHT,
    TEMPLATE,
    TEST,
    THEORY,
    Plain,
    area,
    below,
    cursor,
    line,
    panel,
    point,
    stroke,
    style,
)

FAMILY = (0.2, 0.4, 0.6, 0.8)
"""The noise rates of Figure 2."""

_FAMILY_LOOK = (("#9AA9B8", "dot"), ("#6F8AA3", "dashdot"), ("#4F6F8C", "dash"), ("#1F3A52", "solid"))
_FAMILY_LEGEND = below(2, entry_width=85)
_FAMILY_LEGEND["legend"]["traceorder"] = "reversed"
_POINTS = 200
_EM_SPACE = "\u2003"
_AXIS = ("range", "tickformat", "title", "type", "tickvals", "ticktext", "dtick")

Array = NDArray[np.float64]


def fano_crossing(error_rate: float, information: float, num_classes: int) -> Plain:
    """Theorem 2.1 as a picture: H(r) + r log2(K-1) meets H(y|x) - I/n at r0, under uniform noise.

    `error_rate` is the noise's p, at most (K-1)/K, `information` I/n in bits. A panel as plain data.
    """
    most = math.log2(num_classes)
    turn = (num_classes - 1) / num_classes
    entropy = float(bounds.uniform_label_entropy(error_rate, num_classes))
    level = max(0.0, entropy - information)
    smallest = float(bounds.r0(entropy, information, num_classes))
    top = 1.1 * most
    up, down = np.linspace(0, turn, _POINTS), np.linspace(turn, 1, _POINTS)
    left_side = partial(bounds.uniform_label_entropy, num_classes=num_classes)
    low = level < most / 8  # then the label stands above the line, clear of the curve, which is steep there
    label = f"{_EM_SPACE * 2 * low}<b>r₀ = {smallest:.1%}</b>"
    side = f"{'top' if low else 'bottom'} {'right' if smallest < 0.7 else 'left'}"
    return panel(
        "Training errors must begin at r₀",
        "training error rate r",
        "bits per label",
        x={"range": [0, 1], "tickformat": PERCENT},
        y={"range": [0, top]},
        traces=[
            line(up, left_side(up), "H(r) + r log₂(K−1)", stroke(THEORY)),
            line(down, left_side(down), "", stroke(THEORY, "dot", 1.5)),
            line([0, 1], [entropy] * 2, "H(y|x)", stroke(NOISY, "dash", 2)),
            line([0, 1], [level] * 2, "H(y|x) − I/n", stroke(CLEAN)),
            area([0, smallest, smallest, 0], [0, 0, top, top], "impossible: r < r₀", FORBIDDEN),
            line(
                [0.94] * 3,
                [level, (level + entropy) / 2, entropy],
                "",
                stroke(CLEAN, "solid", 1.5),
                mode="lines+markers+text",
                marker={"symbol": "line-ew-open", "size": 10, "color": CLEAN},
                text=["", "I/n " if entropy - level > most / 10 else "", ""],
                textposition="middle left",
                textfont={"color": CLEAN},
            ),
            line([smallest] * 2, [0, level], "", stroke(CLEAN, "dot", 1.5)),
            point(smallest, level, "r₀", label, side),
        ],
        meta={"alt": "The curve H(r) + r log2(K-1) rises to the level H(y|x) - I/n, and meets it at r0."},
    )


@lru_cache(maxsize=1024)
def _smallest_error_rates(rate: float, num_classes: int) -> Array:
    """r0 for every information of `_bits`."""
    entropy = bounds.uniform_label_entropy(rate, num_classes)
    return np.asarray(bounds.r0(entropy, _bits(num_classes), num_classes))


def _bits(num_classes: int) -> Array:
    return np.linspace(0, math.log2(num_classes), _POINTS)


def r0_frame(rates: Sequence[float], num_classes: int) -> pd.DataFrame:
    """The data of Figure 2: r0 for uniform noise of each rate and every information up to log2 K bits."""
    return pd.DataFrame(
        {
            "rate": np.repeat(rates, _POINTS),
            "information": np.tile(_bits(num_classes), len(rates)),
            "r0": np.concatenate([_smallest_error_rates(rate, num_classes) for rate in rates]),
        }
    )


def figure2(frame: pd.DataFrame) -> go.Figure:
    """LIMIT's Figure 2: the smallest training error rate against the information that the weights hold.

    `frame` has columns rate, information (bits per label) and r0, as `r0_frame` makes it; one line a rate.
    """
    columns = ["information", "r0"]
    curves = {rate: tuple(part[columns].to_numpy().T) for rate, part in frame.groupby("rate")}
    return go.Figure(_fewest_errors(float(frame["information"].max()), curves, []))


def fano_family(error_rate: float, information: float, num_classes: int) -> Plain:
    """Figure 2 for this K, with the line of this noise rate on top and the point at this information.

    `error_rate` is the noise's p, at most (K-1)/K, `information` I/n in bits. A panel as plain data.
    """
    bits, most = _bits(num_classes), math.log2(num_classes)
    curves = dict.fromkeys(FAMILY, (np.empty(0), np.empty(0)))
    curves |= {p: (bits, _smallest_error_rates(p, num_classes)) for p in FAMILY if p <= 1 - 1 / num_classes}
    entropy = bounds.uniform_label_entropy(error_rate, num_classes)
    smallest = float(bounds.r0(entropy, information, num_classes))
    own = _smallest_error_rates(error_rate, num_classes)
    side = "top right" if information < 0.6 * most else "top left"
    return _fewest_errors(
        most,
        curves,
        [
            line(bits, own, f"your p = {error_rate:.0%}", stroke(NOISY, "solid", 3.5)),
            line([information, information, 0], [0, smallest, smallest], "", stroke(CLEAN, "dot", 1.5)),
            point(information, smallest, "r₀", f"<b>r₀ = {smallest:.1%}</b>", side),
        ],
    )


def _fewest_errors(most: float, curves: Mapping[float, tuple[Array, Array]], more: Sequence[Plain]) -> Plain:
    """A line a noise rate, of information and r0; one without points is hidden. The legend has the lines'
    order, the highest first.
    """
    looks = zip(curves.items(), cycle(_FAMILY_LOOK), strict=False)
    return panel(
        "The fewest errors, by memorised bits",
        "I(w; y|x)/n, bits per label",
        "smallest error rate r₀",
        x={"range": [0, most]},
        y={"range": [0, 1], "tickformat": PERCENT},
        traces=[
            *(
                # Plotly leaves points out where a line is nearly straight, and kinks show where it did.
                line(x, y, f"p = {rate:.0%}", {**stroke(*look), "simplify": False}, visible=len(x) > 0)
                for (rate, (x, y)), look in looks
            ),
            *more,
        ],
        **_FAMILY_LEGEND,
        meta={"alt": "The smallest training error rate falls with the memorised bits, a line a noise rate."},
    )


def figure1(frame: pd.DataFrame, best: float) -> go.Figure:
    """LIMIT's Figure 1: accuracy by epoch on the given training labels, on clean and on noisy validation.

    `frame` has columns method, epoch, train_accuracy, validation_clean_accuracy and validation_accuracy;
    of several runs of a method mean and range are drawn. The lines at `best`, a task's `bayes_accuracy`, are
    what is possible on given labels without memorising. The third panel has a scale of its own.
    """
    panels = {
        "train_accuracy": "Training, given labels",
        "validation_clean_accuracy": "Validation, clean labels",
        "validation_accuracy": "Validation, noisy (own scale)",
    }
    figure = make_subplots(cols=3, subplot_titles=list(panels.values()), horizontal_spacing=0.05)
    figure.update_layout(template=TEMPLATE, height=460, hovermode="x unified")
    figure.update_layout(margin={"t": 100}, legend={"orientation": "h", "y": 1.12, "yanchor": "bottom"})
    figure.update_yaxes(range=[0, 1.02], tickformat=PERCENT)
    noisy = [*frame["validation_accuracy"].dropna(), best]
    edge = 0.06 * (max(noisy) - min(noisy))
    figure.update_yaxes(range=[max(0, min(noisy) - edge), min(1.02, max(noisy) + edge)], col=3)
    target = _best(float(frame["epoch"].max()), best)
    for column, name in enumerate(panels, start=1):
        add_methods(figure, frame.dropna(subset=[name]), name, column)
        if name != "validation_clean_accuracy":
            figure.add_trace({**target, "legendgroup": "best", "showlegend": column == 1}, row=1, col=column)
    return figure


def add_methods(figure: go.Figure, frame: pd.DataFrame, name: str, column: int) -> None:
    """Draw a column of `frame` by epoch in a panel of a figure, a line a method: the mean of its runs, in a
    band from the smallest to the largest where there are several, which the legend then says.
    """
    figure.update_yaxes(title_text="accuracy", col=1).update_xaxes(title_text="epoch")
    by_epoch = frame.groupby(["method", "epoch"], sort=False)[name]
    means = by_epoch.agg(["mean", "min", "max", "count"]).reset_index()
    for method, part in means.groupby("method", sort=False):
        look, method = style(str(method)), str(method)
        x, y = part["epoch"].to_numpy(), part["mean"].to_numpy()
        if part["count"].max() > 1:
            sides = np.concatenate([part["max"], part["min"][::-1]])
            band = area(np.concatenate([x, x[::-1]]), sides, "", _see_through(look.color))
            figure.add_trace({**band, "legendgroup": method}, row=1, col=column)
        marker = {"symbol": look.symbol, "size": 8, "maxdisplayed": 8}
        more = {"marker": marker, "legendgroup": method, "showlegend": column == 1, "mode": "lines+markers"}
        figure.add_trace(line(x, y, method, look.line, **more), row=1, col=column)
    if column == 1 and (most := means["count"].max()) > 1:
        words = f"mean and range of {most} runs"
        figure.add_trace(line([np.nan], [np.nan], words, {"color": "#BBBBBB", "width": 10}), row=1, col=1)


def _see_through(color: str) -> str:
    """A colour #RRGGBB as a band behind its line."""
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.18)"


def accuracy_split(frame: pd.DataFrame, best: float, epoch: float | None = None) -> Plain:
    """Accuracy by epoch on given labels, on their clean and corrupted parts, and on test images.

    `frame` is a `History.to_frame()`; `best` is a task's `bayes_accuracy`; a cursor stands at `epoch`. A
    panel as plain data.
    """
    lines: dict[str, tuple[str, Plain, str]] = {
        "train_accuracy": ("all given labels", stroke(GIVEN), "circle"),
        "clean_accuracy": ("clean part", stroke(CLEAN), "square"),
        "corrupted_fit": ("corrupted part, fitted", stroke(NOISY), "x"),
        "corrupted_recovered": ("corrupted part, recovered", stroke(NOISY, LONG_DASH), "circle-open"),
        "test_accuracy": ("test", stroke(TEST), "diamond"),
    }
    last = float(frame["epoch"].max())
    return panel(
        "What is fitted, and what is recovered",
        "epoch",
        "accuracy",
        x={"range": [0, 1.02 * last]},
        y={"range": [0, 1.02], "tickformat": PERCENT},
        traces=[
            *(_by_epoch(frame, column, *look) for column, look in lines.items()),
            _best(last, best),
            *cursor(epoch, 1.02),
        ],
        meta={
            "alt": "Accuracy by epoch on all given labels, their clean and corrupted parts, and test images."
        },
    )


def bits_by_epoch(
    frame: pd.DataFrame, entropy: float, epoch: float | None = None, top: float | None = None
) -> Plain:
    """Memorised bits per label by epoch with their band, under all there is to memorise, H(y|x) = `entropy`.

    `frame` is a `History.to_frame()`; the axis ends at `top`; a cursor stands at `epoch`. A panel as plain
    data.
    """
    known = frame["memorized_bits"].notna().to_numpy()
    names = ["epoch", "memorized_bits_low", "memorized_bits_high"]
    epochs, low, high = frame.loc[known, names].to_numpy(float).T
    last, top = float(frame["epoch"].max()), top or max(1.15 * entropy, 0.1)
    band = np.concatenate([epochs, epochs[::-1]]), np.concatenate([high, low[::-1]])
    return panel(
        "Memorised label information, at least",
        "epoch",
        "bits per label",
        x={"range": [0, 1.02 * last]},
        y={"range": [0, top]},
        traces=[
            area(*band, "95% band: the luck of the draw", _see_through(NOISY)),
            _by_epoch(frame, "memorized_bits", "memorised bits", stroke(NOISY), "x"),
            _target(last, entropy, f"H(y|x) = {entropy:.2f} bits"),
            *cursor(epoch, top),
        ],
        meta={"alt": "Memorised bits per label by epoch, with their band, below the noise's entropy H(y|x)."},
    )


def _by_epoch(frame: pd.DataFrame, column: str, name: str, look: Plain, symbol: str) -> Plain:
    values = frame[column].to_numpy(float)
    known = ~np.isnan(values)
    epochs = frame["epoch"].to_numpy(float)[known]
    marker = {"symbol": symbol, "size": 8, "maxdisplayed": 8}
    return line(epochs, values[known], name, look, mode="lines+markers", marker=marker)


def memorization_split(frame: pd.DataFrame, best: float, entropy: float) -> go.Figure:
    """`accuracy_split` and `bits_by_epoch` of one run, side by side."""
    return side_by_side(accuracy_split(frame, best), bits_by_epoch(frame, entropy))


def bound_check(bound: pd.DataFrame, measured: pd.DataFrame, title: str) -> go.Figure:
    """Learners whose information is known, against what bounds say: none may come to lie below, on average.

    `bound` has columns bound, information (bits per label) and r0, one line a bound; `measured` has columns
    information and error_rate, one row a draw of the noise, drawn one by one and as their mean.
    """
    information = float(bound["information"].max())
    looks = cycle((stroke(THEORY), stroke(CLEAN, "dash")))
    traces = [
        line(part["information"].to_numpy(), part["r0"].to_numpy(), str(name), next(looks))
        for name, part in bound.groupby("bound", sort=False)
    ]
    mean = measured.groupby("information", as_index=False)["error_rate"].mean()
    for name, draws, marker in (
        ("one draw of the noise", measured, {"color": NOISY, "opacity": 0.35, "size": 5}),
        ("mean of the draws", mean, {"color": NOISY, "symbol": "x", "size": 9}),
    ):
        x, y = draws["information"].to_numpy(), draws["error_rate"].to_numpy()
        traces.append(line(x, y, name, {}, mode="markers", marker=marker))
    return go.Figure(
        panel(
            title,
            "I(w; y|x)/n, bits per label",
            "training error rate",
            x={"range": [-0.02 * information, 1.02 * information]},
            y={"range": [0, 1.1 * float(measured["error_rate"].max())], "tickformat": PERCENT},
            traces=traces,
            **below(3, entry_width=165),
        )
    )


def side_by_side(left: go.Figure | Plain, right: go.Figure | Plain) -> go.Figure:
    """Two one-panel figures as one, each with its own legend below it."""
    left, right = go.Figure(left), go.Figure(right)
    titles = [figure.layout.title.text for figure in (left, right)]
    both = make_subplots(cols=2, subplot_titles=titles, horizontal_spacing=0.13)
    rows = max(sum(trace.showlegend is not False for trace in figure.data) for figure in (left, right))
    bottom = BOTTOM + 22 * rows
    both.update_layout(template=TEMPLATE, height=PLOT_HEIGHT + bottom, margin_b=bottom)
    both.update_layout(barmode=left.layout.barmode, bargap=left.layout.bargap)
    for column, (figure, legend) in enumerate(((left, "legend"), (right, "legend2")), start=1):
        subplot = both.get_subplot(1, column)
        place = {"x": subplot.xaxis.domain[0], "y": -0.18, "yanchor": "top", "font": {"size": 13}}
        both.update_layout({legend: place})
        for trace in figure.data:
            both.add_trace(go.Figure(trace).data[0].update(legend=legend), row=1, col=column)
        for name in ("xaxis", "yaxis"):
            axis = figure.layout[name]
            getattr(subplot, name).update({key: axis[key] for key in _AXIS if axis[key] is not None})
    return both


def _best(last: float, level: float) -> Plain:
    return _target(last, level, f"given labels without memorising: {level:.0%}")


def _target(last: float, level: float, name: str) -> Plain:
    return line([0, last], [level] * 2, name, stroke(THEORY, "dot", 2))
