"""The store: nothing trained twice, nothing lost, nothing damaged goes unnoticed."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lnlib.catalog import METHODS, Entry
from lnlib.device import processor
from lnlib.errors import LnlibError, TrainingDiverged, UnknownName
from lnlib.methods import CrossEntropy
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store, StoredRun
from tests.stores import Interrupted, interrupt_after, same_numbers

SMALL = {"net_options": {"width": 8, "depth": 1}, "epochs": 2, "train_size": 100}


def files(store: Store, spec: Spec) -> list[str]:
    return sorted(path.name for path in store.folder(spec).iterdir())


def test_the_store_trains_once_and_returns_what_it_has(tmp_path):
    store, spec = Store(tmp_path), Spec.parse(SMALL)
    assert store.find(spec) is None and not list(tmp_path.iterdir())
    trained = []
    first = store.obtain(spec, on_epoch=lambda epoch: trained.append(epoch.epoch))
    again = store.obtain(spec, on_epoch=lambda epoch: trained.append(epoch.epoch))
    assert trained == [1, 2]
    pd.testing.assert_frame_equal(first.history, again.history, check_exact=True)
    assert again.circumstances.device.startswith("CPU") and again.circumstances.mode == "solo"
    assert files(store, spec) == ["best.pt", "run.json"]
    stored = json.loads((store.folder(spec) / "run.json").read_text())
    assert Spec.parse(stored["spec"]).fingerprint == spec.fingerprint


def test_the_processor_is_stored_with_every_run_and_older_runs_lack_it(tmp_path):
    store, spec = Store(tmp_path), Spec.parse(SMALL)
    made = store.obtain(spec).circumstances
    assert made.instructions == torch.backends.cpu.get_cpu_capability()
    assert made.processor == processor()
    path = store.folder(spec) / "run.json"
    stored = json.loads(path.read_text())
    del stored["circumstances"]["processor"], stored["circumstances"]["instructions"]
    path.write_text(json.dumps(stored))
    older = store.find(spec).circumstances
    assert (older.processor, older.instructions, older.device) == ("", "", made.device)


def test_the_best_weights_are_kept(tmp_path):
    spec = Spec.parse(SMALL | {"epochs": 4})
    result = Store(tmp_path).obtain(spec)
    assert result.best["validation_accuracy"] == result.history["validation_accuracy"].max()
    run = spec.new_run().set_weights(result.best_states())
    test = run.task.test
    logits = run.predict(run.task.dataset.normalize(test.images))
    assert (logits.argmax(1) == test.labels).double().mean().item() == result.best["test_accuracy"]
    assert result.test_size == len(test)


def test_where_only_validation_is_measured_the_test_set_is_seen_by_the_chosen_weights_alone(tmp_path):
    spec = Spec.parse(SMALL | {"epochs": 6, "evaluate_every": 2})
    whole, frugal = (
        Store(tmp_path).obtain(one) for one in (spec, spec.model_copy(update={"measured": "validation"}))
    )
    every = [name for name in whole.history if not name.endswith("seconds")]
    pd.testing.assert_series_equal(whole.best[every], frugal.best[every])
    pd.testing.assert_series_equal(whole.history["validation_loss"], frugal.history["validation_loss"])
    assert frugal.history["validation_accuracy"].notna().sum() == 3
    for name in ("test_accuracy", "test_loss", "train_accuracy", "clean_accuracy", "memorized_bits"):
        assert frugal.history[name].notna().sum() == 1, name
    assert np.isnan(frugal.last) and not np.isnan(whole.last)
    listed = [Store(tmp_path).named(run.spec.fingerprint).numbers for run in (whole, frugal)]
    assert all(listed[0][name] == listed[1][name] for name in ("best_epoch", "test_accuracy", "test_size"))


def test_the_store_continues_what_was_interrupted(tmp_path):
    spec = Spec.parse(SMALL | {"epochs": 5})
    whole = Store(tmp_path / "whole").obtain(spec)
    store, seen = Store(tmp_path / "half"), []
    with pytest.raises(Interrupted):
        store.obtain(spec, checkpoint_seconds=0, on_epoch=interrupt_after(3))
    assert [stored.status for stored in store.runs()] == ["interrupted"]
    rest = store.obtain(spec, on_epoch=lambda epoch: seen.append(epoch.epoch))
    assert seen == [4, 5]
    same_numbers(whole.history, rest.history)
    one, other = whole.best_states()["classifier"], rest.best_states()["classifier"]
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_checkpoints_keep_their_distance_in_epochs_and_in_seconds(tmp_path):
    spec = Spec.parse(SMALL | {"epochs": 6})
    for name, options in {"epochs": {"checkpoint_every": 9}, "seconds": {"checkpoint_seconds": 60}}.items():
        store = Store(tmp_path / name)
        with pytest.raises(Interrupted):
            store.obtain(spec, on_epoch=interrupt_after(5), **options)
        assert files(store, spec) == ["run.json"]


def test_arrays_are_kept_with_the_run(tmp_path):
    store, spec = Store(tmp_path), Spec.parse(SMALL)
    scores = store.obtain(spec, keep=lambda run: {"labels": run.task.train.labels.numpy()}).arrays()
    np.testing.assert_array_equal(scores["labels"], spec.task().train.labels)
    assert store.obtain(Spec.parse(SMALL | {"seed": 1})).arrays() == {}


def test_the_run_that_others_begin_from_is_made_once_and_shared(tmp_path):
    store = Store(tmp_path)
    for method, options in (
        ("forward-correction", {}),
        ("dmi", {}),
        ("dmi", {"lr": 1e-4}),
        ("limit", {"init": "cross-entropy"}),
    ):
        result = store.obtain(Spec.parse(SMALL | {"method": method, "method_options": options}))
        assert len(result.history) == 2
    assert sorted(stored.spec["method"] for stored in store.runs()) == [
        "cross-entropy",
        "dmi",
        "dmi",
        "forward-correction",
        "limit",
    ]
    source = store.find(Spec.parse(SMALL))
    dmi = Spec.parse(SMALL | {"method": "dmi", "method_options": {"lr": 1e-9}})
    begun, weights = store.obtain(dmi).best_states()["classifier"], source.best_states()["classifier"]
    torch.testing.assert_close(begun["output.weight"], weights["output.weight"], atol=1e-5, rtol=0)


@dataclass(frozen=True)
class Diverging(CrossEntropy):
    """Cross-entropy whose loss is not a number from the third epoch on."""

    name = "diverging"

    def loss(self, nets, batch):
        return super().loss(nets, batch) * (float("nan") if batch.epoch >= 3 else 1.0)


def test_a_run_that_diverges_says_so_and_keeps_its_last_good_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "diverging", Entry(__name__, "Diverging"))
    store, spec = Store(tmp_path), Spec.parse(SMALL | {"method": "diverging", "epochs": 5})
    with pytest.raises(TrainingDiverged, match="not a finite number at step 4, in epoch 3"):
        store.obtain(spec, checkpoint_seconds=0)
    (stored,) = store.runs()
    assert stored.status == "diverged" and "at step 4, in epoch 3" in stored.message
    run = spec.new_run().load(store.folder(spec) / "checkpoint.pt")
    assert len(run.records) == 2
    with pytest.raises(TrainingDiverged, match="at step 4"):
        store.obtain(spec, on_epoch=pytest.fail)
    assert store.find(spec) is None and store.failure(spec) == stored.message


def test_runs_are_listed_compared_and_removed(tmp_path):
    store = Store(tmp_path)
    assert store.runs() == []
    specs = [Spec.parse(SMALL), Spec.parse(SMALL | {"method": "limit", "method_options": {"beta": 3}})]
    for spec in specs:
        store.obtain(spec)
    (tmp_path / "notes").mkdir()
    listed = {stored.fingerprint: stored for stored in store.runs()}
    assert set(listed) == {spec.fingerprint for spec in specs}
    limit = listed[specs[1].fingerprint]
    assert limit.method == "limit(beta=3.0)" and limit.status == "finished"
    assert limit.numbers["test_accuracy"] == store.find(specs[1]).best["test_accuracy"]
    assert len(store.history(limit)) == 2
    frame = store.compare(specs[0].fingerprint[:8], specs[1].fingerprint)
    assert list(frame.loc["method"]) == ["cross-entropy", "limit"]
    assert list(frame.loc["method_options.beta"]) == [None, 3.0]
    assert "seed" not in frame.index and "test_accuracy" in frame.index
    store.remove(specs[0].fingerprint[:6])
    assert [stored.fingerprint for stored in store.runs()] == [specs[1].fingerprint]
    assert (tmp_path / "notes").is_dir()
    with pytest.raises(UnknownName, match="unknown run"):
        store.remove(specs[0].fingerprint)
    with pytest.raises(UnknownName, match="unknown run"):
        store.named("")


def test_a_listing_names_the_options_that_are_not_the_usual_ones():
    def named(options):
        spec = Spec.parse({"method": "lossnet", "method_options": options}).spelled_out()
        return StoredRun("0", "finished", json.loads(spec.model_dump_json())).method

    assert named({}) == "lossnet" and named({"interval": 5}) == "lossnet(interval=5)"


def test_runs_live_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("LNLIB_RUNS", str(tmp_path / "elsewhere"))
    assert Store().root == tmp_path / "elsewhere"
    monkeypatch.setenv("LNLIB_RUNS", "")
    assert Store().root == Path("runs")
    monkeypatch.delenv("LNLIB_RUNS")
    assert Store().root == Path("runs")


# Several processes, and processes that are killed.

TRAIN = """
import json, sys
from lnlib.papers.spec import Spec, load
from lnlib.papers.store import Store
load("digits")
print("begin", flush=True)

