"""The one device rule of lnlib: LNLIB_DEVICE where it is set, else CUDA where there is one, else CPU."""

import ctypes
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from lnlib.errors import InvalidValue

P = ParamSpec("P")
T = TypeVar("T")
_GLOBAL = RLock()
# Said once on a GPU where the thread that computes gradients multiplies first; PyTorch then sets the context.
warnings.filterwarnings("ignore", "Attempting to run cuBLAS, but there was no current", UserWarning)


def default_device() -> torch.device:
    """Where everything trains unless the caller says otherwise.

    LNLIB_DEVICE may be "cpu", "cuda", "cuda:1" or "mps". Raises `InvalidValue` for any other value and for a
    device that this machine does not have.
    """
    name = os.environ.get("LNLIB_DEVICE", "").strip().lower()
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InvalidValue(
            f"LNLIB_DEVICE must be 'cpu', 'cuda', 'cuda:<number>' or 'mps', got {name!r}; "
            "unset it to let lnlib choose"
        )
    if not _available(device):
        raise InvalidValue(
            f"LNLIB_DEVICE must name a device of this machine ({', '.join(_present())}), got {name!r}; "
            "choose one of them or unset LNLIB_DEVICE"
        )
    return device


@contextmanager
def global_generator(devices: Sequence[torch.device] = ()) -> Iterator[None]:
    """PyTorch's global generators, the CPU's and those of `devices`, for one thread at a time (labs train in
    threads), and put back at the end: for what PyTorch lets draw from no other, as a layer's first weights.
    """
    with _GLOBAL, torch.random.fork_rng(devices=[*devices]):
        yield


def with_threads(number: int, work: Callable[P, T]) -> Callable[P, T]:
    """`work` for another thread of Python, where PyTorch then computes with so many threads of the CPU."""
    torch.get_num_threads()  # asked once, this thread of Python keeps its own number

    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        before = torch.get_num_threads()
        torch.set_num_threads(number)
        try:
            return work(*args, **kwargs)
        finally:
            torch.set_num_threads(before)

    return wrapped


def describe(device: torch.device, threads: int | None = None) -> str:
    """The device in words: "CPU, 2 threads" (PyTorch's here, unless given) or the name of the GPU."""
    if device.type == "cpu":
        threads = threads or torch.get_num_threads()
        return f"CPU, {threads} thread" + ("s" if threads != 1 else "")
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "Apple GPU"


@cache
def processor() -> str:
    """The processor's name, which decides last digits together with its instruction set; "" where unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def setting_line(dataset_name: str, budget: str, device: torch.device | None = None) -> str:
    """Device, data set and budget in one line, for the first cell of every notebook."""
    return f"device: {describe(device or default_device())} · data: {dataset_name} · budget: {budget}"


@cache
def keep_freed_memory() -> None:
    """Let the C library keep the memory that a training step frees, for the next step to take.

    By default glibc gives large blocks back to the system and fetches them again, thousands of pages a step:
    the CNN's step on a CPU takes a third longer or more. It keeps half a gigabyte at most. Other systems are
    left as they are.
    """
    if sys.platform != "linux":
        return
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is not None:
        option(_MMAP_THRESHOLD, 2**25)  # the largest that glibc takes
        option(_TRIM_THRESHOLD, 2**29)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of malloc.h that Python does not have."""


def _available(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.index in (None, 0)


def _present() -> list[str]:
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def full_precision(tensor: Tensor) -> AbstractContextManager[Any]:
    """No autocast within: for passes that take their types from an earlier one, and against rounding."""
    kind = tensor.device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


def mixed_precision(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Autocast to bfloat16 for this precision, nothing for others."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
