"""Figures on their way out: to a notebook's page, to files; and what they show, in words."""

import base64
import html
import io
import json
import os
import re
from collections.abc import Iterator
from numbers import Real
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio

from lnlib.course.plots.theme import PNG_WIDTH, Plain
from lnlib.files import whole_file, write_text

PLOTLY = "application/vnd.plotly.v1+json"
FIGURE = "application/vnd.lnlib.figure+json"
"""The type of a figure's data in a saved lesson. JupyterLab does not know it, and shows the picture beside
it; of plotly's own type it would draw the figure anew, without regard for the width of its column."""

PICTURES = "LNLIB_PICTURES"
"""The variable that `make notebooks` sets: outputs are for pages without a kernel."""

_DARK = """<style>
[data-jp-theme-light="false"] .jp-RenderedPlotly .main-svg:not(:has(image)) {
  filter: invert(1) hue-rotate(180deg);
}
</style>"""
_CLEAR = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}


def show(figure: go.Figure | Plain) -> None:
    """Display the figure: interactive, in the colours of JupyterLab's theme; where a lesson runs to be saved,
    as a picture with its alternative text. So are drawings, which a narrow column then shrinks.
    """
    from IPython.display import display

    still = picture(figure) if for_pages() or _is_drawing(go.Figure(figure)) else {}
    if for_pages() or "text/html" in still:
        display(still, raw=True)  # type: ignore[no-untyped-call]
        return
    content = json.loads(pio.to_json(go.Figure(figure)))
    axes = [axis for name, axis in content["layout"].items() if name[1:5] == "axis"]
    flat = bool(axes) and all(axis.get("visible") is False for axis in axes)  # a gallery, a diagram
    if not flat:
        content["layout"] |= _CLEAR
    display({"text/html": _DARK, "text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]
    config = {"displayModeBar": False if flat else "hover", "displaylogo": False}
    display({PLOTLY: content | {"config": config}}, raw=True)  # type: ignore[no-untyped-call]


def _is_drawing(figure: go.Figure) -> bool:
    return bool((figure.layout.meta or {}).get("described"))


def for_pages() -> bool:
    """Whether outputs are to be read without a kernel, and so are pictures."""
    return bool(os.environ.get(PICTURES))


def picture(figure: go.Figure | Plain) -> dict[str, Any]:
    """The figure for pages without a kernel: its PNG with its alternative text, and its data; where no
    browser is installed, the data alone.
    """
    figure = go.Figure(figure)
    bundle: dict[str, Any] = {FIGURE: json.loads(pio.to_json(figure)), "text/plain": describe(figure)}
    if (image := png(figure)) is not None:
        source = base64.b64encode(image).decode()
        alt = html.escape(describe(figure))
        bundle["text/html"] = f'<img alt="{alt}" style="max-width:100%" src="data:image/png;base64,{source}">'
    return bundle


def png(figure: go.Figure, width: int = PNG_WIDTH) -> bytes | None:
    """The figure as PNG; None without kaleido, which a kernel elsewhere lacks, or the browser it needs."""
    try:
        from kaleido.errors import ChromeNotFoundError
    except ImportError:
        return None
    from PIL import Image

    colors, scale = (16, 1.25) if _is_drawing(figure) else (256, 1.5)
    try:
        drawn = figure.to_image("png", width=figure.layout.width or width, scale=scale)
    except ChromeNotFoundError:
        return None
    # A palette takes a quarter of the bytes, and saved lessons hold many figures. A drawing has few colours.
    # By an octree: a median cut merges the colours of two methods where the greys of letters are many.
    pixels = Image.open(io.BytesIO(drawn)).convert("RGB")
    palette = pixels.quantize(colors, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # An octree rounds white, too, which would show on a white page.
    palette.putpalette([255 if part >= 253 else part for part in palette.getpalette() or []])
    with io.BytesIO() as file:
        palette.save(file, "PNG", optimize=True)
        return file.getvalue()


def save(figure: go.Figure, stem: Path | str) -> list[Path]:
    """Write `stem`.png (where a browser is installed) and `stem`.html (works offline); returns the files."""
    files = []
    image = png(figure)
    if image is not None:
        files.append(Path(f"{os.fspath(stem)}.png"))
        with whole_file(files[-1]) as file:
            file.write(image)
    files.append(Path(f"{os.fspath(stem)}.html"))
    write_text(files[-1], to_page(figure))
    return files


def to_page(figure: go.Figure) -> str:
    """The figure as an interactive HTML page that works offline."""
    page: str = figure.to_html(include_plotlyjs=True, config={"responsive": True}, div_id="figure")
    alt = html.escape(describe(figure))
    return page.replace('<div id="figure"', f'<div id="figure" role="img" aria-label="{alt}"', 1)


def describe(figure: go.Figure) -> str:
    """What a figure shows, in words: its titles, its axes, where each line and each group of bars is."""
    plain = figure.to_dict()
    layout, parts = plain["layout"], []
    if described := layout.get("meta", {}).get("described"):  # a drawing, whose boxes alone say little
        return str(described)
    titles = [layout.get("title", {}).get("text", "")]
    notes = [note for note in layout.get("annotations", []) if note.get("text")]
    titles += [note["text"] for note in notes if note.get("yref") == "paper" and note.get("y", 0) > 0.99]
    if titles := [_words(title) for title in titles if title]:
        parts.append("; ".join(titles))
    axes = [layout[name] for name in sorted(layout) if name[1:5] == "axis"]
    named = [_words(axis["title"]["text"]) for axis in axes if axis.get("title", {}).get("text")]
    if named:
        parts.append("axes: " + ", ".join(dict.fromkeys(named)))
    parts += _traces(figure)
    captions = [_words(note["text"]) for note in notes if _words(note["text"]) not in titles]
    parts += captions[: 24 if not named else 4]
    return ". ".join(part.rstrip(".") for part in parts if part) + "." if parts else "An empty figure."


def _traces(figure: go.Figure) -> Iterator[str]:
    for trace in figure.data:
        name = _words(trace.name or "")
        if trace.type == "image" or not name or trace.visible is False:
            continue
        y = [value for value in (trace.y if trace.y is not None else ()) if _is_number(value)]
        if not y:
            yield name
        elif min(y) == max(y):
            yield f"{name}: at {y[0]:.3g}"
        elif trace.type == "bar":
            yield f"{name}: {len(y)} bars from {min(y):.3g} to {max(y):.3g}"
        else:
            yield f"{name}: from {y[0]:.3g} to {y[-1]:.3g}"


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and value == value


def _words(text: str) -> str:
    """Plotly's little markup as text."""
    return " ".join(html.unescape(re.sub(r"<br ?/?>", " ", re.sub(r"</?(?!br)[^>]*>", "", text))).split())
