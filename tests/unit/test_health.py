"""A method's own health: what trains nothing, learns nothing or has nothing to learn from is said."""

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lnlib.cli.app import app
from lnlib.papers.spec import Spec

DMI = ["--method", "dmi", "--rate", "0.2", "--train-size", "300", "--epochs", "3"]


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LNLIB_RUNS", str(tmp_path))


def train(*arguments: str) -> tuple[dict[str, object], str]:
    result = CliRunner().invoke(app, ["train", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr


def test_dmi_with_more_classes_than_its_batch_says_that_it_trained_nothing() -> None:
    told, said = train(*DMI, "--batch-size", "8")
    assert told["last"]["loss"] == pytest.approx(math.log(1000), abs=1e-9)  # -log .001, at each step
    assert told["last"]["singular_batches"] == 38  # 300 images in batches of 8
    assert said.count("warning: 114 of 114 batches lacked a class and trained nothing") == 1
    assert "far above the 10 classes, got 8" in told["warnings"][0]
    shown = CliRunner().invoke(app, ["train", *DMI, "--batch-size", "8"])
    assert "batches without some class 38 38" in " ".join(shown.stdout.split())


def test_a_healthy_method_warns_of_nothing() -> None:
    told, said = train(*DMI, "--batch-size", "100")
    assert told["warnings"] == [] and "warning" not in said
    told, _ = train("--rate", "0.2", "--train-size", "300", "--epochs", "3")
    assert told["warnings"] == []


def test_a_network_at_chance_is_told_with_what_chance_is() -> None:
    # So small steps leave the network where it began.
    told, said = train("--rate", "0.0", "--epochs", "1", "--lr", "1e-9", "--width", "1")
    (warning,) = told["warnings"]
    assert warning.startswith("the validation accuracy ended at") and "at chance" in warning
    assert "the most frequent given label alone has 10.3%" in warning  # 31 of 300
    assert f"warning: {warning}" in said


@pytest.mark.parametrize(
    ("noise", "rate", "hopeless"),
    [
        ("uniform", 0.9, True),
        ("uniform", 0.95, True),
        ("uniform", 0.89, False),
        ("symmetric", 0.95, False),
        ("pair", 0.2, False),
    ],
)  # of ten classes
def test_a_rate_that_leaves_no_information_is_noted(noise: str, rate: float, hopeless: bool) -> None:
    text = Spec.parse({"noise": noise, "rate": rate}).note()
    assert ("no method can tell them apart without clean data" in text) is hopeless
    assert bool(text) is hopeless


def test_the_note_stands_beside_that_of_the_network() -> None:
    text = Spec.parse({"rate": 0.9, "net": "cnn"}).note()
    assert text.startswith("the CNN resizes 8×8 images to 28×28; at noise rate 0.9 of 10 classes")
