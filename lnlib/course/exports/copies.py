"""The lessons for students, without what they are to find, and for teachers, solved."""

from pathlib import PurePosixPath

from nbformat import NotebookNode, from_dict

from lnlib.course.exports.lessons import (
    ANSWER,
    Files,
    Lessons,
    exercise_of,
    new_cell,
    without_solutions,
    written,
)

YOURS = "answer = None  # your answer here"


def student(lessons: Lessons) -> Files:
    """The lessons without outputs and solutions, with places for answers and a line on where to begin."""
    first = next(iter(lessons.notebooks))
    files: dict[str, bytes] = {}
    for path, notebook in lessons.copies():
        files |= lessons.take_along(path, notebook, up=len(path.parts) - 1)
        to_student(notebook, cover(path, first))
        files[path.as_posix()] = written(notebook)
    return files


def cover(path: PurePosixPath, first: str) -> str:
    """What the first lines of a student's copy say."""
    link = "../" * (len(path.parts) - 1) + first
    here = path.as_posix() == first
    begin = (
        "The course begins here" if here else f"The course begins with [{PurePosixPath(first).stem}]({link})"
    )
    return (
        f"*Your copy. {begin}. Run the cells from top to bottom with **Shift + Enter**; "
        "predict before you run, unfold explanations after, and write your answers where it says so.*"
    )


def to_student(notebook: NotebookNode, cover: str) -> None:
    """Change a lesson into its copy for students."""
    cells = [new_cell("markdown", cover, "cover")]
    for cell, after in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        if exercise_of(cell):
            cell.source = ANSWER.sub(YOURS, cell.source)
        without_solutions(cell)
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        else:
            cell.source = cell.source.replace("<details open>", "<details>")
        if cell.source:
            cells.append(cell)
        asked = cell.source.rpartition("\n\n")[2].startswith("**Predict")
        if asked and not (after and "predict." in after.source):  # no slider, no buttons
            place = "*Your prediction (double-click and write):*"
            cells.append(new_cell("markdown", place, f"{cell.id}-prediction"))
    notebook.cells = cells


def solution(lessons: Lessons) -> Files:
    """The lessons as they were saved, each exercise answered, checked and explained."""
    files: dict[str, bytes] = {}
    for path, notebook in lessons.copies():
        files |= lessons.take_along(path, notebook, up=len(path.parts) - 1)
        cells = []
        for cell in notebook.cells:
            exercise = exercise_of(cell)
            without_solutions(cell)
            cells += [cell] if cell.source else []
            if exercise:
                right = f"{exercise.solve():.6g}"
                cell.source = ANSWER.sub(f"answer = {right}", cell.source)
                text = str(exercise.verdict(float(right)))
                data = {"text/markdown": text, "text/plain": text}
                count = {"execution_count": cell.execution_count, "metadata": {}}
                output = {"output_type": "execute_result", "data": data} | count
                cell.outputs = [from_dict(output)]  # type: ignore[no-untyped-call]
                cells.append(new_cell("markdown", str(exercise.solution()), f"{cell.id}-solution"))
        notebook.cells = cells
        files[path.as_posix()] = written(notebook)
    return files
