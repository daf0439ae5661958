"""Sample weights: their analysis, WeightsLab without a browser, the figures, and the convergence toy."""

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import torch

from lnlib import data, noise
from lnlib.analysis import convergence
from lnlib.analysis.weights import (
    EDGES,
    effective_sample_size,
    evaluation_histogram,
    evaluation_summary,
    evaluation_table,
)
from lnlib.course import plots
from lnlib.course.labs import weights
from lnlib.course.labs.controls import Steps
from lnlib.course.labs.weights import Key, Weighed, WeightsLab, optimizer, task_of, verdict
from lnlib.data import make_task
from lnlib.errors import InvalidValue, UnknownName
from lnlib.methods import CrossEntropy, LogitNet, LossNet, MetaInfoNet
from lnlib.nets import MLP
from lnlib.papers import figures
from lnlib.papers.store import Store
from lnlib.training import Member, Runs
from tests.lab_tools import PATIENCE, axes, look_up, panels, run_job, scene, trained

EPOCHS = 2
RATES, LAMBDAS = (0.2, 0.6), (0.0, 1.0)
SETUP = ("digits", "flip-1", EPOCHS, 0)
LABELS = ("LossNet", "LogitNet", "MetaInfoNet", "L2RW")


class SmallWeightsLab(WeightsLab):
    views = WeightsLab.views | {
        "rate": Steps(value=0.2, label="noise rate", values=RATES, form=".2f"),
        "lam": Steps(value=0.0, label="λ", values=LAMBDAS),
    }


@pytest.fixture(autouse=True)
def _small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "RATES", RATES)
    monkeypatch.setattr(weights, "LAMBDAS", LAMBDAS)


def small_lab(**options: Any) -> WeightsLab:
    return SmallWeightsLab(**{"epochs": EPOCHS} | options)


@pytest.fixture(scope="module")
def runs() -> dict[Key, Weighed]:
    """The runs of the small grid."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "RATES", RATES)
        patch.setattr(weights, "LAMBDAS", LAMBDAS)
        return run_job(small_lab())


@pytest.fixture
def calls(runs: dict[Key, Weighed], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Training replaced by a look-up; holds what was asked for."""
    return look_up(monkeypatch, SmallWeightsLab, runs)


def trained_lab(**options: Any) -> WeightsLab:
    return trained(small_lab(**options))


# The analysis.


def test_the_effective_sample_size_counts_the_examples_that_are_left() -> None:
    assert effective_sample_size(np.ones(7)) == pytest.approx(1)
    assert effective_sample_size(np.array([1.0, 0.0, 0.0, 1.0])) == pytest.approx(0.5)
    assert effective_sample_size(np.zeros(3)) == 0
    shares = np.repeat([1.6, 0.1], [6, 4])
    assert effective_sample_size(shares) == pytest.approx(1 / (0.6 * 1.6**2 + 0.4 * 0.01))


def test_a_summary_compares_right_and_wrong_labels() -> None:
    given, clean = np.array([2.0, 1.0, 0.5, 0.5]), np.array([True, True, True, False])
    summary = evaluation_summary(given, clean)
    assert summary.auc == pytest.approx(5 / 6)  # two wins and a tie of three
    assert (summary.clean, summary.noisy) == pytest.approx((3.5 / 3, 0.5))
    with pytest.raises(InvalidValue, match="got 4 clean of 4"):
        evaluation_summary(given, np.ones(4, bool))


def test_a_table_has_a_row_a_run_and_says_nothing_of_weights_where_there_are_none() -> None:
    task = make_task(data.load("digits"), noise.flip(0.4, 10), train_size=60, meta_size=20)
    settings: Any = {"net": MLP(4, 1), "batch_size": 20, "epochs": 12}
    methods = {"plain": CrossEntropy(), "squeezed": MetaInfoNet()}
    runs = {name: Runs([Member(one, task, 3)], **settings).train() for name, one in methods.items()}
    table = evaluation_table(runs)
    assert table.index.to_list() == [("plain", 3), ("squeezed", 3)]
    plain, squeezed = table.loc["plain", 3], table.loc["squeezed", 3]
    assert plain.isna().to_dict() == dict.fromkeys(["auc", "clean", "noisy", "effective", "nats"], True) | {
        "best": False,
        "last": False,
    }
    (run,) = runs["squeezed"]
    right = task.train.labels == task.truth.train_labels
    assert right.float().mean() * squeezed["clean"] + (~right).float().mean() * squeezed["noisy"] == (
        pytest.approx(1, abs=1e-5)  # the mean of all weights
    )
    assert squeezed["last"] == pytest.approx(np.mean([record.test_accuracy for record in run.records][2:]))
    assert squeezed["best"] == run.best.test_accuracy
    assert squeezed["nats"] > 0


def test_a_histogram_loses_no_example() -> None:
    given = np.array([0.0, 0.1, 0.3, 4.0, 99.0])
    histogram = evaluation_histogram(given, np.array([True, False, True, True, False]))
    assert [*histogram["low"], histogram["high"].iloc[-1]] == pytest.approx(list(EDGES))
    assert (histogram["clean"].iloc[[0, 1, -1]].tolist(), histogram["clean"].sum()) == ([1, 1, 1], 3)
    assert (histogram["noisy"].iloc[[0, -1]].tolist(), histogram["noisy"].sum()) == ([1, 1], 2)


# The lab.


def assert_draws(lab: WeightsLab, runs: dict[Key, Weighed], rate: float, lam: float, epoch: int) -> None:
    """The page's bars are the histograms of the runs, and the second lines their summaries."""
    for label, panel in zip(LABELS, panels(lab), strict=True):
        run = runs[rate, label, lam if label == "MetaInfoNet" else 0.0]
        histogram, summary = run.histograms[epoch - 1], run.summaries[epoch - 1]
        right, wrong = panel.data
        assert panel.layout.title.text == label
        for trace, part in ((right, "clean"), (wrong, "noisy")):
            counts = histogram[part].to_numpy()
            np.testing.assert_allclose(np.square(trace.y), counts / counts.sum(), atol=1e-12)
            assert trace.name.endswith(f"mean weight {getattr(summary, part):.2f}")
        test = run.history["test_accuracy"].iloc[epoch - 1]
        assert panel.layout.meta["subtitle"] == (
            f"AUC {summary.auc:.2f} · effective sample {summary.effective:.0%} · test {test:.0%}"
        )


def test_training_gives_the_weights_of_the_sweep(runs: dict[Key, Weighed]) -> None:
    c = small_lab().values
    task = task_of(c, 0.2)
    members = [Member(MetaInfoNet(lam=lam), task_of(c, rate), 0) for rate in RATES for lam in LAMBDAS]
    together = Runs(
        members, mode="stacked", net=weights.NET, batch_size=100, optimizer=optimizer(EPOCHS), epochs=EPOCHS
    )
    clean = (task.train.labels == task.truth.train_labels).numpy()
    for epoch, _ in enumerate(together.epochs()):
        found = together[1].sample_weights()
        assert found is not None
        kept = runs[0.2, "MetaInfoNet", 1.0]
        pd.testing.assert_frame_equal(kept.histograms[epoch], evaluation_histogram(found.numpy(), clean))
        assert kept.summaries[epoch] == evaluation_summary(found.numpy(), clean)
    assert kept.numbers["last"] == pytest.approx(together[1].history["test_accuracy"].mean())
    assert kept.num_train == len(task.train)
    assert list(runs) == small_lab().grid(c) and len(runs) == 10


def test_progress_counts_every_step_of_every_run() -> None:
    heard: list[tuple[int, int]] = []
    keys: list[Key] = [(0.2, "LossNet", 0.0), (0.6, "LossNet", 0.0), (0.2, "LogitNet", 0.0)]
    run_job(small_lab(), keys, lambda done, total: heard.append((done, total)))
    total = heard[-1][1]
    assert {one for _, one in heard} == {total} and heard[-1][0] == total
    assert np.diff([done for done, _ in heard]).tolist() == [2] * (total // 3 - 1) + [1] * (total // 3)


def test_before_training_the_panels_are_empty() -> None:
    lab = small_lab()
    assert not any(np.any(trace.y) for panel in panels(lab) for trace in panel.data)
    assert "Press Train" in lab.sentence and lab.table().empty
    assert [note.text for note in lab.snapshot().layout.annotations[:4]] == list(LABELS)


def test_every_slider_moves_the_panels(calls: list[Any], runs: dict[Key, Weighed]) -> None:
    lab = trained_lab()
    assert [setup for setup, _ in calls] == [SETUP]
    ranges = set()
    for rate in RATES:
        for lam in LAMBDAS:
            for epoch in (1, EPOCHS):
                lab.rate.value, lab.lam.value, lab.epoch.value = rate, lam, epoch
                assert_draws(lab, runs, rate, lam, epoch)
                ranges.add(tuple(axes(lab)))
    assert len(ranges) == 1, "the axes jump"


def test_noise_kinds_are_settings_of_their_own(calls: list[Any]) -> None:
    lab = trained_lab()
    lab.kind.value = "symmetric"
    assert not lab.results and "Press Train" in lab.sentence
    assert "symmetric noise 0.20 (effective error rate 0.18)" in scene(lab)["small_print"]
    lab.kind.value = "flip-1"
    lab.train()
    assert lab.wait(PATIENCE) and len(calls) == 1, "nothing is trained twice"
    lab.reset_button.click()
    assert not lab.results


def test_kinds_make_the_matrix_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind, targets in (("flip-1", 1), ("flip-2", 2), ("symmetric", 9)):
            matrix = weights.matrix(kind, 0.6, 10, seed=3)
            assert ((matrix > 0).sum(axis=1) == targets + 1).all()


def test_sentences_say_what_the_weights_say(calls: list[Any], runs: dict[Key, Weighed]) -> None:
    for auc, clean, noisy, words in (
        (0.3, 0.9, 1.2, "X prefers the wrong labels (AUC 0.30)"),
        (0.5, 1.0, 1.0, "X cannot tell right from wrong labels (AUC 0.50)"),
        (0.9, 1.65, 0.15, "X gives right labels 11 times the weight of wrong ones (AUC 0.90)"),
        (1.0, 1.6, 0.0, "X gives wrong labels no weight at all (AUC 1.00)"),
    ):
        assert verdict("X", weights.WeightSummary(auc, clean, noisy, 0.5)) == words
    lab = trained_lab()
    test = runs[0.2, "L2RW", 0.0].history["test_accuracy"].iloc[-1]
    assert lab.sentence.startswith("At the end, MetaInfoNet ") and f"L2RW {test:.0%}." in lab.sentence
    assert "the mode" not in lab.sentence
    lab.rate.value, lab.epoch.value = 0.6, 1
    assert lab.sentence.startswith("After 1 epoch, ") and "The wrong class is the mode" in lab.sentence


def test_the_table_and_the_snapshot_hold_the_runs(calls: list[Any], runs: dict[Key, Weighed]) -> None:
    lab = trained_lab(rate=0.6)
    table = lab.table()
    assert list(table.index) == ["LossNet", "LogitNet", "MetaInfoNet, λ = 0", "MetaInfoNet, λ = 1", "L2RW"]
    assert table.loc["LogitNet", "AUC"] == round(runs[0.6, "LogitNet", 0.0].summaries[-1].auc, 2)
    assert table["nats"].notna().tolist() == [False, False, True, True, False]
    figure = lab.snapshot()
    assert isinstance(figure, go.Figure)
    counts = runs[0.6, "L2RW", 0.0].histograms[-1]["noisy"].to_numpy()
    np.testing.assert_allclose(np.square(figure.data[7].y), counts / counts.sum(), atol=1e-12)
    assert "flip-1 noise 0.60" in figure.layout.annotations[-1].text


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        ({"kind": "flip-3"}, UnknownName, "flip-2"),
        ({"rate": 0.3}, InvalidValue, "0.2, 0.6, got 0.3"),
        ({"lam": 0.5}, InvalidValue, "0, 1, got 0.5"),
    ],
)
def test_what_the_lab_does_not_train_is_refused(options: dict[str, Any], error: type, hint: str) -> None:
    with pytest.raises(error, match=hint):
        small_lab(**options)


