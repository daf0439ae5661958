"""Training: `fit` one run, `sweep` many at once."""

from lnlib.optimizers import SGD, Adam
from lnlib.training.augment import Augmentation, CenterCrop, CropFlip, FlipCrop
from lnlib.training.history import Epoch
from lnlib.training.run import Run, fit
from lnlib.training.runs import Runs, sweep
from lnlib.training.settings import Member, Settings

__all__ = [
    "SGD", "Adam", "Augmentation", "CenterCrop", "CropFlip", "Epoch", "FlipCrop", "Member", "Run", "Runs",
    "Settings", "fit", "sweep",
]  # fmt: skip
