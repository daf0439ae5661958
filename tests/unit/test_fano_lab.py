"""FanoLab: every control, driven as the front end drives it, against `lnlib.bounds`."""

import math
from typing import Any

import numpy as np
import pytest

from lnlib import bounds
from lnlib.errors import InvalidValue
from lnlib.labs import FanoLab
from lnlib.labs.base import Lab, bits, percent


def move(control: Any, value: float) -> None:
    """Set a control by the message that the browser sends."""
    control.set_state({"value": value})


def drawn(panel: Any, name: str) -> Any:
    (found,) = [trace for trace in panel.data if trace.name == name]
    return found


def assert_shows(lab: FanoLab, num_classes: int, rate: float, information: float) -> None:
    entropy = float(bounds.uniform_label_entropy(rate, num_classes))
    r0 = float(bounds.r0(entropy, information, num_classes))
    assert lab.r0 == r0
    assert drawn(lab.crossing, "r₀").x == pytest.approx([r0])
    assert drawn(lab.crossing, "r₀").y == pytest.approx([max(0, entropy - information)])
    assert drawn(lab.crossing, "r₀").text[0].strip() == f"<b>r₀ = {r0:.1%}</b>"
    assert drawn(lab.crossing, "H(y|x)").y == pytest.approx([entropy, entropy])
    curve = lab.crossing.data[0]
    np.testing.assert_allclose(curve.y, bounds.uniform_label_entropy(curve.x, num_classes))
    assert drawn(lab.family, "r₀").x == pytest.approx([information])
    assert drawn(lab.family, "r₀").y == pytest.approx([r0])
    own = drawn(lab.family, f"your p = {rate:.0%}")
    np.testing.assert_allclose(own.y, bounds.r0(entropy, own.x, num_classes))
    if r0 > 0:
        assert f"fewer than {100 * r0:.3g}% training errors" in lab.sentence
    else:
        assert "no training errors at all" in lab.sentence
    assert lab.sentence in lab.widget.children[-1].value


def test_it_opens_with_the_papers_example() -> None:
    lab = FanoLab()
    assert lab.sentence == (
        "With 80% of labels wrong and 1 bit per example memorised, "
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
    monkeypatch.setattr(lab, "update", lambda: (updates.append(1), update()))
    move(lab.num_classes, 2)
    assert (lab.rate.value, lab.information.value) == (0.5, 1.0)
    assert len(updates) == 1
    assert_shows(lab, 2, 0.5, 1.0)


def test_rate_and_information_end_where_they_mean_something() -> None:
    lab = FanoLab()
    for num_classes in (2, 3, 6, 7, 10, 100, 1000):
        move(lab.num_classes, num_classes)
        # Beyond (K-1)/K the true label is the least likely one, and r0 no longer is what the labels force.
        assert 1 - 1 / num_classes - 0.01 < lab.rate.max <= 1 - 1 / num_classes
        assert math.log2(num_classes) - 0.01 < lab.information.max <= math.log2(num_classes)


def test_axes_and_sizes_stay_while_sliders_move() -> None:
    lab = FanoLab()

    def frame() -> list[Any]:
        panels = (lab.crossing, lab.family)
        axes = [axis.range for panel in panels for axis in (panel.layout.xaxis, panel.layout.yaxis)]
        return [*axes, *((panel.layout.width, panel.layout.height) for panel in panels)]

    before = frame()
    move(lab.rate, 0.1)
    move(lab.information, 3.0)
    assert frame() == before
    assert None not in before
    move(lab.num_classes, 4)
    assert lab.crossing.layout.yaxis.range == pytest.approx((0, 2.2))
    assert lab.family.layout.xaxis.range == pytest.approx((0, 2.0))


def test_snapshot_shows_the_present_state() -> None:
    lab = FanoLab()
    move(lab.rate, 0.4)
    figure = lab.snapshot()
    (point, other) = [trace for trace in figure.data if trace.name == "r₀"]
    assert point.x[0] == pytest.approx(lab.r0)
    assert other.y[0] == pytest.approx(lab.r0)
    assert figure.layout.annotations[-1].text == lab.sentence


def test_a_bare_name_shows_the_widget() -> None:
    lab = FanoLab()
    bundle = lab._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == lab.widget.model_id


@pytest.mark.parametrize(
    "bad", [{"num_classes": 1}, {"rate": 1.3}, {"information": -1.0}, {"rate": math.nan}]
)
def test_bad_values_raise(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        FanoLab(**bad)


def test_numbers_in_words() -> None:
    assert [percent(share) for share in (0.8, 0.4051, 0.0383, 1.0)] == ["80%", "40.5%", "3.83%", "100%"]
    assert [bits(amount) for amount in (0.0, 0.5, 1.0, 2.25)] == ["0 bits", "0.5 bits", "1 bit", "2.25 bits"]


def test_updates_can_be_held_together() -> None:
    class Counting(Lab):
        count = 0

        def update(self) -> None:
            self.count += 1

    lab = Counting()
    with lab.one_update(), lab.one_update():
        assert lab.count == 0
    assert lab.count == 1
