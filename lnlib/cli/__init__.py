"""The `lnlib` command; only its door is here, so that Ctrl-C is heard while the rooms are still imported."""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """What the `lnlib` command runs."""
    # A job in the background is deaf to Ctrl-C, and stays so.
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heard:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from lnlib.cli.app import app

        app()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        if heard:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C, while Python ends, says nothing


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; in the midst of an import, end at once.

    NumPy and PyTorch answer an interrupt in their import with an abort, an error of any kind, or not at all.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            show_cursor = b"\x1b[?25h" if os.isatty(2) else b""  # which a bar may have hidden
            os.write(2, show_cursor + b"interrupted\n")
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt
