"""Lessons on Google Colab: the first code cell of each, which does nothing anywhere else, and what it calls.

The cell stands here once; `scripts/first_cells.py` puts it into the lessons, and a test compares.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lnlib import urls

if TYPE_CHECKING:
    from nbformat import NotebookNode

CELL, BADGE = "colab", "colab-badge"
"""The ids of the cells that are put in."""
FOLDED = {"jupyter": {"source_hidden": True}, "tags": ["remove-cell"]}
"""JupyterLab folds such a cell, and pages made of the lessons leave it out."""
SOURCE = """\
# On Google Colab this installs the course beside Colab's own PyTorch. Anywhere else it does nothing.
import sys

if "google.colab" in sys.modules and "lnlib" not in sys.modules:
    from glob import glob
    from importlib.metadata import version

    course = {course}
    pytorch = " ".join(f"{{name}}=={{version(name)}}" for name in ("torch", "torchvision"))
    %pip install -q "{{course}}" {{pytorch}}
    from lnlib.course import colab

    colab.begin("{folder}")"""
# Nothing but a wheel of one's own as long as the project has no address.
WHEEL = 'glob("lnlib-*.whl")[0] + "[kernel]"  # upload the wheel first, by the folder at the left'


def source(name: str, address: str = "") -> str:
    """The cell's text in a lesson, which is named by its path in `notebooks`."""
    address = address or urls.ADDRESS
    course = f'"lnlib[kernel] @ git+{address}"' if address else WHEEL
    text = SOURCE.format(course=course, folder=(Path("notebooks") / name).parent.as_posix())
    return text.replace("    from glob import glob\n", "") if address else text


def prepare(notebook: "NotebookNode", name: str, address: str = "") -> None:
    """Give a lesson its cell for Colab and, where the project has an address, its button; runs nothing.

    Where the cell is new, the others count one more, as if they had been run after it.
    """
    from nbformat.v4 import new_code_cell, new_markdown_cell

    first = new_code_cell(source(name, address), id=CELL, metadata=FOLDED, execution_count=1)  # type: ignore[no-untyped-call]
    badge = urls.colab_badge(f"notebooks/{name}", address)
    new = all(cell.id != CELL for cell in notebook.cells)
    cells = [cell for cell in notebook.cells if cell.id not in (CELL, BADGE)]
    for cell in cells:
        for counted in (cell, *cell.get("outputs", ())):
            if new and counted.get("execution_count") is not None:
                counted.execution_count += 1
    place = next(i for i, cell in enumerate(cells) if cell.cell_type == "code")
    top = [new_markdown_cell(badge, id=BADGE)] if badge else []  # type: ignore[no-untyped-call]
    notebook.cells = [*top, *cells[:place], first, *cells[place:]]


def begin(folder: str) -> None:
    """What the cell calls on Colab: labs may draw, and the lesson's folder is the current one."""
    from lnlib.course.folder import bring

    import_module("google.colab.output").enable_custom_widget_manager()  # a module that only Colab has
    os.chdir(bring(Path("lnlib-course")).folder / folder)
