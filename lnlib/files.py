"""Writing files whole: a reader finds the old content or all of the new, never half of it."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lnlib.errors import LnlibError


@contextlib.contextmanager
def whole_file(path: Path | str) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends without an error.

    Raises `LnlibError` without space or permission; what stood at `path` is then still there.
    """
    path = Path(path)
    unfinished = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, path)
        unfinished = None
    except OSError as error:
        raise LnlibError(
            f"could not write {path}: {error}; free some space or choose a folder you may write to"
        ) from error
    finally:
        if unfinished is not None:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` whole, in UTF-8; raises as `whole_file`."""
    with whole_file(path) as file:
        file.write(text.encode())
