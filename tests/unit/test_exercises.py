"""Exercises: the check and the shown solution are the same computation."""

import math

import pytest

from lnlib import bounds, noise
from lnlib.course import exercises
from lnlib.course.exercises import Exercise, exercise

ALL = {name: value for name, value in vars(exercises).items() if isinstance(value, Exercise)}


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
    namespace = dict(vars(exercises))
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
    assert exercises.bits_behind_five_percent.solve() == pytest.approx(stored)
    assert h(exercises.two_classes.solve()) == pytest.approx(h(0.3) - 0.5)
    # The sharp bound of a biased coin: H(p) - H(r).
    assert exercises.flipped_labels.solve() == pytest.approx(h(0.3) - h(0.1))
    by_fano = bounds.memorized_information(0.1, bounds.label_entropy(noise.flip(0.3, 10)), 10)
    assert exercises.flipped_labels.check(float(by_fano)).correct is False


@exercise(tolerance=0.001, unit="as a fraction")
def quarter() -> float:
    """How much is a quarter?"""
    return 0.25


def test_verdicts_help() -> None:
    assert quarter.check(None).correct is None
    assert "Replace `None`" in quarter.check(None)._repr_markdown_()
    assert "fractions here, not percent" in str(quarter.check(25))
    assert "in nats" in str(quarter.check(0.25 * math.log(2)))
    assert "too large" in str(quarter.check(0.4))
    assert "too small" in str(quarter.check(0.1))
    assert "not a number" in str(quarter.check(math.nan))
    assert "one number" in str(quarter.check("a lot"))  # type: ignore[arg-type]
    for answer in (25, 0.4, math.nan, "a lot"):
        assert "0.25 " not in str(quarter.check(answer))  # type: ignore[arg-type]
    assert quarter.check("0.25").correct is True  # type: ignore[arg-type]
