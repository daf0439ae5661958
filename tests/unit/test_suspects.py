"""`lnlib suspects`: the list that it writes, and the planted wrong labels at its top."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from lnlib.cli.app import app

PLANTED = ("dark/b3.png", "dark/b17.png", "bright/d5.png")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["suspects", *arguments])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Dark and bright pictures, three of which lie in the wrong folder."""
    root, generator = tmp_path / "my pictures", np.random.default_rng(0)
    for letter, level in (("d", 60), ("b", 190)):
        for number in range(40):
            name = f"{letter}{number}.png"
            folder = "dark" if letter == "d" else "bright"
            if f"dark/{name}" in PLANTED or f"bright/{name}" in PLANTED:
                folder = "bright" if folder == "dark" else "dark"
            (root / folder).mkdir(parents=True, exist_ok=True)
            pixels = (level + generator.normal(0, 15, (12, 12))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / folder / name)
    return root


def test_wrong_labels_in_the_readers_own_pictures_come_first(pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "lists" / "suspects.csv"
    result = invoke("--dataset", f"folder:{pictures}", "--epochs", "25", "--output", str(output))
    assert result.exit_code == 0, result.output
    frame = pd.read_csv(output)
    assert list(frame) == ["rank", "file", "row", "part", "given", "predicted", "score"]
    assert set(frame["file"][:3]) == set(PLANTED)
    for suspect in frame[:3].itertuples():
        assert suspect.file.startswith(f"{suspect.given}/")
        assert {suspect.given, suspect.predicted} == {"dark", "bright"}
    assert len(frame) == 50 and list(frame["rank"]) == list(range(1, 51))
    assert f"the first 50 of 80 are in {output}" in result.stdout
    # The first ten are printed, and the bar is kept out of them; the truth is unknown, so there is no AUC.
    assert all(file in result.stdout for file in frame["file"][:10])
    assert frame["file"][10] not in result.stdout.split()
    assert "100%" in result.stderr and "100%" not in result.stdout
    assert "AUC" not in result.stdout


def test_every_picture_is_scored_once_whatever_its_part(pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "all.csv"
    options = ["--dataset", f"folder:{pictures}", "--epochs", "1", "--top", "1000", "--json"]
    result = invoke(*options, "--output", str(output))
    assert result.exit_code == 0, result.output
    files = {path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png")}
    frame = pd.read_csv(output)
    assert set(frame["file"]) == files and len(frame) == len(files)
    assert frame["part"].value_counts().to_dict() == {"training": 51, "validation": 13, "test": 16}
    assert all(
        file.startswith(f"{given}/") for file, given in zip(frame["file"], frame["given"], strict=True)
    )
    assert json.loads(result.stdout)["scored"] == 80


def test_a_predictor_may_begin_from_cross_entropy(tmp_path: Path) -> None:
    options = ["--rate", "0.3", "--epochs", "6", "--output", str(tmp_path / "list.csv"), "--json"]
    result = invoke(*options, "--set", "init=cross-entropy")
    assert result.exit_code == 0, result.output
    assert "cross-entropy first" in result.stderr
    fresh = invoke(*options)
    aucs = [json.loads(one.stdout)["auc"]["training"] for one in (result, fresh)]
    assert aucs[0] != aucs[1] and min(aucs) > 0.8, aucs


def test_corrupted_digits_are_found_and_the_auc_is_told(tmp_path: Path) -> None:
    output = str(tmp_path / "suspects.csv")
    options = ["--rate", "0.3", "--epochs", "12", "--set", "beta=3", "--seed", "1", "--output", output]
    report = json.loads(invoke(*options, "--top", "20", "--json").stdout)
    assert float(report["run"]["method_options"]["beta"]) == 3
    assert report["run"]["epochs"] == 12 and report["run"]["seed"] == 1
    assert report["scored"] == 1500 and report["output"] == output
    assert 0.95 < report["auc"]["training"] <= 1 and 0.95 < report["auc"]["validation"] <= 1
    written = pd.read_csv(output, dtype={"given": str, "predicted": str}).to_dict("records")
    assert report["suspects"] == [row | {"score": pytest.approx(row["score"])} for row in written]
    again = invoke(*options)
    assert f"AUC on training images: {report['auc']['training']:.2%}" in again.stdout
    assert len(pd.read_csv(output)) == 50


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--top", "0"], "top must be at least 1, got 0"),
        (["--rate", "1.3"], "1.3"),
        (["--dataset", "digts"], "did you mean 'digits'"),
        (["--dataset", "folder:nowhere"], "there is no folder nowhere"),
        (["--set", "betta=1"], "did you mean 'beta'"),
        (["--epochs", "0"], "epochs"),
        (["--output", "."], "output must be a file, got the folder ."),
    ],
)
def test_bad_input_is_one_line_before_anything_is_trained(arguments: list[str], said: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and said in line
