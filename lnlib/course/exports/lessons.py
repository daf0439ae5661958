"""The lessons as they are read, and what the exports find in their cells."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from lnlib.course import colab, exercises
from lnlib.course.exercises.exercise import Exercise
from lnlib.errors import LnlibError

Files = Mapping[str, bytes]
"""What an export writes: contents by path, as seen from the folder."""

ANSWER = re.compile(r"^answer = None.*$", re.MULTILINE)
CHECK = re.compile(r"^exercises\.(\w+)\.check\(answer\)$", re.MULTILINE)
SOLUTION = re.compile(r"^#? *exercises\.\w+\.solution\(\).*\n?", re.MULTILINE)
_DETAILS = re.compile(r"<details[^>]*>.*?</details>\s*", re.DOTALL)
_ABOUT_SOLUTIONS = re.compile(
    r"(?:(?<=[.!?])|^)[^.!?\n]*(?:`#`|\.solution\(\))[^.!?\n]*(?:[.!?]|$)", re.MULTILINE
)
NOT_FOR_CLASS = "docs/teach"


@dataclass(frozen=True)
class Lessons:
    """The notebooks of a folder, by their paths in it: "01_fano_bound.ipynb", "deeper/limit.ipynb"."""

    folder: Path
    notebooks: Mapping[str, NotebookNode]

    def copies(self) -> Iterator[tuple[PurePosixPath, NotebookNode]]:
        """Each path with a notebook that one may change."""
        for path, notebook in self.notebooks.items():
            copy = deepcopy(notebook)
            copy.cells = [cell for cell in copy.cells if cell.get("id") not in (colab.CELL, colab.BADGE)]
            known = ("kernelspec", "language_info")  # without the widgets' state and whatever else is there
            copy.metadata = {key: copy.metadata[key] for key in known if key in copy.metadata}
            yield PurePosixPath(path), copy

    def take_along(self, path: PurePosixPath, notebook: NotebookNode, up: int) -> dict[str, bytes]:
        """The files beside the notebooks' folder that a lesson reads or links, `../figures/x.csv`. They come
        into the export's own folder, `up` steps above the copy, which is changed so that it finds them.
        """
        out = "../" * len(path.parts)
        found = {}
        for cell in notebook.cells:
            for name in set(re.findall(rf"(?<![./]){re.escape(out)}(\w[\w./-]*\.\w+)", cell.source)):
                file = self.folder.parent / name
                if file.is_file() and not name.startswith(NOT_FOR_CLASS):
                    found[name] = file.read_bytes()
                    cell.source = cell.source.replace(out + name, "../" * up + name)
        return found


def read(folder: Path) -> Lessons:
    """All notebooks in a folder and below, core lessons first; raises `LnlibError` for none, or a bad one."""
    paths = [path.relative_to(folder) for path in folder.rglob("*.ipynb")]
    paths = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    if not paths:
        raise LnlibError(f"there is no notebook in {folder}; name the folder with the lessons")
    notebooks = {}
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        try:
            notebooks[path.as_posix()] = nbformat.read(folder / path, as_version=4)  # type: ignore[no-untyped-call]
        except ValueError as error:  # neither JSON nor UTF-8
            raise LnlibError(
                f"{folder / path} is no notebook that can be read; get the lessons anew"
            ) from error
    return Lessons(folder, notebooks)


def exercise_of(cell: NotebookNode) -> Exercise | None:
    """The exercise that a cell has the place for the answer of."""
    found = CHECK.search(cell.source) if cell.cell_type == "code" and ANSWER.search(cell.source) else None
    return getattr(exercises, found[1]) if found else None


def without_solutions(cell: NotebookNode) -> None:
    """Take out what shows a solution or says how to see it: lines, sentences, folded ones."""
    if cell.cell_type == "code":
        cell.source = SOLUTION.sub("", cell.source).rstrip()
    else:
        cell.source = _DETAILS.sub(lambda part: "" if ".solution()" in part[0] else part[0], cell.source)
        cell.source = _ABOUT_SOLUTIONS.sub("", cell.source).strip()


def new_cell(kind: str, source: str, name: str) -> NotebookNode:
    """A "markdown" or "code" cell; `name` is its id in the notebook, cut to the 64 characters of one."""
    make = new_code_cell if kind == "code" else new_markdown_cell
    cell: NotebookNode = make(source, id=name[-64:])  # type: ignore[no-untyped-call]
    return cell


def written(notebook: NotebookNode) -> bytes:
    """A notebook as the bytes of its file; raises for one that breaks the format."""
    nbformat.validate(notebook)
    return f"{nbformat.writes(notebook)}\n".encode()  # type: ignore[no-untyped-call]
