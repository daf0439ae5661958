"""Every method of the two papers, one file each; `METHODS` finds them by name."""

from collections.abc import Mapping

from lnlib.methods.backward_correction import BackwardCorrection
from lnlib.methods.base import Batch, Draw, Examples, Method, Nets, Phase, WarmStart
from lnlib.methods.cross_entropy import CrossEntropy
from lnlib.methods.dmi import DMI
from lnlib.methods.forward_correction import ForwardCorrection
from lnlib.methods.limit import LIMIT
from lnlib.methods.mean_absolute_error import MeanAbsoluteError
from lnlib.methods.noisy_gradients import NoisyGradients
from lnlib.methods.soft_regularization import SoftRegularization

__all__ = [
    "DMI",
    "LIMIT",
    "METHODS",
    "BackwardCorrection",
    "Batch",
    "CrossEntropy",
    "Draw",
    "Examples",
    "ForwardCorrection",
    "MeanAbsoluteError",
    "Method",
    "Nets",
    "NoisyGradients",
    "Phase",
    "SoftRegularization",
    "WarmStart",
]

METHODS: Mapping[str, type[Method]] = {
    method.name: method
    for method in (
        CrossEntropy,
        NoisyGradients,
        MeanAbsoluteError,
        ForwardCorrection,
        BackwardCorrection,
        DMI,
        SoftRegularization,
        LIMIT,
    )
}
