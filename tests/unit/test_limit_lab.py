"""LimitLab without a browser: what it trains, draws and says, and how it stops and fails."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lnlib.analysis.information import information_bounds
from lnlib.course import plots
from lnlib.course.labs import limit
from lnlib.course.labs.controls import Steps
from lnlib.course.labs.limit import Frame, LimitLab, describe_run
from lnlib.errors import InvalidValue, UnknownName
from lnlib.methods import LIMIT
from lnlib.training import Member, sweep
from tests.lab_tools import PATIENCE, axes, look_up, panels, run_job, scene, trained

EPOCHS = 2
RATES, BETAS = (0.4, 0.8), (0.0, 10.0, 100.0)
GRID = [(rate, beta) for rate in RATES for beta in BETAS]
SETUP = ("digits", "Laplace", 0.0, "like the classifier", EPOCHS, 0)
LEFT = ("train_accuracy", "clean_accuracy", "corrupted_fit", "corrupted_recovered", "test_accuracy")
RIGHT = ("clean_accuracy", "corrupted_fit", "test_accuracy")


class SmallLimitLab(LimitLab):
    views = LimitLab.views | {
        "rate": Steps(value=0.4, label="noise rate", values=RATES, form=".2f"),
        "beta": Steps(value=10.0, label="β", values=BETAS),
    }


@pytest.fixture(autouse=True)
def _small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit, "RATES", RATES)
    monkeypatch.setattr(limit, "BETAS", BETAS)


@pytest.fixture(scope="module")
def frames() -> dict[tuple[float, float], Frame]:
    """The frames of a sweep over the small grid."""
    return run_job(small_lab(), GRID)


@pytest.fixture
def calls(frames: dict[Any, Frame], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Training replaced by a look-up; holds what was asked for."""
    return look_up(monkeypatch, SmallLimitLab, frames)


def small_lab(**options: Any) -> LimitLab:
    return SmallLimitLab(**{"epochs": EPOCHS, "rate": 0.4} | options)


def trained_lab(**options: Any) -> LimitLab:
    return trained(small_lab(**options))


def assert_draws(lab: LimitLab, frames: dict[Any, Frame], rate: float, beta: float, epoch: int) -> None:
    """The page's traces hold exactly the histories of the frames."""
    accuracy, by_beta = panels(lab)
    shown = frames[rate, beta].history
    for trace, column in zip(accuracy.data, LEFT, strict=False):
        np.testing.assert_array_equal(trace.y, shown[column])
    assert tuple(accuracy.data[5].y) == pytest.approx((1 - rate,) * 2)
    assert tuple(accuracy.data[-1].x) == (epoch,) * 2
    records = [frames[rate, other].history.iloc[epoch - 1] for other in BETAS]
    *lines, star, cursor = by_beta.data
    for trace, column in zip(lines, RIGHT, strict=True):
        np.testing.assert_array_equal(trace.x, range(len(BETAS)))
        np.testing.assert_array_equal(trace.y, [record[column] for record in records])
    best = max(records, key=lambda record: record["validation_accuracy"])
    assert tuple(star.y) == (best["test_accuracy"],)
    assert tuple(cursor.x) == (BETAS.index(beta),) * 2
    assert f"At noise rate {rate:.2f} and β = {beta:g}, LIMIT (Laplace) " in lab.sentence


def test_training_gives_the_histories_of_the_sweep(
    frames: dict[Any, Frame], make_digits_task: Callable[..., Any]
) -> None:
    members = [Member(LIMIT(q="laplace", beta=beta), make_digits_task(rate), 0) for rate, beta in GRID]
    runs = sweep(members, mode="stacked", net=limit.NET, epochs=EPOCHS, batch_size=64)
    assert list(frames) == GRID
    columns = [*LEFT, "validation_accuracy", "squared_gradient"]
    for key, run, member in zip(GRID, runs, members, strict=True):
        pd.testing.assert_frame_equal(frames[key].history[columns], run.history[columns])
        assert frames[key].num_train == len(member.task.train)
        assert frames[key].effective_rate == pytest.approx(key[0])


