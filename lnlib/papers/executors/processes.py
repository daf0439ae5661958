"""Several runs at a time, each in a process of its own on this machine.

Processes are started anew, not forked: PyTorch's threads do not survive a fork. All train in the store's
folder, under its locks; a pipe to each carries runs there and events back, and its end tells of a death.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread

import torch

from lnlib.errors import InvalidValue, LnlibError
from lnlib.papers.executors import Event, Work
from lnlib.papers.executors.here import trained
from lnlib.papers.spec import Spec

EVERY = 0.3
"""Seconds between two tellings of how far a run is."""
PATIENCE = 2.0
"""Seconds that a process has to end before it is killed."""


@dataclass(frozen=True)
class Processes:
    """So many processes with so many threads each: this process's shared out among them unless given."""

    workers: int
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InvalidValue(f"workers must be at least 1, got {self.workers}; try --workers 2")

    @contextmanager
    def session(self, work: Work) -> Iterator["_Pool"]:
        pool = _Pool(work, self.workers, self.threads or max(1, torch.get_num_threads() // self.workers))
        try:
            yield pool
        finally:
            pool.close()


@dataclass
class _Worker:
    process: BaseProcess
    pipe: "Connection[object, object]"
    name: str
    spec: Spec | None = None


class _Pool:
    def __init__(self, work: Work, places: int, threads: int) -> None:
        self.work, self.places, self.threads = work, places, threads
        self.workers: list[_Worker] = []

    def start(self, spec: Spec) -> None:
        worker = next((worker for worker in self.workers if worker.spec is None), None) or self._new()
        worker.spec = spec
        with suppress(OSError):  # it has died since its last run, which `events` will hear
            worker.pipe.send(spec)

    def _new(self) -> _Worker:
        taken = {worker.name for worker in self.workers}
        name = next(name for n in range(1, 1 + self.places) if (name := f"worker {n}") not in taken)
        ours, theirs = get_context("spawn").Pipe()
        work = replace(self.work, on_wait=None)
        process = get_context("spawn").Process(target=_serve, args=(theirs, work, self.threads), daemon=True)
        process.start()
        theirs.close()  # else its end would not be heard
        self.workers.append(worker := _Worker(process, ours, name))
        return worker

    def events(self) -> Iterator[Event]:
        by_pipe = {worker.pipe: worker for worker in self.workers if worker.spec}
        for pipe in wait([*by_pipe], timeout=1.0):
            worker = by_pipe[pipe]  # type: ignore[index]
            assert worker.spec is not None
            try:
                heard = worker.pipe.recv()
            except (EOFError, OSError):
                self.workers.remove(worker)
                _end([worker])
                yield Event("died", worker.spec, worker.name)
                continue
            if isinstance(heard, BaseException):
                raise heard
            if isinstance(heard, Spec):
                if self.work.on_wait:
                    self.work.on_wait(heard)
                continue
            assert isinstance(heard, Event)
            if heard.kind == "ended":
                worker.spec = None
            yield heard._replace(where=worker.name)

    def close(self) -> None:
        _end(self.workers)


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(PATIENCE)
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()


def _serve(pipe: "Connection[object, object]", work: Work, threads: int) -> None:
    """What a process does: trains the runs that come through the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C comes to the whole group; our parent ends us
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    work = replace(work, on_wait=pipe.send)
    while isinstance(spec := pipe.recv(), Spec):
        told = 0.0
        try:
            for event in trained(spec, work):
                if event.kind == "ended" or time.monotonic() - told >= EVERY:
                    pipe.send(event)
                    told = time.monotonic()
        except LnlibError as error:
            pipe.send(error)
        except Exception as error:  # some cannot be sent
            pipe.send(RuntimeError(f"{spec.label}: {type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
