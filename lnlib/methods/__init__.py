"""Every method of the two papers, one file each; `lnlib.catalog` names them."""

from lnlib.methods.backward_correction import BackwardCorrection
from lnlib.methods.base import Batch, Draw, Examples, Method, Nets, Phase, WarmStart
from lnlib.methods.bootstrap import Bootstrap
from lnlib.methods.class_balanced import ClassBalanced
from lnlib.methods.co_teaching import CoTeaching
from lnlib.methods.cross_entropy import CrossEntropy
from lnlib.methods.d2l import D2L
from lnlib.methods.dmi import DMI
from lnlib.methods.fine_tuning import FineTuning
from lnlib.methods.focal import FocalLoss
from lnlib.methods.forward_correction import ForwardCorrection
from lnlib.methods.l2rw import L2RW
from lnlib.methods.lccn import LCCN
from lnlib.methods.limit import LIMIT
from lnlib.methods.logitnet import LogitNet
from lnlib.methods.lossnet import LossNet
from lnlib.methods.mean_absolute_error import MeanAbsoluteError
from lnlib.methods.mentornet import MentorNet
from lnlib.methods.metainfonet import MetaInfoNet
from lnlib.methods.mlnt import MLNT
from lnlib.methods.noisy_gradients import NoisyGradients
from lnlib.methods.s_model import SModel
from lnlib.methods.self_paced import SelfPaced
from lnlib.methods.soft_regularization import SoftRegularization

__all__ = [
    "D2L", "DMI", "L2RW", "LCCN", "LIMIT", "MLNT", "BackwardCorrection", "Batch", "Bootstrap",
    "ClassBalanced", "CoTeaching", "CrossEntropy", "Draw", "Examples", "FineTuning", "FocalLoss",
    "ForwardCorrection", "LogitNet", "LossNet", "MeanAbsoluteError", "MentorNet", "MetaInfoNet", "Method",
    "Nets", "NoisyGradients", "Phase", "SModel", "SelfPaced", "SoftRegularization", "WarmStart",
]  # fmt: skip
