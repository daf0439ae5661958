"""What methods, networks and optimisers are called: each name stands here once, with the class behind it.

Needs no PyTorch, so that the command line can name them without waiting for it.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """Where a class is, and a method's label in figures; a network makes its own, which says its sizes."""

    module: str
    kind: str
    label: str = ""

    def load(self) -> Any:
        """The class."""
        return getattr(import_module(self.module), self.kind)


def _entries(room: str, *entries: tuple[str, ...]) -> dict[str, Entry]:
    return {name: Entry(f"lnlib.{room}.{module}", *rest) for name, module, *rest in entries}


METHODS = _entries(
    "methods",
    ("cross-entropy", "cross_entropy", "CrossEntropy", "CE"),
    ("noisy-gradients", "noisy_gradients", "NoisyGradients", "CE + noise"),
    ("mae", "mean_absolute_error", "MeanAbsoluteError", "MAE"),
    ("forward-correction", "forward_correction", "ForwardCorrection", "FW"),
    ("backward-correction", "backward_correction", "BackwardCorrection", "Backward"),
    ("dmi", "dmi", "DMI", "DMI"),
    ("soft-regularization", "soft_regularization", "SoftRegularization", "Soft reg."),
    ("limit", "limit", "LIMIT", "LIMIT"),
    ("focal", "focal", "FocalLoss", "Focal loss"),
    ("class-balanced", "class_balanced", "ClassBalanced", "Class-balanced"),
    ("fine-tuning", "fine_tuning", "FineTuning", "Fine-tuning"),
    ("bootstrap", "bootstrap", "Bootstrap", "Bootstrap"),
    ("s-model", "s_model", "SModel", "S-Model"),
    ("self-paced", "self_paced", "SelfPaced", "Self-paced"),
    ("co-teaching", "co_teaching", "CoTeaching", "Co-teaching"),
    ("d2l", "d2l", "D2L", "D2L"),
    ("mentornet", "mentornet", "MentorNet", "MentorNet"),
    ("mlnt", "mlnt", "MLNT", "MLNT"),
    ("lccn", "lccn", "LCCN", "LCCN"),
    ("l2rw", "l2rw", "L2RW", "L2RW"),
    ("lossnet", "lossnet", "LossNet", "LossNet"),
    ("logitnet", "logitnet", "LogitNet", "LogitNet"),
    ("metainfonet", "metainfonet", "MetaInfoNet", "MetaInfoNet"),
)
"""By name, in the order of the papers' tables: LIMIT's, then MetaInfoNet's."""

NOISES = ("uniform", "symmetric", "pair", "flip")
"""The kinds of label noise, each a function of `lnlib.noise`."""

NETS = _entries(
    "nets",
    ("mlp", "mlp", "MLP"),
    ("cnn", "cnn", "CNN"),
    ("resnet32", "resnet", "ResNet32"),
    ("resnet34", "resnet", "ResNet34"),
    ("resnet50", "resnet", "ResNet50"),
    ("wrn-28-10", "wide_resnet", "WideResNet"),
)
OPTIMIZERS = {"adam": Entry("lnlib.optimizers", "Adam"), "sgd": Entry("lnlib.optimizers", "SGD")}


def entry_of(entries: Mapping[str, Entry], kind: type) -> tuple[str, Entry] | None:
    """A class's name and entry, None where it is not among them."""
    where = kind.__module__, kind.__name__
    return next(((name, entry) for name, entry in entries.items() if entry[:2] == where), None)
