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
from lnlib.papers.store import SET_ASIDE, DamagedRun, Store, StoredRun

SMALL = {"net_options": {"width": 8, "depth": 1}, "epochs": 2, "train_size": 100}
CLOCK = ["seconds", "evaluation_seconds"]


def same_numbers(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one.drop(columns=CLOCK), other.drop(columns=CLOCK), check_exact=True)


def files(store: Store, run: Spec) -> list[str]:
    return sorted(path.name for path in store.folder(run).iterdir())


class Interrupted(Exception):
    pass


def interrupt_after(last: int):
    def stop(epoch):
        if epoch.epoch == last:
            raise Interrupted

    return stop


def test_the_store_trains_once_and_returns_what_it_has(tmp_path):
    store, run = Store(tmp_path), Spec.parse(SMALL)
    assert store.find(run) is None and not list(tmp_path.iterdir())
    trained = []
    first = store.obtain(run, on_epoch=lambda epoch: trained.append(epoch.epoch))
    again = store.obtain(run, on_epoch=lambda epoch: trained.append(epoch.epoch))
    assert trained == [1, 2]
    pd.testing.assert_frame_equal(first.history, again.history)
    assert again.circumstances.device.startswith("CPU") and again.circumstances.mode == "solo"
    assert files(store, run) == ["best.pt", "circumstances.json", "history.csv", "spec.json", "summary.json"]
    assert (
        Spec.parse(json.loads((store.folder(run) / "spec.json").read_text())).fingerprint == run.fingerprint
    )


def test_the_processor_is_stored_with_every_run_and_older_runs_lack_it(tmp_path):
    store, run = Store(tmp_path), Spec.parse(SMALL)
    made = store.obtain(run).circumstances
    assert made.instructions == torch.backends.cpu.get_cpu_capability()
    assert made.processor == processor()
    path = store.folder(run) / "circumstances.json"
    stored = json.loads(path.read_text())
    path.write_text(
        json.dumps({key: stored[key] for key in stored if key not in ("processor", "instructions")})
    )
    older = store.find(run).circumstances
    assert (older.processor, older.instructions, older.device) == ("", "", made.device)


def test_the_best_weights_are_kept(tmp_path):
    run = Spec.parse(SMALL | {"epochs": 4})
    result = Store(tmp_path).obtain(run)
    assert result.best["validation_accuracy"] == result.history["validation_accuracy"].max()
    training = run.training().set_weights(result.best_states())
    test = training.task.test
    logits = training.predict(training.task.dataset.normalize(test.images))
    assert (logits.argmax(1) == test.labels).double().mean().item() == result.best["test_accuracy"]
    assert result.test_size == len(test)


def test_the_store_continues_what_was_interrupted(tmp_path):
    run = Spec.parse(SMALL | {"epochs": 5})
    whole = Store(tmp_path / "whole").obtain(run)
    store, seen = Store(tmp_path / "half"), []
    with pytest.raises(Interrupted):
        store.obtain(run, checkpoint_seconds=0, on_epoch=interrupt_after(3))
    assert [stored.status for stored in store.runs()] == ["interrupted"]
    rest = store.obtain(run, on_epoch=lambda epoch: seen.append(epoch.epoch))
    assert seen == [4, 5]
    same_numbers(whole.history, rest.history)
    one, other = whole.best_states()["classifier"], rest.best_states()["classifier"]
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_checkpoints_keep_their_distance_in_epochs_and_in_seconds(tmp_path):
    run = Spec.parse(SMALL | {"epochs": 6})
    for name, options in {"epochs": {"checkpoint_every": 9}, "seconds": {"checkpoint_seconds": 60}}.items():
        store = Store(tmp_path / name)
        with pytest.raises(Interrupted):
            store.obtain(run, on_epoch=interrupt_after(5), **options)
        assert files(store, run) == ["spec.json"]


def test_arrays_are_kept_with_the_run(tmp_path):
    store, run = Store(tmp_path), Spec.parse(SMALL)
    scores = store.obtain(run, keep=lambda training: {"labels": training.task.train.labels.numpy()}).arrays()
    np.testing.assert_array_equal(scores["labels"], run.task().train.labels)
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


