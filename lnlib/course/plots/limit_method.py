"""The figures of LIMIT's experiments: Figure 3, information from both sides, and the choice of β.

Each function takes numbers and returns a figure.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

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


def figure3(frame: pd.DataFrame, rate: float) -> go.Figure:
    """LIMIT's Figure 3: accuracy by epoch on the given training labels and on clean test images.

    `frame` has columns method, epoch, train_accuracy and test_accuracy; several runs of a method are
    averaged. `rate` is the effective error rate. The paper smooths its curves; these are as measured.
    """
    panels = {"train_accuracy": "Training, given labels", "test_accuracy": "Test, clean labels"}
    figure = make_subplots(cols=2, subplot_titles=list(panels.values()), horizontal_spacing=0.09)
    figure.update_layout(template=TEMPLATE, height=500, margin={"t": 130})
    figure.update_layout(legend={"orientation": "h", "y": 1.1, "yanchor": "bottom", "entrywidth": 130})
    figure.update_yaxes(tickformat=PERCENT)
    figure.update_yaxes(title_text="accuracy", col=1)
    figure.update_xaxes(title_text="epoch")
    means = frame.groupby(["method", "epoch"], sort=False)[list(panels)].mean().reset_index()
    last = float(means["epoch"].max())
    for column, name in enumerate(panels, start=1):
        for method, part in means.groupby("method", sort=False):
            look = style(str(method))
            figure.add_scatter(
                x=part["epoch"].to_numpy(),
                y=part[name].to_numpy(),
                mode="lines+markers",
                line=look.line,
                marker={"symbol": look.symbol, "size": 8, "maxdisplayed": 8},
                name=str(method),
                legendgroup=str(method),
                showlegend=column == 1,
                row=1,
                col=column,
            )
    best = go.Scatter(x=[1, last], y=[1 - rate] * 2, mode="lines", name=f"1 − p = {1 - rate:.0%}")
    return figure.add_trace(best.update(line={"color": THEORY, "dash": "dot", "width": 2}), row=1, col=1)


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
        for name, words, color, dash in (
            ("at_most", "at most", NOISY, "dash"),
            ("at_least", "at least", CLEAN, "solid"),
        ):
            figure.add_scatter(
                x=frame["epoch"].to_numpy(),
                y=frame[name].to_numpy(),
                mode="lines+markers",
                line={"color": color, "dash": dash, "width": 2.5},
                marker={"symbol": symbol, "size": 8, "maxdisplayed": 8},
                name=f"{label}: {words}",
            )
    last = max(float(frame["epoch"].max()) for frame in runs.values())
    line = {"color": THEORY, "dash": "dot", "width": 2}
    return figure.add_scatter(
        x=[1, last], y=[entropy] * 2, mode="lines", line=line, name=f"H(y|x) = {entropy:.2f} bits"
    )


def against_beta(records: pd.DataFrame, betas: Sequence[float], beta: float) -> Plain:
    """What is fitted and what is learned by β, with a cursor at `beta`; one row of `records` a β. A panel of
    a lab, as plain data.

    β = 0 has no place on a logarithmic axis: the values stand at equal distances. The star is the β that
    noisy validation chooses, as a reader without true labels must.
    """
    places = np.arange(len(records), dtype=float)
    lines = {
        "clean_accuracy": ("clean part", CLEAN, "solid", "square"),
        "corrupted_fit": ("corrupted part, fitted", NOISY, "solid", "x"),
        "test_accuracy": ("test", TEST, "longdash", "diamond"),
    }
    chosen = [int(records["validation_accuracy"].argmax())] if len(records) else []
    star = {"symbol": "star", "size": 15, "color": TEST, "line": {"color": "white", "width": 1}}
    test = records["test_accuracy"].to_numpy(float)
    return panel(
        "At this epoch, by β",
        "β, the weight of the penalty ‖μ‖²",
        "accuracy",
        x={
            "range": [-0.4, len(betas) - 0.6],
            "tickvals": list(range(len(betas))),
            "ticktext": [f"{value:g}" for value in betas],
        },
        y={"range": [0, 1.02], "tickformat": PERCENT},
        traces=[
            *(
                line(
                    places,
                    records[column].to_numpy(float),
                    name,
                    stroke(color, dash),
                    mode="lines+markers",
                    marker={"symbol": symbol, "size": 8},
                )
                for column, (name, color, dash, symbol) in lines.items()
            ),
            line(
                places[chosen],
                test[chosen],
                "test, at the β of the best noisy validation",
                {},
                mode="markers",
                marker=star,
            ),
            *cursor(betas.index(beta), 1.02),
        ],
        meta={"alt": "Accuracy by β on the clean part, the corrupted part and test images."},
    )
