"""Small apps for the lessons: a few controls, an answer at once, and a sentence that says what you see."""

from lnlib.labs.fano import FanoLab
from lnlib.labs.generalization import DecompositionLab, GeneralizationLab
from lnlib.labs.limit import LimitLab
from lnlib.labs.memorization import MemorizationLab

__all__ = ["DecompositionLab", "FanoLab", "GeneralizationLab", "LimitLab", "MemorizationLab"]
