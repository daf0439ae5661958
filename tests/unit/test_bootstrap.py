"""The bootstrap's standard deviation against its formula and against resampling image by image."""

import numpy as np
import pytest

from lnlib.analysis.bootstrap import bootstrap_std, resampled_accuracies
from lnlib.errors import InvalidValue


@pytest.mark.parametrize(("accuracy", "size"), [(0.8, 10_000), (0.977, 10_000), (0.5, 297), (0.05, 1000)])
def test_the_bootstrap_agrees_with_the_formula(accuracy, size):
    exact = np.sqrt(accuracy * (1 - accuracy) / size)
    # The standard deviation of 1000 draws is itself known to 1/√2000 = 2.2%.
    assert bootstrap_std(accuracy, size) == pytest.approx(exact, rel=0.1)
    assert bootstrap_std(accuracy, size, resamples=200_000) == pytest.approx(exact, rel=0.01)


def test_a_binomial_draw_is_a_resample_of_the_hits():
    hits = np.arange(297) < 240
    rng = np.random.default_rng(0)
    by_image = hits[rng.integers(0, 297, (20_000, 297))].mean(axis=1)
    drawn = resampled_accuracies(240 / 297, 297, 20_000)
    assert drawn.mean() == pytest.approx(by_image.mean(), abs=5e-4)
    assert np.quantile(drawn, [0.05, 0.5, 0.95]) == pytest.approx(
        np.quantile(by_image, [0.05, 0.5, 0.95]), abs=4e-3
    )


def test_it_is_repeatable_and_zero_where_nothing_can_vary():
    assert bootstrap_std(0.7, 500) == bootstrap_std(0.7, 500) != bootstrap_std(0.7, 500, seed=1)
    assert bootstrap_std(1.0, 500) == bootstrap_std(0.0, 500) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((80.0, 100), "got 80.0; give a share"), ((0.8, 0), "size .* got 0"), ((0.8, 10, 0), "resamples=1000")],
)
def test_bad_values_are_refused(arguments, message):
    with pytest.raises(InvalidValue, match=message):
        bootstrap_std(*arguments)
