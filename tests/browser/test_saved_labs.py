"""Saved labs, opened from a file with the network refused: the keyboard moves them, and they draw the
library's numbers.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Request

from lnlib.course import labs
from lnlib.course.labs.base import Lab
from lnlib.course.labs.controls import LogSlider, Menu, Number
from lnlib.course.labs.generalization import GeneralizationLab
from tests.browser.conftest import STEP_SECONDS, drawn, same

pytestmark = pytest.mark.browser

SMALL: dict[str, dict[str, Any]] = {
    "memorization": {"epochs": 2, "width": 8},
    "limit": {"epochs": 2},
    "weights": {"epochs": 2},
    "imbalance": {"epochs": 2},
}
DRAWN = "() => [...document.querySelectorAll('.lnlib-waiting')].every(one => one.hidden)"


@pytest.fixture
def opened(browser: Browser) -> Iterator[Page]:
    """A page without a network; it fails where the page asks another host or throws."""
    context = browser.new_context(viewport={"width": 1100, "height": 700}, offline=True)
    context.set_default_timeout(1000 * STEP_SECONDS)
    page, asked, errors = context.new_page(), [], []
    page.on("request", lambda request: asked.append(_elsewhere(request)))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert not any(asked) and not errors, (asked, errors)


def _elsewhere(request: Request) -> str:
    return "" if request.url.split(":")[0] in ("file", "data", "blob") else request.url


def made(name: str) -> Lab:
    """A lab, trained where it trains."""
    lab = labs.lab_named(name)(**SMALL.get(name, {}))
    if lab.trains:
        lab.train()
        lab.wait()
    return lab


def at_controls(page: Page, lab: Lab, results: Any, c: Any) -> Any:
    """The values of all controls, with those of the page's fields for its views."""
    offered = {} if lab.script else lab.positions(results, c)
    for name, control in lab.views.items():
        field = page.locator(f"#control-{name}")
        if lab.script:
            number = float(field.input_value())
            shown = page.evaluate(
                f"() => globalThis.lnlibScene && document.getElementById('control-{name}').value"
            )
            assert float(shown) == number
            value = round(10**number) if isinstance(control, LogSlider) else control.read(number)
        elif isinstance(control, Menu):
            value = field.input_value()
        else:
            value = offered[name][int(field.input_value())][0]
        c = c._replace(**{name: value})
    return c


def numbers(lab: Lab, results: Any, c: Any) -> list[list[dict[str, Any]]]:
    """What the library draws there."""
    figures = lab.view(results, c).figures
    return [
        [{axis: np.asarray(trace[axis]).tolist() for axis in ("x", "y")} for trace in figure["data"]]
        for figure in figures
    ]


def check(page: Page, lab: Lab, results: Any, c: Any) -> None:
    """The page draws and says what the library does."""
    c, tolerance = at_controls(page, lab, results, c), 1e-7 if lab.script else 1e-12
    expected = numbers(lab, results, c)
    page.wait_for_function(DRAWN)
    for _ in range(200):
        if same(drawn(page), expected, tolerance):
            break
        page.wait_for_timeout(25)
    else:
        pytest.fail(f"the page does not draw what {type(lab).__name__} does at {c}")
    scene = lab.view(results, c)
    assert page.locator(".lnlib-sentence").inner_text() == scene.sentence
    assert page.locator(".lnlib-small").inner_text() == scene.small_print
    assert page.locator(".lnlib-note").inner_text() == scene.note


@pytest.mark.parametrize("name", labs.LABS)
def test_the_keyboard_moves_a_saved_lab(name: str, opened: Page, tmp_path: Path) -> None:
    lab = made(name)
    path = lab.save(tmp_path / f"{name}.html")
    assert path.stat().st_size < 3_000_000
    opened.goto(path.as_uri())
    c, results = lab.values, lab.results
    check(opened, lab, results, c)
    moves = ["ArrowLeft"] * 3 + ["ArrowRight", "Home", "ArrowRight", "End"]
    for view, control in lab.views.items():
        field = opened.locator(f"#control-{view}")
        field.focus()
        if isinstance(control, Number):
            for typed in ("4", "100"):
                field.fill(typed)
                field.press("Enter")
                field.press("Tab")
                check(opened, lab, results, c)
            continue
        seen = set()
        for key in moves:
            field.press(key)
            seen.add(field.input_value())
            check(opened, lab, results, c)
        assert len(seen) > 1, "the keys move nothing"
    text = opened.locator("input[type=range]").first.get_attribute("aria-valuetext")
    assert text == opened.locator("#controls output").first.inner_text()


