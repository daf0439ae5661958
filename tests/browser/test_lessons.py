"""Saved lessons opened in JupyterLab without a run: every picture fits its column, and labs are pictures."""

from collections.abc import Callable

import pytest

from tests.browser.conftest import ROOT, Notebook

pytestmark = pytest.mark.browser

LESSONS = sorted(path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
# Of every picture in an output: its width, that of its column, its natural width, its alternative text.
PICTURES = """() => [...document.querySelectorAll('.jp-OutputArea-output img')].map(image => [
    image.getBoundingClientRect().width, image.closest('.jp-OutputArea-output').clientWidth,
    image.naturalWidth, image.alt, image.src.length])"""
TEXTS = "() => [...document.querySelectorAll('.jp-OutputArea-output')].map(output => output.innerText)"


@pytest.mark.parametrize("name", LESSONS)
def test_an_unopened_lesson_looks_right(name: str, open_notebook: Callable[[str], Notebook]) -> None:
    notebook = open_notebook(name)
    page, seen, texts = notebook.page, {}, set()
    for width in (1440, 1100):
        page.set_viewport_size({"width": width, "height": 700})
        panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer")
        top = 0
        while top < panel.evaluate("panel => panel.scrollHeight"):
            panel.evaluate("(panel, top) => panel.scrollTop = top", top)
            page.wait_for_timeout(60)
            for shown, column, natural, alt, length in page.evaluate(PICTURES):
                if natural:
                    assert 0 < shown <= column, (name, width, alt)
                    assert len(alt) > 30
                    seen[width, alt, length] = True
            texts.update(page.evaluate(TEXTS))
            top += 600
    saved = (ROOT / "notebooks" / name).read_text(encoding="utf-8").count('"<img alt=')
    assert len(seen) == 2 * saved > 0
    assert not [text for text in texts if "VBox(" in text or "Error displaying widget" in text]


def test_a_cell_that_fails_is_noticed(open_cells: Callable[..., Notebook]) -> None:
    notebook = open_cells("1 / 0")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        notebook.run_all()
