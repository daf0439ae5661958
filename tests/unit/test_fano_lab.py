"""FanoLab: every control, driven as the front end drives it, against `lnlib.bounds`."""

import math
from typing import Any

import numpy as np
import pytest

from lnlib import bounds
from lnlib.course.labs import FanoLab
from lnlib.errors import InvalidValue
from tests.lab_tools import axes, move, panels, scene


def drawn(panel: Any, name: str) -> Any:
    (found,) = [trace for trace in panel.data if trace.name == name]
    return found


def assert_shows(lab: FanoLab, num_classes: int, rate: float, information: float) -> None:
    entropy = float(bounds.uniform_label_entropy(rate, num_classes))
    r0 = float(bounds.r0(entropy, information, num_classes))
    assert lab.r0 == r0
    crossing, family = panels(lab)
    assert drawn(crossing, "r₀").x == pytest.approx([r0])
    assert drawn(crossing, "r₀").y == pytest.approx([max(0, entropy - information)])
    assert drawn(crossing, "r₀").text[0].strip() == f"<b>r₀ = {r0:.1%}</b>"
    assert drawn(crossing, "H(y|x)").y == pytest.approx([entropy, entropy])
    curve = crossing.data[0]
    np.testing.assert_allclose(curve.y, bounds.uniform_label_entropy(curve.x, num_classes))
    assert drawn(family, "r₀").x == pytest.approx([information])
    assert drawn(family, "r₀").y == pytest.approx([r0])
    own = drawn(family, f"your p = {rate:.0%}")
    np.testing.assert_allclose(own.y, bounds.r0(entropy, own.x, num_classes))
    if r0 > 0:
        share = "under 0.001" if r0 < 1e-5 else f"{100 * r0:.3g}"
        assert f"fewer than {share}% training errors" in lab.sentence
    else:
        assert "no training errors at all" in lab.sentence
    assert lab.sentence == scene(lab)["sentence"]


def test_it_opens_with_the_papers_example() -> None:
    lab = FanoLab()
    assert lab.sentence == (
        "With 80% of labels wrong and 1 bit per label memorised, "
        "no learner can make fewer than 40.5% training errors."
    )
    assert_shows(lab, 10, 0.8, 1.0)


def test_each_slider_moves_everything() -> None:
    lab = FanoLab()
    move(lab.rate, 0.6)
    assert_shows(lab, 10, 0.6, 1.0)
    move(lab.information, 0.53)
    assert_shows(lab, 10, 0.6, 0.53)
    move(lab.num_classes, 100)
    assert_shows(lab, 100, 0.6, 0.53)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.5, 0.9])
@pytest.mark.parametrize("information", [0.0, 0.01, 2.5, 3.32])
def test_the_ends_of_the_sliders(rate: float, information: float) -> None:
    lab = FanoLab()
    move(lab.rate, rate)
    move(lab.information, information)
    assert_shows(lab, 10, rate, information)


def test_without_memory_the_bound_is_the_noise_rate() -> None:
    lab = FanoLab(information=0)
    for rate in (0.1, 0.5, 0.9):
        move(lab.rate, rate)
        assert lab.r0 == pytest.approx(rate, abs=1e-6)


def test_fewer_classes_pull_the_other_controls_in_with_one_update(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = FanoLab(rate=0.8, information=2.0)
    updates = []
    update = lab.update
    monkeypatch.setattr(lab, "update", lambda note: (updates.append(note), update(note)))
    move(lab.num_classes, 2)
    assert (lab.rate.value, lab.information.value) == (0.5, 1.0)
    assert updates == [
        "wrong labels p ends at 0.5 now: 0.8 became 0.5. "
        "memorised bits per label I/n ends at 1 now: 2 became 1."
    ]
    assert scene(lab)["note"] == updates[0]
    assert_shows(lab, 2, 0.5, 1.0)


def test_rate_and_information_end_where_they_mean_something() -> None:
    lab = FanoLab()
    for num_classes in (2, 3, 6, 7, 10, 100, 1000):
        move(lab.num_classes, num_classes)
        # Beyond (K-1)/K the true label is the least likely one, and r0 no longer is what the labels force.
        assert 1 - 1 / num_classes - 0.01 < lab.rate.max <= 1 - 1 / num_classes
        assert math.log2(num_classes) - 0.01 < lab.information.max <= math.log2(num_classes)


def test_axes_stay_while_sliders_move() -> None:
    lab = FanoLab()
    before = axes(lab)
    move(lab.rate, 0.1)
    move(lab.information, 3.0)
    assert axes(lab) == before
    assert None not in before
    move(lab.num_classes, 4)
    crossing, family = panels(lab)
    assert crossing.layout.yaxis.range == pytest.approx((0, 2.2))
    assert family.layout.xaxis.range == pytest.approx((0, 2.0))


def test_snapshot_shows_the_present_state() -> None:
    lab = FanoLab()
    move(lab.rate, 0.4)
    figure = lab.snapshot()
    (point, other) = [trace for trace in figure.data if trace.name == "r₀"]
    assert point.x[0] == pytest.approx(lab.r0)
    assert other.y[0] == pytest.approx(lab.r0)
    assert figure.layout.annotations[-1].text == lab.sentence


@pytest.mark.parametrize(
    "bad", [{"num_classes": 1}, {"rate": 1.3}, {"information": -1.0}, {"rate": math.nan}]
)
def test_bad_values_raise(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        FanoLab(**bad)
