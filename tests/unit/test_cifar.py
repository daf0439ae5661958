"""CIFAR: torchvision's files in small, archives laid out by hand, and the folder of JPEG pictures."""

import hashlib
import io
import pickle
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from lnlib import data, noise
from lnlib.data import decoding as pictures
from lnlib.data.task import make_task
from lnlib.errors import DataUnavailable, InvalidValue

CLASSES = {"cifar-10": 10, "cifar-100": 100}
FOLDERS = {"cifar-10": "cifar-10-batches-py", "cifar-100": "cifar-100-python"}
KINDS = {"cifar-10": torchvision.datasets.CIFAR10, "cifar-100": torchvision.datasets.CIFAR100}
CIFAR_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class OldArray(np.ndarray):
    """An array pickled with a number where NumPy 2.4 expects a truth value, of which it warns."""

    def __reduce__(self):
        rebuild, arguments, state = super().__reduce__()
        version, shape, _, order, content = state
        return rebuild, (np.ndarray, *arguments[1:]), (version, shape, OldType(), order, content)


class OldType:
    def __reduce__(self):
        return np.dtype, ("u1", 0, 0)


def tiny_files(name: str) -> dict[str, bytes]:
    """The contents of a CIFAR's files: two training images a class in each, and one test image a class."""
    generator, count = np.random.default_rng(0), CLASSES[name]
    key = "labels" if count == 10 else "fine_labels"

    def part(size: int) -> bytes:
        pixels = generator.integers(0, 256, (size, 3 * 32 * 32), dtype=np.uint8)
        labels = (np.arange(size) % count).tolist()
        return pickle.dumps({"data": pixels.view(OldArray), key: labels}, protocol=2)

    kind = KINDS[name]
    names = CIFAR_NAMES if count == 10 else [f"class {label}" for label in range(count)]
    files = {file: part(2 * count) for file, _ in kind.train_list}
    files |= {file: part(count) for file, _ in kind.test_list}
    return files | {kind.meta["filename"]: pickle.dumps({kind.meta["key"]: names}, protocol=2)}


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LNLIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "data"


@pytest.fixture(params=list(CLASSES))
def name(request) -> str:
    return request.param


@pytest.fixture
def files(name, root, monkeypatch) -> dict[str, bytes]:
    """The contents of a tiny CIFAR's files, whose checksums torchvision is made to expect."""
    contents, kind = tiny_files(name), KINDS[name]
    for attribute in ("train_list", "test_list"):
        sums = [[file, md5(contents[file])] for file, _ in getattr(kind, attribute)]
        monkeypatch.setattr(kind, attribute, sums)
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5(contents[kind.meta["filename"]])})
    return contents


@pytest.fixture
def folder(name, root, files) -> Path:
    folder = root / FOLDERS[name]
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder


