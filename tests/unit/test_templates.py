"""The templates for a new method and a new lesson, made into one: they keep to the rules and run."""

import importlib.util
import math
import re
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import torch
import yaml
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from torch import nn

from lnlib import data, noise
from lnlib.course import colab, quiz
from lnlib.methods import Batch, CrossEntropy
from lnlib.nets import MLP, Classifier, Net
from lnlib.training import Member, fit, sweep
from tests import lesson_rules

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "docs" / "templates"
PLACED = f"""import importlib.util, pathlib
from lnlib.course import exercises, quiz
templates = pathlib.Path({str(TEMPLATES)!r})
spec = importlib.util.spec_from_file_location("lnlib.course.exercises.my_lesson", templates / "exercises.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
exercises.wrong_of_four = module.wrong_of_four
quiz.of_lesson = lambda name: quiz.read(name, (templates / "quiz.toml").read_text())"""


def template(name: str, place: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A template as the module that it becomes."""
    spec = importlib.util.spec_from_file_location(place, TEMPLATES / name)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, place, module)
    spec.loader.exec_module(module)
    return module


def test_the_method_has_its_closed_form_trains_and_equals_its_solo_runs_in_a_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = template("method.py", "lnlib.methods.generalised", monkeypatch).GeneralisedCrossEntropy
    # Logits (log 3, 0) give s = (3/4, 1/4): by hand (1 − (3/4)^½)/½ and (1 − (1/4)^½)/½ = 1.
    logits = torch.tensor([[math.log(3.0), 0.0]] * 2, dtype=torch.float64)
    nets = {"classifier": Net(Classifier(nn.Identity()))}
    batch = Batch(logits, torch.tensor([0, 1]), num_classes=2)
    expected = (2 * (1 - math.sqrt(0.75)) + 1.0) / 2
    assert made(q=0.5).loss(nets, batch).item() == pytest.approx(expected, rel=1e-12)

    digits = data.load("digits")
    task = data.make_task(digits, noise.uniform(0.4, 10), seed=0)
    settings = {"net": MLP(32, 1), "epochs": 3}
    runs = sweep([Member(made(), task, seed) for seed in (0, 1)], **settings)
    for seed, run in enumerate(runs):
        alone = fit(made(), task, seed=seed, **settings)
        assert run.records[-1].test_accuracy == pytest.approx(alone.records[-1].test_accuracy, abs=0.02)
    longer = {"net": MLP(64, 2), "epochs": 40}
    robust, usual = (fit(one, task, **longer).records[-1].test_accuracy for one in (made(), CrossEntropy()))
    assert robust > usual


@pytest.mark.slow
def test_the_lesson_keeps_to_the_rules_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notebooks" / "07_my_lesson.ipynb"
    path.parent.mkdir()
    book = nbformat.read(TEMPLATES / "lesson.ipynb", as_version=4)
    colab.prepare(book, path.name)
    nbformat.write(book, path)
    monkeypatch.setattr(lesson_rules, "NOTEBOOKS", path.parent)
    monkeypatch.setattr(lesson_rules, "CORE", [path])
    assert [*lesson_rules.faults(path)] == []
    book.cells.insert(0, new_code_cell(PLACED))
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = str([cell.get("outputs") for cell in book.cells])
    assert all(words in outputs for words in ("device: ", "It is 4", "A quiz: 5 questions"))


def test_the_exercise_and_the_quiz_hold_what_the_course_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    made = template("exercises.py", "lnlib.course.exercises.my_lesson", monkeypatch).wrong_of_four
    monkeypatch.setenv("LNLIB_PROGRESS", "")
    assert made.check("25%").correct is True and made.check("0,75").correct is False
    assert len(quiz.read("my_lesson", (TEMPLATES / "quiz.toml").read_text()).questions) == 5


def test_contributing_leads_to_every_template_and_each_place_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in TEMPLATES.iterdir():
        if path.is_file():
            assert f"docs/templates/{path.name}" in text
    for place in re.findall(r"`(lnlib/[\w/]+\.py|tests/[\w/]+\.py)`", text):
        assert (ROOT / place).is_file(), place


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda p: p.stem
)
def test_an_issue_form_has_the_parts_that_github_asks_for(form: Path) -> None:
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} == {*content}
    ids = [part["id"] for part in content["body"]]
    assert len({*ids}) == len(ids) > 0
    for part in content["body"]:
        assert part["type"] in ("input", "textarea") and part["attributes"]["label"].strip()
        assert part.get("validations", {"required": True}) == {"required": True}
