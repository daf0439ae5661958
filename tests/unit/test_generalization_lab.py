"""DecompositionLab, GeneralizationLab, their figures and lesson 03's exercises, against theory."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lnlib import bounds
from lnlib.analysis.decomposition import decompose, four_inputs, gibbs_learner
from lnlib.course import exercises, plots
from lnlib.course.labs import DecompositionLab, GeneralizationLab
from lnlib.errors import InvalidValue
from tests.lab_tools import axes, move, panels, scene

MEASURED = pd.DataFrame(
    {
        "method": ["CE", "LIMIT-L", "CE"],
        "num_examples": [150, 150, 1200],
        "memorized_bits": [2.58, 1.2, 2.55],
        "gap": [0.77, 0.5, 0.7],
    }
)


def drawn(panel: Any, name: str) -> Any:
    (found,) = [trace for trace in panel.data if trace.name == name]
    return found


def heights(panel: Any) -> np.ndarray:
    """The columns' heights, the bars stacked."""
    bars = [trace for trace in panel.data if trace.type == "bar"]
    return np.nansum(np.array([trace.y for trace in bars], dtype=float), axis=0)


def assert_shows(lab: DecompositionLab, rate: float, greed: float, num_examples: int) -> None:
    problem = four_inputs(rate, num_examples)
    terms = decompose(problem, gibbs_learner(problem, greed))
    assert lab.terms == terms
    equation, information = panels(lab)
    first, second, printed = heights(equation)
    assert first == pytest.approx(second, abs=1e-12)
    assert first == pytest.approx((terms.cross_entropy + terms.label_information) / num_examples)
    assert printed == pytest.approx((terms.label_entropy + terms.printed_divergence) / num_examples)
    assert max(first, printed) < equation.layout.yaxis.range[1]
    memorized = drawn(information, "I(w;y|x), memorised").y
    assert memorized[num_examples - 1] == pytest.approx(terms.label_information)
    assert heights(information)[num_examples - 1] == pytest.approx(terms.information)
    assert f"The gap is {terms.gap:.2f}" in lab.sentence
    assert lab.sentence == scene(lab)["sentence"]


def test_each_slider_of_the_decomposition_moves_everything() -> None:
    lab = DecompositionLab()
    assert_shows(lab, 0.2, 2.0, 3)
    move(lab.rate, 0.5)
    assert_shows(lab, 0.5, 2.0, 3)
    move(lab.greed, 5.0)
    assert_shows(lab, 0.5, 5.0, 3)
    move(lab.num_examples, 1)
    assert_shows(lab, 0.5, 5.0, 1)
    move(lab.greed, 0.0)
    assert_shows(lab, 0.5, 0.0, 1)


def test_the_sentence_says_when_there_is_no_noise() -> None:
    lab = DecompositionLab()
    assert lab.sentence.startswith("The weights hold 1.34 of 2.17 bits of label noise: 7.7% errors")
    move(lab.rate, 0.0)
    assert lab.sentence.startswith("Every label is right")


def test_the_bound_follows_its_sliders() -> None:
    lab = GeneralizationLab(measured=MEASURED)
    for control, value in ((lab.num_examples, 30.0), (lab.information, 0.5), (lab.sigma, 0.25)):
        move(control, value)
    expected = 0.25 * math.sqrt(2 * 0.5 * math.log(2))
    assert lab.bound == pytest.approx(expected)
    by_size, by_information = panels(lab)
    grows, stays = (drawn(by_size, f"bound: I {verb}") for verb in ("grows with n", "stays"))
    np.testing.assert_allclose(grows.y, expected)
    np.testing.assert_allclose(stays.y, expected * np.sqrt(30 / np.asarray(stays.x)))
    for panel, x in ((by_size, 30), (by_information, 0.5)):
        point = drawn(panel, "you")
        assert (point.x[0], point.y[0]) == pytest.approx((x, expected))
        assert min(drawn(panel, "says nothing: above 2σ").y) == 0.5
    assert "With 0.5 bits per example Theorem 2.2 allows a gap of 0.21, at this n as at any." in lab.sentence
    assert "at their 15 bits in all" in lab.sentence


