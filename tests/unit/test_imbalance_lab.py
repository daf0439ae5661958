"""Long tails without a browser: accuracies and weights by class, what ImbalanceLab trains, draws and says."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from lnlib import noise
from lnlib.analysis.imbalance import class_accuracy, class_means, effective_number, weights_by_loss
from lnlib.analysis.long_tail import CONTENDERS, NET, ByClass, follow, settings, summary
from lnlib.course import plots
from lnlib.course.labs import imbalance
from lnlib.course.labs.controls import Steps
from lnlib.course.labs.imbalance import Compared, ImbalanceLab, _tasks, describe_classes
from lnlib.course.plots.theme import style
from lnlib.data import load, make_task
from lnlib.errors import InvalidValue, UnknownName
from lnlib.methods import ClassBalanced, CrossEntropy, LogitNet
from lnlib.methods.class_balanced import class_balanced_weights
from lnlib.nets.weighting import WeightFromLoss
from lnlib.training import Member, fit, sweep
from tests.lab_tools import PATIENCE, axes, look_up, panels, run_job, trained

EPOCHS = 2
FACTORS = (10.0, 20.0, 200.0)
SETUP = ("digits", "Class-balanced", EPOCHS, 0)
SIZES_20 = [106, 75, 54, 39, 27, 20, 14, 10, 7, 5]
EMPTY = "imbalance factor 200 leaves no training image of 9; use at most 106"


class SmallImbalanceLab(ImbalanceLab):
    views = ImbalanceLab.views | {"factor": Steps(value=20.0, label="imbalance factor", values=FACTORS)}


@pytest.fixture(autouse=True)
def _few_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imbalance, "FACTORS", FACTORS)


@pytest.fixture(scope="module")
def made() -> dict[float, Compared]:
    """What training Class-balanced at the few factors gives."""
    return run_job(small_lab(), FACTORS)


@pytest.fixture
def calls(made: dict[float, Compared], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Training replaced by a look-up; holds what was asked for."""
    return look_up(monkeypatch, SmallImbalanceLab, made)


def small_lab(**options: Any) -> ImbalanceLab:
    return SmallImbalanceLab(**{"method": "Class-balanced", "epochs": EPOCHS} | options)


def trained_lab(**options: Any) -> ImbalanceLab:
    return trained(small_lab(**options))


def tasks() -> list[Any]:
    return _tasks(small_lab().values, 20.0)


def bars(panel: go.Figure) -> list[go.Bar]:
    return [trace for trace in panel.data if trace.type == "bar"]


def assert_draws(lab: ImbalanceLab, compared: Compared, epoch: int) -> None:
    """The bars hold exactly the numbers of what was trained."""
    (images, weight), (standard, method) = map(bars, panels(lab))
    shares = compared.counts / compared.counts.sum()
    np.testing.assert_array_equal(images.y, shares)
    np.testing.assert_array_equal(weight.y, (shares * compared.method.weights[epoch - 1]).mean(axis=0))
    np.testing.assert_array_equal(standard.y, compared.standard.accuracy[epoch - 1].mean(axis=0))
    np.testing.assert_array_equal(method.y, compared.method.accuracy[epoch - 1].mean(axis=0))


# The numbers.


def test_means_and_accuracy_by_class() -> None:
    labels = torch.tensor([0, 2, 2, 0, 2])
    means = class_means(torch.tensor([1.0, 2.0, 3.0, 5.0, 7.0]), labels, 4)
    np.testing.assert_array_equal(means, [3.0, np.nan, 4.0, np.nan])
    logits = torch.eye(4)[torch.tensor([0, 2, 1, 3, 2])]
    np.testing.assert_allclose(class_accuracy(logits, labels), [0.5, np.nan, 2 / 3, np.nan])


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999])
def test_the_effective_number_is_a_geometric_sum(beta: float) -> None:
    counts = torch.tensor([1.0, 5.0, 300.0], dtype=torch.float64)
    sums = [sum(beta**power for power in range(int(count))) for count in counts]
    np.testing.assert_allclose(effective_number(counts, beta), sums, rtol=1e-9)
    weights = class_balanced_weights(counts.long(), beta)
    np.testing.assert_allclose(weights.numpy() * sums, [float(weights[0])] * 3, rtol=1e-9)


def test_beta_one_counts_every_example() -> None:
    counts = torch.tensor([3.0, 70.0])
    assert torch.equal(effective_number(counts, 1), counts)


def test_followed_runs_are_those_of_a_sweep_seen_by_class() -> None:
    some = tasks()
    followed = follow(CrossEntropy(), some, EPOCHS, 0)
    runs = sweep([Member(CrossEntropy(), task, seed) for seed, task in enumerate(some)], **settings(EPOCHS))
    counts = torch.bincount(some[0].test.labels).numpy()
    assert followed.accuracy.shape == (EPOCHS, len(some), 10)
    for seed, run in enumerate(runs):
        overall = followed.accuracy[:, seed] @ counts / counts.sum()
        np.testing.assert_allclose(overall, run.history["test_accuracy"], rtol=1e-6)
        np.testing.assert_array_equal(followed.training[:, seed], run.history["train_accuracy"])
    alone = fit(
        CrossEntropy(), some[1], seed=1, **{key: v for key, v in settings(EPOCHS).items() if key != "mode"}
    )
    by_class = class_accuracy(alone.logits("test"), some[1].test.labels)
    np.testing.assert_allclose(followed.accuracy[-1, 1], by_class, atol=0.04)  # one image of thirty
    assert np.isnan(followed.weights).all()


