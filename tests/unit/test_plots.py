"""Figures: what is drawn is what the bounds and the frames say; the theme keeps its promises."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kaleido.errors import ChromeNotFoundError
from PIL import Image, ImageColor

from lnlib import bounds
from lnlib.course import plots
from lnlib.course.plots import showing, theme


def trace(figure: go.Figure, name: str) -> go.Scatter:
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def history(epochs: int = 6) -> pd.DataFrame:
    """A made-up run under 50% uniform noise whose second epoch was not evaluated."""
    epoch = np.arange(1, epochs + 1)
    error = np.linspace(0.5, 0.1, epochs)
    entropy = bounds.uniform_label_entropy(0.5, 10)
    frame = pd.DataFrame(
        {
            "epoch": epoch,
            "train_accuracy": 1 - error,
            "clean_accuracy": np.linspace(0.9, 1, epochs),
            "corrupted_fit": np.linspace(0.1, 0.8, epochs),
            "corrupted_recovered": np.linspace(0.9, 0.2, epochs),
            "test_accuracy": np.linspace(0.95, 0.6, epochs),
            "memorized_bits": bounds.memorized_information(error, entropy, 10),
            "memorized_bits_low": bounds.memorized_information(np.minimum(error + 0.02, 1), entropy, 10),
            "memorized_bits_high": bounds.memorized_information(error - 0.02, entropy, 10),
        }
    )
    frame.loc[1, frame.columns != "epoch"] = np.nan
    return frame


def test_figure2_has_the_papers_values() -> None:
    frame = plots.r0_frame([0.2, 0.4, 0.6, 0.8], num_classes=10)
    figure = plots.figure2(frame)
    at = [0, 0.5, 1, 1.5, 2]
    expected = {
        "p = 20%": [0.2, 0.1112, 0.0383, 0, 0],
        "p = 40%": [0.4, 0.2791, 0.1778, 0.0926, 0.0239],
        "p = 60%": [0.6, 0.4368, 0.3093, 0.2033, 0.1139],
        "p = 80%": [0.8, 0.5576, 0.4051, 0.2833, 0.1813],
    }
    assert [line.name for line in figure.data] == list(expected)
    for line in figure.data:
        np.testing.assert_allclose(np.interp(at, line.x, line.y), expected[line.name], atol=2e-4)
    assert len({line.line.dash for line in figure.data}) == 4  # told apart without colour
    # Thinned out, curves have kinks; the highest line is the first of the legend.
    assert not any(line.line.simplify for line in figure.data)
    assert figure.layout.legend.traceorder == "reversed"


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 200), st.floats(0, 1), st.floats(0, 1.2))
def test_the_crossing_lies_on_both_lines(num_classes: int, share: float, part: float) -> None:
    rate = share * (1 - 1 / num_classes)
    entropy = float(bounds.uniform_label_entropy(rate, num_classes))
    information = part * entropy
    figure = go.Figure(plots.fano_crossing(rate, information, num_classes))
    (x,), (y,) = trace(figure, "r₀").x, trace(figure, "r₀").y
    assert y == pytest.approx(max(0, entropy - information), abs=1e-9)
    assert bounds.uniform_label_entropy(x, num_classes) == pytest.approx(y, abs=1e-6)
    assert trace(figure, "H(y|x) − I/n").y == pytest.approx([y, y])
    assert trace(figure, "H(y|x)").y == pytest.approx([entropy, entropy])
    assert max(trace(figure, "impossible: r < r₀").x) == pytest.approx(x)


def test_the_left_side_falls_beyond_its_top() -> None:
    rising, falling = go.Figure(plots.fano_crossing(0.8, 1, 10)).data[:2]
    assert np.all(np.diff(rising.y) > 0)
    assert np.all(np.diff(falling.y) < 0)
    assert rising.x[-1] == falling.x[0] == pytest.approx(0.9)
    assert falling.y[-1] == pytest.approx(np.log2(9))


def test_family_hides_rates_beyond_chance() -> None:
    figure = go.Figure(plots.fano_family(0.5, 0.25, num_classes=2))
    assert [line.visible for line in figure.data[:4]] == [True, True, False, False]
    assert trace(figure, "your p = 50%").y[0] == pytest.approx(0.5)


def test_figure1_averages_runs_and_draws_the_line_of_no_memory() -> None:
    rows = [
        {"method": method, "epoch": epoch, "train_accuracy": value} | {name: value / 2 for name in VALIDATION}
        for method, first in (("CE", 0.2), ("LIMIT-L", 0.1))
        for seed_shift in (0.0, 0.2)
        for epoch, value in ((1, first + seed_shift), (2, np.nan), (3, first + seed_shift + 0.1))
    ]
    figure = plots.figure1(pd.DataFrame(rows), best=0.2)
    train, clean, noisy = ([t for t in figure.data if t.xaxis == axis] for axis in ("x", "x2", "x3"))
    no_memory = "given labels without memorising: 20%"
    assert [t.name for t in train] == [None, "CE", None, "LIMIT-L", "mean and range of 2 runs", no_memory]
    np.testing.assert_allclose(train[1].x, [1, 3])  # the epoch that was not evaluated is left out
    np.testing.assert_allclose(train[1].y, [0.3, 0.4])
    np.testing.assert_allclose(
        train[0].y, [0.4, 0.5, 0.3, 0.2]
    )  # there on the larger run, back on the smaller
    np.testing.assert_allclose(noisy[3].y, [0.1, 0.15])
    np.testing.assert_allclose(train[-1].y, [0.2, 0.2])
    assert [t.name for t in clean if t.name] == ["CE", "LIMIT-L"]  # on clean labels nothing stops at 1 - p
    assert sum(t.showlegend is not False for t in figure.data) == 4
    # Noisy accuracies run from 0.05 to 0.25, and the third panel shows little more.
    low, high = figure.layout.yaxis3.range
    assert low < 0.05 and high > 0.25 and high - low < 1.25 * 0.2
    for name in ("CE", "LIMIT-L"):
        assert len({t.line.color for t in figure.data if t.name == name}) == 1


def test_a_single_run_has_no_band() -> None:
    rows = [{"method": "CE", "epoch": 1.0, "train_accuracy": 0.2} | dict.fromkeys(VALIDATION, 0.1)]
    names = [trace.name for trace in plots.figure1(pd.DataFrame(rows), best=0.2).data]
    assert set(names) == {"CE", "given labels without memorising: 20%"}


def test_figure3_enlarges_what_ends_near_1_minus_p() -> None:
    ends = {"CE": 0.6, "MAE": 0.21, "LIMIT-L": 0.198}
    rows = [
        {"method": method, "epoch": epoch, "train_accuracy": end, "test_accuracy": 0.9}
        for method, end in ends.items()
        for epoch in (1, 2)
    ]
    figure = plots.figure3(pd.DataFrame(rows), rate=0.8)
    first, middle = ([t for t in figure.data if t.xaxis == axis] for axis in ("x", "x2"))
    assert [(t.name, [*t.y]) for t in first] == [(t.name, [*t.y]) for t in middle]
    low, high = figure.layout.yaxis2.range
    assert low < 0.198 and 0.21 < high < 0.6 and 0.1 * (high - low) < 0.21 - 0.198
    assert sum(t.showlegend is not False for t in figure.data) == 4


def test_figure_a0_has_a_place_for_every_beta_and_two_lines_a_q() -> None:
    rows = [
        {"q": q, "beta": beta, "best": best + shift, "last": best - 0.3 + shift}
        for q, best in (("gaussian", 0.7), ("laplace", 0.8))
        for beta in (10.0, 0.0)
        for shift in (0.0, 0.1)
    ]
    figure = plots.figure_a0(pd.DataFrame(rows))
    assert list(figure.layout.xaxis.ticktext) == ["0", "10"]
    lines = {line.name: line for line in figure.data}
    assert list(lines) == [
        "LIMIT-G, best noisy validation",
        "LIMIT-G, last ten evaluations",
        "LIMIT-L, best noisy validation",
        "LIMIT-L, last ten evaluations",
    ]
    np.testing.assert_allclose(lines["LIMIT-L, last ten evaluations"].y, [0.55, 0.55])
    np.testing.assert_allclose(lines["LIMIT-L, last ten evaluations"].error_y.array, [0.05, 0.05])
    assert len({(line.line.color, line.line.dash) for line in figure.data}) == 4


VALIDATION = ("validation_clean_accuracy", "validation_accuracy")


def test_split_draws_each_column_and_its_targets() -> None:
    frame = history()
    known = frame.dropna()
    figure = plots.memorization_split(frame, best=0.5, entropy=2.585)
    for name, column in {
        "all given labels": "train_accuracy",
        "clean part": "clean_accuracy",
        "corrupted part, fitted": "corrupted_fit",
        "corrupted part, recovered": "corrupted_recovered",
        "test": "test_accuracy",
        "memorised bits": "memorized_bits",
    }.items():
        np.testing.assert_allclose(trace(figure, name).x, known["epoch"])
        np.testing.assert_allclose(trace(figure, name).y, known[column])
    np.testing.assert_allclose(trace(figure, "given labels without memorising: 50%").y, [0.5, 0.5])
    np.testing.assert_allclose(trace(figure, "H(y|x) = 2.58 bits").y, [2.585, 2.585])
    band = trace(figure, "95% band: the luck of the draw").y
    np.testing.assert_allclose(band[: len(known)], known["memorized_bits_high"])
    np.testing.assert_allclose(band[: len(known) - 1 : -1], known["memorized_bits_low"])
    assert {t.legend for t in figure.data if t.xaxis == "x2"} == {"legend2"}


def test_bound_check_shows_draws_and_their_mean() -> None:
    bound = plots.r0_frame([0.8], 10).assign(bound="Theorem 2.1")
    measured = pd.DataFrame({"information": [0, 0, 1, 1], "error_rate": [0.79, 0.81, 0.5, 0.6]})
    figure = plots.bound_check(bound, measured, "title")
    np.testing.assert_allclose(trace(figure, "one draw of the noise").y, [0.79, 0.81, 0.5, 0.6])
    np.testing.assert_allclose(trace(figure, "mean of the draws").y, [0.8, 0.55])
    np.testing.assert_allclose(trace(figure, "Theorem 2.1").y[0], 0.8)


def test_methods_differ_in_more_than_colour() -> None:
    looks = [(style.dash, style.symbol) for style in theme.STYLES.values()]
    assert len(set(looks)) == len(looks)
    assert len({style.color for style in theme.STYLES.values()}) == len(looks)


def test_a_method_without_a_style_keeps_the_same_spare_one() -> None:
    assert plots.style("some new method") == plots.style("some new method")
    spare = {plots.style(f"method {number}") for number in range(50)}
    assert len(spare) > 5
    assert not spare & set(theme.STYLES.values())


def test_small_print_takes_a_line_of_its_own() -> None:
    figure = plots.figure2(plots.r0_frame([0.2], 10))
    height, bottom = figure.layout.height, figure.layout.margin.b
    assert plots.small_print(figure, "digits · seed 0") is figure
    assert figure.layout.height - height == figure.layout.margin.b - bottom > 11
    assert figure.layout.annotations[-1].text == "digits · seed 0"
    two = plots.small_print(plots.figure2(plots.r0_frame([0.2], 10)), "one", "two")
    assert two.layout.annotations[-1].text == "one<br>two" and two.layout.height > figure.layout.height
    long = plots.small_print(plots.figure2(plots.r0_frame([0.2], 10)), " ".join(["word"] * 60))
    lines = long.layout.annotations[-1].text.split("<br>")
    assert len(lines) == 2
    assert max(map(len, lines)) * theme.CHARACTER < theme.PNG_WIDTH - theme.TEMPLATE.layout.margin.l
    assert long.layout.height == two.layout.height


@pytest.fixture(params=["no browser", "no kaleido"])
def no_browser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> bytes:
        raise ChromeNotFoundError

    if request.param == "no kaleido":  # as on a GPU server, whose kernel needs no JupyterLab
        for name in [name for name in sys.modules if name.partition(".")[0] == "kaleido"]:
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(go.Figure, "to_image", fail)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that draws a red picture."""

    def draw(self: go.Figure, format: str, width: int, scale: float) -> bytes:
        file = io.BytesIO()
        Image.new("RGBA", (int(width * scale), 300), "red").save(file, format)
        return file.getvalue()

    monkeypatch.setattr(go.Figure, "to_image", draw)


