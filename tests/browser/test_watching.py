"""The passing line of long training in JupyterLab: it is seen while a run trains, and nothing stays of it."""

import json
from collections.abc import Callable

import pytest

from tests.browser.conftest import Notebook, Server, write_cells

pytestmark = pytest.mark.browser
TRAINING = """from lnlib import data, noise
from lnlib.nets import MLP
from lnlib.training import fit
task = data.make_task(data.load("digits"), noise.uniform(0.4, 10))
run = fit("limit", task, epochs=60, net=MLP(512))
print("the last test accuracy is", len(run.records))"""


def test_a_long_run_says_how_long_and_leaves_nothing(
    server: Server, open_notebook: Callable[[str], Notebook]
) -> None:
    name = write_cells(server, TRAINING, name="watching.ipynb")
    notebook = open_notebook(name)
    line = notebook.page.locator(".jp-OutputArea-output", has_text="training: epoch")
    notebook.page.get_by_role("menuitem", name="Run", exact=True).click()
    notebook.page.locator(".lm-Menu-item:not(.lm-mod-disabled)", has_text="Run All Cells").first.click()
    line.first.wait_for(timeout=90_000)
    said = line.first.inner_text()
    assert " of 60, about " in said and said.rstrip().endswith("s left")
    notebook.page.locator(".jp-OutputArea-output", has_text="accuracy is 60").wait_for(timeout=120_000)
    notebook.until(lambda: line.count() == 0)
    notebook.page.keyboard.press("Control+s")
    path = server.folder / "notebooks" / name
    notebook.until(lambda: "accuracy is 60" in path.read_text(encoding="utf-8"))
    outputs = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["outputs"]
    assert "training: epoch" not in json.dumps(outputs) and "VBox" not in json.dumps(outputs)
