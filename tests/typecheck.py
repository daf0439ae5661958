"""The run-time checker of shape annotations: beartype, on functions that carry one. mypy sees to all other
types.
"""

from collections.abc import Callable
from typing import Any, get_args

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

_BEARTYPE = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, its arguments and result checked where any of them has a shape."""
    hints = list(getattr(function, "__annotations__", {}).values())
    return _BEARTYPE(function) if any(map(_has_shape, hints)) else function


def _has_shape(hint: object) -> bool:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(map(_has_shape, get_args(hint)))
