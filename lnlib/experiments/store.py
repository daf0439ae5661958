"""The store: one folder a run, named by its fingerprint, with its spec and, when finished, its history; until
then, its last checkpoint.

A finished run is returned, an interrupted one continued, a new one trained. Files are written whole and
renamed into place.
"""

import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from lnlib.device import default_device, describe
from lnlib.experiments.run import Run
from lnlib.files import write_text
from lnlib.training import Epoch

OnEpoch = Callable[[Epoch], None]


@dataclass(frozen=True)
class Circumstances:
    """Where a run's numbers come from: invariant only under the same of these."""

    device: str
    threads: int
    mode: str
    python_version: str
    torch_version: str
    lnlib_version: str

    @classmethod
    def here(cls, device: torch.device, mode: str = "solo") -> "Circumstances":
        """Those of this process."""
        return cls(
            describe(device),
            torch.get_num_threads(),
            mode,
            platform.python_version(),
            torch.__version__,
            version("lnlib"),
        )


@dataclass(frozen=True)
class Result:
    """A finished run: its spec, one row an epoch, and the circumstances it was trained in."""

    run: Run
    history: pd.DataFrame
    circumstances: Circumstances


class Store:
    """A folder of runs, by default `runs/` in the working folder or what LNLIB_RUNS says."""

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = Path(root or os.environ.get("LNLIB_RUNS", "runs")).expanduser()

    def folder(self, run: Run) -> Path:
        """Where a run lives."""
        return self.root / run.fingerprint

    def find(self, run: Run) -> Result | None:
        """The finished run, or None."""
        return self._read(run) if (self.folder(run) / "history.csv").exists() else None

    def obtain(
        self,
        run: Run,
        device: torch.device | None = None,
        checkpoint_every: int = 1,
        on_epoch: OnEpoch | None = None,
    ) -> Result:
        """The run's result, training what is missing and continuing from the last checkpoint where there is
        one.

        Raises `CheckpointError` for a damaged checkpoint and `LnlibError` without space or permission;
        finished runs stay.
        """
        if found := self.find(run):
            return found
        folder, device = self.folder(run), device or default_device()
        training = run.training(device)
        write_text(folder / "spec.json", run.model_dump_json(indent=1))
        checkpoint = folder / "checkpoint.pt"
        if checkpoint.exists():
            training.load(checkpoint)
        for epoch in training:
            if epoch.epoch % checkpoint_every == 0 and not training.finished:
                training.save(checkpoint)
            if on_epoch:
                on_epoch(epoch)
        circumstances = Circumstances.here(device, training.mode)
        write_text(folder / "circumstances.json", json.dumps(asdict(circumstances), indent=1))
        write_text(folder / "history.csv", training.history.to_frame().to_csv(index=False))
        checkpoint.unlink(missing_ok=True)
        return self._read(run)

    def _read(self, run: Run) -> Result:
        folder = self.folder(run)
        circumstances: dict[str, Any] = json.loads((folder / "circumstances.json").read_text())
        return Result(run, pd.read_csv(folder / "history.csv"), Circumstances(**circumstances))
