"""The page on many machines: its commands run; and what they print of costs and runs."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from lnlib.cli.app import app
from lnlib.papers import cost, export, measured_step, record
from lnlib.papers.request import Request
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store
from tests.stores import SPECS, TINY, make

PAGE = (Path(__file__).resolve().parents[2] / "docs/many_machines.md").read_text(encoding="utf-8")
SHORT = ["--rows", "ce", "--cells", "p=0.5, n=all", "--epochs", "2", "--train-size", "200"]
ELSEWHERE = {"lnlib reproduce limit-table1 --ray auto", "ray start --head", "ray start --address HEAD:6379"}
"""What test_ray.py does, with addresses of its own."""


@pytest.fixture(autouse=True)
def _own_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LNLIB_RUNS", str(tmp_path / "runs"))


def run(*arguments: str):
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 0, result.output
    return result


def test_every_command_of_the_page_runs(tmp_path):
    commands = re.findall(r"^    ((?:lnlib|ray) .*)$", PAGE, flags=re.M)
    assert {*commands} > ELSEWHERE
    for command in [command for command in commands if command not in ELSEWHERE]:
        run(*shlex.split(command)[1:], *(SHORT if "reproduce" in command else ()))
    assert len(pd.read_csv(tmp_path / "runs.csv")) == 1 and [*tmp_path.glob("tables/*.csv")]


def test_a_dry_run_counts_runs_steps_and_time_and_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "measured", lambda spec, device: cost.Measured(0.64, 2.5e9))
    arguments = ["reproduce", "limit-table1", "--rows", "ce", "--rows", "dmi", *SHORT[2:], "--dry-run"]
    ce, dmi = json.loads(run(*arguments, "--json").stdout)
    # 4 steps of at most 64 images an epoch; dmi is tried with two learning rates, from ce's weights.
    assert (ce["row"], ce["runs"], ce["steps"]) == ("CE", 1, 2 * 4)
    assert (dmi["row"], dmi["runs"], dmi["steps"]) == ("DMI", 2, 2 * 2 * 4)
    # 0.01 s an image forward and backward, a third of that forward: 200 are trained on, and these, 300 for
    # validation and 297 of the test set evaluated.
    (spec,) = Request.parse("limit-table1", rows=["ce"], cells=["p=0.5, n=all"], train_size=200).specs()
    evaluated = sum(spec.sizes())
    assert ce["hours"] == pytest.approx(2 * (200 * 0.01 + evaluated * 0.01 / 3) / 3600)
    assert ce["gigabytes"] == dmi["gigabytes"] == 2.5
    said = run(*arguments).stdout
    assert re.search(r"^DMI +2 +16 +\d+ s +2.5 GB$", said, flags=re.M) and "3 runs" in said.splitlines()[-1]
    assert not (tmp_path / "runs").exists()
    Store().obtain(spec.model_copy(update={"epochs": 2}))
    assert [one["runs"] for one in json.loads(run(*arguments, "--json").stdout)] == [0, 2]


def test_memory_counts_what_is_alive_at_the_same_time():
    with measured_step._Memory() as memory:
        first = torch.zeros(1000)
        second = first + 1
        view = second[:10]
        del first
        third = torch.zeros(500)
        assert memory.now == 4 * 1500 and memory.peak == 4 * 2000
        del second
        assert memory.now == 4 * 1500  # a view keeps what it shows
        del view, third
    assert memory.now == 0


def test_a_run_takes_its_weights_their_gradients_and_adams_two_means_and_its_activations():
    fields = {"net_options": {"width": 512, "depth": 4}, "batch_size": 256}
    found = measured_step.measured(Spec.parse(fields), torch.device("cpu"))
    weights = (64 + 1) * 512 + 3 * (512 + 1) * 512 + (512 + 1) * 10
    images = 64 * (1797 + 256)
    least, activations = 4 * (4 * weights + images), 4 * 256 * 4 * 512
    assert least + activations < found.bytes < 1.3 * least + 6 * activations
    assert 0 < found.seconds < 10


def test_runs_are_exported_with_their_specs_and_numbers(tmp_path, tmp_path_factory):
    store = make(tmp_path_factory).copy(tmp_path / "runs")
    (store.root / ("0" * 16)).mkdir()
    (store.root / ("0" * 16) / "run.json").write_text("{")
    told = {run.fingerprint: run for run in store.runs()}
    for name in ("runs.csv", "runs.parquet"):
        assert json.loads(run("runs", "export", name, "--json").stdout) == {"file": name, "runs": len(told)}
    table, exact = pd.read_csv(tmp_path / "runs.csv"), pd.read_parquet(tmp_path / "runs.parquet")
    assert [*table["run"].astype(str).str.zfill(16)] == [*exact["run"]] == [*told]
    exact = exact.set_index("run")
    finished, diverged = (SPECS[name].fingerprint for name in ("finished", "diverged"))
    assert exact.loc[finished, "test_accuracy"] == told[finished].numbers["test_accuracy"]
    assert exact.loc[finished, "trained_epochs"] == exact.loc[finished, "epochs"] == TINY["epochs"]
    assert exact.loc[diverged, ["optimizer_options.lr", "status"]].tolist() == [1e30, "diverged"]
    assert "not a finite" in exact.loc[diverged, "message"] and np.isnan(exact.loc[diverged, "seconds"])
    assert exact.loc["0" * 16, "status"] == "damaged" and pd.isna(exact.loc["0" * 16, "method"])


def test_columns_of_an_export_have_one_kind_each(tmp_path):
    store = Store(tmp_path / "runs")
    for fields in ({}, {"augment": "crop", "train_size": None, "patience": 5}, {"augment": True, "seed": 2}):
        store.root.mkdir(exist_ok=True)
        spec = Spec.parse(TINY | fields)
        record.write(record.Record(spec=spec.spelled_out()), store.folder(spec))
    table = export.frame(store).set_index("seed").sort_index()
    assert sorted(map(json.loads, table["augment"]), key=str) == [False, True, "crop"]
    assert table["train_size"].dtype == "Int64" and table["train_size"].isna().sum() == 1
    assert table["rate"].dtype == "float64" and table["dataset"].dtype == "str"


def test_an_export_of_nothing_and_another_ending(tmp_path, monkeypatch):
    assert "0 runs are in none.parquet" in run("runs", "export", "none.parquet").stdout
    result = CliRunner().invoke(app, ["runs", "export", "runs.xlsx"])
    assert result.exit_code == 2 and "must end in .csv or .parquet, got 'runs.xlsx'" in result.stderr
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = CliRunner().invoke(app, ["runs", "export", "runs.parquet"])
    assert result.exit_code == 2 and 'pip install -e ".[parquet]"' in result.stderr
