"""Label noise: transition matrices, the corruption of labels, and long-tailed class sizes.

LIMIT (Harutyunyan et al., ICML 2020) §2.1 and §4.2, MetaInfoNet (Wei et al.) §5.1; `CONVENTIONS` tells their
words apart. A transition matrix is a float64 array (K, K) with rows P(given label | true label); rates are
fractions.
"""

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lnlib.bounds import check_transition_matrix as validate
from lnlib.catalog import NOISES
from lnlib.checks import Count, Factor, Rate, Seed, Several, checked, refusal
from lnlib.errors import InvalidValue, unknown_name
from lnlib.seeding import stream

__all__ = [
    "BUILDERS", "CONVENTIONS", "Convention", "confusion", "corrupt", "effective_error_rate", "flip",
    "long_tailed_sizes", "matrix", "pair", "symmetric", "uniform", "validate",
]  # fmt: skip

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
NoiseRate = Annotated[Rate, "write 80% as 0.8"]

# CIFAR-10's classes: 0 plane, 1 automobile, 2 bird, 3 cat, 4 deer, 5 dog, 6 frog, 7 horse, 8 ship, 9 truck.
_ONE_WAY = {9: 1, 2: 0, 4: 7, 3: 5}
_PAIRS = {"limit": _ONE_WAY, "cat-dog": _ONE_WAY | {5: 3}}

# What MW-Net's code draws with its fixed seed 1, classes 0 to K-1: targets of flip-1, then the two of flip-2.
_MW_NET = {
    10: ("6 9 6 0 0 1 8 6 2 4", "9 4 1 8 2 7 9 8 6 5", "3 8 8 4 5 4 2 5 5 4"),
    100: (
        "38 13 73 10 76 6 80 65 17 1 77 72 6 26 51 21 19 85 11 29 30 14 51 69 88 88 95 97 87 13 9 7 64 62 "
        "22 58 1 0 61 82 8 89 13 48 73 30 72 3 71 21 49 58 3 69 24 43 77 26 52 81 41 83 15 65 69 25 99 88 "
        "7 26 25 22 9 67 23 27 37 57 84 38 8 32 34 10 23 15 88 25 71 93 74 62 46 32 88 23 55 65 77 3",
        "93 45 57 41 46 0 47 91 3 50 91 55 71 42 82 61 93 15 48 9 27 84 72 71 43 29 59 99 42 63 99 41 60 "
        "93 33 98 26 44 90 71 47 4 88 53 33 89 0 80 68 82 52 23 40 96 76 44 58 49 6 20 42 63 25 99 14 16 "
        "28 53 71 22 61 31 3 11 45 72 45 99 97 92 55 90 60 43 58 64 24 20 96 99 12 36 80 72 37 46 87 13 "
        "21 20",
        "84 70 60 11 44 96 92 80 17 53 27 46 76 9 29 13 17 54 91 17 26 75 59 55 83 95 83 91 75 42 57 94 "
        "87 69 66 61 59 19 17 59 89 26 64 21 5 7 64 23 16 1 73 2 21 62 34 8 32 40 89 89 75 66 4 56 22 90 "
        "65 63 41 79 33 99 23 74 94 74 87 80 90 71 48 72 36 14 46 90 60 56 43 76 65 75 58 41 3 10 52 69 "
        "45 96",
    ),
}


@checked
def uniform(rate: NoiseRate, num_classes: Several) -> FloatArray:
    """Noise that moves a share `rate` of each class to the wrong classes, evenly; the error rate is `rate`.

    T = (1-p) I + p/(K-1) (1 - I), LIMIT §2.1.
    """
    rows = np.full((num_classes, num_classes), rate / (num_classes - 1))
    np.fill_diagonal(rows, 1 - rate)
    return rows


@checked
def symmetric(rate: NoiseRate, num_classes: Several) -> FloatArray:
    """Noise that draws a share `rate` of the labels anew from all classes, the true one included.

    T = (1-p) I + p/K, so the error rate is p (K-1)/K; MetaInfoNet §5.1, which calls it uniform.
    """
    return (1 - rate) * np.eye(num_classes) + rate / num_classes


