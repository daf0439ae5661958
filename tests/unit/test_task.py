"""The task: disjoint stratified splits, noise by the matrix, and a truth that stays out of sight."""

from dataclasses import fields, is_dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lnlib import noise
from lnlib.data import Dataset, Split, Task, Truth, Visible, make_task
from lnlib.errors import InvalidValue

HALF = noise.uniform(0.5, 10)


def blobs(counts: list[int]) -> Dataset:
    """A data set with so many examples of each class; the image of row i holds i in its first two pixels."""
    labels = torch.from_numpy(np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)))
    rows = torch.arange(len(labels))
    images = torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = rows // 256, rows % 256
    test = torch.arange(len(counts)).repeat(2)
    names = tuple(f"class {label}" for label in range(len(counts)))
    return Dataset(
        "blobs",
        images,
        labels,
        torch.zeros(len(test), 1, 2, 2, dtype=torch.uint8),
        test,
        names,
        (0.5,),
        (0.5,),
    )


def parts(task: Task) -> dict[str, Split]:
    named = {"train": task.train, "validation": task.validation, "meta": task.meta}
    return {name: part for name, part in named.items() if part is not None}


@given(
    counts=st.lists(st.integers(30, 80), min_size=2, max_size=6),
    validation=st.one_of(st.floats(0.15, 0.4), st.integers(12, 20)),
    meta_size=st.one_of(st.just(0), st.integers(12, 20)),
    shrink=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_splits_are_disjoint_stratified_and_of_the_sizes_asked_for(
    counts, validation, meta_size, shrink, seed
):
    dataset = blobs(counts)
    total, num_classes = sum(counts), len(counts)
    train_size = total // 3 if shrink and total >= 90 else None
    matrix = noise.uniform(0.4, num_classes)
    task = make_task(dataset, matrix, seed, train_size=train_size, validation=validation, meta_size=meta_size)

    chosen = torch.cat([part.index for part in parts(task).values()])
    assert len(set(chosen.tolist())) == len(chosen)
    num_validation = round(validation * total) if isinstance(validation, float) else validation
    assert len(task.validation) == num_validation
    assert (len(task.meta) if task.meta else 0) == meta_size
    assert len(task.train) == (train_size or total - num_validation - meta_size)
    meta = np.bincount(task.meta.labels, minlength=num_classes) if task.meta else np.zeros(num_classes)
    assert meta.max() - meta.min() <= 1
    for name, part in parts(task).items():
        assert torch.equal(part.images, dataset.train_images[part.index])
        assert torch.equal(part.index, part.index.sort().values)
        found = torch.bincount(dataset.train_labels[part.index], minlength=num_classes).numpy()
        # All that is left is stratified but for what an even meta set took.
        whole = name == "train" and not train_size
        expected = np.array(counts) / total * (len(part) + whole * meta_size) - whole * meta
        if name != "meta":
            assert np.abs(found - expected).max() <= num_classes
    assert torch.equal(task.test.images, dataset.test_images) and torch.equal(
        task.test.labels, dataset.test_labels
    )


def test_train_validation_and_meta_cover_everything_by_default(digits):
    task = make_task(digits, HALF, 0, meta_size=50)
    assert {name: len(part) for name, part in parts(task).items()} == {
        "train": 1150,
        "validation": 300,
        "meta": 50,
    }
    everything = torch.cat([part.index for part in parts(task).values()]).sort().values
    assert torch.equal(everything, torch.arange(1500))
    assert (task.num_classes, task.image_shape) == (10, (1, 8, 8))


def test_truth_holds_the_true_labels_matrix_prior_and_confusion(digits):
    task = make_task(digits, noise.pair(0.4), 3, meta_size=100)
    truth = task.truth
    assert torch.equal(truth.train_labels, digits.train_labels[task.train.index])
    assert torch.equal(truth.validation_labels, digits.train_labels[task.validation.index])
    assert np.allclose(truth.matrix, noise.pair(0.4))
    assert np.allclose(truth.prior, torch.bincount(truth.train_labels) / len(task.train))
    assert np.array_equal(truth.confusion, noise.confusion(truth.train_labels, task.train.labels, 10))
    error_rate = 0.4 * truth.prior[[9, 2, 4, 3]].sum()
    assert task.effective_error_rate == pytest.approx(error_rate)
    assert error_rate != pytest.approx(0.16, abs=1e-6)


def test_train_and_validation_are_noisy_and_the_meta_set_is_clean(digits):
    task = make_task(digits, HALF, 1, meta_size=100)
    for part, true in (
        (task.train, task.truth.train_labels),
        (task.validation, task.truth.validation_labels),
    ):
        wrong = (part.labels != true).double().mean()
        assert abs(wrong - 0.5) < 5 * 0.5 / len(part) ** 0.5
    assert torch.equal(task.meta.labels, digits.train_labels[task.meta.index])
    assert torch.bincount(task.meta.labels).tolist() == pytest.approx([10] * 10, abs=1)


def test_equal_seeds_give_equal_tasks_and_others_others(digits):
    one, same, other = (make_task(digits, HALF, seed, meta_size=100) for seed in (0, 0, 1))
    for a, b in zip(parts(one).values(), parts(same).values(), strict=True):
        assert torch.equal(a.index, b.index) and torch.equal(a.labels, b.labels)
    assert one.label_hash == same.label_hash != other.label_hash
    assert len(one.label_hash) == 16 and int(one.label_hash, 16) >= 0
    assert not torch.equal(one.train.index, other.train.index)


def test_the_splits_do_not_depend_on_the_noise_and_more_noise_corrupts_more(digits):
    tasks = [make_task(digits, noise.uniform(rate, 10), 5, meta_size=100) for rate in (0.0, 0.2, 0.5, 0.8)]
    corrupted = []
    for task in tasks:
        for a, b in zip(parts(task).values(), parts(tasks[0]).values(), strict=True):
            assert torch.equal(a.index, b.index)
        corrupted.append(task.train.labels != task.truth.train_labels)
    assert not corrupted[0].any()
    for fewer, more in pairwise(corrupted):
        assert (fewer <= more).all() and more.sum() > fewer.sum()
    assert len({task.label_hash for task in tasks}) == 4


def test_a_smaller_task_is_part_of_the_larger_with_the_same_labels(digits):
    whole, small = make_task(digits, HALF, 2), make_task(digits, HALF, 2, train_size=300, meta_size=200)
    assert torch.equal(whole.validation.index, small.validation.index)
    assert torch.equal(whole.validation.labels, small.validation.labels)
    given = dict(zip(whole.train.index.tolist(), whole.train.labels.tolist(), strict=True))
    assert all(
        given[i] == y for i, y in zip(small.train.index.tolist(), small.train.labels.tolist(), strict=True)
    )
    assert not set(small.meta.index.tolist()) & set(small.train.index.tolist())
    assert whole.label_hash != small.label_hash


def reachable(thing: object) -> list[object]:
    """Everything that can be reached from an object through fields and properties."""
    found = [thing]
    if is_dataclass(thing):
        names = {field.name for field in fields(thing)}
        names |= {name for name, value in vars(type(thing)).items() if isinstance(value, property)}
        for name in names:
            found += reachable(getattr(thing, name))
    return found


def test_a_method_sees_nothing_that_leads_to_the_true_labels(digits):
    task = make_task(digits, HALF, 0, meta_size=100)
    seen = reachable(task.visible)
    assert isinstance(seen[0], Visible) and sum(isinstance(thing, Split) for thing in seen) == 3
    assert not any(isinstance(thing, (Task, Truth, Dataset)) for thing in seen)
    hidden = [task.truth.train_labels, task.truth.validation_labels, digits.train_labels, digits.test_labels]
    hidden += [digits.test_images]
    # The same walk over the task does find them all, so the check below can fail.
    for value, sees in ((task.visible, False), (task, True)):
        tensors = [thing for thing in reachable(value) if isinstance(thing, torch.Tensor)]
        for secret in hidden:
            assert (
                any(tensor.shape == secret.shape and torch.equal(tensor, secret) for tensor in tensors)
                == sees
            )


def test_a_task_leaves_the_data_set_and_the_matrix_alone(digits):
    before, matrix = digits.train_labels.clone(), noise.uniform(0.5, 10)
    task = make_task(digits, matrix, 0)
    task.train.labels[:] = 0
    task.truth.train_labels[:] = 0
    task.truth.matrix[:] = 0
    assert torch.equal(digits.train_labels, before) and np.array_equal(matrix, noise.uniform(0.5, 10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_size": 1201}, "sum to at most the 1500 images, got 300, 0 and 1201"),
        ({"validation": 1500}, "training set needs an image of every class"),
        ({"validation": 1501}, "sum to at most the 1500 images, got 1501, 0 and None"),
        ({"validation": -1}, "got -1; try validation=0.2"),
        ({"validation": 0}, "or a whole number of at least 1, got 0; try validation=0.2"),
        ({"validation": 5}, "validation set needs an image of every class, its 5 have none of"),
        ({"validation": 1.0}, r"a number in \(0, 1\) or a whole number .*, got 1.0; try validation=0.2"),
        ({"validation": 0.0}, r"a number in \(0, 1\)"),
        ({"validation": float("nan")}, "got nan"),
        ({"meta_size": 9}, "meta set needs an image of every class"),
        ({"meta_size": -1}, "meta_size must be at least 0, got -1; try meta_size=0"),
        ({"meta_size": 1300}, "got 300, 1300 and None"),
        ({"train_size": 5}, "training set needs an image of every class, its 5"),
        ({"train_size": 0}, "train_size must be at least 1, got 0"),
        ({"train_size": 2.0}, "train_size must be a whole number of at least 1 or None, got 2.0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(digits, options, message):
    with pytest.raises(InvalidValue, match=message) as caught:
        make_task(digits, HALF, 0, **options)
    assert "\n" not in str(caught.value)


def test_a_class_with_too_few_examples_is_named():
    matrix = noise.uniform(0.4, 2)
    two = make_task(blobs([200, 2]), matrix, 0, validation=40)  # one to train on and one to validate
    assert [int((split == 1).sum()) for split in (two.truth.train_labels, two.truth.validation_labels)] == [
        1,
        1,
    ]
    with pytest.raises(InvalidValue, match=r"its 161 have none of class 1; .* at least 2 of them beside"):
        make_task(blobs([200, 1]), matrix, 0, validation=40)
    with pytest.raises(InvalidValue, match=r"validation set .* its 2 have none .* with --validation 3"):
        make_task(blobs([20, 20, 20]), noise.uniform(0.4, 3), 0, validation=2)
    with pytest.raises(InvalidValue, match=r"meta_size 10 where class 1 has 2 images .* use at most 2"):
        make_task(blobs([200, 3]), matrix, 0, meta_size=10)
    most = make_task(blobs([200, 3]), matrix, 0, meta_size=2)
    assert most.meta.labels.tolist().count(1) == 1
    make_task(blobs([200, 30]), matrix, 0, meta_size=10)


@pytest.mark.parametrize("meta_size", [10, 100, 105, 990])
def test_a_meta_set_holds_the_classes_evenly_and_is_part_of_a_larger_one(digits, meta_size):
    meta = make_task(digits, HALF, 4, meta_size=meta_size).meta
    counts = torch.bincount(meta.labels, minlength=10)
    assert counts.sum() == meta_size and counts.max() - counts.min() == bool(meta_size % 10)
    larger = make_task(digits, HALF, 4, meta_size=meta_size + 20)
    assert set(meta.index.tolist()) < set(larger.meta.index.tolist())


def test_bad_matrices_and_seeds_are_refused(digits):
    with pytest.raises(InvalidValue, match="has 4 classes and digits has 10; make it with num_classes=10"):
        make_task(digits, noise.uniform(0.5, 4))
    with pytest.raises(InvalidValue, match="sum"):
        make_task(digits, np.full((10, 10), 0.2))
    with pytest.raises(InvalidValue, match="nan"):
        make_task(digits, np.full((10, 10), np.nan))
    with pytest.raises(InvalidValue, match="seed"):
        make_task(digits, HALF, -1)


def test_a_task_made_by_hand_is_checked(make_digits_task):
    task = make_digits_task(0.2, meta_size=50)
    leaked = replace(task.meta, index=task.train.index[:50])
    with pytest.raises(InvalidValue, match="the meta split must share no image with the others, got 50"):
        replace(task, meta=leaked)
    keep = task.meta.labels != 3
    poor = replace(task.meta, index=task.meta.index[keep], labels=task.meta.labels[keep])
    with pytest.raises(InvalidValue, match="the meta set needs every class, got none of class 3"):
        replace(task, meta=poor)
    short = replace(task.meta)
    object.__setattr__(short, "labels", task.meta.labels[:45])  # what the tests' type checks would refuse
    with pytest.raises(InvalidValue, match="a label an image, got 45 labels for 50 images"):
        replace(task, meta=short)
