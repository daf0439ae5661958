"""How the lessons are saved: run, small, without widget state, readable as pictures, and of one skeleton."""

import html
import json
import re
import warnings

import nbformat
import pytest
from nbconvert import HTMLExporter

from lnlib.course.plots.showing import FIGURE, PLOTLY
from tests.lesson_rules import CORE, DEEPER, EXERCISES, asked, faults, own_cells

LESSONS = [*CORE, *DEEPER]
WIDGET = "application/vnd.jupyter.widget-view+json"
IMAGE = re.compile(r'<img alt="([^"]*)" style="max-width:100%" src="data:image/png;base64,[^"]+">')


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_course_has_its_lessons():
    numbers = [path.name.partition("_")[0] for path in CORE]
    assert numbers == ["00", "00b", *(f"{number:02d}" for number in range(1, len(CORE) - 1))]
    assert {path.name.partition("_")[0] for path in DEEPER} <= {*numbers}


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_keeps_to_its_rules(path):
    assert list(faults(path)) == []


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_is_saved_with_the_threads_for_which_its_prose_was_written(path):
    lines = re.findall(r"device: (.*?) ·", path.read_text(encoding="utf-8"))
    assert set(lines) == {"CPU, 1 thread"}


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lessons_are_small(path):
    assert path.stat().st_size < 500_000


def test_lessons_are_saved_as_run_from_top_to_bottom(lesson):
    counts = [cell.execution_count for cell in code_cells(lesson)]
    assert counts == list(range(1, len(counts) + 1))
    kinds = {output.output_type for cell in code_cells(lesson) for output in cell.outputs}
    assert "error" not in kinds
    assert "widgets" not in lesson.metadata
    nbformat.validate(lesson)


def bundles(notebook):
    return [output.data for cell in code_cells(notebook) for output in cell.outputs if "data" in output]


def test_every_figure_is_a_picture_with_alternative_text_and_its_data(lesson):
    figures = [bundle for bundle in bundles(lesson) if FIGURE in bundle]
    assert figures
    for bundle in figures:
        (alt,) = IMAGE.findall(bundle["text/html"])
        assert len(alt) > 30 and bundle[FIGURE]["data"]
        assert len(html.unescape(alt)) == len(bundle["text/plain"])
    assert not [bundle for bundle in bundles(lesson) if {WIDGET, PLOTLY, "image/png"} & set(bundle)]


def test_a_lab_that_was_not_run_is_a_picture_and_a_line_that_says_what_to_do(lesson):
    shown = [cell for cell in code_cells(lesson) if cell.source.splitlines()[-1] == "lab"]
    for cell in shown:
        picture, line = (output.data for output in cell.outputs)
        assert IMAGE.fullmatch(picture["text/html"])
        assert line["text/markdown"] == "*A still picture. Run this cell to move the sliders.*"
    assert "VBox(" not in json.dumps(bundles(lesson))


def test_a_lesson_as_a_page_lacks_no_alternative_text(lesson, caplog):
    with caplog.at_level("WARNING"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nbconvert's own making
        page, _ = HTMLExporter().from_notebook_node(lesson)
    assert "<img alt=" in page
    assert "lternative text is missing" not in caplog.text
    assert "No description has been provided" not in page


def test_the_first_cell_names_device_data_and_budget(lesson):
    text = "".join(output.get("text", "") for output in own_cells(lesson)[0].outputs)
    assert all(word in text for word in ("device: ", "data: ", "budget: "))


def test_cells_are_short_and_prose_is_at_least_as_long_as_code(lesson):
    code = [cell.source for cell in own_cells(lesson)]
    assert max(len(source.splitlines()) for source in code) <= 14
    prose = "".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown")
    assert len(prose) >= sum(map(len, code))


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_a_lesson_of_the_course_has_its_exercises(path):
    wanted = 1 if path.stem == "00_start_here" else EXERCISES
    assert len(asked(nbformat.read(path, as_version=4))) == wanted


def test_lessons_follow_one_skeleton(lesson):
    prose = "\n".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown")
    for part in ("You will be able to", "Time", "Predict", "## Summary", "disagree", "## References"):
        assert part.lower() in prose.lower(), part
    assert prose.count("<details>") == prose.count("</details>") > 0
