"""CIFAR-10N and CIFAR-100N in small: people's labels beside the true ones, and files that mislead."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from lnlib import data, noise
from lnlib.data.human import with_human_labels
from lnlib.data.task import given_task, make_task
from lnlib.errors import DataUnavailable, InvalidValue, UnknownName
from lnlib.methods import CrossEntropy
from lnlib.nets import MLP
from lnlib.training import fit

KEYS = {"aggregate": "aggre_label", "worst": "worse_label"} | {
    f"random{number}": f"random_label{number}" for number in (1, 2, 3)
}


@pytest.fixture
def cifar() -> data.Dataset:
    """Thirty pictures of each of ten classes, in no order."""
    generator = np.random.default_rng(0)
    labels = torch.from_numpy(generator.permutation(np.arange(300) % 10))
    images = torch.from_numpy(generator.integers(0, 256, (300, 3, 4, 4), dtype=np.uint8))
    names = tuple(f"class {label}" for label in range(10))
    return data.Dataset(
        "cifar-10", images, labels, images[:10], torch.arange(10), names, (0.5,) * 3, (0.25,) * 3
    )


def human(cifar: data.Dataset) -> dict[str, np.ndarray]:
    """What the published file holds; the aggregate of the labels is better than the worst of them."""
    true = cifar.train_labels.numpy()
    sets = {key: noise.corrupt(true, noise.uniform(0.2, 10), seed) for seed, key in enumerate(KEYS.values())}
    sets["worse_label"] = noise.corrupt(true, noise.pair(0.5 - 1e-9, 10, "next-class"), 9)
    return {"clean_label": true, **sets}


@pytest.fixture
def file(tmp_path, cifar) -> Path:
    torch.save(human(cifar), tmp_path / "CIFAR-10_human.pt")
    return tmp_path / "CIFAR-10_human.pt"


@pytest.mark.parametrize("kind", KEYS)
def test_people_s_labels_stand_beside_the_true_ones(file, cifar, kind):
    found = with_human_labels(cifar, f"cifar-10n-{kind}", file, KEYS[kind])
    assert found.name == f"cifar-10n-{kind}" and torch.equal(found.train_labels, cifar.train_labels)
    assert found.given_labels.tolist() == human(cifar)[KEYS[kind]].tolist()
    assert found.given_labels.dtype == torch.int64 and found.train_images is cifar.train_images


def test_files_written_under_numpy_1_are_read(tmp_path, cifar):
    torch.save(human(cifar), tmp_path / "new.pt", _use_new_zipfile_serialization=False)
    old = (tmp_path / "new.pt").read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "old.pt").write_bytes(old)
    assert b"numpy.core.multiarray\n_reconstruct" in old
    found = with_human_labels(cifar, "cifar-10n-worst", tmp_path / "old.pt", "worse_label")
    assert found.given_labels.tolist() == human(cifar)["worse_label"].tolist()


def test_the_task_knows_the_truth_and_how_people_err(file, cifar):
    dataset = with_human_labels(cifar, "cifar-10n-worst", file, "worse_label")
    task = given_task(dataset, 2, validation=60, meta_size=50)
    assert (len(task.train), len(task.validation), len(task.meta)) == (190, 60, 50)
    assert torch.equal(task.train.labels, dataset.given_labels[task.train.index])
    assert torch.equal(task.validation.labels, dataset.given_labels[task.validation.index])
    assert torch.equal(task.meta.labels, cifar.train_labels[task.meta.index])
    assert torch.bincount(task.meta.labels).tolist() == [5] * 10
    assert task.truth.known and torch.equal(task.truth.train_labels, cifar.train_labels[task.train.index])
    assert torch.equal(task.truth.validation_labels, cifar.train_labels[task.validation.index])
    counts = noise.confusion(cifar.train_labels, dataset.given_labels, 10)
    assert np.allclose(task.truth.matrix * 30, counts)
    assert task.effective_error_rate == pytest.approx(0.5, abs=0.15)
    # The splits are those of CIFAR-10 itself, under whatever noise.
    same = make_task(cifar, np.eye(10), 2, validation=60, meta_size=50)
    assert torch.equal(same.train.index, task.train.index)
    assert len(given_task(dataset).validation) == 60
    with pytest.raises(InvalidValue, match=r"noise needs true labels .* use given_task"):
        make_task(dataset, np.eye(10))


def test_a_run_measures_what_it_memorises(file, cifar):
    dataset = with_human_labels(cifar, "cifar-10n-worst", file, "worse_label")
    last = fit(CrossEntropy(), given_task(dataset), net=MLP(32, 2), epochs=60).records[-1]
    assert last.corrupted_fit > 0.8 and last.memorized.bits > 0.2


def test_another_order_than_cifars_is_refused(file, cifar):
    content = human(cifar)
    torch.save({key: labels[::-1].copy() for key, labels in content.items()}, file)
    with pytest.raises(DataUnavailable, match="is in another order than CIFAR's files"):
        with_human_labels(cifar, "n", file, "worse_label")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "has no clean_label"),
        ([1, 2], "has no clean_label"),
        ({"worse_label": None}, "has no worse_label"),
        ({"worse_label": np.full(300, 10)}, "worse_label of .* must lie in 0 to 9, got 10 to 10"),
        ({"worse_label": np.full(300, -1)}, "must lie in 0 to 9, got -1 to -1"),
        ({"worse_label": torch.zeros(300)}, r"must be 300 labels, got float32 \(300,\)"),
        ({"worse_label": np.zeros(299, dtype=np.int64)}, r"must be 300 labels, got int64 \(299,\)"),
        ({"clean_label": np.zeros((2, 150), dtype=np.int64)}, "clean_label of .* must be 300 labels"),
    ],
)
def test_files_without_labels_are_refused(file, cifar, content, message):
    if isinstance(content, dict) and content:
        content = {key: value for key, value in (human(cifar) | content).items() if value is not None}
    torch.save(content, file)
    with pytest.raises(DataUnavailable, match=message) as caught:
        with_human_labels(cifar, "n", file, "worse_label")
    assert str(file) in str(caught.value)


class Harmful:
    def __reduce__(self):
        return pytest.fail, ("the file's code runs",)


def test_a_damaged_or_harmful_file_is_refused_and_not_run(file, cifar):
    whole = file.read_bytes()
    torch.save(human(cifar) | {"worse_label": Harmful()}, file)
    contents = [file.read_bytes(), whole[: len(whole) // 2], b"", b"no archive", pickle.dumps(Harmful(), 2)]
    for content in contents:
        file.write_bytes(content)
        with pytest.raises(DataUnavailable, match=r"CIFAR-10_human\.pt(:| is damaged)") as caught:
            with_human_labels(cifar, "n", file, "worse_label")
        assert "\n" not in str(caught.value)
    file.unlink()
    file.mkdir()
    with pytest.raises(DataUnavailable, match=r"cannot read .*CIFAR-10_human\.pt"):
        with_human_labels(cifar, "n", file, "worse_label")
    file.rmdir()
    with pytest.raises(DataUnavailable, match=r"there is no .*CIFAR-10_human\.pt"):
        with_human_labels(cifar, "n", file, "worse_label")


def test_the_names_say_which_labels_and_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("LNLIB_DATA", str(tmp_path))
    known = {info.name: info for info in data.available()}
    for name in [f"cifar-10n-{kind}" for kind in KEYS] + ["cifar-100n"]:
        assert not known[name].present
        base = "cifar-100" if name == "cifar-100n" else "cifar-10"
        with pytest.raises(
            DataUnavailable, match=rf"there is no .*{base}-.*`lnlib data fetch {base}`"
        ) as caught:
            data.load(name)
        assert f"put {base.upper()}_human.pt" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UnknownName, match="did you mean 'cifar-10n-worst'"):
        data.load("cifar-10n-worse")
