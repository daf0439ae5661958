"""Expected cross-entropy taken apart, exactly, where a learning problem is small enough to be enumerated.

LIMIT (Harutyunyan et al., ICML 2020), section 2: eq. (1), I(w;S) = I(w;x) + I(w;y|x) and both sides of
Theorem 2.2. A learner A(w|S) is an array (inputs^n, classes^n, weights): for every vector of n inputs, and of
n labels, both in lexicographic order, the probability of each of finitely many weights.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lnlib import noise
from lnlib.checks import Count, NonNegative, Positive, Rate, Several, checked
from lnlib.errors import InvalidValue

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LARGEST = 2**24
"""The most numbers that the learner of a problem may hold (128 MiB)."""

_TOLERANCE = 1e-9  # by how much the sum of a distribution may miss 1


@checked
@dataclass(frozen=True, eq=False)
class Problem:
    """Everything but the learner: p(x) (inputs,), p(y|x) (inputs, classes), f(y|x,w) (weights, inputs,
    classes) and n.

    Raises `InvalidValue` for what is no distribution, shapes that do not fit, an f of zero, which makes the
    cross-entropy infinite, and problems that are too large to enumerate.
    """

    inputs: FloatArray
    labels: FloatArray
    classifiers: FloatArray = field(repr=False)
    num_examples: Count

    def __post_init__(self) -> None:
        for name, of in (("inputs", "p(x)"), ("labels", "p(y|x)"), ("classifiers", "f(y|x,w)")):
            object.__setattr__(self, name, _distributions(of, getattr(self, name)))
        shape = self.inputs.shape, self.labels.shape, self.classifiers.shape[1:]
        if self.classifiers.ndim != 3 or shape != (self.labels.shape[:1], shape[2], self.labels.shape):
            raise InvalidValue(
                "p(x), p(y|x) and f(y|x,w) must have shapes (inputs,), (inputs, classes) and (weights, "
                f"inputs, classes), got {shape[0]}, {shape[1]} and {self.classifiers.shape}; make them fit"
            )
        if self.classifiers.min() <= 0:
            raise InvalidValue("f(y|x,w) must be positive, got 0; leave every label a small probability")
        num_inputs, num_classes = self.labels.shape
        _check_size(num_inputs * num_classes, self.num_examples, len(self.classifiers))

    @cached_property
    def input_vectors(self) -> IntArray:
        """Every x: (inputs^n, n)."""
        return _vectors(len(self.inputs), self.num_examples)

    @cached_property
    def label_vectors(self) -> IntArray:
        """Every y: (classes^n, n)."""
        return _vectors(self.labels.shape[1], self.num_examples)

    @property
    def shape(self) -> tuple[int, int, int]:
        """What a learner's shape must be: (inputs^n, classes^n, weights)."""
        return len(self.input_vectors), len(self.label_vectors), len(self.classifiers)

    @property
    def p_x(self) -> FloatArray:
        """p(x) of each vector, (inputs^n,)."""
        return np.asarray(self.inputs[self.input_vectors].prod(axis=1))

    @cached_property
    def p_y(self) -> FloatArray:
        """p(y|x) of each pair of vectors, (inputs^n, classes^n)."""
        return np.asarray(self.labels[self._x, self._y].prod(axis=-1))

    @cached_property
    def code_length(self) -> FloatArray:
        """-log2 f(y|x,w), training cross-entropy in bits of each data set at each w, shaped as a learner."""
        per_example = -np.log2(self.classifiers)[:, self._x, self._y]
        return np.asarray(np.moveaxis(per_example.sum(axis=-1), 0, -1))

    @cached_property
    def errors(self) -> FloatArray:
        """The share of training examples that each w labels otherwise than given, shaped as a learner."""
        wrong = self.predicted[:, self._x] != self._y
        return np.asarray(np.moveaxis(wrong.mean(axis=-1), 0, -1))

    @cached_property
    def test_errors(self) -> FloatArray:
        """The error rate of each w on a fresh example with a fresh given label, (weights,)."""
        hits = self.labels[np.arange(len(self.inputs)), self.predicted]
        return 1 - hits @ self.inputs

    @cached_property
    def predicted(self) -> IntArray:
        """The label that each w finds likeliest, the first of equals: (weights, inputs)."""
        return np.asarray(self.classifiers.argmax(axis=-1))

    @property
    def _x(self) -> IntArray:
        return self.input_vectors[:, None, :]

    @property
    def _y(self) -> IntArray:
        return self.label_vectors[None, :, :]


@dataclass(frozen=True)
class Decomposition:
    """The terms of LIMIT's eq. (1) in bits per data set, and both sides of Theorem 2.2 as error rates.

    `cross_entropy` = `label_entropy` - `label_information` + `divergence`, to rounding, and `information` =
    `input_information` + `label_information`.
    """

    cross_entropy: float
    """expected -log2 f(y|x,w) on the training labels"""
    label_entropy: float
    """H(y|x)"""
    label_information: float
    """I(w;y|x), memorised label noise"""
    divergence: float
    """E KL[p(y|x,w) || f(y|x,w)]"""
    printed_divergence: float
    """E KL[p(y|x) || f(y|x,w)], which the paper prints in the place of `divergence`"""
    input_information: float
    """I(w;x)"""
    information: float
    """I(w;S)"""
    training_error: float
    """expected error rate on the given training labels"""
    test_error: float
    """expected error rate on fresh examples with fresh given labels"""

    @property
    def gap(self) -> float:
        """Expected test error less training error, the left side of Theorem 2.2."""
        return self.test_error - self.training_error


