"""Lesson 06 in JupyterLab: the imbalance factor draws the library's own numbers, and *Stop* stops."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.browser.conftest import Notebook
from tests.browser.test_limit import panel_with

pytestmark = pytest.mark.browser

EPOCHS = 3
IMAGES, WEIGHT = "images, their number at the top", "weight by LogitNet, an image's mean at the top"
NUMBERS = """import json
found = {}
for factor, one in lab.results.items():
    if not one.impossible:
        shares = one.counts / one.counts.sum()
        found[f"{factor:g}"] = {
            "images": shares.tolist(),
            "weight": (shares * one.method.weights).mean(axis=1).tolist(),
            "Standard": one.standard.accuracy.mean(axis=1).tolist(),
            "LogitNet": one.method.accuracy.mean(axis=1).tolist(),
        }
print("NUMBERS" + json.dumps(found))"""


def shows(notebook: Notebook, numbers: dict[str, Any], epoch: int) -> bool:
    """Whether the bars of both panels are exactly these numbers."""
    shares, accuracy = panel_with(notebook, IMAGES), panel_with(notebook, "LogitNet")
    drawn = [(shares, IMAGES, numbers["images"]), (shares, WEIGHT, numbers["weight"][epoch - 1])]
    drawn += [(accuracy, name, numbers[name][epoch - 1]) for name in ("Standard", "LogitNet")]
    return all(name in lines and np.array_equal(lines[name]["y"], wanted) for lines, name, wanted in drawn)


def test_the_imbalance_factor_draws_the_runs_and_stop_stops(
    open_notebook: Callable[[str], Notebook],
) -> None:
    notebook = open_notebook("06_class_imbalance.ipynb")
    notebook.run_all(seconds=480)
    notebook.train("imbalance factor", EPOCHS)
    numbers = json.loads(notebook.run_code(NUMBERS, "NUMBERS"))
    assert list(numbers) == ["1", "2", "5", "10", "20"]
    notebook.find(notebook.slider("imbalance factor"))

    notebook.until(lambda: shows(notebook, numbers["20"], EPOCHS))
    notebook.press("imbalance factor", "ArrowLeft", times=2)
    notebook.until(lambda: shows(notebook, numbers["5"], EPOCHS))
    assert not shows(notebook, numbers["20"], EPOCHS)
    notebook.press("epoch", "ArrowLeft", times=EPOCHS - 1)
    notebook.until(lambda: shows(notebook, numbers["5"], 1))
    (sentence,) = [text for text in notebook.sentences() if "of the tail" in text]
    assert sentence.startswith("Factor 5, 106 to 21 images of a class, epoch 1: LogitNet gives ")
    tail = np.mean(numbers["5"]["LogitNet"][0][-3:])
    assert f"It reads {tail:.0%} of the tail" in sentence
    notebook.press("imbalance factor", "ArrowRight", times=3)
    empty = "Nothing to train: imbalance factor 200 leaves no training image of 9; use at most 106."
    notebook.until(lambda: empty in notebook.sentences())

    notebook.stop_training("imbalance factor")
