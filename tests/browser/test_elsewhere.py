"""The course where there is no clone: from the wheel, in an environment of its own; and in Notebook 7."""

import os
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from lnlib import bounds
from tests import wheel_tools
from tests.browser.conftest import (
    LNLIB,
    ROOT,
    START_SECONDS,
    Notebook,
    Server,
    drawn,
    end_kernels,
    kernels,
    opened,
    running,
    write_cells,
)

pytestmark = pytest.mark.browser

RATE = "wrong labels p"
LAB = "from lnlib.course import FanoLab\nlab = FanoLab()\nlab"


def shows(page: Page, rate: float) -> bool:
    """Whether the first lab in the page has drawn Theorem 2.1 for ten classes and one stored bit."""
    crossing, family = (panel if isinstance(panel, list) else [] for panel in drawn(page)[:2])
    entropy = float(bounds.uniform_label_entropy(rate, 10))
    values = {trace["name"]: trace for trace in [*family, *crossing]}
    return (
        {"r₀", "H(y|x)", f"your p = {rate:.0%}"} <= {*values}
        and np.allclose(values["r₀"]["x"], float(bounds.r0(entropy, 1.0, 10)))
        and np.allclose(values["H(y|x)"]["y"], entropy)
    )


def test_the_installed_wheel_opens_the_course_and_its_labs_answer(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    environment = wheel_tools.environment(tmp_path / "environment")
    (wheel,) = wheel_tools.build(ROOT, tmp_path / "dist", "--wheel")
    wheel_tools.install(environment, wheel)
    place, home = tmp_path / "student", tmp_path / "home"
    place.mkdir()
    home.mkdir()
    with running([environment / "bin" / "lnlib", "lab", "--no-browser"], place, home) as (url, token):
        server = Server(url, token, place / "lnlib-course")
        notebook = opened(server, page, "01_fano_bound.ipynb")
        notebook.run_all()
        notebook.find(notebook.slider(RATE))
        notebook.until(lambda: shows(page, 0.8))
        notebook.type_value(RATE, 0.6)
        notebook.until(lambda: shows(page, 0.6))
        where = notebook.run_code('import lnlib\nprint("WHERE", lnlib.__file__)', "WHERE")
        assert Path(where.strip()).is_relative_to(environment)
        end_kernels(server, page)


def test_in_notebook_7_a_lab_draws_and_its_slider_answers(page: Page, tmp_path: Path) -> None:
    folder, home = tmp_path / "course", tmp_path / "home"
    (folder / "notebooks").mkdir(parents=True)
    home.mkdir()
    command: list[str | Path] = [
        LNLIB.with_name("python"),
        "-m",
        "notebook",
        "--no-browser",
        "--ip=127.0.0.1",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with running(command, folder, home) as (url, token):
        server = Server(url, token, folder)
        name = write_cells(server, LAB)
        page.goto(f"{url}/notebooks/notebooks/{name}?token={token}")
        notebook = Notebook(page)
        cell = page.locator(".jp-NotebookPanel .jp-Cell .cm-content").first
        cell.wait_for(timeout=1000 * START_SECONDS)
        notebook.until(
            lambda: any(one["execution_state"] == "idle" for one in kernels(server, page)), START_SECONDS
        )
        cell.click()
        page.keyboard.press("Shift+Enter")
        notebook.slider(RATE).wait_for(timeout=1000 * START_SECONDS)
        notebook.until(lambda: shows(page, 0.8))
        notebook.type_value(RATE, 0.6)
        notebook.until(lambda: shows(page, 0.6))
        assert notebook.sentences()[0].startswith("With 60% of labels wrong")
        end_kernels(server, page)
