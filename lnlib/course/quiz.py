"""The quizzes: five questions a lesson, to choose from, each answer with its explanation.

They lie as data in `quizzes/`, one TOML file a lesson. Texts are plain, but for formulas, $p\\log_2 9$, and
`code`. A quiz shows itself in a notebook, reads as Markdown on a page without a kernel, and goes to Moodle as
GIFT. Nothing is sent anywhere.
"""

import html
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

import ipywidgets as widgets

from lnlib.checks import checked, refusal
from lnlib.course import plots
from lnlib.course.lessons import LESSONS
from lnlib.errors import InvalidValue, shown, unknown_name

LETTERS = "ABCD"
QUESTIONS = 5
CODE = re.compile(r"`([^`]*)`")
FORMULA = re.compile(r"\$([^$]*)\$")
CONTROL = re.compile(r"[\\~=#{}:]")
"""What GIFT takes for its own, unless a backslash stands before it."""


@checked
@dataclass(frozen=True)
class Answer:
    """One to choose, and why it is right or wrong."""

    text: str = ""
    right: bool = False
    why: str = ""

    def __post_init__(self) -> None:
        for name, value in (("text", self.text), ("why", self.why)):
            _say_something(f"{name} of the answer {shown(self.text)}", value)

    @property
    def verdict(self) -> str:
        """Whether it is right, and why."""
        return f"{'Right' if self.right else 'Not so'}. {self.why}"


@dataclass(frozen=True)
class Question:
    """What is asked, with three or four answers, one of which is right."""

    text: str
    answers: tuple[Answer, ...]

    def __post_init__(self) -> None:
        _say_something("text of a question", self.text)
        about = f"answers of {shown(self.text)}"
        if not 3 <= len(self.answers) <= len(LETTERS):
            raise refusal(about, "be three or four", len(self.answers), "add or drop some")
        if len({answer.text for answer in self.answers}) < len(self.answers):
            raise InvalidValue(f"{about} must differ, got one of them twice; reword it")
        if (right := sum(answer.right for answer in self.answers)) != 1:
            raise refusal(about, "hold exactly one that is right", right, "set right=true in one of them")

    @property
    def lettered(self) -> Iterator[tuple[str, Answer]]:
        """Its answers with their letters."""
        return zip(LETTERS, self.answers, strict=False)


@dataclass(frozen=True)
class Quiz:
    """Five questions about a lesson, which is named as the module of its exercises: "fano_bound"."""

    lesson: str
    questions: tuple[Question, ...]

    def __post_init__(self) -> None:
        if len(self.questions) != QUESTIONS:
            way_out = f"write {QUESTIONS}"
            raise refusal(f"questions of {self.lesson}", "be five", len(self.questions), way_out)

    def gift(self) -> str:
        """The questions as Moodle's GIFT import reads them, each answer with its feedback."""
        blocks = [f"$CATEGORY: lnlib/{self.lesson}"]
        for number, question in enumerate(self.questions, 1):
            answers = [
                f"\t{'=' if answer.right else '~'}{_gift(answer.text)}#{_gift(answer.why)}"
                for answer in question.answers
            ]
            head = f"::{self.lesson} {number}::{_gift(question.text)}{{"
            blocks.append("\n".join([head, *answers, "}"]))
        return "\n\n".join(blocks) + "\n"

    def markdown(self) -> str:
        """The quiz for a page without a kernel: the explanations are folded."""
        parts = []
        for number, question in enumerate(self.questions, 1):
            parts.append(f"**{number}.** {_line(question.text)}\n")
            parts += [f"- **{letter}** {_line(answer.text)}" for letter, answer in question.lettered]
            parts.append("\n<details><summary>Answers</summary>\n")
            parts += [f"- **{letter}** {_line(answer.verdict)}" for letter, answer in question.lettered]
            parts.append("</details>\n")
        return "\n".join(parts)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        plain = f"A quiz: {QUESTIONS} questions. Run the lesson in JupyterLab to answer them."
        bundle: dict[str, Any] = {"text/plain": plain}
        if plots.for_pages():
            bundle["text/markdown"] = self.markdown()
        else:
            bundle = widget(self)._repr_mimebundle_() | bundle
        display(bundle, raw=True)  # type: ignore[no-untyped-call]


def of_lesson(lesson: str) -> Quiz:
    """The quiz of a lesson, as in `quiz.of_lesson("fano_bound")`; `LESSONS` names them all."""
    if lesson not in LESSONS:
        raise unknown_name("quiz", lesson, LESSONS)
    text = files("lnlib").joinpath("course", "quizzes", f"{lesson}.toml").read_text(encoding="utf-8")
    return read(lesson, text)


def read(lesson: str, text: str) -> Quiz:
    """A quiz from the text of a TOML file: [[questions]] with `text`, and in each [[questions.answers]] with
    `text`, `why` and, in the right one, `right = true`.
    """
    try:
        asked = tomllib.loads(text)["questions"]
        found = [(one["text"], [Answer(**answer) for answer in one["answers"]]) for one in asked]
    except (KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise InvalidValue(
            f"the quiz of {lesson} must be [[questions]] with text and [[questions.answers]], got {error!r}; "
            "see lnlib/course/quizzes"
        ) from None
    return Quiz(lesson, tuple(Question(text, tuple(answers)) for text, answers in found))


def widget(quiz: Quiz) -> widgets.VBox:
    """The quiz with a button for each answer; its explanation appears when it is chosen."""
    score = widgets.HTML()
    chosen: dict[int, Answer] = {}

    def choose(number: int, line: Any, change: Any) -> None:
        answer = quiz.questions[number].answers[LETTERS.index(change["new"])]
        chosen[number] = answer
        sign = "✓" if answer.right else "✗"
        line.value = f'<div role="status" style="line-height:1.5">{sign} {_html(answer.verdict)}</div>'
        right = sum(answer.right for answer in chosen.values())
        score.value = f"{right} of {QUESTIONS} right" + (", all answered" * (len(chosen) == QUESTIONS))

    rows = []
    for number, question in enumerate(quiz.questions):
        choices = "".join(f"<li>{_html(answer.text)}</li>" for answer in question.answers)
        asked = f"<b>{number + 1}.</b> {_html(question.text)}"
        asked += f'<ol type="A" style="margin:4px 0">{choices}</ol>'
        asked = f'<div style="line-height:1.5;margin-top:12px">{asked}</div>'
        buttons = widgets.ToggleButtons(
            options=tuple(letter for letter, _ in question.lettered),
            tooltips=tuple(answer.text for answer in question.answers),
            value=None,
            description=f"Answer {number + 1}",
            style={"button_width": "48px"},
        )
        line = widgets.HTMLMath()
        buttons.observe(partial(choose, number, line), "value")
        rows += [widgets.HTMLMath(asked), buttons, line]
    return widgets.VBox([*rows, score])


def _say_something(name: str, text: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise refusal(name, "say something", text, "write a sentence or two")


def _line(text: str) -> str:
    return " ".join(text.split())


def _html(text: str, formula: Callable[[str], str] = "${}$".format) -> str:
    """A text as HTML, its formulas as told."""
    escaped = CODE.sub(r"<code>\1</code>", html.escape(_line(text), quote=False))
    return FORMULA.sub(lambda found: formula(found[1]), escaped)


def _gift(text: str) -> str:
    """A text as GIFT writes it; its format is named, as Moodle's own would take < for a tag."""
    return "[html]" + CONTROL.sub(r"\\\g<0>", _html(text, r"\({}\)".format))
