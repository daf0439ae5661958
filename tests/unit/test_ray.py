"""A table on a Ray cluster of two real nodes: its numbers, and what a death of each kind costs."""

import inspect
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from lnlib import data
from lnlib.cli.app import app
from lnlib.errors import DataUnavailable, InvalidValue, LnlibError
from lnlib.papers import runner, tables
from lnlib.papers.executors import ray as cluster_module
from lnlib.papers.executors.here import Here
from lnlib.papers.executors.ray import Ray
from lnlib.papers.measured_step import measured
from lnlib.papers.record import CHECKPOINT
from lnlib.papers.request import Request
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store
from tests.ray_cluster import Node, cluster
from tests.stores import LONG, TINY, reached_in, same_numbers

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    # Ray leaves sockets and files to the end of a process.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
ROOT = Path(__file__).resolve().parents[2]
OFTEN = 0.5
"""Seconds between checkpoints."""
TABLE = {"rows": ("ce", "dmi"), "cells": ["p=0.5, n=all"], "seeds": [42, 43], "epochs": 2, "train_size": 200}


@pytest.fixture(scope="module")
def nodes():
    with cluster(2, ROOT, gpus=1) as started:
        yield started


@pytest.fixture(autouse=True)
def _as_it_is_written(monkeypatch):
    """Ray wants a generator function, which it cannot see beneath the checks of types in tests."""
    monkeypatch.setattr(cluster_module, "_train", inspect.unwrap(cluster_module._train))


def where_and_when(what: str) -> dict[str, tuple[int, int]]:
    """From a line of the bar, by node: the seed and the epoch of its run."""
    found = re.findall(r"(127\.0\.0\.\d): [^:]* seed (\d+), epoch (\d+)", what)
    return {node: (int(seed), int(epoch)) for node, seed, epoch in found}


def test_a_cluster_makes_the_numbers_of_one_process(nodes, tmp_path):
    here, there, said = Store(tmp_path / "here"), Store(tmp_path / "there"), []
    request = Request.parse("limit-table1", "digits", "cores", **TABLE)
    frame = tables.reproduce(request, here, executor=Here(1))
    made = tables.reproduce(request, there, lambda *told: said.append(told), executor=Ray(nodes[0].gcs))
    pd.testing.assert_frame_equal(made, frame, check_exact=True)
    for run in here.runs():
        spec = Spec.parse(run.spec)
        same_numbers(there.find(spec).history, here.find(spec).history)
    names = sorted(path.name for path in there.folder(spec).iterdir())
    assert names == ["best.pt", "run.json"] and not [*there.root.glob(".seen-*")]
    shares = [share for _, share in said]
    assert shares == sorted(shares) and shares[-1] == 1
    # The same from the command line, which finds all of it made.
    arguments = ["--rows", "ce", "--rows", "dmi", "--cells", "p=0.5, n=all", "--budget", "cores", "--json"]
    arguments += ["--seeds", "42", "--seeds", "43", "--epochs", "2", "--train-size", "200"]
    arguments += ["--ray", nodes[0].gcs, "--output", str(tmp_path)]
    result = CliRunner().invoke(
        app, ["reproduce", "limit-table1", *arguments], env={"LNLIB_RUNS": str(there.root)}
    )
    assert result.exit_code == 0 and "5 of 5 runs are made" in result.stderr, result.output


def refuse(run):
    raise InvalidValue("there is nothing to keep, got a run; try another")


def test_a_run_that_diverges_is_a_result_and_an_error_of_a_task_is_one_here(nodes, tmp_path):
    store, executor = Store(tmp_path), Ray(nodes[0].gcs)
    bad = Spec.parse(TINY | {"epochs": 9, "optimizer": "sgd", "optimizer_options": {"lr": 1e30}})
    found = runner.make([bad], store, executor=executor, keep=refuse)
    assert "not a finite number" in found[bad.fingerprint] == store.failure(bad)
    with pytest.raises(InvalidValue, match="nothing to keep"):
        runner.make([Spec.parse(TINY)], store, executor=executor, keep=refuse)
    (left,) = [run for run in store.runs() if run.status != "diverged"]
    assert left.status == "interrupted"
    with pytest.raises(LnlibError, match=r"no Ray cluster at '127\.0\.0\.2:1'"):
        runner.make([Spec.parse(TINY)], store, executor=Ray("127.0.0.2:1"))


