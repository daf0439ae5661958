"""The optimisers of both papers as frozen specs. Weight decay acts on weight matrices and kernels, not on
biases or BatchNorm.
"""

import contextlib
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor

from lnlib.checks import NonNegative, Positive, Rate, Whole, checked, refusal


@checked
@dataclass(frozen=True)
class Adam:
    """Adam with L2 weight decay added to the gradient. The paper's values are the defaults (LIMIT, section
    4).
    """

    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.0
    betas: tuple[Rate, Rate] = (0.9, 0.999)

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch (from 1)."""
        return self.lr

    def build(self, decayed: Iterable[Tensor], plain: Iterable[Tensor]) -> torch.optim.Optimizer:
        """The optimiser over the tensors with and without weight decay."""
        import_compiler()
        groups = _groups(decayed, plain, self.weight_decay)
        return torch.optim.Adam(groups, lr=self.lr, betas=self.betas, fused=True)


@checked
@dataclass(frozen=True)
class SGD:
    """SGD with momentum and L2 weight decay, the learning rate multiplied by `gamma` after each epoch in
    `milestones`.
    """

    lr: Positive = 0.1
    momentum: Rate = 0.9
    weight_decay: NonNegative = 5e-4
    nesterov: bool = False
    milestones: tuple[Whole, ...] = ()
    gamma: Positive = 0.1

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise refusal("momentum", "be positive with nesterov", self.momentum, "try momentum=0.9")

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch (from 1)."""
        return self.lr * self.gamma ** sum(epoch > milestone for milestone in self.milestones)

    def build(self, decayed: Iterable[Tensor], plain: Iterable[Tensor]) -> torch.optim.Optimizer:
        """The optimiser over the tensors with and without weight decay."""
        import_compiler()
        return torch.optim.SGD(
            _groups(decayed, plain, self.weight_decay),
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            fused=True,
        )


Optimizer = Adam | SGD


def import_compiler() -> None:
    """Import what PyTorch imports at the first optimiser of a process, which takes seconds.

    In a thread of its own, which Ctrl-C does not reach: half imported, it breaks every later optimiser.
    """
    if "torch._dynamo" not in sys.modules or _importing.is_set():
        thread = threading.Thread(target=_import_compiler, name="import torch._dynamo")
        thread.start()
        thread.join()


_importing = threading.Event()


def _import_compiler() -> None:
    _importing.set()
    with contextlib.suppress(ImportError):  # which the optimiser will raise itself
        import_module("torch._dynamo")
    _importing.clear()


def _groups(
    decayed: Iterable[Tensor], plain: Iterable[Tensor], weight_decay: float
) -> list[dict[str, object]]:
    groups = [
        {"params": list(decayed), "weight_decay": weight_decay},
        {"params": list(plain), "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
