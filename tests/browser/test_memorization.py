"""Lesson 02 in JupyterLab: the noise slider draws the sweep's own numbers, and *Stop* stops."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.browser.conftest import Notebook

pytestmark = pytest.mark.browser

LINES = {
    "all given labels": "train_accuracy",
    "clean part": "clean_accuracy",
    "corrupted part, fitted": "corrupted_fit",
    "corrupted part, recovered": "corrupted_recovered",
    "test": "test_accuracy",
    "memorised bits": "memorized_bits",
}
HISTORIES = f"""import json
lines = {list(LINES.values())}
found = {{f"{{rate:.2f}}": one[lines].dropna(axis=1) for rate, one in lab.histories.items()}}
print("NUMBERS" + json.dumps({{rate: one.to_dict("list") for rate, one in found.items()}}))"""


def lab_lines(notebook: Notebook) -> dict[str, dict[str, Any]]:
    """The lines of the lab's two panels by name."""
    panels = [
        figure
        for figure in notebook.drawn()
        if {"all given labels", "memorised bits"} & {line["name"] for line in figure}
    ]
    return {line["name"]: line for panel in panels for line in panel}


def shows(notebook: Notebook, numbers: dict[str, list[float]]) -> bool:
    """Whether the lab draws exactly these numbers, on epochs from 1."""
    lines = lab_lines(notebook)
    return all(
        name in lines
        and lines[name]["x"] == list(range(1, len(numbers[column]) + 1))
        and np.array_equal(lines[name]["y"], numbers[column])
        for name, column in LINES.items()
    )


def test_the_noise_slider_draws_the_sweep_and_stop_stops(open_notebook: Callable[[str], Notebook]) -> None:
    notebook = open_notebook("02_memorization.ipynb")
    notebook.run_all()
    page = notebook.page
    notebook.find(notebook.slider("noise rate"))
    notebook.until(lambda: "trained" in notebook.status)
    numbers = json.loads(notebook.run_code(HISTORIES, "NUMBERS"))
    assert list(numbers) == [f"{rate / 10:.2f}" for rate in range(10)]
    notebook.find(notebook.slider("noise rate"))

    notebook.until(lambda: shows(notebook, numbers["0.50"]))
    notebook.type_value("noise rate", 0.8)
    notebook.until(lambda: shows(notebook, numbers["0.80"]))
    assert not shows(notebook, numbers["0.50"])
    assert lab_lines(notebook)["given labels without memorising: 20%"]["y"] == pytest.approx([0.2, 0.2])
    ends = numbers["0.80"]
    (sentence,) = [text for text in notebook.sentences() if "per label memorised" in text]
    assert sentence.startswith("At noise rate 0.80, ")
    assert f"fits {ends['corrupted_fit'][-1]:.0%} of the wrong labels" in sentence

    notebook.press("noise rate", "ArrowLeft", times=2)
    notebook.until(lambda: shows(notebook, numbers["0.70"]))
    notebook.press("noise rate", "ArrowLeft")
    notebook.until(lambda: page.get_by_text("0.65 is not trained yet: you see 0.60").count() == 1)
    notebook.until(lambda: shows(notebook, numbers["0.60"]))

    notebook.stop_training("noise rate")
