"""Drawings of boxes and arrows: the bilevel problem, and Figures 2 to 4 of MetaInfoNet."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from lnlib.course.plots.theme import CLEAN, NOISY, STYLES, TEMPLATE, THEORY, line

UNIT = 82.0
"""So many pixels make a unit of a drawing."""
Point = tuple[float, float]
_WEIGHTING = STYLES["MetaInfoNet"].color


class Box(NamedTuple):
    """A box with its words: centre, half width, half height."""

    words: str
    x: float
    y: float
    wide: float
    high: float
    color: str = THEORY
    dash: str = "solid"


class Path(NamedTuple):
    """An arrow along its corners; its words stand at a point, which is at one of their sides."""

    corners: tuple[Point, ...]
    words: str = ""
    at: Point = (0, 0)
    side: str = "center"
    color: str = THEORY
    dash: str = "solid"


class Words(NamedTuple):
    """Words without a box, and which of their sides is at the point."""

    words: str
    at: Point
    side: str = "center"
    color: str = THEORY


def drawing(
    boxes: Iterable[Box], paths: Iterable[Path], words: Iterable[Words], across: Point, up: Point, alt: str
) -> go.Figure:
    """A figure of boxes and arrows, from one corner to the other; `alt` is said in place of the picture."""
    width, height = round((across[1] - across[0]) * UNIT) + 10, round((up[1] - up[0]) * UNIT) + 10
    size = {"width": width, "height": height, "margin": {"l": 5, "r": 5, "t": 5, "b": 5}}
    figure = go.Figure(layout={"template": TEMPLATE, "meta": {"described": alt}, **size})
    figure.update_xaxes(range=across, visible=False, fixedrange=True)
    figure.update_yaxes(range=up, visible=False, fixedrange=True)
    for box in boxes:
        edges = {"x0": box.x - box.wide, "x1": box.x + box.wide}
        edges |= {"y0": box.y - box.high, "y1": box.y + box.high}
        look = {"color": box.color, "width": 2, "dash": box.dash}
        figure.add_shape(**edges, name=box.words, line=look)
        figure.add_annotation(x=box.x, y=box.y, text=box.words, showarrow=False, font_size=14)
    for path in paths:
        middle = np.mean(path.corners[-2:], axis=0)
        # The arrow alone would leave gaps at corners.
        x, y = zip(*path.corners[:-1], middle, strict=True)
        figure.add_trace(line(x, y, "", {"color": path.color, "width": 2, "dash": path.dash}))
        arrow(
            figure, path.corners[-2] if path.dash == "solid" else tuple(middle), path.corners[-1], path.color
        )
        if path.words:
            _say(figure, Words(path.words, path.at, path.side))
    for one in words:
        _say(figure, one)
    return figure


def _say(figure: go.Figure, words: Words) -> None:
    font, (x, y) = {"size": 13, "color": words.color}, words.at
    figure.add_annotation(x=x, y=y, text=words.words, showarrow=False, xanchor=words.side, font=font)


def arrow(figure: go.Figure, start: Point, end: Point, color: str, width: float = 2) -> None:
    """Draw an arrow in the units of the axes."""
    ends = dict(x=end[0], y=end[1], ax=start[0], ay=start[1], xref="x", yref="y", axref="x", ayref="y")
    look = dict(text="", showarrow=True, arrowhead=2, arrowsize=1.2, arrowwidth=width, arrowcolor=color)
    figure.add_annotation(**ends, **look)


def bilevel() -> go.Figure:
    """The bilevel problem in one picture: on the right the virtual step, from which the weighting network
    learns; on the left the real one, which the classifier takes under the new weights.
    """
    boxes = (
        Box("classifier Θ", 4.5, 4.15, 0.9, 0.3),
        Box("noisy batch<br>(xᵢ, yᵢ)", 4.9, 2.35, 0.65, 0.4, NOISY),
        Box("weighting network Φ", 4.5, 0.55, 1.05, 0.3, _WEIGHTING),
        Box("<b>virtual step</b><br>Θ̂ = Θ − α Σ wᵢ∇ℓᵢ", 7.6, 2.35, 0.98, 0.4, dash="dash"),
        Box("<b>real step</b><br>Θ ← Θ − α Σ wᵢ∇ℓᵢ", 1.3, 2.35, 0.98, 0.4),
        Box("meta loss<br>L<sub>meta</sub>(Θ̂)", 10.1, 2.35, 0.7, 0.4),
        Box("clean meta batch", 10.1, 4.15, 0.85, 0.3, CLEAN),
    )
    paths = (
        Path(((4.9, 2.75), (4.9, 3.85)), "xᵢ", (4.98, 3.3), "left"),
        Path(((4.9, 1.95), (4.9, 0.85)), "yᵢ", (4.98, 1.4), "left"),
        Path(((4.0, 3.85), (4.0, 0.85)), "logits<br>zᵢ", (3.92, 2.35), "right"),
        Path(((5.4, 4.15), (7.3, 4.15), (7.3, 2.75)), "losses ℓᵢ", (6.35, 4.33)),
        Path(((5.55, 0.7), (7.3, 0.7), (7.3, 1.95)), "<b>1</b> weights wᵢ", (6.4, 0.88)),
        Path(((8.58, 2.35), (9.4, 2.35)), "<b>2</b>", (8.99, 2.53)),
        Path(((10.1, 3.85), (10.1, 2.75))),
        Path(((10.1, 1.95), (10.1, 0.4), (5.55, 0.4)), color=_WEIGHTING),
        Path(((3.45, 0.55), (1.3, 0.55), (1.3, 1.95)), "<b>4</b> new weights wᵢ", (2.35, 0.73)),
        Path(((1.3, 2.75), (1.3, 4.15), (3.6, 4.15)), "<b>5</b> Θ moves", (2.4, 4.33)),
    )
    hypergradient = "<b>3</b> hypergradient ∂L<sub>meta</sub>/∂wᵢ = −α ∇ℓᵢ·∇L<sub>meta</sub>, back into Φ"
    alt = (
        "Algorithm 1 as boxes and arrows. A noisy batch goes through the classifier; its logits and "
        "labels go to the weighting network. 1: the weights, with the losses, make a virtual step. 2: the"
        " meta loss of the classifier after that step, on a clean meta batch. 3: its hypergradient goes "
        "back into the weighting network. 4: the new weights make the real step. 5: the classifier moves."
    )
    words = (Words(hypergradient, (7.85, 0.17), color=_WEIGHTING),)
    return drawing(boxes, paths, words, (0, 11), (-0.1, 4.65), alt)


_ROWS = (
    ("framework", "some g(z)", "some e(y)", "combine", THEORY),
    ("LossNet", "log softmax(z)", "one-hot y", "ℓᵢ = −y·log s(z)", STYLES["LossNet"].color),
    ("LogitNet", "z itself", "embedding e(y)", "z ⊙ e(y)", STYLES["LogitNet"].color),
    ("MetaInfoNet", "IB layer: ψ′", "embedding e(y)", "ψ′ ⊙ e(y)", _WEIGHTING),
)


def weighting_networks() -> go.Figure:
    """MetaInfoNet's Figures 2 and 3: the framework of a weighting network, and its three instantiations."""
    boxes: list[Box] = []
    paths: list[Path] = []
    words: list[Words] = []
    for place, (name, sample, label, combined, color) in enumerate(_ROWS):
        y, dash = 5.55 - 1.6 * place, "dash" if not place else "solid"
        words += [Words(f"<b>{name}</b>", (0, y), "left", color)]
        words += [Words("logits zᵢ", (2.65, y + 0.35), "right"), Words("label yᵢ", (2.65, y - 0.35), "right")]
        boxes += [
            Box(sample, 3.95, y + 0.35, 0.95, 0.26, color, dash),
            Box(label, 3.95, y - 0.35, 0.95, 0.26, color, dash),
            Box(combined, 6.5, y, 0.9, 0.3, color, dash),
            Box("MLP", 8.4, y, 0.45, 0.3, color, dash),
        ]
        for side in (0.35, -0.35):
            paths += [Path(((2.7, y + side), (3.0, y + side)))]
            paths += [Path(((4.9, y + side), (5.28, y + side), (5.28, y + side / 3), (5.6, y + side / 3)))]
        paths += [Path(((7.4, y), (7.95, y))), Path(((8.85, y), (9.5, y)))]
        words += [Words("weight w̃ᵢ", (9.55, y), "left")]
    alt = (
        "Figures 2 and 3 of MetaInfoNet. In the framework a representation of the sample, from its "
        "logits, and one of the given label are combined, and an MLP makes the weight of it. LossNet: log"
        " softmax and one-hot label, combined to the loss. LogitNet: the logits times an embedding of the"
        " label. MetaInfoNet: what the bottleneck lets through, times the embedding."
    )
    return drawing(boxes, paths, words, (-0.1, 10.7), (0.05, 6.25), alt)


