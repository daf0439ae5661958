"""Eight labs on one page that is slowed down, while the kernel trains: every panel draws its numbers."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly
import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Notebook, Server, drawn, same

pytestmark = pytest.mark.browser

MAKE = """from lnlib.course import labs
entropy, fano = labs.EntropyLab(), labs.FanoLab()
decomposition, generalization = labs.DecompositionLab(), labs.GeneralizationLab()
memorization = labs.MemorizationLab(width=8, epochs=3)
limit, weights = labs.LimitLab(epochs=3), labs.WeightsLab(epochs=2)
imbalance = labs.ImbalanceLab(epochs=3)
trained = [memorization, limit, weights, imbalance]
for lab in trained:
    lab.train()
    lab.wait()
ALL = [entropy, fano, decomposition, generalization, *trained]
busy = labs.MemorizationLab(epochs=1000, width=128)
busy.train()"""
SHOW = """for lab in ALL:
    display(lab)"""
PANELS = 18
# At the first lab that still waits: what is out of sight may wait until it is seen.
LOOK = """() => [...document.querySelectorAll('.lnlib-waiting:not([hidden])')]
    .find((waiting) => waiting.checkVisibility())?.closest('.lnlib-lab').scrollIntoView()"""
FANO = "from lnlib.course import labs\nlab = labs.FanoLab()\nother = labs.MemorizationLab(epochs=3)"
GONE = "The kernel of this lab is gone. Run its cell again."


def slow_down(page: Page, times: float) -> None:
    """Throttle the page's processor."""
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": times})


def test_every_panel_of_every_lab_draws_on_a_slow_page_while_the_kernel_trains(
    open_cells: Callable[..., Notebook], server: Server
) -> None:
    notebook = open_cells(MAKE, SHOW)
    page = notebook.page
    page.set_default_timeout(60_000)
    slow_down(page, 6)
    notebook.run_all(seconds=480)
    expected = notebook.shown("ALL")
    assert len(expected) == PANELS
    labs = page.locator(".lnlib-lab:visible")  # JupyterLab may keep a cell that is out of sight, and hide it

    def shows(figures: list[Any]) -> bool:
        if not labs.count():
            notebook.reveal(labs)
        page.evaluate(LOOK)
        page.wait_for_timeout(1000)  # a slow page that is scrolled all the time begins anew all the time
        return same(drawn(page), figures)

    notebook.until(lambda: shows(expected), seconds=120)
    assert "True" in notebook.run_code('print("BUSY", busy.running)', "BUSY")

    notebook.find(labs)
    assert labs.count() == 8
    for lab in labs.all():
        lab.locator(".noUi-handle").first.press("ArrowLeft")
    moved = notebook.shown("ALL")
    assert sum(same([one], [other]) for one, other in zip(moved, expected, strict=True)) < PANELS / 2
    notebook.until(lambda: shows(moved), seconds=120)

    page.keyboard.press("Control+s")
    saved = server.folder / "notebooks/cells.ipynb"
    # A busy page takes its time, and one that is left before shows no lab again.
    notebook.until(lambda: saved.read_text(encoding="utf-8").count("widget-view+json") == 8, seconds=60)
    page.goto(page.url.split("?")[0])
    slow_down(page, 6)
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=90_000)
    notebook.until(lambda: shows(moved), seconds=120)
    assert "True" in notebook.run_code('print("BUSY", busy.running)', "BUSY")


# JupyterLab looks for a widget each tenth of a second, for two seconds: on this page, as on a busy one, it
# does not look while the widget comes.
LOOKS_AWAY = """const wait = setTimeout;
globalThis.setTimeout = (call, time, ...values) => wait(call, time === 100 ? 2400 : time, ...values);"""
SHOW_BOTH = """from lnlib.course import predict
display(lab, other, predict.number('p', low=0, high=1))"""


LONG = "\n".join(["# a long cell"] * 60)
OUT_AND_BACK = """async () => {
    const wait = (time) => new Promise((end) => setTimeout(end, time));
    const lab = document.querySelector('.lnlib-lab'), place = lab.parentElement;
    lab.remove();
    give(own);
    await wait(1000);
    place.append(lab);
}"""