@pytest.mark.usefixtures("no_browser")
def test_without_a_browser_the_html_is_written_and_works_offline(tmp_path: Path) -> None:
    files = plots.save(go.Figure(), tmp_path / "figure-0.5")
    assert files == [tmp_path / "figure-0.5.html"]
    html = files[0].read_text(encoding="utf-8")
    assert "cdn.plot.ly" not in html.split("<body>")[1][:2000]
    assert len(html) > 1_000_000  # plotly itself is in it


@pytest.mark.usefixtures("drawn")
def test_save_writes_png_and_html(tmp_path: Path) -> None:
    png, html = plots.save(go.Figure(), tmp_path / "figure")
    with Image.open(png) as image:
        assert image.size == (1500, 300)
        assert image.convert("RGB").getpixel((5, 5)) == (255, 0, 0)
    assert 'role="img" aria-label="An empty figure."' in html.read_text(encoding="utf-8")


def test_a_picture_keeps_the_methods_apart_beside_many_greys(monkeypatch: Any, tmp_path: Path) -> None:
    colors = sorted({one.color for one in theme.STYLES.values()})

    def draw(self: go.Figure, format: str, width: int, scale: float) -> bytes:
        """A dot of each colour below a white page whose letters have every grey."""
        page = Image.linear_gradient("L").resize((int(width * scale), 600)).convert("RGB")
        for place, color in enumerate(colors):
            page.paste(color, (20 * place, 590, 20 * place + 8, 598))
        file = io.BytesIO()
        page.save(file, format)
        return file.getvalue()

    monkeypatch.setattr(go.Figure, "to_image", draw)
    png, _ = plots.save(go.Figure(), tmp_path / "figure")
    with Image.open(png) as image:
        kept = image.convert("RGB")
        found = [kept.getpixel((20 * place + 4, 594)) for place in range(len(colors))]
    assert len({*found}) == len(colors)
    for color, pixel in zip(colors, found, strict=True):
        assert max(abs(one - other) for one, other in zip(ImageColor.getrgb(color), pixel, strict=True)) <= 8


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    bundles: list[dict[str, Any]] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: bundles.append(bundle))
    monkeypatch.delenv("LNLIB_PICTURES", raising=False)
    return bundles


