"""The reader's own files by name: "folder:PATH" and "csv:FILE", their options, and slips in writing them."""

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lnlib.checks import explained, fits
from lnlib.data.dataset import Dataset
from lnlib.data.folder import image_folder, image_table
from lnlib.data.listing import command, instead_of, missing_folder, refuse_what_holds_everything, walk
from lnlib.data.table import list_table
from lnlib.errors import DataUnavailable, InvalidValue, LnlibError, unknown_name
from lnlib.files import expanded

FOLDER, TABLE = "folder:", "csv:"
"""What stands before a path where a data set's name is asked for."""
READERS: dict[str, Callable[..., Dataset]] = {FOLDER: image_folder, TABLE: image_table}


def is_own(name: str) -> bool:
    """Whether a data set's name leads to the reader's own files."""
    return name.startswith(tuple(READERS))


def source_of(name: str) -> tuple[Callable[..., Dataset], Path] | None:
    """What reads the files that a name leads to, and their path; None for a name of another kind.

    Raises `InvalidValue` where no path follows, `DataUnavailable` where a folder is named as a table.
    """
    for kind, reader in READERS.items():
        if name.startswith(kind):
            path = name.removeprefix(kind)
            if not path.strip():
                raise InvalidValue(
                    f"a path must follow {kind!r}, got none (is a variable empty?); try "
                    f"{command(kind + ('path/to/pictures' if kind == FOLDER else 'path/to/labels.csv'))}"
                )
            if kind == TABLE and (folder := expanded(path)).is_dir():
                raise DataUnavailable(f"{folder} is a folder, no table; try {command(folder)}")
            return reader, expanded(path)
    return None


def read_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a name as their reader takes them: "10" and 10 are both 10.

    Raises `UnknownName` for one that it does not have, and `InvalidValue` for a bad value, or any where the
    name leads to no files.
    """
    from pydantic import TypeAdapter

    reader = next((reader for kind, reader in READERS.items() if name.startswith(kind)), None)
    if reader is None:
        if options:
            raise InvalidValue(
                f"{name} takes no options of the data, got {', '.join(options)}; leave them out, or give "
                "your own pictures as folder:PATH"
            )
        return {}
    known = {one.name: one for one in inspect.signature(reader).parameters.values() if fits(one.annotation)}
    read = {}
    for option, value in options.items():
        if option not in known:
            raise unknown_name(f"option of {name}", option, known)
        hint, default = known[option].annotation, known[option].default
        try:
            read[option] = TypeAdapter(hint).validate_python(value)
        except ValueError:
            raise explained(option, hint, value, default) from None
    return read


def stated(name: str, options: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    """Names, sizes and dates of the files that a name leads to: what tells one state of them from another."""
    try:
        source = source_of(name)
        if source is None:
            return []
        reader, path = source
        if reader is image_folder:
            refuse_what_holds_everything(path, options.get("layout", "auto"))
            root, files = path, walk(path)[0]
        else:
            columns = {
                key.removesuffix("_column"): value for key, value in options.items() if "column" in key
            }
            listed = list_table(path, **{"path": "path", "label": "label", "split": "split"} | columns)
            root, files = path.parent, sorted({path.name, *listed.files})
        states = [(root / file).stat() for file in files]
    except (LnlibError, OSError):
        return []  # what is wrong is said where the files are read
    return [(file, one.st_size, one.st_mtime) for file, one in zip(files, states, strict=True)]


def slip(name: str) -> LnlibError | None:
    """The error for a name that was meant for files: a path without what stands before it, or with that in
    capitals; None for another.
    """
    for kind in READERS:
        if name.lower().lstrip().startswith(kind):
            return InvalidValue(
                f"{kind!r} must be written so, got {name!r}; try {command(_right(name, kind))}"
            )
    try:
        path = expanded(name)
        if name.strip() and path.is_dir():
            return InvalidValue(f"{name!r} is a folder of yours, no name of a data set; try {command(path)}")
        if path.is_file():
            return InvalidValue(f"{name!r} is a file, no name of a data set; try {instead_of(path)}")
        if "/" in name or os.sep in name:
            return missing_folder(path)
    except (OSError, ValueError):  # no path at all; InvalidValue is a ValueError
        pass
    return None


def _right(name: str, kind: str) -> str:
    return kind + name.lstrip()[len(kind) :]
