"""What every lab does: says what it shows, stops, tells of failures, and is one file when it is saved."""

import base64
import gzip
import json
import math
import re
import threading
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import ipywidgets as widgets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lnlib import data
from lnlib.course import plots
from lnlib.course.labs import LABS, MemorizationLab, lab_named, panels, runs, saved
from lnlib.course.labs.base import Lab
from lnlib.course.labs.controls import LogSlider, Menu, Number, Slider, Steps
from lnlib.course.labs.panels import Scene, to_json
from lnlib.course.labs.words import bits, percent, significant, whole
from lnlib.course.plots.theme import line, panel, stroke
from lnlib.errors import DataUnavailable, InvalidValue, LnlibError, UnknownName
from tests.lab_tools import PATIENCE, move, scene, trained
from tests.lab_tools import panels as drawn

ALL = [lab_named(name) for name in LABS]
TRAIN = [kind for kind in ALL if kind.job is not Lab.job]


class ToyLab(Lab):
    """A toy: powers of numbers."""

    settings: ClassVar = {
        "kind": Menu(value="sum", label="kind", options=["sum", "product"]),
        "most": Number(value=3, label="most", low=1, high=5),
        "scale": Number(value=1.0, label="scale", high=10, when=lambda c: c.kind == "product"),
    }
    views: ClassVar = {
        "power": Slider(value=None, label="power", low=1, high=lambda c: c.most, step=1),
        "base": Steps(value=2.0, label="base", values=(2.0, 3.0)),
        "share": Slider(value=0.5, label="share", high=lambda c: c.most / 5, step=0.1),
    }

    def grid(self, c: Any) -> list[int]:
        return list(range(1, c.most + 1))

    def job(self, c: Any, keys: Any, report: Callable[[int, int], None]) -> dict[int, float]:
        for done, _ in enumerate(keys, start=1):
            report(done, len(keys))
        return {key: c.scale * key for key in keys}

    def actions(self, results: Any, c: Any) -> dict[str, list[int]]:
        return {"More": [c.most + 1] if results and c.most + 1 not in results else []}

    def view(self, results: Any, c: Any) -> Scene:
        height = results.get(c.power, math.nan) * c.base**c.power
        figure = panel(
            "A power",
            "x",
            "y",
            {"range": [0, 1]},
            {"range": [0, 300]},
            [line([0, 1], np.array([0, height]), "line", stroke("#000000"))],
        )
        told = f"{height:g} at {c.share:.1f}" if results else ""
        return Scene([figure], told, f"{c.kind} <b>", "odd" if c.power == 3 else "")


# A lab is declared.


def test_controls_are_attributes_and_arguments_by_name_or_place() -> None:
    lab = ToyLab("product", most=4, base=3.0)
    assert lab.values == ("product", 4, 1.0, 4, 3.0, 0.5)
    assert (lab.base.value, lab.power.max) == (3.0, 4)
    with pytest.raises(AttributeError, match=r"ToyLab has no 'speed'; its controls are kind, most, scale"):
        _ = lab.speed


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"kind": "sun"}, "sum"),
        ({"most": 6}, "most must be a whole number from 1 to 5, got 6"),
        ({"most": 2.5}, "got 2.5"),
        ({"most": True}, "got True"),
        ({"most": "3"}, "got '3'"),
        ({"most": None}, "got None"),
        ({"most": math.nan}, "got nan"),
        ({"scale": math.inf}, "scale must be a number from 0 to 10, got inf"),
        ({"base": 4.0}, "base must be one of 2, 3, got 4.0"),
        ({"power": 4}, r"power must lie in \[1, 3\], got 4"),
        ({"share": "half"}, "got 'half'"),
        ({"most": 2, "share": 0.5}, r"share must lie in \[0, 0.4\], got 0.5"),
    ],
)
def test_a_first_value_that_a_control_does_not_have_is_named(options: dict[str, Any], hint: str) -> None:
    with pytest.raises((InvalidValue, UnknownName), match=hint):
        ToyLab(**options)


@pytest.mark.parametrize(
    ("typed", "kept", "note"),
    [
        (1e9, 5, "most is a whole number from 1 to 5: 1e+09 became 5."),
        (3.7, 4, "most is a whole number from 1 to 5: 3.7 became 4."),
        (-2, 1, "most is a whole number from 1 to 5: -2 became 1."),
        (math.nan, 3, "most is a whole number from 1 to 5: nan became 3."),
        (4, 4, ""),
    ],
)
def test_what_a_field_does_not_take_is_announced(typed: float, kept: int, note: str) -> None:
    lab = ToyLab(share=0.2)
    move(lab.most, typed)
    assert (lab.most.value, lab.values.most, scene(lab)["note"]) == (kept, kept, note)


