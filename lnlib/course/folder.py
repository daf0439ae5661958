"""The course as files: where lessons and figures lie, and how a student's folder gets them and keeps up.

A clone holds them itself. A wheel holds them beside this file, and who learns from it works in a folder of
their own, where nothing that they changed is ever overwritten: what was shipped is remembered by its hashes.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from lnlib.errors import InvalidValue, LnlibError
from lnlib.files import check_writable, whole_file, write_text

START = "notebooks/00_start_here.ipynb"
CLONE = Path(__file__).resolve().parents[2]
SHIPPED = Path(__file__).resolve().parent / "material"
PARTS = {"notebooks": (".ipynb",), "figures": (".csv", ".json", ".md", ".png")}
"""The folders of the course, and the kinds of files in them that belong to it."""
RECORD = ".lnlib-course.json"
"""What was shipped into a folder: the hash of each file."""


@dataclass(frozen=True)
class Update:
    """What an update did to a folder: files by their names in it."""

    folder: Path
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """Changed since they were shipped, and left, though the course has other ones now."""


def is_clone() -> bool:
    """Whether lnlib is imported from a clone of the repository."""
    return (CLONE / START).is_file()


def source() -> Path:
    """The folder that holds `notebooks` and `figures`; raises `LnlibError` where the lessons are missing."""
    for folder in (CLONE, SHIPPED):
        if (folder / START).is_file():
            return folder
    raise LnlibError(f"the lessons are missing from {SHIPPED}; install lnlib's wheel anew")


def install(extra: str) -> str:
    """The command that installs what an extra names, as "lab", beside this lnlib."""
    return (
        f'pip install -c constraints.txt -e ".[{extra}]"' if is_clone() else f'pip install "lnlib[{extra}]"'
    )


def files(folder: Path) -> Iterator[str]:
    """The files of the course in a folder, as "notebooks/deeper/02_figure_1.ipynb"."""
    for part, kinds in PARTS.items():
        for path in sorted((folder / part).rglob("*")):
            name = path.relative_to(folder)
            if path.suffix in kinds and path.is_file() and not any(one.startswith(".") for one in name.parts):
                yield name.as_posix()


def bring(folder: Path, *, fresh: bool = False) -> Update:
    """Copy the course into a folder, or bring it up to date there.

    What is missing is added, what is as it was shipped is replaced by what is shipped now, and what was
    changed, if only by running and saving it, stays. With `fresh`, a folder that is there stays as it is, and
    the copy goes into a new one beside it, "folder-2". Raises `InvalidValue` for a file, and `LnlibError`
    where nothing can be written, before anything is.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidValue(f"the course needs a folder, got the file {folder}; try `lnlib lab lnlib-course`")
    if fresh and folder.exists():
        folder = next(one for number in count(2) if not (one := _beside(folder, number)).exists())
    place, shipped = source(), _read(folder / RECORD)
    contents: dict[str, bytes] = {}
    added: list[str] = []
    replaced: list[str] = []
    kept: list[str] = []
    for name in files(place):
        content = (place / name).read_bytes()
        new, standing = _hash(content), _hash_of(folder / name)
        if standing in (None, shipped.get(name)) and standing != new:
            (added if standing is None else replaced).append(name)
            contents[name] = content
        elif standing != new and shipped.get(name) != new:
            kept.append(name)
        if standing in (None, new, shipped.get(name)):
            shipped[name] = new
    record = json.dumps({"files": shipped}, indent=1, sort_keys=True) + "\n"
    for name in contents:
        check_writable(folder / name)
    for name, content in contents.items():
        with whole_file(folder / name) as file:
            file.write(content)
    if _hash_of(folder / RECORD) != _hash(record.encode()):
        write_text(folder / RECORD, record)
    return Update(folder, tuple(added), tuple(replaced), tuple(kept))


def _beside(folder: Path, number: int) -> Path:
    return folder.resolve().with_name(f"{folder.resolve().name}-{number}")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hash_of(path: Path) -> str | None:
    """None where there is no such file."""
    return _hash(path.read_bytes()) if path.is_file() else None


def _read(record: Path) -> dict[str, Any]:
    """What was shipped; nothing where the record is missing or damaged, so that all that stands is kept."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))["files"]
        return dict(found)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
