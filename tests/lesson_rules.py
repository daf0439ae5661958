"""What every lesson keeps to: its length, its parts. `python -m tests.lesson_rules` shows what does not."""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

from lnlib import urls
from lnlib.course import colab

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
CORE = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
DEEPER = sorted((NOTEBOOKS / "deeper").glob("*.ipynb"))
MOST_WORDS, MOST_CODE_CELLS, MOST_LINES, EXERCISES = 2000, 25, 10, 3
WORDS_A_MINUTE = 150
TIME = re.compile(
    r"\*\*Time\*\* about (\d+) minutes: ([\d ]+) words, (\d+) cells(?:, (\d+) minutes? of training)?"
)


def prose(notebook: nbformat.NotebookNode) -> str:
    """All Markdown, folded parts included."""
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def own_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The code cells, but for the first, which is the same in all lessons and for Google Colab."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.id != colab.CELL]


def code(notebook: nbformat.NotebookNode) -> list[str]:
    """The source of each code cell; the pair of an exercise's question and answer counts once."""
    sources = [cell.source for cell in own_cells(notebook)]
    return [source for source in sources if not re.fullmatch(r"exercises\.\w+", source)]


def asked(notebook: nbformat.NotebookNode) -> set[str]:
    """The exercises whose answers are checked."""
    return set(re.findall(r"exercises\.(\w+)\.check", "\n".join(code(notebook))))


def words(notebook: nbformat.NotebookNode) -> int:
    """Words of prose."""
    return len(prose(notebook).split())


def minutes(notebook: nbformat.NotebookNode, training: int) -> float:
    """What a class takes: its words at 150 a minute, a minute a code cell, and the measured training."""
    return words(notebook) / WORDS_A_MINUTE + len(code(notebook)) + training


def faults(path: Path) -> Iterator[str]:
    """Where a lesson does not keep to the rules, in a sentence each."""
    notebook = nbformat.read(path, as_version=4)
    text, cells, core = prose(notebook), code(notebook), path in CORE
    name = path.relative_to(NOTEBOOKS).as_posix()
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    if (first.id, first.source, first.metadata) != (colab.CELL, colab.source(name), colab.FOLDED):
        yield "its first code cell is not the one for Colab; run scripts/first_cells.py"
    badges = [cell.source for cell in notebook.cells if cell.id == colab.BADGE]
    if badges != [badge for badge in [urls.colab_badge(f"notebooks/{name}")] if badge]:
        yield "its button for Colab is not that of lnlib/urls.py; run scripts/first_cells.py"
    if core and words(notebook) > MOST_WORDS:
        yield f"{words(notebook)} words; at most {MOST_WORDS}"
    if core and len(cells) > MOST_CODE_CELLS:
        yield f"{len(cells)} code cells; at most {MOST_CODE_CELLS}"
    for source in cells:
        if len(source.splitlines()) > MOST_LINES + 4 * source.startswith("import") + 4 * source.startswith(
            "from"
        ):
            yield f"{len(source.splitlines())} lines in one cell, which begins {source[:40]!r}"
    for source in cells[1:]:
        if re.search(r"^(import|from) ", source, re.M):
            yield f"an import outside the first cell: {source[:40]!r}"
    for source in cells:
        if re.search(r"""\bnets\[["']\w+["']\]\(""", source):
            yield f"a network called by itself, perhaps on a GPU: {source[:40]!r}; use run.logits"
    numbers = [int(number) for number in re.findall(r"^## (\d+)\.", text, re.M)]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"sections are numbered {numbers}"
    if core and len(asked(notebook)) > EXERCISES:
        yield f"{len(asked(notebook))} exercises; at most {EXERCISES}"
    if core and sum(source.splitlines()[-1] == "lab" for source in cells) > 1:
        yield "more than one lab"
    if core and "quiz.of_lesson(" not in "\n".join(cells):
        yield "no quiz"
    said = TIME.search(text)
    if said is None:
        yield "no line like '**Time** about 35 minutes: 1900 words, 22 cells, 1 minute of training'"
        return
    training = int(said[4] or 0)
    expected = minutes(notebook, training)
    if abs(int(said[1]) - expected) > 3:
        yield f"says {said[1]} minutes, and {expected:.0f} by its words and cells"
    if abs(int(said[2].replace(" ", "")) - words(notebook)) > 60 or int(said[3]) != len(cells):
        yield f"says {said[2]} words and {said[3]} cells, and has {words(notebook)} and {len(cells)}"


if __name__ == "__main__":
    for path in (*CORE, *DEEPER):
        for fault in faults(path):
            print(f"{path.relative_to(NOTEBOOKS)}: {fault}")