def test_a_limit_that_moves_a_slider_is_announced_and_one_that_is_followed_is_not() -> None:
    lab = ToyLab()
    move(lab.most, 2)
    assert (lab.share.value, lab.power.value) == (0.4, 2)
    assert scene(lab)["note"] == "share ends at 0.4 now: 0.5 became 0.4."
    move(lab.most, 5)
    assert (lab.share.max, lab.power.value, scene(lab)["note"]) == (1.0, 5, "")


def test_what_is_grey_does_not_decide_what_is_trained() -> None:
    lab = trained(ToyLab())
    assert lab.scale.disabled
    move(lab.scale, 7.0)
    assert lab.results == {1: 1, 2: 2, 3: 3}
    lab.kind.value = "product"
    assert not lab.scale.disabled and lab.results == {}
    assert trained(lab).results == {1: 7, 2: 14, 3: 21}


def test_further_buttons_train_their_keys() -> None:
    lab = ToyLab()
    more = lab.action_buttons["More"]
    assert more.disabled
    trained(lab)
    assert not more.disabled
    more.click()
    assert lab.wait(PATIENCE) and lab.results[4] == 4 and more.disabled


def test_one_update_for_several_changes() -> None:
    lab, sent = ToyLab(), []
    lab.panels.scene.observe(lambda change: sent.append(change), "value")
    with lab.one_update(), lab.one_update():
        lab.base.value, lab.share.value, lab.power.value = 3.0, 0.1, 1
        assert not sent
    assert len(sent) == 1


def test_equal_scenes_are_not_sent_again() -> None:
    lab, sent = ToyLab(), []
    lab.panels.scene.observe(lambda change: sent.append(change), "value")
    move(lab.share, 0.2)
    assert not sent, "untrained, the share changes nothing that is seen"


def test_results_stay_until_reset() -> None:
    lab = trained(ToyLab())
    lab.most.value = 5
    lab.most.value = 3
    assert lab.sentence == "24 at 0.5" and "trained" in lab.status.value
    lab.base.value = 3.0
    lab.reset_button.click()
    assert lab.values == ToyLab().values and lab.results == {}
    assert "Press Train" in scene(lab)["sentence"]


# The page and its one script.


def test_the_script_is_held_once_and_comes_back_after_close_all() -> None:
    one, other = ToyLab(), ToyLab()
    held = one.panels.script
    assert held is other.panels.script
    assert gzip.decompress(held.value).startswith(b"/**\n* plotly.js v")
    widgets.Widget.close_all()
    later = ToyLab().panels.script
    assert later is not held and later.comm is not None and later.value == held.value


def test_what_changes_is_in_a_widget_of_the_widgets_own_model() -> None:
    lab = ToyLab()
    state = lab.panels.scene.get_state()
    assert (state["_model_module"], state["_model_name"]) == ("@jupyter-widgets/base", "WidgetModel")
    before = {key: value for key, value in lab.panels.get_state().items()}
    move(lab.base, 3.0)
    assert lab.panels.get_state() == before
    assert json.loads(lab.panels.scene.value)["small_print"] == "sum <b>"


