"""The errors that lnlib raises on purpose.

Each message is one sentence that names the value, what was expected and the way out.
The command line prints it on one line and exits with 2.
"""

import difflib
from collections.abc import Iterable


class LnlibError(Exception):
    """Something the caller can put right; the message says how."""


class InvalidValue(LnlibError, ValueError):
    """A value outside what the function accepts."""


class UnknownName(LnlibError, ValueError):
    """A name that is not among the ones that exist; the message names the nearest."""


class DataUnavailable(LnlibError, RuntimeError):
    """A data set that is not on disk, is damaged, or cannot be fetched."""


class CheckpointError(LnlibError, RuntimeError):
    """A checkpoint that is damaged or belongs to another training run."""


class TrainingDiverged(LnlibError, ArithmeticError):
    """A run whose loss is no longer a finite number; its last checkpoint is as it was."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownName:
    """The error for an unknown `name` of a `kind` ("data set", "method"), naming the nearest known one."""
    options = sorted(known)
    nearest = difflib.get_close_matches(str(name).lower(), options, n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return UnknownName(f"unknown {kind} {shown(name)}: {hint}known are {', '.join(options)}")


def shown(value: object) -> str:
    """A value as an error shows it: in one short line."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a whole number of more than 4300 digits
        return "a number beyond all measure"
    return text if len(text) < 80 else f"{text[:78]} …"


def cause_of(error: Exception) -> str:
    """The last line of what went wrong: torchvision lists one line for each mirror it tried."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.strip().splitlines()[-1].strip("<>")
