"""How fast labs answer: a move in the kernel and in the page, and a page of six labs from *Run All* on,
beside the same figures as plotly's own widgets.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from lnlib.course import labs
from tests.browser.conftest import Notebook, Server, chromium, end_kernels, opened, serving, write_cells

EPOCHS = {"memorization": 60, "limit": 10, "weights": 10, "imbalance": 10}
MOVES = 30
PATIENCE = 150.0
SIX = """from lnlib.course.labs import FanoLab
from IPython.display import display
for k in range(6):
    display(FanoLab(rate=0.2 + k / 10))"""
AS_FIGURE_WIDGETS = """import plotly.graph_objects as go
from lnlib.course import plots
from IPython.display import display
for k in range(6):
    for figure in (plots.fano_crossing, plots.fano_family):
        display(go.FigureWidget(figure(0.2 + k / 10, 1.0, 10)))"""
DRAWN = """() => [...document.querySelectorAll('.js-plotly-plot')]
    .filter(plot => plot._fullData?.length > 5 && plot.querySelector('.scatterlayer .js-line')).length"""
# Milliseconds from a key on a slider to the frame after the panels changed.
ANSWER = """() => new Promise(resolve => {
    const board = document.querySelector('.lnlib-board');
    let began;
    document.addEventListener('keydown', () => { began = performance.now(); }, {once: true, capture: true});
    const observer = new MutationObserver(() => {
        observer.disconnect();
        requestAnimationFrame(() => resolve(performance.now() - began));
    });
    observer.observe(board, {attributes: true, attributeFilter: ['data-milliseconds']});
})"""


def in_the_kernel() -> Iterator[tuple[str, float]]:
    """Milliseconds of a move of each lab's first view, the median of many, and the slowest."""
    for name in labs.LABS:
        lab = labs.lab_named(name)(**({"epochs": EPOCHS[name]} if name in EPOCHS else {}))
        if lab.trains:
            lab.train()
            lab.wait()
        view = lab.widgets[list(lab.views)[-1]]
        low, high = (0, len(view.options) - 1) if hasattr(view, "options") else (view.min, view.max)
        times = []
        for step in range(MOVES + 1):
            value = low + (high - low) * ((7 * step) % MOVES) / MOVES
            began = time.perf_counter()
            view.value = int(value) if isinstance(view.value, int) else value
            times.append(1000 * (time.perf_counter() - began))
        yield f"{name}: a move in the kernel, median", statistics.median(times[1:])
        yield f"{name}: a move in the kernel, slowest", max(times[1:])


@contextmanager
def page_of(server: Server) -> Iterator[tuple[Page, list[int]]]:
    """An empty page, and what came to it over websockets, in bytes; its kernel ends with it."""
    with chromium() as browser:
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        received: list[int] = []
        page.on(
            "websocket",
            lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame))),
        )
        yield page, received
        end_kernels(server, page)


@contextmanager
def course() -> Iterator[Server]:
    """JupyterLab over the notebooks, for as long as the block runs."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        home.mkdir()
        with serving(Path(folder, "course"), home) as server:
            yield server


def in_the_page() -> Iterator[tuple[str, float]]:
    """Milliseconds from a key to the changed pixels, of each lab in JupyterLab: the median of many."""
    with course() as server:
        for name in labs.LABS:
            epochs = f"epochs={EPOCHS[name]}" if name in EPOCHS else ""
            make = f"from lnlib.course import labs\nlab = labs.lab_named('{name}')({epochs})"
            train = "\nlab.train()\nlab.wait()" if name in EPOCHS else ""
            with page_of(server) as (page, _):
                notebook = opened(server, page, write_cells(server, make + train, "lab"))
                notebook.run_all()
                notebook.until(lambda notebook=notebook: _in_view(notebook) and bool(notebook.drawn()), 60)
                page.wait_for_timeout(1000)
                handle = page.locator(".lnlib-lab .noUi-handle").last
                handle.focus()
                times = []
                for step in range(MOVES // 2):
                    page.evaluate(f"() => {{ globalThis.answer = ({ANSWER})(); }}")
                    handle.press("ArrowLeft" if step % 2 == 0 else "ArrowRight")
                    times.append(page.evaluate("() => globalThis.answer"))
            yield f"{name}: from a key to the pixels, median", statistics.median(times)


def _in_view(notebook: Notebook) -> bool:
    return notebook.reveal(notebook.page.locator(".lnlib-lab")) is not None


def six_labs() -> Iterator[tuple[str, float, str]]:
    """Seconds from *Run All* to the last of twelve panels, panels drawn, and megabytes over the websocket."""
    with course() as server:
        for what, cells in (("labs", SIX), ("FigureWidget", AS_FIGURE_WIDGETS)):
            for rate in (1, 6):
                with page_of(server) as (page, received):
                    notebook = opened(server, page, write_cells(server, cells))
                    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": rate})
                    received.clear()
                    page.locator(".jp-Cell .cm-content").first.click()
                    began = time.monotonic()
                    page.keyboard.press("Shift+Enter")
                    seconds, count = _all_drawn(lambda page=page: page.evaluate(DRAWN), began)
                    name = f"six FanoLabs as {what}, page at 1/{rate} of its speed"
                    yield f"{name}: until all are drawn", seconds, "s"
                    yield f"{name}: panels drawn of 12", count, ""
                    yield f"{name}: over the websocket", sum(received) / 1e6, "MB"
                    del notebook


def _all_drawn(count: Callable[[], Any], began: float) -> tuple[float, int]:
    found = 0
    while time.monotonic() - began < PATIENCE:
        found = count()
        if found == 12:
            break
        time.sleep(0.1)
    return time.monotonic() - began, found
