"""Cross-fitting: every image held out once, no copy of it trained on, the folds kept and continued as one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cleanlab.rank import get_label_quality_scores
from hypothesis import given, settings
from hypothesis import strategies as st

from lnlib import data, noise
from lnlib.analysis import detection
from lnlib.errors import InvalidValue
from lnlib.papers.record import SWEEP
from lnlib.papers.run_folder import DamagedRun
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store
from lnlib.training import Epoch, runs
from lnlib.training.run import tensor_hash

FIELDS = {"method": "limit", "rate": 0.3, "epochs": 3, "train_size": 250, "folds": 2}


def specs(**fields: object) -> list[Spec]:
    return [Spec.parse({**FIELDS, **fields, "fold": fold}) for fold in range(2)]


def small(labels: Sequence[int], pixels: Sequence[int] | None = None) -> data.Dataset:
    """One grey pixel an image, all different unless given."""
    images = torch.tensor(range(len(labels)) if pixels is None else pixels, dtype=torch.uint8)
    images, names = images[:, None, None, None], tuple(map(str, range(max(labels) + 1)))
    parts = images, torch.tensor(labels), images, torch.tensor(labels)
    return data.Dataset("small", *parts, names, mean=(0.5,), std=(0.5,))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(2, 12), min_size=2, max_size=6),
    st.integers(2, 6),
    st.integers(0, 10**6),
    st.randoms(use_true_random=False),
)
def test_every_image_is_held_out_and_neither_it_nor_a_copy_is_seen_by_its_network(sizes, folds, seed, random):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    pixels = [random.randrange(2 * len(labels)) for _ in labels]  # some of them twice
    dataset = small(labels, pixels)
    try:
        tasks = data.fold_tasks(dataset, None, seed, folds=folds)
    except InvalidValue as error:
        assert "image" in str(error)  # too few are left for one of the classes, or of the splits
        return
    held = [set(task.test.index.tolist()) for task in tasks]
    assert set.union(*held) == set(range(len(labels)))
    for task, own in zip(tasks, held, strict=True):
        train, validation = (set(split.index.tolist()) for split in (task.train, task.validation))
        copies = [{pixels[row] for row in rows} for rows in (own, train, validation)]
        assert not copies[0] & copies[1] and not copies[0] & copies[2] and not copies[1] & copies[2]
        assert set(task.train.labels.tolist()) == set(range(len(sizes)))
    assert len({(len(task.train), len(task.validation), len(task.test)) for task in tasks}) == 1
    assert len({id(task.dataset) for task in tasks}) == 1  # which lets them train as one stack


def test_the_folds_are_even_stratified_by_given_labels_and_blind_to_the_true_ones(digits):
    matrix = noise.uniform(0.4, 10)
    tasks = data.fold_tasks(digits, matrix, 3)
    given_labels = noise.corrupt(digits.train_labels, matrix, 3)
    rows = torch.cat([task.test.index for task in tasks])
    assert torch.equal(rows.sort().values, torch.arange(1500))
    counts = np.bincount(given_labels, minlength=10)
    for task in tasks:
        assert [len(split) for split in (task.train, task.validation, task.test)] == [960, 240, 300]
        for split in (task.train, task.validation, task.test):
            assert split.labels.tolist() == given_labels[split.index].tolist()
            shares = torch.bincount(split.labels, minlength=10).numpy() / len(split)
            assert np.abs(shares - counts / 1500).max() < 0.02
        assert task.truth.train_labels.tolist() == digits.train_labels[task.train.index].tolist()
    assert tasks[0].label_hash != tasks[1].label_hash


def test_the_images_of_all_folds_are_those_of_one_split(digits):
    tasks = data.fold_tasks(digits, noise.uniform(0.2, 10), 5, size=500)
    one = data.make_task(digits, noise.uniform(0.2, 10), 5, train_size=400, validation=100)
    pool = set(one.train.index.tolist() + one.validation.index.tolist())
    assert {row for task in tasks for row in task.test.index.tolist()} == pool


def test_labels_that_people_gave_are_taken_as_they_are():
    true, people = [0, 0, 0, 0, 1, 1, 1, 1], torch.tensor([0, 0, 0, 1, 1, 1, 1, 0])
    plain = small(true)
    dataset = data.Dataset(
        "people", plain.train_images, plain.train_labels, plain.test_images, plain.test_labels, ("a", "b"),
        plain.mean, plain.std, given_labels=people,
    )  # fmt: skip
    (first, second) = data.fold_tasks(dataset, None, folds=2)
    found = detection.held_out([first, second], [torch.zeros(4, 2)] * 2)
    assert torch.equal(found.labels, people) and found.rows.tolist() == list(range(8))
    assert first.truth.matrix.tolist() == [[0.75, 0.25], [0.25, 0.75]]


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        ([0, 0, 0, 1], {}, "folds need at least 2 images of every class, got 1 of 1; add one"),
        ([0, 0, 0, 1, 1, 1], {"folds": 1}, "folds must be at least 2, got 1"),
        ([0, 0, 0, 1, 1, 1], {"validation": 9}, "validation must leave images to train on of the"),
        ([0, 0, 1, 1], {"folds": 2}, "validation must leave images to train on of the 2 beside a fold"),
    ],
)
def test_too_few_images_are_refused_with_the_number_that_works(labels, options, said):
    with pytest.raises(InvalidValue, match=said):
        data.fold_tasks(small(labels), None, **options)


def test_three_images_of_a_class_are_enough():
    tasks = data.fold_tasks(small([0, 1, 2] * 3), None, folds=3, validation=1)
    assert all(set(task.train.labels.tolist()) == {0, 1, 2} for task in tasks)


def test_a_pool_holds_the_test_images_and_their_files_too(digits):
    files = {
        "train_files": tuple(f"a{row}" for row in range(1500)),
        "test_files": tuple(f"b{row}" for row in range(297)),
    }
    pool = data.pooled(replace(digits, **files))
    assert torch.equal(pool.train_images[1500:], digits.test_images) and pool.test_images is pool.train_images
    assert pool.train_files[1500] == "b0" and len(pool.train_labels) == 1797


# What the ranking makes of them


def test_an_image_is_listed_once_with_the_fold_that_held_it_out_and_both_probabilities():
    dataset = small([0, 1] * 5)
    tasks = data.fold_tasks(dataset, None, folds=4)  # of 3, 3, 3 and 3: two are held out twice
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(len(task.test), 2, generator=generator) for task in tasks]
    found = detection.held_out(tasks, logits)
    frame = detection.suspects_of_folds(dataset, found)
    assert sorted(frame["row"]) == list(range(10)) and set(frame["part"]) == {"held out"}
    for row, fold, given_share, largest in frame[
        ["row", "fold", "given_probability", "suggested_probability"]
    ].itertuples(index=False):
        task, own = tasks[fold - 1], logits[fold - 1]
        assert row in task.test.index and not any(row in earlier.test.index for earlier in tasks[: fold - 1])
        shares = own.double().softmax(1)[task.test.index.tolist().index(row)]
        assert given_share == pytest.approx(float(shares[row % 2])) and largest == pytest.approx(
            float(shares.max())
        )
    quality = get_label_quality_scores(found.labels.numpy(), found.logits.double().softmax(1).numpy())
    order = detection.suspects_of_folds(dataset, found, detection.loss_score)["row"]
    assert order.tolist() == np.argsort(quality).tolist()
    with pytest.raises(InvalidValue, match="the held-out part has 3 images, got logits for 2"):
        detection.held_out(tasks, [logits[0][:2], *logits[1:]])


# In the store


def test_what_has_no_folds_keeps_its_fingerprint_and_each_fold_has_its_own():
    assert Spec.parse({}).fingerprint == "0483cedf4439e296"  # as before there were folds
    assert len({spec.fingerprint for spec in (*specs(), *specs(folds=4))}) == 4
    assert specs()[1].label.endswith("fold 2 of 2")
    assert tuple(specs()[0].sizes()) == (100, 25, 125)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"fold": 1}, "fold counts from 0 and must be below the 1 folds, got 1"),
        ({"folds": 3, "meta_size": 10}, "folds have even classes and no meta set"),
        ({"folds": 3, "imbalance": 5.0}, "folds have even classes and no meta set"),
    ],
)
def test_folds_that_cannot_be_are_refused(fields, said):
    with pytest.raises(InvalidValue, match=said):
        Spec.parse(fields)


class Stopped(Exception):
    pass


def stop_at(epoch: int):
    def look(epochs: Sequence[Epoch]) -> None:
        if epochs[0].epoch == epoch:
            raise Stopped

    return look


def prefer(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a sweep find this mode faster, whatever this machine says."""
    cost = 0 if mode == "stacked" else 2
    monkeypatch.setattr(runs, "timed_step", lambda state: float(len(state.members) ** cost))


