"""The labs' worker thread: results, progress, stopping, stale results and errors."""

import threading

import pytest

from lnlib.course.labs.worker import Progress, Report, Worker

PATIENCE = 10.0


class Calls:
    """A worker's callbacks that keep what they are called with."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.errors: list[Exception] = []
        self.progress: list[Progress] = []
        self.stopped = 0

    def count_stop(self) -> None:
        self.stopped += 1

    def worker(self, **options: object) -> Worker[object]:
        return Worker(self.done.append, self.errors.append, self.progress.append, self.count_stop, **options)


class Steps:
    """A job that takes a step whenever the test allows one, and counts the steps it took."""

    def __init__(self, total: int) -> None:
        self.total, self.taken = total, 0
        self.allowed = threading.Semaphore(0)
        self.started = threading.Event()
        self.reported = threading.Semaphore(0)

    def __call__(self, report: Report) -> int:
        self.started.set()
        for step in range(1, self.total + 1):
            assert self.allowed.acquire(timeout=PATIENCE)
            self.taken = step
            report(step, self.total)
            self.reported.release()
        return self.taken

    def allow(self, steps: int) -> None:
        self.allowed.release(steps)


def test_a_job_delivers_its_result() -> None:
    calls = Calls()
    worker = calls.worker()
    worker.start(lambda report: 42)
    assert worker.wait(PATIENCE)
    assert calls.done == [42]
    assert not worker.running
    assert (calls.errors, calls.stopped) == ([], 0)


def test_the_caller_goes_on_while_the_job_runs() -> None:
    calls, job = Calls(), Steps(1)
    worker = calls.worker()
    worker.start(job)
    assert job.started.wait(PATIENCE)
    assert worker.running
    assert not worker.wait(0.0)
    job.allow(1)
    assert worker.wait(PATIENCE)
    assert calls.done == [1]


def test_progress_tells_share_and_time_left() -> None:
    times = iter([100.0, 102.0, 104.0, 106.0, 108.0])
    calls, job = Calls(), Steps(4)
    worker = calls.worker(interval=0.0, clock=lambda: next(times))
    job.allow(4)
    worker.start(job)
    assert worker.wait(PATIENCE)
    assert [progress.fraction for progress in calls.progress] == [0.25, 0.5, 0.75, 1.0]
    assert [progress.seconds_left for progress in calls.progress] == [6.0, 4.0, 2.0, 0.0]


def test_progress_before_the_first_step() -> None:
    assert Progress(0, 10, 3.0).seconds_left == float("inf")
    assert Progress(0, 0, 0.0).fraction == 0.0
    assert Progress(7, 5, 1.0).fraction == 1.0


def test_progress_is_throttled() -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 0.01
        return now[0]

    calls, job = Calls(), Steps(100)
    worker = calls.worker(interval=0.1, clock=clock)
    job.allow(100)
    worker.start(job)
    assert worker.wait(PATIENCE)
    assert 9 <= len(calls.progress) <= 11
    assert calls.done == [100]


def test_stop_ends_the_job_at_its_next_step_and_drops_its_result() -> None:
    calls, job = Calls(), Steps(1000)
    worker = calls.worker(interval=0.0)
    worker.start(job)
    job.allow(3)
    for _ in range(3):
        assert job.reported.acquire(timeout=PATIENCE)
    worker.stop()
    assert not worker.running
    assert calls.stopped == 1
    job.allow(1000)
    assert worker.wait(PATIENCE)
    assert job.taken == 4, "the step under way ends, the next does not begin"
    assert (calls.done, calls.errors) == ([], [])
    assert [progress.done for progress in calls.progress] == [1, 2, 3]


def test_stop_without_a_job_does_nothing() -> None:
    calls = Calls()
    worker = calls.worker()
    worker.stop()
    worker.start(lambda report: 1)
    assert worker.wait(PATIENCE)
    worker.stop()
    assert (calls.done, calls.stopped) == ([1], 0)


def test_a_job_that_never_reports_has_its_stale_result_dropped() -> None:
    calls, gate, ended = Calls(), threading.Event(), threading.Event()

    def deaf(report: Report) -> str:
        assert gate.wait(PATIENCE)
        ended.set()
        return "stale"

    worker = calls.worker()
    worker.start(deaf)
    stale = worker._thread
    worker.start(lambda report: "fresh")
    assert worker.wait(PATIENCE)
    gate.set()
    assert ended.wait(PATIENCE)
    assert stale is not None
    stale.join(PATIENCE)
    assert calls.done == ["fresh"]
    assert calls.stopped == 1


def test_a_stale_error_is_dropped_too() -> None:
    calls, gate = Calls(), threading.Event()

    def failing(report: Report) -> None:
        assert gate.wait(PATIENCE)
        raise ValueError("stale")

    worker = calls.worker()
    worker.start(failing)
    worker.stop()
    gate.set()
    assert worker.wait(PATIENCE)
    assert (calls.errors, worker.error) == ([], None)


def test_an_error_is_kept_handed_over_and_raised_by_wait() -> None:
    calls = Calls()
    worker = calls.worker()

    def failing(report: Report) -> None:
        raise ValueError("no such luck")

    worker.start(failing)
    with pytest.raises(ValueError, match="no such luck"):
        worker.wait(PATIENCE)
    assert [str(error) for error in calls.errors] == ["no such luck"]
    assert not worker.running
    assert calls.errors[0].__traceback__ is not None
    worker.start(lambda report: "again")
    assert worker.wait(PATIENCE)
    assert (worker.error, calls.done) == (None, ["again"])


def test_a_job_that_catches_exceptions_still_stops() -> None:
    calls, job = Calls(), Steps(1)

    def stubborn(report: Report) -> str:
        try:
            job(report)
        except Exception:
            return "went on"
        return "finished"

    worker = calls.worker()
    worker.start(stubborn)
    assert job.started.wait(PATIENCE)
    worker.stop()
    job.allow(1)
    assert worker.wait(PATIENCE)
    assert calls.done == []


def test_the_thread_does_not_keep_python_alive_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    calls = Calls()
    worker = calls.worker()

    def failing(report: Report) -> None:
        assert threading.current_thread().daemon
        raise RuntimeError("kept, not printed")

    worker.start(failing)
    with pytest.raises(RuntimeError, match="kept"):
        worker.wait(PATIENCE)
    assert capfd.readouterr() == ("", "")
