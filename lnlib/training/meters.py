"""What losses note of themselves during an epoch, summed on the device and read once at its end."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Meters:
    """The sums of what was noted or counted, () or (M,), and in how many steps it was noted."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = {}

    def add(self, noted: Mapping[str, Tensor], counted: Mapping[str, Tensor]) -> None:
        """Take in what one step noted, and what it counted."""
        for name, value in {**noted, **counted}.items():
            dtype = self._dtype if name in noted else torch.float64
            self._sums[name] = value.to(dtype) + self._sums.get(name, 0)
            self._steps[name] = self._steps.get(name, 0) + (name in noted)

    def read(self, runs: int) -> list[dict[str, float]]:
        """Means of what was noted and sums of what was counted, of every run."""
        columns = [(value / (self._steps[name] or 1)).double() for name, value in self._sums.items()]
        rows = torch.stack([value.reshape(runs) for value in columns]).T.tolist() if columns else [[]] * runs
        return [dict(zip(self._sums, row, strict=True)) for row in rows]
