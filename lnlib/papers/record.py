"""What a run's folder holds: `run.json` with everything small, the best weights, arrays if some were kept,
and while it trains a checkpoint.

`read` gives a checked record or says in a sentence why there is none, whatever lies in the folder.
"""

import csv
import io
import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from lnlib.device import describe, processor
from lnlib.files import whole_file
from lnlib.papers.spec import Spec
from lnlib.training.history import COLUMNS

RECORD, BEST, ARRAYS, CHECKPOINT = "run.json", "best.pt", "arrays.npz", "checkpoint.pt"
SWEEP = "sweep.pt"
"""The checkpoint of runs that train together, in the folder of the first."""
SPEC, SUMMARY, HISTORY, WHERE = "spec.json", "summary.json", "history.csv", "circumstances.json"
OLDER = (SPEC, SUMMARY, HISTORY, WHERE)
"""What stood in place of `run.json` in the first format."""
MEMORIZED = ("memorized_bits", "memorized_bits_low", "memorized_bits_high")
REQUIRED = ("validation_accuracy", "test_accuracy")
# JSON has no infinity, but a loss may be one.
INFINITE = ConfigDict(ser_json_inf_nan="constants")
OBJECT = TypeAdapter(dict[str, Any], config=INFINITE)


class Damaged(Exception):
    """A folder that cannot be what the store wrote; the message says why."""


@dataclass(frozen=True)
class Circumstances:
    """Where a run's numbers come from: invariant only under the same of these."""

    device: str
    threads: int
    mode: str
    python_version: str
    torch_version: str
    lnlib_version: str
    processor: str = ""
    instructions: str = ""
    """PyTorch's choice for the processor, as AVX2; like the processor's name unknown in older stores."""

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
            processor(),
            torch.backends.cpu.get_cpu_capability(),
        )


class Record(BaseModel):
    """Everything small about a run."""

    model_config = INFINITE | ConfigDict(frozen=True, strict=True)

    format: Literal[2] = 2
    spec: Spec
    """with all options spelled out, so that a default that has changed since is noticed"""
    status: Literal["unfinished", "diverged", "finished"] = "unfinished"
    message: str = ""
    history: dict[str, list[float | None]] = Field(default_factory=dict, repr=False)
    """columns with one entry an epoch, from the first on; None where nothing was measured"""
    test_size: Annotated[int, Field(gt=0, lt=2**31)] | None = None
    circumstances: Circumstances | None = None
    weights_sha256: str | None = None
    """of the weights file; unknown in older stores"""

    @model_validator(mode="after")
    def _whole(self) -> "Record":
        if self.status != "finished":
            return self
        if self.test_size is None or self.circumstances is None:
            raise ValueError("test_size or circumstances are missing")
        if len({len(column) for column in self.history.values()}) != 1 or not {*REQUIRED} <= {*self.history}:
            raise ValueError("the history lacks a part")
        for name in REQUIRED:
            shares = [value for value in self.history[name] if value is not None]
            if not all(0 <= value <= 1 for value in shares):
                raise ValueError(f"{name} is no share")
        if not any(value is not None for value in self.history["validation_accuracy"]):
            raise ValueError("no epoch was evaluated")
        return self

    @property
    def numbers(self) -> dict[str, Any]:
        """Of a finished run: epochs, best_epoch, the accuracies there, and what it took; else empty."""
        if self.status != "finished" or self.circumstances is None:
            return {}
        validation, test = (self.history[name] for name in REQUIRED)
        # As `History.best`: the first of equals.
        best = max(range(len(validation)), key=lambda epoch: -1.0 if (v := validation[epoch]) is None else v)
        times = [self.history.get(name, []) for name in ("seconds", "evaluation_seconds")]
        return {
            "epochs": len(validation),
            "best_epoch": best + 1,
            "validation_accuracy": validation[best],
            "test_accuracy": test[best],
            "last_test_accuracy": test[-1],
            "test_size": self.test_size,
            "seconds": round(sum(value or 0.0 for column in times for value in column), 3),
            "device": self.circumstances.device,
        }

    def frame(self) -> pd.DataFrame:
        """The history with one row an epoch and all columns of `History.to_frame`; NaN where not measured."""
        frame = pd.DataFrame(self.history, dtype=float)
        frame["epoch"] = range(1, len(frame) + 1)
        return frame.reindex(columns=[*dict.fromkeys((*COLUMNS, *MEMORIZED, *frame))])


def columns(history: pd.DataFrame) -> dict[str, list[float | None]]:
    """A history as a record keeps it: exact, so that it comes back bit for bit."""
    return {
        str(name): [None if value != value else value for value in history[name].astype(float).tolist()]
        for name in history.columns
        if name != "epoch"  # which counts from one
    }


def write(record: Record, folder: Path) -> None:
    """Write a record whole; raises as `whole_file`."""
    with whole_file(folder / RECORD) as file:
        file.write(record.model_dump_json().encode())


def read(folder: Path) -> Record | None:
    """The record in a folder, None where no run was begun there; raises `Damaged`."""
    path = folder / RECORD
    try:
        if not folder.is_dir():
            if folder.exists():
                raise Damaged(f"{folder} is not a folder")
            return None
        if os.path.lexists(path):
            return Record.model_validate_json(_content(path))
        if any((folder / name).exists() for name in (SPEC, SUMMARY)):
            return Record.model_validate_json(OBJECT.dump_json(_older(folder)))
        if (folder / BEST).exists():
            raise Damaged(f"{folder} lacks {RECORD}")
        return None
    except ValidationError as error:
        raise Damaged(f"{path if path.exists() else folder} cannot be read ({_reason(error)})") from error
    except OSError as error:
        raise Damaged(f"{folder} cannot be read ({error.strerror or error})") from error


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # to open a FIFO might wait for ever
        raise Damaged(f"{path} is not a file")
    return path.read_bytes()


def _older(folder: Path) -> dict[str, Any]:
    """The same in the first format, which had four small files."""
    spec, summary = _object(folder / SPEC), _object(folder / SUMMARY)
    if not spec:
        raise Damaged(f"{folder} lacks {SPEC}")
    if not summary:
        return {"spec": spec}
    record = {"spec": spec, "status": summary.get("status"), "message": summary.get("message", "")}
    if record["status"] != "finished":
        return record
    try:
        rows = list(csv.reader(io.StringIO(_content(folder / HISTORY).decode())))
        history = {
            name: [float(cell) if cell else None for cell in cells]
            for name, *cells in zip(*rows, strict=True)
        }
    except (ValueError, csv.Error, OSError) as error:
        raise Damaged(f"{folder / HISTORY} cannot be read ({error})") from error
    numbers = summary.get("numbers")
    if not isinstance(numbers, dict) or numbers.get("epochs") != len(rows) - 1:
        raise Damaged(f"{folder} lacks a part of its run")
    history.pop("epoch", None)
    return record | {
        "history": history,
        "test_size": numbers.get("test_size"),
        "circumstances": _object(folder / WHERE),
    }


def _object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file."""
    try:
        return OBJECT.validate_json(_content(path))
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise Damaged(f"{path} cannot be read ({_reason(error)})") from error


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    what = first["msg"].removeprefix("Value error, ")
    # The place may be a name from the file: whatever it is, it stays short and on one line.
    return f"{where[:60]!r}: " * bool(where) + what[:1].lower() + what[1:]