def test_progress_counts_every_step_once() -> None:
    heard: list[tuple[int, int]] = []
    run_job(small_lab(), GRID[:2], lambda done, total: heard.append((done, total)))
    steps = heard[-1][1]
    assert [done for done, _ in heard] == list(range(1, steps + 1))
    assert {total for _, total in heard} == {steps}


def test_a_larger_penalty_predicts_smaller_gradients(frames: dict[Any, Frame]) -> None:
    for rate in RATES:
        norms = [frames[rate, beta].history["squared_gradient"].iloc[-1] for beta in BETAS]
        assert norms[0] > 2 * norms[1] and norms[1] > norms[2] > 0


def test_before_training_there_are_lines_but_no_curves() -> None:
    lab = small_lab(rate=0.8)
    for panel, curves in zip(panels(lab), (5, 4), strict=True):
        assert [len(trace.y) for trace in panel.data[:curves]] == [0] * curves
    assert tuple(panels(lab)[0].data[5].y) == pytest.approx((0.2, 0.2))
    lab.beta.value = 100.0
    assert tuple(panels(lab)[1].data[-1].x) == (2, 2)
    assert "Press Train" in lab.sentence
    assert lab.stop_button.disabled and not lab.train_button.disabled
    assert lab.histories == {}


def test_every_slider_moves_both_panels(calls: list[Any], frames: dict[Any, Frame]) -> None:
    lab = trained_lab()
    assert calls == [(SETUP, GRID)]
    assert list(lab.histories) == GRID
    ranges = set()
    for rate, beta in GRID:
        lab.rate.value, lab.beta.value = rate, beta
        for epoch in (1, EPOCHS):
            lab.epoch.value = epoch
            assert_draws(lab, frames, rate, beta, epoch)
            ranges.add(tuple(axes(lab)))
    assert len(ranges) == 1, "the axes jump"


def test_a_move_sends_one_scene(calls: list[Any]) -> None:
    lab = trained_lab()
    sent: list[object] = []
    lab.panels.scene.observe(lambda change: sent.append(change["new"]), "value")
    lab.beta.value = 100.0
    assert sent == [lab.panels.scene.value]


def test_results_are_kept_by_settings_until_reset(calls: list[Any], frames: dict[Any, Frame]) -> None:
    lab = trained_lab()
    lab.q.value = "Gaussian"
    assert lab.setup(lab.values) == ("digits", "Gaussian", 0.0, "like the classifier", EPOCHS, 0)
    assert lab.histories == {} and "Press Train" in lab.sentence
    assert len(panels(lab)[1].data[0].y) == 0
    lab.q.value = "Laplace"
    assert_draws(lab, frames, 0.4, 10.0, EPOCHS)
    lab.train()
    assert lab.wait(PATIENCE)
    assert len(calls) == 1, "nothing is trained twice"
    lab.seed.value, lab.rate.value, lab.beta.value, lab.epoch.value = 5, 0.8, 0.0, 1
    lab.reset_button.click()
    assert (lab.seed.value, lab.rate.value, lab.beta.value, lab.epoch.value) == (0, 0.4, 10.0, EPOCHS)
    assert lab.histories == {}
    assert "not trained yet" in lab.status.value


