"""MemorizationLab without a browser: what it trains, draws and says, and how it stops and fails."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lnlib import noise
from lnlib.course.labs import runs as lab_runs
from lnlib.course.labs.memorization import RATES, Frame, MemorizationLab, Recipe, describe_run
from lnlib.data.task import make_task
from lnlib.errors import UnknownName
from lnlib.methods import LIMIT, CrossEntropy
from lnlib.nets import MLP
from lnlib.training import Member, sweep
from tests.lab_tools import PATIENCE, axes, look_up, panels, run_job, scene, trained

EPOCHS, WIDTH = 3, 8
LEFT = ("train_accuracy", "clean_accuracy", "corrupted_fit", "corrupted_recovered", "test_accuracy")


@pytest.fixture(scope="module")
def frames() -> dict[float, Frame]:
    """The frames of a small sweep over all rates and one between them."""
    return run_job(small_lab(), [*RATES, 0.35])


@pytest.fixture
def calls(frames: dict[float, Frame], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Training replaced by a look-up; holds what was asked for."""
    return look_up(monkeypatch, MemorizationLab, frames)


def small_lab(**options: Any) -> MemorizationLab:
    return MemorizationLab(**{"epochs": EPOCHS, "width": WIDTH} | options)


def trained_lab(**options: Any) -> MemorizationLab:
    return trained(small_lab(**options))


def exact_button(lab: MemorizationLab) -> Any:
    return lab.action_buttons["Train this exact rate"]


def assert_draws(lab: MemorizationLab, frame: Frame) -> None:
    """The page's traces hold exactly the history of a frame."""
    accuracy, bits = panels(lab)
    for trace, column in zip(accuracy.data, LEFT, strict=False):
        np.testing.assert_array_equal(trace.y, frame.history[column].dropna())
    target, cursor = accuracy.data[5:]
    assert tuple(target.y) == pytest.approx((1 - frame.effective_rate,) * 2)
    band, line, entropy, _ = bits.data
    np.testing.assert_array_equal(line.y, frame.history["memorized_bits"])
    history = frame.history
    np.testing.assert_array_equal(
        band.y, np.concatenate([history["memorized_bits_high"], history["memorized_bits_low"][::-1]])
    )
    assert tuple(entropy.y) == (frame.entropy,) * 2
    assert tuple(cursor.x) == (lab.epoch.value,) * 2


def test_training_gives_the_histories_of_the_sweep(
    frames: dict[float, Frame], digits: Any, make_digits_task: Callable[..., Any]
) -> None:
    members = [Member(CrossEntropy(), make_digits_task(rate), 0) for rate in (*RATES, 0.35)]
    runs = sweep(members, mode="stacked", net=MLP(WIDTH), epochs=EPOCHS, batch_size=64)
    assert list(frames) == [*RATES, 0.35]
    for frame, run, member in zip(frames.values(), runs, members, strict=True):
        expected = run.history
        for column in LEFT:
            # One image in a hundred: the lab may have trained solo, which rounds differently.
            np.testing.assert_allclose(frame.history[column], expected[column], atol=0.05)
        assert frame.num_train == len(member.task.train)
        assert frame.effective_rate == pytest.approx(frame.rate)


def test_progress_counts_every_step_once(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[int, int]] = []
    lab = small_lab(method="LIMIT, Laplace q", epochs=2)
    run_job(lab, [0.0, 0.5], lambda done, total: heard.append((done, total)))
    steps = heard[-1][1]
    assert [done for done, _ in heard] == list(range(1, steps + 1))
    assert {total for _, total in heard} == {steps}


def test_before_training_there_are_lines_but_no_curves(digits: Any) -> None:
    lab = small_lab(rate=0.8)
    accuracy, bits = panels(lab)
    assert [len(trace.y) for trace in accuracy.data[:5]] == [0] * 5
    assert tuple(accuracy.data[5].y) == pytest.approx((0.2, 0.2))
    assert tuple(bits.data[2].y) == pytest.approx((3.2578,) * 2, abs=1e-4)
    assert "Press Train" in lab.sentence
    assert lab.stop_button.disabled and not lab.train_button.disabled
    assert exact_button(lab).disabled
    assert lab.histories == {}


def test_the_rate_slider_moves_through_the_sweep(calls: list[Any], frames: dict[float, Frame]) -> None:
    lab = trained_lab()
    assert calls == [(lab.setup(lab.values), list(RATES))]
    assert list(lab.histories) == list(RATES)
    for rate in RATES:
        lab.rate.value = rate
        assert_draws(lab, frames[rate])
        assert f"{rate:.2f}" in lab.sentence
        assert not scene(lab)["note"]
        assert exact_button(lab).disabled


def test_the_axes_stay_where_they_are(calls: list[Any]) -> None:
    lab = trained_lab()
    ranges = set()
    for rate in RATES:
        lab.rate.value = rate
        ranges.add(tuple(axes(lab)))
    assert len(ranges) == 1


def test_a_rate_between_shows_the_nearest_and_says_so(calls: list[Any], frames: dict[float, Frame]) -> None:
    lab = trained_lab()
    lab.rate.value = 0.35
    assert_draws(lab, frames[0.3])
    assert "0.35 is not trained yet: you see 0.30" in scene(lab)["note"]
    assert "At noise rate 0.30" in lab.sentence
    assert not exact_button(lab).disabled
    exact_button(lab).click()
    assert lab.wait(PATIENCE)
    assert calls[-1] == (lab.setup(lab.values), [0.35])
    assert_draws(lab, frames[0.35])
    assert not scene(lab)["note"]
    assert exact_button(lab).disabled


