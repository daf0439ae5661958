"""The lessons as a course of nbgrader: one assignment a lesson, one point for each right answer.

An answer cell is marked as the solution, between nbgrader's own signs; the cell below it is locked, checks
the answer and ends with the points. lnlib holds the solutions, so whoever looks there finds them: these
are marks for practice, not for an examination.
"""

import re
from pathlib import PurePosixPath
from typing import Any

from nbformat import NotebookNode

from lnlib.course.exercises.exercise import Exercise
from lnlib.course.exports.copies import YOURS, cover, to_student
from lnlib.course.exports.lessons import ANSWER, CHECK, Files, Lessons, exercise_of, new_cell, written

CONFIG = f'''"""nbgrader's settings for lnlib: run `nbgrader generate_assignment NAME` in this folder."""

c = get_config()
c.CourseDirectory.course_id = "lnlib"
c.ClearSolutions.code_stub = {{"python": {YOURS!r}}}
c.ExecutePreprocessor.timeout = 1800  # lessons train
'''
SOLVED = """### BEGIN SOLUTION
answer = {right:.6g}
### END SOLUTION"""
POINTS = """from lnlib.course import exercises

verdict = exercises.{name}.check(answer)
display(verdict)
int(verdict.correct is True)  # the points"""
_LINK = re.compile(r"\]\((?:\.\./|\w+/)*(\w+)\.ipynb")


def nbgrader(lessons: Lessons) -> Files:
    """nbgrader's settings, and `source/NAME/NAME.ipynb` for each lesson."""
    from nbgrader.nbgraderformat import MetadataValidator

    first = next(iter(lessons.notebooks))
    files = {"nbgrader_config.py": CONFIG.encode()}
    for path, notebook in lessons.copies():
        folder = f"source/{path.stem}"
        for name, content in lessons.take_along(path, notebook, up=0).items():
            files[f"{folder}/{name}"] = content
        asked = {cell.id: exercise for cell in notebook.cells if (exercise := exercise_of(cell))}
        to_student(notebook, cover(PurePosixPath(path.name), first))
        notebook.cells = [part for cell in notebook.cells for part in _graded(cell, asked.get(cell.id))]
        for cell in notebook.cells:
            cell.source = _LINK.sub(r"](../\1/\1.ipynb", cell.source)
        MetadataValidator().validate_nb(notebook)
        files[f"{folder}/{path.name}"] = written(notebook)
    return files


def _graded(cell: NotebookNode, exercise: Exercise | None) -> list[NotebookNode]:
    """The cell itself, or the one for the answer and the one for its points."""
    if exercise is None:
        return [cell]
    name = exercise.name
    place = ANSWER.sub(SOLVED.format(right=exercise.solve()), CHECK.sub("", cell.source)).strip()
    answer = new_cell("code", place, cell.id)
    answer.metadata["nbgrader"] = _marks(f"answer_{name}", solution=True)
    points = new_cell("code", POINTS.format(name=name), f"{cell.id}-points")
    points.metadata["nbgrader"] = _marks(f"points_{name}", grade=True, locked=True, points=1)
    return [answer, points]


def _marks(grade_id: str, **chosen: Any) -> dict[str, Any]:
    none = {"grade": False, "solution": False, "locked": False, "task": False}
    return none | {"grade_id": grade_id, "schema_version": 3, "cell_type": "code"} | chosen
