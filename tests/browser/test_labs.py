"""All seven labs on one page that is slowed down, while the kernel trains: every panel draws its numbers."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Notebook, drawn, same

pytestmark = pytest.mark.browser

MAKE = """from lnlib import labs
fano, decomposition, generalization = labs.FanoLab(), labs.DecompositionLab(), labs.GeneralizationLab()
memorization = labs.MemorizationLab(width=8, epochs=3)
limit, weights = labs.LimitLab(epochs=3), labs.WeightsLab(epochs=2)
imbalance = labs.ImbalanceLab(epochs=3)
trained = [memorization, limit, weights, imbalance]
for lab in trained:
    lab.train()
    lab.wait()
ALL = [fano, decomposition, generalization, *trained]
busy = labs.MemorizationLab(epochs=1000, width=128)
busy.train()"""
SHOW = """for lab in ALL:
    display(lab)"""
PANELS = 16


def slow_down(page: Page, times: float) -> None:
    """Throttle the page's processor."""
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": times})


def test_every_panel_of_every_lab_draws_on_a_slow_page_while_the_kernel_trains(
    open_cells: Callable[..., Notebook],
) -> None:
    notebook = open_cells(MAKE, SHOW)
    page = notebook.page
    slow_down(page, 6)
    notebook.run_all(seconds=480)
    expected = notebook.shown("ALL")
    assert len(expected) == PANELS
    labs = page.locator(".lnlib-lab")

    def shows(figures: list[Any]) -> bool:
        return notebook.reveal(labs) is not None and same(drawn(page), figures)

    notebook.until(lambda: shows(expected), seconds=120)
    assert "True" in notebook.run_code('print("BUSY", busy.running)', "BUSY")

    notebook.reveal(labs)
    assert labs.count() == 7
    for lab in labs.all():
        lab.locator(".noUi-handle").first.press("ArrowLeft")
    moved = notebook.shown("ALL")
    assert sum(same([one], [other]) for one, other in zip(moved, expected, strict=True)) < PANELS / 2
    notebook.until(lambda: shows(moved), seconds=120)

    page.keyboard.press("Control+s")
    page.wait_for_timeout(2000)
    page.goto(page.url.split("?")[0])
    slow_down(page, 6)
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=90_000)
    notebook.until(lambda: shows(moved), seconds=180)
    assert "True" in notebook.run_code('print("BUSY", busy.running)', "BUSY")
