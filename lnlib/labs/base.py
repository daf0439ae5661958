"""What the labs share: a root widget that shows itself, a sentence, guarded updates, panels."""

import contextlib
from collections.abc import Iterator
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go

PANEL_WIDTH = 416  # two panels beside each other fit JupyterLab's column on a small laptop; else they stack
_SENTENCE = "font-size:16px; line-height:1.4; min-height:2.8em"  # of fixed height, so that nothing jumps
MOVING = ("x", "y", "text", "textposition", "name", "visible")


class Lab:
    """A small app: `widget` is its root, `sentence` says in words what one sees.

    A subclass builds its controls, calls `watch` on them and `lay_out`, overrides `update` and `snapshot`.
    """

    widget: widgets.Widget

    def __init__(self) -> None:
        self._sentence = widgets.HTML()
        self._held = False

    @property
    def sentence(self) -> str:
        """What one sees, in words."""
        return self._spoken

    @sentence.setter
    def sentence(self, text: str) -> None:
        self._spoken = text
        self._sentence.value = f'<p role="status" aria-live="polite" style="{_SENTENCE}">{text}</p>'

    def update(self) -> None:
        """Bring panels and sentence up to the controls."""
        raise NotImplementedError

    def snapshot(self) -> go.Figure:
        """The present state as one static figure, for pages that show no widgets."""
        raise NotImplementedError

    def watch(self, *controls: widgets.Widget) -> None:
        """Call `update` whenever one of the controls gets another value."""
        for control in controls:
            control.observe(self._on_change, "value")

    @contextlib.contextmanager
    def one_update(self) -> Iterator[None]:
        """Several controls may change in the block; `update` runs once, at its end."""
        if self._held:
            yield
            return
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.update()

    def lay_out(self, *rows: widgets.Widget) -> None:
        """Make the root: the given rows, and the sentence below them."""
        self.widget = widgets.VBox([*rows, self._sentence])

    def _on_change(self, change: dict[str, Any]) -> None:
        if not self._held:
            self.update()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)


def row(*children: widgets.Widget) -> widgets.Box:
    """Children beside each other, below each other where the column is too narrow."""
    layout = widgets.Layout(display="flex", flex_flow="row wrap", align_items="center", grid_gap="0 12px")
    return widgets.Box(children, layout=layout)


def panel(figure: go.Figure, width: int = PANEL_WIDTH) -> go.FigureWidget:
    """A figure as a widget of fixed size, without plotly's tool bar."""
    widget = go.FigureWidget(figure, layout_width=width)
    widget._config = {**widget._config, "displayModeBar": False}
    return widget


def redraw(panel: go.FigureWidget, figure: go.Figure) -> None:
    """Move what moves in the panel to where `figure`, made by the same function, has it.

    That is the traces' data, labels and visibility, and the axes' ranges; what is equal is not sent.
    """
    with panel.batch_update():
        for old, new in zip(panel.data, figure.data, strict=True):
            for name in MOVING:
                # Asked for by name because updating whole traces takes plotly ten times as long.
                if name in new:
                    old[name] = new[name]
        for axis in ("xaxis", "yaxis"):
            panel.layout[axis].range = figure.layout[axis].range


def percent(share: float) -> str:
    """A share in words, to three digits: 40.5%."""
    return f"{100 * share:.3g}%"


def bits(amount: float) -> str:
    """An amount of information in words: 1 bit, 0.5 bits."""
    return f"{amount:.3g} bit" + ("" if amount == 1 else "s")
