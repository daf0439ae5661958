"""Plotly figures: one function a figure, data in, figure out."""

from lnlib.course.plots.bits import entropy_curve, label_probabilities
from lnlib.course.plots.detection import roc, score_histogram, suspect_gallery
from lnlib.course.plots.diagrams import bilevel, bottleneck, weighting_networks
from lnlib.course.plots.gallery import gallery
from lnlib.course.plots.generalization import (
    SIZES,
    cross_entropy_terms,
    gap_by_information,
    gap_by_size,
    information_by_size,
)
from lnlib.course.plots.imbalance import (
    class_accuracies,
    class_sizes,
    effective_numbers,
    weight_by_loss,
    weight_shares,
)
from lnlib.course.plots.limit import (
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
from lnlib.course.plots.limit_method import against_beta, figure3, figure_a0, information_bounds
from lnlib.course.plots.showing import describe, for_pages, picture, png, save, show, to_page
from lnlib.course.plots.tables import table_chart, table_page
from lnlib.course.plots.theme import Plain, small_print, style
from lnlib.course.plots.weights import (
    convergence,
    gradient_arrows,
    weight_against_loss,
    weight_histogram,
    weight_histograms,
)

__all__ = [
    "FAMILY",
    "SIZES",
    "Plain",
    "accuracy_split",
    "against_beta",
    "bilevel",
    "bits_by_epoch",
    "bottleneck",
    "bound_check",
    "class_accuracies",
    "class_sizes",
    "convergence",
    "cross_entropy_terms",
    "describe",
    "effective_numbers",
    "entropy_curve",
    "fano_crossing",
    "fano_family",
    "figure1",
    "figure2",
    "figure3",
    "figure_a0",
    "for_pages",
    "gallery",
    "gap_by_information",
    "gap_by_size",
    "gradient_arrows",
    "information_bounds",
    "information_by_size",
    "label_probabilities",
    "memorization_split",
    "picture",
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
    "table_page",
    "to_page",
    "weight_against_loss",
    "weight_by_loss",
    "weight_histogram",
    "weight_histograms",
    "weight_shares",
    "weighting_networks",
]
