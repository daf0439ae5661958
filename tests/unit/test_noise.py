"""Transition matrices, corruption and class sizes, against the papers' definitions and published values."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lnlib import noise
from lnlib.errors import InvalidValue, UnknownName

MATRICES = {
    "uniform": noise.uniform(0.8, 10),
    "symmetric": noise.symmetric(0.6, 10),
    "pair": noise.pair(0.4),
    "pair both ways": noise.pair(0.4, mapping="cat-dog"),
    "pair next": noise.pair(0.45, 10, "next-class"),
    "flip-1": noise.flip(0.4, 10),
    "flip-2": noise.flip(0.4, 10, 2, "mw-net"),
    "one's own": np.random.default_rng(0).dirichlet(np.ones(10), size=10),
}


@given(rate=st.floats(0, 1, exclude_max=True), num_classes=st.integers(3, 40), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_rows_are_distributions_with_the_error_rate_the_names_promise(rate, num_classes, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds = {
            "uniform": rate,
            "symmetric": rate * (num_classes - 1) / num_classes,
            "flip": rate,
        }
        for kind, error_rate in kinds.items():
            rows = noise.matrix(kind, rate, num_classes)
            assert np.allclose(rows.sum(axis=1), 1) and (rows >= 0).all()
            assert noise.effective_error_rate(rows) == pytest.approx(error_rate)
        two = noise.flip(rate, num_classes, 2, seed=seed)
    off_diagonal = two[~np.eye(num_classes, dtype=bool)].reshape(num_classes, -1)
    assert np.allclose(np.sort(off_diagonal, axis=1)[:, -2:], rate / 2)
    assert np.allclose(two.diagonal(), 1 - rate) and np.allclose(two.sum(axis=1), 1)


def test_uniform_and_symmetric_differ_in_where_the_share_goes():
    assert np.allclose(noise.uniform(0.3, 4)[0], [0.7, 0.1, 0.1, 0.1])
    assert np.allclose(noise.symmetric(0.4, 4)[0], [0.7, 0.1, 0.1, 0.1])
    # MetaInfoNet's rates of .4 and .6 on CIFAR-10 mean .36 and .54, on CIFAR-100 .4 means .396.
    assert noise.effective_error_rate(noise.symmetric(0.6, 10)) == pytest.approx(0.54)
    assert noise.effective_error_rate(noise.symmetric(0.4, 100)) == pytest.approx(0.396)
    assert np.linalg.det(noise.uniform(0.5, 10)) == pytest.approx((1 - 0.5 * 10 / 9) ** 9)


def test_pair_mappings():
    def moves(rows):
        return {(int(i), int(j)) for i, j in np.argwhere(rows == 0.25)}

    one_way = {(9, 1), (2, 0), (4, 7), (3, 5)}
    assert moves(noise.pair(0.25)) == one_way
    assert moves(noise.pair(0.25, mapping="cat-dog")) == one_way | {(5, 3)}
    assert moves(noise.pair(0.25, 3, "next-class")) == {(0, 1), (1, 2), (2, 0)}
    assert moves(noise.pair(0.25, 4, {3: 0})) == {(3, 0)}
    assert np.array_equal(noise.pair(0.25, 4, {"3": 0}), noise.pair(0.25, 4, {3: 0}))
    assert noise.effective_error_rate(noise.pair(0.4)) == pytest.approx(0.16)


def test_mw_net_flip_maps_are_the_published_ones():
    one = noise.flip(0.4, 10, 1, "mw-net")
    assert [int(row.argmax()) for row in one - np.eye(10)] == [6, 9, 6, 0, 0, 1, 8, 6, 2, 4]
    two = noise.flip(0.4, 10, 2, "mw-net")
    pairs = [(9, 3), (4, 8), (1, 8), (8, 4), (2, 5), (7, 4), (9, 2), (8, 5), (6, 5), (5, 4)]
    assert [set(np.flatnonzero(row == 0.2)) for row in two] == [set(pair) for pair in pairs]
    # The ten flip-1 targets hit only 7 classes; of the hundred, 62.
    assert len(np.flatnonzero((one - 0.6 * np.eye(10)).sum(axis=0) > 0.1)) == 7
    hundred = noise.flip(0.4, 100, 1, "mw-net") - 0.6 * np.eye(100)
    assert (hundred.sum(axis=0) > 0.1).sum() == 62
    assert [int(row.argmax()) for row in hundred[[0, 50, 99]]] == [38, 49, 3]
    last_two = noise.flip(0.4, 100, 2, "mw-net")[99]
    assert set(np.flatnonzero(last_two == 0.2)) == {20, 96}
    assert all((noise.flip(0.4, 100, 2, "mw-net") == 0.2).sum(axis=1) == 2)


@pytest.mark.parametrize("num_classes", [10, 100])
def test_mw_net_flip_maps_are_what_its_seed_draws(num_classes):
    others = [np.delete(np.arange(num_classes), label) for label in range(num_classes)]
    for targets in (1, 2):
        generator = np.random.RandomState(1)
        expected = np.eye(num_classes) * 0.75
        for label, wrong in enumerate(others):
            expected[label, generator.choice(wrong, targets, replace=targets == 1)] = 0.25 / targets
        assert np.array_equal(noise.flip(0.25, num_classes, targets, "mw-net"), expected)


def test_random_flip_maps_follow_their_seed_and_nest():
    one, two = noise.flip(0.4, 10, seed=3), noise.flip(0.4, 10, 2, seed=3)
    assert np.array_equal(one, noise.flip(0.4, 10, seed=3))
    assert not np.array_equal(one, noise.flip(0.4, 10, seed=4))
    assert (two[one == 0.4] == 0.2).all()


@pytest.mark.parametrize(("rate", "targets"), [(0.5, 1), (0.67, 2)])
def test_warns_where_the_wrong_class_is_the_mode(rate, targets):
    with pytest.warns(UserWarning, match="wrong class is the mode"):
        noise.flip(rate, 10, targets)
    with pytest.warns(UserWarning, match="wrong class is the mode"):
        noise.matrix("flip", rate, 100, targets=targets, mapping="mw-net")
    noise.flip(rate - 0.05, 10, targets)


@pytest.mark.parametrize("name", MATRICES)
def test_realised_noise_matches_the_matrix(name):
    matrix, per_class = MATRICES[name], 40_000
    true = np.repeat(np.arange(10), per_class)
    counts = noise.confusion(true, noise.corrupt(true, matrix, seed=1), 10)
    # Five standard errors over a hundred cells; cells of probability 0 and 1 must be exact.
    error = np.sqrt(matrix * (1 - matrix) / per_class)
    assert (np.abs(counts / per_class - matrix) <= 5 * error + 1e-12).all()
    assert counts.sum() == true.size


def test_labels_are_drawn_independently():
    given = noise.corrupt(np.zeros(100_000, dtype=int), noise.uniform(0.5, 3), seed=0)
    wrong = (given != 0).astype(float)
    assert abs(np.corrcoef(wrong[:-1], wrong[1:])[0, 1]) < 5 / np.sqrt(1e5)
    # Bernoulli, not an exact count: over seeds the number of errors varies as a binomial's.
    numbers = [
        (noise.corrupt(np.zeros(400, dtype=int), noise.uniform(0.5, 3), s) != 0).sum() for s in range(200)
    ]
    assert 7 < np.std(numbers) < 13


@given(low=st.floats(0, 0.45), high=st.floats(0, 0.45), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_more_noise_of_one_kind_keeps_the_corrupted_corrupted(low, high, seed):
    low, high = sorted((low, high))
    true = np.arange(500) % 10
    for kind in ("uniform", "flip"):
        less, more = (noise.corrupt(true, noise.matrix(kind, rate, 10), seed) for rate in (low, high))
        changed = less != true
        assert (more != true)[changed].all()
        assert (more == less)[changed].mean() > 0.99 if changed.any() else True


def test_corrupt_follows_its_seed_and_leaves_the_labels_alone():
    true = torch.arange(1000) % 10
    given = noise.corrupt(true, noise.uniform(0.5, 10), 7)
    assert given.dtype == np.int64 and torch.equal(true, torch.arange(1000) % 10)
    assert np.array_equal(given, noise.corrupt(true.tolist(), noise.uniform(0.5, 10), 7))
    assert not np.array_equal(given, noise.corrupt(true, noise.uniform(0.5, 10), 8))
    assert np.array_equal(noise.corrupt(true, np.eye(10), 7), true)
    assert np.array_equal(given[:300], noise.corrupt(true[:300], noise.uniform(0.5, 10), 7))
    assert noise.corrupt([], noise.uniform(0.5, 10), 0).shape == (0,)


def test_a_row_that_sums_to_one_only_nearly_never_yields_an_impossible_label(monkeypatch):
    class Largest:
        def random(self, shape):
            return np.full(shape, np.nextafter(1, 0))

    monkeypatch.setattr(noise, "stream", lambda seed, name: Largest())
    assert noise.corrupt([0, 1], [[1 - 5e-7, 0.0], [1.0, 0.0]], 0).tolist() == [0, 0]


def test_effective_error_rate_weighs_by_the_prior():
    matrix = [[0.9, 0.1], [0.4, 0.6]]
    assert noise.effective_error_rate(matrix) == pytest.approx(0.25)
    assert noise.effective_error_rate(matrix, [0.8, 0.2]) == pytest.approx(0.16)
    with pytest.raises(InvalidValue, match="prior must be 2 shares"):
        noise.effective_error_rate(matrix, [8, 2])
    with pytest.raises(InvalidValue, match="prior must be 2 shares"):
        noise.effective_error_rate(matrix, [0.5, 0.25, 0.25])


def test_who_memorises_nothing_predicts_the_likeliest_given_label():
    assert noise.bayes_accuracy(noise.uniform(0.4, 10)) == pytest.approx(0.6)
    flipped = [[0.4, 0.6], [0.6, 0.4]]  # the wrong label is the likelier
    assert noise.bayes_accuracy(flipped) == pytest.approx(0.6)
    matrix = [[0.9, 0.1], [0.7, 0.3]]
    assert noise.bayes_accuracy(matrix, [0.25, 0.75]) == pytest.approx(0.25 * 0.9 + 0.75 * 0.7)
    with pytest.raises(InvalidValue, match="prior must be 2 shares"):
        noise.bayes_accuracy(matrix, [8, 2])


def test_confusion_counts_rows_by_true_class():
    assert noise.confusion([0, 0, 1, 2], [0, 1, 1, 0], 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("largest", "num_classes", "totals"),
    [
        (4990, 10, [11177, 12380, 13967, 16989, 20391, 49900]),
        (5000, 10, [11203, 12406, 13996, 17023, 20431, 50000]),
        (490, 100, [9304, 10626, 12354, 15594, 19183, 49000]),
        (500, 100, [9502, 10847, 12608, 15907, 19573, 50000]),
    ],
)
def test_long_tailed_totals(largest, num_classes, totals):
    sizes = [noise.long_tailed_sizes(largest, num_classes, factor) for factor in (200, 100, 50, 20, 10, 1)]
    assert [int(size.sum()) for size in sizes] == totals
    assert all((np.diff(size) <= 0).all() and size[0] == largest for size in sizes)


def test_long_tailed_sizes_do_not_lose_an_image_to_rounding():
    assert 49 * (1 / 49) < 1
    assert noise.long_tailed_sizes(49, 3, 49)[-1] == 1


def test_conventions_make_a_table_whose_calls_work():
    table = pd.DataFrame(noise.CONVENTIONS)
    assert list(table.columns) == ["code", "word", "definition", "here", "count", "source"]
    assert set(table["count"]) == {"bernoulli", "exact"}
    names = {name: getattr(noise, name) for name in noise.BUILDERS} | {"p": 0.2, "K": 10}
    calls = [call for call in table["here"] if "(" in call]
    assert len(calls) == len(table) - 1
    for call in calls:
        assert noise.validate(eval(call, names)).shape == (10, 10)
    assert set(table[table["word"] == "uniform"]["here"]) == {"uniform(p, K)", "symmetric(p, K)"}


@pytest.mark.parametrize("rate", [1.0, 1.3, -0.1, float("nan"), float("inf"), 80])
@pytest.mark.parametrize("kind", noise.BUILDERS)
def test_rates_outside_0_to_1_are_refused(kind, rate):
    with pytest.raises(InvalidValue, match=r"rate must lie in \[0, 1\), got .*; write 80% as 0.8"):
        noise.matrix(kind, rate, 10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noise.uniform(0.5, 1), "num_classes must be at least 2, got 1; try num_classes=10"),
        (lambda: noise.pair(0.4, 100), "need 10 classes, got 100"),
        (lambda: noise.pair(0.4, 4, {0: 4}), "whole number in 0 to 3, got 4"),
        (lambda: noise.pair(0.4, 4, {"a": 1}), "whole number in 0 to 3, got 'a'"),
        (lambda: noise.pair(0.4, 4, {2: 2}), "a pair must name two classes"),
        (lambda: noise.pair(0.4, 4, {True: 2}), "whole number in 0 to 3, got True"),
        (lambda: noise.pair(0.4, 4, 5), "mapping must be a name or pairs of classes, got 5"),
        (lambda: noise.flip(0.4, 10, 0), "targets must be at least 1, got 0; try targets=1"),
        (lambda: noise.flip(0.4, 3, 3), "targets must be below the 3 classes, got 3"),
        (lambda: noise.flip(0.4, 26, 1, "mw-net"), 'got 26 and 1; use mapping="random"'),
        (lambda: noise.flip(0.4, 10, 3, "mw-net"), "got 10 and 3"),
        (lambda: noise.flip(0.4, 10, seed=-1), "seed must be at least 0, got -1; try seed=0"),
        (lambda: noise.flip(0.4, 10, mapping="mwnet"), "got 'mwnet'; did you mean 'mw-net'"),
        (
            lambda: noise.matrix("flip", 0.4, 10, target=2),
            "flip noise has no option 'target'; it takes targets",
        ),
        (lambda: noise.matrix("uniform", 0.4, 10, targets=2), "it takes none"),
        (lambda: noise.corrupt([0, 10], noise.uniform(0.5, 10), 0), "labels must lie in 0 to 9, got 0 to 10"),
        (lambda: noise.corrupt([-1, 1], noise.uniform(0.5, 10), 0), "got -1 to 1"),
        (lambda: noise.corrupt([0.5, 1], noise.uniform(0.5, 10), 0), "must be whole numbers, got float64"),
        (lambda: noise.corrupt([[0, 1]], noise.uniform(0.5, 10), 0), r"must have shape \(N,\), got \(1, 2\)"),
        (lambda: noise.corrupt([0], [[0.5, 0.6], [0, 1]], 0), "sum"),
        (lambda: noise.corrupt([0], [[0.5, 0.5]], 0), "matrix"),
        (lambda: noise.corrupt([0], [[float("nan"), 1], [0, 1]], 0), "nan"),
        (lambda: noise.corrupt([0], noise.uniform(0.5, 10), -1), "seed"),
        (lambda: noise.confusion([0, 1], [0], 2), "got 2 and 1"),
        (lambda: noise.long_tailed_sizes(5000, 10, 0.5), "factor must be at least 1, got 0.5"),
        (lambda: noise.long_tailed_sizes(5000, 10, float("nan")), "at least 1, got nan"),
        (
            lambda: noise.long_tailed_sizes(100, 10, 200),
            "leaves no image of the smallest class; use at most 100",
        ),
        (lambda: noise.long_tailed_sizes(0, 10, 1), "got 0"),
    ],
)
def test_bad_input_names_value_and_remedy(call, message):
    with pytest.raises(InvalidValue, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noise.matrix("unifrom", 0.4, 10), "did you mean 'uniform'"),
        (lambda: noise.pair(0.4, mapping="cat-dgo"), "did you mean 'cat-dog'"),
    ],
)
def test_unknown_names_name_the_nearest(call, message):
    with pytest.raises(UnknownName, match=message):
        call()
