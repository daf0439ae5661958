"""Lesson 05 in JupyterLab: λ and the epoch draw the library's own histograms, and *Stop* stops."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.browser.conftest import Notebook

pytestmark = pytest.mark.browser

EPOCHS = 3
LABELS = ("LossNet", "LogitNet", "MetaInfoNet", "L2RW")
NUMBERS = """import json
found = {
    f"{rate:g} {label} {lam:g}": [one[["clean", "noisy"]].to_dict("list") for one in run.histograms]
    for (rate, label, lam), run in lab.results.items()
}
print("COUNTED" + json.dumps(found))"""
Numbers = dict[str, list[dict[str, list[int]]]]


def heights(counts: list[int]) -> np.ndarray:
    """The bars of counts: the root of their shares."""
    return np.sqrt(np.array(counts) / sum(counts))


def shows(notebook: Notebook, numbers: Numbers, rate: float, lam: float, epoch: int) -> bool:
    """Whether the four panels draw exactly these histograms."""
    panels: list[list[dict[str, Any]]] = notebook.drawn()
    names = [f"{label} {lam if label == 'MetaInfoNet' else 0:g}" for label in LABELS]
    return len(panels) == len(names) and all(
        np.allclose(trace["y"], heights(numbers[f"{rate:g} {name}"][epoch - 1][part]), atol=1e-6)
        for panel, name in zip(panels, names, strict=True)
        for trace, part in zip(panel, ("clean", "noisy"), strict=True)
    )


def test_lambda_and_epoch_draw_the_weights_and_stop_stops(open_notebook: Callable[[str], Notebook]) -> None:
    notebook = open_notebook("05_metainfonet.ipynb")
    notebook.run_all(seconds=480)
    notebook.train("noise rate", EPOCHS)
    numbers: Numbers = json.loads(notebook.run_code(NUMBERS, "COUNTED"))
    notebook.find(notebook.slider("noise rate"))

    notebook.until(lambda: shows(notebook, numbers, 0.4, 0.1, EPOCHS))
    notebook.press("λ", "ArrowLeft", times=2)
    notebook.until(lambda: shows(notebook, numbers, 0.4, 0, EPOCHS))
    assert not shows(notebook, numbers, 0.4, 0.1, EPOCHS)
    notebook.type_value("epoch", 1)
    notebook.until(lambda: shows(notebook, numbers, 0.4, 0, 1))
    notebook.press("noise rate", "ArrowRight")
    notebook.until(lambda: shows(notebook, numbers, 0.6, 0, 1))
    assert not shows(notebook, numbers, 0.4, 0, 1)
    (sentence,) = [text for text in notebook.sentences() if "MetaInfoNet" in text]
    assert sentence.startswith("After 1 epoch, MetaInfoNet ")
    assert "The wrong class is the mode here" in sentence

    notebook.stop_training("noise rate")