def test_the_epoch_slider_moves_cursor_and_sentence(calls: list[Any], frames: dict[float, Frame]) -> None:
    lab = trained_lab()
    lab.epoch.value = 2
    assert [tuple(panel.data[-1].x) for panel in panels(lab)] == [(2, 2)] * 2
    assert lab.sentence == describe_run("cross-entropy", frames[0.5], 2)
    assert "after 2 epochs" in lab.sentence
    lab.epoch.value = EPOCHS
    assert "cross-entropy ends" in lab.sentence


def test_results_are_kept_by_settings_until_reset(calls: list[Any], frames: dict[float, Frame]) -> None:
    lab = trained_lab()
    lab.method.value = "LIMIT, Laplace q"
    assert lab.histories == {} and "Press Train" in lab.sentence
    lab.method.value = "Cross-entropy"
    assert_draws(lab, frames[0.5])
    lab.train()
    assert lab.wait(PATIENCE)
    assert len(calls) == 1, "nothing is trained twice"
    lab.seed.value, lab.rate.value = 5, 0.2
    lab.reset_button.click()
    assert (lab.seed.value, lab.rate.value, lab.epoch.value) == (0, 0.5, EPOCHS)
    assert lab.histories == {}
    assert len(panels(lab)[0].data[0].y) == 0


def test_beta_counts_for_limit_only(digits: Any) -> None:
    lab = small_lab()
    before = lab.setup(lab.values)
    assert lab.beta.disabled
    lab.beta.value = 3.0
    assert lab.setup(lab.values) == before
    lab.method.value = "LIMIT, Gaussian q"
    assert not lab.beta.disabled
    assert Recipe.of(lab.values).method == LIMIT(q="gaussian", beta=3.0)
    assert "β = 3" in scene(lab)["small_print"]
    lab.method.value = "Cross-entropy + dropout"
    assert Recipe.of(lab.values).net(WIDTH).dropout > 0


def test_more_epochs_lengthen_the_epoch_slider(digits: Any) -> None:
    lab = small_lab()
    lab.epochs.value = 7
    assert (lab.epoch.max, lab.epoch.value) == (7, 7)
    assert panels(lab)[0].layout.xaxis.range[1] >= 7
    lab.epochs.value = 2
    assert (lab.epoch.max, lab.epoch.value) == (2, 2)


def test_real_training_stops_too(digits: Any) -> None:
    lab = small_lab(epochs=1000)
    reached = threading.Event()
    lab.progress.observe(lambda change: reached.set(), "value")
    lab.train()
    assert reached.wait(PATIENCE)
    lab.stop()
    assert lab.wait(PATIENCE)
    assert lab.histories == {}


def test_results_go_to_the_settings_they_were_trained_with(
    frames: dict[float, Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def job(self: Any, c: Any, keys: Any, report: Any) -> dict[float, Frame]:
        assert go_on.wait(PATIENCE)
        return {rate: frames[rate] for rate in keys}

    monkeypatch.setattr(MemorizationLab, "job", job)
    lab = small_lab()
    lab.train()
    lab.method.value = "LIMIT, Laplace q"
    go_on.set()
    assert lab.wait(PATIENCE)
    assert lab.histories == {}
    lab.method.value = "Cross-entropy"
    assert list(lab.histories) == list(RATES)


@pytest.mark.parametrize(
    ("options", "nearest"), [({"dataset": "digit"}, "digits"), ({"method": "LIMIT"}, "LIMIT")]
)
def test_unknown_names_are_refused(options: dict[str, str], nearest: str) -> None:
    with pytest.raises(UnknownName, match=nearest):
        MemorizationLab(**options)


def test_sentences(frames: dict[float, Frame]) -> None:
    now = frames[0.8].history.iloc[-1]
    text = describe_run("cross-entropy", frames[0.8], EPOCHS)
    assert text.startswith("At noise rate 0.80, cross-entropy ends with at least ")
    for share in (now["corrupted_fit"], now["corrupted_recovered"], now["test_accuracy"]):
        assert f"{share:.0%}" in text
    assert f"{now['memorized_bits']:.1f} of 3.3 bits" in text
    assert "after 1 epoch, " in describe_run("LIMIT", frames[0.8], 1)
    clean = describe_run("LIMIT", frames[0.0], EPOCHS)
    assert "nothing to memorise" in clean and "nan" not in clean


def test_the_snapshot_is_static_and_shows_both_panels(calls: list[Any], frames: dict[float, Frame]) -> None:
    figure = trained_lab().snapshot()
    drawn = {trace.name: trace for trace in figure.data}
    np.testing.assert_array_equal(drawn["corrupted part, fitted"].y, frames[0.5].history["corrupted_fit"])
    np.testing.assert_array_equal(drawn["memorised bits"].y, frames[0.5].history["memorized_bits"])
    assert "effective error rate 0.50" in figure.layout.annotations[-1].text


def test_mnist_trains_when_it_is_here(mnist: Any) -> None:
    (frame,) = run_job(small_lab(dataset="mnist", epochs=1), [0.5]).values()
    assert frame.num_train == lab_runs.LARGE.train_size
    task = make_task(mnist, noise.uniform(0.5, 10), 0, train_size=frame.num_train)
    assert frame.effective_rate == pytest.approx(task.effective_error_rate)
