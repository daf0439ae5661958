"""A worker thread for the labs: a long job reports progress, stops at any step, is dropped when overtaken.

It knows nothing of widgets, training or figures: a lab gives it a function to run and functions to call.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Report = Callable[[int, int], None]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """How far a job is: steps done, steps in all, and the seconds that the steps done have taken."""

    done: int
    total: int
    seconds: float

    @property
    def fraction(self) -> float:
        """The share of the steps that is done, in [0, 1]."""
        return min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def seconds_left(self) -> float:
        """What the remaining steps take if they are as fast as those done; infinite before the first."""
        return self.seconds * (self.total - self.done) / self.done if self.done else float("inf")


class _Stopped(BaseException):
    """What `report` raises in a stopped job; no Exception, lest a job take it for a failure of its own."""


def _ignore(*_: object) -> None:
    pass


class Worker(Generic[Result]):
    """Runs one job at a time in a daemon thread.

    A job is a function of `report`: it calls `report(steps done, steps in all)` after every step, which
    raises inside a job that has been stopped. The thread calls `on_progress` at most once in `interval`
    seconds, and at the end `on_done` or `on_error`; a job that `stop` or a newer `start` has overtaken calls
    neither. `stop` itself calls `on_stopped`, at once.
    """

    def __init__(
        self,
        on_done: Callable[[Result], None],
        on_error: Callable[[Exception], None] = _ignore,
        on_progress: Callable[[Progress], None] = _ignore,
        on_stopped: Callable[[], None] = _ignore,
        interval: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_done, self.on_error = on_done, on_error
        self.on_progress, self.on_stopped = on_progress, on_stopped
        self.interval, self.clock = interval, clock
        self.error: Exception | None = None
        self._generation = 0
        self._running = False
        self._thread: threading.Thread | None = None
        # Held while a callback runs: once `stop` returns, no callback of the old job is still at work.
        self._lock = threading.RLock()

    @property
    def running(self) -> bool:
        """Whether a job is running that has not been stopped."""
        return self._running

    def start(self, job: Callable[[Report], Result]) -> None:
        """Run `job` in a new thread; a job still running is stopped."""
        self.stop()
        with self._lock:
            self.error, self._running = None, True
            self._generation += 1
            self._thread = threading.Thread(target=self._run, args=(job, self._generation), daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Have the running job end at its next step and drop its result; without one, nothing happens."""
        with self._lock:
            if not self._running:
                return
            self._running = False
            self._generation += 1
            self.on_stopped()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds for the thread to end; whether it has. Raises the job's error."""
        if self._thread is not None:
            self._thread.join(timeout)
        if self.error is not None:
            raise self.error
        return self._thread is None or not self._thread.is_alive()

    def _run(self, job: Callable[[Report], Result], generation: int) -> None:
        began = self.clock()
        last = float("-inf")

        def report(done: int, total: int) -> None:
            nonlocal last
            if generation != self._generation:
                raise _Stopped
            now = self.clock()
            if now - last >= self.interval:
                last = now
                progress = Progress(done, total, now - began)
                self._call(generation, lambda: self.on_progress(progress), last=False)

        try:
            result = job(report)
        except _Stopped:
            return
        except Exception as error:
            failure = error
            self._call(generation, lambda: self._fail(failure))
        else:
            self._call(generation, lambda: self.on_done(result))

    def _fail(self, error: Exception) -> None:
        self.error = error
        self.on_error(error)

    def _call(self, generation: int, callback: Callable[[], None], last: bool = True) -> None:
        with self._lock:
            if generation == self._generation:
                self._running = not last
                callback()
