"""What the tables say of their numbers: spread over seeds, paired differences, what is missing and how long
it takes.
"""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

from lnlib.cli.app import app
from lnlib.cli.papers import duration
from lnlib.papers import runner, tables, writing
from lnlib.papers.printed import Printed, printed_numbers
from lnlib.papers.record import Circumstances
from lnlib.papers.request import Request
from lnlib.papers.store import Store

SHORT = {"epochs": 3, "train_size": 100}
CELL = ["p=0.5,n=all"]
ROWS = ["ce", "mae", "fw"]


def told(store, spec, **columns):
    """Let a finished run's history say something else."""
    path = store.folder(spec) / "run.json"
    stored = json.loads(path.read_text())
    stored["history"] |= columns
    path.write_text(json.dumps(stored))


def tell(request, store, row, by_seed):
    """Let the runs of a row have these test accuracies at every epoch."""
    row = next(one for one in request.rows if one.name == row)
    for _, specs in request.grid(row, request.cells[0]):
        for spec, accuracy in zip(specs, by_seed, strict=True):
            told(store, spec, test_accuracy=[accuracy] * spec.epochs)


def records(frame):
    return {record["row"]: record for record in frame.query("ours == ours").to_dict("records")}


@pytest.fixture(scope="module")
def three_seeds(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("runs"))
    request = Request.parse("limit-table1", rows=ROWS, cells=CELL, seeds=[1, 2, 3], **SHORT)
    tables.reproduce(request, store)
    for row, accuracies in {
        "ce": (0.70, 0.60, 0.65),
        "mae": (0.72, 0.58, 0.69),
        "fw": (0.50, 0.41, 0.45),
    }.items():
        tell(request, store, row, accuracies)
    return request, store


# Spread and comparison.


def test_rows_are_compared_in_pairs_with_the_best(three_seeds):
    request, store = three_seeds
    found = records(tables.gather(request, store))
    best, close, far = (np.array(values) for values in ((72, 58, 69), (70, 60, 65), (50, 41, 45)))
    for row, ours in (("mae", best), ("ce", close), ("fw", far)):
        assert (found[row]["ours"], found[row]["std"]) == pytest.approx((ours.mean(), ours.std(ddof=1)))
        assert found[row]["pairs"] == 3
        difference = best - ours
        error = difference.std(ddof=1) / np.sqrt(3)
        assert (found[row]["behind"], found[row]["behind_se"]) == pytest.approx((difference.mean(), error))
    assert stats.ttest_rel(best, far).pvalue < 0.05 < stats.ttest_rel(best, close).pvalue
    assert [found[row]["tied"] for row in ("mae", "ce", "fw")] == [True, True, False]


def test_the_best_is_bold_and_what_cannot_be_told_from_it_is_marked(three_seeds):
    request, store = three_seeds
    text = writing.to_markdown(request, tables.gather(request, store))
    assert "| MAE | *(98.1)* → **66.3 ± 7.4** |" in text
    assert "| CE | *(97.2)* → 65.0 ± 5.0° |" in text
    assert "| FW | *(97.3)* → 45.3 ± 4.5 |" in text
    shown = writing.overview(tables.gather(request, store), ("best",)).set_index("row")["behind (s.e.)"]
    # FW is 22, 17 and 24 points behind MAE: mean 21, standard deviation √13, over √3.
    assert (shown["MAE"], shown["FW"]) == ("best", "21.0 (2.1)")
    assert "95% t interval of the paired difference over seeds" in text and "Missing" not in text


def test_one_seed_has_no_spread_and_is_compared_with_nothing(three_seeds):
    _, store = three_seeds
    one = Request.parse("limit-table1", rows=ROWS, cells=CELL, seeds=[2], **SHORT)
    frame = tables.gather(one, store)
    for record in records(frame).values():
        assert np.isnan([record["std"], record["behind"], record["behind_se"]]).all() and not record["tied"]
        q = record["ours"] / 100
        assert record["bootstrap_std"] == pytest.approx(100 * np.sqrt(q * (1 - q) / 297), rel=0.1)
    text = writing.to_markdown(one, frame)
    assert "| CE | *(97.2)* → 60.0 |" in text and "°" not in text and "**" not in text
    assert "bootstrap over test images" in text


def test_seeds_that_are_missing_are_counted_and_named(three_seeds):
    request, store = three_seeds
    more = Request.parse("limit-table1", rows=ROWS, cells=CELL, seeds=[1, 2, 3, 4, 5], **SHORT)
    frame = tables.gather(more, store)
    assert records(frame)["ce"]["ours"] == records(tables.gather(request, store))["ce"]["ours"]
    assert writing.missing(frame) == (
        "seeds 4, 5 of CE (p=0.5, n=all), MAE (p=0.5, n=all), FW (p=0.5, n=all)"
    )
    text = writing.to_markdown(more, frame)
    assert "→ **66.3 ± 7.4**, 3 of 5 seeds |" in text and "Missing: seeds 4, 5 of CE" in text


