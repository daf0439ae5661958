"""Clothing1M in small: its layout, its faults, and training on pictures that are read when needed."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lnlib import data, noise
from lnlib.data.clothing1m import CLASS_NAMES, LISTS, read_clothing1m
from lnlib.data.task import given_task, make_task
from lnlib.errors import DataUnavailable, InvalidValue
from lnlib.methods import L2RW, LIMIT, CrossEntropy, FineTuning, LossNet
from lnlib.nets import CNN, MLP, ResNet50
from lnlib.training import CropFlip, Member, Run, Runs, fit, images, sweep

COUNTS = {"training": 42, "validation": 28, "test": 14}
SIDE = 24


def lay_out(folder: Path) -> None:
    """Pictures of the published layout, the same number of each class, whose brightness tells the class."""
    number = 0
    lines: dict[str, list[str]] = {file: [] for files in LISTS.values() for file in files}
    for part, (keys, labels) in LISTS.items():
        for row in range(COUNTS[part]):
            label = row % 14
            key = f"images/{number % 10}/{number % 7:02}/{number},{label}.jpg"
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            picture = Image.new("RGB", (20 + row % 5, 30), (15 * label, 15 * label + row % 3, 100))
            picture.save(folder / key)
            lines[keys].append(key)
            lines[labels].append(f"{key} {label}")
            number += 1
    for file, entries in lines.items():
        (folder / file).write_text("\n".join(entries) + "\n")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LNLIB_DATA", str(tmp_path))
    folder = tmp_path / "Clothing1M"
    folder.mkdir()
    lay_out(folder)
    return folder


@pytest.fixture
def clothing(folder) -> data.Dataset:
    return read_clothing1m(folder, "clothing1m", side=SIDE)


@pytest.fixture(params=[0, 2], ids=["read here", "read by two processes"])
def workers(request, monkeypatch) -> Iterator[int]:
    """How many processes read; it is seen that they do."""
    seen = []

    def loader(*arguments, **options):
        seen.append(options["num_workers"])
        return DataLoader(*arguments, **options)

    monkeypatch.setattr(images, "WORKERS", request.param)
    monkeypatch.setattr(images, "BATCHES_PER_WORKER", 1)
    monkeypatch.setattr(images, "DataLoader", loader)
    yield request.param
    assert max(seen) == request.param


def test_it_is_read_from_its_published_layout(folder):
    folders = []
    found = data.load("clothing1m", lambda done, total: folders.append((done, total)))
    assert found.train_images.shape == (70, 3, 256, 256) and found.test_images.shape == (14, 3, 256, 256)
    assert found.num_clean == 28 and found.num_classes == 14 and found.class_names == CLASS_NAMES
    assert found.train_labels.tolist() == [row % 14 for row in (*range(42), *range(28))]
    assert folders[-1] == (len(folders), len(folders)) and 1 < len(folders) <= 70
    two = found.train_images[torch.tensor([45, 3])]
    assert two.dtype == torch.uint8 and two.shape == (2, 3, 256, 256)
    assert two[:, 0].float().mean((1, 2)).tolist() == pytest.approx([15 * 3, 15 * 3], abs=3)
    assert {info.name: info.present for info in data.available()}["clothing1m"]


def test_missing_pictures_are_counted_and_the_first_is_named_without_opening_any(folder, monkeypatch):
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("opens a picture"))
    keys = (folder / "noisy_train_key_list.txt").read_text().split()
    for key in (keys[5], keys[3], keys[40]):
        (folder / key).unlink()
    with pytest.raises(DataUnavailable, match=r"3 of 84 pictures of Clothing1M are missing") as caught:
        data.load("clothing1m")
    message = str(caught.value)
    assert f"the first is {folder / keys[3]}" in message and "\n" not in message and "LNLIB_DATA" in message


def test_missing_lists_and_labels_are_named(folder):
    kept = (folder / "clean_label_kv.txt").read_text()
    lines = kept.splitlines()
    (folder / "clean_label_kv.txt").write_text("\n".join(lines[1:]))
    with pytest.raises(DataUnavailable, match=r"1 of 28 validation pictures have no label in .*clean_label"):
        data.load("clothing1m")
    for bad in ("images/1.jpg 14", "images/1.jpg", "images/1.jpg -1"):
        (folder / "clean_label_kv.txt").write_text("\n".join([*lines[:2], bad]))
        with pytest.raises(DataUnavailable, match=r"line 3 of .* must hold a key and a label from 0 to 13"):
            data.load("clothing1m")
    (folder / "clean_label_kv.txt").write_text("\n")
    with pytest.raises(DataUnavailable, match=r"clean_label_kv.txt is empty"):
        data.load("clothing1m")
    (folder / "clean_label_kv.txt").unlink()
    with pytest.raises(DataUnavailable, match=r"there is no .*clean_label_kv.txt; ask its authors"):
        data.load("clothing1m")
    assert not {info.name: info.present for info in data.available()}["clothing1m"]
    with pytest.raises(DataUnavailable, match="Clothing1M cannot be fetched; ask its authors"):
        data.fetch("clothing1m")


def test_a_picture_in_two_lists_is_refused(folder):
    train, test = folder / "noisy_train_key_list.txt", folder / "clean_test_key_list.txt"
    key = test.read_text().split()[0]
    train.write_text(train.read_text() + key)
    with (folder / "noisy_label_kv.txt").open("a") as labels:
        labels.write(f"{key} 0\n")
    with pytest.raises(InvalidValue, match=f"got {key} for training and test"):
        data.load("clothing1m")


def test_the_task_trains_on_noisy_rows_and_validates_on_clean_ones(clothing):
    task = given_task(clothing, 3, train_size=28, meta_size=14)
    assert (len(task.train), len(task.validation), len(task.test)) == (28, 14, 14)
    assert task.meta is not None and len(task.meta) == 14
    rows = torch.cat([task.train.index, task.validation.index, task.meta.index])
    assert len(set(rows.tolist())) == 56
    assert task.train.index.max() < 42 <= min(task.validation.index.min(), task.meta.index.min())
    for split in (task.train, task.validation, task.meta):
        assert torch.equal(split.labels, clothing.train_labels[split.index])
        assert len(set(split.labels.tolist())) == 14
    assert not task.truth.known and (task.truth.train_labels == -1).all()
    assert np.isnan(task.effective_error_rate) and task.truth.confusion.sum() == 0
    assert torch.equal(task.truth.validation_labels, task.validation.labels)
    whole = given_task(clothing, 3)
    assert set(task.train.index.tolist()) < set(whole.train.index.tolist()) and len(whole.train) == 42
    assert whole.meta is None and len(whole.validation) == 28
    assert given_task(clothing, 4, train_size=28).label_hash != task.label_hash


def test_tasks_that_cannot_be_are_refused(clothing, digits):
    with pytest.raises(InvalidValue, match=r"noise needs true labels to corrupt.* use given_task"):
        make_task(clothing, noise.uniform(0.5, 14))
    with pytest.raises(InvalidValue, match=r"digits has true labels.* use make_task"):
        given_task(digits)
    with pytest.raises(InvalidValue, match="train_size must lie in 1 to 42 and meta_size in 0 to 27, got 43"):
        given_task(clothing, train_size=43)
    with pytest.raises(InvalidValue, match="training set needs an image of every class"):
        given_task(clothing, train_size=10)
    with pytest.raises(InvalidValue, match="meta set needs an image of every class"):
        given_task(clothing, meta_size=5)


def in_memory(clothing: data.Dataset) -> data.Dataset:
    """The same data set with its pictures read."""
    everything = [part[torch.arange(len(part))] for part in (clothing.train_images, clothing.test_images)]
    return dataclasses.replace(clothing, train_images=everything[0], test_images=everything[1])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("augment", [None, CropFlip(20)])
def test_streamed_pictures_train_as_resident_ones_do(clothing, workers, augment):
    state = torch.get_rng_state()
    settings = {"net": MLP(16, 2), "batch_size": 16, "epochs": 2, "augment": augment}
    streamed = fit(LIMIT(beta=1.0), given_task(clothing), **settings).records
    resident = fit(LIMIT(beta=1.0), given_task(in_memory(clothing)), **settings).records
    for ours, theirs in zip(streamed, resident, strict=True):
        assert ours.loss == theirs.loss
        assert ours.validation_accuracy == theirs.validation_accuracy
        assert ours.test_loss == pytest.approx(theirs.test_loss, rel=1e-5)
        assert ours.evaluated and ours.train_accuracy is None and ours.clean_accuracy is None
        assert theirs.train_accuracy is not None and theirs.clean_accuracy is None
        assert np.isnan(ours.memorized.bits) and np.isnan(theirs.memorized.bits)
    assert torch.equal(state, torch.get_rng_state())


def test_a_history_of_unknown_noise_has_a_frame_and_a_best_epoch(clothing):
    for dataset in (clothing, in_memory(clothing)):
        run = fit(CrossEntropy(), given_task(dataset), net=MLP(16, 2), batch_size=16, epochs=3)
        frame = run.history
        assert frame["memorized_bits"].isna().all() and frame["validation_accuracy"].notna().all()
        assert run.best is not None and run.best_weights is not None
        assert run.best.validation_accuracy == frame["validation_accuracy"].max()


def test_a_sweep_streams_too(clothing):
    task = given_task(clothing, meta_size=14)
    members = [Member(LIMIT(beta=beta), task, seed) for seed, beta in enumerate((1.0, 10.0))]
    settings = {"net": MLP(8, 1), "batch_size": 21, "epochs": 1, "augment": CropFlip(20)}
    losses = [
        [run.records[-1].loss for run in sweep(members, mode=mode, **settings)]
        for mode in ("stacked", "solo")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("method", [L2RW(), LossNet(), FineTuning(1)], ids=lambda method: method.label)
@pytest.mark.parametrize("augment", [None, CropFlip(20)])
def test_a_streamed_meta_set_is_read_once_and_trains_as_a_resident_one(
    clothing, monkeypatch, method, augment
):
    settings = {"net": MLP(8, 2), "batch_size": 21, "epochs": 2, "augment": augment, "precision": "float64"}
    tasks = [
        [given_task(dataset, seed, meta_size=14) for seed in range(2)]
        for dataset in (clothing, in_memory(clothing))
    ]
    streamed, resident = ([Member(method, task, task.seed) for task in some] for some in tasks)
    stacked, alone = (Runs(streamed, mode=mode, **settings) for mode in ("stacked", "solo"))
    with monkeypatch.context() as patch:
        patch.setattr(images.StreamedImages, "__getitem__", lambda *_: pytest.fail("reads while it trains"))
        stacked.train()
        alone.train()
    for runs in (stacked, alone):
        for run, other in zip(runs, sweep(resident, mode=runs[0].mode, **settings), strict=True):
            assert [epoch.loss for epoch in run.records] == [epoch.loss for epoch in other.records]
            for name, named in other.weights.items():
                assert all(torch.equal(run.weights[name][key], value) for key, value in named.items())
            for split in ("train", "meta", "validation", "test"):
                torch.testing.assert_close(run.logits(split), other.logits(split), rtol=1e-9, atol=1e-12)
            if run.sample_weights() is not None:
                torch.testing.assert_close(
                    run.sample_weights(), other.sample_weights(), rtol=1e-9, atol=1e-12
                )


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_an_unreadable_picture_stops_the_run_by_name(folder, clothing, workers):
    key = (folder / "noisy_train_key_list.txt").read_text().split()[7]
    (folder / key).write_text("no picture")
    settings = {"net": MLP(8, 1), "batch_size": 16, "epochs": 1}
    with pytest.raises(DataUnavailable, match="cannot be read as a picture; put the published") as caught:
        fit(CrossEntropy(), given_task(clothing), **settings)
    assert str(folder / key) in str(caught.value) and "\n" not in str(caught.value)


def test_resnet50_takes_a_training_step_and_is_evaluated(clothing):
    settings = {"net": ResNet50(), "batch_size": 7, "epochs": 1, "augment": CropFlip(20)}
    run = Run(CrossEntropy(), given_task(clothing, train_size=14), **settings)
    classifier = run.nets["classifier"].module
    before = classifier.output.weight.detach().clone()
    (epoch,) = run
    assert np.isfinite(epoch.loss) and 0 <= epoch.validation_accuracy <= 1 and np.isfinite(epoch.test_loss)
    assert not torch.equal(before, classifier.output.weight)
    assert classifier.body.bn1.num_batches_tracked == 2


def test_networks_are_built_for_the_crops(clothing):
    task = given_task(clothing)
    run = Run(CrossEntropy(), task, net=MLP(4, 1), augment=CropFlip(10))
    assert run.nets["classifier"].module.hidden[1].in_features == 3 * 10 * 10
    with pytest.raises(InvalidValue, match="crops of 224×224 need images at least as large, got 24×24"):
        fit(CrossEntropy(), task, net=CNN(), augment=CropFlip())
