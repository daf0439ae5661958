"""Named random streams: every use of randomness draws from its own, so that one never shifts another."""

import zlib

import numpy as np

from lnlib.checks import Seed, checked


@checked
def stream_seed(seed: Seed, name: str) -> np.random.SeedSequence:
    """The seed sequence of the stream `name` under `seed`."""
    return np.random.SeedSequence([seed, zlib.crc32(name.encode())])


def stream(seed: Seed, name: str) -> np.random.Generator:
    """A NumPy generator for the stream `name` under `seed`; equal arguments give equal draws."""
    return np.random.default_rng(stream_seed(seed, name))