# The figures.


def test_figure_1_draws_every_method_from_its_own_counts() -> None:
    clean = np.array([True] * 6 + [False] * 4)
    found = {"LossNet": np.ones(10), "LogitNet": np.repeat([1.6, 0.1], [6, 4])}
    frame = pd.concat(evaluation_histogram(one, clean).assign(method=name) for name, one in found.items())
    figure = plots.weight_histograms(
        frame, {name: evaluation_summary(one, clean) for name, one in found.items()}
    )
    *counted, both = figure.data
    tall = [(trace.x[np.argmax(trace.y)], max(trace.y)) for trace in counted]
    assert tall == [pytest.approx((x, 1)) for x in (1.1, 1.1, 1.7, 0.1)]
    assert "AUC 1.00 · effective sample 65%" in figure.layout.annotations[1].text
    assert "both" in both.name and both.marker.color not in {trace.marker.color for trace in counted}


def test_the_other_figures_show_what_they_are_given() -> None:
    frame = pd.DataFrame({"method": "L2RW", "loss": [0.0, 2.0], "weight": [1.5, 0.5], "clean": [True, False]})
    right, wrong = plots.weight_against_loss(frame).data
    assert (right.x[0], right.y[0], wrong.x[0], wrong.y[0]) == pytest.approx((1e-5, 1.5, 2.0, 0.5))
    arrows = plots.gradient_arrows(
        np.array([[1.0, 0], [0, -2]]), np.array([1.0, 1]), ["a", "b"], [True, False]
    )
    ends = [(arrow.x, arrow.y) for arrow in arrows.layout.annotations]
    assert ends == [(1, 1), (1, 0), (0, -2)]


def arrows_between_boxes(figure: Any) -> set[tuple[str, str]]:
    """Which boxes of a drawing its arrows leave and reach; "" for neither."""
    layout, lines = figure.layout, figure.data
    boxes = [(box.name.split("<br>")[0], box) for box in layout.shapes]

    def touched(x: float, y: float) -> str:
        found = [
            name
            for name, box in boxes
            if min(x - box.x0, box.x1 - x, y - box.y0, box.y1 - y) == pytest.approx(0, abs=1e-9)
        ]
        assert len(found) < 2
        return found[0] if found else ""

    arrows = [one for one in layout.annotations if one.showarrow]
    return {
        (touched(line.x[0], line.y[0]), touched(arrow.x, arrow.y))
        for line, arrow in zip(lines, arrows, strict=True)
    }


def test_the_arrows_of_the_bilevel_problem_run_from_box_to_box() -> None:
    assert arrows_between_boxes(plots.bilevel()) >= {
        ("noisy batch", "weighting network Φ"),
        ("weighting network Φ", "<b>virtual step</b>"),
        ("<b>virtual step</b>", "meta loss"),
        ("meta loss", "weighting network Φ"),
        ("weighting network Φ", "<b>real step</b>"),
        ("<b>real step</b>", "classifier Θ"),
    }


