"""Mislabel detection: the score is the paper's, the ranking finds wrong labels, rivals agree where due."""

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from cleanlab.rank import get_label_quality_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from lnlib import noise
from lnlib.analysis import detection
from lnlib.course import plots
from lnlib.course.plots.theme import CLEAN, NOISY
from lnlib.data.task import make_task
from lnlib.errors import InvalidValue, UnknownName
from lnlib.methods import LIMIT, CrossEntropy
from lnlib.training import Run, fit


def trained(method, task, epochs=30, **settings) -> Run:
    return fit(method, task, seed=task.seed, epochs=epochs, evaluate_every=epochs, **settings)


def found(run: Run, network="predictor", score=detection.gradient_distance) -> pd.DataFrame:
    task = run.task
    logits = {"training": run.logits("train", network), "validation": run.logits("validation", network)}
    return detection.evaluation_frame(detection.suspects(task, logits, score), task)


def auc(frame: pd.DataFrame, part="training") -> float:
    chosen = frame[frame["part"] == part]
    return detection.evaluation_auc(chosen["score"].to_numpy(), chosen["wrong"].to_numpy())


@pytest.fixture(scope="module")
def half_wrong(digits):
    """A trained LIMIT and a cross-entropy that has memorised, on one task."""
    task = make_task(digits, noise.uniform(0.5, 10), 0)
    return trained(LIMIT(beta=10.0), task), trained(CrossEntropy(), task, epochs=60)


# The score


def test_the_distance_matches_the_oracle_and_needs_no_classifier(oracle):
    logits, labels = torch.tensor(oracle["q_logits"]), torch.tensor(oracle["labels"])
    scores = detection.gradient_distance(logits, labels)
    expected = [0.6057941387039427, 0.6057941387039427, 0.9937208658314297]
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    s = torch.tensor(oracle["logits"]).softmax(1)
    g = s - torch.eye(4, dtype=torch.float64)[labels]
    np.testing.assert_allclose(scores, (torch.tensor(np.array(oracle["mu"])) - g).norm(dim=1), rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 20), st.integers(0, 1000))
