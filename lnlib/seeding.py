"""Named random streams: every use of randomness draws from its own, so that one never shifts another."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import RLock

import numpy as np
import torch

from lnlib.checks import Seed, checked

_GLOBAL = RLock()


@contextmanager
def global_generator(devices: Sequence[torch.device] = ()) -> Iterator[None]:
    """PyTorch's global generators, the CPU's and those of `devices`, for one thread at a time (labs train in
    threads), and put back at the end: for what PyTorch lets draw from no other, as a layer's first weights.
    """
    with _GLOBAL, torch.random.fork_rng(devices=[*devices]):
        yield


@checked
def stream_seed(seed: Seed, name: str) -> np.random.SeedSequence:
    """The seed sequence of the stream `name` under `seed`."""
    return np.random.SeedSequence([seed, zlib.crc32(name.encode())])


def stream(seed: Seed, name: str) -> np.random.Generator:
    """A NumPy generator for the stream `name` under `seed`; equal arguments give equal draws."""
    return np.random.default_rng(stream_seed(seed, name))
