"""An exercise: question, check, hints and worked solution come from one function and its docstring."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from textwrap import dedent

from lnlib.course.exercises import progress
from lnlib.course.exercises.answers import readings

Slips = Mapping[str, Callable[[], float]]
"""Usual wrong answers, by what was done to get them: "you took p for 1 − p"."""
ASKED_IN: Mapping[str, Mapping[str, Callable[[float], float]]] = {
    "as a fraction": {
        "it is in percent: divide by 100, or write a % behind it": lambda right: 100 * right,
        "it is the share of the others: take it from 1": lambda right: 1 - right,
    },
    "bits": {
        "it is in nats, from the natural logarithm: divide by ln 2 to get bits": lambda right: (
            right * math.log(2)
        ),
        "it is divided by ln 2 once too often: the logarithms were to base 2 already": lambda right: (
            right / math.log(2)
        ),
    },
    "points": {"it is a fraction: a point is a hundredth": lambda right: right / 100},
    "times": {"it is the other way round: turn the quotient over": lambda right: 1 / right},
}
"""What goes wrong with each unit, whatever the question: the wrong number from the right one."""


@dataclass(frozen=True)
class Markdown:
    """Text that a notebook renders as Markdown."""

    text: str

    def __str__(self) -> str:
        return self.text

    _repr_markdown_ = __str__


@dataclass(frozen=True)
class Verdict(Markdown):
    """What `Exercise.check` thinks of an answer; `correct` is None where there is no answer yet."""

    correct: bool | None


_said: dict[str, Verdict] = {}
"""What each exercise's check said last."""


@dataclass(frozen=True, repr=False)
class Exercise:
    """A question with a number for an answer, which `solve` computes; `tolerance` is in its `unit`.

    The docstring of `solve` has the question, then paragraphs that begin with "Hint:" and one "In words:".
    """

    solve: Callable[[], float]
    tolerance: float
    unit: str
    slips: Slips = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called in Python."""
        return self.solve.__name__

    @property
    def lesson(self) -> str:
        """The lesson that asks it, by the name of its module: "fano_bound"."""
        return self.solve.__module__.rpartition(".")[2]

    @property
    def question(self) -> str:
        """What is asked."""
        return self._paragraphs("")[0]

    @property
    def hints(self) -> list[str]:
        """Each says more than the one before it."""
        return self._paragraphs("Hint:")

    def check(self, answer: object) -> Verdict:
        """Compare an answer with the computed solution: a number, or one as people write it ("12.5%", "1/8",
        "0,125"). Never raises, and never gives the solution away.
        """
        _said.pop(self.name, None)
        if answer is None:
            return Verdict("✏️ Replace `None` by your answer, then run this cell again.", None)
        verdict = _said[self.name] = self.verdict(answer)
        progress.note(self.lesson, self.name, correct=bool(verdict.correct))
        return verdict

    def verdict(self, answer: object) -> Verdict:
        """What `check` says, without a note of it in the progress."""
        numbers = readings(answer)
        if not numbers:
            shown = repr(answer)
            shown = shown if len(shown) < 40 else f"{shown[:36]} …"
            wanted = f'The answer is one number ({self.unit}), like `0.25`, `"1/4"`, `"25%"` or `"0,25"`'
            return Verdict(f"{wanted}; yours is `{shown}`.", False)
        right = float(self.solve())
        for number in numbers:
            if self._same(number, right):
                return Verdict(f"✅ Right: {_short(number)} {self.unit}.", True)
        number = numbers[0]
        what = next((what for what, wrong in self._wrong(right) if self._same(number, wrong)), "")
        if math.isnan(number):
            what = "that is not a number"
        elif not what and self.unit.startswith("as a fraction") and abs(number) > 1:
            what = f'a fraction is at most 1: if you mean {_short(number)}%, write `"{_short(number)}%"`'
        elif not what:
            what = f"it is too {'large' if number > right else 'small'}"
        more = " `.hint()` helps." if self.hints else ""
        return Verdict(f"❌ Not yet. You have {_short(number)} {self.unit}, but {what}.{more}", False)

    def hint(self, number: int = 1) -> Markdown:
        """The first hint, or a later one, which says more."""
        hints = self.hints
        if not hints or number not in range(1, len(hints) + 1):
            return Markdown(
                f"There are {len(hints) or 'no'} hints, and no hint {number!r}; see `.solution()`."
            )
        more = f" `.hint({number + 1})` says more." if number < len(hints) else ""
        return self._below_verdict(f"💡 {hints[number - 1]}{more}")

    def solution(self) -> Markdown:
        """How the answer comes about, in words and in code, and the answer."""
        source = dedent(inspect.getsource(self.solve))
        head, _, body = source[source.index("def ") :].split('"""')  # without the decorator and the question
        code = (head.rstrip() + body).rstrip()
        words = "".join(f"{text}\n\n" for text in self._paragraphs("In words:"))
        answer = f"**Answer:** {self.solve():.3g} {self.unit}"
        return self._below_verdict(f"{words}```python\n{code}\n```\n{answer}")

    def _below_verdict(self, text: str) -> Markdown:
        """A text below what `check` said last: a cell shows its last line only, which may be a hint."""
        said = _said.get(self.name)
        return Markdown(f"{said}\n\n{text}" if said else text)

    def __repr__(self) -> str:
        return f"exercises.{self.name}"

    def _repr_markdown_(self) -> str:
        return (
            f"**Exercise.** {self.question} *(one number: {self.unit}, to within {_short(self.tolerance)})*"
        )

    def _paragraphs(self, start: str) -> list[str]:
        """Those of the docstring that begin so; the question is the first of all."""
        parts = [" ".join(part.split()) for part in (self.solve.__doc__ or "").split("\n\n")]
        return [part.removeprefix(start).strip() for part in parts if part.startswith(start)]

    def _wrong(self, right: float) -> list[tuple[str, float]]:
        """Wrong answers with what was done: this exercise's own, then those of its unit."""
        own = [(what, float(wrong())) for what, wrong in self.slips.items()]
        usual = next((slips for unit, slips in ASKED_IN.items() if self.unit.startswith(unit)), {})
        return own + [(what, wrong(right)) for what, wrong in usual.items() if right]

    def _same(self, number: float, right: float) -> bool:
        # Beyond rounding: 0.251 is as near to 0.25 as 0.001 allows, whatever its last bit.
        return abs(number - right) <= self.tolerance * (1 + 1e-9)


def exercise(
    tolerance: float, unit: str, slips: Slips | None = None
) -> Callable[[Callable[[], float]], Exercise]:
    """Turn the function that computes an answer, its docstring the question, into the `Exercise`."""
    return lambda solve: Exercise(solve, tolerance, unit, slips or {})


def _short(number: float) -> str:
    return f"{number:.6g}"
