"""LIMIT's eq. (1), the split of I(w;S) and Theorem 2.2, on problems whose data sets are all counted."""

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lnlib import bounds
from lnlib.analysis.decomposition import Decomposition, Problem, decompose, four_inputs, gibbs_learner, tables
from lnlib.errors import InvalidValue


def h(p: float) -> float:
    return float(bounds.binary_entropy(p))


def random_problem(seed: int, sparse: bool) -> tuple[Problem, np.ndarray]:
    """A problem and a learner drawn at random; `sparse` ones have weights and labels that never occur."""
    rng = np.random.default_rng(seed)
    num_inputs, num_classes, num_weights, num_examples = rng.integers((2, 2, 1, 1), (4, 4, 5, 4))
    labels = rng.dirichlet(np.ones(num_classes), num_inputs)
    classifiers = rng.dirichlet(np.ones(num_classes), (num_weights, num_inputs)) + 1e-3
    classifiers /= classifiers.sum(axis=-1, keepdims=True)
    problem = Problem(rng.dirichlet(np.ones(num_inputs)), labels, classifiers, int(num_examples))
    learner = rng.dirichlet(np.full(num_weights, 0.1 if sparse else 1), problem.shape[:2])
    if sparse:
        learner = np.eye(num_weights)[learner.argmax(axis=-1)]
        labels[0] = np.eye(num_classes)[0]
        problem = replace(problem, labels=labels)
    return problem, learner


def by_counting(problem: Problem, learner: np.ndarray) -> dict[str, float]:
    """Some terms once more, from a dictionary p(x, y, w), example by example, with no array in sight."""
    num_inputs, num_classes = problem.labels.shape
    joint: dict[tuple[Any, Any, int], float] = {}
    loss = errors = 0.0
    for i, x in enumerate(product(range(num_inputs), repeat=problem.num_examples)):
        for j, y in enumerate(product(range(num_classes), repeat=problem.num_examples)):
            for w, share in enumerate(learner[i, j]):
                p = share * math.prod(
                    problem.inputs[a] * problem.labels[a, b] for a, b in zip(x, y, strict=True)
                )
                joint[x, y, w] = p
                for a, b in zip(x, y, strict=True):
                    loss -= p * math.log2(problem.classifiers[w, a, b])
                    errors += p * (problem.classifiers[w, a].argmax() != b) / problem.num_examples

    def entropy(*parts: int) -> float:
        total: dict[Any, float] = {}
        for key, p in joint.items():
            part = tuple(key[k] for k in parts)
            total[part] = total.get(part, 0.0) + p
        return -sum(p * math.log2(p) for p in total.values() if p > 0)

    return {
        "cross_entropy": loss,
        "training_error": errors,
        "label_entropy": entropy(0, 1) - entropy(0),
        "information": entropy(0, 1) + entropy(2) - entropy(0, 1, 2),
        "input_information": entropy(0) + entropy(2) - entropy(0, 2),
        "label_information": entropy(0, 1) + entropy(0, 2) - entropy(0, 1, 2) - entropy(0),
    }


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sparse=st.booleans())
def test_the_identities_hold_for_every_learner(seed: int, sparse: bool) -> None:
    problem, learner = random_problem(seed, sparse)
    terms = decompose(problem, learner)
    right = terms.label_entropy - terms.label_information + terms.divergence
    assert terms.cross_entropy == pytest.approx(right, abs=1e-12, rel=1e-12)
    both = terms.input_information + terms.label_information
    assert terms.information == pytest.approx(both, abs=1e-12, rel=1e-12)
    assert min(terms.divergence, terms.printed_divergence) >= -1e-12


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sparse=st.booleans())
def test_theorem_2_2_holds_for_every_learner(seed: int, sparse: bool) -> None:
    problem, learner = random_problem(seed, sparse)
    terms = decompose(problem, learner)
    bound = bounds.generalization_bound(terms.information, problem.num_examples, sigma=0.5)
    assert abs(terms.gap) <= bound + 1e-7  # the root makes much of rounding where I is 0


@pytest.mark.parametrize("seed", range(6))
def test_the_terms_are_what_counting_gives(seed: int) -> None:
    problem, learner = random_problem(seed, sparse=seed % 2 == 0)
    terms = decompose(problem, learner)
    for name, expected in by_counting(problem, learner).items():
        assert getattr(terms, name) == pytest.approx(expected, abs=1e-10), name


def learned(rate: float, greed: float, num_examples: int = 3) -> Decomposition:
    problem = four_inputs(rate, num_examples)
    return decompose(problem, gibbs_learner(problem, greed))


def test_the_printed_divergence_is_that_of_fresh_labels_and_breaks_the_identity() -> None:
    problem = four_inputs(0.2, 2)
    learner = gibbs_learner(problem, 2.0)
    terms = decompose(problem, learner)
    w_given_x = np.einsum("xy,xyw->xw", problem.p_y, learner)
    fresh = np.einsum("x,xw,xy,xyw->", problem.p_x, w_given_x, problem.p_y, problem.code_length)
    assert terms.printed_divergence + terms.label_entropy == pytest.approx(fresh)
    as_printed = terms.label_entropy - terms.label_information + terms.printed_divergence
    assert as_printed > terms.cross_entropy + 0.5
    deaf = learned(0.2, greed=0)  # it takes nothing from the labels: only then the two agree
    assert deaf.printed_divergence == pytest.approx(deaf.divergence, abs=1e-12)