def test_lost_best_weights_are_made_again(tmp_path):
    store, run = Store(tmp_path), Spec.parse(SMALL)
    store.obtain(run)
    (store.folder(run) / "best.pt").write_bytes(b"PK half")
    with pytest.warns(DamagedRun, match=r"best\.pt is damaged"):
        store.obtain(Spec.parse(SMALL | {"method": "dmi"}))
    assert store.find(run).best_states()["classifier"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("summary.json", "{", r"summary\.json cannot be read"),
        ("summary.json", "[]", r"does not hold what it should"),
        ("spec.json", '{"epochs": 2, "sede": 1}', "is no run: unknown field of a run 'sede'"),
        ("spec.json", '{"epochs": 3}', "holds the run"),
        ("history.csv", "", "cannot be read"),
        ("history.csv", "epoch\n1\n2\n", "lacks a part of its run"),
        ("circumstances.json", "{}", "cannot be read"),
    ],
)
def test_a_damaged_folder_is_named_set_aside_and_made_again(tmp_path, name, content, said):
    store, run = Store(tmp_path), Spec.parse(SMALL)
    first = store.obtain(run)
    (store.folder(run) / name).write_text(content)
    with pytest.warns(DamagedRun, match=said) as caught:
        again = store.obtain(run)
    same_numbers(first.history, again.history)
    kept = tmp_path / SET_ASIDE / f"{run.fingerprint}-1"
    assert (kept / name).read_text() == content and str(kept) in str(caught[0].message)
    (store.folder(run) / name).unlink()
    (store.folder(run) / "summary.json").write_text("{")
    with pytest.warns(DamagedRun):
        assert store.find(run) is None
    assert (tmp_path / SET_ASIDE / f"{run.fingerprint}-2").is_dir()
    assert store.runs() == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a checkpoint"])
def test_a_damaged_checkpoint_is_set_aside_and_the_run_starts_again(tmp_path, content):
    store, run = Store(tmp_path), Spec.parse(SMALL | {"epochs": 3})
    with pytest.raises(Interrupted):
        store.obtain(run, checkpoint_seconds=0, on_epoch=interrupt_after(2))
    (store.folder(run) / "checkpoint.pt").write_bytes(content)
    with pytest.warns(DamagedRun, match=r"checkpoint\.pt is damaged"):
        result = store.obtain(run)
    same_numbers(result.history, Store(tmp_path / "other").obtain(run).history)
    assert (tmp_path / SET_ASIDE / f"{run.fingerprint}-checkpoint.pt-1").read_bytes() == content


@dataclass(frozen=True)
class Diverging(CrossEntropy):
    """Cross-entropy whose loss is not a number from the third epoch on."""

    name = "diverging"

    def loss(self, nets, batch):
        return super().loss(nets, batch) * (float("nan") if batch.epoch >= 3 else 1.0)


def test_a_run_that_diverges_says_so_and_keeps_its_last_good_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "diverging", Entry(__name__, "Diverging"))
    store, run = Store(tmp_path), Spec.parse(SMALL | {"method": "diverging", "epochs": 5})
    with pytest.raises(TrainingDiverged, match="not a finite number at step 4, in epoch 3"):
        store.obtain(run, checkpoint_seconds=0)
    (stored,) = store.runs()
    assert stored.status == "diverged" and "at step 4, in epoch 3" in stored.message
    training = run.training()
    training.load(store.folder(run) / "checkpoint.pt")
    assert len(training.records) == 2
    with pytest.raises(TrainingDiverged, match="at step 4"):
        store.obtain(run, on_epoch=pytest.fail)
    assert store.find(run) is None and store.failure(run) == stored.message


