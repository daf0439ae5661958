"""What axe-core finds at WCAG's level AA, in both themes, and the course by the keyboard alone."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from lnlib.course import labs
from tests.browser.conftest import STEP_SECONDS, Notebook, Server, end_kernels, headers, opened, write_cells

pytestmark = pytest.mark.browser

LEVEL = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "resultTypes": ["violations"],
}
CELLS = (
    "from lnlib.course import labs, predict, quiz",
    'heads = predict.number("bits of a coin", 0, 2, "bits")\nheads',
    'side = predict.choice("which is larger?", ("the left one", "the right one"))\nside',
    'quiz.of_lesson("bits")',
    "from lnlib.course.exercises.bits import one_letter\none_letter.check(2)",
    "labs.FanoLab()",
)


def violations(page: Page, parts: str) -> list[str]:
    """What axe-core has against the parts that match this selector."""
    found = Axe().run(page, context={"include": [[parts]]}, options=LEVEL).response["violations"]
    faults = [(one["id"], node) for one in found for node in one["nodes"]]
    return [f"{name}: {node['html'][:300]} {node['failureSummary']}" for name, node in faults]


@pytest.fixture
def theme(server: Server, page: Page) -> Iterator[Callable[[str], None]]:
    """Choose a theme of JupyterLab's; the usual one is back afterwards."""
    address = f"{server.url}/lab/api/settings/{quote('@jupyterlab/apputils-extension:themes', safe='')}"

    def choose(name: str) -> None:
        answer = page.request.put(address, headers=headers(server), data={"raw": json.dumps({"theme": name})})
        assert answer.ok, answer.text()

    yield choose
    choose("JupyterLab Light")
    end_kernels(server, page)


@pytest.mark.parametrize("name", ["JupyterLab Light", "JupyterLab Dark"])
def test_widgets_meet_wcag_aa(name: str, theme: Callable[[str], None], server: Server, page: Page) -> None:
    theme(name)
    page.set_viewport_size({"width": 1280, "height": 2400})  # all cells in view
    notebook = opened(server, page, write_cells(server, *CELLS))
    notebook.run_all()
    page.locator(".jp-WindowedPanel-outer").evaluate("panel => panel.scrollTop = 0")
    notebook.until(lambda: len(notebook.drawn()) == 2)
    assert page.evaluate("() => document.body.dataset.jpThemeLight") == str("Light" in name).lower()
    assert page.locator(".widget-toggle-buttons").count() == 6  # the choice and five questions
    assert violations(page, ".jp-OutputArea-output") == []


@pytest.fixture
def saved(browser: Browser) -> Iterator[Page]:
    """An empty page without a network."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, offline=True)
    context.set_default_timeout(1000 * STEP_SECONDS)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["fano", "entropy", "decomposition", "generalization"])
def test_a_saved_lab_meets_wcag_aa(name: str, scheme: str, saved: Page, tmp_path: Path) -> None:
    saved.emulate_media(color_scheme=scheme)
    saved.goto(labs.lab_named(name)().save(tmp_path / f"{name}.html").as_uri())
    saved.wait_for_function("() => [...document.querySelectorAll('.lnlib-waiting')].every(one => one.hidden)")
    assert violations(saved, "html") == []


def test_predictions_and_quizzes_answer_to_the_keyboard(open_cells: Callable[..., Notebook]) -> None:
    notebook = open_cells(*CELLS[:4])
    notebook.run_all()
    page = notebook.page
    handle = page.get_by_role("slider", name="bits of a coin")
    notebook.find(handle)
    handle.press("ArrowRight")
    assert handle.get_attribute("aria-valuetext") == "1.02"
    notebook.until(lambda: page.get_by_text("your prediction: 1.02 bits").count() == 1)
    first = page.get_by_role("button", name="the left one")
    first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    notebook.until(lambda: page.get_by_text("your prediction: the right one").count() == 1)
    answer = page.get_by_role("button", name="A", exact=True).first
    notebook.find(answer)
    answer.press("Enter")
    said = page.locator('[role="status"]', has_text=re.compile(r"^. (Right|Not so)\."))
    notebook.until(lambda: said.count() == 1)
