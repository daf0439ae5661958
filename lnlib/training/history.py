"""What a run leaves behind: one record an epoch, from eval-mode predictions at the epoch's end."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from lnlib.analysis.memorization import MemorizedBits, memorized_bits
from lnlib.data.task import Task


@dataclass(frozen=True)
class NoiseFacts:
    """What the memorised bits need to know of a task: n, the transition matrix and the class shares of the
    training set.
    """

    num_train: int
    matrix: np.ndarray
    prior: np.ndarray

    @classmethod
    def of(cls, task: Task) -> "NoiseFacts":
        """The facts of a task."""
        return cls(len(task.train), task.truth.matrix, task.truth.prior)

    def memorized_bits(self, train_accuracy: float | np.ndarray) -> MemorizedBits:
        """Memorised label information in bits per example at an accuracy on the given labels."""
        return memorized_bits(1 - np.asarray(train_accuracy), self.num_train, self.matrix, self.prior)


@dataclass(frozen=True)
class Epoch:
    """One epoch's record. Accuracies are shares, losses nats per example, times seconds.

    `loss` is the method's own objective averaged over the epoch's batches; the other losses are
    cross-entropy. `train_*` and `validation_*` are on given labels, `test_*` and `validation_clean_accuracy`
    on true ones. Epochs that were not evaluated have None there.
    """

    epoch: int
    seconds: float
    evaluation_seconds: float
    loss: float
    train_accuracy: float | None = None
    train_loss: float | None = None
    clean_accuracy: float | None = None
    corrupted_fit: float | None = None
    corrupted_recovered: float | None = None
    validation_accuracy: float | None = None
    validation_loss: float | None = None
    validation_clean_accuracy: float | None = None
    test_accuracy: float | None = None
    test_loss: float | None = None
    extra: Mapping[str, float] = field(default_factory=dict)
    """numbers that the method reports of itself"""
    facts: NoiseFacts | None = field(default=None, repr=False, compare=False)

    @property
    def evaluated(self) -> bool:
        """Whether this epoch was evaluated."""
        return self.train_accuracy is not None

    @cached_property
    def memorized(self) -> MemorizedBits:
        """Memorised bits per example, with the band that the drawn noise allows; NaN where not evaluated."""
        if self.train_accuracy is None or self.facts is None:
            return MemorizedBits(*(np.array(np.nan),) * 3)
        return self.facts.memorized_bits(self.train_accuracy)

    def numbers(self) -> dict[str, Any]:
        """The record as plain values, for checkpoints and JSON."""
        return {name: getattr(self, name) for name in COLUMNS} | {"extra": dict(self.extra)}


COLUMNS = tuple(part.name for part in fields(Epoch) if part.name not in ("extra", "facts"))


class History:
    """The records of one run, in order."""

    def __init__(self, facts: NoiseFacts, epochs: Iterable[Epoch] = ()) -> None:
        self.facts = facts
        self._epochs = list(epochs)

    @classmethod
    def from_numbers(cls, facts: NoiseFacts, rows: Iterable[Mapping[str, float]]) -> "History":
        """A history from what `Epoch.numbers` gave."""
        return cls(facts, [Epoch(**row, facts=facts) for row in rows])  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self._epochs)

    def __getitem__(self, position: int) -> Epoch:
        return self._epochs[position]

    def append(self, epoch: Epoch) -> None:
        """Add the record of the next epoch."""
        self._epochs.append(epoch)

    @property
    def evaluated(self) -> list[Epoch]:
        """The records of evaluated epochs."""
        return [epoch for epoch in self._epochs if epoch.evaluated]

    @property
    def best(self) -> Epoch | None:
        """The record with the highest accuracy on the noisy validation split (the first of equals); the test
        set has no say.
        """
        return max(self.evaluated, key=lambda epoch: epoch.validation_accuracy or 0.0, default=None)

    def to_frame(self) -> pd.DataFrame:
        """One row an epoch, the columns of `Epoch` and `memorized_bits` with `_low` and `_high`; NaN where
        not evaluated.
        """
        rows = [{name: getattr(epoch, name) for name in COLUMNS} for epoch in self._epochs]
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        frame = frame.astype({name: float for name in COLUMNS if name != "epoch"})
        bits = np.full((3, len(frame)), np.nan)
        known = frame["train_accuracy"].notna().to_numpy()
        if known.any():
            bits[:, known] = self.facts.memorized_bits(frame["train_accuracy"].to_numpy()[known])
        for name, values in zip(
            ("memorized_bits", "memorized_bits_low", "memorized_bits_high"), bits, strict=True
        ):
            frame[name] = values
        own = pd.DataFrame([dict(epoch.extra) for epoch in self._epochs], index=frame.index)
        return pd.concat([frame, own], axis=1)
