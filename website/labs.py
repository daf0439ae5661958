"""`python -m website.labs [NAME]...`: run the lessons and keep what their labs have trained, in website/labs.

Training takes minutes, so it is no part of building the site. Run it after a lesson with a lab, or a lab, has
changed.
"""

import base64
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from lnlib.course.labs import LABS
from lnlib.course.labs.base import Lab
from lnlib.course.labs.saved import content
from lnlib.course.plots.showing import PICTURES

ROOT = Path(__file__).resolve().parents[1]
KEPT = Path(__file__).parent / "labs"
FRONT = "front"
"""The lab of the front page: what cross-entropy and LIMIT memorise, at every noise rate."""
CELL_SECONDS = 900

MADE = re.compile(rf"\b({'|'.join(LABS.values())})\(")
"""Where a lesson's cell makes its lab."""

KEEP = """
lab.train()
lab.wait()
from website.labs import keep
keep({name!r}, lab)
"""
FRONT_CELLS = """
from lnlib.course import MemorizationLab
lab = MemorizationLab("digits", epochs=40)
lab.method.value = "LIMIT, Laplace q"
lab.train()
lab.wait()
lab.method.value = "Cross-entropy"
"""


def lab_of(source: str) -> str | None:
    """The name of the lab that a cell makes, as `LABS` has it."""
    found = MADE.search(source)
    return next(name for name, kind in LABS.items() if kind == found[1]) if found else None


def lessons_with_labs() -> Iterator[tuple[str, Path]]:
    """Names of labs with the notebook that each stands in."""
    for path in sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb")):
        for cell in nbformat.read(path, 4).cells:
            if cell.cell_type == "code" and (name := lab_of(cell.source)):
                yield name, path


def keep(name: str, lab: Lab) -> None:
    """Write what the lab's page answers from."""
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.json.gz").write_bytes(base64.b64decode(content(lab)))


def main(names: list[str]) -> None:
    os.environ[PICTURES] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    code = nbformat.v4.new_code_cell
    books = {name: (nbformat.read(path, 4), path.parent) for name, path in lessons_with_labs()}
    books[FRONT] = nbformat.v4.new_notebook(cells=[code(FRONT_CELLS)]), ROOT
    for name in names or books:
        book, folder = books[name]
        book.cells.append(code(KEEP.format(name=name)))
        where = {"metadata": {"path": str(folder)}}
        NotebookClient(book, timeout=CELL_SECONDS, kernel_name="python3", resources=where).execute()
        print(f"{name}: {(KEPT / f'{name}.json.gz').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
