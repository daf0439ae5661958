"""JupyterLab as `make lab` starts it, a real browser, and what a reader does; every wait is bounded."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from playwright.sync_api import Browser, Error, Locator, Page, sync_playwright

from tests.wheel_tools import OWN_FOLDERS

ROOT = Path(__file__).resolve().parents[2]
LNLIB = Path(sysconfig.get_path("scripts")) / "lnlib"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)/\S*?token=(\S+)")
STATUS = '.widget-html [role="status"]:not([aria-live])'
"""Where a lab tells how its training goes."""
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
TRACEBACK = "Traceback (most recent call last)"
NUMBERS = count()
START_SECONDS = 90
STOP_SECONDS = 20
STEP_SECONDS = 20
RUN_SECONDS = 240

# What plotly has drawn in the panels of the labs in the page, one list of traces a panel, typed arrays
# unpacked; of a panel that says something else, as that it is drawing, what it says.
DRAWN = """() => [...document.querySelectorAll('.lnlib-panel')].map(panel => {
    const waiting = panel.querySelector('.lnlib-waiting'), plot = panel.querySelector('.lnlib-plot');
    const place = plot.clientWidth ? '' : ' (out of sight)';
    if (!waiting.hidden || !plot._fullData) return waiting.textContent + place;
    return plot._fullData.map(trace => ({
        name: trace.name, visible: trace.visible, x: Array.from(trace.x ?? []), y: Array.from(trace.y ?? []),
        text: Array.isArray(trace.text) ? trace.text : [trace.text],
    }));
})"""

# The same of what the labs of a kernel have to show; LABS is an expression for a list of labs.
SHOWN = """import json, numpy as np
def unpacked(values):
    return np.asarray(values).tolist()
print("SHOWN" + json.dumps([
    [{"x": unpacked(t["x"]), "y": unpacked(t["y"])} for t in figure["data"]]
    for lab in LABS for figure in lab.scene.figures]))"""

# The share of the cells asked for that has run, in percent; null before any was.
PROGRESS = """() => {
    const panel = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)');
    return panel?.querySelector('.jp-Notebook-ExecutionIndicator [role=progressbar]')?.ariaValueNow;
}"""


@dataclass(frozen=True)
class Server:
    """A running JupyterLab: its address without a path, its token, and the folder that it shows."""

    url: str
    token: str
    folder: Path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab over a copy of the notebooks."""
    with serving(tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("home")) as running:
        yield running


@contextmanager
def serving(folder: Path, home: Path) -> Iterator[Server]:
    """`lnlib lab --no-browser`, as `make lab` runs it, over a copy of the notebooks in a folder."""
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    if (ROOT / "figures").is_dir():
        shutil.copytree(ROOT / "figures", folder / "figures")
    command = [LNLIB, "lab", "--no-browser", f"--ServerApp.root_dir={folder}"]
    with running(command, folder, home) as (url, token):
        yield Server(url, token, folder)


@contextmanager
def running(command: list[str | Path], folder: Path, home: Path) -> Iterator[tuple[str, str]]:
    """A Jupyter server that a command starts in a folder, its settings and runs elsewhere: address, token."""
    environment = os.environ | {name: str(home / name.lower()) for name in (*OWN_FOLDERS, "LNLIB_RUNS")}
    log_path = home / "log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--port={port}"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield _address(process, log_path)
    finally:
        _stop(process)


def _address(process: "subprocess.Popen[bytes]", log: Path) -> tuple[str, str]:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        if found := ADDRESS.search(log.read_text(errors="replace")):
            return found[1], found[2]
        time.sleep(0.2)
    pytest.fail(
        f"`lnlib lab` printed no address within {START_SECONDS} s:\n{log.read_text(errors='replace')}"
    )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its group: the server and what it started
        process.wait(STOP_SECONDS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real browser."""
    with chromium() as started:
        yield started


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium or Chrome where one is installed (BROWSER_PATH first), else Playwright's own."""
    installed = os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=installed, args=BROWSER_OPTIONS)
        except Error as error:
            pytest.fail(
                f"no browser starts ({error.message.splitlines()[0]}); install Chromium or Chrome, "
                "or run `python -m playwright install chromium`"
            )
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page as wide as a laptop's screen."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(1000 * STEP_SECONDS)
    yield context.new_page()
    context.close()


