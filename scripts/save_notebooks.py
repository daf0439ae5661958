"""`make notebooks`: run every lesson top to bottom and save it the way readers should find it.

Outputs are kept: figures and labs as pictures, with alternative text, that every page can show; widget state
and what changes from run to run are not. Names of notebooks may be given as arguments.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from rich.progress import Progress

from lnlib.course.colab import prepare
from lnlib.course.plots.showing import PICTURES
from lnlib.doctor import find_browser

ROOT = Path(__file__).resolve().parents[1]
LIMIT_BYTES = 500_000
CELL_SECONDS = 600


def run_and_save(path: Path) -> int:
    """Execute one notebook in its folder and save it; returns its size in bytes."""
    notebook = nbformat.read(path, as_version=4)
    prepare(notebook, path.relative_to(ROOT / "notebooks").as_posix())
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
        record_timing=False,
    )
    client.execute()
    tidy(notebook)
    text = nbformat.writes(notebook) + "\n"
    path.write_text(text, encoding="utf-8")
    return len(text.encode())


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Drop widget state, timings, and the language version, which differs by machine."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.kernelspec = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)


def main(names: list[str]) -> int:
    paths = [Path(name).resolve() for name in names] or [
        path
        for part in ("notebooks", "notebooks/deeper")
        for path in sorted((ROOT / part).glob("[0-9]*.ipynb"))
    ]
    too_large = []
    os.environ[PICTURES] = "1"
    # Prose quotes what is saved, whose last digits hang on the number of threads; training magnifies them.
    os.environ["OMP_NUM_THREADS"] = "1"
    if browser := find_browser():
        os.environ.setdefault("BROWSER_PATH", browser)  # where kaleido looks
    with Progress() as progress:
        task = progress.add_task("running", total=len(paths))
        for path in paths:
            progress.update(task, description=path.name)
            size = run_and_save(path)
            if size > LIMIT_BYTES:
                too_large.append(f"{path.name} ({size / 1000:.0f} kB)")
            progress.advance(task)
    if too_large:
        print(f"error: larger than {LIMIT_BYTES / 1000:.0f} kB: {', '.join(too_large)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
