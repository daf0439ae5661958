"""Lesson 02 in a real browser: the noise-rate slider draws the sweep's own numbers, and *Stop* stops."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page

from tests.browser.conftest import Notebook

pytestmark = pytest.mark.browser

COLUMNS = {
    "all given labels": "train_accuracy",
    "clean part": "clean_accuracy",
    "corrupted part, fitted": "corrupted_fit",
    "corrupted part, recovered": "corrupted_recovered",
    "test": "test_accuracy",
    "memorised bits": "memorized_bits",
}
# The sweep's histories by noise rate, not what the lab says that it draws; NaN is no JSON.
HISTORIES = """
import json
frames = lab._results[lab.setup].values()
columns = ["train_accuracy", "clean_accuracy", "corrupted_fit", "corrupted_recovered", "test_accuracy", "memorized_bits"]
print("HISTORIES" + json.dumps({f"{f.rate:.2f}": {c: f.history[c].dropna().tolist() for c in columns} for f in frames}))
"""


def run_cell(notebook: Notebook, source: str, marker: str) -> str:
    """Run code in a new last cell, as a reader would; the first line of its output that begins with the marker."""
    page = notebook.page
    page.locator(".jp-Notebook").first.press("Escape")
    page.get_by_role("menuitem", name="Insert", exact=False)
    last = page.locator(".jp-Notebook-cell").last
    last.click()
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    editor = page.locator(".jp-Notebook-cell.jp-mod-active .cm-content")
    editor.click()
    page.keyboard.insert_text(source)
    page.keyboard.press("Control+Enter")
    output = page.locator(".jp-Notebook-cell.jp-mod-active .jp-OutputArea-output", has_text=marker)
    output.wait_for(timeout=60_000)
    text = output.first.inner_text()
    return text[text.index(marker) + len(marker) :].strip()
