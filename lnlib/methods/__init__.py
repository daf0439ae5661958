"""Every method of the two papers, one file each; `METHODS` finds them by name."""

from collections.abc import Mapping

from lnlib.methods.base import Batch, Draw, Examples, Method, Nets, Phase
from lnlib.methods.cross_entropy import CrossEntropy
from lnlib.methods.limit import LIMIT

__all__ = [
    "LIMIT",
    "METHODS",
    "Batch",
    "CrossEntropy",
    "Draw",
    "Examples",
    "Method",
    "Nets",
    "Phase",
]

METHODS: Mapping[str, type[Method]] = {method.name: method for method in (CrossEntropy, LIMIT)}