def bottleneck() -> go.Figure:
    """MetaInfoNet's Figure 4: the IB layer, with its penalty and the skip connection."""
    boxes = (
        Box("logits<br>z", 0.75, 1.9, 0.55, 0.4),
        Box("linear", 2.3, 1.9, 0.5, 0.3, _WEIGHTING),
        Box("", 4.15, 1.9, 0.87, 0.87, _WEIGHTING, "dot"),
        Box("mean μ", 4.15, 2.35, 0.7, 0.28, _WEIGHTING),
        Box("variance σ²", 4.15, 1.45, 0.7, 0.28, _WEIGHTING),
        Box("ψ = μ + σ ⊙ ε", 6.3, 1.9, 0.8, 0.32, _WEIGHTING),
        Box("[ψ; z]", 8.1, 1.9, 0.45, 0.32, _WEIGHTING),
        Box("linear", 9.4, 1.9, 0.45, 0.3, _WEIGHTING),
    )
    paths = (
        Path(((1.3, 1.9), (1.8, 1.9))),
        Path(((2.8, 2.0), (3.1, 2.0), (3.1, 2.35), (3.45, 2.35))),
        Path(((2.8, 1.8), (3.1, 1.8), (3.1, 1.45), (3.45, 1.45))),
        Path(((4.85, 2.35), (5.15, 2.35), (5.15, 2.0), (5.5, 2.0))),
        Path(((4.85, 1.45), (5.15, 1.45), (5.15, 1.8), (5.5, 1.8))),
        Path(((6.3, 3.0), (6.3, 2.22)), "noise ε ~ N(0, I)", (6.3, 3.18)),
        Path(((7.1, 1.9), (7.65, 1.9))),
        Path(((8.55, 1.9), (8.95, 1.9))),
        Path(((9.85, 1.9), (10.35, 1.9)), "ψ′", (10.42, 1.9), "left"),
        Path(
            ((0.75, 1.5), (0.75, 0.35), (8.1, 0.35), (8.1, 1.58)),
            "skip connection: the logits go past the bottleneck",
            (5.9, 0.53),
            dash="dash",
        ),
        Path(((4.15, 2.77), (4.15, 3.15)), "λ KL[N(μ, σ²) ‖ N(0, I)]<br>to the meta loss", (4.15, 3.42)),
    )
    alt = (
        "Figure 4 of MetaInfoNet, the IB layer. A linear layer makes a mean and a variance of the logits "
        "z. With standard normal noise they give ψ. Their divergence from the standard normal "
        "distribution, times λ, goes to the meta loss. A second linear layer makes ψ′ of ψ and, by the "
        "dashed skip connection, of z itself."
    )
    return drawing(boxes, paths, (), (0, 10.9), (0.15, 3.75), alt)
