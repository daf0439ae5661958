"""Lesson 04 in JupyterLab: β and the noise rate draw the sweep's own numbers, and *Stop* stops."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lnlib.course.labs.limit import BETAS, RATES
from tests.browser.conftest import Notebook

pytestmark = pytest.mark.browser

EPOCHS = 4
BY_EPOCH = {
    "all given labels": "train_accuracy",
    "clean part": "clean_accuracy",
    "corrupted part, fitted": "corrupted_fit",
    "corrupted part, recovered": "corrupted_recovered",
    "test": "test_accuracy",
}
BY_BETA = {
    "clean part": "clean_accuracy",
    "corrupted part, fitted": "corrupted_fit",
    "test": "test_accuracy",
}
HISTORIES = f"""import json
lines = {list(BY_EPOCH.values())}
found = {{f"{{rate:.2f}} {{beta:g}}": one[lines] for (rate, beta), one in lab.histories.items()}}
print("NUMBERS" + json.dumps({{key: one.to_dict("list") for key, one in found.items()}}))"""


def panel_with(notebook: Notebook, name: str) -> dict[str, dict[str, Any]]:
    """The lines, by name, of the panel that has one of this name; none while it is not drawn."""
    found = [{line["name"]: line for line in figure} for figure in notebook.drawn()]
    return next((lines for lines in found if name in lines), {})


def shows(notebook: Notebook, numbers: dict[str, dict[str, list[float]]], rate: float, beta: float) -> bool:
    """Whether both panels draw exactly these numbers, at the last epoch."""
    by_epoch = panel_with(notebook, "all given labels")
    by_beta = panel_with(notebook, "test, at the β of the best noisy validation")
    history = numbers[f"{rate:.2f} {beta:g}"]
    ends = [{name: line[-1] for name, line in numbers[f"{rate:.2f} {one:g}"].items()} for one in BETAS]
    return (
        all(
            name in by_epoch and np.array_equal(by_epoch[name]["y"], history[column])
            for name, column in BY_EPOCH.items()
        )
        and all(
            name in by_beta and np.array_equal(by_beta[name]["y"], [end[column] for end in ends])
            for name, column in BY_BETA.items()
        )
        and any(line["x"] == [BETAS.index(beta)] * 2 for line in by_beta.values())
    )


def test_beta_and_the_noise_rate_draw_the_sweep_and_stop_stops(
    open_notebook: Callable[[str], Notebook],
) -> None:
    notebook = open_notebook("04_limit.ipynb")
    notebook.run_all(seconds=480)
    notebook.train("noise rate", EPOCHS)
    numbers = json.loads(notebook.run_code(HISTORIES, "NUMBERS"))
    assert list(numbers) == [f"{rate:.2f} {beta:g}" for rate in RATES for beta in BETAS]
    notebook.find(notebook.slider("noise rate"))

    notebook.until(lambda: shows(notebook, numbers, 0.5, 10))
    notebook.press("noise rate", "ArrowRight", times=2)
    notebook.until(lambda: shows(notebook, numbers, 0.8, 10))
    assert not shows(notebook, numbers, 0.5, 10)
    assert panel_with(notebook, "given labels without memorising: 20%")
    notebook.press("β", "ArrowLeft", times=3)
    notebook.until(lambda: shows(notebook, numbers, 0.8, 0))
    assert not shows(notebook, numbers, 0.8, 10)
    (sentence,) = [text for text in notebook.sentences() if "mean squared norm" in text]
    assert sentence.startswith("At noise rate 0.80 and β = 0, LIMIT (Laplace) ends with ")
    assert f"with {numbers['0.80 0']['corrupted_fit'][-1]:.0%} of the wrong labels fitted" in sentence

    notebook.stop_training("noise rate")
