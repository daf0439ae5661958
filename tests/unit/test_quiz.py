"""Quizzes: what is refused, how they show themselves, and what Moodle's import reads of them."""

import html
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnlib import bounds, noise
from lnlib.course import quiz
from lnlib.course.lessons import LESSONS
from lnlib.course.plots.showing import PICTURES
from lnlib.course.quiz import Answer, Question, Quiz
from lnlib.errors import LnlibError

RIGHT = Answer("$1 < 2$ & more", right=True, why="So it is: $a_{1} = 2$.")
QUESTION = Question("Which `code`?", (Answer("one", why="No."), RIGHT, Answer("three", why="Nor this.")))
QUIZ = Quiz("mine", (QUESTION,) * 5)


@pytest.fixture(params=LESSONS)
def lesson(request) -> Quiz:
    return quiz.of_lesson(request.param)


# The data.


def texts(one: Quiz) -> list[str]:
    answers = [answer for question in one.questions for answer in question.answers]
    return [question.text for question in one.questions] + [
        text for answer in answers for text in (answer.text, answer.why)
    ]


def test_each_lesson_asks_five_different_questions_each_answer_with_its_own_explanation(lesson) -> None:
    assert len({question.text for question in lesson.questions}) == 5
    for question in lesson.questions:
        assert len({answer.why for answer in question.answers}) == len(question.answers) in (3, 4)
        assert sum(answer.right for answer in question.answers) == 1


def test_the_right_answer_does_not_stand_in_one_place(lesson) -> None:
    places = [[answer.right for answer in question.answers].index(True) for question in lesson.questions]
    assert len(set(places)) >= 3


def test_explanations_have_two_sentences_at_most(lesson) -> None:
    for question in lesson.questions:
        for answer in question.answers:
            assert len(re.findall(r"[.?!](?= |$)", answer.why.replace("eq. ", "eq "))) in (1, 2), answer.why


def test_texts_hold_no_markup_but_formulas_and_code(lesson) -> None:
    for text in texts(lesson):
        assert text.count("$") % 2 == 0 and text.count("`") % 2 == 0, text
        assert not set("*_<>[]#") & set(re.sub(r"\$[^$]*\$|`[^`]*`", "", text)), text


def test_the_numbers_are_those_that_the_library_computes() -> None:
    def says(lesson: str, *numbers: str) -> None:
        said = " ".join(texts(quiz.of_lesson(lesson)))
        assert not [number for number in numbers if number not in said], lesson

    entropy = bounds.uniform_label_entropy
    nine = 0.2 * np.log2(9)
    says(
        "bits", f"$H(0.1) = {bounds.binary_entropy(0.1):.3f}$", f"$H(0.2) = {bounds.binary_entropy(0.2):.2f}$"
    )
    says("bits", f"\\log_2 9 = {nine:.2f}$", f"\\log_2 9 = {bounds.binary_entropy(0.2) + nine:.2f}$")
    symmetric = 1 - noise.symmetric(0.4, 10).diagonal().mean()
    says("start_here", f"40% in LIMIT, {symmetric:.0%} in MetaInfoNet")
    says("fano_bound", f"= {entropy(0.9, 10):.2f}$ bits", f"= {entropy(1.0, 10):.2f}$ bits")
    b, a = (float(bounds.memorized_information(0.05, entropy(p, 10), 10)) for p in (0.8, 0.2))
    assert 3 < b / a < 3.2
    says(
        "fano_bound",
        f"{b:.1f} against {a:.1f}",
        f"{entropy(0.2, 10):.2f} bits for A and {entropy(0.8, 10):.2f}",
    )
    flip = float(bounds.label_entropy(noise.flip(0.4, 10)))
    says("fano_bound", f"{flip:.2f} bits", f"at least {bounds.r0(flip, 0, 10):.0%} errors")
    read = [(score - 0.5 / 9) / (0.5 - 0.5 / 9) for score in (0.48, 0.30)]  # the score solved for a
    says(
        "memorization",
        "about {:.0%} of the images correctly, B about {:.0%}".format(
            *np.floor(100 * np.array(read) + 1e-9) / 100
        ),
    )
    bits = 0.3**2 / (2 * 0.5**2 * np.log(2))
    assert np.isclose(bounds.generalization_bound(bits, 1, sigma=0.5), 0.3)
    says("generalization", f"At least {bits:.2f} bits", f"= {bounds.generalization_bound(0.05, 1, 0.5):.2f}$")
    says("class_imbalance", "{}, {} and {}".format(*noise.long_tailed_sizes(1000, 3, 100)))


