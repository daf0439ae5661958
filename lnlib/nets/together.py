"""From one member's tensor inside `torch.vmap` to those of the whole stack, and back.

Some layers and derivatives are faster for all members at once than by the rules of `vmap`. PyTorch's public
way out, an `autograd.Function` with a rule of its own, takes .1 to .2 ms a call, as long as the layer itself;
these parts of PyTorch are what it uses inside, under these names since 2.0. Should they go, a sweep trains
its members one by one.
"""

from typing import Any

from torch import Tensor

try:
    from torch._C._functorch import (
        _add_batch_dim,
        get_unwrapped,
        is_batchedtensor,
        maybe_current_level,
        maybe_get_bdim,
        maybe_get_level,
    )
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True


def in_stack(*tensors: Tensor) -> bool:
    """Whether all of them are one member's inside `torch.vmap`, and in no other transform within it."""
    if not AVAILABLE or not all(map(is_batchedtensor, tensors)):
        return False
    level = maybe_current_level()
    return all(maybe_get_level(tensor) == level for tensor in tensors)


def of_all(tensor: Tensor) -> Tensor:
    """The tensors of all members (M, ...), from what `torch.vmap` shows as one of them."""
    place: int = maybe_get_bdim(tensor)
    stacked: Tensor = get_unwrapped(tensor)
    return stacked.movedim(place, 0) if place else stacked


def of_each(stacked: Tensor) -> Tensor:
    """One member's tensor as `torch.vmap` shows it, from those of all members (M, ...)."""
    level: Any = maybe_current_level()
    member: Tensor = _add_batch_dim(stacked, 0, level)
    return member
