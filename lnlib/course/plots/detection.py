"""Wrong labels found: the ROC curve, the scores of right and wrong labels, and the most suspicious examples.

LIMIT, section 4.1, Figure 4 and supplement C.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from lnlib.course.plots.gallery import gallery
from lnlib.course.plots.theme import CLEAN, NOISY, PERCENT, PNG_WIDTH, TEMPLATE, THEORY, line, stroke, style

_BINS, _LONGEST = 50, 16
_LEGEND = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}


def roc(frame: pd.DataFrame) -> go.Figure:
    """ROC curves, the area under each in the legend.

    `frame` has columns method (a line each), false_positive_rate and true_positive_rate.
    """
    figure = go.Figure(layout={"template": TEMPLATE, "title_text": "Wrong labels found, right ones accused"})
    for method, part in frame.groupby("method", sort=False):
        x, y = part["false_positive_rate"].to_numpy(), part["true_positive_rate"].to_numpy()
        figure.add_trace(line(x, y, f"{method}: {np.trapezoid(y, x):.2%}", style(str(method)).line))
    figure.add_trace(line([0, 1], [0, 1], "chance: 50%", stroke(THEORY, "dot", 2)))
    figure.update_xaxes(title_text="share of right labels flagged", range=[-0.02, 1], tickformat=PERCENT)
    figure.update_yaxes(title_text="share of wrong labels flagged", range=[0, 1.02], tickformat=PERCENT)
    return figure.update_layout(legend=_LEGEND, height=480, margin_b=110)


def score_histogram(frame: pd.DataFrame, title: str = "distance ‖μ − g‖₂") -> go.Figure:
    """How many examples have which score, right and wrong labels overlaid; `title` names the axis.

    `frame` has columns score and wrong; the bins are the same for both.
    """
    scores, wrong = frame["score"].to_numpy(), frame["wrong"].to_numpy(bool)
    edges = np.linspace(min(0.0, scores.min()), scores.max(), _BINS + 1)
    figure = go.Figure(layout={"template": TEMPLATE, "title_text": "Scores of right and wrong labels"})
    kinds = ("given label right", ~wrong, CLEAN, ""), ("given label wrong", wrong, NOISY, "/")
    for name, part, color, shape in kinds:
        counts, _ = np.histogram(scores[part], edges)
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts,
            width=edges[1] - edges[0],
            marker={"color": color, "line_width": 0, "pattern": {"shape": shape, "fillmode": "overlay"}},
            opacity=0.65,
            name=f"{name}: {part.sum():,}",
        )
    figure.update_xaxes(title_text=title, range=[edges[0], edges[-1]])
    figure.update_yaxes(title_text="examples")
    return figure.update_layout(barmode="overlay", bargap=0, legend=_LEGEND, margin_b=110)


def suspect_gallery(
    suspects: pd.DataFrame, images: NDArray[np.uint8], marks: Sequence[bool] | None = None, columns: int = 8
) -> go.Figure:
    """The suspects in their order, each with its given label, what was predicted in its place, and its score.

    `suspects` has columns row (of `images`, all training images (N, C, H, W)), given, suggested and score.
    `marks`, one a suspect, put a cross and the noisy colour where the label is known to be wrong; without
    them nothing is claimed.
    """
    given, suggested = (suspects[column].astype(str).map(_shortened) for column in ("given", "suggested"))
    captions = [
        f"given {one}<br>predicted {other}<br>{score:.3f}"
        for one, other, score in zip(given, suggested, suspects["score"], strict=True)
    ]
    if marks is None:
        captions = [f"<span style='color:{THEORY}'>{caption}</span>" for caption in captions]
        marks = [False] * len(captions)
    figure = gallery(images[suspects["row"].to_numpy()], captions, marks, columns)
    longest = len("predicted ") + max(map(len, [*given, *suggested, ""]))
    size = int(PNG_WIDTH / columns / (0.6 * longest))
    return figure.update_annotations(font_size=max(8, min(11, size)))


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
