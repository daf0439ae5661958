"""Plotly figures: one function a figure, data in, figure out."""

from lnlib.plots.gallery import gallery
from lnlib.plots.limit import (
    FAMILY,
    accuracy_split,
    bits_by_epoch,
    bound_check,
    fano_crossing,
    fano_family,
    figure1,
    figure2,
    memorization_split,
    r0_frame,
    side_by_side,
)
from lnlib.plots.theme import png, save, show, small_print, style

__all__ = [
    "FAMILY",
    "accuracy_split",
    "bits_by_epoch",
    "bound_check",
    "fano_crossing",
    "fano_family",
    "figure1",
    "figure2",
    "gallery",
    "memorization_split",
    "png",
    "r0_frame",
    "save",
    "show",
    "side_by_side",
    "small_print",
    "style",
]