def test_the_sentence_says_when_the_bound_says_nothing() -> None:
    lab = GeneralizationLab(information=3.26)
    assert "says nothing: a loss within a range of 1 has no larger gap" in lab.sentence
    move(lab.information, 2.0)
    assert "says nothing" not in lab.sentence
    move(lab.information, 0.0)
    assert "no gap" in lab.sentence


def test_measured_runs_show_where_their_loss_is_meant() -> None:
    lab = GeneralizationLab(measured=MEASURED)

    def measured() -> list[Any]:
        return [drawn(panel, "CE, measured") for panel in panels(lab)]

    by_size, by_bits = measured()
    assert list(by_size.x) == [150, 1200]
    assert list(by_bits.x) == [2.58, 2.55]
    assert list(by_size.y) == list(by_bits.y) == [0.77, 0.7]
    assert drawn(panels(lab)[0], "LIMIT-L, measured").visible is True
    move(lab.sigma, 0.3)
    assert [line.visible for line in measured()] == ["legendonly"] * 2
    move(lab.sigma, 0.5)
    assert [line.visible for line in measured()] == [True] * 2
    assert len(panels(GeneralizationLab())[0].data) == len(panels(lab)[0].data) - 2


@pytest.mark.parametrize("kind", [DecompositionLab, GeneralizationLab])
def test_axes_stay_while_sliders_move(kind: Any) -> None:
    lab = kind()
    before = axes(lab)
    assert len(panels(lab)) == 2 and None not in before
    for name, slider in lab.widgets.items():
        move(slider, 1000.0 if name == "num_examples" and kind is GeneralizationLab else slider.max)
    assert axes(lab) == before


def test_snapshots_show_the_present_state() -> None:
    lab = DecompositionLab(greed=1.0)
    figure = lab.snapshot()
    assert figure.layout.barmode == "stack"
    assert figure.layout.annotations[-1].text == lab.sentence
    np.testing.assert_allclose(figure.data[0].y[0], lab.terms.cross_entropy / 3)
    both = GeneralizationLab(measured=MEASURED).snapshot()
    assert both.layout.xaxis.type == "log"
    assert both.layout.xaxis2.type is None
    assert plots.small_print(both, "more").layout.annotations[-1].yshift < both.layout.annotations[-2].yshift


@pytest.mark.parametrize("bad", [{"rate": 0.6}, {"greed": -1}, {"num_examples": 5}, {"rate": math.nan}])
def test_bad_values_of_the_decomposition_raise(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match="must lie in"):
        DecompositionLab(**bad)


@pytest.mark.parametrize("bad", [{"num_examples": 9}, {"information": 4.0}, {"sigma": 0.0}])
def test_bad_values_of_the_bound_raise(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match="must lie in"):
        GeneralizationLab(**bad)


def test_lesson_03_by_hand() -> None:
    assert exercises.bits_behind_a_low_loss.solve() == pytest.approx(1.1)
    # Of 9000 fresh given labels 3240 are agreed with as true ones, and 1440 / 9 as the same wrong class.
    assert exercises.gap_from_clean_test_images.solve() == pytest.approx(0.98 - (3240 + 160) / 9000)
    bits = exercises.bits_behind_a_gap.solve()
    assert bounds.generalization_bound(bits, 1, sigma=0.5) == pytest.approx(0.6)
    assert "in nats" in str(exercises.bits_behind_a_gap.check(0.72))
    size = math.ceil(exercises.examples_for_a_small_gap.solve())
    assert (
        bounds.generalization_bound(1000, size, 0.5)
        <= 0.05
        < bounds.generalization_bound(1000, size - 1, 0.5)
    )
