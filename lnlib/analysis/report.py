"""The suspects as a page that works without a network: a picture each, sorted, filtered, ticked."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from lnlib.data.dataset import Dataset
from lnlib.data.decoding import decode
from lnlib.files import write_text

MOST = 500
"""How many pictures a page has at most."""
SIDE = 112
"""Of a thumbnail of a file, in pixels; networks see fewer."""


def write_report(path: Path | str, suspects: pd.DataFrame, dataset: Dataset, facts: Sequence[str]) -> None:
    """Write the first suspects (at most 500) as one HTML file; raises as `whole_file`.

    `suspects` has the columns of `detection.suspects` or `suspects_of_folds`, and `mark`; `facts` are lines
    of small print. A file's picture is read again, larger than the network saw it, and black where that
    fails.
    """
    first = suspects.head(MOST)
    shown = f"{len(first)} of {len(suspects)}" if len(first) < len(suspects) else f"{len(first)}"
    words = (
        f"The {shown} pictures whose given label agrees least with what was learnt, the most suspicious "
        "first. A high rank accuses nobody: look, tick what is wrong, and save the names."
    )
    rows = first.to_dict("records")
    cards = [_card(row, pixels) for row, pixels in zip(rows, _pictures(first, dataset), strict=True)]
    page = files("lnlib").joinpath("analysis", "report.html").read_text(encoding="utf-8")
    text = Template(page).substitute(
        name=_safe(dataset.name),
        summary=_safe(words),
        facts="<br>".join(map(_safe, facts)),
        given_options=_options(first["given"], dataset.class_names),
        suggested_options=_options(first["suggested"], dataset.class_names),
        cards="\n".join(cards),
    )
    write_text(path, text)


def _safe(text: object) -> str:
    """A name as text of a page, whatever is in it; control characters and lone surrogates as escapes."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return escape(shown, quote=True)


def _options(column: "pd.Series[str]", class_names: Sequence[str]) -> str:
    found = set(column)
    return "".join(
        f'<option value="{_safe(name)}">{_safe(name)}</option>' for name in class_names if name in found
    )


def _card(row: Mapping[Any, Any], pixels: NDArray[np.uint8]) -> str:
    file = _safe(row.get("file", f"row {row['row']}"))
    given, suggested, mark = (_safe(row[name]) for name in ("given", "suggested", "mark"))
    of_given, of_suggested = (f"{row[name]:.1%}" for name in ("given_probability", "suggested_probability"))
    data = {
        "rank": row["rank"],
        "given": given,
        "suggested": suggested,
        "probability": row["given_probability"],
        "mark": mark,
        "file": file,
    }
    attributes = " ".join(f'data-{name}="{value}"' for name, value in data.items())
    kind = f' <span class="mark">{mark}</span>' if mark else ""
    return (
        f"<li {attributes}><label>{row['rank']}{kind}"
        f'<input type="checkbox" aria-label="wrong: {file}"></label>'
        f'<img alt="{file}, given {given}" {_image(pixels)}>'
        f'<span class="given">given <b>{given}</b> {of_given}</span>'
        f'<span class="suggested">suggested <b>{suggested}</b> {of_suggested}</span>'
        f'<span class="small">{file}<br>score {row["score"]:.3f}</span></li>'
    )


def _pictures(suspects: pd.DataFrame, dataset: Dataset) -> Iterable[NDArray[np.uint8]]:
    """Pixels (C, H, W) of each."""
    if dataset.reading is None:
        parts = {"test": dataset.test_images}
        for part, row in suspects[["part", "row"]].itertuples(index=False):
            yield parts.get(part, dataset.train_images)[torch.tensor(row)].numpy()
        return
    place = Path(dataset.reading.place)
    root = place if place.is_dir() else place.parent
    yield from decode([str(root / file) for file in suspects["file"]], SIDE).pixels


def _image(pixels: NDArray[np.uint8]) -> str:
    """Pixels (C, H, W) as attributes of an element that shows them; few of them stay sharp."""
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))
    kind, css = ("png", ' class="pixels"') if max(picture.size) < SIDE else ("jpeg", "")
    file = io.BytesIO()
    picture.save(file, kind, quality=85)
    return f'src="data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"{css}'
