"""Write the tables of docs/fidelity.md and of the notebooks from lnlib/course/disagreements.toml."""

from pathlib import Path

import nbformat

from lnlib.course.disagreements import disagreements, with_table

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    page = ROOT / "docs" / "fidelity.md"
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
    for name in sorted({name for one in disagreements() for name in one.notebooks}):
        path = ROOT / "notebooks" / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        (cell,) = [cell for cell in notebook.cells if "| about | in the paper |" in cell.source]
        cell.source = with_table(cell.source, name)
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