# What is refused.


def test_an_unknown_lesson_is_refused_with_the_nearest() -> None:
    with pytest.raises(LnlibError, match="unknown quiz 'fano': did you mean 'fano_bound'"):
        quiz.of_lesson("fano")
    with pytest.raises(LnlibError, match="unknown quiz"):
        quiz.of_lesson("../quizzes/limit")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Answer("yes", True, " "), "why of the answer 'yes' must say something"),
        (lambda: Answer("", True, "So."), "text of the answer '' must say something"),
        (lambda: Answer("yes", 1, "So."), "right must be True or False, got 1"),
        (lambda: Question("", QUESTION.answers), "text of a question must say something"),
        (lambda: Question("Q", QUESTION.answers[:2]), "answers of 'Q' must be three or four, got 2"),
        (lambda: Question("Q", QUESTION.answers * 2), "must be three or four, got 6"),
        (lambda: Question("Q", (RIGHT, RIGHT, QUESTION.answers[0])), "must differ"),
        (
            lambda: Question("Q", tuple(replace(answer, right=False) for answer in QUESTION.answers)),
            "must hold exactly one that is right, got 0",
        ),
        (
            lambda: Question("Q", tuple(replace(answer, right=True) for answer in QUESTION.answers)),
            "must hold exactly one that is right, got 3",
        ),
        (lambda: Quiz("mine", (QUESTION,) * 4), "questions of mine must be five, got 4"),
        (lambda: quiz.read("mine", "no toml"), "the quiz of mine must be"),
        (lambda: quiz.read("mine", "[[question]]"), "the quiz of mine must be"),
        (lambda: quiz.read("mine", "[[questions]]\ntext = 'Q'\nanswers = 'A'"), "the quiz of mine must be"),
        (
            lambda: quiz.read("mine", "[[questions]]\ntext = 'Q'\n[[questions.answers]]\nwhat = 'A'"),
            "unknown argument of Answer 'what'",
        ),
    ],
)
def test_bad_data_is_refused_in_a_sentence(make, said) -> None:
    with pytest.raises(LnlibError, match=re.escape(said)) as refused:
        make()
    assert "\n" not in str(refused.value)


# In a notebook.


def test_a_choice_brings_its_explanation_and_may_be_changed() -> None:
    rows = quiz.widget(QUIZ).children
    asked, buttons, line = rows[:3]
    assert (
        len(rows) == 16
        and "<code>code</code>" in asked.value
        and "<li>$1 &lt; 2$ &amp; more</li>" in asked.value
    )
    assert buttons.options == ("A", "B", "C") and buttons.value is None and line.value == ""
    buttons.value = "A"
    assert "✗ Not so. No." in line.value and rows[-1].value == "0 of 5 right"
    buttons.value = "B"
    assert "✓ Right. So it is: $a_{1} = 2$." in line.value and rows[-1].value == "1 of 5 right"
    for buttons in rows[4:-1:3]:
        buttons.value = "B"
    assert rows[-1].value == "5 of 5 right, all answered"


def test_each_answer_of_each_lesson_shows_its_own_explanation(lesson) -> None:
    rows = quiz.widget(lesson).children
    for question, buttons, line in zip(lesson.questions, rows[1:-1:3], rows[2:-1:3], strict=True):
        for letter, answer in zip("ABCD", question.answers, strict=False):
            buttons.value = letter
            assert html.escape(answer.why.split("`")[0], quote=False) in line.value
            assert ("✓" in line.value) == answer.right


