"""What can be wrong with a store, each kind by name: a record, weights, older stores, and what stands in the
way of writing.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lnlib.errors import CheckpointError, LnlibError
from lnlib.papers import record
from lnlib.papers.spec import Spec
from lnlib.papers.store import SET_ASIDE, DamagedRun, Store
from tests.stores import SPECS, TINY, Made, kept, make, same_numbers


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return make(tmp_path_factory)


def rewritten(folder: Path, **changes: Any) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def history(**columns: Any) -> dict[str, Any]:
    return {"validation_accuracy": [0.5], "test_accuracy": [0.5]} | columns


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spec": {"epochs": 1, "sede": 1}}, "'spec.sede': extra inputs are not permitted"),
        ({"spec": {"epochs": 3}}, "holds the run"),
        ({"spec": {"method": "limmit"}}, "holds no run: unknown method 'limmit': did you mean 'limit'"),
        ({"format": 3}, "'format': input should be 2"),
        ({"status": "done"}, "'status': input should be"),
        ({"message": None}, "'message': input should be a valid string"),
        ({"test_size": "297"}, "'test_size': input should be a valid integer"),
        ({"test_size": None}, "test_size or circumstances are missing"),
        ({"test_size": 10**30}, "'test_size': input should be less than"),
        ({"circumstances": {}}, "'circumstances.device': field required"),
        ({"history": []}, "'history': input should be an object"),
        ({"history": {}}, "the history lacks a part"),
        ({"history": {"loss": [1.0]}}, "the history lacks a part"),
        ({"history": history(loss=[1.0, 2.0])}, "the history lacks a part"),
        ({"history": history(epoch=[1.0, 2.0])}, "the history lacks a part"),
        ({"history": history(loss=[True])}, "'history.loss.0': input should be a valid number"),
        ({"history": history(test_accuracy=[float("nan")])}, "test_accuracy is no share"),
        ({"history": history(test_accuracy=[3])}, "test_accuracy is no share"),
        ({"history": history(validation_accuracy=[None])}, "no epoch was evaluated"),
        ({"history": history(validation_accuracy=[], test_accuracy=[])}, "no epoch was evaluated"),
    ],
)
def test_a_damaged_record_is_named_set_aside_and_made_again(made, tmp_path, changes, said):
    store, spec = made.copy(tmp_path / "runs"), SPECS["finished"]
    folder, name = store.folder(spec), spec.fingerprint
    rewritten(folder, **changes)
    content = (folder / "run.json").read_bytes()
    if "holds" not in said:  # what a spec means is asked only where the run is
        assert said in store.named(name).message and store.named(name).status == "damaged"
        with pytest.raises(LnlibError, match="is damaged, not finished"):
            store.history(store.named(name))
        with pytest.raises(LnlibError, match=f"the run {name} is damaged"):
            store.compare(SPECS["bystander"].fingerprint, name)
    assert (folder / "run.json").read_bytes() == content and not (store.root / SET_ASIDE).exists()
    with pytest.warns(DamagedRun) as caught:
        again = store.obtain(spec)
    same_numbers(again.history, made.histories["finished"])
    aside = store.root / SET_ASIDE / f"{name}-1"
    assert (aside / "run.json").read_bytes() == content
    assert said in str(caught[0].message) and str(aside) in str(caught[0].message)
    (folder / "run.json").write_text("{")
    with pytest.warns(DamagedRun):
        assert store.find(spec) is None
    assert (store.root / SET_ASIDE / f"{name}-2").is_dir()


def test_a_run_of_the_first_format_is_read_as_it_was(made, tmp_path):
    store, spec = made.copy(tmp_path / "runs"), SPECS["first format"]
    files = sorted(path.name for path in store.folder(spec).iterdir())
    assert files == [
        *("arrays.npz", "best.pt", "circumstances.json"),
        *("history.csv", "spec.json", "summary.json"),
    ]
    found = store.obtain(spec, on_epoch=pytest.fail)
    new = Store(tmp_path / "new").obtain(spec, keep=kept)
    same_numbers(found.history, new.history)
    assert (found.circumstances, found.test_size) == (new.circumstances, new.test_size)
    np.testing.assert_array_equal(found.arrays()["labels"], new.arrays()["labels"])
    old, again = found.best_states()["classifier"], new.best_states()["classifier"]
    assert all(torch.equal(old[key], again[key]) for key in again)
    listed, wanted = store.named(spec.fingerprint), Store(tmp_path / "new").named(spec.fingerprint)
    assert listed.spec == wanted.spec and listed.method == wanted.method
    assert {**listed.numbers, "seconds": 0} == {**wanted.numbers, "seconds": 0}


def test_an_interrupted_run_of_the_first_format_goes_on(made, tmp_path):
    store, spec, seen = made.copy(tmp_path / "runs"), SPECS["interrupted"], []
    folder = store.folder(spec)
    values = json.loads((folder / "run.json").read_text())["spec"]
    (folder / "run.json").unlink()
    (folder / "spec.json").write_text(json.dumps(values))
    assert store.named(spec.fingerprint).status == "interrupted"
    result = store.obtain(spec, on_epoch=lambda epoch: seen.append(epoch.epoch))
    assert seen == [2]
    same_numbers(result.history, made.histories["interrupted"])
    assert sorted(path.name for path in folder.iterdir()) == ["best.pt", "run.json"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("summary.json", b"{", r"summary\.json cannot be read"),
        ("summary.json", b"[]", r"summary\.json cannot be read .input should be an object"),
        ("summary.json", b"[" * 5000, r"recursion limit"),
        ("summary.json", b'{"status": "finished"}', "lacks a part of its run"),
        ("summary.json", b'{"numbers": {}}', "'status': input should be"),
        ("spec.json", b"\xff", r"spec\.json cannot be read"),
        ("spec.json", b"{}", r"lacks spec\.json"),
        ("history.csv", b"", r"history\.csv cannot be read|lacks a part"),
        ("history.csv", b"epoch\n1\n2\n", "lacks a part of its run"),
        ("history.csv", b"epoch,loss\n1\n", r"history\.csv cannot be read"),
        ("history.csv", b"epoch,loss\n1,one\n", r"history\.csv cannot be read"),
        ("history.csv", b"epoch,loss\n1,\0\n", r"history\.csv cannot be read"),
        ("circumstances.json", b"{}", "'circumstances.device': field required"),
    ],
)
def test_a_damaged_run_of_the_first_format_is_named_and_made_again(made, tmp_path, name, content, said):
    store, spec = made.copy(tmp_path / "runs"), SPECS["first format"]
    (store.folder(spec) / name).write_bytes(content)
    with pytest.warns(DamagedRun, match=said):
        same_numbers(store.obtain(spec).history, made.histories["first format"])


@pytest.mark.parametrize("kind", ["finished", "first format"])
@pytest.mark.parametrize("damaged", ["lost", "cut", "flipped", "of another run", "a folder"])
def test_damaged_weights_are_noticed_when_they_are_read_and_made_again(made, tmp_path, kind, damaged):
    store, spec = made.copy(tmp_path / "runs"), SPECS[kind]
    path, result = store.folder(spec) / "best.pt", store.find(spec)
    content = path.read_bytes()
    place = content.index(result.best_states()["classifier"]["output.weight"].numpy().tobytes())
    path.unlink()
    if damaged == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damaged == "flipped":
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    elif damaged == "of another run":
        shutil.copy(store.folder(SPECS["bystander"]) / "best.pt", path)
    elif damaged == "a folder":
        path.mkdir()
    with pytest.warns(DamagedRun, match=r"best\.pt"), pytest.raises(CheckpointError, match="ask for the run"):
        result.best_states()
    assert (store.root / SET_ASIDE / f"{spec.fingerprint}-1").is_dir()
    assert store.find(spec) is None
    assert store.obtain(spec).best_states()["classifier"]


def test_a_run_that_begins_from_damaged_weights_has_them_made_again(made, tmp_path):
    store, spec = made.copy(tmp_path / "runs"), SPECS["finished"]
    (store.folder(spec) / "best.pt").write_bytes(b"PK half")
    with pytest.warns(DamagedRun, match=r"best\.pt is damaged"):
        store.obtain(Spec.parse(TINY | {"method": "dmi"}))
    assert store.find(spec).best_states()["classifier"]


def test_arrays_that_hold_a_pickle_are_refused(made, tmp_path):
    store, spec = made.copy(tmp_path / "runs"), SPECS["finished"]
    np.savez(store.folder(spec) / "arrays.npz", labels=np.array([{}], dtype=object))
    with pytest.raises(LnlibError, match=r"arrays\.npz cannot be read .* remove the run"):
        store.find(spec).arrays()


@settings(max_examples=50, deadline=None)
@given(
    losses=st.lists(st.floats(), min_size=1, max_size=5),
    share=st.floats(0, 1),
)
def test_a_history_comes_back_bit_for_bit(made, tmp_path_factory, losses, share):
    folder = tmp_path_factory.mktemp("record")
    frame = made.histories["finished"].loc[[0] * len(losses)].reset_index(drop=True)
    frame = frame.assign(epoch=range(1, len(losses) + 1), loss=losses, test_accuracy=share, own=losses)
    stored = record.read(Store(made.root).folder(SPECS["finished"]))
    record.write(stored.model_copy(update={"history": record.columns(frame)}), folder)
    pd.testing.assert_frame_equal(record.read(folder).frame(), frame, check_exact=True)


# What stands in the way before and while a run trains.


def test_what_lies_about_in_a_folder_does_not_keep_a_run_from_going_on(made, tmp_path):
    store, spec, seen = made.copy(tmp_path / "runs"), SPECS["interrupted"], []
    folder = store.folder(spec)
    for name in (".ipynb_checkpoints", ".best.pt.notebook", "best.pt"):
        (folder / name).mkdir()
    for name in (".run.json.0123abcd", ".checkpoint.pt.0123abcd", "notes.txt"):  # two of a killed process
        (folder / name).write_text("half")
    with pytest.warns(DamagedRun, match=r"best\.pt is not a file"):
        result = store.obtain(spec, on_epoch=lambda epoch: seen.append(epoch.epoch))
    assert seen == [2]
    same_numbers(result.history, made.histories["interrupted"])
    assert sorted(path.name for path in folder.iterdir()) == [
        *(".best.pt.notebook", ".ipynb_checkpoints", "best.pt", "notes.txt", "run.json")
    ]


def test_a_kill_before_the_last_step_leaves_no_checkpoint_for_ever(made, tmp_path, monkeypatch):
    store, spec = made.copy(tmp_path / "runs"), SPECS["finished"]
    left = store.folder(spec) / "checkpoint.pt"
    left.write_bytes(b"left")
    with monkeypatch.context() as patch:  # in a store of others the run is found all the same
        patch.setattr("filelock.FileLock.acquire", refused)
        assert store.find(spec) is not None and left.exists()
    assert store.find(spec) is not None and not left.exists()


def refused(*args: Any, **kwargs: Any) -> None:
    raise PermissionError(13, "Permission denied")


def unsupported(*args: Any, **kwargs: Any) -> None:
    raise NotImplementedError("FileSystem does not appear to support flock")


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("filelock.FileLock.acquire", refused),
        ("filelock.FileLock.acquire", unsupported),
        ("pathlib.Path.mkdir", refused),
        ("os.replace", refused),
        ("os.fsync", refused),
    ],
)
def test_where_nothing_can_be_written_a_sentence_says_so_before_training(tmp_path, monkeypatch, where, what):
    monkeypatch.setattr(where, what)
    with pytest.raises(LnlibError, match=r"could not write .* choose a f"):
        Store(tmp_path / "runs").obtain(SPECS["interrupted"], on_epoch=pytest.fail)


def test_a_disk_without_room_for_the_weights_is_noticed_before_training(tmp_path, monkeypatch):
    store, spec, fsync = Store(tmp_path), SPECS["interrupted"], os.fsync

    def small_disk(file: int) -> None:
        if os.fstat(file).st_size > 2000:
            raise OSError(28, "No space left on device")
        fsync(file)

    monkeypatch.setattr(os, "fsync", small_disk)
    with pytest.raises(LnlibError, match=r"best\.pt: No space left on device"):
        store.obtain(spec, on_epoch=pytest.fail)
    assert sorted(path.name for path in store.folder(spec).iterdir()) == ["run.json"]


def test_a_folder_that_cannot_be_set_aside_or_removed_is_a_sentence(made, tmp_path, monkeypatch):
    store, spec = made.copy(tmp_path / "runs"), SPECS["finished"]
    (store.folder(spec) / "run.json").write_text("{")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", refused)
        with pytest.raises(LnlibError, match=r"could not set .* aside: Permission denied"):
            store.find(spec)
    monkeypatch.setattr("shutil.rmtree", refused)
    with pytest.raises(LnlibError, match=r"could not remove .* Permission denied"):
        store.remove(spec.fingerprint)


@pytest.mark.parametrize("removed", [False, True])
def test_a_folder_that_its_owner_may_not_enter_is_no_obstacle(made, tmp_path, removed):
    store, spec = made.copy(tmp_path / "runs"), SPECS["finished"]
    folder = store.folder(spec)
    (folder / "run.json").write_text("{")
    (folder / "inner" / "innermost").mkdir(parents=True)
    for path in (folder / "inner" / "innermost", folder / "inner", folder):
        path.chmod(0)
    if removed:
        store.remove(spec.fingerprint)
    else:
        with pytest.warns(DamagedRun):
            store.obtain(spec)
    assert folder.exists() != removed


def test_a_store_that_cannot_be_read_is_a_sentence(made, monkeypatch):
    monkeypatch.setattr("os.listdir", refused)
    with pytest.raises(LnlibError, match=r"could not read .* Permission denied"):
        Store(made.root).runs()


def test_a_store_that_can_be_no_folder_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("kept")
    for root, why in {str(tmp_path / "file"): "not a folder", "~nobodyxyz/runs": "home directory"}.items():
        monkeypatch.setenv("LNLIB_RUNS", root)
        with pytest.raises(LnlibError, match=f"runs cannot be kept in .*{why}.*; name a folder"):
            Store()
    store = Store(tmp_path / "file" / "runs")
    assert store.runs() == []
    with pytest.raises(LnlibError, match="could not write"):
        store.obtain(SPECS["finished"], on_epoch=pytest.fail)


@pytest.mark.parametrize("seconds", [0, 60])
@pytest.mark.parametrize("part", ["run", "store"])
def test_a_folder_removed_under_its_trainer_is_written_again(made, tmp_path, seconds, part):
    store, spec = Store(tmp_path / "runs"), SPECS["interrupted"]

    def remove(epoch):
        if epoch.epoch == 1:
            shutil.rmtree(store.folder(spec) if part == "run" else store.root)

    same_numbers(
        store.obtain(spec, checkpoint_seconds=seconds, on_epoch=remove).history, made.histories["interrupted"]
    )
    assert store.find(spec).best_states()["classifier"]
    assert not (store.folder(spec) / "checkpoint.pt").exists()


def test_a_store_that_becomes_a_file_under_its_trainer_is_a_sentence(tmp_path):
    store, spec = Store(tmp_path / "runs"), SPECS["interrupted"]

    def replace(epoch):
        if epoch.epoch == 1:
            shutil.rmtree(store.root)
            store.root.write_text("")

    with pytest.raises(LnlibError, match="could not write"):
        store.obtain(spec, on_epoch=replace)
