"""Copies of the lessons for a class: `lnlib course export KIND FOLDER`, all from the one set of notebooks."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from lnlib.course.exports.lessons import Files, Lessons, read
from lnlib.errors import InvalidValue, unknown_name
from lnlib.files import check_writable, whole_file

KINDS: Mapping[str, str] = {
    "student": "copies",
    "solution": "copies",
    "nbgrader": "grading",
    "slides": "slides",
    "gift": "quizzes",
}
"""The module that makes each kind, by a function of the kind's name."""


def export(kind: str, folder: Path, notebooks: Path) -> list[Path]:
    """Write copies of the lessons in `notebooks` to `folder`; returns the files.

    `kind` is "student" (no outputs, places for answers), "solution" (solved), "nbgrader" (a course folder
    with one autograded assignment a lesson), "slides" (a deck a lesson, one HTML page that works offline) or
    "gift" (the quizzes, for Moodle). Raises `UnknownName` for another kind, `InvalidValue` where `folder` is
    a file or one of the files is there already, and `LnlibError` where nothing can be written or a notebook
    cannot be read. Nothing is written unless all can be, and nothing is overwritten.
    """
    if kind not in KINDS:
        raise unknown_name("kind of export", kind, KINDS)
    if folder.exists() and not folder.is_dir():
        raise InvalidValue(f"folder must be a folder, got the file {folder}; try another name")
    make: Callable[[Lessons], Files] = getattr(import_module(f"{__name__}.{KINDS[kind]}"), kind)
    files = {folder / path: content for path, content in make(read(notebooks)).items()}
    if standing := [path for path in files if path.exists()]:
        name = standing[0].relative_to(folder).as_posix()
        raise InvalidValue(
            f"{folder} holds {name} already, and nothing is overwritten; choose an empty folder"
        )
    for path in files:
        check_writable(path)
    for path, content in files.items():
        with whole_file(path) as file:
            file.write(content)
    return [*files]
