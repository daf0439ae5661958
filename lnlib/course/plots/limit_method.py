"""The figures of LIMIT's experiments: Figures 3 and A0, information from both sides, the choice of β.

Each function takes numbers and returns a figure.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lnlib.course.plots.limit import add_methods
from lnlib.course.plots.theme import (
    CLEAN,
    NOISY,
    PERCENT,
    TEMPLATE,
    TEST,
    THEORY,
    Plain,
    cursor,
    line,
    panel,
    stroke,
    style,
)

_NEAR = 0.03  # of 1 - p, in Figure 3's middle panel


def figure3(frame: pd.DataFrame, rate: float) -> go.Figure:
    """LIMIT's Figure 3: accuracy by epoch on the given training labels and on clean test images.

    `frame` has columns method, epoch, train_accuracy and test_accuracy; of several runs of a method mean and
    range are drawn. `rate` is the effective error rate. A panel in the middle enlarges the first one around
    1 - p where several methods end there. The paper smooths its curves; these are as measured.
    """
    ends = frame[frame["epoch"] == frame["epoch"].max()].groupby("method")["train_accuracy"].mean()
    enlarged = ((ends - (1 - rate)).abs() < _NEAR).sum() > 1
    panels = {
        "Training, given labels": "train_accuracy",
        **({"Training, enlarged at 1 − p": "train_accuracy"} if enlarged else {}),
        "Test, clean labels": "test_accuracy",
    }
    figure = make_subplots(cols=len(panels), subplot_titles=list(panels), horizontal_spacing=0.06)
    figure.update_layout(template=TEMPLATE, height=480, margin={"t": 110})
    figure.update_layout(legend={"orientation": "h", "y": 1.13, "yanchor": "bottom"})
    figure.update_yaxes(tickformat=PERCENT)
    if enlarged:
        figure.update_yaxes(range=[max(0, 1 - rate - _NEAR), 1 - rate + _NEAR], tickformat=".1~%", col=2)
    across, name = [1, float(frame["epoch"].max())], f"1 − p = {1 - rate:.0%}"
    target = line(across, [1 - rate] * 2, name, stroke(THEORY, "dot", 2), legendgroup="target")
    for column, name in enumerate(panels.values(), start=1):
        add_methods(figure, frame, name, column)
        if name == "train_accuracy":
            figure.add_trace({**target, "showlegend": column == 1}, row=1, col=column)
    return figure


def figure_a0(frame: pd.DataFrame) -> go.Figure:
    """LIMIT's Figure A0: test accuracy by β, for both kinds of q, where noisy validation is best and on
    average over the last ten evaluated epochs.

    `frame` has columns q, beta, best and last, one row a run; of several runs mean and range are drawn. β = 0
    has no place on a logarithmic axis: the values stand at equal distances.
    """
    betas = sorted(frame["beta"].unique())
    figure = go.Figure(layout={"template": TEMPLATE, "height": 450, "margin_t": 76})
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    ticks = {"tickvals": [*range(len(betas))], "ticktext": [f"{beta:g}" for beta in betas]}
    figure.update_xaxes(title_text="β, the weight of the penalty ‖μ‖²", **ticks)
    figure.update_yaxes(title_text="test accuracy", tickformat=PERCENT)
    times = (("best", "best noisy validation", "solid"), ("last", "last ten evaluations", "dot"))
    for q, part in frame.groupby("q", sort=False):
        look = style("LIMIT-" + str(q)[0].upper())
        for column, words, dash in times:
            runs = part.groupby("beta")[column].agg(["mean", "min", "max"]).loc[betas]
            mean = runs["mean"].to_numpy()
            reach = {"array": runs["max"] - mean, "arrayminus": mean - runs["min"], "color": look.color}
            marker = {"symbol": look.symbol + "-open" * (column == "last"), "size": 9}
            more = {"mode": "lines+markers", "marker": marker, "error_y": {**reach, "thickness": 1.5}}
            name = f"LIMIT-{str(q)[0].upper()}, {words}"
            figure.add_trace(line(np.arange(len(betas)), mean, name, stroke(look.color, dash), **more))
    return figure


def information_bounds(runs: Mapping[str, pd.DataFrame], entropy: float) -> go.Figure:
    """Label information in the weights by epoch, from below and from above, beside all there is: `entropy`.

    `runs` maps a label to `analysis.information.information_bounds`, in bits per label. The axis ends at four
    times the entropy: what lies above says nothing.
    """
    figure = go.Figure(layout={"template": TEMPLATE, "height": 430})
    figure.update_layout(title_text="What the weights know of the given labels, from both sides")
    figure.update_xaxes(title_text="epoch")
    figure.update_yaxes(title_text="bits per label", range=[-0.1 * entropy, 4 * entropy])
    symbols = ("circle", "square", "diamond")
    for (label, frame), symbol in zip(runs.items(), symbols, strict=False):
        for name, color, dash in (("at_most", NOISY, "dash"), ("at_least", CLEAN, "solid")):
            marker = {"symbol": symbol, "size": 8, "maxdisplayed": 8}
            x, y, look = frame["epoch"].to_numpy(), frame[name].to_numpy(), stroke(color, dash)
            words = f"{label}: {name.replace('_', ' ')}"
            figure.add_trace(line(x, y, words, look, mode="lines+markers", marker=marker))
    ends = [1, max(float(frame["epoch"].max()) for frame in runs.values())]
    name = f"H(y|x) = {entropy:.2f} bits"
    return figure.add_trace(line(ends, [entropy] * 2, name, stroke(THEORY, "dot", 2)))


def against_beta(records: pd.DataFrame, betas: Sequence[float], beta: float) -> Plain:
    """What is fitted and what is learned by β, with a cursor at `beta`; one row of `records` a β. A panel of
    a lab, as plain data.

    β = 0 has no place on a logarithmic axis: the values stand at equal distances. The star is the β that
    noisy validation chooses, as a reader without true labels must.
    """
    places = np.arange(len(records), dtype=float)
    lines: dict[str, tuple[str, Plain, Plain]] = {
        "clean_accuracy": ("clean part", stroke(CLEAN), {"symbol": "square", "size": 8}),
        "corrupted_fit": ("corrupted part, fitted", stroke(NOISY), {"symbol": "x", "size": 8}),
        "test_accuracy": ("test", stroke(TEST), {"symbol": "diamond", "size": 8}),
    }
    ticks = [f"{value:g}" for value in betas]
    chosen = [int(records["validation_accuracy"].argmax())] if len(records) else []
    star = {"symbol": "star", "size": 15, "color": TEST, "line": {"color": "white", "width": 1}}
    values = {column: records[column].to_numpy(float) for column in lines}
    best = "test, at the β of the best noisy validation"
    return panel(
        "At this epoch, by β",
        "β, the weight of the penalty ‖μ‖²",
        "accuracy",
        x={"range": [-0.4, len(betas) - 0.6], "tickvals": [*range(len(betas))], "ticktext": ticks},
        y={"range": [0, 1.02], "tickformat": PERCENT},
        traces=[
            *(
                line(places, values[column], name, look, mode="lines+markers", marker=marker)
                for column, (name, look, marker) in lines.items()
            ),
            line(places[chosen], values["test_accuracy"][chosen], best, {}, mode="markers", marker=star),
            *cursor(betas.index(beta), 1.02),
        ],
        meta={"alt": "Accuracy by β on the clean part, the corrupted part and test images."},
    )