def test_json_is_strict_and_keeps_every_number() -> None:
    values = np.array([0.1, 0.0, -1e300])
    gaps = np.array([0.1, np.nan, 2.0])
    packed = json.loads(to_json({"x": values, "y": gaps, "n": np.int64(3), "f": np.float32(0.5)}))
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(packed["x"]["bdata"])), values)
    assert (packed["y"], packed["n"], packed["f"]) == ([0.1, None, 2.0], 3, 0.5)
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json([math.nan])


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_panel_has_a_title_axes_and_words_for_those_who_do_not_see(kind: type[Lab]) -> None:
    lab = kind()
    assert 2 <= len(drawn(lab)) <= 4
    for figure in drawn(lab):
        assert figure.layout.title.text and figure.layout.yaxis.title.text
        assert len(figure.layout.meta["alt"]) > 30
        assert None not in (figure.layout.xaxis.range, figure.layout.yaxis.range), "an axis that may jump"


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_a_view_is_pure(kind: type[Lab]) -> None:
    lab = kind()
    c = lab.values
    before = to_json(lab.view({}, c))
    for name, control in kind.views.items():
        if isinstance(control, (Slider, LogSlider)):
            lab.view({}, c._replace(**{name: control.check(control.low, c)}))
    assert to_json(lab.view({}, c)) == before


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_a_lab_says_in_a_notebook_what_to_do_where_widgets_are_not_shown(
    kind: type[Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles: list[dict[str, Any]] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **_: bundles.append(bundle))
    monkeypatch.delenv("LNLIB_PICTURES", raising=False)
    lab = kind()
    lab._ipython_display_()
    (bundle,) = bundles
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == lab.widget.model_id
    assert bundle["text/plain"] == f"{kind.__name__}. Run this cell to move the sliders."


def test_a_saved_lesson_shows_a_still_picture_of_what_was_trained_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[Any] = []

    class Handle:
        def update(self, bundle: Any, raw: bool) -> None:
            shown.append(("again", bundle))

    def display(bundle: Any, raw: bool, display_id: bool = False) -> Any:
        shown.append(("first", bundle))
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(plots, "picture", lambda figure: figure.data[0].y[-1])
    monkeypatch.setenv("LNLIB_PICTURES", "1")
    lab = ToyLab()
    monkeypatch.setattr(lab, "still", lambda results, c: drawn(lab)[0])
    lab._ipython_display_()
    (_, untrained), (_, line_below) = shown
    assert untrained is None
    assert line_below["text/markdown"] == "*A still picture. Run this cell to move the sliders.*"
    trained(lab)
    assert shown[2] == ("again", 24)


# The data menu.


def test_the_data_menu_holds_what_is_here_and_a_line_says_how_to_get_the_rest() -> None:
    lab = MemorizationLab()
    here = [info.name for info in data.available() if info.present]
    missing = len(data.available()) - len(here)
    assert list(lab.dataset.options) == here
    texts = [child.value for child in lab.widget.children if isinstance(child, widgets.HTML)]
    assert any(f"{missing} more data sets can be had: `lnlib data`" in text for text in texts)


def test_a_data_set_that_is_not_here_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    info = data.DatasetInfo("mnist", "MNIST", False, "there", "large", "run `lnlib data fetch mnist`")
    monkeypatch.setattr(data, "available", lambda: [info])
    with pytest.raises(DataUnavailable, match=r"mnist is not on this machine; run `lnlib data fetch mnist`"):
        MemorizationLab("mnist")


# Labs that train.


@pytest.fixture(params=TRAIN, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[Lab]:
    found: type[Lab] = request.param
    return found


@pytest.fixture
def endless(kind: type[Lab], monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Training that goes on until it is stopped; the event says that it runs."""
    running, over = threading.Event(), threading.Event()

    def job(self: Lab, c: Any, keys: Any, report: Callable[[int, int], None]) -> None:
        for step in range(1, 10**6):
            report(step, 10**6)
            running.set()
            if over.wait(0.001):
                break
        raise AssertionError("nobody stopped this")

    monkeypatch.setattr(kind, "job", job)
    yield running
    over.set()


def test_stop_stops_and_leaves_the_lab_ready(kind: type[Lab], endless: threading.Event) -> None:
    lab = kind(epochs=2)
    lab.train_button.click()
    assert endless.wait(PATIENCE)
    assert lab.train_button.disabled and not lab.stop_button.disabled
    assert "left" in lab.status.value and "Training in the background" in scene(lab)["sentence"]
    move(lab.epoch, 1)
    assert "1" in scene(lab)["small_print"] and lab.values.epoch == 1, "the lab answers while it trains"
    lab.stop_button.click()
    assert lab.wait(PATIENCE)
    assert lab.stop_button.disabled and not lab.train_button.disabled
    assert "stopped" in lab.status.value
    assert lab.progress.value == 0
    assert not lab.results


@pytest.mark.parametrize(
    "error", [DataUnavailable("no <mnist> here; fetch it"), ZeroDivisionError("by zero")]
)
def test_a_failure_shows_in_the_lab(
    kind: type[Lab], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Lab, c: Any, keys: Any, report: Any) -> None:
        raise error

    monkeypatch.setattr(kind, "job", fail)
    lab = kind(epochs=2)
    lab.train_button.click()
    with pytest.raises(type(error)):
        lab.wait(PATIENCE)
    told = lab.failure.value.split("<details>")[0]
    if isinstance(error, LnlibError):
        assert "no &lt;mnist&gt; here" in told and "DataUnavailable:" not in told
    else:
        assert "ZeroDivisionError: by zero" in told
    assert "<details>" in lab.failure.value and "Traceback" in lab.failure.value
    assert "failed" in lab.status.value
    assert not lab.train_button.disabled
    lab.reset()
    assert lab.failure.value == ""


def test_training_loads_its_data_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    load = data.load
    monkeypatch.setattr(data, "load", lambda name: (asked.append(name), load(name))[1])
    runs.load.cache_clear()
    for rate in (0.1, 0.2):
        runs.uniform_task("digits", rate, 0)
    assert asked == ["digits"]


# A lab as one file.


def content(path: Path) -> dict[str, Any]:
    """What a saved page holds."""
    (packed,) = re.findall(r'id="lab">([^<]*)<', path.read_text(encoding="utf-8"))
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def answered(page: dict[str, Any], number: int, at: tuple[int, ...]) -> dict[str, Any]:
    """The scene of a page at positions of its controls, as its script looks it up."""
    setup, found = page["setups"][number], {}
    for place, axes, ids in setup["tables"]:
        index = 0
        for axis in axes:
            index = index * setup["shape"][axis] + at[axis]
        if ids[index]:
            found[tuple(place)] = page["pool"][ids[index]]
    return found


def test_a_saved_page_answers_as_the_lab_does(tmp_path: Path) -> None:
    lab = trained(ToyLab())
    lab.most.value = 2
    lab.kind.value = "product"
    lab.scale.value = 5.0
    trained(lab)
    page = content(lab.save(tmp_path / "new" / "toy.html"))
    assert [setup["label"] for setup in page["setups"]] == ["product · most 2 · scale 5", "sum · most 3"]
    for number, (c, results) in enumerate(lab.trained()):
        positions = lab.positions(results, c)
        for at in product(*(range(len(offered)) for offered in positions.values())):
            values = {
                name: offered[place][0] for (name, offered), place in zip(positions.items(), at, strict=True)
            }
            expected = dict(saved.parts(lab.view(results, c._replace(**values))))
            found = answered(page, number, at)
            assert found == {key: part for key, part in json_of(expected).items() if part is not None}


def json_of(parts: dict[Any, Any]) -> dict[Any, Any]:
    return {place: json.loads(to_json(value)) for place, value in parts.items()}


def test_a_saved_page_holds_each_value_once_and_tables_only_over_what_matters(tmp_path: Path) -> None:
    lab = trained(ToyLab())
    page = content(lab.save(tmp_path / "toy.html"))
    texts = [json.dumps(value, sort_keys=True) for value in page["pool"]]
    assert len(set(texts)) == len(texts)
    over = {tuple(place): axes for place, axes, _ in page["setups"][0]["tables"]}
    assert over["figures", 0, "data", 0, "x"] == [] and over["note",] == [0]
    assert over["figures", 0, "data", 0, "y"] == [0, 1] and over["sentence",] == [0, 1, 2]


def test_a_page_needs_nothing_else_and_names_are_escaped(tmp_path: Path) -> None:
    lab = trained(ToyLab())
    path = lab.save(tmp_path / "toy.html")
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)\s*=\s*["\']', text.split('id="lab"')[0])
    assert "<title>A toy: powers of numbers</title>" in text
    assert path.stat().st_size < 3e6
    kept = path.stat().st_ino
    lab.save(path)
    assert path.stat().st_ino != kept


def test_an_untrained_lab_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="got an untrained lab; call train"):
        ToyLab().save(tmp_path / "toy.html")
    assert not list(tmp_path.iterdir())


def test_every_script_of_a_page_is_there() -> None:
    for kind in ALL:
        assert not kind.script or (panels.PAGE / kind.script).is_file()
        assert bool(kind.words) == bool(kind.script)


def test_labs_are_found_by_name() -> None:
    assert [kind.__name__ for kind in ALL] == list(LABS.values())
    with pytest.raises(UnknownName, match="memorization"):
        lab_named("memorisation")


# Numbers in words.


def test_numbers_in_words() -> None:
    assert [percent(share) for share in (0.8, 0.4051, 0.0383, 1.0, 0.0)] == [
        "80%",
        "40.5%",
        "3.83%",
        "100%",
        "0%",
    ]
    assert percent(3e-9) == "under 0.001%"
    assert [bits(amount) for amount in (0.0, 0.5, 1.0, 2.25)] == ["0 bits", "0.5 bits", "1 bit", "2.25 bits"]
    assert [whole(number) for number in (22.5, 23.5, 1234567.4)] == ["23", "24", "1,234,567"]
    assert significant(0.0000187, 2) == "0.000019"


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-4, 1e6))
def test_significant_digits_are_those_of_the_number(number: float) -> None:
    told = significant(number, 3)
    assert "e" not in told and float(told) == pytest.approx(number, rel=5.01e-3)