def test_of_several_settings_those_with_the_most_seeds_compete_by_noisy_validation(tmp_path):
    store = Store(tmp_path)
    request = Request.parse("limit-table1", rows=["limit-l-s"], cells=CELL, seeds=[1, 2], **SHORT)
    grid = request.grid(request.rows[0], request.cells[0])
    (_, (first, second)), (_, (third, fourth)) = grid
    for spec, validation in ((first, 0.3), (third, 0.2), (fourth, 0.9)):
        store.obtain(spec)
        told(store, spec, validation_accuracy=[validation] * 3)
    (setting, results) = tables.choice(tables.finished(request, grid, store))
    assert (setting, len(results)) == ({"beta": 10.0}, 2)
    store.obtain(second)
    told(store, second, validation_accuracy=[0.85] * 3)
    (setting, results) = tables.choice(tables.finished(request, grid, store))  # 0.575 against 0.55
    assert (setting, len(results)) == ({"beta": 3.0}, 2)
    assert tables.choice([]) == ({}, [])


def test_where_the_first_seed_chooses_only_the_chosen_setting_is_trained_with_the_others(tmp_path):
    store = Store(tmp_path)
    several = Request.parse("limit-table1", rows=["limit-l-s", "ce"], cells=CELL, seeds=[1, 2, 3], **SHORT)
    request = replace(several, protocol=replace(several.protocol, choose_by="first seed"))
    shares: list[float] = []
    assert len(request.specs()) == 3 and tables.outlook(request, store)[2:4] == (0, 3 + 2 + 2)
    frame = tables.reproduce(request, store, lambda what, share: shares.append(share))
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)
    assert tables.outlook(request, store)[:4] == (2, 2, 7, 7)
    row, (first, second) = records(frame)["limit-l-s"], request.grid(request.rows[1], request.cells[0])
    better = max(first, second, key=lambda one: store.find(one[1][0]).best["validation_accuracy"])
    assert [len(store.runs()), row["seeds"], row["settings"]] == [7, 3, "2 of 2"]
    assert row["fingerprints"].split() == [spec.fingerprint for spec in better[1]]
    # What the other seeds would say is not asked: the test set has no say either.
    for spec in better[1][1:]:
        told(store, spec, validation_accuracy=[0.01] * 3)
    assert records(tables.gather(request, store))["limit-l-s"]["setting"] == row["setting"]


# Beside the paper.


@pytest.mark.parametrize(
    ("dataset", "net", "num_train", "same"),
    [
        ("mnist", "cnn", 48_000, True),
        ("mnist", "mlp", 48_000, False),
        ("mnist", "cnn", 30_000, False),
        ("digits", "cnn", 48_000, False),
    ],
)
def test_the_papers_setting_is_its_data_its_network_and_its_size(dataset, net, num_train, same):
    asked = Request.parse("limit-table1", rows=["ce"], cells=CELL)
    table = replace(asked.table, setups={"other": {"net": net}})
    request = replace(asked, table=table, dataset=dataset)  # whose data need not be there
    assert tables._is_papers(request, request.rows[0], request.asked[0], num_train) is same


def test_nothing_is_subtracted_between_different_settings():
    printed = Printed(71.8, 0.4, "4-layer CNN", 1000)
    same, other = (tables._beside(printed, [70.0, 71.0], same=same) for same in (True, False))
    assert same["difference"] == pytest.approx(-1.3) and np.isnan(other["difference"])
    assert same["paper"] == other["paper"] == 71.8
    rest = {"missing": "", "behind": np.nan, "tied": False, "not_begun": 0}
    assert writing.cell_text(same | rest | {"same_setting": True}) == "71.8 ± 0.4 → 70.5 ± 0.7 (−1.3)"
    assert writing.cell_text(other | rest | {"same_setting": False}) == "(71.8 ± 0.4) → 70.5 ± 0.7"


def test_the_papers_spread_is_shown_where_it_is_over_trials():
    request = Request.parse("metainfonet-table2", rows=["metainfonet"], cells=["p=0.4"])
    found = tables.paper_number(request, request.rows[0], request.cells[0])
    assert found == Printed(86.63, 0.47, "ResNet-32", 49_000)
    # LIMIT's Table 2 prints ± too, of a bootstrap over test images.
    assert any(one.std == 0.5 for one in printed_numbers("limit_table2.csv", True).values())
    request = replace(Request.parse("limit-table2", rows=["ce"]), dataset="cifar-100")
    printed = [tables.paper_number(request, request.rows[0], cell) for cell in request.table.cells]
    assert any(one.value == 44.9 for one in printed) and all(np.isnan(one.std) for one in printed)


# Methods that begin late.


