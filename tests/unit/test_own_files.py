"""A reader's own files by name: slips, tables, small classes, what the commands tell, the copy."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from lnlib import data, noise
from lnlib.cli.app import app
from lnlib.data import decoding, folder
from lnlib.data.task import make_task
from lnlib.errors import DataUnavailable, InvalidValue, LnlibError, UnknownName
from lnlib.papers.spec import Spec
from tests.unit.test_folders import counts, fill, paint, refusal


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout


# Slips


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder "my pics" in the current one, and a table beside it."""
    fill(tmp_path / "my pics")
    (tmp_path / "labels.csv").write_text("path,label\n")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "told", "fitting"),
    [
        ("my pics", "is a folder of yours", "'folder:my pics'"),
        ("my pics/", "is a folder of yours", "'folder:my pics'"),
        ("./my pics", "is a folder of yours", "'folder:my pics'"),
        ("Folder:my pics", "'folder:' must be written so", "'folder:my pics'"),
        ("FOLDER:my pics", "'folder:' must be written so", "'folder:my pics'"),
        ("CSV:labels.csv", "'csv:' must be written so", "csv:labels.csv"),
        ("labels.csv", "is a file", "csv:labels.csv"),
        ("folder:labels.csv", "is a file, no folder", "csv:labels.csv"),
        ("csv:my pics", "is a folder, no table", "'folder:my pics'"),
        ("folder:my pcis", "did you mean", "'folder:{here}/my pics'"),
        ("./my pcis/", "did you mean", "'folder:{here}/my pics'"),
        ("csv:lables.csv", "did you mean", "csv:{here}/labels.csv"),
        ("folder:my pics/a/0.png", "is a file, no folder", "'folder:{here}/my pics'"),
        ("my pics/a/0.png", "is a file", "'folder:{here}/my pics'"),
        ("folder:", "is a variable empty?", "folder:path/to/pictures"),
        ("folder: ", "is a variable empty?", "folder:path/to/pictures"),
        ("csv:", "is a variable empty?", "csv:path/to/labels.csv"),
        ("folder:/", "holds much more than pictures", "folder:/path/to/pictures"),
        ("folder:~", "holds much more than pictures", "folder:{here}/home/path/to/pictures"),
        ("folder:~/..", "holds much more than pictures", "folder:{here}/path/to/pictures"),
        ("folder:nowhere at all", "there is no folder", "folder:path/to/pictures"),
    ],
)
def test_a_slip_is_one_sentence_with_the_command_that_works(mine, monkeypatch, name, told, fitting):
    monkeypatch.setattr(os, "walk", lambda *_: pytest.fail("walks"))
    said = refusal(name)
    assert told in said and f"--dataset {fitting.format(here=mine)}" in said, said
    assert Spec.parse({"dataset": name}).fingerprint if name.split(":")[0] in ("folder", "csv") else True


def test_a_trailing_slash_and_a_tilde_are_no_slips(mine, monkeypatch):
    monkeypatch.setenv("HOME", str(mine))
    for name in ("folder:my pics/", "folder:~/my pics", "folder:./my pics"):
        assert data.load(name).name == "my pics"
    monkeypatch.chdir(mine / "my pics")
    monkeypatch.setenv("HOME", "/elsewhere")
    assert data.load("folder:.").name == "my pics"


def test_options_of_the_data_are_checked_and_change_the_fingerprint(mine):
    chosen = {"dataset": "folder:my pics", "dataset_options": {"size": 8}}
    assert Spec.parse(chosen).loaded.image_shape == (1, 8, 8)
    assert Spec.parse(chosen).fingerprint != Spec.parse({"dataset": "folder:my pics"}).fingerprint
    assert data.load("folder:my pics", size="8").image_shape == (1, 8, 8)
    with pytest.raises(UnknownName, match="did you mean 'layout'"):
        Spec.parse({"dataset": "folder:my pics", "dataset_options": {"layuot": "classes"}})
    with pytest.raises(InvalidValue, match=r"size must be at least 1, got 0"):
        data.load("folder:my pics", size=0)
    with pytest.raises(InvalidValue, match="digits takes no options of the data, got size"):
        Spec.parse({"dataset": "digits", "dataset_options": {"size": 8}})


# Small classes


def test_seventy_classes_of_five_are_a_matter_of_the_validation_set(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 5, 6, 6), dtype=np.uint8)
    for label in range(70):
        (tmp_path / f"{label}").mkdir()
        for number in range(5):
            Image.fromarray(pixels[label, number]).save(tmp_path / f"{label}" / f"{number}.png")
    mine = data.image_folder(tmp_path, size=6)
    assert set(counts(mine).values()) == {(4, 1)}
    with pytest.raises(InvalidValue, match=r"its 56 have none of .* and \d+ others; .* --validation 70"):
        make_task(mine, np.eye(70))
    task = make_task(mine, np.eye(70), validation=70)
    assert set(torch.bincount(task.train.labels).tolist()) == {3}
    note = Spec.parse({"dataset": f"folder:{tmp_path}"}).note()
    assert "a batch of 64 cannot hold an example of each of the 70 classes; try --batch-size 140" in note