class Notebook:
    """A notebook open in JupyterLab, and what a reader does with it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def run_all(self, seconds: float = RUN_SECONDS) -> None:
        """Restart the kernel, run all cells by the menu and wait until it is idle, all in so many seconds;
        fails with the text of a cell's error.
        """
        end = time.monotonic() + seconds
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        entry = ".lm-Menu-item:not(.lm-mod-disabled)"
        self.page.locator(entry, has_text="Restart Kernel and Run All Cells").click()
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        # Do not scroll meanwhile: cells that leave the view while they run may never end.
        self.page.wait_for_function(f"() => ({PROGRESS})() < 100", polling=50)
        self.page.wait_for_function(f"() => ({PROGRESS})() == 100", timeout=1000 * seconds, polling=100)
        self.idle(max(1, end - time.monotonic()))
        # By its words: the MIME type that JupyterLab gives an error's text has changed before.
        failed = self.reveal(self.page.locator(".jp-OutputArea-output", has_text=TRACEBACK))
        assert failed is None, failed.inner_text()

    def idle(self, seconds: float = STEP_SECONDS) -> None:
        """Wait until the kernel has nothing to do."""
        idle = self.page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]:visible")
        idle.wait_for(timeout=1000 * seconds)

    def reveal(self, found: Locator) -> Locator | None:
        """Scroll from the top until what is looked for is there; the page only holds the cells in view."""
        panel = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer")
        for top in range(0, panel.evaluate("panel => panel.scrollHeight"), 400):
            panel.evaluate("(panel, top) => panel.scrollTop = top", top)
            self.page.wait_for_timeout(100)
            if found.count():
                found.first.scroll_into_view_if_needed()
                return found.first
        return None

    def find(self, wanted: Locator) -> None:
        """Scroll to what is looked for, which may still be on its way into the page; fails without it."""
        self.until(lambda: self.reveal(wanted) is not None)

    def slider(self, label: str) -> Locator:
        """The labs' slider whose label begins so; predictions have sliders of their own."""
        labelled = self.page.locator(f'label:text("{label}")')
        return self.page.locator(".lnlib-lab .widget-slider", has=labelled).first

    def button(self, name: str) -> Locator:
        """The widgets' button of that name."""
        return self.page.locator("button.jupyter-button", has_text=name).first

    def type_value(self, label: str, value: float | str) -> None:
        """Type a value into the number beside a slider."""
        readout = self.slider(label).locator(".widget-readout")
        readout.click()
        readout.press("ControlOrMeta+a")
        self.page.keyboard.type(str(value))
        self.page.keyboard.press("Enter")

    def press(self, label: str, key: str, times: int = 1) -> None:
        """Move a slider by the keyboard, as with ArrowRight."""
        handle = self.slider(label).locator(".noUi-handle").first
        for _ in range(times):
            handle.press(key)

    def run_code(self, code: str, marker: str, seconds: float = 30) -> str:
        """Run code in a new cell above the active one; the output behind the marker that it prints."""
        unique = f"{marker}{next(NUMBERS)}:"
        code, marker = code.replace(marker, unique), unique
        panel = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        panel.locator(".jp-Notebook").press("Escape")
        self.page.keyboard.press("a")
        panel.locator(".jp-Notebook-cell.jp-mod-active .cm-content").click()
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Control+Enter")
        output = panel.locator(".jp-OutputArea-output pre", has_text=marker).first
        output.wait_for(timeout=1000 * seconds)
        text = output.inner_text()
        return text[text.index(marker) + len(marker) :]

    @property
    def status(self) -> str:
        """What the first lab in view tells of its training."""
        return self.page.locator(STATUS).first.inner_text()

    def type_epochs(self, epochs: int) -> None:
        """Type the number of epochs that the lab trains, and wait until it has heard."""
        label = self.page.locator('label:text("epochs")')
        field = self.page.locator(".lnlib-lab .widget-text", has=label).locator("input").first
        field.fill(str(epochs))
        field.press("Enter")
        self.until(lambda: "not trained yet" in self.status)

    def train(self, slider: str, epochs: int) -> None:
        """Let the lab with that slider train so many epochs."""
        self.find(self.slider(slider))
        self.type_epochs(epochs)
        self.button("Train").click()
        self.until(lambda: "move the sliders" in self.status, seconds=RUN_SECONDS)

    def stop_training(self, slider: str) -> None:
        """Let the lab with that slider train for long, see that the kernel still answers, and stop it."""
        train, stop = self.button("Train"), self.button("Stop")
        self.type_epochs(1000)
        train.click()
        self.until(lambda: "left" in self.status, seconds=60)
        assert train.is_disabled() and stop.is_enabled()
        assert self.run_code('print("ANSWER", 6 * 7)', "ANSWER").strip() == "42", "the kernel is busy"
        self.find(self.slider(slider))
        stop.click()
        self.until(lambda: "stopped" in self.status)
        self.until(lambda: train.is_enabled() and stop.is_disabled())
        ended = self.run_code('print("ENDED", lab.wait(20.0), len(lab.results))', "ENDED")
        assert ended.split() == ["True", "0"]

    def drawn(self) -> list[list[dict[str, Any]]]:
        """The traces of each panel of the labs in view, as plotly has drawn them; none of one that waits."""
        return [panel for panel in drawn(self.page) if not isinstance(panel, str)]

    def shown(self, labs: str) -> list[list[dict[str, Any]]]:
        """The traces of each panel that these labs of the kernel, an expression for a list, have to show."""
        return json.loads(self.run_code(SHOWN.replace("LABS", labs), "SHOWN", seconds=120))

    def until(self, expected: Callable[[], bool], seconds: float = STEP_SECONDS) -> None:
        """Wait until something is so; fails where it does not in time, and says what the labs show."""
        give_up = time.monotonic() + seconds
        while not expected():
            if time.monotonic() > give_up:
                panels = [panel if isinstance(panel, str) else len(panel) for panel in drawn(self.page)]
                notes = self.page.locator(".lnlib-note").all_inner_texts()
                raise AssertionError(f"still not so after {seconds} s; panels {panels}, notes {notes}")
            self.page.wait_for_timeout(50)

    def sentences(self) -> list[str]:
        """What the labs say, in their order."""
        return self.page.locator('[role="status"][aria-live]:visible').all_inner_texts()