def test_files_are_read_as_torchvision_reads_them(name, root, folder):
    ours = data.load(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [KINDS[name](str(root), train=train) for train in (True, False)]
    assert np.array_equal(ours.train_images.numpy().transpose(0, 2, 3, 1), theirs[0].data)
    assert np.array_equal(ours.test_images.numpy().transpose(0, 2, 3, 1), theirs[1].data)
    assert ours.train_labels.tolist() == theirs[0].targets and ours.test_labels.tolist() == theirs[1].targets
    assert list(ours.class_names) == theirs[0].classes and ours.num_classes == CLASSES[name]
    assert (ours.mean, ours.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert {info.name: info.present for info in data.available()}[name]


def test_missing_and_damaged_files_are_named(name, folder):
    file = KINDS[name].test_list[0][0]
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[:-1])
    with pytest.raises(DataUnavailable, match="is damaged: its checksum is not the published one") as caught:
        data.load(name)
    assert str(folder / file) in str(caught.value) and f"`lnlib data fetch {name}`" in str(caught.value)
    (folder / file).unlink()
    with pytest.raises(DataUnavailable) as caught:
        data.load(name)
    message, kind = str(caught.value), KINDS[name]
    assert message.startswith(f"there is no {folder / file}") and "\n" not in message
    assert f"put {kind.filename} from {kind.url} into {folder}" in message
    assert not {info.name: info.present for info in data.available()}[name]


def test_an_archive_laid_out_by_hand_is_unpacked_in_place(name, root, files, monkeypatch):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for file, content in files.items():
            entry = tarfile.TarInfo(f"{FOLDERS[name]}/{file}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    kind, folder = KINDS[name], root / FOLDERS[name]
    monkeypatch.setattr(kind, "tgz_md5", md5(packed.getvalue()))
    folder.mkdir(parents=True)
    (folder / kind.filename).write_bytes(packed.getvalue())
    data.fetch(name)
    assert {path.name for path in folder.iterdir()} == {*files, kind.filename}
    assert len(data.load(name).test_images) == CLASSES[name]


def test_a_download_that_fails_says_why(name, root, files, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", refuse)
    with pytest.raises(DataUnavailable, match=r"cannot fetch CIFAR-100? into .*: no route to host; run"):
        data.fetch(name)


@pytest.fixture
def jpegs(root) -> Path:
    """Pictures of CIFAR-10's classes: three to train on and one to test on of each, of one grey a class."""
    folder = root / "cifar10-jpeg"
    for part, count in (("train", 3), ("test", 1)):
        for label, name in enumerate(CIFAR_NAMES):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                picture = Image.new("RGB", (32, 32), (20 * label, 20 * label, 200))
                picture.save(folder / part / name / f"{number:04}.jpg")
    return folder


def test_the_jpeg_copy_is_decoded_once(jpegs, monkeypatch):
    seen = []
    first = data.load("cifar-10-jpeg", lambda done, total: seen.append((done, total)))
    assert seen[-1] == (40, 40) and len(seen) == 40
    assert first.train_images.shape == (30, 3, 32, 32) and first.test_images.shape == (10, 3, 32, 32)
    assert list(first.class_names) == CIFAR_NAMES and first.mean == (0.485, 0.456, 0.406)
    blues = first.train_images[:, 0, 16, 16].float()
    torch.testing.assert_close(blues, 20.0 * first.train_labels, atol=3, rtol=0)
    assert first.train_files[3] == "train/automobile/0000.jpg" and len(first.test_files) == 10
    assert {info.name: info.present for info in data.available()}["cifar-10-jpeg"]

    monkeypatch.setattr(pictures, "decode", lambda *args: pytest.fail("decodes again"))
    second = data.load("cifar-10-jpeg")
    assert torch.equal(first.train_images, second.train_images)
    assert torch.equal(first.test_labels, second.test_labels)


def test_the_decoded_copy_is_made_again_where_files_change_or_it_is_damaged(jpegs, tmp_path):
    before = data.load("cifar-10-jpeg").train_images
    (kept,) = (tmp_path / "cache").rglob("decoded-*.npz")
    Image.new("RGB", (32, 32), (255, 255, 255)).save(jpegs / "train" / "airplane" / "0001.jpg")
    after = data.load("cifar-10-jpeg").train_images
    assert (after[1] > 250).all() and torch.equal(after[2:], before[2:])
    for content in (b"", kept.read_bytes()[:1000], b"no archive at all"):
        kept.write_bytes(content)
        assert torch.equal(data.load("cifar-10-jpeg").train_images, after)


def test_a_cache_that_cannot_be_written_does_no_harm(jpegs, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert len(data.load("cifar-10-jpeg").train_images) == 30


def test_a_jpeg_copy_that_is_missing_or_damaged_is_named(root):
    with pytest.raises(DataUnavailable, match=r"there is no .*cifar10-jpeg.*train/CLASS/\*\.jpg"):
        data.load("cifar-10-jpeg")
    with pytest.raises(DataUnavailable, match=r"CIFAR-10 \(JPEG copy\) cannot be fetched; put the pictures"):
        data.fetch("cifar-10-jpeg")
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (root / "cifar10-jpeg" / part / name).mkdir(parents=True)
            (root / "cifar10-jpeg" / part / name / "1.jpg").write_text("no picture")
    with pytest.raises(DataUnavailable, match=r"4 of 4 pictures .* cannot be read, the first is .*1\.jpg"):
        data.load("cifar-10-jpeg")
    (root / "cifar10-jpeg" / "test" / "cow").mkdir()
    with pytest.raises(InvalidValue, match="must hold the same classes, but only one of them has cow"):
        data.load("cifar-10-jpeg")


def test_pair_noise_is_the_papers_by_default(jpegs):
    task = make_task(data.load("cifar-10-jpeg"), noise.matrix("pair", 0.4, 10), validation=10)
    names = task.dataset.class_names
    cells = zip(*np.nonzero(task.truth.matrix), strict=True)
    pairs = {names[true]: names[given] for true, given in cells if true != given}
    assert pairs == {"truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog"}