def test_one_picture_in_a_class_is_told_with_the_number_that_works(tmp_path):
    fill(tmp_path)
    fill(tmp_path, "d", count=1, start=200)
    assert "needs at least 3 different pictures" in (said := refusal(tmp_path)) and "d has 1" in said
    for number in range(5):  # the same again is not another
        shutil.copy(tmp_path / "d" / "0.png", tmp_path / "d" / f"{number + 1}.png")
    assert "d has 1" in refusal(tmp_path)
    fill(tmp_path, "d", count=3, start=200)
    task = make_task(data.image_folder(tmp_path), np.eye(4), validation=4)
    assert all(3 in split.labels for split in task.splits.values())


# Tables


def write_table(file: Path, rows: list[str], header: str = "path,label") -> str:
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return f"csv:{file}"


@pytest.mark.parametrize("splits", [[""], ["train", "test"], ["train", "val", "test"]])
def test_a_folder_and_a_table_give_the_same_task(tmp_path, splits):
    for position, split in enumerate(splits):
        fill(tmp_path / split, ["b", "a", "ä c"], start=70 * position)
    files = [*tmp_path.rglob("*.png")]
    rows = [f"{file.relative_to(tmp_path).as_posix()},{file.parent.name}" for file in files]
    if splits != [""]:
        rows = [f"{row},{row.split('/')[0]}" for row in rows]
    header = "path,label" if splits == [""] else "path,label,split"
    name = write_table(tmp_path / "labels.csv", rows, header)
    matrix = noise.uniform(0.3, 3)
    theirs, ours = (make_task(data.load(one), matrix, validation=3) for one in (name, f"folder:{tmp_path}"))
    assert theirs.label_hash == ours.label_hash and theirs.dataset.class_names == ours.dataset.class_names
    for part in ("train_images", "test_images"):
        assert torch.equal(getattr(theirs.dataset, part), getattr(ours.dataset, part))
    for part in ("train_files", "test_files", "mean", "std"):
        assert getattr(theirs.dataset, part) == getattr(ours.dataset, part)
    assert theirs.dataset.reading.classes == ours.dataset.reading.classes


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_columns_of_a_table_may_be_called_otherwise(tmp_path, separator):
    fill(tmp_path / "images")
    rows = [
        separator.join(["7", f"images/{name}/{number}.png", f"class {name}"])
        for name in "abc"
        for number in range(4)
    ]
    name = write_table(tmp_path / "t.csv", rows, separator.join(["id", "image", "noisy_label"]))
    assert "name it as --dataset-set path_column=" in refusal(name)
    assert "must have a column label" in refusal(name, path_column="image")
    mine = data.load(name, path_column="image", label_column="noisy_label")
    assert mine.class_names == ("class a", "class b", "class c") and mine.name == "t"


def test_lines_of_a_table_are_doubled_missing_or_contradict_each_other(tmp_path):
    fill(tmp_path, "ab")
    good = [f"{name}/{number}.png,{name}" for name in "ab" for number in range(4)]
    name = write_table(tmp_path / "t.csv", [*good, "a/0.png,a", "a/1.png,b"])
    mine = data.load(name)
    assert [one.file for one in mine.reading.skipped] == ["a/0.png"]
    assert (
        mine.reading.contradictions == (("a/1.png", "a/1.png"),) and sum(map(sum, counts(mine).values())) == 9
    )
    for rows, said in (
        ([*good, "a/9.png,a"], r"1 of 9 pictures .* are missing, the first is .*9.png"),
        ([*good, "a/1.png,"], r"line 10 of .* must have a path and a label"),
        (good[:4], "at least 2 labels, got 1"),
        ([], "at least 2 labels, got 0"),
    ):
        with pytest.raises(LnlibError, match=said):
            data.load(write_table(tmp_path / "t.csv", rows))
    with pytest.raises(InvalidValue, match=r"train, val or test as its split, got .*'dev'"):
        data.load(write_table(tmp_path / "t.csv", [f"{row},dev" for row in good], "path,label,split"))
    with pytest.raises(InvalidValue, match="must say train and at least one of val and test, got test"):
        data.load(write_table(tmp_path / "t.csv", [f"{row},test" for row in good], "path,label,split"))
    for content in (b"", b"\xff\xfe\x00,", b'path,label\n"a'):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(DataUnavailable, match="cannot read the table"):
            data.load(name)


def test_the_fingerprint_of_a_table_changes_with_it_and_its_pictures(tmp_path):
    fill(tmp_path, "ab")
    rows = [f"{name}/{number}.png,{name}" for name in "ab" for number in range(4)]
    spec = Spec.parse({"dataset": write_table(tmp_path / "t.csv", rows)})
    seen = {spec.fingerprint}
    os.utime(tmp_path / "a" / "0.png", (1, 1))
    seen.add(spec.fingerprint)
    write_table(tmp_path / "t.csv", rows[:-1])
    seen.add(spec.fingerprint)
    assert len(seen) == 3 and spec.fingerprint in seen