def test_show_gives_an_interactive_figure_that_follows_the_theme(displayed: list[dict[str, Any]]) -> None:
    plots.show(go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="line"), layout_template=theme.TEMPLATE))
    style, bundle = displayed
    figure = bundle["application/vnd.plotly.v1+json"]
    assert figure["data"][0]["name"] == "line"
    assert figure["layout"]["paper_bgcolor"] == figure["layout"]["plot_bgcolor"] == "rgba(0,0,0,0)"
    assert "<style>" in style["text/html"] and "image/png" not in bundle


def test_a_gallery_has_no_tool_bar_and_keeps_its_white_card(displayed: list[dict[str, Any]]) -> None:
    plots.show(plots.gallery(np.zeros((2, 1, 8, 8), np.uint8), ["a", "b"], [False, True]))
    figure = displayed[1]["application/vnd.plotly.v1+json"]
    assert figure["config"]["displayModeBar"] is False
    assert "paper_bgcolor" not in figure["layout"]


@pytest.mark.usefixtures("drawn")
def test_show_in_a_lesson_that_is_saved_gives_a_picture_with_alternative_text(
    displayed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LNLIB_PICTURES", "1")
    plots.show(go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="a < b"), layout_title_text="Two <b>points</b>"))
    (bundle,) = displayed
    assert bundle[showing.FIGURE]["data"][0]["name"] == "a < b"
    assert (
        '<img alt="Two points. a &lt; b: from 3 to 4." style="max-width:100%" src="data:image/png;base64,'
        in (bundle["text/html"])
    )
    assert "application/vnd.plotly.v1+json" not in bundle


@pytest.mark.usefixtures("no_browser")
def test_a_saved_lesson_without_a_browser_keeps_the_words(
    displayed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LNLIB_PICTURES", "1")
    plots.show(go.Figure())
    assert displayed[0]["text/plain"] == "An empty figure." and "text/html" not in displayed[0]


def test_figures_say_what_they_show() -> None:
    told = plots.describe(plots.memorization_split(history(), 0.5, 2.585))
    for part in (
        "What is fitted, and what is recovered; Memorised label information, at least",
        "axes: epoch, accuracy, bits per label",
        "corrupted part, fitted: from 0.1 to 0.8",
        "H(y|x) = 2.58 bits: at 2.58",
    ):
        assert part in told
    pictures = plots.describe(
        plots.gallery(np.zeros((2, 1, 8, 8), np.uint8), ["given 3", "given 5"], [False, True])
    )
    assert pictures == "given 3; ✗ given 5."
    bars = plots.describe(go.Figure(go.Bar(x=[1, 2], y=[3, 4], name="bars")))
    assert bars == "bars: 2 bars from 3 to 4."