def test_what_came_while_jupyterlab_did_not_look_is_put_back(open_cells: Callable[..., Notebook]) -> None:
    notebook = open_cells(FANO, SHOW_BOTH)
    notebook.run_all()
    page, told = notebook.page, []
    notebook.find(page.locator(".lnlib-lab"))
    page.keyboard.press("Control+s")
    page.wait_for_timeout(1000)

    page.on("console", lambda message: told.append(message.text))
    page.add_init_script(LOOKS_AWAY)
    page.goto(page.url.split("?")[0])
    sliders = page.locator(".jp-OutputArea-output > .widget-slider, .jp-OutputArea-output > .widget-box")
    notebook.until(lambda: page.locator(".lnlib-lab").count() == 2 and sliders.count() == 3, seconds=60)
    assert [text for text in told if "widget model not found" in text], "it looked: this tests nothing"


def test_a_lab_that_came_out_of_sight_is_drawn_when_it_is_looked_at(
    open_cells: Callable[..., Notebook],
) -> None:
    """Where JupyterLab took it out of the page, as it may, while plotly came."""
    notebook = open_cells(FANO, *[LONG] * 8, "display(lab)")
    notebook.run_all()
    page = notebook.page
    notebook.find(page.locator(".lnlib-lab"))
    page.keyboard.press("Control+s")
    page.wait_for_timeout(1000)

    page.add_init_script("globalThis.lnlibPlotly = new Promise((give) => { globalThis.give = give; });")
    page.goto(page.url.split("?")[0])
    page.locator(".lnlib-panel").first.wait_for(state="attached", timeout=60_000)
    plotly_js = Path(plotly.__file__).parent / "package_data/plotly.min.js"
    page.evaluate(plotly_js.read_text(encoding="utf-8") + "; globalThis.own = Plotly; 0")
    page.evaluate(OUT_AND_BACK)
    page.wait_for_timeout(1000)
    assert [text for text in drawn(page) if not isinstance(text, str)] == []
    page.locator(".lnlib-lab").evaluate("lab => lab.scrollIntoView()")
    notebook.until(lambda: len(notebook.drawn()) == 2)


def shut_down(notebook: Notebook) -> None:
    """Through the menu."""
    notebook.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    notebook.page.locator(".lm-Menu-itemLabel", has_text="Shut Down Kernel").first.click()


def restart(notebook: Notebook) -> None:
    """Through the menu."""
    notebook.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    notebook.page.locator(".lm-Menu-itemLabel", has_text="Restart Kernel").first.click()
    notebook.page.locator(".jp-Dialog .jp-mod-accept").click()


def kill(notebook: Notebook) -> None:
    """As the system does with a process that takes all memory."""
    os.kill(int(notebook.run_code('import os\nprint("PID", os.getpid())', "PID")), signal.SIGKILL)


@pytest.mark.parametrize("end", [shut_down, restart, kill])
def test_a_lab_whose_kernel_is_gone_says_so_and_looks_it(
    end: Callable[[Notebook], None], open_cells: Callable[..., Notebook]
) -> None:
    notebook = open_cells(FANO, "display(lab)\ndisplay(other)")
    page = notebook.page
    notebook.run_all()
    labs = page.locator(".lnlib-lab")
    notebook.until(lambda: notebook.reveal(labs) is not None and len(notebook.drawn()) == 4)
    end(notebook)
    notes = page.locator(".lnlib-note")

    def told() -> bool:
        if (dialog := page.locator(".jp-Dialog .jp-mod-accept")).count():
            dialog.first.click()
        return notebook.reveal(labs) is not None and notes.all_inner_texts() == [GONE] * 2

    notebook.until(told, seconds=30)
    icons = """() => [...document.querySelectorAll('.lnlib-lab *')]
        .filter(part => !['none', 'normal', '""'].includes(getComputedStyle(part, '::before').content)
            && part.classList.contains('jupyter-widgets-disconnected')).length"""
    assert page.evaluate(icons) == 0, "broken links beside the controls"
    train = notebook.button("Train")
    assert train.evaluate("button => button.closest('[inert]') !== null")
    assert float(train.evaluate("button => getComputedStyle(button.closest('[inert]')).opacity")) < 0.5
    assert len(notebook.drawn()) == 4, "what was drawn stays"


