"""The paper's tables with ours beside: what is made and reused, how settings are chosen, what is written."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from lnlib.catalog import METHODS, Entry
from lnlib.cli.app import app
from lnlib.course import plots
from lnlib.data import Dataset
from lnlib.errors import TrainingDiverged
from lnlib.methods import CrossEntropy
from lnlib.papers import runner, writing
from lnlib.papers.request import Request
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store
from lnlib.papers.tables import gather, reproduce

SHORT = {"epochs": 2, "cells": ["p=0.5,n=all"], "train_size": 200}


def invoke(*arguments):
    return CliRunner().invoke(app, list(arguments))


def one_line_error(result):
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return line


# Making a table.


def test_what_others_begin_from_comes_first_and_nothing_twice():
    fields = {"epochs": 2}
    runs = [
        Spec.parse(fields | {"method": method})
        for method in ("dmi", "forward-correction", "cross-entropy", "mae")
    ]
    ordered = runner.in_order(runs)
    assert [run.method for run in ordered] == ["cross-entropy", "dmi", "forward-correction", "mae"]


def test_a_table_is_made_in_pieces_that_join_and_nothing_is_trained_twice(tmp_path):
    store, shares = Store(tmp_path), []
    first = Request.parse("limit-table1", rows=["dmi"], **SHORT)
    reproduce(first, store, progress=lambda what, share: shares.append(share))
    assert shares == sorted(shares) and shares[-1] == 1
    # DMI's two learning rates and the cross-entropy run that they begin from.
    assert sorted(run.spec["method"] for run in store.runs()) == ["cross-entropy", "dmi", "dmi"]
    second = Request.parse("limit-table1", rows=["ce", "limit-l-s"], **SHORT)
    frame = reproduce(second, store)
    assert len(store.runs()) == 5
    assert list(frame.loc[frame["ours"].notna(), "row"]) == ["ce", "dmi", "limit-l-s"]
    # No data for n = 1000 and 10000.
    assert {*frame["cell"]} == {f"p={p}, n=all" for p in ("0", "0.5", "0.8", "0.89")} and {*frame["n"]} == {
        200
    }
    again = []
    pd.testing.assert_frame_equal(
        reproduce(first, store, progress=lambda what, share: again.append(share)), frame
    )
    assert again == []


def test_a_spec_is_parsed_once_for_a_request_and_once_where_it_was_stored(tmp_path, monkeypatch):
    store, request = Store(tmp_path), Request.parse("limit-table1", rows=["limit-l-s"], **SHORT)
    frame, parse, parsed = reproduce(request, store), Spec.parse, []
    monkeypatch.setattr(Spec, "parse", lambda values: parsed.append(values) or parse(values))
    pd.testing.assert_frame_equal(gather(request, store), frame)
    assert len(parsed) <= len(store.runs()) == 2


def test_the_setting_is_chosen_by_noisy_validation_whatever_the_test_set_says(tmp_path):
    store, request = Store(tmp_path), Request.parse("limit-table1", rows=["limit-l-s"], **SHORT)
    reproduce(request, store)
    settings = request.grid(request.rows[0], request.cells[0])
    for (_, (spec,)), validation, test in zip(
        settings, ([0.3, 0.6], [0.5, 0.4]), ([0.9, 0.2], [0.8, 0.95]), strict=True
    ):
        path = store.folder(spec) / "run.json"
        stored = json.loads(path.read_text())
        stored["history"] |= {"validation_accuracy": validation, "test_accuracy": test}
        path.write_text(json.dumps(stored))
    frame = gather(request, store)
    (record,) = frame[frame["ours"].notna()].to_dict("records")
    assert record["setting"] == "beta=3" and record["settings"] == "2 of 2"
    assert record["ours"] == pytest.approx(20.0) and record["validation"] == pytest.approx(60.0)
    assert record["paper"] == 99.0 and np.isnan(record["difference"]) and record["best_epoch"] == "2"
    assert np.isnan(record["std"])
    assert record["bootstrap_std"] == pytest.approx(100 * np.sqrt(0.2 * 0.8 / 297), rel=0.1)


def test_several_seeds_give_a_mean_and_their_own_spread(tmp_path):
    store, request = Store(tmp_path), Request.parse("limit-table1", rows=["ce"], seeds=[1, 2, 3], **SHORT)
    frame = reproduce(request, store)
    (record,) = frame[frame["ours"].notna()].to_dict("records")
    tests = [100 * store.find(run).best["test_accuracy"] for run in request.specs()]
    assert record["seeds"] == 3 and record["missing"] == ""
    assert record["ours"] == pytest.approx(np.mean(tests)) and record["std"] == pytest.approx(
        np.std(tests, ddof=1)
    )
    fourth = Request.parse("limit-table1", rows=["ce"], seeds=[1, 2, 3, 4], **SHORT)
    (unfinished,) = gather(fourth, store).query("ours == ours").to_dict("records")
    assert unfinished["ours"] == record["ours"]
    assert (unfinished["seeds"], unfinished["missing"]) == (3, "4")


@dataclass(frozen=True)
class Diverging(CrossEntropy):
    """In place of MAE: never finite."""

    name = "mae"

    def loss(self, nets, batch):
        return super().loss(nets, batch) * float("nan")


def test_a_run_that_diverges_is_marked_and_the_rest_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "mae", Entry(__name__, "Diverging"))
    store, request = Store(tmp_path), Request.parse("limit-table1", rows=["ce", "mae", "limit-l-s"], **SHORT)
    for _ in range(2):  # made, and found
        frame = reproduce(request, store).set_index(["row", "cell"])
        assert frame.loc[("mae", "p=0.5, n=all"), "diverged"] == "the only setting"
        assert frame.loc[("limit-l-s", "p=0.5, n=all"), "ours"] > 0
        assert "*(98.1)* → diverged" in writing.to_markdown(request, frame.reset_index())
    diverged = runner.make(request.specs(), store)
    assert ["not a finite number" in message for message in diverged.values()] == [True]
    with pytest.raises(TrainingDiverged):
        store.obtain(request.grid(request.table.rows[3], request.cells[0])[0][1][0])


def test_the_table_is_written_for_people_and_for_programs(tmp_path):
    request = Request.parse("limit-table1", rows=["ce", "mae"], **SHORT)
    frame = reproduce(request, Store(tmp_path / "runs"))
    csv, markdown, page = writing.write(request, frame, tmp_path)
    assert [path.name for path in (csv, markdown, page)] == [
        f"limit-table1-digits-quick.{kind}" for kind in ("csv", "md", "html")
    ]
    read = pd.read_csv(csv)
    np.testing.assert_allclose(read["ours"], frame["ours"], rtol=1e-5)
    text = markdown.read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("| MAE |")]
    assert "*(98.1)* → " in line and "±" not in line and line.count("|") == 3
    assert (
        "The paper's numbers are for MNIST, ours for digits." in text
        and "At most 200 training images" in text
    )
    assert "up to 2 epochs" in text and "seeds 42" in text and "Device: CPU" in text
    html = page.read_text(encoding="utf-8")
    assert "Plotly.newPlot" in html and "p=0.5, n=all" in html


def test_the_page_says_which_settings_of_each_row_were_tried(tmp_path):
    request = Request.parse("limit-table1", budget="cores")
    assert writing.tried(request) == [
        "CE, MAE, FW: no options",
        "CE+GN, CE+LN: std 0.01, 0.1; scale reference",
        "DMI: lr 0.001, 0.0001",
        "Soft reg. (eq. 11): lam 0.01, 0.1; beta 0",
        "LIMIT_G +S: beta 3, 10; sigma 0.1",
        "LIMIT_L +S: beta 3, 10; sigma 0.1414",
        "LIMIT_G -S, LIMIT_L -S: beta 3, 10",
    ]
    frame = gather(request, Store(tmp_path / "runs"))
    assert "\n- DMI: lr 0.001, 0.0001\n" in writing.to_markdown(request, frame)
    page = writing.write(request, frame, tmp_path)[2].read_text(encoding="utf-8")
    assert "CE+GN, CE+LN: std 0.01, 0.1; scale reference" in page
    caption = writing.caption(request, frame)
    assert (
        "seeds 42, 43, 44 (p=0, n=1000; p=0.5, n=1000; p=0.8, n=1000: 42, 43, 44, 45, 46; p=0, n=all: 42)"
        in caption
    )
    assert "up to 12 epochs (n=1000: 150 epochs, evaluated every 3)" in caption


def test_a_row_that_chooses_nothing_shows_its_defaults_and_all_rows_their_optimisers():
    lines = writing.tried(Request.parse("metainfonet-table2", budget="cores"))
    assert lines[-1] == "each row by sgd (lr 0.1), sgd (lr 0.02), adam (lr 0.001)"
    assert {
        "Focal loss: gamma 1",
        "Co-teaching: forget_rate computed; exponent 1; ramp_epochs computed",
        "Bootstrap: beta 0.8",
    } <= {*lines}
    paper = writing.tried(Request.parse("metainfonet-table2", budget="paper"))
    assert {"Focal loss: gamma 0.5, 1, 2", "MetaInfoNet: lam 0, 0.01, 0.03, 0.1, 0.3, 1"} <= {*paper}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("limit-table1", ["plain random", "mean over batches", "three seeds, not five", "No weight decay"]),
        ("limit-table2", ["end at 10 for pair noise with a Laplace q", "no pretrained weights"]),
        ("metainfonet-table1", ["biases and BatchNorm decay", "L2RW: by SGD at .1 it collapses"]),
        ("metainfonet-table5", ["the meta set comes from the clean validation images"]),
        ("metainfonet-table6", ["On ANIMAL-10N the meta set comes from the test images"]),
    ],
)
def test_the_caption_says_where_the_protocol_is_not_the_papers(table, said, tmp_path):
    request = Request.parse(table)
    caption = writing.caption(request, gather(request, Store(tmp_path)))
    assert [words for words in said if words not in caption] == []
    # Of the photographs the meta set is not taken from the training images.
    assert ("taken away from the training images" in caption) == (table == "metainfonet-table1")


@pytest.mark.slow
def test_table_2_trains_resnet_34_with_augmentation_on_images_of_cifars_shape(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)

    def images(count):
        return torch.from_numpy(rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))

    tiny = Dataset(
        name="CIFAR-10 (JPEG copy)",
        train_images=images(100),
        train_labels=torch.arange(100) % 10,
        test_images=images(10),
        test_labels=torch.arange(10),
        class_names=tuple("abcdefghij"),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    monkeypatch.setattr("lnlib.papers.spec.load", lambda name: tiny)
    request = Request.parse(
        "limit-table2",
        dataset="cifar-10-jpeg",
        budget="quick",
        rows=["limit-l+init"],
        cells=["noise=uniform,p=0.4"],
        epochs=1,
        train_size=20,
    )
    request = replace(request, protocol=replace(request.protocol, grids={}))
    frame = reproduce(request, Store(tmp_path))
    made = frame[frame["ours"].notna()].set_index("row")
    # The cross-entropy run that the predictor begins from is the row CE.
    assert list(made.index) == ["ce", "limit-l+init"]
    assert list(made["paper"]) == [81.0, 90.2] and set(made["epochs"]) == {"1"}


# The commands.


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LNLIB_RUNS", raising=False)
    return tmp_path


REPRODUCE = ["reproduce", "limit-table1", "--epochs", "1", "--train-size", "100", "--cells", "p=0.8,n=all"]


def test_reproduce_prints_the_table_and_writes_it(here):
    result = invoke(*REPRODUCE, "--rows", "ce", "--rows", "mae")
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines() if "(87.2)" in line] == ["p=0.8,"]
    assert result.stdout.endswith("limit-table1-digits-quick.html\n") and "100%" in result.stderr
    assert len(list((here / "tables").iterdir())) == 3
    assert len(list((here / "runs").glob("[0-9a-f]*"))) == 2


def test_reproduce_and_runs_speak_json(here):
    report = json.loads(invoke(*REPRODUCE, "--rows", "limit-l-s", "--json").stdout)
    assert [name.rpartition(".")[2] for name in report["files"]] == ["csv", "md", "html"]
    (cell,) = [cell for cell in report["cells"] if cell["ours"] is not None]
    assert cell["row"] == "limit-l-s" and cell["paper"] == 97.7 and cell["fingerprints"]
    listed = json.loads(invoke("runs", "--json").stdout)
    assert json.loads(invoke("runs", "list", "--json").stdout) == listed
    names = [run["fingerprint"] for run in listed]
    assert cell["fingerprints"] in names and len(names) == 2
    shown = json.loads(invoke("runs", "show", names[0][:7], "--json").stdout)
    assert (
        shown["fingerprint"] == names[0] and len(shown["history"]) == 1 and shown["spec"]["method"] == "limit"
    )
    compared = json.loads(invoke("runs", "compare", *names, "--json").stdout)
    assert sorted(compared["method_options.beta"].values()) == [3.0, 10.0] and "seed" not in compared
    assert json.loads(invoke("runs", "remove", names[0], "--json").stdout) == [names[0]]
    assert [run["fingerprint"] for run in json.loads(invoke("runs", "--json").stdout)] == names[1:]


def test_runs_are_shown_to_people(here):
    assert "no runs in runs" in invoke("runs").stdout
    invoke("train", "--epochs", "2", "--train-size", "100", "--method", "limit", "--set", "beta=3")
    invoke("train", "--epochs", "2", "--train-size", "100")
    lines = invoke("runs").stdout.splitlines()
    assert len(lines) == 3 and any("limit(beta=3.0)" in line and "finished" in line for line in lines)
    names = [line.split()[0] for line in lines[1:]]
    shown = invoke("runs", "show", names[0]).stdout
    assert shown.startswith(f"{names[0]} · finished") and "train_size" in shown
    assert "method_options.beta" in invoke("runs", "compare", *names).stdout
    assert invoke("runs", "remove", *names).stdout.count("removed") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reproduce", "limit-table3"], "did you mean 'limit-table"),
        (["reproduce", "limit-table1", "--rows", "limit-m-s"], "did you mean 'limit-"),
        (["reproduce", "limit-table1", "--budget", "papers"], "did you mean 'paper'"),
        (["runs", "show", "abc"], "unknown run 'abc'"),
        (["runs", "compare", "abc", "abd"], "unknown run 'abc'"),
        (["runs", "remove", "abc"], "unknown run 'abc'"),
        (["train", "--set", "lr=1", "--method", "mae"], "unknown option of mae 'lr'"),
    ],
)
@pytest.mark.usefixtures("here")
def test_bad_names_are_one_line(arguments, said):
    assert said in one_line_error(invoke(*arguments))


def test_an_interrupted_command_says_so_and_goes_on_with_the_next_call(here, monkeypatch):
    def interrupted(self, *args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "training", interrupted)
        result = invoke(*REPRODUCE, "--rows", "ce")
    assert result.exit_code == 130
    assert invoke(*REPRODUCE, "--rows", "ce").exit_code == 0


def test_what_is_damaged_is_a_note_on_stderr(here):
    invoke(*REPRODUCE, "--rows", "ce")
    (folder,) = (here / "runs").glob("[0-9a-f]*")
    (folder / "run.json").write_text("{")
    result = invoke(*REPRODUCE, "--rows", "ce")
    assert result.exit_code == 0
    (note,) = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert "run.json cannot be read" in note and "set-aside" in note


# The chart.


def frame_of(cells):
    row = {"paper": 90.0, "paper_std": np.nan, "ours": 88.5, "std": 0.4, "seeds": 3, "setting": "beta=3"}
    row |= {"same_setting": True}
    return pd.DataFrame(
        [{"cell": cell, "method": name, **row} for cell in cells for name in ("CE", "LIMIT_L -S")]
    )


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_the_chart_has_a_panel_a_cell_and_the_page_a_table_of_what_it_draws(count):
    frame = frame_of([f"p=0.{number}" for number in range(count)])
    unmade = frame_of(["p=0.9"]).assign(ours=np.nan)
    chart = plots.table_chart(pd.concat([frame, unmade]), "Table 1")
    assert [trace.name for trace in chart.data] == ["paper", "ours ± std"] * count
    assert all(list(trace.x) == [90.0, 90.0] for trace in chart.data[::2])
    texts = pd.DataFrame({"ours": ["<b>88.5</b>"] * len(frame)})
    page = plots.table_page(pd.concat([frame, unmade]), "Table 1", ["How it < was made."], texts)
    assert page.count("<b>88.5</b>") == len(frame) and "<p>How it &lt; was made.</p>" in page


def test_the_variants_of_a_method_wear_its_colour():
    ours = plots.table_chart(frame_of(["p=0.5"]), "Table 1").data[1]
    assert list(ours.marker.color) == [plots.style("CE").color, plots.style("LIMIT-L").color]
