"""Writing files whole: a reader finds the old content or all of the new, never half of it."""

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lnlib.errors import LnlibError


@contextlib.contextmanager
def whole_file(path: Path | str) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends without an error.

    Only a plain file is replaced, and keeps its mode and owner: of a link, the file that it leads to; a
    device or a FIFO is written to. Raises `LnlibError` without space or permission, for a folder, and for a
    FIFO that nobody reads; what stood at `path` is then still there.
    """
    path = Path(path)
    try:
        with _stream(path) if _is_stream(path) else _replacement(Path(os.path.realpath(path))) as file:
            yield file
    except OSError as error:
        raise LnlibError(
            f"could not write {path}: {error.strerror or error}; "
            "free some space or choose a file you may write to"
        ) from error


def write_text(path: Path | str, text: str) -> None:
    """Write `text` whole, in UTF-8; raises as `whole_file`."""
    with whole_file(path) as file:
        file.write(text.encode())


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
    if path.is_symlink():
        raise OSError(errno.ELOOP, "its links lead in a circle")
    path.parent.mkdir(parents=True, exist_ok=True)
    standing = path.stat() if path.exists() else None
    if standing is not None:
        with path.open("rb+"):  # raises for a folder, and for a file that one may not write
            pass
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


def _take_over(path: Path, standing: os.stat_result) -> None:
    """Give a new file the mode and, where that is allowed, the owner of the one that it replaces."""
    with contextlib.suppress(OSError, AttributeError):
        os.chown(path, standing.st_uid, standing.st_gid)
    path.chmod(stat.S_IMODE(standing.st_mode))
