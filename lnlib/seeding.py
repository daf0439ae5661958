"""Named random streams: every use of randomness draws from its own, so that one never shifts another."""

import zlib

import numpy as np

from lnlib.errors import InvalidValue


def stream_seed(seed: int, name: str) -> np.random.SeedSequence:
    """The seed sequence of the stream `name` under `seed`; raises `InvalidValue` for a negative or fractional
    seed.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InvalidValue(f"a seed must be a whole number of at least 0, got {seed!r}; try seed=0")
    return np.random.SeedSequence([int(seed), zlib.crc32(name.encode())])


def stream(seed: int, name: str) -> np.random.Generator:
    """A NumPy generator for the stream `name` under `seed`; equal arguments give equal draws."""
    return np.random.default_rng(stream_seed(seed, name))
