"""Writing files whole: a reader finds the old content or all of the new, never half of it."""

import contextlib
import csv
import errno
import io
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lnlib.errors import InvalidValue, LnlibError, shown

if TYPE_CHECKING:
    import pandas as pd


@contextlib.contextmanager
def whole_file(path: Path | str) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends without an error.

    Only a plain file is replaced, and keeps its mode and owner: of a link, the file that it leads to; a
    device or a FIFO is written to. Raises `LnlibError` without space or permission, for a folder, and for a
    FIFO that nobody reads; what stood at `path` is then still there.
    """
    path = Path(path)
    new = _stream(path) if _is_stream(path) else _replacement(Path(os.path.realpath(path)))
    with _said_in_a_sentence(path), new as file:
        yield file


def check_writable(path: Path | str) -> None:
    """Raise what `whole_file` would raise, before there is anything to write; changes nothing."""
    path = Path(path)
    with _said_in_a_sentence(path):
        if _is_stream(path):
            return
        path = Path(os.path.realpath(path))
        _refuse_what_is_no_file(path)
        with tempfile.TemporaryFile(dir=next(parent for parent in path.parents if parent.exists())):
            pass


@contextlib.contextmanager
def _said_in_a_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LnlibError(
            f"could not write {path}: {error.strerror or error}; "
            "free some space or choose a file you may write to"
        ) from error


def write_text(path: Path | str, text: str) -> None:
    """Write `text` whole, in UTF-8; raises as `whole_file`.

    Of a file name that is not UTF-8, what does not fit is written with backslashes.
    """
    with whole_file(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def write_csv(path: Path | str, table: "pd.DataFrame", **options: Any) -> None:
    """Write a table whole, without its index; raises as `whole_file`, `options` are those of `to_csv`.

    A text cell that a spreadsheet would take for a formula (it begins with =, +, - or @, a tab or a line's
    end) gets an apostrophe before it, which `read_csv` takes off again. Numbers stay as they are.
    """
    import pandas as pd

    text = [name for name in table if any(isinstance(cell, str) for cell in table[name])]
    # As objects: pandas' own strings refuse names that are not UTF-8.
    cells = {name: pd.Series(map(_as_text, table[name]), table.index, dtype=object) for name in text}
    safe = table.assign(**cells)
    # Python below 3.13 leaves a lone carriage return bare, where a reader takes it for a line's end.
    bare = any("\r" in str(cell) for name in text for cell in table[name])
    quoting = csv.QUOTE_NONNUMERIC if bare else csv.QUOTE_MINIMAL
    write_text(path, safe.to_csv(index=False, lineterminator="\n", quoting=quoting, **options))


def read_csv(path: Path | str, **options: Any) -> "pd.DataFrame":
    """The table that `write_csv` wrote; only an empty cell is missing, "NA" is a name like others.

    `options` are those of pandas's function, and so is what is raised.
    """
    import pandas as pd

    table = pd.read_csv(path, keep_default_na=False, na_values=[""], **options)
    return table.map(_as_it_was)


def _as_text(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _as_it_was(cell: Any) -> Any:
    marked = isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell)
    return cell[1:] if marked else cell


_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
"""How a cell begins that a spreadsheet would compute, or that got an apostrophe."""


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with its ~ as the user's home; raises `InvalidValue` where no user is called so, and for what is
    no path.
    """
    try:
        return Path(path).expanduser()
    except TypeError as error:
        raise InvalidValue(f"a path must be text, got {shown(path)}; try 'some/folder'") from error
    except RuntimeError as error:
        raise InvalidValue(
            f"there is no home folder for {str(path)!r}; write the folder's whole name"
        ) from error


def _is_stream(path: Path) -> bool:
    """Whether bytes can only be handed to it; /dev/stdout is a stream, whatever file it leads to."""
    if path.absolute().parts[1:2] in (("dev",), ("proc",)):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


@contextlib.contextmanager
def _stream(path: Path) -> Iterator[IO[bytes]]:
    content = io.BytesIO()
    yield content
    # Without O_NONBLOCK a FIFO would keep us here until somebody reads, which may be never.
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
    os.set_blocking(handle, True)
    with os.fdopen(handle, "wb") as file:
        file.write(content.getvalue())


@contextlib.contextmanager
def _replacement(path: Path) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    standing = _refuse_what_is_no_file(path)
    unfinished = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if standing is not None:
            _take_over(unfinished, standing)
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def _refuse_what_is_no_file(path: Path) -> os.stat_result | None:
    """The state of the file that stands at a path without links; None where nothing does."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, "its links lead in a circle")
    if not path.exists():
        return None
    with path.open("rb+"):  # raises for a folder, and for a file that one may not write
        return path.stat()


def _take_over(path: Path, standing: os.stat_result) -> None:
    """Give a new file the mode and, where that is allowed, the owner of the one that it replaces."""
    with contextlib.suppress(OSError, AttributeError):
        os.chown(path, standing.st_uid, standing.st_gid)
    path.chmod(stat.S_IMODE(standing.st_mode))