def test_without_noise_there_is_nothing_to_memorise() -> None:
    terms = learned(0.0, greed=3)
    assert terms.label_entropy == terms.label_information == 0
    assert terms.input_information == pytest.approx(terms.information)
    assert terms.information > 1


def test_coin_flips_say_nothing_of_the_inputs() -> None:
    terms = learned(0.5, greed=3)
    assert terms.label_entropy == pytest.approx(3)
    assert terms.input_information == pytest.approx(0, abs=1e-12)
    assert terms.label_information > 1.5
    assert terms.test_error == pytest.approx(0.5)


def test_a_greedy_learner_of_one_example_stores_its_label() -> None:
    terms = learned(0.2, greed=40, num_examples=1)
    assert terms.label_entropy == pytest.approx(h(0.2))
    assert terms.label_information == pytest.approx(h(0.2))
    assert terms.training_error == pytest.approx(0)
    assert terms.cross_entropy == pytest.approx(-math.log2(0.9))
    # The row seen holds a given label, the other three rows are blank.
    assert terms.test_error == pytest.approx((2 * 0.8 * 0.2 + 3 * 0.5) / 4)


def test_greed_one_samples_from_bayes_posterior() -> None:
    problem = four_inputs(0.2, 2)
    likelihood = np.ones(problem.shape)
    for i, x in enumerate(problem.input_vectors):
        for j, y in enumerate(problem.label_vectors):
            likelihood[i, j] = problem.classifiers[:, x, y].prod(axis=1)
    posterior = likelihood / likelihood.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(gibbs_learner(problem, 1.0), posterior, rtol=1e-12)


def test_the_penalty_of_eq_6_is_a_tie() -> None:
    problem = replace(
        four_inputs(0.2, 1), classifiers=np.concatenate([tables(4, 2, 1e-6), tables(4, 2, 0.2)])
    )
    honest = np.zeros(problem.shape)
    honest[..., 16 + 0b0011] = 1
    stores, knows = decompose(problem, gibbs_learner(problem, 100)), decompose(problem, honest)
    assert knows.label_information == 0
    assert knows.divergence == pytest.approx(0, abs=1e-12)
    assert stores.cross_entropy < 1e-5
    assert knows.cross_entropy == pytest.approx(h(0.2))
    sums = [terms.cross_entropy + terms.label_information for terms in (stores, knows)]
    assert sums[0] == pytest.approx(sums[1], abs=1e-5)
    assert stores.printed_divergence > 4


def test_tables_hold_every_labelling_once() -> None:
    found = tables(2, 3, doubt=0.2)
    assert found.shape == (9, 2, 3)
    assert len(np.unique(found.argmax(axis=-1), axis=0)) == 9
    np.testing.assert_allclose(np.sort(found, axis=-1), np.tile([0.1, 0.1, 0.8], (9, 2, 1)))


GOOD: dict[str, Any] = {
    "inputs": [0.5, 0.5],
    "labels": [[0.8, 0.2], [0.2, 0.8]],
    "classifiers": [[[0.9, 0.1], [0.1, 0.9]]],
    "num_examples": 2,
}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"inputs": [0.5, 0.6]}, r"p\(x\) must be distributions"),
        ({"labels": [[0.8, math.nan], [0.2, 0.8]]}, r"p\(y\|x\) must be distributions"),
        ({"inputs": [0.5, 0.3, 0.2]}, "must have shapes"),
        ({"classifiers": [[0.9, 0.1], [0.1, 0.9]]}, "must have shapes"),
        ({"classifiers": [[[1.0, 0.0], [0.1, 0.9]]]}, "must be positive, got 0"),
        ({"num_examples": 0}, "at least 1, got 0"),
        ({"num_examples": 20}, "take fewer examples"),
    ],
)
def test_bad_problems_raise(bad: dict[str, Any], message: str) -> None:
    Problem(**GOOD)
    with pytest.raises(InvalidValue, match=message):
        Problem(**GOOD | bad)


def test_bad_learners_raise() -> None:
    problem = four_inputs(0.2, 1)
    with pytest.raises(InvalidValue, match=r"must have shape \(4, 2, 16\), got \(16,\)"):
        decompose(problem, np.full(16, 1 / 16))
    with pytest.raises(InvalidValue, match="must be distributions"):
        decompose(problem, np.ones(problem.shape))
    for greed in (-1, math.nan, math.inf):
        with pytest.raises(InvalidValue, match="greed must be"):
            gibbs_learner(problem, greed)
    for doubt in (0, 0.5, math.nan):
        with pytest.raises(InvalidValue, match="doubt must"):
            tables(4, 2, doubt)
