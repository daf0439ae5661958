"""The part of a lab below its controls as one small widget; plotly's script crosses the wire once a page."""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import numpy as np
import plotly
import traitlets

from lnlib.course.plots.theme import Plain

PAGE = Path(__file__).parent / "page"
"""The folder of what runs in a browser: scripts and styles."""


@dataclass(frozen=True)
class Scene:
    """What a lab shows: figures as plain data, a sentence, small print below and a note above them."""

    figures: Sequence[Plain]
    sentence: str = ""
    small_print: str = ""
    note: str = ""


def to_json(value: object) -> str:
    """A scene, or a part of one, as JSON; arrays are packed as plotly's script unpacks them, without NaN."""
    return json.dumps(value, default=_packed, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _packed(value: Any) -> Any:
    if isinstance(value, Scene):
        return vars(value)
    if isinstance(value, np.generic):
        return value.item()
    array = np.asarray(value, dtype="<f8")
    if np.isnan(array).any():  # packed, it would take the other bars of its stack with it
        return [None if np.isnan(number) else number for number in array.tolist()]
    return {"dtype": "f8", "bdata": base64.b64encode(array.tobytes()).decode()}


def page_file(name: str) -> str:
    """The text of a script or a style."""
    return (PAGE / name).read_text(encoding="utf-8")


@cache
def plotly_script() -> bytes:
    """plotly's script, compressed to a third."""
    source = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return gzip.compress(source.read_bytes(), 6, mtime=0)


class Held(widgets.Widget):  # type: ignore[misc]  # ipywidgets ships no types
    """A value that the page can see.

    Its model in the page is the widgets' own, which has no module to load: anywidget drops every later
    message of a model whose module took more than two seconds, as on a busy page.
    """

    _model_module = traitlets.Unicode("@jupyter-widgets/base").tag(sync=True)
    _model_name = traitlets.Unicode("WidgetModel").tag(sync=True)
    value = traitlets.Any().tag(sync=True)


_script: Held | None = None


def script() -> Held:
    """The one holder of plotly's script in this kernel; made again where somebody closed it."""
    global _script
    if _script is None or _script.comm is None:
        _script = Held(value=plotly_script())
    return _script


_REFERENCE = {"sync": True, **widgets.widget_serialization}


class Panels(anywidget.AnyWidget):
    """The page's board; none of its own traits changes after it is made, see `Held`."""

    _esm = "".join(map(page_file, ("put_back.js", "names.js", "board.js", "widget.js")))
    _css = page_file("board.css")
    script = traitlets.Instance(widgets.Widget).tag(**_REFERENCE)
    scene = traitlets.Instance(widgets.Widget).tag(**_REFERENCE)

    def __init__(self) -> None:
        super().__init__(script=script(), scene=Held(value="null"))

    def show(self, scene: Scene) -> None:
        """Show a scene; one equal to that on show is not sent again."""
        self.scene.value = to_json(scene)


class Names(anywidget.AnyWidget):
    """An invisible widget that names the sliders beside it for screen readers, as a lab's panels do."""

    _esm = "".join(map(page_file, ("put_back.js", "names.js"))) + (
        "export default {initialize, render({el}) { el.hidden = true; return nameSliders(el); }};"
    )
