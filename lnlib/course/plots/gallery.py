"""Pictures of examples with the labels they were given."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from lnlib.course.plots.theme import CLEAN, NOISY, TEMPLATE
from lnlib.errors import InvalidValue

_TILE, _LINE = 92, 18  # pixels


def gallery(
    images: NDArray[np.uint8], captions: Sequence[str], wrong: Sequence[bool], columns: int = 8
) -> go.Figure:
    """Images (N, C, H, W) in rows of `columns`, each under its caption; wrong labels wear the noisy colour
    and a cross.

    Raises `InvalidValue` where the numbers of images, captions and marks differ.
    """
    if not len(images) == len(captions) == len(wrong):
        raise InvalidValue(
            f"a gallery needs one caption and one mark an image, got {len(images)} images, "
            f"{len(captions)} captions and {len(wrong)} marks; make them equal"
        )
    rows = -(-len(images) // columns)
    caption_height = 4 + _LINE * max([2, *(caption.count("<br>") + 1 for caption in captions)])
    spacing = 1.05 * caption_height / (_TILE + caption_height) / rows
    titles = [
        f"<span style='color:{NOISY if bad else CLEAN}'>{'✗ ' if bad else ''}{caption}</span>"
        for caption, bad in zip(captions, wrong, strict=True)
    ]
    spaces = {"horizontal_spacing": 0.01, "vertical_spacing": spacing}
    figure = make_subplots(rows, columns, subplot_titles=titles, **spaces)
    for position, image in enumerate(images):
        row, column = divmod(position, columns)
        figure.add_image(z=_rgb(image), row=1 + row, col=1 + column, hoverinfo="skip")
    figure.update_xaxes(visible=False).update_yaxes(visible=False).update_annotations(font_size=13)
    height = rows * (_TILE + caption_height) + caption_height
    margin = {"l": 4, "r": 4, "t": caption_height, "b": 8}
    return figure.update_layout(template=TEMPLATE, height=height, margin=margin)


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(C, H, W) as (H, W, 3); ink is dark on light, as on paper, where there is one channel."""
    pixels = np.moveaxis(np.asarray(image), 0, -1)
    return np.repeat(255 - pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
