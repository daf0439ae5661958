"""Class imbalance: the papers' counts, what stays even, nested tails, and factors that cannot be."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from lnlib import noise
from lnlib.data import Dataset, Task, make_task
from lnlib.errors import InvalidValue, UnknownName
from lnlib.papers.spec import Spec
from lnlib.training import Member, sweep

FACTORS = (20, 10, 5, 2, 1)


def classes(per_class: int, num_classes: int) -> Dataset:
    """A data set of one pixel an image with as many of each class."""
    labels = torch.arange(num_classes).repeat(per_class)
    images, test = torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), torch.arange(num_classes)
    names = tuple(f"class {label}" for label in range(num_classes))
    return Dataset("even", images, labels, images[:num_classes], test, names, (0.5,), (0.5,))


def counts(labels: torch.Tensor) -> list[int]:
    return torch.bincount(labels).tolist()


def tailed(digits: Dataset, factor: float, rate: float = 0.0, **options: int) -> Task:
    return make_task(digits, noise.uniform(rate, 10), 0, imbalance=factor, **options)


@pytest.mark.parametrize(
    ("num_classes", "per_class", "meta", "totals"),
    [
        (10, 5000, 10, [11177, 12380, 13967, 16989, 20391, 49900]),
        (10, 5000, 0, [11203, 12406, 13996, 17023, 20431, 50000]),
        (100, 500, 10, [9304, 10626, 12354, 15594, 19183, 49000]),
        (100, 500, 0, [9502, 10847, 12608, 15907, 19573, 50000]),
    ],
)
def test_the_training_split_has_the_papers_counts(num_classes, per_class, meta, totals):
    # CIFAR's training images, and beside them ten a class to validate on.
    dataset = classes(per_class + 10, num_classes)
    matrix, sizes = np.eye(num_classes), {"validation": 10 * num_classes, "meta_size": meta * num_classes}
    for factor, total in zip((200, 100, 50, 20, 10, 1), totals, strict=True):
        task = make_task(dataset, matrix, 0, imbalance=factor, **sizes)
        found = counts(task.train.labels)
        assert len(task.train) == total and found[0] == per_class - meta
        assert found == noise.long_tailed_sizes(per_class - meta, num_classes, factor).tolist()
        if meta:
            assert counts(task.meta.labels) == [meta] * num_classes
        if factor == 10:
            assert found[-1] * 10 == found[0] and counts(task.validation.labels)[:: num_classes - 1] == [
                10,
                1,
            ]


@pytest.mark.parametrize("factor", FACTORS)
def test_digits_have_a_tail_beside_an_even_meta_set(digits, factor):
    task = tailed(digits, factor, meta_size=100)
    train, held = counts(task.train.labels), counts(task.validation.labels)
    assert counts(task.meta.labels) == [10] * 10 and len(task.test) == 297
    rows = [set(part.index.tolist()) for part in (task.train, task.validation, task.meta)]
    assert len(set.union(*rows)) == sum(map(len, rows))
    if factor == 1:
        assert sum(train) == 1100 and sum(held) == 300
        return
    assert train == noise.long_tailed_sizes(train[0], 10, factor).tolist() and train[0] > 100
    assert held == pytest.approx(np.array(train) * held[0] / train[0], abs=1) and min(held) >= 1
    assert np.allclose(task.truth.prior, np.array(train) / sum(train))


def test_more_imbalance_keeps_a_part_of_what_less_keeps(digits):
    tasks = [tailed(digits, factor, 0.4, meta_size=100) for factor in FACTORS]
    for more, less in pairwise(tasks):
        assert torch.equal(more.meta.index, less.meta.index) and more.label_hash != less.label_hash
        for part in ("train", "validation"):
            kept, all_of_them = getattr(more, part), getattr(less, part)
            given = dict(zip(all_of_them.index.tolist(), all_of_them.labels.tolist(), strict=True))
            pairs = zip(kept.index.tolist(), kept.labels.tolist(), strict=True)
            assert all(given[row] == label for row, label in pairs)


def test_a_smaller_tail_is_part_of_a_larger_one(digits):
    small, large = tailed(digits, 5, train_size=600), tailed(digits, 5)
    assert set(small.train.index.tolist()) < set(large.train.index.tolist())
    assert torch.equal(small.validation.index, large.validation.index)


def test_the_error_rate_weighs_the_classes_by_the_tail(digits):
    matrix = noise.pair(0.4)  # classes 2, 3, 4 and 9 are mistaken
    task = make_task(digits, matrix, 0, imbalance=20)
    share = task.truth.prior[[2, 3, 4, 9]].sum()
    assert task.effective_error_rate == pytest.approx(0.4 * share)
    assert abs(task.effective_error_rate - 0.16) > 0.01


def test_a_stack_trains_on_tails_of_one_factor():
    run = Spec(dataset="digits", imbalance=10.0, meta_size=100, rate=0.2)
    members = [run.model_copy(update={"seed": seed}).member() for seed in (0, 1)]
    assert isinstance(members[0], Member) and len(members[0].task.train) == len(members[1].task.train)
    runs = sweep(members, mode="stacked", epochs=5)
    assert (runs.table(["test_accuracy"])["test_accuracy"] > 0.4).all()


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (0.5, "imbalance must be at least 1, got 0.5; try imbalance=1.0"),
        (float("nan"), "at least 1, got nan"),
        (float("inf"), "imbalance must be finite, got inf"),
        (500, r"imbalance factor 500 leaves no training image of 9; use at most 1\d\d$"),
    ],
)
def test_factors_that_cannot_be_are_refused(digits, factor, message):
    with pytest.raises(InvalidValue, match=message) as caught:
        tailed(digits, factor, meta_size=100)
    assert "\n" not in str(caught.value)


def test_the_largest_factor_that_the_error_names_works(digits):
    with pytest.raises(InvalidValue) as caught:
        tailed(digits, 10_000)
    most = int(str(caught.value).rpartition(" ")[2])
    assert counts(tailed(digits, most).train.labels)[-1] == 1
    with pytest.raises(InvalidValue):
        tailed(digits, most + 1)


def test_a_run_carries_the_factor():
    plain, tail = Spec(), Spec.parse({"imbalance": 20, "meta_size": 100})
    assert plain.fingerprint == Spec(imbalance=1.0).fingerprint != tail.fingerprint
    assert plain.label == "cross-entropy · digits · uniform 0.5 · seed 0"
    assert tail.label == "cross-entropy · digits · uniform 0.5 · imbalance 20 · seed 0"
    for run in (plain, tail):
        task = run.task()
        assert run.sizes() == (len(task.train), len(task.validation), len(task.test))
    assert counts(tail.task().truth.train_labels)[-1] * 20 <= counts(tail.task().truth.train_labels)[0]
    with pytest.raises(InvalidValue, match=r"imbalance must be at least 1, got 0\.5"):
        Spec.parse({"imbalance": 0.5})
    with pytest.raises(InvalidValue, match="imbalance must be finite, got inf"):
        Spec.parse({"imbalance": float("inf")})
    with pytest.raises(UnknownName, match="did you mean 'imbalance'"):
        Spec.parse({"imbalanced": 10})


def test_before_this_field_runs_had_the_same_fingerprints():
    assert Spec().fingerprint == "0483cedf4439e296"
    assert Spec(method="limit", rate=0.8, meta_size=50).fingerprint == "d00f0273a1c8c144"
