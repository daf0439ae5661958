"""A passing line of text for training that takes long, where a person watches: in a terminal, or in a
notebook whose page is open. It goes with the training, and no notebook is saved with it.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from lnlib.training.state import OnStep, State

PATIENCE = 2.0
"""Seconds before the line is shown."""
PAUSE = 0.2
"""Seconds between two lines, at least."""
Write = Callable[[str], None]
"""Replaces the line; by an empty one at the end."""


@contextmanager
def watched(states: Sequence[State]) -> Iterator[None]:
    """Within, how far these have come is told, if it takes longer than two seconds."""
    write = _watcher()
    if write is None:
        yield
        return
    line = _Line(states, write)
    before = [state.on_step for state in states]
    for state in states:
        state.on_step = partial(line.step, state, state.on_step)
    try:
        yield
    finally:
        for state, on_step in zip(states, before, strict=True):
            state.on_step = on_step
        line.end()


class _Line:
    def __init__(self, states: Sequence[State], write: Write) -> None:
        self.write = write
        self.began = self.last = time.monotonic()
        self.begun = sum(state.epoch for state in states)
        self.total = sum(state.settings.epochs for state in states)
        self.shares = {id(state): float(state.epoch) for state in states}
        self.shown = False

    def step(self, state: State, then: OnStep | None, done: int, batches: int) -> None:
        self.shares[id(state)] = state.epoch + done / batches
        now = time.monotonic()
        if now - self.began > PATIENCE and now - self.last > PAUSE:
            done_here = sum(self.shares.values()) - self.begun
            left = (now - self.began) * (self.total - self.begun - done_here) / done_here
            epochs = f"epoch {state.epoch + 1} of {state.settings.epochs}"
            self.write(f"training: {epochs}, about {left:.0f} s left")
            self.last, self.shown = now, True
        if then:
            then(done, batches)

    def end(self) -> None:
        if self.shown:
            self.write("")


def _watcher() -> Write | None:
    """Where a person watches this thread: a notebook's page, a terminal, or None where nobody does."""
    if threading.current_thread() is not threading.main_thread():  # labs have bars of their own
        return None
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and hasattr(shell, "kernel"):
        # A page can be asked for input; what runs a notebook to save or test it cannot.
        asks = shell.get_parent().get("content", {}).get("allow_stdin", False)
        return _in_notebook() if asks else None
    return _in_terminal if _is_terminal() else None


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _in_terminal(text: str) -> None:
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()


def _in_notebook() -> Write:
    from IPython.display import display

    shown: list[Any] = []

    def write(text: str) -> None:
        bundle = {"text/plain": text} if text else {}
        if shown:
            shown[0].update(bundle, raw=True)
        else:
            shown.append(display(bundle, raw=True, display_id=True))  # type: ignore[no-untyped-call]

    return write