def test_a_saved_page_folds_the_explanations(monkeypatch) -> None:
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    monkeypatch.setenv(PICTURES, "1")
    QUIZ._ipython_display_()
    assert set(shown[0]) == {"text/plain", "text/markdown"}
    page = shown[0]["text/markdown"]
    assert page.count("<details>") == page.count("</details>") == 5
    assert (
        page.count("- **B** $1 < 2$ & more\n") == 5
        and page.count("- **B** Right. So it is: $a_{1} = 2$.\n") == 5
    )
    monkeypatch.delenv(PICTURES)
    QUIZ._ipython_display_()
    assert "application/vnd.jupyter.widget-view+json" in shown[1] and "5 questions" in shown[1]["text/plain"]


# In Moodle.


def moodle(text: str) -> list[tuple[str, str, list[tuple[bool, str, str]]]]:
    """What an import of GIFT reads, one character after the other: name, question and answers, each answer
    with whether it is right and its feedback. Formulas stay as Moodle's MathJax filter gets them.
    """
    found, fields, place = [], [""], 0
    marks: list[str] = []  # the control character before each field
    lines = [line for line in text.splitlines() if not line.startswith(("//", "$CATEGORY:"))]
    text = "\n".join(lines)
    while place < len(text):
        character = text[place]
        if character == "\\" and text[place + 1] in "\\~=#{}:":
            place += 1
            fields[-1] += text[place]
        elif text.startswith("::", place):
            place += 1
            marks.append("::")
            fields.append("")
        elif character in "{~=#":
            marks.append(character)
            fields.append("")
        elif character == "}":
            blank, name, asked, none, *rest = map(_plain, fields)
            assert (blank, none) == ("", "") and marks[:3] == ["::", "::", "{"], fields
            assert marks[4::2] == ["#"] * (len(rest) // 2) and set(marks[3::2]) <= {"~", "="}
            answers = zip((mark == "=" for mark in marks[3::2]), rest[::2], rest[1::2], strict=True)
            found.append((name, asked, list(answers)))
            fields, marks = [""], []
        else:
            assert character != ":", "a colon that is not escaped"
            fields[-1] += character
        place += 1
    assert not "".join(fields).strip()
    return found


def _plain(field: str) -> str:
    field = field.strip()
    if field.startswith("[html]"):
        field = html.unescape(re.sub("</?code>", "", field.removeprefix("[html]")))
    return field


def spoken(text: str) -> str:
    """A text as it is to arrive in Moodle."""
    text = " ".join(text.replace("`", "").split())
    return re.sub(r"\$([^$]*)\$", r"\\(\1\\)", text)


def arrives(one: Quiz) -> None:
    read = moodle(one.gift())
    assert [name for name, *_ in read] == [f"{one.lesson} {number}" for number in range(1, 6)]
    for question, (_, asked, answers) in zip(one.questions, read, strict=True):
        assert asked == spoken(question.text)
        assert answers == [
            (answer.right, spoken(answer.text), spoken(answer.why)) for answer in question.answers
        ]


def test_moodle_reads_each_quiz_as_it_is(lesson) -> None:
    arrives(lesson)
    assert lesson.gift().startswith(f"$CATEGORY: lnlib/{lesson.lesson}\n\n::")


def test_formulas_and_code_are_written_for_moodle() -> None:
    line = QUIZ.gift().splitlines()[4]
    assert line == (r"	=[html]\\(1 &lt; 2\\) &amp; more#[html]So it is\: \\(a_\{1\} \= 2\\).")
    assert "[html]Which <code>code</code>?{" in QUIZ.gift()


SPECIAL = st.text(st.sampled_from("~=#{}:\\/%->[]<>&;n 0é\t\n\"'")) | st.text(
    st.characters(exclude_characters="$`", codec="utf-8")
)
SAID = SPECIAL.filter(str.strip)


@given(st.lists(st.tuples(SAID, SAID), min_size=3, max_size=4, unique_by=lambda pair: pair[0]), SAID)
def test_any_characters_arrive_in_moodle(pairs, text) -> None:
    answers = tuple(Answer(said, place == 1, why) for place, (said, why) in enumerate(pairs))
    arrives(Quiz("any", (Question(text, answers),) * 5))