@checked
def pair(
    rate: NoiseRate, num_classes: Several = 10, mapping: str | Mapping[int, int] | Mapping[str, int] = "limit"
) -> FloatArray:
    """Noise that mistakes a share `rate` of a class for one look-alike; classes without one stay clean.

    "limit": CIFAR-10's truck → automobile, bird → plane, deer → horse, cat → dog (LIMIT §4.2, after Xu et al.
    2019); "cat-dog": the same and dog → cat (Patrini et al. 2017, DivideMix); "next-class": i → i+1 mod K
    (Co-teaching); or {true class: given class}. Warns from rate 0.5 on. Raises `InvalidValue` for a mapping
    that does not fit the classes.
    """
    rows = np.eye(num_classes)
    for true, given in _look_alikes(mapping, num_classes).items():
        rows[true, true], rows[true, given] = 1 - rate, rate
    _warn_if_mode_is_wrong(rate, 1)
    return rows


@checked
def flip(
    rate: NoiseRate,
    num_classes: Several,
    targets: Count = 1,
    mapping: Literal["random", "mw-net"] = "random",
    seed: Seed = 0,
) -> FloatArray:
    """Noise that moves a share `rate` of a class to `targets` wrong classes of its own: flip-1 and flip-2.

    MetaInfoNet §5.1. Its "similar" classes are drawn at random, each class by itself, so a class may be hit
    often or never: "random" draws them from `seed`, flip-1's target being the first of flip-2's; "mw-net" is
    the one draw that MW-Net's code uses in all its runs (10 or 100 classes). Warns where a wrong class
    becomes the likeliest, from rate t/(t+1) for t targets. Raises `InvalidValue` for values outside these.
    """
    if targets >= num_classes:
        raise InvalidValue(f"targets must be below the {num_classes} classes, got {targets}; use 1 or 2")
    if mapping == "random":
        columns = _random_targets(num_classes, targets, seed)
    else:
        columns = _mw_net_targets(num_classes, targets)
    rows = (1 - rate) * np.eye(num_classes)
    np.put_along_axis(rows, columns, rate / targets, axis=1)
    _warn_if_mode_is_wrong(rate, targets)
    return rows


BUILDERS: Mapping[str, Callable[..., FloatArray]] = {name: globals()[name] for name in NOISES}
"""The kinds of noise that `matrix` knows by name."""


@checked
def matrix(kind: str, rate: NoiseRate, num_classes: Several, **options: Any) -> FloatArray:
    """The matrix of the noise called `kind` ("uniform", "symmetric", "pair" or "flip"), with its options.

    Raises `UnknownName` for another kind, `InvalidValue` for an option that the kind does not take, and what
    it raises.
    """
    if kind not in BUILDERS:
        raise unknown_name("noise", kind, BUILDERS)
    known = list(inspect.signature(BUILDERS[kind]).parameters)[2:]
    if extra := sorted(options.keys() - known):
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise InvalidValue(f"{kind} noise has no option {extra[0]!r}; {takes}")
    return BUILDERS[kind](rate, num_classes, **options)


def effective_error_rate(transition_matrix: ArrayLike, prior: ArrayLike | None = None) -> float:
    """The share of labels that come out wrong, 1 - Σ_i prior_i T_ii.

    `prior` (K,) holds the shares of the true classes, even by default. Raises `InvalidValue` for a matrix
    that is none, or shares that do not fit it.
    """
    rows, shares = _with_shares(transition_matrix, prior)
    return float(np.clip(1 - shares @ rows.diagonal(), 0, 1))


def bayes_accuracy(transition_matrix: ArrayLike, prior: ArrayLike | None = None) -> float:
    """The best accuracy on *given* labels that does without memorising: Σ_i prior_i max_j T_ij.

    Who knows each true class, and nothing of the draw, predicts the likeliest given label: the true one as
    long as it is that. Takes and raises what `effective_error_rate` does.
    """
    rows, shares = _with_shares(transition_matrix, prior)
    return float(np.clip(shares @ rows.max(axis=1), 0, 1))