def test_runs_share_a_gpu_by_their_memory_and_what_no_node_has_is_said(nodes, tmp_path, monkeypatch):
    specs = [Spec.parse(TINY | {"seed": seed}) for seed in (1, 2)]
    spec, (plain, other) = specs[0], (Store(tmp_path / "plain"), Store(tmp_path / "other"))
    needed = cluster_module.CONTEXT + cluster_module.SLACK * measured(spec, torch.device("cpu")).bytes
    assert needed == pytest.approx(0.6e9, rel=0.02)
    memory, begun = int(3.5 * needed), []
    monkeypatch.setattr(cluster_module, "_gpu_memory", lambda: memory)
    original = cluster_module._Cluster.__init__
    monkeypatch.setattr(
        cluster_module._Cluster, "__init__", lambda *all: (original(*all), begun.append(all[0]))[0]
    )
    told = []
    runner.make(
        specs, other, progress=lambda what, share: told.append(what), executor=Ray(nodes[0].gcs, 1, "auto")
    )
    (session,) = begun
    assert [*session.shares.values()] == [1 / 3]
    assert {node for what in told for node in where_and_when(what)} == {"127.0.0.3"}  # where the GPU is
    for spec in specs:
        same_numbers(other.find(spec).history, plain.obtain(spec).history)
    memory = 0
    for asked, said in (
        (Ray(nodes[0].gcs, 1, "auto"), "PyTorch sees no CUDA on a node that Ray counts GPUs of"),
        (Ray(nodes[0].gcs, 2), "takes: processors 2; the largest has processors 1"),
        (Ray(nodes[0].gcs, 1, 2.0), "processors 1, GPUs 2; the largest has processors 1, GPUs 1"),
    ):
        with pytest.raises(LnlibError, match=said):
            runner.make([Spec.parse(TINY | {"seed": 3})], other, executor=asked)


def test_data_that_a_node_lacks_is_fetched_there_once(tmp_path, monkeypatch):
    fetched, there = [], set()

    def load(name):
        if name not in there:
            raise DataUnavailable(name)

    monkeypatch.setenv("LNLIB_DATA", str(tmp_path))
    monkeypatch.setattr(cluster_module, "load", load)
    monkeypatch.setattr(data, "fetch", lambda name: (fetched.append(name), there.add(name)))
    for _ in range(2):
        cluster_module._have_data("mnist")
    assert fetched == ["mnist"]
    with pytest.raises(DataUnavailable):
        cluster_module._have_data("folder:/nowhere")


def test_a_killed_driver_leaves_checkpoints_from_which_the_same_command_goes_on(nodes, tmp_path):
    spec = Spec.parse(LONG)
    driver = (
        "import sys; from lnlib.papers import runner; from lnlib.papers.executors.ray import Ray\n"
        "from lnlib.papers.spec import Spec; from lnlib.papers.store import Store\n"
        "import json; address, root, fields = sys.argv[1:]\n"
        f"runner.make([Spec.parse(json.loads(fields))], Store(root), executor=Ray(address, 1, 0, {OFTEN}))"
    )
    arguments = [sys.executable, "-c", driver, nodes[0].gcs, str(tmp_path), spec.model_dump_json()]
    path = Store(tmp_path).folder(spec) / CHECKPOINT
    with subprocess.Popen(arguments, stderr=subprocess.PIPE) as process:
        for _ in range(1200):
            if path.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    assert path.exists()
    reached, epochs = reached_in(path, spec), []
    found = Store(tmp_path).obtain(spec, on_epoch=lambda epoch: epochs.append(epoch.epoch))
    assert 0 < reached == epochs[0] - 1 and epochs[-1] == spec.epochs
    same_numbers(found.history, Store(tmp_path / "whole").obtain(spec).history)


def test_a_worker_and_then_a_node_that_die_cost_only_what_their_last_checkpoint_lacks(
    nodes: list[Node], tmp_path, monkeypatch
):
    """On nodes that do not see the store's folder; the last test, as it leaves one node."""
    original, heard = cluster_module._Cluster.__init__, cluster_module._Cluster._heard
    store, victim = Store(tmp_path / "there"), nodes[1]
    specs = {seed: Spec.parse(LONG | {"seed": seed}) for seed in (1, 2, 3)}
    killed: list[tuple[int, int]] = []
    told: list[tuple[int, int]] = []  # an epoch and that of the run's checkpoint here, whichever attempt's

    def unseen(self, *arguments):
        original(self, *arguments)
        self.sign.unlink()

    def noted(self, *arguments):
        for event in heard(self, *arguments):
            if event.kind == "trains":
                told.append((event.epoch, reached_in(store.folder(event.spec) / CHECKPOINT, event.spec)))
            yield event

    monkeypatch.setattr(cluster_module._Cluster, "__init__", unseen)
    monkeypatch.setattr(cluster_module._Cluster, "_heard", noted)

    def progress(what, share):
        seed, epoch = where_and_when(what).get(victim.address, (0, 0))
        reached = reached_in(store.folder(specs[seed]) / CHECKPOINT, specs[seed]) if seed else 0
        if len(killed) < 2 and reached and (not killed or epoch > killed[0][1] or seed != killed[0][0]):
            killed.append((seed, reached))
            if len(killed) == 1:
                (worker,) = victim.workers()
                os.kill(worker, signal.SIGKILL)
            else:
                victim.kill()

    runner.make([*specs.values()], store, progress=progress, executor=Ray(nodes[0].gcs, 1, 0, OFTEN))
    assert len(killed) == 2
    # What comes after a checkpoint, on its way or from the next attempt, is of later epochs.
    assert all(epoch > reached for epoch, reached in told), told
    plain = Store(tmp_path / "here")
    for spec in specs.values():
        same_numbers(store.find(spec).history, plain.obtain(spec).history)