def test_class_balanced_weights_are_seen_as_they_are(made: dict[float, Compared]) -> None:
    compared = made[20.0]
    assert compared.counts.tolist() == SIZES_20
    expected = class_balanced_weights(torch.tensor(SIZES_20), ClassBalanced().beta).numpy()
    expected /= (expected * SIZES_20).sum() / sum(SIZES_20)
    np.testing.assert_allclose(compared.method.weights, np.broadcast_to(expected, (EPOCHS, 3, 10)), rtol=1e-6)
    assert compared.method.preference() == pytest.approx(expected[7:].mean() / expected[:3].mean())


def test_head_tail_and_preference() -> None:
    accuracy, weights = np.zeros((1, 1, 10)), np.ones((1, 1, 10))
    accuracy[..., :3], accuracy[..., -3:], weights[..., -3:] = 0.9, 0.6, 4.0
    found = ByClass(accuracy, weights, np.array([[0.75]]))
    assert (found.head(), found.tail(), found.overall()) == pytest.approx((0.9, 0.6, 0.45))
    assert (found.preference(), found.fitted()) == (4, 0.75)
    told = summary({"some": found}).loc["some"]
    assert told.tolist() == [4.0, 0.75, 0.9, 0.6, 0.45, "0.450"]
    weights[..., :3] = 0
    assert found.preference() == np.inf


def test_progress_counts_every_step_once() -> None:
    heard: list[tuple[int, int]] = []
    run_job(small_lab(), FACTORS, lambda done, total: heard.append((done, total)))
    steps = 2 * EPOCHS * (-(-429 // 50) + -(-357 // 50))
    assert heard == [(done, steps) for done in range(1, steps + 1)]


def test_lossnet_learns_opposite_rules_on_a_tail_and_under_noise() -> None:
    digits, losses = load("digits"), torch.tensor([0.0, 4.0])
    ratios = {}
    for name, matrix, factor in (("tail", np.eye(10), 20.0), ("noise", noise.uniform(0.4, 10), 1.0)):
        tasks = [make_task(digits, matrix, seed, meta_size=100, imbalance=factor) for seed in (0, 1)]
        runs = sweep([Member(CONTENDERS["LossNet"](10), task, task.seed) for task in tasks], **settings(10))
        rules = [weights_by_loss(run.weights["weighting"], losses) for run in runs]
        ratios[name] = [float(rule[1] / rule[0]) for rule in rules]
    assert min(ratios["tail"]) > 2, ratios
    assert max(ratios["noise"]) < 0.3, ratios


def test_the_rule_is_the_networks_own() -> None:
    torch.manual_seed(0)
    network, losses = WeightFromLoss(), torch.tensor([0.0, 1.0, 5.0])
    torch.testing.assert_close(weights_by_loss(network.state_dict(), losses), network(losses).detach())


def test_logitnet_finds_the_tail_without_the_sizes() -> None:
    followed, standard = (follow(one, tasks(), 15) for one in (CONTENDERS["LogitNet"](15), CrossEntropy()))
    assert followed.preference() > 2
    assert followed.tail() > standard.tail()


# The lab.


def test_before_training_nothing_is_drawn() -> None:
    lab = small_lab()
    for shown in panels(lab):
        assert all(np.isnan(np.asarray(bar.y, float)).all() for bar in bars(shown))
    assert "Press Train" in lab.sentence
    assert lab.stop_button.disabled and not lab.train_button.disabled


def test_every_slider_moves_both_panels(calls: list[Any], made: dict[float, Compared]) -> None:
    lab = trained_lab()
    assert calls == [(SETUP, list(FACTORS))]
    ranges = set()
    for factor in (20.0, 10.0):
        lab.factor.value = factor
        for epoch in (1, EPOCHS):
            lab.epoch.value = epoch
            assert_draws(lab, made[factor], epoch)
            assert lab.sentence == describe_classes("Class-balanced", factor, made[factor], epoch)
            ranges.add(tuple(axes(lab)))
    assert len(ranges) == 1, "the axes jump"
    counts, weights = (tuple(trace.text) for trace in panels(lab)[0].select_traces({"mode": "text"}))
    assert counts == ("106", "82", "63", "49", "38", "29", "22", "17", "13", "10")
    assert weights == tuple(f"{one:.2g}" for one in made[10.0].method.weights[EPOCHS - 1].mean(axis=0))


def test_where_a_class_would_be_empty_the_lab_says_so(calls: list[Any], made: dict[float, Compared]) -> None:
    lab = trained_lab()
    lab.factor.value = 200.0
    assert lab.sentence == f"Nothing to train: {EMPTY}."
    assert all(np.isnan(np.asarray(bar.y, float)).all() for panel in panels(lab) for bar in bars(panel))
    lab.factor.value = 20.0
    assert_draws(lab, made[20.0], EPOCHS)


def test_another_method_wears_its_own_colour(calls: list[Any]) -> None:
    lab = trained_lab()
    lab.method.value = "L2RW"
    for shown in panels(lab):
        assert bars(shown)[1].marker.color == style("L2RW").color
        assert "L2RW" in bars(shown)[1].name
    assert bars(panels(lab)[1])[0].marker.color == style("CE").color
    assert "Press Train" in lab.sentence, "what another method made is not shown for this one"


def test_results_are_kept_by_settings_until_reset(calls: list[Any], made: dict[float, Compared]) -> None:
    lab = trained_lab()
    lab.seed.value = 5
    assert lab.results == {}
    lab.seed.value = 0
    assert_draws(lab, made[20.0], EPOCHS)
    lab.train()
    assert lab.wait(PATIENCE)
    assert len(calls) == 1, "nothing is trained twice"
    lab.factor.value, lab.epoch.value = 10.0, 1
    lab.reset_button.click()
    assert (lab.factor.value, lab.epoch.value, lab.results) == (20.0, EPOCHS, {})


def test_sentences(made: dict[float, Compared]) -> None:
    compared = made[20.0]
    text = describe_classes("Class-balanced", 20.0, compared, 1)
    assert text.startswith("Factor 20, 106 to 5 images of a class, epoch 1: Class-balanced gives an image")
    assert f"{compared.method.preference(0):.2g} times the weight" in text
    assert f"reads {compared.method.tail(0):.0%} of the tail and {compared.method.head(0):.0%}" in text
    assert f"(Standard {compared.standard.overall(0):.1%})." in text
    unweighted = Compared(compared.counts, compared.standard, compared.standard)
    assert "gives examples no weights of their own" in describe_classes("Focal loss", 20.0, unweighted, 1)
    only_tail = compared.method.weights * (np.arange(10) > 5)
    greedy = ByClass(compared.method.accuracy, only_tail, compared.method.training)
    told = describe_classes("L2RW", 20.0, Compared(compared.counts, compared.standard, greedy), 1)
    assert "gives the head no weight at all" in told


def test_the_methods_of_the_menu_are_what_they_say() -> None:
    for label, method in CONTENDERS.items():
        assert method(30).label == label
    assert CONTENDERS["Fine-tuning"](30) != CONTENDERS["Fine-tuning"](10)
    assert isinstance(CONTENDERS["LogitNet"](30), LogitNet)


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        ({"dataset": "digit"}, UnknownName, "digits"),
        ({"method": "LogNet"}, UnknownName, "LogitNet"),
        ({"factor": 7.0}, InvalidValue, "10, 20, 200, got 7.0"),
    ],
)
def test_what_the_lab_does_not_train_is_refused(options: dict[str, Any], error: type, hint: str) -> None:
    with pytest.raises(error, match=hint):
        small_lab(**options)


