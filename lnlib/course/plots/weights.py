"""The figures of sample weighting: Figure 1 of MetaInfoNet, a virtual step as arrows, weight against
loss, convergence.

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
from lnlib.course.plots.diagrams import arrow
from lnlib.course.plots.theme import CLEAN, NOISY, TEMPLATE, TEST, THEORY, Plain, line, panel, stroke

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
        arrow(figure, (0, 0), (float(end[0]), float(end[1])), color, 4 if color == TEST else 2.5)
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
