"""How the lessons are saved: run, small, without widget state, readable as pictures, and of one skeleton."""

from pathlib import Path

import nbformat
import pytest

LESSONS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
PLOTLY = "application/vnd.plotly.v1+json"


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_course_has_its_lessons():
    assert [path.name[:2] for path in LESSONS] == [f"{number:02d}" for number in range(len(LESSONS))]
    assert len(LESSONS) >= 3


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


def test_every_figure_has_a_picture_for_pages_that_show_no_plotly(lesson):
    bundles = [output.data for cell in code_cells(lesson) for output in cell.outputs if "data" in output]
    figures = [bundle for bundle in bundles if PLOTLY in bundle]
    assert figures
    assert all("image/png" in bundle for bundle in figures)


def test_the_first_cell_names_device_data_and_budget(lesson):
    text = "".join(output.get("text", "") for output in code_cells(lesson)[0].outputs)
    assert all(word in text for word in ("device: ", "data: ", "budget: "))


def test_cells_are_short_and_prose_is_at_least_as_long_as_code(lesson):
    code = [cell.source for cell in code_cells(lesson)]
    assert max(len(source.splitlines()) for source in code) <= 14
    prose = "".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown")
    assert len(prose) >= sum(map(len, code))


def test_lessons_follow_one_skeleton(lesson):
    prose = "\n".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown")
    for part in (
        "You will be able to",
        "Time",
        "Predict",
        "Exercise",
        "## Summary",
        "disagree",
        "## References",
    ):
        assert part.lower() in prose.lower(), part
    assert prose.count("<details>") == prose.count("</details>") > 0
    sources = "\n".join(cell.source for cell in code_cells(lesson))
    assert "exercises." in sources
