"""What a lesson's cells show on the site: figures to hover over, labs, predictions, quizzes and hints that
answer without a kernel.
"""

import ast
import html
import json
import re
from collections.abc import Callable
from typing import Any

from nbformat import NotebookNode

from lnlib.course import exercises, quiz
from lnlib.course.plots.showing import FIGURE
from website.labs import lab_of

Data = dict[str, Any]
UNSAID = re.compile(r"\*\*Your prediction\.\*\* (It is (.*))\. You made no prediction\.$", re.S)
"""What a saved lesson shows where a reader's prediction is answered: the truth, in words."""


def enliven(book: NotebookNode) -> None:
    """Replace what the outputs of a saved lesson show by what works in a page without a kernel."""
    for cell in book.cells:
        if cell.cell_type != "code":
            continue
        for kind, change in CHANGES:
            if kind.search(cell.source):
                change(cell)
        for output in cell.outputs:
            if FIGURE in output.get("data", {}):
                output["data"] = {"text/html": figure(output["data"])}
    book.metadata.pop("widgets", None)


def figure(data: Data) -> str:
    """A figure's data as `site.js` draws them, with the picture for who reads without JavaScript."""
    content = {part: data[FIGURE][part] for part in ("data", "layout")}
    layout = content["layout"]
    axes = [axis for name, axis in layout.items() if name[1:5] == "axis"]
    drawing = bool(axes) and all(axis.get("visible") is False for axis in axes)
    height = layout.get("height") or layout.get("template", {}).get("layout", {}).get("height", 430)
    alt = html.escape(data.get("text/plain", ""))
    packed = json.dumps(content, separators=(",", ":")).replace("</", "<\\/")
    return (
        f'<div class="lnlib-figure{" lnlib-drawing" if drawing else ""}" role="img" aria-label="{alt}" '
        f'style="height:{height}px"><script type="application/json">{packed}</script>'
        f"<noscript>{data.get('text/html', '')}</noscript></div>"
    )


def lab(name: str) -> str:
    """A place for a lab's page."""
    return (
        f'<div class="lnlib-lab" data-lab="{name}">'
        '<form class="lnlib-controls" onsubmit="return false"></form>'
        '<div class="lnlib-place"></div><noscript>This lab needs JavaScript.</noscript></div>'
    )


def _lab(cell: NotebookNode) -> None:
    name = lab_of(cell.source)
    shown = [output for output in cell.outputs if output.output_type == "display_data"]
    shown[0]["data"] = {"text/html": lab(str(name))}
    for still in shown[1:]:
        cell.outputs.remove(still)


def _quiz(cell: NotebookNode) -> None:
    (lesson,) = re.findall(r'quiz\.of_lesson\("(\w+)"\)', cell.source)
    cell.outputs[0]["data"] = {"text/markdown": questions(quiz.of_lesson(lesson))}


def questions(asked: quiz.Quiz) -> str:
    """A quiz in Markdown: each answer opens to say whether it is right, and closes the others."""
    parts = ['<div class="lnlib-quiz">\n']
    for number, question in enumerate(asked.questions, 1):
        parts.append(f"**{number}.** {_line(question.text)}\n")
        for letter, answer in question.lettered:
            marks = f'data-kind="{"right" if answer.right else "wrong"}" name="{asked.lesson}-{number}"'
            parts.append(
                f'<details class="lnlib-answer" {marks}><summary>\n\n'
                f"**{letter}** {_line(answer.text)}\n\n</summary>\n\n{_line(answer.verdict)}\n\n</details>\n"
            )
    parts.append('<p class="lnlib-score" role="status"></p></div>\n')
    return "\n".join(parts)


def _line(text: str) -> str:
    return " ".join(text.split())


def _prediction(cell: NotebookNode) -> None:
    for node in ast.walk(ast.parse(cell.source)):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and isinstance(node.targets[0], ast.Name)
            and ast.unparse(node.value.func) in ("predict.number", "predict.choice")
        ):
            shown = next(
                out for out in cell.outputs if "A prediction:" in out.get("data", {}).get("text/plain", "")
            )
            shown["data"] = {"text/html": place_to_predict(node.targets[0].id, node.value)}


def place_to_predict(name: str, call: ast.Call) -> str:
    """Where a reader says what they expect: a slider, buttons, or words where the choices are computed."""
    about, *more = call.args
    said = html.escape(str(ast.literal_eval(about)))
    begin = f'<form class="lnlib-predict" onsubmit="return false" data-name="{name}" data-about="{said}"'
    try:
        values = [ast.literal_eval(one) for one in more]
    except ValueError:
        field = f'<label>{said} <input type="text" size="30"></label>'
        return f"{begin}>{field}</form>"
    if ast.unparse(call.func).endswith("choice"):
        choices = "".join(
            f'<label><input type="radio" name="{name}" value="{html.escape(one)}"> {html.escape(one)}</label>'
            for one in values[0]
        )
        return f"{begin}><fieldset><legend>{said}</legend>{choices}</fieldset></form>"
    low, high, *unit = values
    steps = f'step="{(high - low) / 100:g}" value="{(low + high) / 2}"'
    slider = f'<input type="range" min="{low}" max="{high}" {steps}> <output>no prediction yet</output>'
    return f'{begin} data-unit="{html.escape("".join(unit))}"><label>{said} {slider}</label></form>'


def _answer(cell: NotebookNode) -> None:
    name = re.findall(r"(\w+)\.answer\(", cell.source)[-1]
    for output in cell.outputs:
        if found := UNSAID.match(output.get("data", {}).get("text/markdown", "")):
            marks = f'data-name="{name}" data-truth="{html.escape(found[2])}"'
            text = (
                f'<p class="lnlib-verdict" role="status" {marks}>'
                f"<b>Your prediction.</b> <span>{html.escape(found[1])}.</span></p>"
            )
            output["data"] = {"text/html": text}


def _summary(cell: NotebookNode) -> None:
    cell.outputs[0]["data"] = {"text/html": '<ul class="lnlib-summary"></ul>'}


def _exercise(cell: NotebookNode) -> None:
    (name,) = re.findall(r"exercises\.(\w+)\.check\(", cell.source)
    exercise = getattr(exercises, name)
    folded = [(f"Hint {number}", text) for number, text in enumerate(exercise.hints, 1)]
    folded.append(("Solution", str(exercise.solution())))
    parts = [f"<details><summary>{title}</summary>\n\n{text}\n\n</details>\n" for title, text in folded]
    cell.outputs[-1]["data"] = {"text/markdown": "\n".join(parts)}


CHANGES: list[tuple[re.Pattern[str], Callable[[NotebookNode], None]]] = [
    (re.compile(r"\b\w+Lab\("), _lab),
    (re.compile(r"\bquiz\.of_lesson\("), _quiz),
    (re.compile(r"\bpredict\.(number|choice)\("), _prediction),
    (re.compile(r"\w\.answer\("), _answer),
    (re.compile(r"\bpredict\.summary\("), _summary),
    (re.compile(r"\bexercises\.\w+\.check\("), _exercise),
]
"""By what stands in a cell's source, what becomes of its outputs."""