def test_the_drawings_of_the_weighting_networks_run_from_logits_and_label_to_a_weight() -> None:
    assert arrows_between_boxes(plots.weighting_networks()) >= {
        ("some g(z)", "combine"),
        ("z itself", "z ⊙ e(y)"),
        ("embedding e(y)", "z ⊙ e(y)"),
        ("IB layer: ψ′", "ψ′ ⊙ e(y)"),
        ("ψ′ ⊙ e(y)", "MLP"),
        ("MLP", ""),
    }
    layer = arrows_between_boxes(plots.bottleneck())
    assert layer >= {("mean μ", "ψ = μ + σ ⊙ ε"), ("variance σ²", "ψ = μ + σ ⊙ ε"), ("logits", "[ψ; z]")}


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (plots.bilevel, "weighting network"),
        (plots.weighting_networks, "LogitNet: the logits times an embedding of the label."),
        (plots.bottleneck, "to the meta loss"),
    ],
)
def test_a_drawing_is_told_in_words(draw: Any, words: str) -> None:
    assert words in plots.describe(draw())
    assert words in plots.to_page(draw())


def test_lnlib_figures_writes_the_weights_of_four_methods(tmp_path: Any, monkeypatch: Any) -> None:
    full = figures.weights_runs

    def short(dataset: str, budget: Any) -> dict[str, Any]:
        runs = full(dataset, budget)
        assert {run.rate for run in runs.values()} == {0.4} and {run.meta_size for run in runs.values()} == {
            100
        }
        return {label: run.model_copy(update={"epochs": 1}) for label, run in runs.items()}

    monkeypatch.setattr(figures, "weights_runs", short)
    store = Store(tmp_path / "runs")
    store.obtain(short("digits", "quick")["LossNet"])  # without its weights, which the figure needs
    frame = figures.make("metainfonet-fig1", "digits", output=tmp_path, store=store)[0]
    table = pd.read_csv(frame)
    assert table["method"].unique().tolist() == list(LABELS)
    assert (table.groupby("method")[["clean", "noisy"]].sum().sum(axis=1) == 1100).all()
    facts = json.loads((tmp_path / "metainfonet-fig1-digits.json").read_text())
    assert set(facts["summaries"]) == set(LABELS) and 0 <= facts["summaries"]["L2RW"]["auc"] <= 1


# The theorems.


def test_gradients_of_the_bilevel_problem_shrink_but_not_that_of_the_meta_loss_by_the_classifier() -> None:
    task = make_task(data.load("digits"), noise.flip(0.4, 10), meta_size=100, train_size=300)
    good, poor = (
        convergence.gradient_norms(method, task, steps=100, meta_lr=meta_lr).iloc[-1]
        for method, meta_lr in ((LogitNet(), 10.0), (LossNet(), 1.0))
    )
    assert good[convergence.TRAINING] < 0.01 and poor[convergence.TRAINING] < 0.01
    assert good[convergence.META] < 1e-3 and poor[convergence.META] < 1e-2
    assert good[convergence.META_BY_CLASSIFIER] < 0.3 * poor[convergence.META_BY_CLASSIFIER]
    with pytest.raises(InvalidValue, match="meta_size=100"):
        convergence.gradient_norms(LossNet(), make_task(data.load("digits"), noise.uniform(0.2, 10)))


def test_the_first_step_of_the_toy_is_that_of_softmax_regression() -> None:
    """∇_Θ of a weighted loss in closed form, before anything has moved."""
    task = make_task(data.load("digits"), noise.flip(0.4, 10), meta_size=100, train_size=300)
    found = convergence.gradient_norms(LossNet(), task, steps=1, seed=5).iloc[0]
    torch.manual_seed(5)
    layer = convergence.LinearClassifier(64, 10).double().layer
    x = task.dataset.train_images[task.meta.index].double().flatten(1) / 255
    residual = torch.softmax(layer(x), 1) - torch.eye(10, dtype=torch.float64)[task.meta.labels]
    expected = (residual.T @ x / len(x)).square().sum() + residual.mean(0).square().sum()
    assert found[convergence.META_BY_CLASSIFIER] == pytest.approx(expected.item())
