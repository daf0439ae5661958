"""Paired differences against SciPy and by hand, and which rows are told apart."""

import numpy as np
import pytest
from scipy import stats

from lnlib.analysis.paired import behind_best, paired_difference


def by_seed(values, first=0):
    return dict(enumerate(values, start=first))


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_a_paired_difference_has_scipys_interval(seeds):
    rng = np.random.default_rng(seeds)
    one, other = rng.normal(80, 5, (2, seeds))
    found = paired_difference(by_seed(one), by_seed(other))
    scipys = stats.ttest_rel(one, other)
    interval = scipys.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.mean / found.standard_error == pytest.approx(scipys.statistic, rel=1e-9)
    assert found.tied == bool(interval.low <= 0)


def test_three_seeds_need_four_point_three_standard_errors():
    found = paired_difference({1: 3.0, 2: 5.0, 3: 7.0}, {3: 0.0, 2: 0.0, 1: 0.0})
    # Mean 5, standard deviation 2, t(2) = 4.302653 in any table.
    assert (found.mean, found.standard_error) == pytest.approx((5, 2 / np.sqrt(3)))
    assert found.low == pytest.approx(5 - 4.302653 * 2 / np.sqrt(3), abs=1e-5)
    assert not found.tied


def test_only_seeds_that_both_have_are_paired_and_counted():
    found = paired_difference({1: 90.0, 2: 80.0, 3: 0.0}, {1: 89.0, 2: 77.0, 4: 100.0})
    assert (found.mean, found.pairs) == (2.0, 2)


@pytest.mark.parametrize("other", [{1: 50.0}, {2: 50.0}, {}])
def test_one_pair_or_none_says_nothing(other):
    found = paired_difference({1: 60.0}, other)
    assert found.pairs == len(other.keys() & {1}) and np.isnan(found[:4]).all() and not found.tied


def test_pairing_tells_apart_what_the_spread_over_seeds_hides():
    # Seeds differ by tens of points, the rows on each seed by 1.0 to 1.2.
    hard = [50.0, 60.0, 70.0, 80.0]
    behind = behind_best({"a": by_seed(hard), "b": by_seed([51.0, 61.2, 71.1, 81.1])})
    assert behind["b"].mean == 0 and not behind["a"].tied
    assert stats.ttest_ind(hard, [51.0, 61.2, 71.1, 81.1]).pvalue > 0.9


@pytest.mark.parametrize("shift", [0.25, 4.0])
def test_equal_rows_are_tied_and_a_constant_shift_is_not(shift):
    rng = np.random.default_rng(0)
    values = rng.integers(100, 200, 5) / 2  # exact in binary, and so is the shift
    equal = behind_best({"a": by_seed(values), "b": by_seed(values)})
    assert [(one.mean, one.tied) for one in equal.values()] == [(0, True)] * 2
    shifted = behind_best({"a": by_seed(values), "b": by_seed(values + shift)})
    assert shifted["a"].mean == shift and not shifted["a"].tied
    assert shifted["b"].mean == 0 and shifted["b"].tied


def test_five_seeds_that_scatter_as_much_as_they_differ_are_tied():
    behind = behind_best({"a": by_seed([80, 81, 79, 80, 80]), "b": by_seed([82, 78, 83, 79, 80])})
    assert behind["a"].tied and behind["a"].mean == pytest.approx(0.4)


def test_the_best_is_found_on_the_seeds_that_all_rows_have():
    # On seeds 1 and 2 "a" is ahead; its hard third seed, which "b" lacks, does not count against it.
    behind = behind_best({"a": {1: 92.0, 2: 94.0, 3: 10.0}, "b": {1: 90.0, 2: 91.0}})
    assert behind["a"].mean == 0 and (behind["b"].mean, behind["b"].pairs) == (2.5, 2)


def test_with_one_seed_or_one_row_nothing_is_compared():
    assert behind_best({"a": {1: 90.0}, "b": {1: 80.0}}) == {}
    assert behind_best({"a": {1: 90.0, 2: 91.0}, "b": {1: 99.0}}) == {}
    assert behind_best({"a": {1: 90.0, 2: 91.0}, "b": {2: 80.0, 3: 81.0}}) == {}
    assert behind_best({"a": {}, "b": {}}) == behind_best({}) == {}


def test_a_true_tie_is_called_one_in_95_of_100_tables():
    rng = np.random.default_rng(1)
    tables = rng.normal(80, 3, (2000, 2, 5)) + rng.normal(0, 10, (2000, 1, 5))
    tied = 0
    for one, other in tables:
        behind = behind_best({"one": by_seed(one), "other": by_seed(other)})
        tied += behind["one"].tied and behind["other"].tied
    # 1900 of 2000 by the interval's level, give or take √(2000·.95·.05) = 10.
    assert 1850 < tied < 1950
