"""The papers' optimisers as frozen specs, and which tensors their weight decay moves."""

import contextlib
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor

from lnlib.checks import NonNegative, Positive, Rate, Whole, checked, refusal

Decay = Literal["weights", "all"]
"""What weight decay moves: "weights", matrices and kernels, spares biases and BatchNorm as LIMIT's code does;
"all" spares nothing, as Meta-Weight-Net's codes."""


@checked
@dataclass(frozen=True)
class Adam:
    """Adam with L2 weight decay in the gradient, of "weights" or of "all" parameters (`Decay`); the defaults
    are LIMIT's: section 4, and for `decay` its reference code.
    """

    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.0
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    decay: Decay = "weights"

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch (from 1)."""
        return self.lr

    def build(self, decayed: Iterable[Tensor], plain: Iterable[Tensor]) -> torch.optim.Optimizer:
        """The optimiser over the tensors with and without weight decay."""
        import_compiler()
        groups = _groups(decayed, plain, self.weight_decay)
        return torch.optim.Adam(groups, lr=self.lr, betas=self.betas, fused=_fused(groups))


@checked
@dataclass(frozen=True)
class SGD:
    """SGD with momentum and L2 weight decay, of "weights" or of "all" parameters (`Decay`); the rate is
    multiplied by `gamma` after each of `milestones`.
    """

    lr: Positive = 0.1
    momentum: Rate = 0.9
    weight_decay: NonNegative = 5e-4
    nesterov: bool = False
    milestones: tuple[Whole, ...] = ()
    gamma: Positive = 0.1
    decay: Decay = "weights"

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise refusal("momentum", "be positive with nesterov", self.momentum, "try momentum=0.9")

    def lr_at(self, epoch: int) -> float:
        return self.lr * self.gamma ** sum(epoch > milestone for milestone in self.milestones)

    def build(self, decayed: Iterable[Tensor], plain: Iterable[Tensor]) -> torch.optim.Optimizer:
        import_compiler()
        groups = _groups(decayed, plain, self.weight_decay)
        return torch.optim.SGD(
            groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=_fused(groups)
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


@torch.no_grad()
def step_except(skipped: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One step of the runs that are not `skipped` (M,); the others keep weights and momenta.

    Masked, so that nothing waits to learn whether one is skipped. Adam's count of steps, which the runs of a
    stack share, goes on.
    """
    if len(skipped) == 1 and _skips_by_itself(optimizer):
        optimizer.found_inf, optimizer.grad_scale = skipped[0].float(), None  # type: ignore[attr-defined]
        optimizer.step()
        del optimizer.found_inf, optimizer.grad_scale  # type: ignore[attr-defined]
        return
    before = {place: value.clone() for place, value in _moved(optimizer)}
    optimizer.step()
    for place, value in _moved(optimizer):
        old = before.get(place, torch.zeros_like(value))  # momenta begin with the first step
        # The weights of a run alone have no axis for the runs.
        stays = skipped[0] if len(skipped) == 1 else skipped.view(-1, *[1] * (value.ndim - 1))
        torch.where(stays, old, value, out=value)


def _skips_by_itself(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its fused kernel leaves all as it was where `found_inf` is 1, as gradient scalers say it: SGD's
    does, once there are momenta. Adam's takes the step's count back, too, which a stack's cannot.
    """
    if not isinstance(optimizer, torch.optim.SGD):
        return False
    return all(
        group["fused"]
        and (not group["momentum"] or all(weight in optimizer.state for weight in group["params"]))
        for group in optimizer.param_groups
    )


def _moved(optimizer: torch.optim.Optimizer) -> Iterator[tuple[tuple[Tensor, str], Tensor]]:
    """The weights, and what the optimiser keeps of their size."""
    for weight in weights_of(optimizer):
        yield (weight, "weight"), weight.detach()
        for name, value in optimizer.state.get(weight, {}).items():
            if is_like(value, weight):
                yield (weight, name), value


def weights_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """All that an optimiser moves."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def is_like(value: Any, weight: Tensor) -> bool:
    """Whether what an optimiser keeps for a weight is of its size, as a momentum is and a count is not."""
    return isinstance(value, Tensor) and value.shape == weight.shape


def _fused(groups: Sequence[dict[str, Any]]) -> bool:
    """PyTorch's one kernel for all weights, which its meta device lacks."""
    return all(weight.device.type != "meta" for group in groups for weight in group["params"])


def _groups(decayed: Iterable[Tensor], plain: Iterable[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = [
        {"params": list(decayed), "weight_decay": weight_decay},
        {"params": list(plain), "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
