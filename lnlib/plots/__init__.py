"""Plotly figures: one function a figure, data in, figure out."""

from lnlib.plots.detection import roc, score_histogram, suspect_gallery
from lnlib.plots.gallery import gallery
from lnlib.plots.generalization import (
    SIZES,
    cross_entropy_terms,
    gap_by_information,
    gap_by_size,
    information_by_size,
)
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
from lnlib.plots.limit_method import figure3, information_bounds
from lnlib.plots.tables import table_chart, table_comparison
from lnlib.plots.theme import png, save, show, small_print, style

__all__ = [
    "FAMILY",
    "SIZES",
    "accuracy_split",
    "bits_by_epoch",
    "bound_check",
    "cross_entropy_terms",
    "fano_crossing",
    "fano_family",
    "figure1",
    "figure2",
    "figure3",
    "gallery",
    "gap_by_information",
    "gap_by_size",
    "information_bounds",
    "information_by_size",
    "memorization_split",
    "png",
    "r0_frame",
    "roc",
    "save",
    "score_histogram",
    "show",
    "side_by_side",
    "small_print",
    "style",
    "suspect_gallery",
    "table_chart",
    "table_comparison",
]
