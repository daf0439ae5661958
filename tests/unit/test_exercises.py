"""Exercises: the check, the hints and the shown solution come from one function; answers as people write
them.
"""

import json
import math
import sys
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lnlib import bounds, data, noise
from lnlib.course import exercises
from lnlib.course.exercises import fano_bound, metainfonet, my_progress, of_lesson, progress
from lnlib.course.exercises.answers import readings
from lnlib.course.exercises.exercise import ASKED_IN, exercise
from lnlib.course.lessons import LESSONS
from lnlib.methods import LIMIT

ALL = {name: one for lesson in LESSONS for name, one in of_lesson(lesson).items()}


@pytest.mark.parametrize("name", ALL)
def test_every_exercise_takes_its_own_solution_and_no_other(name: str) -> None:
    task = ALL[name]
    right = task.solve()
    assert math.isfinite(right)
    assert task.check(right).correct is True
    assert task.check(right + 0.9 * task.tolerance).correct is True
    for wrong in (right + 1.1 * task.tolerance, right - 1.1 * task.tolerance, -right - 1):
        assert task.check(wrong).correct is False
    assert task.tolerance < 0.1 * abs(right)  # a guess does not pass


@pytest.mark.parametrize("name", ALL)
def test_the_shown_solution_runs_and_gives_the_answer(name: str) -> None:
    task = ALL[name]
    text = str(task.solution())
    code = text.split("```python\n")[1].split("```")[0]
    assert "@exercise" not in code
    namespace = dict(vars(sys.modules[task.solve.__module__]))
    exec(code, namespace)
    assert namespace[name]() == task.solve()
    assert f"{task.solve():.3g} {task.unit}" in text


@pytest.mark.parametrize("name", ALL)
def test_the_question_is_shown_with_its_unit(name: str) -> None:
    task = ALL[name]
    assert task.question in task._repr_markdown_()
    assert task.unit in task._repr_markdown_()


def test_lesson_01_by_hand() -> None:
    def h(p: float) -> float:
        return -p * math.log2(p) - (1 - p) * math.log2(1 - p)

    stored = h(0.6) + 0.6 * math.log2(9) - h(0.05) - 0.05 * math.log2(9)
    assert fano_bound.bits_behind_five_percent.solve() == pytest.approx(stored)
    assert h(fano_bound.two_classes.solve()) == pytest.approx(h(0.3) - 0.5)
    # The sharp bound of a biased coin: H(p) - H(r).
    assert fano_bound.flipped_labels.solve() == pytest.approx(h(0.3) - h(0.1))
    by_fano = bounds.memorized_information(0.1, bounds.label_entropy(noise.flip(0.3, 10)), 10)
    assert fano_bound.flipped_labels.check(float(by_fano)).correct is False


def test_the_predictors_exercise_takes_limits_own_distances() -> None:
    s, r, y = torch.tensor([[[0.7, 0.2, 0.1]], [[0.1, 0.8, 0.1]], [[0.0, 1.0, 0.0]]])
    asked = exercises.what_the_predictor_misses
    assert asked.solve() == pytest.approx(float(LIMIT(q="laplace").distance(s - r, s - y)))
    assert "squared distance" in str(asked.check(float(LIMIT(q="gaussian").distance(s - r, s - y))))


def test_lesson_04_by_counting() -> None:
    digits = data.load("digits")
    counts: defaultdict[tuple[bool, ...], Counter[int]] = defaultdict(Counter)
    for (image,), label in zip(digits.train_images.tolist(), digits.train_labels.tolist(), strict=True):
        sums = [sum(sum(line[x : x + 4]) for line in image[y : y + 4]) for y in (0, 4) for x in (0, 4)]
        counts[tuple(one > 80 * 16 for one in sums)][label] += 1
    assert len(counts) == 16
    each = [(votes.total(), [n / votes.total() for n in votes.values()]) for votes in counts.values()]
    entropies = [(n, -sum(q * math.log2(q) for q in shares)) for n, shares in each]
    expected = sum(n * bits for n, bits in entropies) / 1500
    task = exercises.noise_without_a_wrong_label
    assert task.solve() == pytest.approx(expected)
    assert "weigh the sixteen" in str(task.check(sum(bits for _, bits in entropies) / 16))
    assert "H(y)" in str(task.check(3.32))
    # Laplace noise of variance 1 has the entropy 1 + ln(2/√2) nats, a Gaussian ½ ln(2πe).
    gap = math.log(2 * math.pi * math.e) / 2 - 1 - math.log(math.sqrt(2))
    assert exercises.what_laplace_noise_adds.solve() == pytest.approx(10 * gap / math.log(2))


def test_lesson_05_by_another_library() -> None:
    # KL[N(1, 1/4) || N(0, 1)]
    code, prior = torch.distributions.Normal(1.0, 0.5), torch.distributions.Normal(0.0, 1.0)
    charged = float(torch.distributions.kl_divergence(code, prior))
    assert metainfonet.one_number_through_the_bottleneck.solve() == pytest.approx(charged)


@exercise(tolerance=0.001, unit="as a fraction", slips={"you cut a half in half once more": lambda: 0.125})
def quarter() -> float:
    """How much is a quarter?

    Hint: Less than a half.

    Hint: Half of a half.

    In words: One of four equal parts.
    """
    return 0.25


def test_verdicts_help() -> None:
    assert quarter.check(None).correct is None
    assert "Replace `None`" in quarter.check(None)._repr_markdown_()
    assert "in percent" in str(quarter.check(25))
    assert "share of the others" in str(quarter.check(0.75))
    assert "in half once" in str(quarter.check("1/8"))
    assert "too large" in str(quarter.check(0.4))
    assert "too small" in str(quarter.check("10%"))
    assert "not a number" in str(quarter.check(math.nan))
    assert "one number" in str(quarter.check("a lot"))
    for answer in (25, 0.4, math.nan, "a lot", 0.125):
        assert "0.25 " not in str(quarter.check(answer))


