"""The site, built once and opened from its files with the network refused: what it draws is the library's,
its links lead somewhere, and it asks nobody.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Request, Route

from lnlib import bounds
from tests.browser.conftest import ROOT, STEP_SECONDS, drawn

pytestmark = pytest.mark.browser

BUILD_SECONDS = 600
FILES = ("file:", "data:", "blob:")
PHONE = {"width": 390, "height": 844}
LESSON = "notebooks/01_fano_bound.html"

# Traces of a lesson's figure that begins with a trace of this name, typed arrays unpacked; null until drawn.
FIGURE = """(name) => [...document.querySelectorAll('.lnlib-drawn')].map((plot) => plot._fullData)
    .find((traces) => traces?.[0].name === name)
    ?.map(({name, x, y}) => ({name, x: Array.from(x), y: Array.from(y)})) ?? null"""

# How many formulas there are, how many are drawn, and what is not: errors, glyphs that the font lacks, which
# become text, and glyphs without an outline, but for spaces and the sign of an applied function.
FORMULAS = """() => [
    document.querySelectorAll('.math').length, document.querySelectorAll('.math mjx-container > svg').length,
    [...document.querySelectorAll('mjx-container :is(svg text, [data-mml-node=merror])')]
        .filter((one) => one.textContent.trim())
        .concat([...document.querySelectorAll('mjx-container path')]
            .filter(({id, attributes}) => !attributes.d.value.startsWith('M') && !/-(20|A0|2061)$/.test(id)))
        .map((one) => one.outerHTML.slice(0, 100))]"""

# What sticks out of the page and is in no box that scrolls.
STICKING_OUT = """() => [...document.querySelectorAll('.content *')].filter((one) => {
    if (one.getBoundingClientRect().right <= innerWidth + 1 || !one.checkVisibility()) return false;
    for (let box = one; box && !box.classList.contains('content'); box = box.parentElement) {
        const style = getComputedStyle(box);
        if (style.overflowX !== 'visible' || style.clip !== 'auto') return false;
    }
    return true;
}).map((one) => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make site` builds it, warnings being errors."""
    folder = tmp_path_factory.mktemp("site") / "pages"
    command = [sys.executable, "-m", "website", "-o", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


class Read(HTMLParser):
    """The anchors of a page, where its links lead, and what it loads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.anchors: set[str] = {""}
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if value is None:
                continue
            if name == "id":
                self.anchors.add(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)
            elif name in ("src", "href", "srcset", "poster", "data", "action"):
                self.loads.append(value)
            elif name == "style":
                self.loads += re.findall(r"url\(['\"]?([^)'\"]*)", value)


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Read]:
    """All pages of the site, read."""
    return {page: Read(page) for page in site.rglob("*.html")}


def test_no_link_inside_the_site_is_dead(pages: dict[Path, Read]) -> None:
    dead = []
    for page, read in pages.items():
        for link in read.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            aim = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            known = pages[aim].anchors if aim in pages else {""}
            if not aim.is_file() or unquote(parts.fragment) not in known:
                dead.append((page.name, link))
    assert len(pages) > 40 and dead == []


def test_no_page_and_no_style_names_another_host_but_in_a_link(site: Path, pages: dict[Path, Read]) -> None:
    loads = [(page.name, one) for page, read in pages.items() for one in read.loads]
    for style in site.rglob("*.css"):
        loads += [
            (style.name, one)
            for one in re.findall(r"(?:url\(|@import)\s*['\"]?([^)'\"]*)", style.read_text())
        ]
    assert [one for one in loads if re.match(r"(?!data:)(\w+:)?//", one[1])] == []


def test_the_site_is_small_and_names_the_licence_of_its_formulas_script(site: Path) -> None:
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 40_000_000
    formulas = site / "_static" / "mathjax"
    assert "Apache License" in (formulas / "LICENSE").read_text()
    assert sum(path.stat().st_size for path in formulas.rglob("*.*")) < 1_500_000


@pytest.fixture
def opened(browser: Browser) -> Iterator[Page]:
    """A page without a network; fails where anything asks for more than files, or throws."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True)
    context.set_default_timeout(1000 * STEP_SECONDS)
    asked, errors = [], []

    def refused(route: Route, request: Request) -> None:
        if request.url.startswith(FILES):
            route.continue_()
        else:
            asked.append(request.url)
            route.abort()

    context.route("**/*", refused)
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert (asked, errors) == ([], [])
    context.close()


def go(page: Page, site: Path, name: str) -> None:
    """Open a page of the site from its file."""
    page.goto((site / name).as_uri())


def lab_drawn(page: Page) -> dict[str, dict[str, Any]]:
    """The named traces of the page's lab, once all its panels are drawn."""
    page.locator(".lnlib-lab").scroll_into_view_if_needed()
    page.wait_for_function(
        "() => { const told = [...document.querySelectorAll('.lnlib-waiting')];"
        " return told.length && told.every((one) => one.hidden); }"
    )
    return {trace["name"]: trace for panel in drawn(page) for trace in panel}


def test_the_front_page_begins_with_a_slider_that_draws_what_the_library_says(
    opened: Page, site: Path
) -> None:
    go(opened, site, "index.html")
    slider = opened.locator("#control-rate")
    lab_drawn(opened)
    opened.evaluate("() => scrollTo(0, 0)")
    for part in (slider, opened.locator(".lnlib-sentence")):
        box = part.bounding_box()
        assert box is not None and box["y"] + box["height"] < 800
    for key, rate in (("ArrowRight", 0.6), ("ArrowRight", 0.7), ("Home", 0.0), ("ArrowRight", 0.1)):
        slider.press(key)
        opened.wait_for_function(
            f"() => document.querySelector('.lnlib-sentence').textContent.includes('{rate:.2f}')"
        )
        opened.wait_for_function(  # a lab draws in its own time
            "(limit) => [...document.querySelectorAll('.lnlib-plot')].some((plot) => plot._fullData"
            "?.some((trace) => trace.name?.startsWith('given labels') && trace.name.endsWith(limit)))",
            arg=f" {1 - rate:.0%}",
        )
        traces = lab_drawn(opened)
        entropy = bounds.uniform_label_entropy(rate, 10)
        errors = 1 - np.array(traces["all given labels"]["y"])
        bits = bounds.memorized_information(errors, entropy, 10)
        np.testing.assert_allclose(traces["memorised bits"]["y"], bits, atol=1e-9)


def test_a_lesson_s_lab_and_figure_draw_the_library_s_numbers(opened: Page, site: Path) -> None:
    go(opened, site, LESSON)
    lab_drawn(opened)
    for _ in range(5):
        opened.locator("#control-rate").press("ArrowLeft")
    entropy = bounds.uniform_label_entropy(0.75, 10)
    opened.wait_for_function("() => document.querySelector('.lnlib-sentence').textContent.includes('75%')")
    opened.wait_for_function(
        "(right) => [...document.querySelectorAll('.lnlib-plot')].some((plot) => plot._fullData"
        "?.some((trace) => Math.abs(trace.x?.[0] - right) < 1e-6 && trace.x.length === 1))",
        arg=float(bounds.r0(entropy, 1.0, 10)),
    )
    own = lab_drawn(opened)["your p = 75%"]
    np.testing.assert_allclose(own["y"], bounds.r0(entropy, np.array(own["x"]), 10), atol=1e-7)

    opened.locator(".lnlib-figure").first.scroll_into_view_if_needed()
    found = opened.wait_for_function(FIGURE, arg="p = 20%").json_value()
    for trace, rate in zip(found, (0.2, 0.4, 0.6, 0.8), strict=True):
        entropy = bounds.uniform_label_entropy(rate, 10)
        np.testing.assert_allclose(trace["y"], bounds.r0(entropy, np.array(trace["x"]), 10), atol=1e-9)


def test_every_lesson_s_lab_is_in_its_place_and_moves(
    opened: Page, site: Path, pages: dict[Path, Read]
) -> None:
    moved = {}
    for page in sorted(pages):
        for name in re.findall(r'data-lab="(\w+)"', page.read_text(encoding="utf-8")):
            opened.goto(page.as_uri())
            opened.locator(".lnlib-lab").scroll_into_view_if_needed()
            slider = opened.locator(".lnlib-controls input[type=range]").first
            before = opened.locator(".lnlib-sentence").inner_text()
            slider.press("ArrowLeft")
            after = opened.locator(".lnlib-sentence").inner_text()
            moved[name] = before != after
    assert moved == dict.fromkeys(moved, True) and len(moved) == 9


def test_formulas_are_drawn_whole(opened: Page, site: Path, pages: dict[Path, Read]) -> None:
    seen = 0
    for page in sorted(pages):
        if 'class="math' not in page.read_text(encoding="utf-8"):
            continue
        opened.goto(page.as_uri())
        opened.wait_for_function("() => globalThis.MathJax?.startup?.promise")
        opened.evaluate("() => MathJax.startup.promise")
        formulas, drawn_ones, broken = opened.evaluate(FORMULAS)
        assert (drawn_ones >= formulas, broken) == (True, []), page.name
        seen += formulas
    assert seen > 500


def test_a_quiz_answers_and_counts_the_first_answers(opened: Page, site: Path) -> None:
    go(opened, site, LESSON)
    answers, score = opened.locator(".lnlib-answer"), opened.locator(".lnlib-score")
    wrong = answers.and_(opened.locator('[name="fano_bound-1"][data-kind=wrong]')).first
    right = answers.and_(opened.locator('[name="fano_bound-1"][data-kind=right]'))
    wrong.locator("summary").click()
    assert "Not so." in wrong.inner_text()
    right.locator("summary").click()
    assert "Right." in right.inner_text() and wrong.get_attribute("open") is None
    opened.locator('[name="fano_bound-2"][data-kind=right] summary').click()
    opened.wait_for_function("() => document.querySelector('.lnlib-score').textContent")
    assert score.inner_text() == "1 of 5 right"


def test_a_prediction_is_answered_where_the_lesson_answers_it(opened: Page, site: Path) -> None:
    go(opened, site, LESSON)
    place = opened.locator('.lnlib-predict[data-name="remain"] input')
    place.focus()
    place.press("Home")
    verdict = opened.locator('.lnlib-verdict[data-name="remain"]')
    truth = 100 * float(bounds.r0(bounds.uniform_label_entropy(0.8, 10), 1.0, 10))
    words = f"You said 0 %. It is {truth:.3g} %: {truth:.3g} too low."
    assert verdict.inner_text() == f"Your prediction. {words}"
    assert words in opened.locator(".lnlib-summary").inner_text()


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        LESSON,
        "notebooks/05_metainfonet.html",
        "figures/limit-table1-mnist-cores.html",
        "docs/fidelity.html",
        "api/lnlib.methods.html",
    ],
)
def test_nothing_sticks_out_on_a_phone(name: str, opened: Page, site: Path) -> None:
    opened.set_viewport_size(PHONE)
    go(opened, site, name)
    if opened.locator(".lnlib-lab").count():
        lab_drawn(opened)
    assert opened.locator(".content").bounding_box()["width"] <= 390
    assert opened.evaluate(STICKING_OUT) == []


STUCK = """() => {
    const top = (name) => document.querySelector(name).getBoundingClientRect().top;
    scrollBy(0, top('.lnlib-lab') + 300);
    const header = document.querySelector('.mobile-header').getBoundingClientRect();
    return Math.abs(top('.lnlib-controls') - header.height) < 2;
}"""


def test_on_a_phone_a_lab_s_controls_stay_in_sight(opened: Page, site: Path) -> None:
    opened.set_viewport_size(PHONE)
    go(opened, site, LESSON)
    lab_drawn(opened)
    opened.wait_for_function(STUCK)  # figures above that are drawn late move the page


def test_the_dark_theme_darkens_page_and_drawings(opened: Page, site: Path) -> None:
    opened.emulate_media(color_scheme="dark")
    go(opened, site, "index.html")
    lab_drawn(opened)
    look = """() => [getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.querySelector('.lnlib-plot .main-svg')).filter]"""
    ground, drawing = opened.evaluate(look)
    assert max(map(int, re.findall(r"\d+", ground)[:3])) < 60 and "invert" in drawing
    button = opened.locator(".theme-toggle:visible").first
    for _ in range(3):  # the theme's button goes round: as the system has it, light, dark
        button.click()
        if opened.locator("body").get_attribute("data-theme") == "light":
            break
    ground, drawing = opened.evaluate(look)
    assert min(map(int, re.findall(r"\d+", ground)[:3])) > 230 and drawing == "none"


def test_search_finds_a_lesson_from_a_file(opened: Page, site: Path) -> None:
    go(opened, site, "index.html")
    field = opened.locator('input[name="q"]').first
    field.fill("bottleneck")
    field.press("Enter")
    found = opened.locator("#search-results a", has_text="MetaInfoNet").first
    found.click()
    opened.wait_for_url("**/notebooks/**")
    assert "bottleneck" in opened.locator("article").inner_text().lower()
