"""Pictures too many for memory: read from their files when their rows are asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from lnlib.checks import Count, checked
from lnlib.data.decoding import FAULTS, opened
from lnlib.errors import DataUnavailable


class LazyImages:
    """What stands in for images (N, 3, side, side), uint8, that lie in files below `root`.

    Pictures are turned into colour and stretched to side × side pixels. `images[rows]` reads them, and raises
    `DataUnavailable` for one that cannot be read.
    """

    dtype, ndim = torch.uint8, 4

    @checked
    def __init__(self, root: Path, files: Sequence[str], side: Count) -> None:
        self.root, self.side = root, side
        # Bytes in one array: a million Python strings would be copied into every loading process.
        self._files = np.array([file.encode() for file in files])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, side, side)."""
        return len(self), 3, self.side, self.side

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, rows: Tensor) -> UInt8[Tensor, "*rows 3 side side"]:
        """The images of some rows (...): (..., 3, side, side)."""
        pixels = [self._picture(self._files[row].decode()) for row in rows.flatten().tolist()]
        stacked = np.stack(pixels) if pixels else np.empty((0, *self.shape[1:]), dtype=np.uint8)
        return torch.from_numpy(stacked).reshape(*rows.shape, *self.shape[1:])

    def _picture(self, file: str) -> np.ndarray:
        try:
            with opened(self.root / file) as picture:
                colour = picture.convert("RGB").resize((self.side, self.side), Image.Resampling.BILINEAR)
        except FAULTS as error:
            raise DataUnavailable(
                f"{self.root / file} cannot be read as a picture; put the published file in its place"
            ) from error
        return np.asarray(colour).transpose(2, 0, 1)
