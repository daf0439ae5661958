"""Lesson 01 in JupyterLab: it runs, and its sliders redraw what `lnlib.bounds` says."""

from collections.abc import Callable

import numpy as np
import pytest

from lnlib import bounds
from tests.browser.conftest import Notebook

pytestmark = pytest.mark.browser

RATE, INFORMATION = "wrong labels p", "memorised bits per label"


def expected_r0(rate: float, information: float) -> float:
    return float(bounds.r0(bounds.uniform_label_entropy(rate, 10), information, 10))


def trace(figure: list[dict[str, object]], name: str) -> dict[str, object]:
    return next(trace for trace in figure if trace["name"] == name)


def test_sliders_redraw_the_bound(open_notebook: Callable[[str], Notebook]) -> None:
    notebook = open_notebook("01_fano_bound.ipynb")
    notebook.run_all()
    notebook.find(notebook.slider(RATE))

    def shows(rate: float, information: float) -> bool:
        crossing, family = notebook.drawn()[:2]
        entropy = float(bounds.uniform_label_entropy(rate, 10))
        r0 = expected_r0(rate, information)
        own = next(line for line in family if line["name"].startswith("your p"))
        allowed = bounds.r0(entropy, own["x"], 10)
        return (
            np.allclose(trace(crossing, "r₀")["x"], r0)
            and np.allclose(trace(crossing, "r₀")["y"], entropy - information)
            and np.allclose(trace(crossing, "H(y|x)")["y"], entropy)
            and np.allclose(trace(family, "r₀")["x"], information)
            and np.allclose(trace(family, "r₀")["y"], r0)
            and own["name"] == f"your p = {rate:.0%}"
            and np.allclose(own["y"], allowed)
            and notebook.sentences()[0].endswith(f"fewer than {100 * r0:.3g}% training errors.")
        )

    notebook.until(lambda: shows(0.8, 1.0))
    notebook.type_value(RATE, 0.6)
    notebook.until(lambda: shows(0.6, 1.0))
    notebook.type_value(INFORMATION, 0.5)
    notebook.until(lambda: shows(0.6, 0.5))
    notebook.press(INFORMATION, "ArrowRight", times=3)
    notebook.until(lambda: shows(0.6, 0.53))
    assert "60% of labels wrong and 0.53 bits" in notebook.sentences()[0]


def test_the_token_is_needed(open_notebook: Callable[[str], Notebook]) -> None:
    notebook = open_notebook("01_fano_bound.ipynb")
    answer = notebook.page.context.browser.new_context().request.get(
        notebook.page.url.split("/lab")[0] + "/api/contents", max_redirects=0
    )
    assert answer.status in (302, 403)
