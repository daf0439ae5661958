"""What label noise costs: entropies, Theorem 2.1 both ways and sharp, Theorem 2.2, Proposition 3.1.

Sections 2 and 3.4 of LIMIT (Harutyunyan et al., ICML 2020); the sharp form of Theorem 2.1 is the
rate-distortion function of the noise. Everything broadcasts. Information is in bits, per label where
nothing else is said.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lnlib.checks import LARGEST, checked, refusal
from lnlib.errors import InvalidValue

Numbers = float | int | ArrayLike  # ArrayLike says complex for the first two, which beartype takes literally
FloatArray = NDArray[np.float64]
Floats = np.float64 | FloatArray  # scalars give scalars
Indices = NDArray[np.intp]

_BITS = 1 / np.log(2.0)  # one nat in bits
_TOLERANCE = 1e-6  # by how much the sum of a distribution may miss 1, and an entropy exceed log2(num_classes)
_FINITE = np.finfo(np.float64).max
_CHUNK = 2**20  # numbers that one temporary array of the rate-distortion solver may hold (8 MiB)


@checked
def entropy(probabilities: Numbers, axis: int = -1) -> Floats:
    """Entropy in bits of the distributions along `axis`.

    Raises `InvalidValue` when they hold a negative number or NaN, or do not sum to 1, and without that axis.
    """
    array = _numbers("probabilities", probabilities)
    axes = max(1, array.ndim)
    if not -axes <= axis < axes:
        raise refusal("axis", f"lie in [{-axes}, {axes - 1}]", axis, "try axis=-1")
    return _sum(_entropy_terms(_distributions("probabilities", array, axis)), axis)


def binary_entropy(rate: Numbers) -> Floats:
    """H(r), the entropy in bits of an event of probability `rate`; raises `InvalidValue` outside [0, 1]."""
    return _fano(check_rate(rate, "rate"), np.asarray(2.0))


def uniform_label_entropy(error_rate: Numbers, num_classes: Numbers) -> Floats:
    """H(r) + r log2(K-1) in bits: H(y|x) under uniform noise (wrong classes only) of rate r.

    Also the left side of Theorem 2.1: the most that can be left unknown of a label predicted with error rate
    r. It rises to log2 K at r = (K-1)/K and falls from there. Raises `InvalidValue` for a rate outside [0, 1]
    or K < 2. Source: LIMIT, Remark 3.
    """
    return _fano(check_rate(error_rate), _num_classes(num_classes))


def label_entropy(transition_matrix: Numbers, prior: Numbers | None = None) -> Floats:
    """H(y|x), the entropy in bits of the given label once the true one is known.

    `transition_matrix` is (..., K, K) with rows P(given | true); `prior` (..., K) holds the shares of the
    true classes, uniform by default. Raises `InvalidValue` for a matrix or prior that is not made of
    distributions.
    """
    rows, shares = _noise(transition_matrix, prior)
    return _sum(shares * _sum(_entropy_terms(rows)))


def r0(entropy: Numbers, information: Numbers, num_classes: Numbers) -> Floats:
    """The smallest training error rate that Theorem 2.1 allows to weights with `information` bits per label.

    The smallest r with H(r) + r log2(K-1) >= H(y|x) - I(w;y|x)/n, where `entropy` is H(y|x) and `information`
    I(w;y|x)/n in bits (LIMIT, eq. (2); K = 2 is Remark 2). Raises `InvalidValue` for an entropy outside
    [0, log2 K], a negative information or K < 2.
    """
    num_classes = _num_classes(num_classes)
    unknown = np.maximum(0.0, _label_entropy(entropy, num_classes) - _information(information))
    most = (num_classes - 1) / num_classes  # the left side rises up to here
    unknown = np.minimum(unknown, _fano(most, num_classes))  # lest rounding leave nothing to cross
    return _root(lambda rate, unknown, k: _fano(rate, k) - unknown, most, unknown, num_classes)


def memorized_information(error_rate: Numbers, entropy: Numbers, num_classes: Numbers) -> Floats:
    """Bits per label that weights must hold to reach this training error rate: Theorem 2.1 turned round.

    max(0, H(y|x) - H(r) - r log2(K-1)), the inverse of `r0`, where `entropy` is H(y|x) in bits; 0 from
    r = (K-1)/K on. Raises `InvalidValue` for a rate outside [0, 1], an entropy outside [0, log2 K] or K < 2.
    """
    error_rate, num_classes = check_rate(error_rate), _num_classes(num_classes)
    # Above (K-1)/K the left side of eq. (2) falls, since being wrong more often than chance takes information
    # too. Being wrong at most that often takes none, guessing will do: so the bound stays at 0 there.
    reached = np.minimum(error_rate, (num_classes - 1) / num_classes)
    return np.maximum(0.0, _label_entropy(entropy, num_classes) - _fano(reached, num_classes))


def rate_distortion(transition_matrix: Numbers, error_rate: Numbers, prior: Numbers | None = None) -> Floats:
    """Bits per label that weights must hold to reach this training error rate, sharp for any noise.

    R(r), the least I(y; prediction | c) with P(prediction != y) <= r, the true class c being known to both
    sides; by data processing I(w;y|x)/n >= R(r). It is never below `memorized_information`, and equals it
    under uniform noise of a rate up to (K-1)/K. `transition_matrix` is (..., K, K) with rows P(given | true),
    `prior` (..., K), uniform by default; their leading axes broadcast with `error_rate`. Raises
    `InvalidValue` for a rate outside [0, 1], or a matrix or prior that is not made of distributions.
    Source: Erokhin 1958 for one row, Gray 1972 for their average; LIMIT leaves it open (after Remark 3).
    """
    curve, index = _curve(transition_matrix, prior)
    return _cross(curve, index, curve.error_rate, check_rate(error_rate), curve.information)


def sharp_r0(transition_matrix: Numbers, information: Numbers, prior: Numbers | None = None) -> Floats:
    """The smallest training error rate that this noise allows to weights with `information` bits per label.

    The inverse of `rate_distortion`, with its shapes: never below `r0`, and equal to it under uniform noise
    of a rate up to (K-1)/K. Raises `InvalidValue` for a negative information, or a matrix or prior that is
    not made of distributions.
    """
    curve, index = _curve(transition_matrix, prior)
    return _cross(curve, index, curve.information, _information(information), curve.error_rate)


def generalization_bound(information: Numbers, num_examples: Numbers, sigma: Numbers) -> Floats:
    """Theorem 2.2: the most by which expected test and training loss differ, in units of the loss.

    sqrt(2 sigma^2 I / n) with I = I(w;S) taken in bits, of all `num_examples` together, and a loss that is
    `sigma`-sub-Gaussian. Raises `InvalidValue` for a negative information or sigma, or no examples.
    Source: Xu and Raginsky 2017, Theorem 1.
    """
    information_nats = _within("information", information, 0.0, _FINITE, "give bits") / _BITS
    num_examples = _whole("num_examples", num_examples, 1, "count the training examples")
    sigma = _within("sigma", sigma, 0.0, _FINITE, "give the sub-Gaussian constant of the loss")
    # LIMIT's eq. (5) prints I(w;S) behind the root; it belongs under it.
    gap: Floats = sigma * np.sqrt(2 * information_nats / num_examples)
    return gap


@checked
def gradient_information_bound(
    dimension: Numbers,
    norm_squared_bound: Numbers,
    sigma: Numbers,
    noise: Literal["gaussian", "laplace"] = "gaussian",
) -> Floats:
    """Proposition 3.1: the most bits of label information in one noisy gradient of `dimension` numbers.

    The mean gradient has E||mu||^2 <= `norm_squared_bound` (L^2); its noise is "gaussian" or "laplace", of
    standard deviation `sigma` in each coordinate (Laplace scale sigma/sqrt(2)). Means that sum to zero, as
    LIMIT's at the logits, allow K-1 in place of K, under Gaussian noise only. Raises `InvalidValue` for a
    dimension below 1, a negative norm, a sigma that is not positive and other noise.
    """
    dimension = _whole("dimension", dimension, 1, "count the numbers in the gradient")
    norm_squared_bound = _within("norm_squared_bound", norm_squared_bound, 0.0, _FINITE, "give L squared")
    sigma = _within("sigma", sigma, 0.0, _FINITE, "give the standard deviation of the noise")
    if np.any(sigma == 0):
        raise refusal("sigma", "be positive", 0, "without noise a gradient can hold any number of bits")
    # The paper claims the same bound for Laplace noise, its variance being the same. But noise enters the
    # proof by its entropy, of which the Gaussian has the most; what Laplace noise lacks, 0.0724 nats each,
    # comes on top.
    lacking_nats = {"gaussian": 0.0, "laplace": 0.5 * np.log(np.pi * np.e) - 1}
    each_nats = 0.5 * np.log1p(norm_squared_bound / (dimension * sigma**2)) + lacking_nats[noise]
    bits: Floats = dimension * each_nats * _BITS
    return bits


def check_rate(error_rate: Numbers, name: str = "error_rate") -> FloatArray:
    """Error rates of any shape as float64; raises `InvalidValue`, which calls them `name`, outside [0, 1]."""
    return _within(name, error_rate, 0.0, 1.0, "give a fraction, not percent")


def check_transition_matrix(matrix: Numbers) -> FloatArray:
    """The matrix as float64 of shape (K, K), row i being P(given label | true label i).

    Raises `InvalidValue` unless it is square with K >= 2 and its rows are distributions (to 1e-6).
    """
    rows = _rows(matrix)
    if rows.ndim != 2:
        raise InvalidValue(f"transition matrix must have shape (K, K), got {rows.shape}; pass one at a time")
    return rows


@dataclass(frozen=True)
class _Curve:
    """Rate-distortion curves of N noise models, walked by a = exp(-slope) in [0, 1], the same for all rows.

    At the optimum for a row p, the label is the predicted class with probability C and each other class that
    is ever predicted with probability a C; a class with p <= a C is never predicted, and keeps probability p
    whatever the prediction. So C = S_m / (1 + a (m-1)), where S_m is the sum of the m largest p and m the
    number that makes C largest.
    """

    rows: FloatArray  # (N, K, K), each row from the likeliest class down
    likeliest: FloatArray  # (N, K, K), S_1 to S_K of each row
    shares: FloatArray  # (N, K), of the true classes

    def error_rate(self, a: FloatArray, index: Indices) -> Floats:
        return np.maximum(0.0, 1 - _sum(self.shares[index] * self._accuracy(a, index)))

    def information(self, a: FloatArray, index: Indices) -> Floats:
        accuracy = self._accuracy(a, index)
        level = a[..., None] * accuracy
        # H(y) - H(y | prediction) is the entropy terms of the m predicted classes, less those of C and of m-1
        # times the level a C; lifting the other classes to the level makes them cancel.
        lifted = np.maximum(self.rows[index], level[..., None])
        predicted = _sum(_entropy_terms(lifted) - _entropy_terms(level[..., None]))
        per_row = predicted + _entropy_terms(level) - _entropy_terms(accuracy)
        return np.maximum(0.0, _sum(self.shares[index] * per_row))

    def _accuracy(self, a: FloatArray, index: Indices) -> FloatArray:
        others = np.arange(self.rows.shape[-1])
        accuracy: FloatArray = (self.likeliest[index] / (1 + a[..., None, None] * others)).max(axis=-1)
        return accuracy


_Coordinate = Callable[[FloatArray, Indices], Floats]


def _curve(transition_matrix: Numbers, prior: Numbers | None) -> tuple[_Curve, Indices]:
    """The curves of all noise models, and for each place of the leading axes the number of its curve."""
    rows, shares = _noise(transition_matrix, prior)
    shares = np.broadcast_to(shares, np.broadcast_shapes(shares.shape, rows.shape[:-1]))
    rows = np.broadcast_to(-np.sort(-rows, axis=-1), (*shares.shape, shares.shape[-1]))
    stacked = rows.reshape(-1, *rows.shape[-2:])
    index = np.arange(len(stacked)).reshape(shares.shape[:-1])
    return _Curve(stacked, stacked.cumsum(axis=-1), shares.reshape(-1, shares.shape[-1])), index


def _cross(curve: _Curve, index: Indices, known: _Coordinate, target: Floats, wanted: _Coordinate) -> Floats:
    """The wanted coordinate of each curve where the known one meets its target, or at the nearest end."""
    index, target = np.broadcast_arrays(index, target)
    found = np.empty(target.shape)
    step = max(1, _CHUNK // curve.rows[0].size)
    for start in range(0, target.size, step):
        part = slice(start, start + step)
        where, value = index.flat[part], target.flat[part]
        ends = known(np.zeros(len(where)), where), known(np.ones(len(where)), where)
        value = np.clip(value, np.minimum(*ends), np.maximum(*ends))
        a = _root(lambda a, value, where: known(a, where) - value, np.asarray(1.0), value, where)
        found.flat[part] = wanted(np.asarray(a), where)
    return _sum(found[..., None])  # a scalar for scalars, as elsewhere


def _root(function: Callable[..., Floats], high: Floats, *arguments: Floats | Indices) -> Floats:
    """Where a monotonic function of its first argument is zero between 0 and `high`, element by element."""
    from scipy.optimize import elementwise  # here because it takes longer to import than all the rest

    root: Floats = elementwise.find_root(function, (0.0, high), args=arguments).x
    return root


def _sum(array: Floats, axis: int = -1) -> Floats:
    total: Floats = array.sum(axis=axis)
    return total


def _entropy_terms(probabilities: Floats) -> Floats:
    """-p log2 p, element by element; written out because scipy.special takes 0.15 s to import."""
    terms: Floats = 0.0 - probabilities * np.log2(np.where(probabilities > 0, probabilities, 1.0))
    return terms


def _fano(rate: Floats, num_classes: Floats) -> Floats:
    """H(r) + r log2(K-1)."""
    return _entropy_terms(rate) + _entropy_terms(1 - rate) + rate * np.log2(num_classes - 1)


def _noise(transition_matrix: Numbers, prior: Numbers | None) -> tuple[FloatArray, FloatArray]:
    """Rows (..., K, K) and prior (..., K), each summing to 1 to rounding."""
    rows = _rows(transition_matrix)
    num_classes = rows.shape[-1]
    shares = np.ones(num_classes) / num_classes if prior is None else _distributions("prior", prior)
    if shares.shape[-1] != num_classes:
        raise InvalidValue(
            f"prior must have {num_classes} class shares like the matrix, got {shares.shape[-1]}; "
            "give the share of each true class"
        )
    return rows / rows.sum(axis=-1, keepdims=True), shares / shares.sum(axis=-1, keepdims=True)


def _rows(matrix: Numbers) -> FloatArray:
    """One transition matrix or a stack of them, checked."""
    rows = _numbers("transition matrix", matrix)
    if rows.ndim < 2 or rows.shape[-1] != rows.shape[-2] or rows.shape[-1] < 2:
        raise InvalidValue(
            f"transition matrix must be square, (K, K) with K >= 2, got shape {rows.shape}; "
            "give one row P(given label | true label) per class"
        )
    return _distributions("each row of the transition matrix", rows)


def _distributions(name: str, value: Numbers, axis: int = -1) -> FloatArray:
    array = np.atleast_1d(_within(name, value, 0.0, 1 + _TOLERANCE, "give probabilities"))
    sums = array.sum(axis=axis)
    wrong = np.abs(sums - 1) > _TOLERANCE
    if wrong.any():
        raise refusal(name, "sum to 1", _short(sums[wrong].flat[0]), "divide by the sum")
    return array


def _information(value: Numbers) -> FloatArray:
    return _within("information", value, 0.0, np.inf, "give bits, 0 for weights that know no label")


def _label_entropy(value: Numbers, num_classes: FloatArray) -> Floats:
    most = np.log2(num_classes)
    checked = _within(
        "entropy", value, 0.0, most + _TOLERANCE, "give H(y|x) in bits, at most log2(num_classes)"
    )
    return np.minimum(checked, most)


def _num_classes(value: Numbers) -> FloatArray:
    return _whole("num_classes", value, 2, "count all classes, the right one too")


def _whole(name: str, value: Numbers, least: int, remedy: str) -> FloatArray:
    array = _numbers(name, value)
    fractional = array != np.floor(array)
    # 10.0 is no count, but in arrays NumPy makes floats of counts by itself: np.round(np.geomspace(...)).
    if fractional.any() or (array.ndim == 0 and np.asarray(value).dtype.kind == "f"):
        raise refusal(name, "be a whole number", float(array.flat[np.argmax(fractional)]), remedy)
    return _within(name, array, least, LARGEST, remedy)


def _within(name: str, value: Numbers, low: Numbers, high: Numbers, remedy: str) -> FloatArray:
    array = _numbers(name, value)
    shown, low, high = np.broadcast_arrays(array, low, high)
    outside = ~((shown >= low) & (shown <= high))  # so that NaN is outside
    if outside.any():
        first = np.argmax(outside)
        least, most, got = (side.flat[first] for side in (low, high, shown))
        expected = f"lie in [{least:g}, {most:g}]" if most < LARGEST else f"be at least {least:g}"
        if got > most >= LARGEST:
            expected = f"be at most {LARGEST}" if most == LARGEST else "be finite"
        raise refusal(name, expected, _short(got), remedy)
    return array


def _numbers(name: str, value: Numbers) -> FloatArray:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "iuf":  # neither switches nor texts, nor whole numbers of more than 64 bits
        raise refusal(name, "be a number or an array of numbers", value, "check its type")
    return array.astype(np.float64)


def _short(number: float) -> float:
    """A number as a sentence shows it."""
    rounded = float(f"{number:g}")
    return int(rounded) if rounded.is_integer() else rounded