def test_hints_say_more_one_after_the_other() -> None:
    assert "Less than a half" in str(quarter.hint()) and "hint(2)" in str(quarter.hint())
    assert "Half of a half" in str(quarter.hint(2)) and "hint(3)" not in str(quarter.hint(2))
    for number in (0, 3, -1, "two", None):
        assert "solution" in str(quarter.hint(number))  # type: ignore[arg-type]
    assert "One of four equal parts." in str(quarter.solution())


def test_a_hint_stands_below_what_check_said() -> None:
    quarter.check(0.5)
    assert str(quarter.hint()).startswith("❌") and "Less than a half" in str(quarter.hint())
    quarter.check("25%")
    assert str(quarter.solution()).startswith("✅") and "**Answer:**" in str(quarter.solution())
    quarter.check(None)
    assert str(quarter.hint()).startswith("💡")


def test_a_percentage_without_its_sign_is_told_so() -> None:
    assert 'if you mean 19%, write `"19%"`' in str(quarter.check(19))


@pytest.mark.parametrize("name", ALL)
def test_every_exercise_has_a_hint_words_and_a_stated_precision(name: str) -> None:
    task = ALL[name]
    assert task.hints and "In words" not in task.question + "".join(task.hints)
    assert f"to within {task.tolerance:g}" in task._repr_markdown_()
    words, _, _ = str(task.solution()).partition("```python")
    assert len(words.split()) > 5


@pytest.mark.parametrize("name", ALL)
def test_every_usual_slip_is_named_and_is_not_the_answer(name: str) -> None:
    task = ALL[name]
    right, seen = task.solve(), set()
    for what, wrong in task._wrong(right):
        verdict = task.check(wrong)
        if any(abs(wrong - other) <= 2 * task.tolerance for other in (right, *seen)):
            assert what not in task.slips  # a slip of the unit only, which this exercise cannot tell apart
            continue
        seen.add(wrong)
        assert verdict.correct is False and what in str(verdict)


def test_a_unit_is_spoken_of_in_its_own_words() -> None:
    for name, task in ALL.items():
        usual = {what for unit, slips in ASKED_IN.items() if task.unit.startswith(unit) for what in slips}
        for factor in (100, 0.01, math.log(2)):
            said = str(task.check(task.solve() * factor))
            assert ("percent" in said) <= any("percent" in what for what in (*usual, *task.slips)), name


NUMBERS = st.decimals(min_value=0, max_value=10**7, places=3)


@given(NUMBERS)
def test_a_number_is_read_in_every_way_it_is_written(number) -> None:
    value = float(number)
    english, german = f"{number:,}", f"{number:,}".translate(str.maketrans(",.", ".,"))
    written = [f"{number}", f" {number} ", f"{number}".replace(".", ","), f"{english} bits", german]
    written += [f"{100 * number}%", f"{100 * number} %".replace(".", ","), german.replace(".", " "), value]
    for text in written:
        assert any(math.isclose(one, value, abs_tol=1e-12) for one in readings(text)), text
    assert any(math.isclose(one, -value, abs_tol=1e-12) for one in readings(f"−{number}"))


@given(st.integers(-999, 999), st.integers(1, 999))
def test_a_quotient_is_read_as_one(above: int, below: int) -> None:
    assert math.isclose(readings(f"{above} / {below}")[0], float(Fraction(above, below)), abs_tol=1e-15)


class Awkward:
    def __float__(self) -> float:
        raise RuntimeError("no")


@given(st.text() | st.binary() | st.complex_numbers() | st.lists(st.integers()) | st.floats() | st.booleans())
def test_no_answer_raises(answer: object) -> None:
    for given_answer in (answer, Awkward(), "1/0", "0/0", "," * 40, "1" * 5000):
        assert quarter.check(given_answer).correct in (True, False)


# Progress.


def test_progress_is_kept_beside_the_notebooks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("LNLIB_PROGRESS")
    monkeypatch.chdir(tmp_path)
    fano_bound.two_classes.check(None)
    assert not list(tmp_path.iterdir())  # a lesson that is only read leaves nothing
    fano_bound.two_classes.check(0.3)
    fano_bound.flipped_labels.check(0.3)
    fano_bound.two_classes.check(fano_bound.two_classes.solve())
    fano_bound.two_classes.check(0.3)  # what is solved stays solved
    kept = json.loads((tmp_path / "my-progress.json").read_text())
    assert kept["fano_bound"]["two_classes"] == {"right": True, "tries": 3}
    row = next(line for line in str(my_progress()).splitlines() if "the Fano bound" in line)
    assert "1 of 3" in row and "`flipped_labels`" in row and "two_classes" not in row


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"fano_bound": 1}', b'{"fano_bound": {"two_classes": 3}}', b"\xff"]
)
def test_a_damaged_progress_file_is_begun_again(content: bytes, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "own.json"
    path.write_bytes(content)
    monkeypatch.setenv("LNLIB_PROGRESS", str(path))
    assert "0 of 3" in str(my_progress())
    fano_bound.two_classes.check(fano_bound.two_classes.solve())
    assert "1 of 3" in str(my_progress())


def test_where_nothing_can_be_written_the_lesson_goes_on(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LNLIB_PROGRESS", str(tmp_path / "file" / "x.json"))  # a file is no folder
    assert fano_bound.two_classes.check(0.3).correct is False
    assert progress.read() == {}
    with pytest.raises(AttributeError, match="no exercise 'two_clases'"):
        _ = exercises.two_clases
