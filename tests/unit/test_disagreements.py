"""Where papers, codes and lnlib differ: one list, and the tables that are made from it."""

from pathlib import Path

import nbformat
import pytest

from lnlib.course.disagreements import HEADINGS, disagreements, table, with_table

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted({name for one in disagreements() for name in one.notebooks})
HEAD = f"| {' | '.join(HEADINGS.values())} |"


def test_each_is_told_once_and_says_what_differs() -> None:
    found = disagreements()
    assert len({one.about for one in found}) == len(found) > 50
    assert all(sum(map(bool, (one.paper, one.code, one.here))) >= 2 for one in found)
    assert not [one for one in found if "|" in one.about + one.paper + one.code + one.here]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_has_the_table_of_its_own(name: str) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    (text,) = [cell.source for cell in notebook.cells if HEAD in cell.source]
    assert with_table(text, name) == text, "run scripts/write_disagreements.py"


def test_no_other_notebook_has_one() -> None:
    named = {f"{name}.ipynb" for name in NOTEBOOKS}
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        if path.relative_to(ROOT / "notebooks").as_posix() not in named:
            assert HEAD not in path.read_text(encoding="utf-8"), path


def test_the_page_of_fidelity_has_them_all() -> None:
    text = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
    assert with_table(text) == text, "run scripts/write_disagreements.py"
    assert all(f"\n| {one.about} | " in text for one in disagreements())


def test_a_table_is_made_anew_and_the_rest_stays() -> None:
    text = f"above\n\n{HEAD}\n| --- |\n| old |\n\nbelow\n\n| another | table |"
    assert with_table(text, "03_generalization") == (
        f"above\n\n{table('03_generalization')}\n\nbelow\n\n| another | table |"
    )
    assert table("03_generalization").count("\n") == 1 + 2