def test_the_snapshot_is_static_and_shows_both_panels(calls: list[Any], made: dict[float, Compared]) -> None:
    figure = trained_lab().snapshot()
    heights = [trace.y for trace in figure.data if trace.type == "bar"]
    np.testing.assert_array_equal(heights[0], made[20.0].counts / 357)
    np.testing.assert_array_equal(heights[3], made[20.0].method.accuracy[-1].mean(axis=0))
    marks = figure.select_traces({"mode": "markers"})
    dashes = [trace.name for trace in marks if trace.showlegend is not False]
    assert dashes == ["one seed (bars: means)"] * 2, "one entry for each panel's legend"
    assert "n = 357 · imbalance factor 20 · even meta set 100" in figure.layout.annotations[-1].text
    assert NET.label in figure.layout.annotations[-1].text


# The figures.


def test_figures_draw_their_numbers() -> None:
    sizes = {factor: noise.long_tailed_sizes(100, 10, factor) for factor in (1.0, 10.0)}
    figure = plots.class_sizes(sizes, [str(name) for name in range(10)])
    assert [tuple(trace.y) for trace in figure.data] == [tuple(one) for one in sizes.values()]
    assert figure.data[1].name == f"factor 10: {sizes[10.0].sum()} images"
    counts = np.array([1.0, 10.0])
    figure = plots.effective_numbers({0.5: np.array([1.0, 1.998])}, counts)
    assert tuple(figure.data[0].y) == (1.0, 1.998)
    rules = {"tail": np.array([[0.5, 1.0]]), "noise": np.array([[0.5, 0.05], [0.8, 0.2]])}
    figure = plots.weight_by_loss(rules, np.array([0.0, 4.0]))
    np.testing.assert_allclose([trace.y[1] for trace in figure.data[:3]], [2.0, 0.1, 0.25])
    assert [trace.showlegend for trace in figure.data[:3]] == [True, True, False]
