"""Small apps for the lessons: a few controls, an answer at once, and a sentence that says what you see."""

from lnlib.labs.fano import FanoLab
from lnlib.labs.generalization import DecompositionLab, GeneralizationLab
from lnlib.labs.imbalance import ImbalanceLab
from lnlib.labs.limit import LimitLab
from lnlib.labs.memorization import MemorizationLab
from lnlib.labs.weights import WeightsLab

__all__ = [
    "DecompositionLab",
    "FanoLab",
    "GeneralizationLab",
    "ImbalanceLab",
    "LimitLab",
    "MemorizationLab",
    "WeightsLab",
]
