"""The figures of long tails: class sizes, effective numbers, weights and accuracies by class.

Each function takes numbers and returns a figure; the panels of a lab are figures as plain data.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from lnlib.course.plots.theme import (
    CLEAN,
    LONG_DASH,
    NOISY,
    PERCENT,
    TEMPLATE,
    THEORY,
    Plain,
    line,
    panel,
    stroke,
    style,
)

Array = NDArray[np.floating] | NDArray[np.integer]

STANDARD = "Standard"
"""Cross-entropy by the name of MetaInfoNet's tables."""

_BAR = 0.38  # of the distance between two classes
_IMAGES = "#8A8A8A"
_SEED = {"symbol": "line-ew-open", "size": 9, "color": "#222222", "line": {"width": 1.5}}
_SCALES = ("#9AA9B8", "#6F8AA3", "#4F6F8C", "#2F4E69", "#1F3A52")
_DASHES = ("dot", "dashdot", "dash", LONG_DASH, "solid")


def class_sizes(sizes: Mapping[float, NDArray[np.int64]], class_names: Sequence[str]) -> go.Figure:
    """How many images each class has, a line an imbalance factor (up to five), on a logarithmic axis."""
    figure = go.Figure(layout={"template": TEMPLATE, "title_text": "Long tails"})
    for (factor, counts), color, dash in zip(sizes.items(), _SCALES, _DASHES, strict=False):
        name = f"factor {factor:g}: {counts.sum():,} images"
        figure.add_trace(line(list(class_names), counts, name, stroke(color, dash), mode="lines+markers"))
    figure.update_xaxes(title_text="class, from head to tail", type="category")
    return figure.update_yaxes(title_text="training images", type="log")


def effective_numbers(curves: Mapping[float, NDArray[np.float64]], counts: NDArray[np.float64]) -> go.Figure:
    """Effective numbers of examples against their number, a line a β, both logarithmic."""
    figure = go.Figure(layout={"template": TEMPLATE, "title_text": "How many of n examples are new"})
    for (beta, values), color, dash in zip(curves.items(), _SCALES, _DASHES, strict=False):
        figure.add_trace(line(counts, values, f"β = {beta:g}", stroke(color, dash)))
    figure.update_xaxes(title_text="examples n of a class", type="log")
    return figure.update_yaxes(title_text="effective number", type="log")


def weight_by_loss(curves: Mapping[str, NDArray[np.float64]], losses: NDArray[np.float64]) -> go.Figure:
    """LossNet's weight as a function of the loss, divided by the weight at the first loss: lines on a
    logarithmic axis.

    `curves` maps the kind of trouble to weights (seeds, losses); the first kind wears the colour of clean
    labels.
    """
    figure = go.Figure(layout={"template": TEMPLATE, "title_text": "One network, two lessons learned"})
    looks = ((CLEAN, "solid"), (NOISY, "dash"), (NOISY, "dot"))
    for (name, runs), (color, dash) in zip(curves.items(), looks, strict=False):
        for seed, run in enumerate(runs):
            more = {"opacity": 0.75, "legendgroup": name, "showlegend": seed == 0}
            figure.add_trace(line(losses, run / run[0], name, stroke(color, dash, 2), **more))
    figure.add_trace(line(losses[[0, -1]], [1, 1], "", {"color": THEORY, "width": 1}))
    figure.update_xaxes(title_text="loss of an example (nats)")
    y = {"type": "log", "dtick": 1, "range": [-3.5, 1.5]}
    return figure.update_yaxes(title_text="weight over that at loss 0", **y)


def weight_shares(counts: Array, weights: Array, method: str) -> Plain:
    """Each class's share of the training images beside its share of the weight, averaged over seeds; a dash a
    seed. A panel of a lab, as plain data.

    `counts` (K,) are images of a class, `weights` (seeds, K) what one of them counts on average, in units of
    the mean over all; these numbers, averaged over seeds, stand in two rows at the top. NaN draws nothing.
    """
    images = counts / counts.sum()
    classes, even = np.arange(len(counts)), 1 / len(counts)
    rows = (
        (0.575, _words(counts, ".0f"), {"size": 11, "color": "#666666"}),
        (0.54, _words(weights.mean(axis=0), ".2g"), {"size": 11, "color": _color(method)}),
    )
    return _panel(
        "Shares of the images and of the weight",
        "share of all",
        [0, 0.6],
        [
            *_bars(-1, images, "images, their number at the top", _IMAGES),
            *_bars(1, images * weights, f"weight by {method}, an image's mean at the top", _color(method)),
            *(
                line(classes, np.full(len(counts), height), "", {}, mode="text", text=words, textfont=font)
                for height, words, font in rows
            ),
            line(classes[[0, -1]], [even] * 2, f"all classes alike: {even:.0%}", stroke(THEORY, "dot", 2)),
        ],
        f"Each class's share of the images beside its share of the weight by {method}.",
    )


def class_accuracies(standard: Array, other: Array, method: str) -> Plain:
    """Test accuracies by class of Standard and of another method, arrays (seeds, K) averaged over seeds; a
    dash a seed. NaN draws nothing. A panel of a lab, as plain data.
    """
    return _panel(
        "Test accuracy by class",
        "test accuracy",
        [0, 1.06],
        [*_bars(-1, standard, STANDARD, _color(STANDARD)), *_bars(1, other, method, _color(method))],
        f"Test accuracy of each class with {STANDARD} and with {method}.",
    )


def _panel(title: str, y_title: str, reach: list[float], traces: Sequence[Plain], alt: str) -> Plain:
    return panel(
        title,
        "class, from head to tail",
        y_title,
        x={"dtick": 1, "range": [-0.6, 9.6]},
        y={"range": reach, "tickformat": PERCENT},
        traces=traces,
        barmode="overlay",
        meta={"alt": alt},
    )


def _bars(side: int, values: Array, name: str, color: str) -> Iterator[Plain]:
    """A bar a class, left or right of its middle, and where there are several seeds a dash for each."""
    seeds = np.atleast_2d(values)
    middles = np.arange(seeds.shape[1]) + side * _BAR / 2
    shape = "/" if side > 0 else ""
    yield {
        "type": "bar",
        "x": middles,
        "y": seeds.mean(axis=0),
        "width": _BAR,
        "marker": {"color": color, "line": {"width": 0}, "pattern": {"shape": shape, "fillmode": "overlay"}},
        "name": name,
    }
    if values.ndim > 1:
        x, y = np.tile(middles, len(seeds)), seeds.ravel()
        name = "one seed (bars: means)" if side > 0 else ""
        yield line(x, y, name, {}, mode="markers", marker=_SEED)


def _color(method: str) -> str:
    return style("CE" if method == STANDARD else method).color


def _words(values: Array, how: str) -> list[str]:
    return ["" if np.isnan(value) else f"{value:{how}}" for value in values]
