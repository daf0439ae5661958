"""A lab as one HTML file: its views walked, each distinct value stored once, and for every part of the
scene a table over the views that it depends on.
"""

import base64
import gzip
import html
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lnlib.course.labs.controls import Values
from lnlib.course.labs.panels import Scene, page_file, plotly_script, to_json
from lnlib.files import write_text

if TYPE_CHECKING:
    from lnlib.course.labs.base import Lab

Place = tuple[str | int, ...]
"""Where a part stands in a scene: ("figures", 0, "data", 2, "y")."""

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>$title</title>
<style>$style</style></head>
<body><h1>$title</h1>
<form id="controls" class="lnlib-controls" onsubmit="return false"></form><div id="board"></div>
<noscript>This page needs JavaScript to draw its figures.</noscript>
<script type="text/plain" id="lab">$content</script>
<script type="text/plain" id="plotly">$plotly</script>
<script type="module">$script
const text = (id) => document.getElementById(id).textContent;
let plotly;
savedLab(document.getElementById("controls"), document.getElementById("board"), text("lab"),
  () => plotly ??= runScript(unpacked(text("plotly"))), own);</script></body></html>
""")


def write(lab: "Lab", path: Path) -> Path:
    """Write the page; raises as `lnlib.files.whole_file`."""
    title = (type(lab).__doc__ or "").partition("\n")[0].rstrip(".")
    fields = {
        "title": html.escape(title),
        "style": "".join(map(page_file, ("board.css", "controls.css", "saved.css"))),
        "content": content(lab),
        "plotly": base64.b64encode(plotly_script()).decode(),
        "script": "".join(map(page_file, ("board.js", "saved.js")))
        + f"const own = {own_script(lab.script)};",
    }
    write_text(path, _PAGE.substitute(fields))
    return path


def content(lab: "Lab") -> str:
    """What `saved.js` takes: the lab's views and what they show, as JSON, compressed, in base 64."""
    pool = Pool()
    if lab.script:
        setups = [_answered(lab)]
    else:
        setups = [_walked(lab, results, c, pool) for c, results in lab.trained() or [(lab.values, {})]]
    text = to_json({"setups": setups, "words": lab.words})
    text = f'{text[:-1]},"pool":[{",".join(pool.texts)}]}}'
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def own_script(name: str) -> str:
    """What a lab computes by itself in the page, as an expression for `saved.js`; "" is a lab without."""
    if not name:
        return "{}"
    found = "typeof limits === 'function' ? limits : null"
    return f"(() => {{\n{page_file('words.js')}{page_file(name)}return {{answer, limits: {found}}};\n}})()"


class Pool:
    """Distinct values as JSON, each once; the first is for what is not there."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {"null": 0}

    def __call__(self, value: object) -> int:
        return self.texts.setdefault(to_json(value), len(self.texts))


def parts(scene: Scene) -> Iterator[tuple[Place, Any]]:
    """The parts of a scene: words, and what stands in traces and layouts."""
    for place, figure in enumerate(scene.figures):
        for at, trace in enumerate(figure["data"]):
            for name, value in trace.items():
                yield ("figures", place, "data", at, name), value
        for name, value in figure["layout"].items():
            yield ("figures", place, "layout", name), value
    for name in ("sentence", "small_print", "note"):
        yield (name,), getattr(scene, name)


def _walked(lab: "Lab", results: Mapping[Any, Any], c: Values, pool: Pool) -> dict[str, Any]:
    """One setting's results as tables over its views' positions."""
    positions = lab.positions(results, c)
    shape = tuple(map(len, positions.values()))
    tables: dict[Place, NDArray[np.int64]] = {}
    for number, combination in enumerate(product(*positions.values())):
        at = c._replace(**{name: value for name, (value, _) in zip(positions, combination, strict=True)})
        for place, value in parts(lab.view(results, at)):
            tables.setdefault(place, np.zeros(np.prod(shape), np.int64))[number] = pool(value)
    views = []
    for name, offered in positions.items():
        values, words = map(list, zip(*offered, strict=True))
        shown = getattr(c, name)
        start = values.index(shown) if shown in values else len(values) - 1
        views.append(lab.views[name].look(c) | {"name": name, "texts": words, "values": values, "at": start})
    packed = [[place, *_reduced(table.reshape(shape))] for place, table in tables.items()]
    return {"label": _label(lab, c), "views": views, "shape": shape, "tables": packed}


def _reduced(table: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """The axes along which a table differs, and the table over these alone."""
    axes = [axis for axis in range(table.ndim) if (table != table.take([0], axis)).any()]
    kept: NDArray[np.int64] = table[tuple(slice(None) if axis in axes else 0 for axis in range(table.ndim))]
    return axes, kept.ravel().tolist()


def _answered(lab: "Lab") -> dict[str, Any]:
    """Views that the lab's own script answers: free inputs, and the present scene as what it fills."""
    c = lab.values
    views = [one.look(c) | {"name": name, "value": getattr(c, name)} for name, one in lab.views.items()]
    return {"label": "", "views": views, "scene": lab.scene}


def _label(lab: "Lab", c: Values) -> str:
    """What tells a trained setting from the others of the page."""
    trained = [values for values, _ in lab.trained()]
    words = []
    for name, control in lab.settings.items():
        if len({getattr(values, name) for values in trained}) > 1 and (not control.when or control.when(c)):
            value = getattr(c, name)
            words.append(value if isinstance(value, str) else f"{control.label} {value:g}")
    return " · ".join(words)