@pytest.mark.parametrize(
    ("method", "mode", "later"),
    [("limit", "stacked", "solo"), ("limit", "solo", "stacked"), ("dmi", "stacked", "stacked")],
)  # DMI begins from other runs
def test_interrupted_folds_go_on_together_as_if_they_had_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, mode: str, later: str
):
    chosen, seen = specs(method=method), list[int]()
    prefer(mode, monkeypatch)
    whole = Store(tmp_path / "whole").obtain_together(chosen)
    store = Store(tmp_path / "cut")
    with pytest.raises(Stopped):
        store.obtain_together(chosen, checkpoint_seconds=0, on_epochs=stop_at(2))
    assert store.named(chosen[0].fingerprint).status == "interrupted"
    prefer(later, monkeypatch)
    results = store.obtain_together(chosen, on_epochs=lambda epochs: seen.append(epochs[0].epoch))
    assert seen == [3]  # what is told of was saved before
    for one, other in zip(whole, results, strict=True):
        assert one.circumstances.mode == other.circumstances.mode == mode
        assert tensor_hash(one.best_states()) == tensor_hash(other.best_states())
    assert not (store.folder(chosen[0]) / SWEEP).exists()
    again = store.obtain_together(chosen, on_epochs=lambda epochs: pytest.fail("trained twice"))
    assert [result.folder for result in again] == [store.folder(spec) for spec in chosen]


def test_a_damaged_checkpoint_is_set_aside_and_the_folds_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store, chosen, seen = Store(tmp_path), specs(), list[int]()
    prefer("solo", monkeypatch)
    with pytest.raises(Stopped):
        store.obtain_together(chosen, checkpoint_seconds=0, on_epochs=stop_at(2))
    (store.folder(chosen[0]) / SWEEP).write_bytes(b"nothing")
    with pytest.warns(DamagedRun, match="set aside"):
        store.obtain_together(chosen, on_epochs=lambda epochs: seen.append(epochs[0].epoch))
    assert seen == [1, 2, 3]
