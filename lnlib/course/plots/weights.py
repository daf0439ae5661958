"""The figures of sample weighting: Figure 1 of MetaInfoNet, the bilevel problem, a virtual step as arrows,
weight against loss, convergence.

Each function takes numbers and returns a figure; the panel of a lab is a figure as plain data.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from lnlib.analysis.weights import EDGES, WeightSummary
from lnlib.course.plots.theme import CLEAN, NOISY, STYLES, TEMPLATE, TEST, THEORY, Plain, line, panel, stroke

PARTS = (("clean", "label right", CLEAN, ""), ("noisy", "label wrong", NOISY, "/"))
SMALLEST_LOSS = 1e-5
_LEGEND = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
_SHARES = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0)
_Y = {
    "range": [0, 1],
    "tickvals": [share**0.5 for share in _SHARES],
    "ticktext": [f"{share:.0%}" for share in _SHARES],
}
_TICKS = [0, 1, 2, 3, EDGES[-1]]
_OVERLAP = "#AE7747"  # NOISY's bars over CLEAN's, as the eye sees them
_X = {"range": [0, EDGES[-1]], "tickvals": _TICKS, "ticktext": ["0", "1", "2", "3", f"≥{EDGES[-1]:g}"]}


def weight_histogram(
    method: str, histogram: pd.DataFrame, summary: WeightSummary | None, note: str = ""
) -> Plain:
    """How a method's weights of right and of wrong labels are distributed, one panel of a lab as plain data.

    `histogram` is `analysis.weights.evaluation_histogram`; bars are shares of their own group on a
    square-root scale, so that small ones show. A second line holds the summary and a `note`.
    """
    words = f"AUC {summary.auc:.2f} · effective sample {summary.effective:.0%}{note}" if summary else note
    alt = f"{method}: how the weights of right and of wrong labels are distributed."
    return panel(
        method,
        "weight of an example (mean 1)",
        "share of its group",
        x=_X,
        y=_Y,
        traces=[_bars(histogram, part, summary) for part in PARTS],
        barmode="overlay",
        bargap=0,
        meta={"subtitle": words, "alt": alt},
    )


def weight_histograms(frame: pd.DataFrame, summaries: Mapping[str, WeightSummary | None]) -> go.Figure:
    """MetaInfoNet's Figure 1: histograms of the weights of right and wrong labels, a panel a method.

    `frame` has columns method, low, high, clean and noisy; the order of `summaries` is that of
    the panels, one without a summary is not trained yet. Heights stand on a square-root scale, so that a few
    examples show beside thousands.
    """
    titles = [
        f"{method}<br><span style='font-size:11px'>AUC {one.auc:.2f} · effective sample {one.effective:.0%}"
        f"<br>mean weight: right {one.clean:.2f}, wrong {one.noisy:.2f}</span>"
        if one
        else method
        for method, one in summaries.items()
    ]
    figure = _in_a_row(titles, barmode="overlay", bargap=0, height=434)
    figure.update_layout(margin={"t": 104, "b": 104}, legend=_LEGEND)
    figure.update_xaxes(title_text="weight (mean 1)", **_X)
    figure.update_yaxes(**_Y)
    figure.update_yaxes(title_text="share of its group (√ scale)", col=1)
    for column, method in enumerate(summaries, start=1):
        for part in PARTS:
            bars = _bars(frame[frame["method"] == method], part, None)
            figure.add_trace({**bars, "showlegend": column == 1}, row=1, col=column)
    pattern = {"shape": "/", "fillmode": "overlay"}
    marker = {"color": _OVERLAP, "pattern": pattern, "line": {"width": 0}}
    both = {"type": "bar", "x": [None], "y": [None], "name": "both, one before the other", "marker": marker}
    return figure.add_trace(both, row=1, col=1)


def _in_a_row(titles: list[str], **layout: Any) -> go.Figure:
    row = make_subplots(cols=len(titles), subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.03)
    return row.update_layout(template=TEMPLATE, **layout)


def _bars(histogram: pd.DataFrame, part: tuple[str, str, str, str], summary: WeightSummary | None) -> Plain:
    """The bars of one of PARTS, as plain data."""
    group, name, color, shape = part
    counts = histogram[group].to_numpy()
    mean = f": mean weight {getattr(summary, group):.2f}" if summary else ""
    return {
        "type": "bar",
        "x": (EDGES[:-1] + EDGES[1:]) / 2,
        "y": np.sqrt(counts / max(counts.sum(), 1)),
        "width": float(EDGES[1] - EDGES[0]),
        "text": [f"{count:,}" for count in counts],
        "textposition": "none",
        "hovertemplate": "weight %{x:.2f}<br>%{text} examples",
        "marker": {"color": color, "line": {"width": 0}, "pattern": {"shape": shape, "fillmode": "overlay"}},
        "opacity": 0.65,
        "name": name + mean,
        "legendgroup": name,
    }


# The bilevel problem: boxes (centre, half width, half height, colour, outline) in units of 82 pixels.
_WEIGHTING = STYLES["MetaInfoNet"].color
_BOXES = {
    "classifier Θ": (4.5, 4.15, 0.9, 0.3, THEORY, "solid"),
    "noisy batch<br>(xᵢ, yᵢ)": (4.9, 2.35, 0.65, 0.4, NOISY, "solid"),
    "weighting network Φ": (4.5, 0.55, 1.05, 0.3, _WEIGHTING, "solid"),
    "<b>virtual step</b><br>Θ̂ = Θ − α Σ wᵢ∇ℓᵢ": (7.6, 2.35, 0.98, 0.4, THEORY, "dash"),
    "<b>real step</b><br>Θ ← Θ − α Σ wᵢ∇ℓᵢ": (1.3, 2.35, 0.98, 0.4, THEORY, "solid"),
    "meta loss<br>L<sub>meta</sub>(Θ̂)": (10.1, 2.35, 0.7, 0.4, THEORY, "solid"),
    "clean meta batch": (10.1, 4.15, 0.85, 0.3, CLEAN, "solid"),
}
# Corners of each arrow's path, its words, where they stand and which of their sides is there, its colour.
_Point = tuple[float, float]
_PATHS: tuple[tuple[tuple[_Point, ...], str, _Point, str, str], ...] = (
    (((4.9, 2.75), (4.9, 3.85)), "xᵢ", (4.98, 3.3), "left", THEORY),
    (((4.9, 1.95), (4.9, 0.85)), "yᵢ", (4.98, 1.4), "left", THEORY),
    (((4.0, 3.85), (4.0, 0.85)), "logits<br>zᵢ", (3.92, 2.35), "right", THEORY),
    (((5.4, 4.15), (7.3, 4.15), (7.3, 2.75)), "losses ℓᵢ", (6.35, 4.33), "center", THEORY),
    (((5.55, 0.7), (7.3, 0.7), (7.3, 1.95)), "<b>1</b> weights wᵢ", (6.4, 0.88), "center", THEORY),
    (((8.58, 2.35), (9.4, 2.35)), "<b>2</b>", (8.99, 2.53), "center", THEORY),
    (((10.1, 3.85), (10.1, 2.75)), "", (0, 0), "center", THEORY),
    (((10.1, 1.95), (10.1, 0.4), (5.55, 0.4)), "", (0, 0), "center", _WEIGHTING),
    (((3.45, 0.55), (1.3, 0.55), (1.3, 1.95)), "<b>4</b> new weights wᵢ", (2.35, 0.73), "center", THEORY),
    (((1.3, 2.75), (1.3, 4.15), (3.6, 4.15)), "<b>5</b> Θ moves", (2.4, 4.33), "center", THEORY),
)
_HYPERGRADIENT = "<b>3</b> hypergradient ∂L<sub>meta</sub>/∂wᵢ = −α ∇ℓᵢ·∇L<sub>meta</sub>, back into Φ"


def bilevel() -> go.Figure:
    """The bilevel problem in one picture: on the right the virtual step, from which the weighting network
    learns; on the left the real one, which the classifier takes under the new weights.
    """
    size = {"width": 910, "height": 400, "margin": {"l": 5, "r": 5, "t": 5, "b": 5}}
    figure = go.Figure(layout={"template": TEMPLATE, **size})
    figure.update_xaxes(range=[0, 11], visible=False, fixedrange=True)
    figure.update_yaxes(range=[-0.1, 4.59], visible=False, fixedrange=True)
    for words, (x, y, wide, high, color, dash) in _BOXES.items():
        edges = {"x0": x - wide, "x1": x + wide, "y0": y - high, "y1": y + high}
        figure.add_shape(**edges, name=words, line={"color": color, "width": 2, "dash": dash})
        figure.add_annotation(x=x, y=y, text=words, showarrow=False, font_size=14)
    for corners, words, (x, y), side, color in _PATHS:
        middle = np.mean(corners[-2:], axis=0)
        across, up = zip(*corners[:-1], middle, strict=True)  # the arrow alone would leave gaps at corners
        figure.add_trace(line(across, up, "", {"color": color, "width": 2}))
        _arrow(figure, corners[-2], corners[-1], color)
        font = {"size": 13, "color": THEORY}
        figure.add_annotation(x=x, y=y, text=words, showarrow=False, xanchor=side, font=font)
    font = {"size": 13, "color": _WEIGHTING}
    return figure.add_annotation(x=7.85, y=0.17, text=_HYPERGRADIENT, showarrow=False, font=font)


def _arrow(figure: go.Figure, start: _Point, end: _Point, color: str, width: float = 2) -> None:
    ends = dict(x=end[0], y=end[1], ax=start[0], ay=start[1], xref="x", yref="y", axref="x", ayref="y")
    look = dict(text="", showarrow=True, arrowhead=2, arrowsize=1.2, arrowwidth=width, arrowcolor=color)
    figure.add_annotation(**ends, **look)


def gradient_arrows(
    steps: NDArray[np.floating], meta: NDArray[np.floating], labels: Sequence[str], clean: Sequence[bool]
) -> go.Figure:
    """The steps −∇ℓᵢ (n, 2) that examples ask for and the one that the meta set asks for after the virtual
    step (2,), as arrows of a model with two parameters.
    """
    figure = go.Figure(layout={"template": TEMPLATE, "title_text": "The steps that four examples ask for"})
    reach = 1.25 * max(float(np.abs(steps).max()), float(np.abs(meta).max()))
    figure.update_xaxes(title_text="first parameter", range=[-reach, reach])
    figure.update_yaxes(title_text="second parameter", range=[-reach, reach], scaleanchor="x")
    across = np.array([-meta[1], meta[0]]) / np.linalg.norm(meta) * 3 * reach
    x, y = np.array([-across, across]).T.tolist()
    figure.add_trace(line(x, y, "no agreement: at right angles", stroke(THEORY, "dot", 1.5)))
    own = [(CLEAN if right else NOISY, label) for right, label in zip(clean, labels, strict=True)]
    looks = [(TEST, "the meta set"), *own]
    for end, (color, name) in zip([meta, *steps], looks, strict=True):
        _arrow(figure, (0, 0), (float(end[0]), float(end[1])), color, 4 if color == TEST else 2.5)
        figure.add_scatter(
            x=[end[0]],
            y=[end[1]],
            mode="text",
            text=[f"  {name}  "],
            textposition="middle right" if end[0] > 0 else "middle left",
            showlegend=False,
            textfont_color=color,
            hoverinfo="skip",
        )
    return figure.update_layout(width=620, height=520, legend={"orientation": "h", "y": -0.15})


def weight_against_loss(frame: pd.DataFrame) -> go.Figure:
    """Weights of training examples against their losses, a panel a method.

    `frame` has columns method, loss (nats), weight (mean one) and clean; losses below SMALLEST_LOSS are drawn
    there.
    """
    methods = list(frame["method"].unique())
    figure = _in_a_row(methods, height=400, margin={"t": 60, "b": 100})
    figure.update_layout(legend={**_LEGEND, "itemsizing": "constant"})
    figure.update_xaxes(title_text="loss (nats)", type="log", exponentformat="power")
    figure.update_yaxes(title_text="weight (mean 1)", col=1)
    for column, method in enumerate(methods, start=1):
        shown = frame[frame["method"] == method]
        for (_, name, color, _), right, symbol in zip(PARTS, (True, False), ("circle", "x"), strict=True):
            part = shown[shown["clean"] == right]
            figure.add_scatter(
                x=np.maximum(part["loss"].to_numpy(np.float32), SMALLEST_LOSS),  # half the size, saved
                y=part["weight"].to_numpy(np.float32),
                mode="markers",
                marker={"color": color, "symbol": symbol, "size": 4, "opacity": 0.5},
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                row=1,
                col=column,
            )
    return figure


def convergence(frame: pd.DataFrame) -> go.Figure:
    """Squared norms of gradients by step on logarithmic axes, with the slope of 1/√t beside them.

    `frame` has a column step (from 1) and one for each norm, named as the legend shall say.
    """
    figure = go.Figure(layout={"template": TEMPLATE, "height": 430, "margin_l": 88})
    figure.update_xaxes(title_text="step t", type="log", dtick=1)
    figure.update_yaxes(title_text="squared norm", type="log", exponentformat="power", dtick=1)
    names = [name for name in frame.columns if name != "step"]
    looks = ((NOISY, "solid"), ("#AA3377", "dash"), (TEST, "dashdot"))
    steps = frame["step"].to_numpy()
    for name, (color, dash) in zip(names, looks, strict=False):
        figure.add_trace(line(steps, frame[name].to_numpy(), name, stroke(color, dash)))
    start = float(frame[names[0]].iloc[0])
    return figure.add_trace(line(steps, start / np.sqrt(steps), "∝ 1/√t", stroke(THEORY, "dot", 1.5)))