def test_runs_are_listed_compared_and_removed(tmp_path):
    store = Store(tmp_path)
    assert store.runs() == []
    runs = [Spec.parse(SMALL), Spec.parse(SMALL | {"method": "limit", "method_options": {"beta": 3}})]
    for run in runs:
        store.obtain(run)
    (tmp_path / "notes").mkdir()
    listed = {stored.fingerprint: stored for stored in store.runs()}
    assert set(listed) == {run.fingerprint for run in runs}
    limit = listed[runs[1].fingerprint]
    assert limit.method == "limit(beta=3.0)" and limit.status == "finished"
    assert limit.numbers["test_accuracy"] == store.find(runs[1]).best["test_accuracy"]
    assert len(store.history(limit)) == 2
    frame = store.compare(runs[0].fingerprint[:8], runs[1].fingerprint)
    assert list(frame.loc["method"]) == ["cross-entropy", "limit"]
    assert list(frame.loc["method_options.beta"]) == [None, 3.0]
    assert "seed" not in frame.index and "test_accuracy" in frame.index
    store.remove(runs[0].fingerprint[:6])
    assert [stored.fingerprint for stored in store.runs()] == [runs[1].fingerprint]
    assert (tmp_path / "notes").is_dir()
    with pytest.raises(UnknownName, match="unknown run"):
        store.remove(runs[0].fingerprint)
    with pytest.raises(UnknownName, match="unknown run"):
        store.named("")


def test_a_listing_names_the_options_that_are_not_the_usual_ones():
    def named(options):
        run = Spec.parse({"method": "lossnet", "method_options": options}).spelled_out()
        return StoredRun("0", "finished", json.loads(run.model_dump_json())).method

    assert named({}) == "lossnet" and named({"interval": 5}) == "lossnet(interval=5)"


def test_a_listing_shows_what_is_damaged_and_changes_nothing(tmp_path):
    store, run = Store(tmp_path), Spec.parse(SMALL)
    store.obtain(run)
    (store.folder(run) / "spec.json").write_text("{")
    (stored,) = store.runs()
    assert stored.status == "damaged" and "spec.json cannot be read" in stored.message
    with pytest.raises(LnlibError, match="is damaged, not finished"):
        store.history(stored)
    assert not (tmp_path / SET_ASIDE).exists()


def test_runs_live_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("LNLIB_RUNS", str(tmp_path / "elsewhere"))
    assert Store().root == tmp_path / "elsewhere"
    monkeypatch.delenv("LNLIB_RUNS")
    assert Store().root == Path("runs")


def test_a_store_that_may_not_be_written_is_one_error(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(LnlibError, match=r"could not write .* choose a folder you may write to"):
        Store(tmp_path / "file" / "runs").obtain(Spec.parse(SMALL))


# Several processes, and processes that are killed.

TRAIN = """
import json, sys, time
from lnlib.papers.spec import Spec, load
from lnlib.papers.store import Store
load("digits")
print("begin", flush=True)

def say(epoch):
    print("epoch", epoch.epoch, flush=True)
    time.sleep(0.02)

for line in sys.stdin:
    spec = json.loads(line)
    Store(sys.argv[1]).obtain(
        Spec.parse(spec),
        on_epoch=say,
        on_wait=lambda run: print("waits", flush=True),
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
    spec = SMALL | {"epochs": 80, "method": "limit", "method_options": {"sampling": True}}
    run = Spec.parse(spec)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(spec), str(tmp_path)],
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
    alone, killed = Store(tmp_path / "alone").find(run), Store(tmp_path / "killed").find(run)
    same_numbers(alone.history, killed.history)
    one, other = alone.best_states(), killed.best_states()
    assert all(torch.equal(one[net][key], other[net][key]) for net in one for key in one[net])
    assert files(Store(tmp_path / "killed"), run) == files(Store(tmp_path / "alone"), run)


KILLED = """
import json, os, random, signal, sys, time
import torch, torch._dynamo  # which the first optimiser would import, in each child
torch.set_num_threads(1)
from lnlib.papers.spec import Spec, load
from lnlib.papers.store import Store

run, root = Spec.parse(json.loads(sys.argv[1])), sys.argv[2]
load(run.dataset)

def train(store, say=lambda epoch: None):
    Store(store).obtain(run, checkpoint_seconds=0, on_epoch=say)

def child(store):
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        train(store, lambda epoch: os.write(send, b"%d\\n" % epoch.epoch))
        os._exit(0)
    os.close(send)
    return pid, os.fdopen(receive)

pid, said = child(root + "/alone")
said.read()
os.waitpid(pid, 0)

chance, kills, first_epochs, reported = random.Random(), 0, [], 0
while kills < 10:
    pid, said = child(root + "/killed")
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