def test_a_menu_chooses_among_trained_settings(opened: Page, tmp_path: Path) -> None:
    lab = made("memorization")
    lab.method.value = "LIMIT, Laplace q"
    lab.train()
    lab.wait()
    opened.goto(lab.save(tmp_path / "two.html").as_uri())
    menu = opened.locator("#control-setup")
    assert menu.locator("option").all_inner_texts() == ["LIMIT, Laplace q", "Cross-entropy"]
    for (c, results), key in zip(lab.trained(), ("Home", "End"), strict=True):
        menu.focus()
        menu.press(key)
        check(opened, lab, results, c)


def test_a_number_that_the_page_does_not_take_is_announced(opened: Page, tmp_path: Path) -> None:
    opened.goto(made("fano").save(tmp_path / "fano.html").as_uri())
    field = opened.locator("#control-num_classes")
    for typed, kept in (("1e9", "1000"), ("3.7", "4"), ("", "10")):
        field.fill(typed)
        field.press("Tab")
        assert field.input_value() == kept
        note = f"classes K is a whole number from 2 to 1000: {typed or 'nothing'} became {kept}."
        assert opened.locator(".lnlib-note").inner_text() == note


def test_a_figure_that_cannot_be_drawn_says_so(opened: Page, tmp_path: Path) -> None:
    opened.goto(made("fano").save(tmp_path / "fano.html").as_uri())
    opened.wait_for_function(DRAWN)
    opened.evaluate("() => { Plotly.react = () => { throw new Error('no memory'); }; }")
    opened.locator("#control-rate").press("ArrowLeft")
    said = opened.locator(".lnlib-waiting")
    opened.wait_for_function("() => !document.querySelector('.lnlib-waiting').hidden")
    assert said.all_inner_texts() == ["This figure could not be drawn: no memory"] * 2


def test_a_page_is_dark_in_the_dark_and_light_on_paper(opened: Page, tmp_path: Path) -> None:
    opened.goto(made("fano").save(tmp_path / "fano.html").as_uri())
    opened.wait_for_function(DRAWN)
    look = """() => [document.querySelector('.lnlib-plot .main-svg'), document.body].map(
        part => [getComputedStyle(part).filter, getComputedStyle(part).backgroundColor])"""
    for scheme, media, filtered, ground in (
        ("light", "screen", False, "rgb(255, 255, 255)"),
        ("dark", "screen", True, "rgb(17, 17, 17)"),
        ("dark", "print", False, "rgb(255, 255, 255)"),
    ):
        opened.emulate_media(color_scheme=scheme, media=media)
        (drawing, _), (_, background) = opened.evaluate(look)
        assert ("invert" in drawing, background) == (filtered, ground), (scheme, media)


def test_both_sides_of_equation_1_are_drawn_equally_high(opened: Page, tmp_path: Path) -> None:
    opened.goto(made("decomposition").save(tmp_path / "decomposition.html").as_uri())
    opened.wait_for_function(DRAWN)
    bars = opened.evaluate("""() => [...document.querySelectorAll('.lnlib-plot')][0]
        .querySelectorAll('.bars .point path').values().map(bar => bar.getBoundingClientRect())
        .filter(box => box.height > 1).map(box => [box.left, box.top, box.bottom]).toArray()""")
    columns: dict[int, list[list[float]]] = {}
    for left, *ends in bars:
        columns.setdefault(round(left), []).append(ends)
    assert [len(stack) for _, stack in sorted(columns.items())] == [2, 2, 2]
    first, second, _ = (min(top for top, _ in stack) for _, stack in sorted(columns.items()))
    assert first == pytest.approx(second, abs=1)


