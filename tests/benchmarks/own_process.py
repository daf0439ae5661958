"""An object in a process of its own, to which nothing that lnlib sets up for a process applies."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


class OwnProcess:
    """`make(*values)`, made and called in a new process, one call at a time."""

    def __init__(self, make: Callable[..., object], *values: object) -> None:
        self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self.pool.submit(_make, make, values).result()

    def __call__(self, method: str, *values: object) -> Any:
        """What the object's method gives."""
        return self.pool.submit(_call, method, values).result()

    def close(self) -> None:
        """End the process."""
        self.pool.shutdown()


_object: Any = None


def _make(make: Callable[..., object], values: tuple[object, ...]) -> None:
    global _object
    _object = make(*values)


def _call(method: str, values: tuple[object, ...]) -> Any:
    return getattr(_object, method)(*values)
