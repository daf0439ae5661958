"""lnlib.bounds against closed forms, brute force, Blahut-Arimoto and a learner whose information is known."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import integrate
from scipy.special import rel_entr

from lnlib import bounds
from lnlib.errors import InvalidValue

Array = NDArray[np.float64]
PATIENT = settings(max_examples=60, deadline=None)  # the first call imports SciPy's solver


def uniform(rate: float, num_classes: int) -> Array:
    wrong = np.full((num_classes, num_classes), rate / (num_classes - 1))
    np.fill_diagonal(wrong, 1 - rate)
    return wrong


def flip_one(rate: float, num_classes: int) -> Array:
    return (1 - rate) * np.eye(num_classes) + rate * np.roll(np.eye(num_classes), 1, axis=1)


def random_noise(seed: int, num_classes: int, concentration: float = 0.5) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(num_classes, concentration), num_classes), rng.dirichlet(
        np.ones(num_classes)
    )


@st.composite
def noises(draw: st.DrawFn) -> Array:
    """Transition matrices with ties, zeros and one-hot rows."""
    num_classes = draw(st.integers(2, 6))
    weights = draw(hnp.arrays(float, (num_classes, num_classes), elements=st.integers(0, 4).map(float)))
    weights[weights.sum(axis=1) == 0, 0] = 1.0
    return weights / weights.sum(axis=1, keepdims=True)


# entropies


def test_entropy_of_known_distributions() -> None:
    np.testing.assert_allclose(
        bounds.entropy([[0.25] * 4, [0.5, 0.5, 0, 0], [1, 0, 0, 0]]), [2, 1, 0], atol=1e-15
    )
    np.testing.assert_allclose(bounds.entropy([[0.5, 1], [0.5, 0]], axis=0), [1, 0], atol=1e-15)
    np.testing.assert_allclose(bounds.binary_entropy([0, 0.11, 0.5, 1]), [0, 0.499916, 1, 0], atol=1e-6)


def test_label_entropy_averages_rows_with_their_prior() -> None:
    matrix = [[1, 0], [0.5, 0.5]]
    assert bounds.label_entropy(matrix) == pytest.approx(0.5)
    np.testing.assert_allclose(bounds.label_entropy(matrix, [[1, 0], [0.25, 0.75]]), [0, 0.75], atol=1e-15)


@pytest.mark.parametrize("num_classes", [2, 3, 10, 100])
def test_label_entropy_of_uniform_noise_is_the_left_side_of_theorem_2_1(num_classes: int) -> None:
    for rate in (0.0, 0.2, 0.5, 1.0):
        assert bounds.label_entropy(uniform(rate, num_classes)) == pytest.approx(
            bounds.uniform_label_entropy(rate, num_classes)
        )


def test_scalars_come_back_as_scalars_and_arrays_broadcast() -> None:
    noise = flip_one(0.4, 3)
    scalars = [
        bounds.entropy([0.5, 0.5]),
        bounds.binary_entropy(0.1),
        bounds.label_entropy(noise),
        bounds.r0(1.0, 0.5, 3),
        bounds.memorized_information(0.1, 1.0, 3),
        bounds.rate_distortion(noise, 0.1),
        bounds.sharp_r0(noise, 0.1),
        bounds.generalization_bound(1.0, 2, 1.0),
        bounds.gradient_information_bound(1, 1.0, 1.0),
    ]
    assert all(isinstance(value, float) for value in scalars)
    rows, columns = np.linspace(0, 0.5, 4)[:, None], np.linspace(0.1, 0.9, 3)
    assert bounds.r0(columns, rows, 10).shape == (4, 3)
    assert bounds.memorized_information(rows, columns, [2, 3, 10]).shape == (4, 3)
    assert bounds.gradient_information_bound(10, rows, columns, "laplace").shape == (4, 3)
    assert bounds.generalization_bound(rows, [10, 20, 30], columns).shape == (4, 3)


# Theorem 2.1


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.2, [0.2, 0.1112, 0.0383, 0.0, 0.0]),
        (0.4, [0.4, 0.2791, 0.1778, 0.0926, 0.0239]),
        (0.6, [0.6, 0.4368, 0.3093, 0.2033, 0.1139]),
        (0.8, [0.8, 0.5576, 0.4051, 0.2833, 0.1813]),
    ],
)
def test_r0_of_figure_2(rate: float, expected: list[float]) -> None:
    found = bounds.r0(bounds.uniform_label_entropy(rate, 10), [0, 0.5, 1, 1.5, 2], 10)
    np.testing.assert_allclose(found, expected, atol=5e-5)


@pytest.mark.parametrize("num_classes", [2, 3, 10, 1000])
def test_r0_is_the_first_point_of_a_grid_where_equation_2_holds(num_classes: int) -> None:
    grid = np.linspace(0, 1, 20001)
    with np.errstate(divide="ignore", invalid="ignore"):
        binary = np.nan_to_num(-grid * np.log2(grid) - (1 - grid) * np.log2(1 - grid))
    rng = np.random.default_rng(num_classes)
    for entropy, information in rng.uniform(0, np.log2(num_classes), (50, 2)):
        holds = binary + grid * np.log2(num_classes - 1) >= entropy - information
        assert bounds.r0(entropy, information, num_classes) == pytest.approx(grid[holds.argmax()], abs=5.1e-5)


@pytest.mark.parametrize("num_classes", [2, 3, 10, 100])
def test_without_information_the_error_rate_is_the_noise_rate(num_classes: int) -> None:  # Remark 3
    rates = np.linspace(0, 0.99, 34) * (num_classes - 1) / num_classes
    entropies = bounds.uniform_label_entropy(rates, num_classes)
    np.testing.assert_allclose(bounds.r0(entropies, 0, num_classes), rates, atol=1e-12)


def test_equation_4_as_printed_is_false_and_as_corrected_contradicts() -> None:
    rate, noise_rate, log_others = 0.7, 0.8, np.log2(9)
    right_of_equation_3 = noise_rate + (bounds.binary_entropy(0.8) - bounds.binary_entropy(0.7)) / log_others
    assert right_of_equation_3 == pytest.approx(0.750, abs=5e-4)
    assert right_of_equation_3 < 2 * noise_rate - rate  # the printed last line claims the opposite
    assert right_of_equation_3 > rate  # the right last line: r > r


def test_r0_of_two_classes_inverts_the_binary_entropy() -> None:  # Remark 2
    rates = np.array([0.0, 1e-9, 0.05, 0.3, 0.5])
    np.testing.assert_allclose(bounds.r0(bounds.binary_entropy(rates), 0, 2), rates, atol=1e-12)
    assert bounds.r0(1.0, 1.0, 2) == 0


def test_r0_at_the_ends() -> None:
    assert bounds.r0(np.log2(10), 0.0, 10) == pytest.approx(0.9, abs=1e-7)
    np.testing.assert_array_equal(bounds.r0(2.0, [2.0, 3.0, np.inf], 10), 0)
    assert bounds.r0(bounds.label_entropy(np.full((10, 10), 0.1)), 0.0, 10) == pytest.approx(0.9, abs=1e-7)


@PATIENT
@given(st.integers(2, 50), st.floats(0, 1), st.floats(0, 1))
def test_memorized_information_inverts_r0(num_classes: int, entropy_share: float, known: float) -> None:
    entropy = entropy_share * np.log2(num_classes)
    rate = bounds.r0(entropy, known * entropy, num_classes)
    found = bounds.memorized_information(rate, entropy, num_classes)
    assert found == pytest.approx(known * entropy, abs=1e-9)


@PATIENT
@given(st.integers(2, 50), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_memorized_information_falls_with_the_error_rate(
    num_classes: int, share: float, one: float, other: float
) -> None:
    entropy = share * np.log2(num_classes)
    low, high = sorted((one, other))
    few, many = (bounds.memorized_information(rate, entropy, num_classes) for rate in (low, high))
    assert few >= many >= 0
    assert bounds.memorized_information((num_classes - 1) / num_classes, entropy, num_classes) <= 1e-12


# its sharp form


def blahut_arimoto(matrix: Array, prior: Array, slope: float, iterations: int = 20000) -> tuple[float, float]:
    """Error rate and bits of the best test channel at a given slope (nats per unit of error rate)."""
    cost = np.exp(-slope * (1 - np.eye(len(matrix))))
    error_rate = bits = 0.0
    for share, row in zip(prior, matrix, strict=True):
        output = np.full(len(row), 1 / len(row))
        for _ in range(iterations):
            before, output = output, (output * (row / (cost @ output) @ cost)).clip(1e-200)
            if np.abs(output - before).max() < 1e-15:
                break
        channel = cost * output / (cost @ output)[:, None]
        joint = row[:, None] * channel
        error_rate += share * (joint.sum() - np.trace(joint))
        bits += share * float(rel_entr(joint, row[:, None] * joint.sum(axis=0)).sum() / np.log(2))
    return error_rate, bits


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("slope", [0.3, 1.0, 2.0, 4.0, 8.0])
def test_rate_distortion_agrees_with_blahut_arimoto(seed: int, slope: float) -> None:
    matrix, prior = random_noise(
        seed, num_classes=[2, 3, 5, 7, 10, 4][seed], concentration=[0.3, 1, 5][seed % 3]
    )
    error_rate, bits = blahut_arimoto(matrix, prior, slope)
    assert bounds.rate_distortion(matrix, error_rate, prior) == pytest.approx(bits, abs=2e-5)
    if bits > 1e-3:
        assert bounds.sharp_r0(matrix, bits, prior) == pytest.approx(error_rate, abs=2e-5)


def test_blahut_arimoto_agrees_where_rows_have_ties_zeros_and_no_noise() -> None:
    matrix = np.array([[0.5, 0.25, 0.25, 0], [0, 1, 0, 0], [0.5, 0, 0.5, 0], [0.25, 0.25, 0.25, 0.25]])
    prior = np.array([0.4, 0.3, 0.2, 0.1])
    for slope in (0.2, 0.8, 1.5, 5.0):
        error_rate, bits = blahut_arimoto(matrix, prior, slope)
        assert bounds.rate_distortion(matrix, error_rate, prior) == pytest.approx(bits, abs=1e-5)


@pytest.mark.parametrize("num_classes", [2, 3, 10, 50])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95, 1.0])
def test_under_uniform_noise_theorem_2_1_is_already_sharp(num_classes: int, share: float) -> None:
    noise_rate = share * (num_classes - 1) / num_classes
    matrix, rates = uniform(noise_rate, num_classes), np.linspace(0, 1, 41)
    entropy = bounds.label_entropy(matrix)
    np.testing.assert_allclose(
        bounds.rate_distortion(matrix, rates),
        bounds.memorized_information(rates, entropy, num_classes),
        atol=1e-12,
    )
    information = np.linspace(0, 1.1, 12)[1:] * entropy  # 0 is ill conditioned at the share 1
    np.testing.assert_allclose(
        bounds.sharp_r0(matrix, information), bounds.r0(entropy, information, num_classes), atol=1e-12
    )
    assert bounds.sharp_r0(matrix, 0) == pytest.approx(noise_rate, abs=1e-7)


def test_under_flip_noise_theorem_2_1_proves_little_of_what_is_true() -> None:
    matrix = flip_one(0.4, 10)
    assert bounds.memorized_information(0.119, bounds.label_entropy(matrix), 10) == pytest.approx(
        0.0672, abs=1e-4
    )
    # Each row is a coin, so the bound is the one of two classes.
    assert bounds.rate_distortion(matrix, 0.119) == pytest.approx(0.444, abs=5e-4)
    assert bounds.rate_distortion(matrix, 0.119) == pytest.approx(
        bounds.binary_entropy(0.4) - bounds.binary_entropy(0.119)
    )


def test_rate_distortion_is_the_least_over_all_channels_of_a_grid() -> None:
    row, step = np.array([0.5, 0.3, 0.2]), 20
    ticks = np.arange(step + 1) / step
    simplex = np.array([(a, b, 1 - a - b) for a in ticks for b in ticks if a + b <= 1 + 1e-9]).clip(0)
    first, second, third = np.meshgrid(*[np.arange(len(simplex))[::3]] * 3, indexing="ij")
    channels = np.stack([simplex[first], simplex[second], simplex[third]], axis=-2).reshape(-1, 3, 3)
    joint = row[:, None] * channels
    rates = 1 - np.trace(joint, axis1=-2, axis2=-1)
    information = (
        bounds.entropy(row) + bounds.entropy(joint.sum(axis=-2)) - bounds.entropy(joint.reshape(-1, 9))
    )
    least = bounds.rate_distortion(np.tile(row, (3, 1)), rates.clip(0, 1))
    assert (least <= information + 1e-12).all()
    assert np.min(information - least, where=(rates > 0.1) & (rates < 0.4), initial=1) < 0.02


@PATIENT
@given(noises(), st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_rate_distortion_falls_is_convex_and_never_below_fano(matrix: Array, rates: list[float]) -> None:
    rate = np.sort(rates)
    found = bounds.rate_distortion(matrix, rate)
    assert (np.diff(found) <= 1e-12).all()
    middle = bounds.rate_distortion(matrix, (rate[1:] + rate[:-1]) / 2)
    assert (middle <= (found[1:] + found[:-1]) / 2 + 1e-12).all()
    fano = bounds.memorized_information(rate, bounds.label_entropy(matrix), len(matrix))
    assert (found >= fano - 1e-12).all()
    assert bounds.rate_distortion(matrix, 0) == pytest.approx(bounds.label_entropy(matrix), abs=1e-12)
    guessing = 1 - matrix.max(axis=1).mean()
    assert bounds.rate_distortion(matrix, guessing) == pytest.approx(0, abs=1e-12)


@PATIENT
@given(noises(), st.floats(0, 1), st.floats(0, 1))
@example(np.array([[1, 0, 0], [1, 0, 0], [3 / 11, 4 / 11, 4 / 11]]), 1.9e-22, 3.3e-85)
def test_sharp_r0_inverts_rate_distortion_and_falls(matrix: Array, one: float, other: float) -> None:
    entropy = bounds.label_entropy(matrix)
    information = np.sort([one, other]) * entropy
    rates = bounds.sharp_r0(matrix, information)
    np.testing.assert_allclose(bounds.rate_distortion(matrix, rates), information, atol=1e-9)
    # The curve is flat at its end: there an error of 1e-16 in the information is one of 1e-8 in the rate.
    assert np.diff(rates) <= (1e-12 if information[0] > 1e-6 else 1e-7)
    assert (rates >= bounds.r0(entropy, information, len(matrix)) - 1e-7).all()
    assert bounds.sharp_r0(matrix, 0) == pytest.approx(1 - matrix.max(axis=1).mean(), abs=1e-7)
    assert bounds.sharp_r0(matrix, entropy + 0.1) == pytest.approx(0, abs=1e-12)


def test_stacks_of_noise_models_equal_one_at_a_time() -> None:
    models = [random_noise(seed, 4) for seed in range(6)]
    matrices = np.stack([matrix for matrix, _ in models]).reshape(2, 3, 4, 4)
    priors = np.stack([prior for _, prior in models[:3]])
    amounts = np.linspace(0, 0.6, 5)[:, None, None]
    for function in (bounds.rate_distortion, bounds.sharp_r0):
        found = function(matrices, amounts, priors)
        assert found.shape == (5, 2, 3)
        for place in np.ndindex(5, 2, 3):
            alone = function(matrices[place[1:]], amounts[place[0], 0, 0], priors[place[2]])
            assert found[place] == pytest.approx(alone, abs=1e-13)


def test_results_do_not_depend_on_how_the_solver_is_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, _ = random_noise(0, 5)
    rates = np.linspace(0, 1, 100).reshape(4, 25)
    whole = bounds.rate_distortion(matrix, rates)
    monkeypatch.setattr(bounds, "_CHUNK", 7 * 25)
    np.testing.assert_array_equal(bounds.rate_distortion(matrix, rates), whole)


# the learner that stores each given label with probability alpha


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(
    "matrix", [uniform(0.8, 10), uniform(0.3, 2), flip_one(0.4, 10), random_noise(1, 6)[0]]
)
def test_storing_labels_takes_at_least_what_the_bounds_say(alpha: float, matrix: Array) -> None:
    num_classes = len(matrix)
    entropy = bounds.label_entropy(matrix)
    information = alpha * entropy
    error_rate = (1 - alpha) * (1 - matrix.max(axis=1).mean())  # a label not stored is guessed
    least, fano = bounds.sharp_r0(matrix, information), bounds.r0(entropy, information, num_classes)
    assert error_rate >= least - 1e-12 >= fano - 1e-7
    needed = bounds.rate_distortion(matrix, error_rate)
    assert (
        information
        >= needed - 1e-12
        >= bounds.memorized_information(error_rate, entropy, num_classes) - 2e-12
    )
    if alpha == 1:
        assert needed == pytest.approx(information, abs=1e-12)
    if 0 < alpha < 1:
        assert needed < information  # storing some labels whole is not the best use of bits


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.7, 1.0])
def test_simulated_storing_of_labels_respects_the_bounds(alpha: float) -> None:
    rng = np.random.default_rng(7)
    matrix, num_examples = uniform(0.6, 10), 200_000
    true = rng.integers(10, size=num_examples)
    labels = (rng.random(num_examples)[:, None] > matrix[true].cumsum(axis=1)).sum(axis=1).clip(max=9)
    stored = rng.random(num_examples) < alpha
    error_rate = np.mean(np.where(stored, labels, true) != labels)
    noise = 5 * np.sqrt(0.25 / num_examples)
    assert error_rate == pytest.approx((1 - alpha) * 0.6, abs=noise)
    information = alpha * bounds.label_entropy(matrix)
    assert error_rate >= bounds.sharp_r0(matrix, information) - noise
    assert bounds.rate_distortion(matrix, min(error_rate + noise, 1)) <= information


# Theorem 2.2 and Proposition 3.1


def test_generalization_bound_has_its_root_over_the_information() -> None:
    assert bounds.generalization_bound(1 / np.log(2), 2, 3.0) == pytest.approx(3.0)  # 1 nat
    ratio = bounds.generalization_bound(8.0, 100, 0.5) / bounds.generalization_bound(2.0, 100, 0.5)
    assert ratio == pytest.approx(2)
    assert bounds.generalization_bound(0, 100, 0.5) == 0


def test_gradient_information_bound_values() -> None:
    nats = np.log(2) * bounds.gradient_information_bound(10, 1.0, 0.1)
    assert nats == pytest.approx(11.989476363991853, rel=1e-14)
    laplace = np.log(2) * bounds.gradient_information_bound(10, 1.0, 0.1, "laplace")
    assert laplace - nats == pytest.approx(10 * 0.07236494292469997, rel=1e-12)


@pytest.mark.parametrize(
    ("signal", "true_nats", "paper_nats"), [(0.01, 0.00901, 0.00498), (1.0, 0.4125, 0.3466)]
)
def test_the_paper_s_bound_fails_for_laplace_noise(
    signal: float, true_nats: float, paper_nats: float
) -> None:
    grid = np.linspace(-40, 40, 2**18 + 1)
    step = grid[1] - grid[0]
    gauss = np.exp(-(grid**2) / (2 * signal)) / np.sqrt(2 * np.pi * signal)
    laplace = np.exp(-np.abs(grid) * np.sqrt(2)) / np.sqrt(2)
    size = 2 * grid.size
    density = np.fft.irfft(np.fft.rfft(gauss, size) * np.fft.rfft(laplace, size), size)[: 2 * grid.size - 1]
    density = (density * step).clip(1e-300)
    entropy = integrate.trapezoid(-density * np.log(density), dx=step)
    information = entropy - (1 + 0.5 * np.log(2))
    assert information == pytest.approx(true_nats, rel=2e-3)
    paper, corrected = (
        np.log(2) * bounds.gradient_information_bound(1, signal, 1.0, noise)
        for noise in ("gaussian", "laplace")
    )
    assert paper == pytest.approx(paper_nats, rel=2e-3)
    assert paper < information < corrected


# bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.entropy([0.5, 0.6]), r"probabilities must sum to 1, got 1.1; "),
        (lambda: bounds.entropy([1.5, -0.5]), r"probabilities must lie in \[0, 1\], got 1.5; "),
        (lambda: bounds.entropy(0.5), r"probabilities must sum to 1, got 0.5; "),
        (lambda: bounds.binary_entropy(1.3), r"rate must lie in \[0, 1\], got 1.3; "),
        (lambda: bounds.binary_entropy([0.1, np.nan]), r"got nan; "),
        (lambda: bounds.binary_entropy("half"), r"rate must be a number .* got 'half'; "),
        (lambda: bounds.uniform_label_entropy(-0.1, 10), r"error_rate must lie in \[0, 1\], got -0.1; "),
        (lambda: bounds.r0(4.0, 0.0, 10), r"entropy must lie in \[0, 3.32193\], got 4; "),
        (lambda: bounds.r0([1.0, 1.5], 0.0, [3, 2]), r"entropy must lie in \[0, 1\], got 1.5; "),
        (lambda: bounds.r0(-1.0, 0.0, 10), r"entropy must lie in \[0, 3.32193\], got -1; "),
        (lambda: bounds.r0(np.nan, 0.0, 10), r"entropy must lie in .* got nan; "),
        (lambda: bounds.r0(1.0, -0.1, 10), r"information must be at least 0, got -0.1; "),
        (lambda: bounds.r0(1.0, np.nan, 10), r"information must be at least 0, got nan; "),
        (lambda: bounds.r0(0.0, 0.0, 1), r"num_classes must be at least 2, got 1; "),
        (lambda: bounds.r0(1.0, 0.0, 2.5), r"num_classes must be a whole number, got 2.5; "),
        (lambda: bounds.r0(1.0, 0.0, np.inf), r"num_classes must be a whole number, got inf; "),
        (lambda: bounds.memorized_information(1.1, 1.0, 10), r"error_rate must lie in \[0, 1\], got 1.1; "),
        (lambda: bounds.memorized_information(0.1, 1.1, 2), r"entropy must lie in \[0, 1\], got 1.1; "),
        (lambda: bounds.rate_distortion(np.eye(3), 2.0), r"error_rate must lie in \[0, 1\], got 2; "),
        (
            lambda: bounds.rate_distortion(np.eye(3), 0.1, [0.5, 0.5]),
            r"prior must have 3 class shares .* got 2; ",
        ),
        (lambda: bounds.rate_distortion(np.eye(2), 0.1, [0.5, 0.6]), r"prior must sum to 1, got 1.1; "),
        (lambda: bounds.sharp_r0(np.eye(3), -1.0), r"information must be at least 0, got -1; "),
        (
            lambda: bounds.label_entropy(np.ones((2, 2))),
            r"row of the transition matrix must sum to 1, got 2; ",
        ),
        (lambda: bounds.entropy([0.5, 0.5], 1), r"axis must lie in \[-1, 0\], got 1; "),
        (lambda: bounds.r0(1.0, 0.0, 10.0), r"num_classes must be a whole number, got 10.0; "),
        (lambda: bounds.generalization_bound(-1, 10, 1.0), r"information must be at least 0, got -1; "),
        (lambda: bounds.generalization_bound(1, 0, 1.0), r"num_examples must be at least 1, got 0; "),
        (lambda: bounds.generalization_bound(1, 10, -1.0), r"sigma must be at least 0, got -1; "),
        (lambda: bounds.gradient_information_bound(0, 1, 1), r"dimension must be at least 1, got 0; "),
        (
            lambda: bounds.gradient_information_bound(1, -1, 1),
            r"norm_squared_bound must be at least 0, got -1; ",
        ),
        (lambda: bounds.gradient_information_bound(1, 1, 0), r"sigma must be positive, got 0; "),
    ],
)
def test_bad_input_is_named_with_what_was_expected(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((2, 3)) / 3, r"must be square, \(K, K\) with K >= 2, got shape \(2, 3\); "),
        ([0.5, 0.5], r"must be square, .* got shape \(2,\); "),
        ([[1.0]], r"K >= 2, got shape \(1, 1\); "),
        ([[0.9, 0.0], [0, 1]], r"must sum to 1, got 0.9; "),
        ([[-0.1, 1.1], [0, 1]], r"must lie in \[0, 1\], got -0.1; "),
        ([[np.nan, 1], [0, 1]], r"must lie in \[0, 1\], got nan; "),
        ([[1, 0], [1]], r"transition matrix must be a number or an array of numbers"),
        (np.eye(2)[None], r"must have shape \(K, K\), got \(1, 2, 2\); "),
    ],
)
def test_a_transition_matrix_must_be_square_and_made_of_distributions(matrix: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        bounds.check_transition_matrix(matrix)


def test_a_good_transition_matrix_comes_back_as_float64() -> None:
    checked = bounds.check_transition_matrix(np.eye(3, dtype=np.float32) * np.float32(1 - 1e-7))
    assert checked.dtype == np.float64
    np.testing.assert_allclose(checked, np.eye(3), atol=2e-7)
    assert bounds.sharp_r0(checked, np.inf) == pytest.approx(
        0, abs=1e-12
    )  # though its rows sum to a bit less


def test_an_entropy_that_rounding_lifted_above_its_most_counts_as_the_most() -> None:
    assert bounds.memorized_information(0.9, np.log2(10) + 5e-7, 10) == pytest.approx(0, abs=1e-12)


def test_unknown_noise_names_the_nearest() -> None:
    with pytest.raises(InvalidValue, match=r"noise must be .* got 'laplacian'; did you mean 'laplace'"):
        bounds.gradient_information_bound(1, 1, 1, "laplacian")


def test_importing_bounds_imports_neither_torch_nor_the_slow_parts_of_scipy() -> None:
    code = "import sys, lnlib.bounds; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "lnlib.bounds" in loaded
    assert not {"torch", "scipy.optimize", "scipy.special"} & set(loaded)