def _with_shares(transition_matrix: ArrayLike, prior: ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    rows = validate(transition_matrix)
    shares = np.full(len(rows), 1 / len(rows)) if prior is None else np.asarray(prior, dtype=np.float64)
    if shares.shape != (len(rows),) or not (np.all(shares >= 0) and abs(shares.sum() - 1) < 1e-6):
        raise InvalidValue(
            f"prior must be {len(rows)} shares that sum to 1, got {shares.tolist()}; "
            "divide the class counts by their total"
        )
    return rows, shares


@checked
def corrupt(labels: ArrayLike, transition_matrix: ArrayLike, seed: Seed) -> IntArray:
    """Given labels (N,) drawn for the true `labels` (N,), each independently from its row of the matrix.

    One random number per example decides whether its label is kept, a second one what it becomes: under one
    seed, a higher rate of the same noise corrupts the same examples and more. Raises `InvalidValue` for
    labels that are not whole numbers from 0 to K-1 and for a matrix that is none.
    """
    rows = validate(transition_matrix)
    true = _labels("labels", labels, len(rows))
    keep, become = stream(seed, "noise draws").random((len(true), 2)).T
    given = true.copy()
    for label, row in enumerate(rows / rows.sum(axis=1, keepdims=True)):
        wrong = np.flatnonzero((true == label) & (keep >= row[label]))
        if wrong.size:
            chances = row.copy()
            chances[label] = 0
            cumulative = chances.cumsum()
            given[wrong] = np.searchsorted(cumulative / cumulative[-1], become[wrong], side="right")
    return given


@checked
def confusion(true: ArrayLike, given: ArrayLike, num_classes: Several) -> IntArray:
    """How often a true class (row) got each label (column), (K, K); raises `InvalidValue` for bad labels."""
    rows, columns = _labels("true labels", true, num_classes), _labels("given labels", given, num_classes)
    if len(rows) != len(columns):
        raise InvalidValue(
            f"true and given labels must be as many, got {len(rows)} and {len(columns)}; pass both whole"
        )
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


@checked
def long_tailed_sizes(largest: Count, num_classes: Several, factor: Factor) -> IntArray:
    """Class sizes (K,) that fall geometrically from `largest` to `largest / factor`.

    n_i = ⌊n_max (1/factor)^(i/(K-1))⌋ (Cui et al. 2019; MetaInfoNet §5.1 garbles the formula). Take a meta
    set out before counting `largest`. Raises `InvalidValue` for a factor that leaves a class empty.
    """
    ideal = largest * (1 / factor) ** (np.arange(num_classes) / (num_classes - 1))
    sizes = np.floor(ideal + 1e-9).astype(np.int64)  # 499.99999999999994 means 500
    if sizes[-1] < 1:
        raise InvalidValue(
            f"imbalance factor {factor:g} leaves no image of the smallest class; use at most {largest}"
        )
    return sizes


@dataclass(frozen=True)
class Convention:
    """What a public code means by a word, and the call here that gives the same.

    `count` is "bernoulli" where each label is drawn by itself, and "exact" where a fixed number of them is.
    """

    code: str
    word: str
    definition: str
    here: str
    count: Literal["bernoulli", "exact"]
    source: str


CONVENTIONS = (
    Convention("LIMIT", "uniform", "wrong classes only", "uniform(p, K)", "bernoulli", "hrayrhar/nnlib"),
    Convention("Loss correction", "uniform", "wrong classes only", "uniform(p, K)", "bernoulli",
        "giorgiop/loss-correction"),
    Convention("Co-teaching", "symmetric", "wrong classes only", "uniform(p, K)", "bernoulli",
        "bhanML/Co-teaching"),
    Convention("D2L", "noise ratio", "wrong classes only", "uniform(p, K)", "exact",
        "xingjunm/dimensionality-driven-learning"),
    Convention("MW-Net, MetaInfoNet", "uniform", "any class, its own too", "symmetric(p, K)", "bernoulli",
        "xjtushujun/meta-weight-net"),
    Convention("DivideMix", "sym", "any class, its own too", "symmetric(p, K)", "exact",
        "LiJunnan1992/DivideMix"),
    Convention("L2RW", "noise ratio", "any class, its own too, but never the last (off by one)",
        "a matrix of your own", "exact", "uber-research/learning-to-reweight-examples"),
    Convention("LIMIT", "pair", "four look-alikes, one way", 'pair(p, 10, "limit")', "bernoulli",
        "hrayrhar/nnlib"),
    Convention("Loss correction", "asymmetric", "four look-alikes, cat and dog both ways",
        'pair(p, 10, "cat-dog")', "bernoulli", "giorgiop/loss-correction"),
    Convention("DivideMix", "asym", "four look-alikes, cat and dog both ways", 'pair(p, 10, "cat-dog")',
        "exact", "LiJunnan1992/DivideMix"),
    Convention("Co-teaching", "pairflip", "every class to the next", 'pair(p, K, "next-class")', "bernoulli",
        "bhanML/Co-teaching"),
    Convention("MW-Net, MetaInfoNet", "flip", "every class to a random one, the same in all runs",
        'flip(p, K, 1, "mw-net")', "bernoulli", "xjtushujun/meta-weight-net"),
    Convention("MW-Net, MetaInfoNet", "flip2", "every class to two random ones, the same in all runs",
        'flip(p, K, 2, "mw-net")', "bernoulli", "xjtushujun/meta-weight-net"),
)  # fmt: skip
"""What public codes call uniform, symmetric, pair and flip; `pandas.DataFrame(CONVENTIONS)` is the table."""


def _look_alikes(mapping: str | Mapping[int, int] | Mapping[str, int], num_classes: int) -> dict[int, int]:
    if isinstance(mapping, str):
        if mapping == "next-class":
            return {i: (i + 1) % num_classes for i in range(num_classes)}
        if mapping not in _PAIRS:
            raise unknown_name("pair mapping", mapping, (*_PAIRS, "next-class"))
        if num_classes != 10:
            raise InvalidValue(
                f"the pairs of {mapping!r} are CIFAR-10's and need 10 classes, got {num_classes}; "
                'use mapping="next-class" or {true class: given class}'
            )
        return _PAIRS[mapping]
    if not isinstance(mapping, Mapping):
        raise refusal("mapping", "be a name or pairs of classes", mapping, "try mapping='next-class'")
    # The keys of a mapping that has been through JSON are strings.
    pairs = {_class(true, num_classes): _class(given, num_classes) for true, given in mapping.items()}
    for true, given in pairs.items():
        if true == given:
            raise InvalidValue(
                f"a pair must name two classes, got {true}: {given}; leave out the classes that stay clean"
            )
    return pairs


def _class(value: Any, num_classes: int) -> int:
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or not 0 <= number < num_classes:
        raise InvalidValue(
            f"a class of a pair must be a whole number in 0 to {num_classes - 1}, got {value!r}; count from 0"
        )
    return int(number)


def _random_targets(num_classes: int, targets: int, seed: int) -> IntArray:
    generator = stream(seed, "noise map")
    others = np.stack([generator.permutation(num_classes - 1)[:targets] for _ in range(num_classes)])
    return others + (others >= np.arange(num_classes)[:, None])


def _mw_net_targets(num_classes: int, targets: int) -> IntArray:
    if num_classes not in _MW_NET or targets > 2:
        raise InvalidValue(
            f"MW-Net's flip map has 10 or 100 classes and 1 or 2 targets, got {num_classes} and {targets}; "
            'use mapping="random"'
        )
    one, *two = (np.array(column.split(), dtype=np.int64) for column in _MW_NET[num_classes])
    return np.stack([one] if targets == 1 else two, axis=1)


def _warn_if_mode_is_wrong(rate: float, targets: int) -> None:
    if rate / targets >= 1 - rate:
        warnings.warn(
            f"at noise rate {rate:g} with {targets} target(s) the wrong class is the mode, or as likely as "
            "the true one: no method can tell them apart without clean data",
            stacklevel=4,
        )


def _labels(name: str, value: ArrayLike, num_classes: int) -> IntArray:
    labels = np.asarray(value)
    if labels.ndim != 1:
        raise InvalidValue(f"{name} must have shape (N,), got {labels.shape}; give one class per example")
    if not labels.size:
        return labels.astype(np.int64)
    if labels.dtype.kind not in "iu":
        raise InvalidValue(f"{name} must be whole numbers, got {labels.dtype}; convert them with astype(int)")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InvalidValue(
            f"{name} must lie in 0 to {num_classes - 1}, got {labels.min()} to {labels.max()}; "
            "count classes from 0, or use a larger matrix"
        )
    return labels.astype(np.int64)
