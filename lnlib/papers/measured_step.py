"""What a training step of a run takes: seconds, and the memory of the run."""

import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lnlib.papers.spec import Spec
from lnlib.training import loop
from lnlib.training.runs import timed_step
from lnlib.training.state import State

PARTS = 16, 32
"""Images of the two steps from which memory, and of a slow network time, is extended to a batch."""
SLOW = 0.3
"""Seconds from which on a step of the larger part is enough to measure."""


@dataclass(frozen=True)
class Measured:
    """A training step, and the memory of the run that it is of."""

    seconds: float
    bytes: float


def measured(spec: Spec, device: torch.device) -> Measured:
    """A step of a run, which begins from fresh weights whatever it would begin from."""
    peaks = []
    with _Memory() as memory:
        begun = {name: source.new_run(device).weights for name, source in spec.sources().items()}
        start = spec.member_parts()[0].begun_from(begun) if begun else None
        state = spec.new_run(device, start).state
        state.networks.train()
        loop.set_learning_rates(state, 1)
        batch = min(spec.batch_size, state.data.num_train)
        for size in PARTS:
            memory.peak = memory.now
            seconds = _step(state, size)
            peaks.append(memory.peak)
    if seconds < SLOW:
        seconds = timed_step(state)
    else:
        seconds *= batch / min(PARTS[1], batch)
    an_image = (peaks[1] - peaks[0]) / (PARTS[1] - PARTS[0])
    return Measured(seconds, peaks[1] + an_image * max(0, batch - PARTS[1]))


def _step(state: State, size: int) -> float:
    index = state.data.of_epoch(state.streams)[0][..., :size]
    images = next(state.data.images([index]))
    began = time.perf_counter()
    loop.train_step(state, 1, index, images)
    if state.device.type == "cuda":
        torch.cuda.synchronize(state.device)
    return time.perf_counter() - began


class _Memory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that come into being while it is on, on whatever device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage()) not in self.known:
                self.known.add(storage)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._freed, storage.nbytes())
        return made

    def _freed(self, size: int) -> None:
        self.now -= size
