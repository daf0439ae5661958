"""A run's random numbers, each kind from a stream of its own."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lnlib.methods.base import Draw
from lnlib.seeding import stream_seed


class Streams(dict[str, torch.Generator]):
    """The order of examples, the draws of methods, augmentation and meta batches, by name.

    On PyTorch's meta device, where tests find out what a step reads, the generators are the CPU's.
    """

    NAMES = ("order", "draws", "augmentation", "meta")

    def __init__(self, seed: int, device: torch.device) -> None:
        home = torch.device("cpu") if device.type == "meta" else device
        super().__init__(
            {name: torch.Generator(home).manual_seed(torch_seed(seed, name)) for name in self.NAMES}
        )

    def state(self) -> dict[str, Tensor]:
        """Where each stream stands."""
        return {name: generator.get_state() for name, generator in self.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `state` stood."""
        for name, generator in self.items():
            generator.set_state(state[name].cpu())


def torch_seed(seed: int, name: str) -> int:
    """The seed of a PyTorch generator for the stream `name`."""
    return int(stream_seed(seed, name).generate_state(1, "uint64")[0] >> 1)


def sample(draw: Draw, generator: torch.Generator, device: torch.device, dtype: torch.dtype) -> Tensor:
    """One random tensor: standard normal, Laplace of unit variance, or uniform on [0, 1)."""
    if draw.kind == "normal":
        return torch.randn(draw.shape, generator=generator, device=device, dtype=dtype)
    uniform = torch.rand(draw.shape, generator=generator, device=device, dtype=dtype)
    if draw.kind == "uniform":
        return uniform
    centred = uniform - 0.5
    # The inverse of the Laplace distribution function with scale 1/√2, clamped where rounding would give log
    # 0.
    return -centred.sign() * torch.log1p(-2 * centred.abs().clamp(max=0.5 - 1e-7)) / 2**0.5
