"""The figures of LIMIT's experiments: Figure 3, information from both sides, and the choice of β.

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
    for column, name in enumerate(panels, start=1):
        add_methods(figure, frame, name, column)
    ends, name = [1, float(frame["epoch"].max())], f"1 − p = {1 - rate:.0%}"
    return figure.add_trace(line(ends, [1 - rate] * 2, name, stroke(THEORY, "dot", 2)), row=1, col=1)


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
        "test_accuracy": ("test", stroke(TEST, "longdash"), {"symbol": "diamond", "size": 8}),
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