def say(epoch):
    print("epoch", epoch.epoch, flush=True)
    if epoch.epoch == 1:
        sys.stdin.readline()  # until it is told more, or nothing more

for line in sys.stdin:
    spec = json.loads(line)
    Store(sys.argv[1]).obtain(
        Spec.parse(spec),
        on_epoch=say,
        on_wait=lambda spec: print("waits", flush=True),
    )
    print("done", flush=True)
"""


def trainer(root: Path) -> "subprocess.Popen[str]":
    """A process that trains the specs that it is given, and says what it does."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "LNLIB_DEVICE": "cpu"}
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def tell(process: "subprocess.Popen[str]", spec: dict[str, object]) -> None:
    process.stdin.write(json.dumps(spec) + "\n")
    process.stdin.flush()


def end(process: "subprocess.Popen[str]") -> str:
    said = process.communicate()[0]
    assert process.returncode == 0
    return said


def test_two_processes_on_one_run_train_it_once(tmp_path):
    spec = SMALL | {"epochs": 100}
    first, second = trainer(tmp_path), trainer(tmp_path)
    assert {process.stdout.readline() for process in (first, second)} == {"begin\n"}
    tell(first, spec)
    assert first.stdout.readline() == "epoch 1\n"
    tell(second, spec)
    assert second.stdout.readline() == "waits\n"
    assert [stored.status for stored in Store(tmp_path).runs()] == ["running"]
    with pytest.raises(LnlibError, match="being trained by another process"):
        Store(tmp_path).remove(Spec.parse(spec).fingerprint)
    assert end(first).splitlines()[-2:] == ["epoch 100", "done"]
    assert end(second) == "done\n"
    assert [stored.status for stored in Store(tmp_path).runs()] == ["finished"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_run_killed_ten_times_ends_with_the_numbers_of_one_left_alone(tmp_path):
    # Forks of a process that has imported everything, so that the ten starts take no time.
    values = SMALL | {"epochs": 80, "method": "limit", "method_options": {"sampling": True}}
    spec = Spec.parse(values)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(values), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "LNLIB_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["kills"] == 10
    # Each child went on after the last epoch that the one before had reported.
    begun = report["first_epochs"]
    assert begun[0] == 1 and begun == sorted({*begun})
    alone, killed = Store(tmp_path / "alone").find(spec), Store(tmp_path / "killed").find(spec)
    same_numbers(alone.history, killed.history)
    one, other = alone.best_states(), killed.best_states()
    assert all(torch.equal(one[net][key], other[net][key]) for net in one for key in one[net])
    assert files(Store(tmp_path / "killed"), spec) == files(Store(tmp_path / "alone"), spec)


KILLED = """
import json, os, random, signal, sys, time
import torch, torch._dynamo  # which the first optimiser would import, in each child
torch.set_num_threads(1)
from lnlib.papers.spec import Spec, load
from lnlib.papers.store import Store

spec, root = Spec.parse(json.loads(sys.argv[1])), sys.argv[2]
load(spec.dataset)

def train(store, say=lambda epoch: None):
    Store(store).obtain(spec, checkpoint_seconds=0, on_epoch=say)

def child(store, most=spec.epochs):
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        said = []

        def say(epoch):
            said.append(os.write(send, b"%d\\n" % epoch.epoch))
            if len(said) > most:
                signal.pause()  # a slow parent must find it alive

        train(store, say)
        os._exit(0)
    os.close(send)
    return pid, os.fdopen(receive)

pid, said = child(root + "/alone")
said.read()
os.waitpid(pid, 0)

chance, kills, first_epochs, reported = random.Random(), 0, [], 0
while kills < 10:
    pid, said = child(root + "/killed", most=5)
    epoch = int(said.readline())
    assert epoch > reported, (epoch, reported)
    first_epochs.append(epoch)
    began = time.monotonic()
    said.readline()
    pace = time.monotonic() - began
    time.sleep(chance.uniform(0, 2 * pace))
    os.kill(pid, signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL, "it was done before it was killed"
    reported = max([epoch + 1, *map(int, said.read().split())])
    kills += 1
pid, said = child(root + "/killed")
said.read()
assert os.waitpid(pid, 0)[1] == 0
print(json.dumps({"kills": kills, "first_epochs": first_epochs}))
"""
