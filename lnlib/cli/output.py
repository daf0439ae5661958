"""What the commands print with. A name, a path or a message is shown as it is: never read as markup, never
folded or cut, its control characters escaped.
"""

import codecs
import contextlib
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from lnlib.data import Reading

Update = Callable[..., None]
"""Moves a bar: `update(done, label=None)`."""
WIDE = 100_000
"""Columns, where nobody's terminal gives a width to keep to."""
ASCII = str.maketrans({"→": "->", "…": "...", "×": "x", "−": "-", "–": "-", "·": "-", "±": "+-"})
"""What stands for a character of ours on a console that does not have it."""


def printable(text: object) -> str:
    """A text with control characters, marks that turn the direction of writing, and bytes that are no text
    as backslash escapes.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(text)
    )


def say(*lines: object) -> None:
    """Print lines on stdout."""
    for line in lines:
        print(printable(line))
    sys.stdout.flush()


def note(message: object) -> None:
    """Print one line on stderr, whatever white space the message holds; where nobody can hear it, go on."""
    with contextlib.suppress(OSError):
        print(printable(" ".join(str(message).split())), file=sys.stderr, flush=True)


@contextlib.contextmanager
def warnings_as_notes() -> Iterator[None]:
    """What the library warns of, as the store of a damaged run, as one line each on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_, **__: note(f"note: {message}")
        yield


def prepare_streams() -> None:
    """Let stdout and stderr take every character, whatever their encoding, and be there where closed."""
    codecs.register_error("lnlib", _stand_in)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="lnlib")


def _stand_in(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(ASCII)
    return text.encode("ascii", "backslashreplace").decode(), error.end


def discard_what_cannot_be_written() -> None:
    """Without this Python would try once more as it ends, and end with a message and a code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_json(value: object) -> None:
    """Print JSON in ASCII, which any console takes and which holds control characters only as escapes; NaN
    and infinity, which JSON does not have, as null.
    """
    from pydantic import TypeAdapter

    plain = TypeAdapter(Any).dump_python(value, mode="json", fallback=lambda number: number.item())  # NumPy's
    print(json.dumps(plain, indent=1, allow_nan=False).replace("\x7f", "\\u007f"), flush=True)


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows with the same columns, under the names that the first has; nothing for no rows."""
    from rich.cells import cell_len

    names = [printable(name.replace("_", " ")) for row in rows[:1] for name in row]
    lines = [names, *(["" if cell is None else printable(cell) for cell in row.values()] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())
    sys.stdout.flush()


def print_reading(reading: "Reading | None") -> None:
    """Print what was found where a reader's own pictures lie; nothing for other data."""
    if reading is not None:
        say(f"{reading.place}: {reading.layout}")
        print_table(reading.class_rows())
        print_table(reading.other_rows())


def console(**options: Any) -> "Console":
    """A rich console that reads no markup."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False, **options)


@contextlib.contextmanager
def progress() -> Iterator[Callable[..., Update]]:
    """Bars with the time left, on stderr so that stdout stays clean for scripts.

    Gives `begin(label, total=1.0, done=0.0)`, which shows a bar and gives `update(done, label=None)`.
    """
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    screen = console(stderr=True)
    if not screen.is_terminal:
        screen.width = WIDE
    wide_enough = Column(no_wrap=True, min_width=1)  # for a mark without a width of its own
    described = TextColumn("{task.description}", markup=False, table_column=wide_enough)
    columns = (described, BarColumn(), TaskProgressColumn())
    bars = Progress(*columns, TimeRemainingColumn(), console=screen)

    def begin(label: str, total: float = 1.0, done: float = 0.0) -> Update:
        bar = bars.add_task(printable(label), total=total, completed=done)  # type: ignore[arg-type]

        def update(done: float, label: str | None = None) -> None:
            bars.update(bar, completed=done, description=None if label is None else printable(label))

        return update

    bars.start()
    try:
        yield begin
    finally:
        with contextlib.suppress(OSError):  # where nobody can see a bar, the work is not lost with it
            bars.stop()