def test_closing_all_widgets_does_not_take_the_script_from_later_labs(
    open_cells: Callable[..., Notebook],
) -> None:
    again = "import ipywidgets\nipywidgets.Widget.close_all()\nlate = labs.FanoLab(rate=0.5)\nlate"
    notebook = open_cells(FANO, again)
    notebook.run_all()
    expected = notebook.shown("[late]")
    labs = notebook.page.locator(".lnlib-lab")
    notebook.until(lambda: notebook.reveal(labs) is not None and same(drawn(notebook.page), expected))


def test_moves_that_come_faster_than_the_page_draws_end_at_the_last(
    open_cells: Callable[..., Notebook],
) -> None:
    notebook = open_cells(FANO, "lab")
    page = notebook.page
    slow_down(page, 6)
    notebook.run_all()
    labs = page.locator(".lnlib-lab")
    notebook.until(lambda: notebook.reveal(labs) is not None and len(notebook.drawn()) == 2, seconds=60)
    notebook.press("wrong labels p", "ArrowLeft", times=40)
    expected = notebook.shown("[lab]")
    notebook.until(lambda: notebook.reveal(labs) is not None and same(drawn(page), expected), seconds=60)
    assert notebook.sentences()[0].startswith("With 40% of labels wrong")


FIGURES = """import numpy as np
from lnlib.course import plots
plots.show(plots.figure2(plots.r0_frame([0.2], 10)))
plots.show(plots.gallery(np.zeros((2, 1, 8, 8), np.uint8), ["a", "b"], [False, True]))"""
# Filter and paper of the drawings, in the order of the page: two panels of a lab, a figure, a gallery.
LOOKS = """() => [...document.querySelectorAll('.js-plotly-plot .main-svg:first-child')].map(
    svg => [getComputedStyle(svg).filter, getComputedStyle(svg).backgroundColor])"""
CLEAR, WHITE = "rgba(0, 0, 0, 0)", "rgb(255, 255, 255)"


def test_labs_and_figures_follow_the_theme_and_galleries_keep_their_card(
    open_cells: Callable[..., Notebook],
) -> None:
    notebook = open_cells("from lnlib.course import labs\nlab = labs.FanoLab()\nlab", FIGURES)
    page = notebook.page
    notebook.run_all()
    notebook.until(lambda: notebook.reveal(page.locator(".jp-RenderedPlotly")) is not None)
    notebook.until(lambda: len(page.evaluate(LOOKS)) == 4)
    inverted = "invert(1) hue-rotate(180deg)"
    assert page.evaluate(LOOKS) == [["none", CLEAR]] * 3 + [["none", WHITE]]
    page.evaluate("() => { document.body.dataset.jpThemeLight = 'false'; }")
    assert page.evaluate(LOOKS) == [[inverted, CLEAR]] * 3 + [["none", WHITE]]
    assert page.locator(".modebar").count() == 1, "the figure's; a gallery and labs have no tool bar"


# Of every lab: from its top to the bottom of its first row of panels; and legends that leave their panel.
LAID_OUT = """() => [...document.querySelectorAll('.lnlib-lab')].map(lab => {
    const bottom = lab.querySelector('.lnlib-panel').getBoundingClientRect().bottom;
    const right = part => part.getBoundingClientRect().right;
    const cut = [...lab.querySelectorAll('.lnlib-entry, .lnlib-title')]
        .filter(entry => right(entry) > right(entry.closest('.lnlib-panel')) + 1);
    return [bottom - lab.getBoundingClientRect().top, cut.map(entry => entry.textContent)];
})"""


def test_controls_and_a_row_of_panels_are_on_one_screen_of_a_small_laptop(
    open_cells: Callable[..., Notebook],
) -> None:
    show = "from lnlib.course import labs\nfor name in labs.LABS:\n    display(labs.lab_named(name)())"
    notebook = open_cells(show)
    page = notebook.page
    page.set_viewport_size({"width": 1100, "height": 700})
    notebook.run_all()
    labs = page.locator(".lnlib-lab")
    notebook.until(lambda: notebook.reveal(labs) is not None and len(notebook.drawn()) == PANELS, seconds=60)
    for height, cut in page.evaluate(LAID_OUT):
        assert height <= 550  # of 700, less JupyterLab's menus and the cell's own line
        assert not cut
    widths = page.evaluate(
        "() => [...document.querySelectorAll('.lnlib-panel')].map(one => one.clientHeight)"
    )
    assert max(widths) <= 380
