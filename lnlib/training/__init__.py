"""Training as a generator: `fit` for one run, `sweep` for many at once."""

from lnlib.optimizers import SGD, Adam
from lnlib.training.augment import Augmentation, CenterCrop, CropFlip, FlipCrop
from lnlib.training.engine import Member, Settings
from lnlib.training.fit import Training, fit
from lnlib.training.history import Epoch, History
from lnlib.training.sweep import Sweep, sweep

__all__ = [
    "SGD",
    "Adam",
    "Augmentation",
    "CenterCrop",
    "CropFlip",
    "Epoch",
    "FlipCrop",
    "History",
    "Member",
    "Settings",
    "Sweep",
    "Training",
    "fit",
    "sweep",
]
