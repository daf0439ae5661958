"""The whole way with pictures of one's own: folders with planted errors, the list, and its page as a reader
uses it.
"""

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page
from typer.testing import CliRunner

from lnlib import data, noise
from lnlib.cli.app import app
from lnlib.files import read_csv

EVIL = "<img src=x onerror=document.title='bad'>"
"""What the folder of the zeros is called."""
NAMES = [EVIL, *map(str, range(1, 10))]
FOUND = 0.8
"""The share of planted labels among as many suspects, at least; measured: 0.88 of 86."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str], list[str]]:
    """The page, the files that lie in a wrong folder, and all files by suspicion."""
    root = tmp_path_factory.mktemp("suspects")
    digits = data.load("digits")
    labels, planted = noise.corrupt(digits.train_labels, noise.uniform(0.05, 10), 0), set[str]()
    for row, label in enumerate(labels):
        folder = root / "pictures" / NAMES[label]
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(digits.train_images[row, 0].numpy())
        picture.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{row}.jpg")
        if label != digits.train_labels[row]:
            planted.add(f"{NAMES[label]}/{row}.jpg")
    options = ["suspects", "--dataset", f"folder:{root / 'pictures'}", "--size", "8", "--epochs", "20"]
    files = ["--output", str(root / "list.csv"), "--report", str(root / "page.html"), "--top", "all"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LNLIB_RUNS", str(root / "runs"))
        result = CliRunner().invoke(app, [*options, *files])
    assert result.exit_code == 0, result.output
    return root / "page.html", planted, read_csv(root / "list.csv")["file"].tolist()


@pytest.fixture
def page(browser: Browser, report: tuple[Path, set[str], list[str]]) -> Page:
    """The page without a network; what it logs fails the test."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    opened, said = context.new_page(), []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(report[0].as_uri())
    yield opened
    assert not said
    context.close()


def shown(page: Page, name: str) -> list[str]:
    return page.eval_on_selector_all("li:not([hidden])", f"cards => cards.map(card => card.dataset.{name})")


def test_the_planted_labels_stand_at_the_top_of_list_and_page(page, report):
    _, planted, files = report
    assert len(planted) > 60 and len(files) == 1500
    precision = np.mean([file in planted for file in files[: len(planted)]])
    assert precision > FOUND, precision
    assert shown(page, "file") == files[:500]
    sizes = page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    assert sizes == [112] * 500  # each of them was decoded, and is larger than the network's 8 pixels


def test_a_class_whose_name_is_markup_is_a_name(page):
    assert "bad" not in page.title() and page.locator("img[src=x]").count() == 0
    assert page.locator("#given option").all_inner_texts() == ["all classes", *sorted(NAMES)]
    page.select_option("#given", EVIL)
    assert set(shown(page, "given")) == {EVIL}
    assert page.locator("li:not([hidden]) .given b").first.inner_text() == EVIL


def test_the_reader_sorts_filters_and_saves_what_is_ticked(page):
    page.select_option("#sort", "given")
    assert [name for name, _ in groupby(shown(page, "given"))] == NAMES  # a mark comes before digits
    page.select_option("#sort", "probability")
    shares = [float(share) for share in shown(page, "probability")]
    assert shares == sorted(shares)
    page.select_option("#sort", "rank")
    page.select_option("#suggested", "3")
    assert set(shown(page, "suggested")) == {"3"}
    chosen = shown(page, "file")[:2]
    assert page.locator("#save").is_disabled()
    for place in (1, 0):
        page.locator("li:not([hidden]) input").nth(place).check()
    assert page.locator("output").inner_text() == f"{len(shown(page, 'file'))} of 500 shown, 2 ticked"
    with page.expect_download() as saved:
        page.click("#save")
    assert Path(saved.value.path()).read_text(encoding="utf-8").splitlines() == chosen


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_text_stands_out_and_fits_in_both_schemes(page, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Relative luminance and contrast as WCAG 2 defines them.
    contrasts = page.evaluate(
        """() => {
        const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
        const luminance = color => {
            canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
            const linear = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(value => value / 255)
                .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
        };
        const card = document.querySelector('li');
        return ['.given', '.suggested', '.small'].map(name => {
            const both = [card.querySelector(name), card].map((element, place) =>
                luminance(getComputedStyle(element)[place ? 'backgroundColor' : 'color']));
            return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
        });
    }"""
    )
    assert min(contrasts) >= 4.5, contrasts
