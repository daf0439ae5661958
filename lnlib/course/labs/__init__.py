"""Small apps for the lessons: a few controls, an answer at once, and a sentence that says what you see."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lnlib.course.labs.base import Lab
    from lnlib.course.labs.decomposition import DecompositionLab
    from lnlib.course.labs.entropy import EntropyLab
    from lnlib.course.labs.fano import FanoLab
    from lnlib.course.labs.generalization import GeneralizationLab
    from lnlib.course.labs.imbalance import ImbalanceLab
    from lnlib.course.labs.limit import LimitLab
    from lnlib.course.labs.memorization import MemorizationLab
    from lnlib.course.labs.weights import WeightsLab

LABS = {
    "entropy": "EntropyLab",
    "fano": "FanoLab",
    "decomposition": "DecompositionLab",
    "generalization": "GeneralizationLab",
    "memorization": "MemorizationLab",
    "limit": "LimitLab",
    "weights": "WeightsLab",
    "imbalance": "ImbalanceLab",
}
"""By name, the module of which is its file, in the order of the lessons."""

__all__ = [  # found by __getattr__
    "LABS",
    "DecompositionLab",
    "EntropyLab",
    "FanoLab",
    "GeneralizationLab",
    "ImbalanceLab",
    "LimitLab",
    "MemorizationLab",
    "WeightsLab",
    "lab_named",
]


def lab_named(name: str) -> "type[Lab]":
    """The lab of a name; raises `UnknownName`."""
    from lnlib.errors import unknown_name

    if name not in LABS:
        raise unknown_name("lab", name, list(LABS))
    lab: type[Lab] = getattr(import_module(f"lnlib.course.labs.{name}"), LABS[name])
    return lab


def __getattr__(attribute: str) -> Any:
    """A lab, imported when it is asked for: most need PyTorch, which takes seconds, and FanoLab does not."""
    for name, lab in LABS.items():
        if lab == attribute:
            return lab_named(name)
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