def drawn(page: Page) -> list[Any]:
    """What is drawn in each panel of the labs in the page; of one that waits, what it says."""
    return page.evaluate(DRAWN)


def same(drawn: list[Any], expected: list[list[dict[str, Any]]], tolerance: float = 1e-12) -> bool:
    """Whether every panel is drawn, with the expected numbers in every trace."""
    return len(drawn) == len(expected) and all(
        len(panel) == len(traces)
        and all(_alike(*pair, tolerance) for pair in zip(panel, traces, strict=True))
        for panel, traces in zip(drawn, expected, strict=True)
    )


def _alike(trace: Any, expected: dict[str, Any], tolerance: float) -> bool:
    return not isinstance(trace, str) and all(
        _equal(trace[axis], expected[axis], tolerance) for axis in ("x", "y")
    )


def _equal(one: list[Any], other: list[Any], tolerance: float) -> bool:
    if len(one) != len(other):
        return False
    if one and isinstance(one[0], str):
        return one == other
    numbers = (np.array(values, dtype=float) for values in (one, other))
    return np.allclose(*numbers, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.fixture
def open_cells(server: Server, open_notebook: Callable[[str], Notebook]) -> Callable[..., Notebook]:
    """Open a new notebook with these code cells."""

    def open_it(*sources: str) -> Notebook:
        return open_notebook(write_cells(server, *sources))

    return open_it


def write_cells(server: Server, *sources: str, name: str = "cells.ipynb") -> str:
    """Put a notebook with these code cells beside the others; returns its name."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    book = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.write(book, server.folder / "notebooks" / name)
    return name


@pytest.fixture
def open_notebook(server: Server, page: Page) -> Iterator[Callable[[str], Notebook]]:
    """Open a notebook of the course, as in open_notebook("01_fano_bound.ipynb"), and wait for its kernel."""
    yield lambda name: opened(server, page, name)
    end_kernels(server, page)


def opened(server: Server, page: Page, name: str) -> Notebook:
    """A notebook open in the page, its kernel ready."""
    page.goto(f"{server.url}/lab/tree/notebooks/{name}?token={server.token}&reset")
    notebook = Notebook(page)
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=1000 * START_SECONDS)
    # JupyterLab shows "idle" before it is connected.
    notebook.until(
        lambda: any(one["connections"] and one["execution_state"] == "idle" for one in kernels(server, page)),
        START_SECONDS,
    )
    notebook.idle()
    return notebook


def end_kernels(server: Server, page: Page) -> None:
    """Shut down what runs on the server."""
    for kernel in kernels(server, page):
        page.request.delete(f"{server.url}/api/kernels/{kernel['id']}", headers=headers(server))


def kernels(server: Server, page: Page) -> list[dict[str, Any]]:
    """What runs on the server."""
    answer = page.request.get(f"{server.url}/api/kernels", headers=headers(server))
    return answer.json() if answer.ok else []


def headers(server: Server) -> dict[str, str]:
    return {"Authorization": f"token {server.token}"}
