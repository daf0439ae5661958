"""The look of every figure: colours by role, one style a method, panels, small print."""

import textwrap
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from numpy.typing import ArrayLike

# Okabe and Ito's colours, told apart by colour-blind readers; two of Tol's where theirs are spoken for.
CLEAN = "#0072B2"
NOISY = "#D55E00"
THEORY = "#4D4D4D"
GIVEN = "#000000"
TEST = "#009E73"
"""Roles: examples whose given label is true, or wrong; bounds and targets; all given labels; test images."""

FONT = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
PERCENT = ".0%"
LONG_DASH = "12px,3px"
"""Plotly's own long dash leaves gaps as wide as itself, which look like missing values."""
FORBIDDEN = "rgba(77, 77, 77, 0.10)"
"""THEORY, see-through: where no learner can be."""
POINT = {"size": 13, "color": CLEAN, "symbol": "circle", "line": {"color": "white", "width": 2}}
"""The reader's own point."""
PNG_WIDTH, CHARACTER = 1000, 5.85
"""How wide a figure is as a picture, and a character of the small print below it, in pixels."""
PLOT_HEIGHT, BOTTOM = 370, 72
"""Of a panel, in pixels: title and plot, axis labels."""


@dataclass(frozen=True)
class Style:
    """How a method's line is drawn: never told by its colour alone."""

    color: str
    dash: str
    symbol: str

    @property
    def line(self) -> dict[str, Any]:
        """For plotly's `line`."""
        return {"color": self.color, "dash": self.dash, "width": 2.5}


STYLES = {
    "CE": Style("#E69F00", "solid", "circle"),
    "CE + dropout": Style("#56B4E9", "dash", "square"),
    "CE + weight decay": Style("#CC79A7", "dot", "diamond"),
    "LIMIT-G": Style("#332288", LONG_DASH, "triangle-up"),
    "LIMIT-L": Style("#882255", "solid", "star"),
    "CE+GN": Style("#AA4499", "dashdot", "circle"),
    "CE+LN": Style("#DD77BB", LONG_DASH, "circle"),
    "MAE": Style("#117733", "solid", "square"),
    "FW": Style("#661100", "dash", "circle"),
    "DMI": Style("#999933", "dot", "circle"),
    "Soft reg.": Style("#777788", "longdashdot", "circle"),
    "Focal loss": Style("#DDCC77", "dash", "pentagon"),
    "Class-balanced": Style("#AAAA00", "dot", "pentagon"),
    "Fine-tuning": Style("#CC6677", LONG_DASH, "pentagon"),
    "Bootstrap": Style("#EE8866", "dash", "hexagon"),
    "S-Model": Style("#225555", "dot", "hexagon"),
    "Self-paced": Style("#994F00", LONG_DASH, "hexagon"),
    "Co-teaching": Style("#5D3A9B", "solid", "hexagon"),
    "D2L": Style("#77AADD", "solid", "pentagon"),
    "MentorNet": Style("#FFAABB", "dashdot", "pentagon"),
    "MLNT": Style("#BBCC33", "dashdot", "hexagon"),
    "LCCN": Style("#997700", "longdashdot", "hexagon"),
    "L2RW": Style("#6699CC", "dot", "square"),
    "LossNet": Style("#DDAA33", "dash", "diamond"),
    "LogitNet": Style("#44AA99", "dashdot", "triangle-up"),
    "MetaInfoNet": Style("#AA3377", "solid", "diamond"),
}
"""One style a method, the same in every lesson."""

_SPARE = tuple(
    Style(color, dash, symbol)
    for dash, symbol in (("dashdot", "x"), ("longdashdot", "cross"), ("dash", "triangle-down"))
    for color in ("#3D6B54", "#8A8A2B", "#2E8B84", "#8E3B80", "#7A3B2E", "#4A6A99")
)

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 14, "color": "#222222"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": [CLEAN, NOISY, TEST, "#E69F00", "#56B4E9", "#CC79A7"],
        "height": 430,
        "margin": {"l": 64, "r": 24, "t": 48, "b": 56},
        "title": {"font": {"size": 15}, "x": 0, "xref": "paper", "xanchor": "left"},
        "hovermode": "closest",
        "legend": {"bgcolor": "rgba(255,255,255,0.8)", "font": {"size": 13}},
        **{
            axis: {
                "showgrid": True,
                "gridcolor": "#E6E6E6",
                "gridwidth": 1,
                "zeroline": False,
                "showline": True,
                "linecolor": "#888888",
                "ticks": "outside",
                "ticklen": 4,
                "tickcolor": "#888888",
                "title": {"standoff": 8, "font": {"size": 14}},
            }
            for axis in ("xaxis", "yaxis")
        },
    }
)


