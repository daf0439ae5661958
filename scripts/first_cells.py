"""Put the cell for Google Colab, and the button where the project has an address, into every lesson.

Runs no cell. To be called after `lnlib.course.colab` or `lnlib.urls.ADDRESS` changed.
"""

from pathlib import Path

import nbformat

from lnlib.course.colab import prepare
from lnlib.files import write_text

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"

if __name__ == "__main__":
    for path in NOTEBOOKS.rglob("[0-9]*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        prepare(notebook, path.relative_to(NOTEBOOKS).as_posix())
        write_text(path, nbformat.writes(notebook) + "\n")
