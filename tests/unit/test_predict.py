"""Predictions: what was said beside what came out; unanswered ones stop nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnlib.course import predict
from lnlib.course.plots.showing import PICTURES
from lnlib.errors import LnlibError


@pytest.fixture(autouse=True)
def _none_before(monkeypatch) -> None:
    monkeypatch.setattr(predict, "_made", {})


def test_a_number_is_compared_with_what_came_out() -> None:
    bits = predict.number("unknown bits of a label", 0, 3.32, "bits")
    assert predict.UNANSWERED in bits._line.value
    bits.control.value = 2.5
    assert bits.said == 2.5 and "2.5 bits" in bits._line.value
    said = str(bits.answer(3.26))
    assert "You said 2.5 bits. It is 3.26 bits: 0.76 too low." in said and bits._line.value in said
    bits.control.value = 3.3
    assert "0.04 too high" in str(bits.answer(3.26))
    bits.control.value = 3.26
    assert "spot on" in str(bits.answer(3.26))
    assert "It is 1,832 bits" in str(bits.answer(1832.4))


def test_a_choice_is_compared_with_what_came_out() -> None:
    cross = predict.choice("do the lines cross?", ("yes", "no"))
    assert "You made no prediction" in str(cross.answer("no"))
    cross.control.value = "yes"
    assert "You said yes. It is no." in str(cross.answer("no"))
    cross.control.value = "no"
    assert "and so it is" in str(cross.answer("no"))


def test_the_summary_goes_over_all_in_order_and_one_made_again_stands_once() -> None:
    assert "No prediction" in str(predict.summary())
    first = predict.number("first", 0, 1)
    predict.choice("second", ("a", "b"))
    again = predict.number("first", 0, 1)
    first.control.value, again.control.value = 0.1, 0.9
    again.answer(0.5)
    rows = str(predict.summary()).splitlines()[2:]
    assert len(rows) == 2 and "You said 0.9. It is 0.5: 0.4 too high." in rows[0]
    assert "second" in rows[1] and predict.UNANSWERED in rows[1]


def test_a_cell_run_again_keeps_what_was_said_until_it_was_answered() -> None:
    predict.number("bits", 0, 3.32).control.value = 2.5
    again = predict.number("bits", 0, 3.32)
    assert again.said == again.control.value == 2.5 and "your prediction: 2.5" in again._line.value
    again.answer(3.26)
    assert predict.number("bits", 0, 3.32).said is None
    predict.choice("which?", ("a", "b")).control.value = "b"
    assert predict.choice("which?", ("a", "b")).said == "b"


def test_what_a_page_rounds_is_no_prediction() -> None:
    nats = predict.number("nats", 0, 7)
    first = nats.control.value
    nats.control.value = first + 1e-9
    assert nats.said is None and nats._line.value == predict.UNANSWERED
    nats.control.value = first + nats.control.step
    assert nats.said == first + nats.control.step
    nats.control.value = first  # once said, the first position is one like any other
    assert nats.said == first


@given(st.integers(-1000, 1000), st.integers(1, 10**6), st.sampled_from([1.0, 0.01]))
def test_a_slider_has_some_hundred_round_steps_and_starts_on_one(low: int, span: int, unit: float) -> None:
    control = predict.number("one", low * unit, low * unit + span * unit).control
    steps = (control.max - control.min) / control.step
    assert 10 <= steps <= 250 + 1e-6
    at = (control.value - control.min) / control.step
    assert abs(at - round(at)) < 1e-6
    assert f"{control.step:.6e}"[0] in "125"
    if unit == 1 and span >= 10:
        assert control.step >= 1 and control.readout_format == ",.0f"


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.floats(-1e6, 1e6))
def test_any_number_gets_an_answer(value: float, said: float) -> None:
    one = predict.number("one", -1e6, 1e6)
    one.control.value = said
    text = str(one.answer(value))
    assert ("high" in text) <= (one.control.value > value) and ("low" in text) <= (one.control.value < value)


def test_a_saved_page_says_where_to_predict(monkeypatch, capsys) -> None:
    monkeypatch.setenv(PICTURES, "1")
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    predict.number("one", 0, 1)._ipython_display_()
    assert set(shown[0]) == {"text/plain", "text/markdown"} and "JupyterLab" in shown[0]["text/markdown"]
    monkeypatch.delenv(PICTURES)
    predict.number("one", 0, 1)._ipython_display_()
    assert "application/vnd.jupyter.widget-view+json" in shown[1] and "A prediction" in shown[1]["text/plain"]


@pytest.mark.parametrize("wrong", [(1, 0), (1, 1), (0, float("nan")), ("0", 1), (True, 2)])
def test_limits_that_are_none_are_refused(wrong) -> None:
    with pytest.raises(LnlibError):
        predict.number("one", *wrong)
    with pytest.raises(LnlibError):
        predict.choice("one", ("same", "same"))