Plain = dict[str, Any]
"""A figure or a trace as plain data, as `plotly.graph_objects.Figure` takes it. Labs draw their panels from
it many times a second; to build a Figure takes a hundred times as long."""

_LOOK: Plain = TEMPLATE.to_plotly_json()


def panel(
    title: str, x_title: str, y_title: str, x: Plain, y: Plain, traces: Sequence[Plain], **layout: Any
) -> Plain:
    """A figure of one panel as plain data, its legend below it; `x` and `y` are options of the axes."""
    return {
        "data": list(traces),
        "layout": {
            "template": _LOOK,
            "title": {"text": title},
            "xaxis": {"title": {"text": x_title}, **x},
            "yaxis": {"title": {"text": y_title}, **y},
            **below(3),
            **layout,
        },
    }


def below(rows: int, entry_width: int = 120) -> Plain:
    """The layout of a panel with its legend in so many lines below it, so that nothing is covered."""
    bottom = BOTTOM + 22 * rows
    legend = {"orientation": "h", "x": 0, "y": -0.18, "yanchor": "top", "entrywidth": entry_width}
    return {"height": PLOT_HEIGHT + bottom, "margin": {"b": bottom}, "legend": legend}


def line(x: ArrayLike, y: ArrayLike, name: str, look: Plain, **more: Any) -> Plain:
    """A line as plain data; one without a name is in no legend."""
    shown = {"name": name} if name else {"showlegend": False, "hoverinfo": "skip"}
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": look, **shown, **more}


def area(x: ArrayLike, y: ArrayLike, name: str, color: str) -> Plain:
    """A closed area as plain data."""
    return line(x, y, name, {"width": 0}, fill="toself", fillcolor=color, hoverinfo="skip")


def point(x: float, y: float, name: str, label: str, side: str) -> Plain:
    """The reader's own point with its label beside it, as plain data; in no legend."""
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [x],
        "y": [y],
        "marker": POINT,
        "text": [label],
        "textposition": side,
        "textfont": {"color": CLEAN, "size": 15},
        "name": name,
        "showlegend": False,
        "cliponaxis": False,
    }


def cursor(at: float | None, top: float) -> list[Plain]:
    """The line at the chosen value of the horizontal axis, as plain data; none without a value."""
    return [] if at is None else [line([at, at], [0, top], "", {"color": THEORY, "width": 1})]


def stroke(color: str, dash: str = "solid", width: float = 2.5) -> dict[str, Any]:
    """A role's line, for plotly's `line`."""
    return {"color": color, "dash": dash, "width": width}


def style(method: str) -> Style:
    """The style of a method's label; one that STYLES does not list gets a spare style, always the same."""
    return STYLES.get(method) or _SPARE[zlib.crc32(method.encode()) % len(_SPARE)]


def small_print(figure: go.Figure | Plain, text: str, *more: str) -> go.Figure:
    """Put `text` (data set, device, budget, seed) and further lines, all plain, below the figure, which grows
    by as much; long ones are wrapped. Returns the figure.
    """
    figure = figure if isinstance(figure, go.Figure) else go.Figure(figure)
    left = TEMPLATE.layout.margin.l if figure.layout.margin.l is None else figure.layout.margin.l
    room = int((PNG_WIDTH - left) / CHARACTER)
    lines = [part for line in (text, *more) for part in textwrap.wrap(line, room, break_on_hyphens=False)]
    bottom = figure.layout.margin.b or TEMPLATE.layout.margin.b
    height = figure.layout.height or TEMPLATE.layout.height
    grown = 8 + 16 * len(lines)
    figure.update_layout(margin_b=bottom + grown, height=height + grown)
    return figure.add_annotation(
        text="<br>".join(lines),
        align="left",
        font={"size": 11, "color": "#666666"},
        showarrow=False,
        x=0,
        xref="paper",
        xanchor="left",
        y=0,
        yref="paper",
        yanchor="bottom",
        yshift=-(bottom + grown - 4),
    )
