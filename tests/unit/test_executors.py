"""Where runs train: in what order they are started, what a death costs, and that the numbers are the same."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from lnlib.cli.app import app
from lnlib.cli.options import as_command, takes_spec
from lnlib.errors import InvalidValue, LnlibError
from lnlib.papers import runner, tables
from lnlib.papers.executors import Event
from lnlib.papers.executors.here import Here
from lnlib.papers.executors.processes import Processes
from lnlib.papers.presets import TABLES
from lnlib.papers.record import CHECKPOINT
from lnlib.papers.request import Request
from lnlib.papers.run_folder import locked
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store
from tests.stores import LONG, TINY, reached_in, same_numbers

ROOT = Path(__file__).resolve().parents[2]


def small_table(rows=("ce", "dmi")) -> Request:
    """Five runs in two stages: the first seed's choose dmi's learning rate, and begin from ce's."""
    options = {"rows": rows, "cells": ["p=0.5, n=all"], "seeds": [42, 43], "epochs": 2, "train_size": 200}
    return Request.parse("limit-table1", "digits", "cores", **options)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The table made in this process, by one thread."""
    store = Store(tmp_path_factory.mktemp("plain"))
    return tables.reproduce(small_table(), store, executor=Here(1)), store


# What is started when: by an executor that trains nothing.


class Told:
    """Hears what is started; gives the events of a script, and what is not in it ends at once."""

    def __init__(self, places=1, script=None):
        self.places, self.script, self.order = places, script or (lambda spec: "ended"), []

    @contextmanager
    def session(self, work):
        self.store, self.started = work.store, []
        yield self

    def start(self, spec):
        self.order.append((spec.method, spec.seed))
        self.started.append(spec)

    def events(self):
        spec = self.started.pop(0)
        kind = self.script(spec)
        if kind == "ended":
            self.store.obtain(spec)
        yield Event(kind, spec, "somewhere")


def specs(**changes):
    return Spec.parse(TINY | changes)


def test_the_longest_runs_begin_first_and_before_all_what_others_begin_from(tmp_path):
    told = Told(places=2)
    # dmi costs its own three epochs and, first, the three of the cross-entropy run that it begins from: more
    # than the five of another run.
    wanted = [specs(seed=1), specs(seed=2, epochs=5), specs(seed=3, method="dmi", epochs=3)]
    runner.make(wanted, Store(tmp_path), executor=told)
    assert told.order == [("cross-entropy", 3), ("cross-entropy", 2), ("dmi", 3), ("cross-entropy", 1)]
    alone = Told(places=1)
    runner.make(wanted, Store(tmp_path / "alone"), executor=alone)
    assert alone.order == [("cross-entropy", n) for n in (1, 2, 3)] + [("dmi", 3)]


def test_a_run_that_another_process_has_locked_comes_last(tmp_path):
    store, told, wanted = Store(tmp_path), Told(), [specs(seed=seed) for seed in (1, 2, 3)]
    store.obtain(wanted[0])
    lock = locked(store.folder(wanted[1]))
    lock.__enter__()

    def script(spec):
        if spec.seed == 3:
            lock.__exit__(None, None, None)
        return "ended"

    told.script = script
    runner.make(wanted, store, executor=told)
    assert [seed for _, seed in told.order] == [3, 2]


def test_a_run_whose_process_dies_is_begun_again_and_given_up_after_the_fourth_time(tmp_path):
    deaths = []

    def dies(spec):
        deaths.append(spec.seed)
        return "died" if len(deaths) in (1, 2, 3) else "ended"

    told = Told(script=dies)
    runner.make([specs()], Store(tmp_path), executor=told)
    assert len(told.order) == 4
    with pytest.raises(LnlibError, match="died 4 times in the same epoch, the last time on somewhere; look"):
        runner.make([specs(seed=1)], Store(tmp_path), executor=Told(script=lambda spec: "died"))


def test_what_begins_from_a_run_that_diverged_is_not_begun(tmp_path):
    diverging = {"optimizer": "sgd", "optimizer_options": {"lr": 1e30}, "epochs": 9}
    dmi = specs(method="dmi", source_options=diverging)
    found = runner.make([dmi, specs(seed=1)], Store(tmp_path))
    (source,) = dmi.sources().values()
    assert found.keys() == {source.fingerprint, dmi.fingerprint}
    again = Told()
    assert runner.make([dmi, specs(seed=1)], Store(tmp_path), executor=again) == found and again.order == []


# Processes.


def test_two_workers_make_the_numbers_of_one_process(plain, tmp_path):
    frame, store = plain
    said = []
    made = tables.reproduce(
        small_table(), Store(tmp_path), lambda *told: said.append(told), executor=Processes(2, 1)
    )
    pd.testing.assert_frame_equal(made, frame, check_exact=True)
    assert [run.fingerprint for run in Store(tmp_path).runs()] == [run.fingerprint for run in store.runs()]
    shares = [share for _, share in said]
    assert shares == sorted(shares) and shares[-1] == 1
    assert any("worker 1: " in what for what, _ in said)


def test_a_worker_that_is_killed_is_replaced_and_its_run_goes_on_from_the_checkpoint(tmp_path):
    spec, store = Spec.parse(LONG | {"epochs": 250}), Store(tmp_path)
    reached, attempts = [], []

    def progress(what, share):
        if not (found := re.search(r"epoch (\d+)", what)):
            return attempts.append([])
        attempts[-1].append(int(found[1]))
        if not reached and (epoch := reached_in(store.folder(spec) / CHECKPOINT, spec)):
            reached.append(epoch)
            for pid in children(os.getpid()):
                os.kill(pid, signal.SIGKILL)

    runner.make([spec], store, progress=progress, executor=Processes(1, 1))
    assert store.find(spec) is not None
    _, again = filter(None, attempts)  # what was on its way when it was killed belongs to the first
    assert min(again) > reached[0] > 0


def children(parent: int) -> list[int]:
    """The processes that a process has started by spawning."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            line = (stat.parent / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == parent and b"spawn_main" in line:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_with_the_command_end_all_its_workers(number, tmp_path):
    long = ["--rows", "ce", "--seeds", "1", "--seeds", "2", "--cells", "p=0.5, n=all", "--epochs", "100000"]
    command = [sys.executable, "-m", "lnlib", "reproduce", "limit-table1", *long, "--workers", "2"]
    environment = os.environ | {"LNLIB_DEVICE": "cpu", "LNLIB_RUNS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, start_new_session=True, **options) as process:
        try:
            wait_for(lambda: len([*tmp_path.glob("*/checkpoint.pt")]) == 2)
            workers = children(process.pid)
            assert len(workers) == 2
            # Ctrl-C reaches the whole group, a kill the command alone.
            (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
            _, said = process.communicate(timeout=60)
            wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
        finally:
            process.kill()  # else a test that fails would wait for it
    if number == signal.SIGINT:
        assert process.returncode == 130 and said.endswith("interrupted\n") and "Traceback" not in said
    # What they held is free again, and their work kept.
    assert [run.status for run in Store(tmp_path).runs()] == ["interrupted"] * 2


def wait_for(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come about in five minutes")


def test_four_processes_on_one_folder_share_the_table_and_train_nothing_twice(plain, tmp_path):
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        parts = [*pool.map(share_of_the_table, [tmp_path] * 4)]
    for frame, _ in parts:
        pd.testing.assert_frame_equal(frame, plain[0], check_exact=True)
    trained = [epoch for _, epochs in parts for epoch in epochs]
    runs = Store(tmp_path).runs()
    assert len(trained) == len({*trained}) == 2 * len(runs) and len(runs) == 5


def share_of_the_table(root: Path):
    """The table, and which epochs of which runs this process has trained."""
    epochs, training = [], Store.training

    def heard(self, spec, *args, **options):
        inner = training(self, spec, *args, **options)
        while True:
            try:
                epoch = next(inner)
            except StopIteration as ended:
                return ended.value
            epochs.append((spec.fingerprint, epoch.epoch))
            yield epoch

    Store.training = heard
    return tables.reproduce(small_table(), Store(root), executor=Here(1)), epochs


def test_executors_refuse_what_cannot_be(tmp_path, monkeypatch):
    monkeypatch.setenv("LNLIB_RUNS", str(tmp_path))
    with pytest.raises(InvalidValue, match="workers must be at least 1, got 0"):
        Processes(0)
    for options, said in (
        (["--workers", "0"], "workers must be at least 1, got 0"),
        (["--threads", "0"], "threads must be 1 to 1024, got 0"),
        (["--workers", "2", "--ray", "local"], "--workers is for this machine"),
        (["--gpus-per-run", "0.5"], "--gpus-per-run is for --ray"),
        (["--gpus-per-run", "auto"], "--gpus-per-run is for --ray, got auto"),
        (["--ray", "local", "--gpus-per-run", "half"], "must be a number or auto, got 'half'"),
        (["--ray", "local", "--gpus-per-run", "nan"], "must be a share or whole, got nan"),
        (["--ray", "local", "--gpus-per-run", "1.5"], "must be a share or whole, got 1.5"),
    ):
        result = CliRunner().invoke(app, ["reproduce", "limit-table1", *options])
        assert result.exit_code == 2 and said in result.stderr, result.output


# Commands for a batch system.


def specs_of(lines: list[str]) -> list[str]:
    """The fingerprints of the runs that commands make."""
    found, stub = [], typer.Typer()

    @stub.command()
    @takes_spec()
    def train(spec):
        found.append(spec.fingerprint)

    for line in lines:
        words = shlex.split(line)
        assert words[:2] == ["lnlib", "train"]
        result = CliRunner().invoke(stub, words[2:])
        assert result.exit_code == 0, result.output
    return found


@pytest.mark.parametrize("table", [name for name, one in TABLES.items() if "paper" in one.protocols])
def test_a_command_makes_the_run_that_it_is_for(table):
    request = Request.parse(table, "digits", "paper")
    first = {spec.method: spec for spec in request.specs()}.values()
    assert specs_of([as_command(spec) for spec in first]) == [spec.fingerprint for spec in first]


def test_the_commands_of_a_table_are_listed_with_what_others_begin_from_first(plain, tmp_path, monkeypatch):
    store, request = Store(tmp_path), small_table()
    monkeypatch.setenv("LNLIB_RUNS", str(tmp_path))
    arguments = ["--rows", "ce", "--rows", "dmi", "--cells", "p=0.5, n=all", "--budget", "cores"]
    arguments += ["--seeds", "42", "--seeds", "43", "--epochs", "2", "--train-size", "200"]

    def listed():
        result = CliRunner().invoke(
            app, ["reproduce", "limit-table1", *arguments, "--list-commands", "--json"]
        )
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        return specs_of(found["commands"]), found["first"]

    (ce,), dmi = (
        [spec for spec in request.specs() if spec.method == name] for name in ("cross-entropy", "dmi")
    )
    names, first = listed()
    assert names[:first] == [ce.fingerprint] and {*names[first:]} == {spec.fingerprint for spec in dmi}
    for spec in (ce, *dmi):
        store.obtain(spec)
    # Now that the first seed has chosen, the other one follows.
    names, first = listed()
    chosen = tables.planned(request, request.grids, store)
    assert {*names} | {ce.fingerprint, *(spec.fingerprint for spec in dmi)} == {
        spec.fingerprint for spec in runner.in_order(chosen)
    }
    assert first == 1 and len(names) == 2
    runner.make(request.specs(), store)
    frame = tables.reproduce(request, store)
    pd.testing.assert_frame_equal(frame, plain[0], check_exact=True)
    for run in plain[1].runs():
        spec = Spec.parse(run.spec)
        same_numbers(store.find(spec).history, plain[1].find(spec).history)
    assert listed() == ([], 0)