# What the commands tell


def test_what_was_found_is_told_before_training(tmp_path, monkeypatch):
    monkeypatch.setenv("LNLIB_RUNS", str(tmp_path / "runs"))
    root = tmp_path / "mine"
    fill(root, ["a", "[red]b"], count=8)
    (root / "a" / "notes.txt").write_text("no picture")
    (root / "a" / "short.png").write_bytes((root / "a" / "0.png").read_bytes()[:30])
    shutil.copy(root / "a" / "1.png", root / "[red]b" / "copy.png")
    words = ["--dataset", f"folder:{root}", "--epochs", "1", "--unreadable", "skip", "--size", "8"]
    commands = (["train", *words], ["suspects", *words, "--output", str(tmp_path / "list.csv")])
    for command in commands:
        printed = run(*command)
        lines = [" ".join(line.split()) for line in printed.splitlines()]
        assert lines[0] == f"{root}: a folder for each class" and "in all 14 3" in lines
        assert any(line.startswith("[red]b ") for line in lines)
        assert "left out: no picture (.txt) 1 a/notes.txt" in lines
        assert any(
            line.startswith("left out: unreadable: ") and line.endswith("1 a/short.png") for line in lines
        )
        assert any(line.startswith("the same bytes under different labels 2") for line in lines)
        told = json.loads(run(*command, "--json"))["reading"]
        assert {one["name"] for one in told["classes"]} == {"a", "[red]b"}
        assert {one["file"] for one in told["skipped"]} == {"a/notes.txt", "a/short.png"}
        assert told["contradictions"] == [["[red]b/copy.png", "a/1.png"]]
    digits = run("train", "--epochs", "1", "--json")
    assert json.loads(digits)["reading"] is None


def test_many_classes_are_told_in_a_screenful(tmp_path):
    fill(tmp_path, [f"{number:02}" for number in range(12)], count=3)
    rows = data.image_folder(tmp_path).reading.class_rows(most=10)
    assert [row["class"] for row in rows[-2:]] == ["2 other classes", "in all"]
    assert sum(row["training"] + row["test"] for row in rows[:-1]) == 36
    assert rows[-1]["training"] + rows[-1]["test"] == 36


# The copy of decoded pictures


def test_a_large_folder_is_decoded_once_and_again_when_it_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "KEPT_FROM", 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        decoding.platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "cache" / "lnlib"
    )
    root = tmp_path / "mine"
    fill(root)
    paint(root / "a" / "bad.png")
    (root / "a" / "bad.png").write_bytes(b"no picture")
    shutil.copy(root / "a" / "0.png", root / "b" / "copy.png")
    first = data.image_folder(root, size=8, unreadable="skip")
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "decode", lambda *_: pytest.fail("decodes again"))
        second = data.image_folder(root, size=8, unreadable="skip")
        assert torch.equal(first.train_images, second.train_images) and first.reading == second.reading
        assert "1 of 14 pictures" in refusal(root, size=8)
    assert data.image_folder(root, size=6, unreadable="skip").image_shape == (1, 6, 6)
    paint(root / "a" / "0.png", 222, mode="RGB")
    changed = data.image_folder(root, size=8, unreadable="skip")
    assert changed.image_shape == (3, 8, 8) and changed.reading.contradictions == ()


def test_interrupting_the_reading_stops_it(tmp_path):
    fill(tmp_path, "ab", count=100)
    with pytest.raises(KeyboardInterrupt):
        data.image_folder(tmp_path, progress=lambda done, total: (_ for _ in ()).throw(KeyboardInterrupt))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads decode however many there are")
def test_processes_decode_as_threads_do_and_one_that_is_killed_is_said(tmp_path, monkeypatch):
    fill(tmp_path, "ab", count=30)
    paint(tmp_path / "a" / "3.png", 9, mode="RGB")
    (tmp_path / "b" / "7.png").write_bytes(b"no picture")
    files = [str(file) for file in sorted(tmp_path.glob("*/*"))]
    by_threads = decoding.decode(files, 8)
    monkeypatch.setattr(decoding, "MANY", 10)
    by_processes = decoding.decode(files, 8)
    np.testing.assert_array_equal(by_processes.pixels, by_threads.pixels)
    assert by_threads.pixels.shape[1] == 3 and [*by_threads.faults] == [
        files.index(str(tmp_path / "b/7.png"))
    ]
    assert by_processes.digests == by_threads.digests and by_processes.faults == by_threads.faults
    killed = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
    monkeypatch.setattr(decoding, "pixels_of", killed)
    with pytest.raises(LnlibError, match="a process that decodes pictures was killed"):
        decoding.decode(files, 8)