@pytest.mark.parametrize("name", ["fano", "weights"])
def test_on_a_phone_controls_stay_in_sight_and_the_sentence_stands_below_them(
    name: str, opened: Page, tmp_path: Path
) -> None:
    opened.set_viewport_size({"width": 390, "height": 844})
    opened.goto(made(name).save(tmp_path / f"{name}.html").as_uri())
    opened.wait_for_function(DRAWN)
    assert opened.evaluate("() => document.documentElement.scrollWidth") <= 390
    opened.evaluate("() => scrollTo(0, 600)")
    box = """(name) => { const {top, bottom} = document.querySelector(name).getBoundingClientRect();
        return [top, bottom]; }"""
    (top, bottom), (above, below) = opened.evaluate(box, "#controls"), opened.evaluate(box, ".lnlib-sentence")
    assert top == 0 and abs(above - bottom) < 2 and below < 500


# Settings by the hundred, for the two labs whose pages compute.
ASK = """(settings) => settings.map(values => {
    for (const [name, value] of Object.entries(values)) {
        const field = document.getElementById("control-" + name);
        field.value = value;
        field.dispatchEvent(new Event(field.type === "number" ? "change" : "input"));
    }
    const {figures, sentence} = globalThis.lnlibScene;
    return {sentence, x: figures[0].data.at(-1).x[0], you: figures[1].data.at(-1).y[0] ?? null,
        y: figures[1].data.map(trace => trace.y)};
})"""


def test_fano_s_page_solves_the_bound_as_the_library_does(opened: Page, tmp_path: Path) -> None:
    lab = labs.FanoLab()
    opened.goto(lab.save(tmp_path / "fano.html").as_uri())
    rng, settings = np.random.default_rng(0), []
    for num_classes in (2, 3, 7, 10, 47, 100, 1000):
        for _ in range(30):
            rate = np.floor(100 * rng.uniform(0, 1 - 1 / num_classes)) / 100
            bits = np.floor(100 * rng.uniform(0, np.log2(num_classes))) / 100
            settings.append({"num_classes": num_classes, "rate": float(rate), "information": float(bits)})
    settings.append({"num_classes": 10, "rate": 0.8, "information": 3.32})
    for c, found in zip(settings, opened.evaluate(ASK, settings), strict=True):
        values = lab.values._replace(**c)
        scene = lab.view({}, values)
        assert found["sentence"] == scene.sentence, c
        expected = scene.figures[0]["data"][-1]["x"][0]
        assert found["x"] == pytest.approx(expected, abs=5e-8), c
        for mine, trace in zip(found["y"], scene.figures[1]["data"], strict=True):
            np.testing.assert_allclose(mine, trace["y"], atol=5e-8)


def test_theorem_2_2_on_a_page_is_the_library_s(opened: Page, tmp_path: Path) -> None:
    lab = GeneralizationLab()
    opened.goto(lab.save(tmp_path / "generalization.html").as_uri())
    rng = np.random.default_rng(1)
    settings = [
        {
            "num_examples": round(float(rng.uniform(1, 6)), 2),
            "information": round(float(rng.uniform(0, 3.32)), 2),
            "sigma": round(0.05 * int(rng.integers(1, 16)), 2),
        }
        for _ in range(150)
    ]
    settings += [{"num_examples": 2, "information": bits, "sigma": 0.5} for bits in (0, 0.5, 1, 3.32)]
    for c, found in zip(settings, opened.evaluate(ASK, settings), strict=True):
        values = lab.values._replace(**c | {"num_examples": round(10 ** c["num_examples"])})
        scene = lab.view({}, values)
        assert found["sentence"] == scene.sentence, c
        for mine, trace in zip(found["y"], scene.figures[1]["data"], strict=True):
            np.testing.assert_allclose(mine, trace["y"], rtol=1e-12, atol=1e-15)
