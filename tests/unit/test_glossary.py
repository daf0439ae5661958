"""The glossary: short entries in order, each with a lesson, and links that lead somewhere."""

import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
CELLS = nbformat.read(FOLDER / "glossary.ipynb", as_version=4).cells
TEXT = "\n\n".join(cell.source for cell in CELLS)
THEMES = [re.findall(r"^### (.+)$", cell.source, flags=re.M) for cell in CELLS[1:]]
TERMS = [term for theme in THEMES for term in theme]
ENTRIES = dict(re.findall(r"^### (.+)\n\n(.+)$", TEXT, flags=re.M))
EXPECTED = """
Agreement|Anchor point|AUC|Best and last accuracy|Bootstrap interval|Bootstrapped targets|Brier score|
Cross-entropy|Curriculum|Data processing inequality|Decomposition|Early stopping|Effective sample size|
Entropy|Flip noise|Forward mode|Hypergradient|Imbalance factor|Information bottleneck|KL divergence|
Member|Memorised bits|Meta set|Mutual information|Pair noise|Precision at k|r0|Rate-distortion function|
Soft targets|Sub-Gaussian|Sweep|Symmetric noise|Temperature|Transition matrix|Uniform noise|
Virtual step|Warm start|Warm-up|Weighting network"""


def test_it_is_text_alone_of_at_least_sixty_terms() -> None:
    assert {cell.cell_type for cell in CELLS} == {"markdown"}
    assert len(ENTRIES) == len(TERMS) >= 60
    assert not set(re.split(r"\|\s*", EXPECTED.strip())) - set(TERMS)


def test_no_term_stands_twice_and_those_of_a_theme_stand_in_order() -> None:
    headings = re.findall(r"^#+ (.+)$", TEXT, flags=re.M)
    assert len({heading.lower() for heading in headings}) == len(headings)
    for theme in THEMES:
        assert theme == sorted(theme, key=str.lower)


def test_the_index_names_each_term_once_by_its_anchor() -> None:
    index = re.findall(r"\[([^\]]+)\]\(#([^)]+)\)", CELLS[0].source)
    assert [term for term, _ in index] == sorted(TERMS, key=str.lower)
    # JupyterLab's anchor of a heading; anything but words would be written otherwise in a link.
    assert [anchor for _, anchor in index] == [term.replace(" ", "-") for term, _ in index]
    assert all(re.fullmatch(r"[A-Za-z0-9 -]+", term) for term in TERMS)


@pytest.mark.parametrize("term", TERMS)
def test_an_entry_is_short_and_ends_with_the_link_of_a_lesson(term) -> None:
    entry = ENTRIES[term]
    number, target = re.search(r"\[(\d\db?)\]\(([^)#]+)\)$", entry).groups()
    assert target.removeprefix("deeper/").startswith(f"{number}_") and (FOLDER / target).exists()
    assert len(entry.split()) <= 60
    assert entry.count("$") % 2 == 0 and "\n" not in entry


def test_links_between_lessons_and_glossary_lead_to_a_term() -> None:
    for path in FOLDER.rglob("[!.]*.ipynb"):
        for anchor in re.findall(r"glossary\.ipynb#([^)\\\"]+)\)", path.read_text(encoding="utf-8")):
            assert anchor.replace("-", " ") in {term.replace("-", " ") for term in TERMS}, (path.name, anchor)
