"""The figures of sample weighting: Figure 1 of MetaInfoNet, the bilevel problem, a virtual step as arrows,
weight against loss, convergence.

Each function takes numbers and returns a figure. What moves in a lab is a trace, never a shape.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from lnlib.analysis.weights import EDGES, WeightSummary
from lnlib.plots.theme import CLEAN, NOISY, TEMPLATE, TEST, THEORY

PARTS = (("clean", "label right", CLEAN, ""), ("noisy", "label wrong", NOISY, "/"))
SMALLEST_LOSS = 1e-5
_SHARES = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0)
_Y = {
    "range": [0, 1],
    "tickvals": [share**0.5 for share in _SHARES],
    "ticktext": [f"{share:.0%}" for share in _SHARES],
}
_TICKS = [0, 1, 2, 3, EDGES[-1]]
_X = {"range": [0, EDGES[-1]], "tickvals": _TICKS, "ticktext": ["0", "1", "2", "3", f"≥{EDGES[-1]:g}"]}


def weight_histogram(histogram: pd.DataFrame, summary: WeightSummary | None, note: str = "") -> go.Figure:
    """How the weights of right and of wrong labels are distributed, one panel of a lab.

    `histogram` is `analysis.weights.evaluation_histogram`; bars are shares of their own group on a
    square-root scale, so that small ones show. The legend holds the summary and a `note`.
    """
    figure = go.Figure(layout={"template": TEMPLATE})
    figure.update_xaxes(title_text="weight of an example (mean 1)", **_X)
    figure.update_yaxes(title_text="share of its group", **_Y)
    _add_bars(figure, histogram, summary)
    words = f"AUC {summary.auc:.2f} · effective sample {summary.effective:.0%}{note}" if summary else note
    # A trace without points: its name is a line of the legend, which a lab can change.
    figure.add_scatter(x=[0], y=[None], mode="markers", marker_color="rgba(0,0,0,0)", name=words or " ")
    return figure.update_layout(barmode="overlay", bargap=0)


def weight_histograms(frame: pd.DataFrame, summaries: Mapping[str, WeightSummary]) -> go.Figure:
    """MetaInfoNet's Figure 1: histograms of the weights of right and wrong labels, a panel a method.

    `frame` has columns method, low, high, clean and noisy; the order of `summaries` is that of the panels.
    """
    titles = [
        f"{method}<br><span style='font-size:11px'>AUC {one.auc:.2f} · effective sample {one.effective:.0%}"
        f"<br>mean weight: right {one.clean:.2f}, wrong {one.noisy:.2f}</span>"
        for method, one in summaries.items()
    ]
    figure = make_subplots(
        cols=len(titles), subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.03
    )
    figure.update_layout(template=TEMPLATE, barmode="overlay", bargap=0, height=420)
    legend = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
    figure.update_layout(margin={"t": 90, "b": 104}, legend=legend)
    figure.update_xaxes(title_text="weight (mean 1)", **_X)
    figure.update_yaxes(**_Y)
    figure.update_yaxes(title_text="share of its group (√ scale)", col=1)
    for column, method in enumerate(summaries, start=1):
        _add_bars(figure, frame[frame["method"] == method], None, column)
    return figure


def _add_bars(
    figure: go.Figure, histogram: pd.DataFrame, summary: WeightSummary | None, column: int | None = None
) -> None:
    low, high = histogram["low"].to_numpy(), histogram["high"].to_numpy()
    for part, name, color, shape in PARTS:
        counts = histogram[part].to_numpy()
        shares = counts / max(counts.sum(), 1)
        mean = f": mean weight {getattr(summary, part):.2f}" if summary else ""
        figure.add_bar(
            x=(low + high) / 2,
            y=np.sqrt(shares),
            width=float(EDGES[1] - EDGES[0]),
            text=[f"{count:,}" for count in counts],
            textposition="none",
            hovertemplate="weight %{x:.2f}<br>%{text} examples",
            marker={"color": color, "line_width": 0, "pattern": {"shape": shape, "fillmode": "overlay"}},
            opacity=0.65,
            name=name + mean,
            legendgroup=name,
            showlegend=column in (None, 1),
            row=None if column is None else 1,
            col=column,
        )


def bilevel() -> go.Figure:
    """The bilevel problem in one picture: the classifier learns from weighted examples, the weights from what
    the meta set says of the classifier's next step.
    """
    figure = go.Figure(
        layout={"template": TEMPLATE, "height": 330, "margin": {"l": 10, "r": 10, "t": 20, "b": 10}}
    )
    hidden = {"visible": False, "fixedrange": True}
    figure.update_xaxes(range=[0, 10], **hidden)
    figure.update_yaxes(range=[0, 4], **hidden)
    boxes = {
        "noisy batch<br>(xᵢ, yᵢ)": (1.1, 3.1, NOISY),
        "classifier Θ": (3.7, 3.1, THEORY),
        "virtual step<br>Θ̂ = Θ − α Σ wᵢ∇ℓᵢ": (6.6, 3.1, THEORY),
        "meta loss<br>L<sub>meta</sub>(Θ̂)": (9.0, 3.1, THEORY),
        "weighting network Φ": (3.7, 0.9, "#AA3377"),
        "clean meta batch": (9.0, 0.9, CLEAN),
    }
    for words, (x, y, color) in boxes.items():
        figure.add_annotation(
            x=x,
            y=y,
            text=words,
            showarrow=False,
            bordercolor=color,
            borderwidth=2,
            borderpad=8,
            bgcolor="white",
            font_size=14,
        )
    arrows = (
        ((1.9, 3.1), (3.0, 3.1), "", 0.0),
        ((4.4, 3.1), (5.5, 3.1), "losses ℓᵢ", 0.25),
        ((7.75, 3.1), (8.4, 3.1), "", 0.0),
        ((3.45, 2.7), (3.45, 1.3), "logits z,<br>labels y", 0.0),
        ((4.7, 1.1), (6.2, 2.6), "weights wᵢ", 0.0),
        ((9.0, 1.3), (9.0, 2.6), "", 0.0),
    )
    for (x0, y0), (x1, y1), words, up in arrows:
        _arrow(figure, (x0, y0), (x1, y1), THEORY)
        if words:
            left = x0 == x1
            figure.add_annotation(
                x=(x0 + x1) / 2 - 0.1 * left,
                y=(y0 + y1) / 2 + up,
                text=words,
                showarrow=False,
                xanchor="right" if left else ("center" if up else "left"),
                xshift=0 if left or up else 8,
                font_size=12,
                font_color=THEORY,
            )
    figure.add_scatter(
        x=[8.6, 8.0, 6.8, 4.8],
        y=[2.55, 1.2, 0.5, 0.7],
        mode="lines",
        showlegend=False,
        hoverinfo="skip",
        line={"color": "#AA3377", "dash": "dash", "width": 2, "shape": "spline"},
    )
    _arrow(figure, (5.2, 0.62), (4.78, 0.71), "#AA3377")
    return figure.add_annotation(
        x=6.6,
        y=0.2,
        text="hypergradient ∂L<sub>meta</sub>/∂wᵢ = −α ∇ℓᵢ·∇L<sub>meta</sub>, then back into Φ",
        showarrow=False,
        font={"size": 13, "color": "#AA3377"},
    )


def _arrow(
    figure: go.Figure, start: tuple[float, float], end: tuple[float, float], color: str, width: float = 2
) -> None:
    figure.add_annotation(
        x=end[0],
        y=end[1],
        ax=start[0],
        ay=start[1],
        xref="x",
        yref="y",
        axref="x",
        ayref="y",
        text="",
        showarrow=True,
        arrowhead=2,
        arrowsize=1.2,
        arrowwidth=width,
        arrowcolor=color,
    )


def gradient_arrows(
    steps: NDArray[np.floating], meta: NDArray[np.floating], labels: Sequence[str], clean: Sequence[bool]
) -> go.Figure:
    """The steps −∇ℓᵢ (n, 2) that examples ask for and the one that the meta set asks for (2,), as arrows from
    the present weights of a model with two parameters.
    """
    figure = go.Figure(layout={"template": TEMPLATE, "title_text": "The steps that four examples ask for"})
    reach = 1.25 * max(float(np.abs(steps).max()), float(np.abs(meta).max()))
    figure.update_xaxes(title_text="first parameter", range=[-reach, reach])
    figure.update_yaxes(title_text="second parameter", range=[-reach, reach], scaleanchor="x")
    across = np.array([-meta[1], meta[0]]) / np.linalg.norm(meta) * 3 * reach
    figure.add_scatter(
        x=[-across[0], across[0]],
        y=[-across[1], across[1]],
        mode="lines",
        name="no agreement: at right angles",
        line={"color": THEORY, "dash": "dot", "width": 1.5},
    )
    looks = [
        (TEST, "the meta set"),
        *((CLEAN if right else NOISY, label) for right, label in zip(clean, labels, strict=True)),
    ]
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
    figure = make_subplots(
        cols=len(methods), subplot_titles=methods, shared_yaxes=True, horizontal_spacing=0.03
    )
    figure.update_layout(template=TEMPLATE, height=400, margin={"t": 60, "b": 100})
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top", "itemsizing": "constant"}
    )
    figure.update_xaxes(title_text="loss (nats)", type="log", exponentformat="power")
    figure.update_yaxes(title_text="weight (mean 1)", col=1)
    for column, method in enumerate(methods, start=1):
        shown = frame[frame["method"] == method]
        for (_, name, color, _), right, symbol in zip(PARTS, (True, False), ("circle", "x"), strict=True):
            part = shown[shown["clean"] == right]
            figure.add_scatter(
                x=np.maximum(part["loss"].to_numpy(), SMALLEST_LOSS),
                y=part["weight"].to_numpy(),
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
        line = {"color": color, "dash": dash, "width": 2.5}
        figure.add_scatter(x=steps, y=frame[name].to_numpy(), mode="lines", line=line, name=name)
    start = float(frame[names[0]].iloc[0])
    dotted = {"color": THEORY, "dash": "dot", "width": 1.5}
    return figure.add_scatter(x=steps, y=start / np.sqrt(steps), mode="lines", line=dotted, name="∝ 1/√t")
