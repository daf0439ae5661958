"""What was found where a reader's own pictures lie: which are used, what was left out, which are the same."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Skipped:
    """A file, link or folder (with a slash at its end) below the root that is not used, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class ClassCount:
    """How many pictures of a class are used in either part."""

    name: str
    training: int
    test: int


@dataclass(frozen=True)
class Reading:
    """What was found in a folder or a table. Files are named as in `Dataset.train_files` and `test_files`."""

    place: str
    """the folder or table, as a whole path"""
    layout: str
    """how it was read, in words"""
    classes: tuple[ClassCount, ...]
    skipped: tuple[Skipped, ...] = field(default=(), repr=False)
    contradictions: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    """groups of files with the same bytes that have different labels"""
    duplicates: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    """groups of files with the same bytes that have one label"""

    def class_rows(self, most: int = 30) -> list[dict[str, object]]:
        """A table of the pictures used: the first `most` classes, the others together, and all."""
        listed, others = self.classes[:most], self.classes[most:]
        sums = [(f"{len(others)} other classes", others)] * bool(others) + [("in all", self.classes)]
        rows = [(one.name, one.training, one.test) for one in listed]
        rows += [
            (name, sum(one.training for one in some), sum(one.test for one in some)) for name, some in sums
        ]
        return [dict(zip(("class", "training", "test"), row, strict=True)) for row in rows]

    def other_rows(self) -> list[dict[str, object]]:
        """A table of what was left out and what is doubled; empty where there is neither."""
        reasons = defaultdict(list)
        for one in self.skipped:
            reasons[f"left out: {one.reason}"].append(one.file)
        for label, groups in (("different labels", self.contradictions), ("one label", self.duplicates)):
            reasons[f"the same bytes under {label}"] += [file for group in groups for file in group]
        return [
            {"beside them": reason, "files": len(files), "the first": files[0]}
            for reason, files in sorted(reasons.items(), key=lambda item: -len(item[1]))
            if files
        ]

    @property
    def skipped_counts(self) -> dict[str, int]:
        """How many were skipped for each reason, the most frequent first."""
        return dict(Counter(one.reason for one in self.skipped).most_common())

    def groups(self, files: Sequence[str]) -> NDArray[np.int64]:
        """A number for each file, the same for files with the same bytes: they must not be split up."""
        first = {file: group[0] for group in self.contradictions + self.duplicates for file in group}
        return numbered([first.get(file, file) for file in files])


def numbered(keys: Sequence[str]) -> NDArray[np.int64]:
    """A number for each key (N,), from 0 in the order in which they come; equal ones for equal keys."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def same_bytes(
    files: Sequence[str], labels: Sequence[str], digests: Sequence[str]
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """Contradictions and duplicates as `Reading` has them, in the files' order."""
    rows, counts = defaultdict(list), Counter(digests)
    for row, digest in enumerate(digests):
        if counts[digest] > 1:
            rows[digest].append(row)
    contradictions: list[tuple[str, ...]] = []
    duplicates: list[tuple[str, ...]] = []
    for group in rows.values():
        one_label = len({labels[row] for row in group}) == 1
        (duplicates if one_label else contradictions).append(tuple(files[row] for row in group))
    return tuple(contradictions), tuple(duplicates)
