"""ANIMAL-10N in small: its layout, its faults, its task, and training with ResNet-32."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lnlib import data, noise
from lnlib.data import decoding as pictures
from lnlib.data.animal10n import CLASS_NAMES, read_animal10n
from lnlib.data.task import given_task, make_task
from lnlib.errors import DataUnavailable, InvalidValue
from lnlib.methods import CrossEntropy
from lnlib.nets import ResNet32
from lnlib.training import FlipCrop, Run

COUNTS = (60, 40)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Pictures of the published layout, as many of each class, whose red tells the class."""
    monkeypatch.setenv("LNLIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "ANIMAL-10N"
    for part, count in zip(("training", "testing"), COUNTS, strict=True):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            picture = Image.new("RGB", (64, 64), (25 * (number % 10), 10, number))
            picture.save(folder / part / f"{number % 10}_name_{number:03}.jpg", quality=100)
    (folder / "training" / "._0_name_000.jpg").write_bytes(b"what macOS leaves behind")
    return folder


@pytest.fixture
def animals(folder) -> data.Dataset:
    return read_animal10n(folder, "animal-10n", counts=COUNTS, num_clean=20)


def test_some_test_pictures_stand_behind_the_noisy_ones(folder, animals, monkeypatch):
    assert animals.train_images.shape == (80, 3, 64, 64) and animals.test_images.shape == (20, 3, 64, 64)
    assert animals.num_clean == 20 and animals.class_names == CLASS_NAMES and animals.num_classes == 10
    assert torch.bincount(animals.train_labels[60:]).tolist() == [2] * 10
    assert torch.bincount(animals.test_labels).tolist() == [2] * 10
    files = [*animals.train_files, *animals.test_files]
    assert len(set(files)) == 100 and sum(file.startswith("testing/") for file in files[:80]) == 20
    for images, labels in (
        (animals.train_images, animals.train_labels),
        (animals.test_images, animals.test_labels),
    ):
        torch.testing.assert_close(images[:, 0].float().mean((1, 2)), 25.0 * labels, atol=4, rtol=0)
    monkeypatch.setattr(pictures, "decode", lambda *_: pytest.fail("decodes again"))
    again = read_animal10n(folder, "animal-10n", counts=COUNTS, num_clean=20)
    assert torch.equal(again.train_images, animals.train_images)


def test_the_meta_set_is_clean_and_the_validation_split_noisy(animals):
    task = given_task(animals, 1, validation=20, meta_size=20)
    assert (len(task.train), len(task.validation), len(task.meta), len(task.test)) == (40, 20, 20, 20)
    assert max(task.train.index.max(), task.validation.index.max()) < 60 <= task.meta.index.min()
    rows = torch.cat([task.train.index, task.validation.index, task.meta.index])
    assert sorted(rows.tolist()) == list(range(80))
    assert not task.truth.known and (task.truth.validation_labels == -1).all()
    for split in (task.train, task.validation, task.meta):
        assert torch.equal(split.labels, animals.train_labels[split.index])
        assert set(split.labels.tolist()) == set(range(10))
    smaller = given_task(animals, 1, validation=20, train_size=20)
    assert smaller.meta is None and set(smaller.train.index.tolist()) < set(task.train.index.tolist())
    assert torch.equal(smaller.validation.index, task.validation.index)
    share = given_task(animals, 1, validation=1 / 3)
    assert torch.equal(share.validation.index, task.validation.index)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 20, "train_size": 41}, "train_size must lie in 1 to 40 and meta_size in 0 to 20"),
        ({"validation": 20, "meta_size": 21}, "meta_size in 0 to 20, got None and 21"),
        ({"meta_size": 20}, "meta_size in 0 to 19, got None and 20"),
        ({"validation": 0}, "validation must be .* whole number of at least 1 or None, got 0"),
        ({"validation": 0.0}, r"validation must be a number in \(0, 1\)"),
        ({"validation": 60}, "train_size must lie in 1 to 0"),
        ({"validation": 20, "meta_size": 5}, "meta set needs an image of every class, its 5"),
    ],
)
def test_sizes_that_cannot_be_are_refused(animals, options, message):
    with pytest.raises(InvalidValue, match=message):
        given_task(animals, **options)


def test_made_noise_is_refused(animals):
    with pytest.raises(InvalidValue, match="labels of animal-10n are noisy already; use given_task"):
        make_task(animals, noise.uniform(0.5, 10))


def test_resnet32_takes_a_training_step(animals):
    task = given_task(animals, train_size=20, validation=10, meta_size=10)
    settings = {"net": ResNet32(), "batch_size": 10, "epochs": 1, "augment": FlipCrop(8, "reflect")}
    run = Run(CrossEntropy(), task, **settings)
    classifier = run.nets["classifier"].module
    before = classifier.output.weight.detach().clone()
    (epoch,) = run
    assert np.isfinite(epoch.loss) and 0 <= epoch.validation_accuracy <= 1 and epoch.clean_accuracy is None
    assert classifier.stem_norm.num_batches_tracked == 2
    assert not torch.equal(before, classifier.output.weight)


def test_missing_pictures_and_names_without_a_label_are_told(folder):
    with pytest.raises(DataUnavailable, match=r"training must hold 50000 pictures, it has 60; ask its auth"):
        data.load("animal-10n")
    assert {info.name: info.present for info in data.available()}["animal-10n"]
    (folder / "testing" / "7_name_017.jpg").rename(folder / "testing" / "10_name.jpg")
    with pytest.raises(DataUnavailable, match=r"1 of 40 pictures have no label .* first is .*10_name.jpg"):
        read_animal10n(folder, "animal-10n", counts=COUNTS)
    (folder / "testing" / "10_name.jpg").rename(folder / "testing" / "cat.jpg")
    with pytest.raises(DataUnavailable, match=r"1 of 40 pictures have no label .* first is .*cat.jpg"):
        read_animal10n(folder, "animal-10n", counts=COUNTS)
    for file in (folder / "testing").iterdir():
        file.unlink()
    (folder / "testing").rmdir()
    with pytest.raises(DataUnavailable, match=r"there is no .*testing"):
        read_animal10n(folder, "animal-10n", counts=COUNTS)
    assert not {info.name: info.present for info in data.available()}["animal-10n"]
    with pytest.raises(DataUnavailable, match="ANIMAL-10N cannot be fetched; ask its authors"):
        data.fetch("animal-10n")


def test_a_missing_class_and_an_unreadable_picture_are_named(folder):
    (folder / "training" / "3_name_003.jpg").write_text("no picture")
    with pytest.raises(DataUnavailable, match=r"1 of 100 pictures .* cannot be read, the first is .*3_name"):
        read_animal10n(folder, "animal-10n", counts=COUNTS)
    for number in range(9, 40, 10):
        (folder / "testing" / f"9_name_{number:03}.jpg").rename(folder / "testing" / f"8_name_{number}.jpg")
    with pytest.raises(InvalidValue, match=r"testing set needs an image of every class.* none of Guinea pig"):
        read_animal10n(folder, "animal-10n", counts=COUNTS)