def decompose(problem: Problem, learner: ArrayLike) -> Decomposition:
    """Every term of eq. (1), computed from its own definition by summing over all data sets and weights.

    Raises `InvalidValue` for a learner that is not made of distributions or does not fit the problem.
    """
    a = _distributions("the learner A(w|S)", learner)
    if a.shape != problem.shape:
        raise InvalidValue(
            f"the learner must have shape {problem.shape}, got {a.shape}; give a row for every vector of "
            "inputs and every vector of labels"
        )
    p_x, p_y = problem.p_x[:, None, None], problem.p_y[:, :, None]
    joint = p_x * p_y * a  # p(x, y, w)
    w_given_x = (p_y * a).sum(axis=1, keepdims=True)
    w = joint.sum(axis=(0, 1), keepdims=True)
    y_given_xw = _ratio(p_y * a, w_given_x)
    length = problem.code_length
    return Decomposition(
        cross_entropy=_mean(joint, length),
        label_entropy=_mean(p_x * p_y, -_log2(p_y)),
        label_information=_information(joint, a, w_given_x),
        divergence=_mean(joint, _log2(y_given_xw) + length),
        printed_divergence=_mean(p_x * w_given_x * p_y, _log2(p_y) + length),
        input_information=_information(p_x * w_given_x, w_given_x, w),
        information=_information(joint, a, w),
        training_error=_mean(joint, problem.errors),
        test_error=_mean(w, problem.test_errors),
    )


@checked
def tables(num_inputs: Count, num_classes: Several, doubt: Positive) -> FloatArray:
    """Classifiers that can store anything: each table of one label an input, f(y|x,w) as (weights, inputs,
    classes).

    The label in the table gets probability 1 - `doubt`, the others share the rest. Raises `InvalidValue` for
    a doubt outside (0, (K-1)/K), where the table's label is no longer the likeliest.
    """
    if not 0 < doubt < 1 - 1 / num_classes:
        raise InvalidValue(
            f"doubt must lie in (0, {1 - 1 / num_classes:g}) for {num_classes} classes, got {doubt}; try 0.1"
        )
    _check_size(num_classes, num_inputs, num_inputs * num_classes)
    return noise.uniform(doubt, num_classes)[_vectors(num_classes, num_inputs)]


@checked
def gibbs_learner(problem: Problem, greed: NonNegative) -> FloatArray:
    """The learner that draws w with probability proportional to exp(-`greed` · training cross-entropy).

    `greed` is an inverse temperature: at 0 the data have no say, at 1 it samples from Bayes' posterior under
    a flat prior, and towards infinity it minimises the training loss.
    """
    weighed = np.exp2(-greed * (problem.code_length - problem.code_length.min(axis=-1, keepdims=True)))
    return np.asarray(weighed / weighed.sum(axis=-1, keepdims=True))


@checked
def four_inputs(rate: Rate, num_examples: Count, doubt: Positive = 0.1) -> Problem:
    """Lesson 03's problem: four inputs, two a class, given labels wrong at `rate`, all sixteen tables."""
    true_classes = [0, 0, 1, 1]
    return Problem(
        inputs=np.full(4, 1 / 4),
        labels=noise.uniform(rate, num_classes=2)[true_classes],
        classifiers=tables(num_inputs=4, num_classes=2, doubt=doubt),
        num_examples=num_examples,
    )


def _check_size(values: int, length: int, each: int) -> None:
    if length * math.log2(values) + math.log2(each) > math.log2(LARGEST):
        raise InvalidValue(
            f"a problem must hold at most {LARGEST} numbers, got {values}^{length} times {each}; "
            "take fewer examples, inputs, classes or weights"
        )


def _vectors(num_values: int, length: int) -> IntArray:
    return np.array(list(product(range(num_values), repeat=length)))


def _distributions(name: str, value: ArrayLike) -> FloatArray:
    array = np.asarray(value, dtype=np.float64)
    sums = array.sum(axis=-1)
    if not (np.all(array >= 0) and np.all(np.abs(sums - 1) <= _TOLERANCE)):
        raise InvalidValue(f"{name} must be distributions along the last axis; let them sum to 1")
    return array


def _mean(weights: FloatArray, values: FloatArray) -> float:
    return float((weights * values).sum())


def _information(joint: FloatArray, knowing: FloatArray, without: FloatArray) -> float:
    """Mean log-ratio of p(w) with and without knowing; not below 0, which rounding could make it."""
    return max(0.0, _mean(joint, _log2(_ratio(knowing, without))))


def _log2(values: FloatArray) -> FloatArray:
    """log2, with 0 where the value is 0: that event has no weight in any mean."""
    return np.asarray(np.log2(np.where(values > 0, values, 1.0)))


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    return np.asarray(above / np.where(below > 0, below, 1.0))