def test_settings_make_the_method() -> None:
    lab = small_lab(q="Gaussian", sigma=0.1)
    assert limit.method(lab.values, 3.0) == LIMIT(q="gaussian", beta=3.0, sampling=True, sigma=0.1)
    assert "LIMIT (Gaussian, σ = 0.1)" in scene(lab)["small_print"]
    lab.sigma.value = 0.0
    assert limit.method(lab.values, 3.0) == LIMIT(q="gaussian", beta=3.0)
    lab.predictor.value = "4 times narrower"
    assert limit.method(lab.values, 0.0) == LIMIT(q="gaussian", beta=0.0, narrower=4)
    assert "LIMIT (Gaussian, 4 times narrower)" in scene(lab)["small_print"]
    lab.predictor.value = "3 of 5 layers frozen"
    assert limit.method(lab.values, 0.0) == LIMIT(q="gaussian", beta=0.0, frozen=3)
    lab.epochs.value = 7
    assert (lab.epoch.max, lab.epoch.value, lab.values.epochs) == (7, 7, 7)
    lab.seed.value = 4
    assert "7 epochs, batch 64 · seed 4" in scene(lab)["small_print"]


def test_sentences(frames: dict[Any, Frame]) -> None:
    frame = frames[0.8, 0.0]
    now = frame.history.iloc[-1]
    c = small_lab(rate=0.8, beta=0.0).values
    text = describe_run(c, frame)
    assert text.startswith("At noise rate 0.80 and β = 0, LIMIT (Laplace) ends with ")
    assert f"{now['corrupted_fit']:.0%} of the wrong labels" in text
    assert f"{now['test_accuracy']:.0%} on test images" in text
    assert text.endswith(f"squared norm of {now['squared_gradient']:.2g}.")
    assert "stands after 1 epoch with" in describe_run(c._replace(epoch=1), frame)


@pytest.mark.parametrize("q", ["Laplace", "Gaussian"])
def test_sampling_says_what_the_proposition_allows(frames: dict[Any, Frame], q: str) -> None:
    frame = frames[0.4, 10.0]
    text = describe_run(small_lab(q=q, sigma=0.3, epoch=1).values, frame)
    most = information_bounds(frame.history, 0.3, 10, limit.DISTRIBUTIONS[q])["at_most"]
    assert f"LIMIT ({q}, σ = 0.3)" in text
    assert text.endswith(f"{most[0]:.3g} bits per label; H(y|x) is {frame.entropy:.1f}.")


def test_the_star_is_the_choice_of_noisy_validation() -> None:
    records = pd.DataFrame(
        {
            "clean_accuracy": [0.9, 0.8, 0.7],
            "corrupted_fit": [0.3, 0.2, 0.1],
            "test_accuracy": [0.5, 0.7, 0.6],
            "validation_accuracy": [0.30, 0.35, 0.40],
        }
    )
    star = plots.against_beta(records, BETAS, 0.0)["data"][3]
    assert (tuple(star["x"]), tuple(star["y"])) == ((2,), (0.6,))


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        ({"dataset": "digit"}, UnknownName, "digits"),
        ({"q": "Gauss"}, UnknownName, "Gaussian"),
        ({"sigma": 0.2}, InvalidValue, "0, 0.1, 0.3, got 0.2"),
        ({"predictor": "8 times as wide"}, UnknownName, "4 times narrower"),
        ({"rate": 0.45}, InvalidValue, "0.4, 0.8, got 0.45"),
        ({"beta": 5.0}, InvalidValue, "0, 10, 100, got 5.0"),
    ],
)
def test_what_the_lab_does_not_train_is_refused(options: dict[str, Any], error: type, hint: str) -> None:
    with pytest.raises(error, match=hint):
        small_lab(**options)


def test_the_snapshot_is_static_and_shows_both_panels(calls: list[Any], frames: dict[Any, Frame]) -> None:
    figure = trained_lab(rate=0.8).snapshot()
    fitted = [trace for trace in figure.data if trace.name == "corrupted part, fitted"]
    np.testing.assert_array_equal(fitted[0].y, frames[0.8, 10.0].history["corrupted_fit"])
    ends = [frames[0.8, beta].history["corrupted_fit"].iloc[-1] for beta in BETAS]
    np.testing.assert_array_equal(fitted[1].y, ends)
    assert figure.layout.xaxis2.ticktext == ("0", "10", "100")
    assert "β = 10 · digits, n = 1200 · uniform noise 0.80" in figure.layout.annotations[-1].text
