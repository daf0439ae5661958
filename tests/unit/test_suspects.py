"""`lnlib suspects`: the list that it writes, and the planted wrong labels at its top."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from PIL import Image
from typer.testing import CliRunner, Result

from lnlib import data, noise
from lnlib.cli.app import app
from lnlib.files import read_csv

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


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LNLIB_RUNS", str(tmp_path / "runs"))


COLUMNS = [
    "part",
    "given",
    "suggested",
    "given_probability",
    "suggested_probability",
    "score",
    "fold",
    "mark",
]


def test_wrong_labels_in_the_readers_own_pictures_come_first(pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "lists" / "suspects.csv"
    options = ["--dataset", f"folder:{pictures}", "--epochs", "25", "--output", str(output)]
    result = invoke(*options)
    assert result.exit_code == 0, result.output
    frame = read_csv(output)
    assert list(frame) == ["rank", "file", *COLUMNS]
    assert set(frame["file"][:3]) == set(PLANTED)
    for suspect in frame[:3].itertuples():
        assert suspect.file.startswith(f"{suspect.given}/")
        assert {suspect.given, suspect.suggested} == {"dark", "bright"}
        assert suspect.given_probability < 0.5 < suspect.suggested_probability
        assert suspect.score == pytest.approx(-np.log(suspect.given_probability))
    assert len(frame) == 50 and list(frame["rank"]) == list(range(1, 51))
    assert f"the first 50 of 80 are in {output}" in result.stdout
    assert "5 folds: each of 80 images is scored by a network that never saw it (the default" in result.stderr
    # The first ten are printed, and the bar is kept out of them; the truth is unknown, so there is no AUC.
    assert all(file in result.stdout for file in frame["file"][:10])
    assert frame["file"][10] not in result.stdout.split()
    assert "100%" in result.stderr and "100%" not in result.stdout
    assert "AUC" not in result.stdout
    again = invoke(*options)
    assert again.stdout == result.stdout and "all are trained already" in again.stderr
    invoke(*options, "--score", "distance")
    shares = 1 - read_csv(output)["given_probability"]
    # Of two classes the distance is √2 times what the given label's probability lacks.
    assert read_csv(output)["score"].tolist() == pytest.approx((2**0.5 * shares).tolist())


@pytest.mark.parametrize("folds", [1, 3])
def test_every_picture_is_scored_once_whatever_its_part(pictures: Path, tmp_path: Path, folds: int) -> None:
    output = tmp_path / "all.csv"
    options = ["--dataset", f"folder:{pictures}", "--epochs", "1", "--top", "all", "--json"]
    result = invoke(*options, "--folds", str(folds), "--output", str(output))
    assert result.exit_code == 0, result.output
    files = {path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png")}
    frame = read_csv(output)
    assert set(frame["file"]) == files and len(frame) == len(files)
    if folds == 1:
        assert frame["part"].value_counts().to_dict() == {"training": 51, "validation": 13, "test": 16}
    else:
        assert set(frame["part"]) == {"held out"}
        assert sorted(frame["fold"].value_counts()) == [26, 27, 27]
    assert all(
        file.startswith(f"{given}/") for file, given in zip(frame["file"], frame["given"], strict=True)
    )
    assert json.loads(result.stdout)["scored"] == 80


def test_the_same_bytes_under_two_labels_or_one_are_marked(pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "list.csv"
    shutil.copy(pictures / "dark" / "d0.png", pictures / "bright" / "copy.png")
    shutil.copy(pictures / "dark" / "d1.png", pictures / "dark" / "twin.png")
    options = ["--dataset", f"folder:{pictures}", "--epochs", "1", "--folds", "2", "--top", "all"]
    result = invoke(*options, "--output", str(output))
    assert result.exit_code == 0, result.output
    marks = read_csv(output).set_index("file")["mark"].dropna()
    contradiction, duplicate = ("dark/d0.png", "bright/copy.png"), ("dark/d1.png", "dark/twin.png")
    assert marks.to_dict() == dict.fromkeys(contradiction, "contradiction") | dict.fromkeys(
        duplicate, "duplicate"
    )


def test_a_predictor_may_begin_from_cross_entropy(tmp_path: Path) -> None:
    options = [
        "--rate",
        "0.3",
        "--epochs",
        "6",
        "--folds",
        "2",
        "--output",
        str(tmp_path / "list.csv"),
        "--json",
    ]
    result = invoke(*options, "--set", "init=cross-entropy")
    assert result.exit_code == 0, result.output
    assert "cross-entropy first" in result.stderr
    fresh = invoke(*options)
    aucs = [json.loads(one.stdout)["auc"]["held out"] for one in (result, fresh)]
    assert aucs[0] != aucs[1] and min(aucs) > 0.8, aucs


def test_corrupted_digits_are_found_and_the_auc_is_told(tmp_path: Path) -> None:
    output, export = tmp_path / "suspects.csv", tmp_path / "all.npz"
    options = ["--rate", "0.3", "--epochs", "12", "--set", "beta=3", "--seed", "1", "--output", str(output)]
    report = json.loads(invoke(*options, "--top", "20", "--json", "--export", "cleanlab", str(export)).stdout)
    assert float(report["run"]["method_options"]["beta"]) == 3
    assert report["run"]["epochs"] == 12 and report["run"]["seed"] == 1
    assert report["scored"] == 1500 and report["output"] == str(output)
    assert 0.95 < report["auc"]["held out"] <= 1 and 0.85 < report["precision"] <= 1
    written = pd.read_csv(output, dtype={"given": str, "suggested": str}, keep_default_na=False)
    told = pd.DataFrame(report["suspects"])
    assert list(told) == ["rank", "row", *COLUMNS]
    pd.testing.assert_frame_equal(told, written, check_dtype=False, rtol=1e-12)
    again = invoke(*options)
    assert f"AUC on held out images: {report['auc']['held out']:.2%}" in again.stdout
    assert len(pd.read_csv(output)) == 50
    with np.load(export) as kept:
        labels, shares, rows = kept["labels"], kept["pred_probs"], kept["rows"]
        assert kept["class_names"].tolist() == list("0123456789") and not kept["files"].size
    true = data.load("digits").train_labels.numpy()
    assert np.array_equal(labels, noise.corrupt(true, noise.uniform(0.3, 10), 1)[rows])
    # cleanlab takes them, and finds in them what was planted.
    issues = find_label_issues(labels, shares, n_jobs=1)
    assert (labels != true[rows])[issues].mean() > 0.85 and issues.sum() > 350
    quality = dict(zip(rows.tolist(), get_label_quality_scores(labels, shares), strict=True))
    assert [quality[row] for row in written["row"]] == pytest.approx(written["given_probability"].tolist())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--top", "0"], "top must be at least 1, or all, got 0"),
        (["--rate", "1.3"], "1.3"),
        (["--dataset", "digts"], "did you mean 'digits'"),
        (["--dataset", "folder:nowhere"], "there is no folder nowhere"),
        (["--set", "betta=1"], "did you mean 'beta'"),
        (["--epochs", "0"], "epochs"),
        (["--folds", "0"], "folds"),
        (["--score", "losses"], "did you mean 'loss'"),
        (["--top", "some"], "top must be at least 1, or all, got some"),
        (["--export", "csv", "x.npz"], "csv"),
        (["--folds", "1", "--export", "cleanlab", "x.npz"], "out-of-fold probabilities, got --folds 1"),
        (["--report", "."], "report must be a file, got the folder ."),
        (["--output", "."], "output must be a file, got the folder ."),
    ],
)
def test_bad_input_is_one_line_before_anything_is_trained(arguments: list[str], said: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and said in line