def test_the_distance_lies_between_0_and_root_2(num_classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 30 * torch.randn(50, num_classes, generator=generator)
    labels = torch.randint(num_classes, (50,), generator=generator)
    scores = detection.gradient_distance(logits, labels)
    assert scores.dtype == torch.float64
    assert scores.min() >= 0 and scores.max() <= 2**0.5 + 1e-12
    # Never less than by how much the given label's probability falls short of 1.
    assert torch.all(scores + 1e-12 >= 1 - logits.double().softmax(1)[torch.arange(50), labels])


def test_confident_predictions_still_differ():
    # In float32 both would score √2.
    logits = torch.tensor([[20.0, 0.0, 0.0], [21.0, 0.0, 0.0]])
    low, high = detection.gradient_distance(logits, torch.tensor([1, 1]))
    assert low < high


def test_the_loss_is_cross_entropy(oracle):
    scores = detection.loss_score(torch.tensor(oracle["logits"]), torch.tensor(oracle["labels"]))
    np.testing.assert_allclose(scores, oracle["cross_entropy"], rtol=1e-12)


@pytest.mark.parametrize(
    ("num_classes", "score"),
    [(10, detection.loss_score), (2, detection.loss_score), (2, detection.gradient_distance)],
)
def test_cleanlabs_self_confidence_ranks_as_the_loss_and_for_two_classes_as_the_distance(num_classes, score):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(300, num_classes, generator=generator)
    labels = torch.cat([torch.arange(num_classes), torch.randint(num_classes, (300 - num_classes,))])
    quality = get_label_quality_scores(
        labels.numpy(), logits.double().softmax(1).numpy(), method="self_confidence"
    )
    ours = score(logits, labels).numpy()
    assert np.array_equal(np.argsort(-ours), np.argsort(quality))
    if score is detection.gradient_distance:
        np.testing.assert_allclose(ours, 2**0.5 * (1 - quality), rtol=1e-12)


def test_for_many_classes_the_distance_knows_more_than_the_labels_probability():
    # Both give the label a tenth; a prediction that is sure of another class is the more suspicious.
    torn, sure = torch.tensor([0.1, 0.3, 0.3, 0.3]).log(), torch.tensor([0.1, 0.9, 1e-9, 1e-9]).log()
    low, high = detection.gradient_distance(torch.stack([torn, sure]), torch.tensor([0, 0]))
    assert high > low + 0.2


# The ranking


def test_every_label_is_scored_once_and_the_highest_score_comes_first(half_wrong):
    run, _ = half_wrong
    task, frame = run.task, found(run)
    assert list(frame["rank"]) == list(range(1, 1501))
    assert np.all(np.diff(frame["score"]) <= 0)
    for part, split in (("training", task.train), ("validation", task.validation)):
        chosen = frame[frame["part"] == part].sort_values("row")
        assert chosen["row"].tolist() == split.index.tolist()
        assert chosen["given"].astype(int).tolist() == split.labels.tolist()
    true = task.dataset.train_labels[torch.tensor(frame["row"].to_numpy())].numpy()
    assert np.array_equal(frame["wrong"], frame["given"].astype(int).to_numpy() != true)
    # What the predictor sees is mostly the truth.
    assert np.mean(frame["suggested"].astype(int) == true) > 0.9
    assert "file" not in frame


def test_equal_scores_keep_the_order_of_the_rows(make_digits_task):
    task = make_digits_task(train_size=300)
    frame = detection.suspects(task, {"training": torch.zeros(300, 10)}, detection.loss_score)
    assert frame["row"].tolist() == task.train.index.tolist()


def test_the_test_part_can_be_scored_and_counts_as_right(half_wrong):
    run, _ = half_wrong
    task = run.task
    outputs = run.logits("test", "predictor")
    frame = detection.evaluation_frame(detection.suspects(task, {"test": outputs}), task)
    assert len(frame) == len(task.test) and not frame["wrong"].any()
    hits = (outputs.argmax(1) == task.test.labels).double().mean()
    assert np.mean(frame["suggested"] == frame["given"]) == pytest.approx(hits) and hits > 0.9


def test_logits_are_the_networks_own_by_default_what_the_method_predicts(half_wrong):
    run, memorised = half_wrong
    task = run.task
    images = task.dataset.normalize(task.train.images)
    assert torch.equal(run.logits(task.train, "classifier"), run.logits("train"))
    torch.testing.assert_close(run.logits(task.train), run.predict(images))
    predictor = run.nets["predictor"].module.eval()
    with torch.no_grad():
        torch.testing.assert_close(run.logits("train", "predictor"), predictor(images)[0])
    with pytest.raises(UnknownName, match="'predictor': known are classifier"):
        memorised.logits("train", "predictor")
    with pytest.raises(UnknownName, match="did you mean 'predictor'"):
        run.logits("train", "predicter")


def test_scoring_never_touches_the_true_labels(make_digits_task):
    task = make_digits_task(train_size=300)
    blind = copy.copy(task)
    object.__setattr__(blind, "truth", None)
    logits = {"training": torch.randn(300, 10), "validation": torch.randn(len(task.validation), 10)}
    assert detection.suspects(blind, logits).equals(detection.suspects(task, logits))


def test_bad_logits_name_the_part_and_the_remedy(make_digits_task):
    task = make_digits_task(train_size=300)
    with pytest.raises(InvalidValue, match="the training part has 300 images, got logits for 7"):
        detection.suspects(task, {"training": torch.zeros(7, 10)})
    with pytest.raises(UnknownName, match="did you mean 'validation'"):
        detection.suspects(task, {"valdation": torch.zeros(7, 10)})


# The evaluation


def test_the_first_of_each_class_are_its_highest_scores():
    said = ["4", "4", "2", "4", "7", "2", "2"]  # by falling score
    frame = pd.DataFrame({"rank": range(1, 8), "suggested": said})
    assert detection.first_of_each(frame, 1)["rank"].tolist() == [3, 1, 5]
    assert detection.first_of_each(frame, 2)["rank"].tolist() == [3, 1, 5, 6, 2]


def test_an_evaluation_needs_true_labels(make_digits_task):
    task = make_digits_task(train_size=300)
    unknown = dataclasses.replace(
        task, truth=dataclasses.replace(task.truth, matrix=np.full((10, 10), np.nan))
    )
    frame = detection.suspects(unknown, {"training": torch.randn(300, 10)})
    with pytest.raises(InvalidValue, match="needs true labels, those of digits are unknown"):
        detection.evaluation_frame(frame, unknown)


def test_roc_auc_and_precision_by_hand():
    scores = np.array([0.9, 0.8, 0.7, 0.7, 0.1])
    wrong = np.array([True, False, True, False, False])
    # Of the six pairs of a wrong and a right label four are in order and one is tied.
    assert detection.evaluation_auc(scores, wrong) == pytest.approx(4.5 / 6)
    assert detection.evaluation_precision(scores, wrong, 1) == 1
    assert detection.evaluation_precision(scores, wrong, 3) == pytest.approx(2 / 3)
    curve = detection.evaluation_roc(scores, wrong)
    assert (curve.iloc[0][:2] == 0).all() and (curve.iloc[-1][:2] == 1).all()
    area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
    assert area == pytest.approx(4.5 / 6)


@pytest.mark.parametrize("wrong", [[True, True], [False, False]])
def test_a_roc_curve_needs_both_kinds(wrong):
    scores, marks = np.array([0.1, 0.2]), np.array(wrong)
    for function in (detection.evaluation_auc, detection.evaluation_roc):
        with pytest.raises(InvalidValue, match="needs both right and wrong labels, got"):
            function(scores, marks)


def test_precision_names_a_k_that_cannot_be():
    with pytest.raises(InvalidValue, match="in 1 to the 2 scores, got 3"):
        detection.evaluation_precision(np.array([0.1, 0.2]), np.array([True, False]), 3)


# On half wrong digits: LIMIT 0.996-0.999 at each of three seeds, memorising cross-entropy 0.64-0.65.


def test_limit_finds_wrong_labels_and_a_memorising_network_does_not(half_wrong):
    limit, memorised = half_wrong
    frame = found(limit)
    rival = found(memorised, "classifier", detection.loss_score)
    assert 0.99 < auc(frame) < 1
    assert auc(frame, "validation") > 0.99
    assert auc(rival) < 0.75 < auc(rival, "validation") < auc(frame, "validation")
    assert detection.evaluation_precision(frame["score"].to_numpy(), frame["wrong"].to_numpy(), 100) == 1


def test_limit_beats_cleanlab_on_out_of_sample_probabilities_of_a_linear_model(half_wrong):
    limit, _ = half_wrong
    task = limit.member.task
    pixels, given_labels = task.train.images.flatten(1).numpy() / 255, task.train.labels.numpy()
    model = LogisticRegression(C=0.01, max_iter=200)
    outside = cross_val_predict(model, pixels, given_labels, cv=3, method="predict_proba")
    quality = get_label_quality_scores(given_labels, outside, method="self_confidence")
    wrong = given_labels != task.truth.train_labels.numpy()
    theirs = detection.evaluation_auc(-quality, wrong)
    assert 0.9 < theirs < auc(found(limit))


# The figures


def test_the_roc_figure_shows_the_area_of_each_line():
    frame = pd.DataFrame(
        {
            "method": ["LIMIT-L"] * 3 + ["CE"] * 3,
            "false_positive_rate": [0, 0, 1, 0, 0.5, 1],
            "true_positive_rate": [0, 1, 1, 0, 0.5, 1],
        }
    )
    figure = plots.roc(frame)
    assert [line.name for line in figure.data] == ["LIMIT-L: 100.00%", "CE: 50.00%", "chance: 50%"]
    assert figure.data[0].line.color == plots.style("LIMIT-L").color


def test_the_histogram_counts_every_example_once_in_the_two_colours(half_wrong):
    frame = found(half_wrong[0])
    right, wrong = plots.score_histogram(frame).data
    assert (right.marker.color, wrong.marker.color) == (CLEAN, NOISY)
    assert sum(right.y) == (~frame["wrong"]).sum() and sum(wrong.y) == frame["wrong"].sum()
    assert np.array_equal(right.x, wrong.x)
    assert right.marker.pattern.shape != wrong.marker.pattern.shape  # told apart without colour
    assert f"{frame['wrong'].sum()}" in wrong.name


def test_the_gallery_shows_the_suspects_own_images_with_label_prediction_and_score(half_wrong):
    frame, images = found(half_wrong[0]).head(10), half_wrong[0].member.task.dataset.train_images.numpy()
    marked = plots.suspect_gallery(frame, images, frame["wrong"].tolist(), columns=5)
    plain = plots.suspect_gallery(frame, images, columns=5)
    assert len(marked.data) == 10
    for position, suspect in enumerate(frame.itertuples()):
        expected = 255 - images[suspect.row, 0]
        assert np.array_equal(np.asarray(marked.data[position].z)[..., 0], expected)
        for figure in (marked, plain):
            caption = figure.layout.annotations[position].text
            for words in (f"given {suspect.given}", f"predicted {suspect.suggested}", f"{suspect.score:.3f}"):
                assert words in caption
        assert ("✗" in marked.layout.annotations[position].text) is bool(suspect.wrong)
    # Nothing is claimed where the truth is unknown; three lines of caption take more room than two.
    assert not any("✗" in note.text for note in plain.layout.annotations)
    two_lines = plots.gallery(images[:10], ["a"] * 10, [False] * 10, columns=5)
    assert plain.layout.height > two_lines.layout.height
    # Long names in many columns are set smaller, or they would run into each other.
    sizes = [note.font.size for note in plain.layout.annotations]
    named = plots.suspect_gallery(frame.assign(suggested="automobile"), images, columns=10)
    assert {*sizes} == {11} and max(note.font.size for note in named.layout.annotations) <= 8
    crowded = plots.suspect_gallery(frame.assign(suggested="a" * 200), images, columns=100)
    note = crowded.layout.annotations[0]
    assert note.font.size >= 8 and "predicted aaaaaaaaaaaaaaa…<" in note.text
