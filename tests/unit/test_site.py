"""How the site's sources are made from lessons, docstrings and labs; that it builds is a browser test's."""

import ast
import base64
import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest

from lnlib.course import labs
from lnlib.course.labs import LABS, lab_named
from lnlib.course.labs.base import Lab
from lnlib.course.labs.saved import content
from website import cells, prepare, reference
from website.__main__ import build
from website.labs import FRONT, KEPT, ROOT, lab_of, lessons_with_labs
from website.trim_mathjax import trimmed

NOTEBOOKS = sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb"))


def unpacked(packed: str) -> dict[str, Any]:
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def kept(name: str) -> dict[str, Any]:
    return json.loads(gzip.decompress((KEPT / f"{name}.json.gz").read_bytes()))


def test_every_lab_stands_in_a_lesson_and_is_kept() -> None:
    assert {name for name, _ in lessons_with_labs()} == set(LABS)
    assert {path.name.removesuffix(".json.gz") for path in KEPT.iterdir()} == {*LABS, FRONT}


@pytest.mark.parametrize("name", [*LABS, FRONT])
def test_a_kept_lab_has_the_views_that_the_lab_has(name: str) -> None:
    kind = lab_named("memorization" if name == FRONT else name)
    for setup in kept(name)["setups"]:
        assert [(view["name"], view["label"]) for view in setup["views"]] == [
            (view, control.label) for view, control in kind.views.items()
        ]
    assert kept(name)["words"] == kind.words


@pytest.mark.parametrize(("name", "lab"), [("entropy", labs.EntropyLab), ("fano", labs.FanoLab)])
def test_a_lab_that_trains_nothing_is_kept_as_it_would_be_saved_now(name: str, lab: type[Lab]) -> None:
    path = dict(lessons_with_labs())[name]
    (source,) = [one.source for one in nbformat.read(path, 4).cells if lab_of(one.source) == name]
    call = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    now = unpacked(content(lab(**{one.arg: ast.literal_eval(one.value) for one in call.keywords})))
    said = [{part for part in one["pool"] if isinstance(part, str)} for one in (kept(name), now)]
    assert said[0] == said[1]  # sentences and titles; numbers may differ in their last digits
    assert kept(name)["setups"][0]["views"] == now["setups"][0]["views"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_prediction_of_a_lesson_can_be_made_and_is_answered(path: Path) -> None:
    book = nbformat.read(path, 4)
    asked = sum("predict.number(" in cell.source or "predict.choice(" in cell.source for cell in book.cells)
    cells.enliven(book)
    shown = [
        out["data"].get("text/html", "")
        for cell in book.cells
        for out in cell.get("outputs", [])
        if "data" in out
    ]
    places = [text for text in shown if "lnlib-predict" in text]
    assert len(places) == asked
    answers = [text for text in shown if "lnlib-verdict" in text]
    for text in places:
        name = text.partition('data-name="')[2].partition('"')[0]
        assert sum(f'data-name="{name}"' in answer for answer in answers) == 1, name
    assert "lnlib.figure+json" not in nbformat.writes(book)


def predicted(source: str) -> str:
    (statement,) = ast.parse(source).body
    assert isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call)
    return cells.place_to_predict("it", statement.value)


def test_a_predicted_number_is_a_slider_with_its_range_and_unit() -> None:
    text = predicted('it = predict.number("bits & more", 0, 4, "bits")')
    assert 'min="0" max="4" step="0.04" value="2.0"' in text
    assert 'data-unit="bits"' in text and "bits &amp; more" in text


def test_a_predicted_choice_is_a_button_each_and_words_where_the_choices_are_computed() -> None:
    text = predicted('it = predict.choice("which", ("more", "less"))')
    assert text.count('type="radio"') == 2 and 'value="less"' in text
    assert 'type="text"' in predicted('it = predict.choice("which", tuple(names))')


def test_a_text_s_links_lead_to_pages_of_the_site_or_become_words() -> None:
    text = (
        "[a](../notebooks/b.ipynb#C-d), [e](f.md), [g](https://h.org), `[i](j.md)` and ![k](l.png), "
        "[![badge](https://m.org/n.svg)](https://o.org)"
    )
    assert prepare.linked(text, "docs/x.md", {"notebooks/b.ipynb"}) == (
        "[a](../notebooks/b.ipynb#C-d), e, [g](https://h.org), `[i](j.md)` and ![k](l.png), "
        "[badge](https://o.org)"
    )


def test_the_teacher_s_pages_are_taken_in_only_when_asked_for(tmp_path: Path) -> None:
    for teacher in (False, True):
        prepare.prepare(tmp_path / "sources", teacher)
        assert (tmp_path / "sources/docs/teach/exam.md").is_file() == teacher
        assert ("docs/teach/exam" in (tmp_path / "sources/index.md").read_text()) == teacher
        assert ("](teach/" in (tmp_path / "sources/docs/fidelity.md").read_text()) == teacher


Rate = float


@dataclass(frozen=True)
class Parent:
    rate: Rate
    names: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class Child(Parent):
    """Fields of its own come last."""

    size: int = 3

    def act(self, other: Rate, *, twice: bool = False) -> Rate:
        return other


def test_the_reference_shows_arguments_as_they_are_written() -> None:
    assert reference.signature(Child) == ("(rate: Rate, names: tuple[str, ...] = ..., size: int = 3)", "")
    assert reference.signature(Child.act) == ("(other: Rate, *, twice: bool=False)", "Rate")
    assert reference.signature(Child.__eq__) is None


def test_a_docstring_s_signs_are_no_markup() -> None:
    lines = ["H(y|x) of `x_` and *all* a_b, 5 \\ 3"]
    assert reference.as_restructured(lines) == ["H(y\\|x) of ``x_`` and \\*all\\* a\\_b, 5 \\\\ 3"]


def test_every_public_module_has_its_place_in_the_reference() -> None:
    shown = {
        name for rooms in reference.rooms().values() for room in rooms for name in reference.modules(room)
    }
    package = ROOT / "lnlib"
    there = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in package.rglob("*.py")
        if not path.stem.startswith("_") or path.stem == "__init__"
    }
    outside = {"lnlib", "lnlib.__main__", "lnlib.course", "lnlib.doctor", "lnlib.urls"}  # doors and settings
    assert {name for name in there - shown if not name.startswith("lnlib.cli")} <= outside


def test_the_font_loses_the_alphabets_that_are_not_used_and_nothing_else() -> None:
    font = 'x(AddPaths)(V.normal,{65:"M1",120068:"M2",120120:"M3"},{}),(0,H.AddPaths)(V.fraktur,{65:"M4"},{})'
    assert trimmed(font) == ('x(AddPaths)(V.normal,{65:"M1",120120:"M3"},{}),(0,H.AddPaths)(V.fraktur,{},{})')


@pytest.mark.parametrize("ours", [True, False], ids=["a site", "another folder"])
def test_a_site_takes_the_place_of_an_older_one_and_of_nothing_else(
    ours: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "site"
    output.mkdir()
    old = output / "teacher.html"
    old.touch()
    if ours:
        (output / ".buildinfo").touch()
    monkeypatch.setattr("website.__main__.prepare", lambda sources, teacher: None)
    monkeypatch.setattr("sphinx.cmd.build.main", lambda arguments: 0)
    assert build(output) == 0
    assert old.exists() is not ours