def test_a_row_whose_method_has_not_begun_is_marked_and_last_waits_for_it(tmp_path):
    store = Store(tmp_path)
    request = Request.parse(
        "metainfonet-table2",
        rows=["standard", "fine-tuning", "co-teaching"],
        cells=["p=0.4"],
        epochs=6,
        train_size=100,
        seeds=[0, 1],
    )
    tables.reproduce(request, store)
    ((_, specs),) = request.grid(request.rows[2], request.cells[0])
    assert specs[0].method == "fine-tuning" and specs[0].method_options["last_epochs"] == 2
    test = [0.1, 0.2, 0.3, 0.4, 0.5, 0.7]
    told(store, specs[0], test_accuracy=test, validation_accuracy=[0.0, 0.0, 0.0, 0.9, 0.0, 0.0])
    told(store, specs[1], test_accuracy=test, validation_accuracy=[0.0, 0.0, 0.0, 0.0, 0.9, 0.0])
    frame = tables.gather(request, store)
    found = records(frame)
    assert found["fine-tuning"]["not_begun"] == 1 and found["fine-tuning"]["last_not_begun"] == 0
    assert found["fine-tuning"]["last"] == pytest.approx(60.0) and found["fine-tuning"]["ours"] == 45.0
    assert found["standard"]["not_begun"] == found["co-teaching"]["not_begun"] == 0
    assert found["co-teaching"]["oracle"] == "the share of wrong labels" and found["standard"]["oracle"] == ""
    text = writing.to_markdown(request, frame)
    assert re.search(r"\| Fine-tuning \|[^|]*45\.0 ± 7\.1[*°]*‡ \|", text) and "‡: in some runs" in text
    assert text.count("‡") == 3  # in the table, where it is explained, and where the numbers come from
    assert "| oracle |" in text and "the share of wrong labels" in text


# How far, and how long.


def test_the_time_left_is_judged_by_the_runs_of_this_machine(three_seeds):
    request, store = three_seeds
    more = Request.parse("limit-table1", rows=[*ROWS, "limit-l-s"], cells=CELL, seeds=[1, 2, 3, 4], **SHORT)
    for spec in request.specs():
        told(store, spec, seconds=[10.0] * 3, evaluation_seconds=[None, None, 2.0])
    found = tables.outlook(more, store)
    # CE, MAE and FW lack a seed of four, LIMIT all of its two settings.
    assert found[:4] == (0, 4, 9, 9 + 3 + 8)
    # A run takes 32 s. In forward passes an epoch of it is 3 for each of 100 images and one for each image of
    # all splits; LIMIT's has twice the 3.
    splits = sum(request.specs()[0].sizes())
    assert found.seconds == pytest.approx(3 * 32 + 8 * 32 * (600 + splits) / (300 + splits))
    done = tables.outlook(request, store)
    assert done == (3, 3, 9, 9, 0.0)


def test_runs_of_another_machine_say_nothing_of_the_time(three_seeds, monkeypatch):
    request, store = three_seeds
    other = Request.parse("limit-table1", rows=["ce"], cells=CELL, seeds=[9], **SHORT)
    here = Circumstances.here(torch.device("cpu"))
    assert store.find(request.specs()[0]).circumstances.processor == here.processor
    monkeypatch.setattr("lnlib.papers.record.processor", lambda: "another")
    monkeypatch.setattr(runner, "timed_step", lambda state: 0.64)
    (spec,) = other.specs()
    # 64 images a step: 10 ms an image, 3 units of effort.
    assert tables.outlook(other, store).seconds == pytest.approx(runner.effort(spec) * 0.01 / 3)


def test_the_timed_steps_are_of_the_tables_own_network():
    seconds = runner._timed_rate(Request.parse("limit-table1", **SHORT).specs()[0], torch.device("cpu"))
    assert 0 < seconds < float("inf")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (61, "61 s"),
        (600, "10 min"),
        (5000, "83 min"),
        (12_000, "3.3 hours"),
        (400_000, "4.6 days"),
    ],
)
def test_times_are_said_in_round_words(seconds, words):
    assert duration(seconds) == words


def test_the_command_says_how_far_it_is_and_which_seeds_are_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LNLIB_RUNS", str(tmp_path / "runs"))
    command = ["reproduce", "limit-table1", "--epochs", "1", "--train-size", "100", "--cells", "p=0.8,n=all"]

    def run(*more):
        result = CliRunner().invoke(app, [*command, *more])
        assert result.exit_code == 0, result.output
        return result

    first = run("--rows", "ce", "--rows", "mae", "--seeds", "1", "--seeds", "2")
    said = "limit-table1: 0 of 2 cells and 0 of 4 runs are made; the rest takes about"
    assert said in first.stderr and "missing" not in first.stdout
    second = run("--rows", "ce", "--seeds", "1", "--seeds", "2", "--seeds", "3")
    assert "limit-table1: 0 of 1 cells and 2 of 3 runs are made; the rest takes about" in second.stderr
    assert "missing: seed 3 of MAE (p=0.8, n=all)\n" in second.stdout
    third = run("--rows", "ce", "--seeds", "1", "--seeds", "2", "--seeds", "3", "--json")
    assert "1 of 1 cells and 3 of 3 runs are made\n" in third.stderr
    assert json.loads(third.stdout)["missing"] == "seed 3 of MAE (p=0.8, n=all)"
    page = (tmp_path / "tables" / "limit-table1-digits-quick.html").read_text(encoding="utf-8")
    assert "Missing: seed 3 of MAE" in page and "<td>2 of 3</td>" in page
    csv = pd.read_csv(tmp_path / "tables" / "limit-table1-digits-quick.csv")
    assert {"behind", "behind_se", "tied", "bootstrap_std", "oracle", "missing"} <= {*csv}
