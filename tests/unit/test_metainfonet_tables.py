"""MetaInfoNet's tables: the protocols, what the data cannot make, every row trained, and who wins where
theory says so.
"""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from lnlib import noise
from lnlib.cli.app import app
from lnlib.course import plots
from lnlib.data import Dataset
from lnlib.errors import DataUnavailable, InvalidValue
from lnlib.methods import D2L, L2RW, CrossEntropy, FineTuning
from lnlib.nets import MLP
from lnlib.papers import tables, writing
from lnlib.papers.presets import TABLES
from lnlib.papers.request import Request, named_cells, named_rows
from lnlib.papers.spec import GIVEN, Spec
from lnlib.papers.store import Store
from lnlib.papers.tables import gather, reproduce
from lnlib.training import fit

NUMBERS = range(1, 7)


def first_spec(number, row, cell, dataset="cifar-100", budget="paper"):
    """That of the first setting and seed."""
    table = TABLES[f"metainfonet-table{number}"]
    (row,), (cell,) = named_rows(table, [row]), named_cells(table, [cell])
    request = Request(table, dataset, table.protocols[budget], (row,), (cell,), (0,))
    return request.grid(row, cell)[0][1][0]


# The protocols.


@pytest.mark.parametrize(
    ("number", "cell", "dataset", "net", "epochs", "milestones", "meta_size"),
    [
        (1, "factor=50", "cifar-10", "resnet32", 120, (80, 100), 100),
        (1, "factor=50", "cifar-100", "resnet32", 120, (80, 100), 1000),
        (2, "p=0.4", "cifar-10", "resnet32", 120, (80, 100), 1000),
        (3, "p=0.6", "cifar-10", "wrn-28-10", 50, (30, 40), 1000),
        (4, "p=0.2", "cifar-100", "resnet32", 120, (80, 100), 1000),
        (5, "noise=real", "clothing1m", "resnet50", 10, (5,), 7000),
        (6, "noise=real", "animal-10n", "resnet32", 100, (50, 75), 1000),
    ],
)
def test_the_papers_schedules(number, cell, dataset, net, epochs, milestones, meta_size):
    spec = first_spec(number, "metainfonet", cell, dataset)
    optimizer = spec.member_parts()[1].optimizer
    assert (spec.net, spec.epochs, optimizer.milestones, spec.meta_size) == (
        net,
        epochs,
        milestones,
        meta_size,
    )
    clothing = dataset == "clothing1m"
    assert (optimizer.lr, optimizer.weight_decay) == ((0.01, 1e-3) if clothing else (0.1, 5e-4))
    assert optimizer.decay == spec.member_parts()[0].meta_optimizer.decay == "all"
    assert optimizer.momentum == 0.9 and spec.batch_size == (32 if clothing else 100)
    assert spec.meta_batch_size == 100 and spec.patience is None
    seen = (spec.net_options, spec.augment, spec.scaling)
    assert seen == (
        ({"weights": "imagenet"}, "center", "dataset") if clothing else ({}, "reflect", "metainfonet")
    )
    # Whatever the row, nothing but the method differs.
    standard = first_spec(number, "standard", cell, dataset)
    assert standard.model_copy(update={"method": spec.method, "method_options": spec.method_options}) == spec


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("budget", ["quick", "equal"])
def test_all_rows_of_a_table_have_one_optimiser_and_one_setting(number, budget):
    request = Request.parse(f"metainfonet-table{number}", budget=budget, cells=None)
    specs = [spec for row in request.rows for _, (spec, *_) in request.grid(row, request.cells[0])]
    assert len(specs) == len(request.rows)
    varied = {"method", "method_options"}
    assert len({spec.model_dump_json(exclude=varied) for spec in specs}) == 1
    # The row Standard is what others begin from.
    assert all(spec.sources() in ({}, {"cross-entropy": specs[0]}) for spec in specs)


def test_the_papers_budget_tries_lambda_and_gamma():
    request = Request.parse("metainfonet-table2", budget="paper")
    tried = {
        row.name: [dict(setting) for setting, _ in request.grid(row, request.cells[0])]
        for row in request.rows
    }
    assert tried["metainfonet"] == [{"lam": lam} for lam in (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)]
    assert tried["focal"] == [{"gamma": gamma} for gamma in (0.5, 1.0, 2.0)]
    assert all(len(settings) == 1 for name, settings in tried.items() if name not in ("metainfonet", "focal"))
    assert request.seeds == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("number", "cell", "wrong"), [(2, "p=0.4", 0.4), (2, "p=0", 0.0), (3, "p=0.4", 0.36), (3, "p=0.6", 0.54)]
)
def test_co_teaching_forgets_as_many_labels_as_are_wrong(number, cell, wrong):
    spec = first_spec(number, "co-teaching", cell, "digits")
    assert spec.member_parts()[0].forget_rate == pytest.approx(wrong)
    assert noise.effective_error_rate(spec.matrix()) == pytest.approx(wrong)


def test_what_the_originals_give_in_epochs_follows_the_length_of_the_run():
    methods = {
        (row, budget): first_spec(2, row, "p=0.4", "digits", budget).member_parts()[0]
        for row in ("fine-tuning", "d2l", "co-teaching")
        for budget in ("quick", "cores", "paper")
    }
    assert [methods["fine-tuning", budget].last_epochs for budget in ("quick", "cores", "paper")] == [
        10,
        6,
        10,
    ]
    assert [methods["d2l", budget].init_epoch for budget in ("quick", "cores", "paper")] == [10, 6, 40]
    ramps = [methods["co-teaching", budget].ramp_epochs for budget in ("quick", "cores", "paper")]
    assert ramps == [2, 1, 6]


def test_fine_tuning_and_d2l_are_cross_entropy_before_their_first_own_epoch(make_digits_task, monkeypatch):
    monkeypatch.setattr("lnlib.methods.d2l.is_turning_point", lambda recent, now: now > 0)
    task = make_digits_task(train_size=100, meta_size=20)
    settings = {"net": MLP(8, 1), "epochs": 6, "batch_size": 50}
    standard = fit(CrossEntropy(), task, **settings).history["loss"]
    never = D2L(init_epoch=5, window=2)
    for method, first in ((FineTuning(2), 5), (D2L(init_epoch=1, window=2), 4), (never, math.inf)):
        history = fit(method, task, **settings).history
        same = (history["loss"] == standard).tolist()
        assert method.first_own_epoch(6, history) == first
        assert same == [epoch < first for epoch in range(1, 7)], method
    assert CrossEntropy().first_own_epoch(6, {}) == L2RW().first_own_epoch(6, {}) == 1


def test_the_row_that_is_told_the_noise_says_so():
    told = {row.name: row.oracle for table in TABLES.values() for row in table.rows if row.oracle}
    assert told == {"co-teaching": "the share of wrong labels"}
    given = [row for table in TABLES.values() for row in table.rows if "matrix" in row.options]
    assert not given and all("forget_rate" not in row.computed or row.oracle for row in given)


def test_the_noise_is_what_the_tables_say():
    for number, cell, targets in ((2, "p=0.4", 2), (4, "p=0.4", 1)):
        matrix = first_spec(number, "standard", cell, "digits").matrix()
        np.testing.assert_allclose(matrix.diagonal(), 0.6)
        assert ((matrix > 0).sum(axis=1) == 1 + targets).all()
    np.testing.assert_allclose(first_spec(3, "standard", "p=0.4", "digits").matrix().diagonal(), 0.64)
    # Clean labels are one run in all tables.
    clean = [first_spec(1, "standard", "factor=1", "digits"), first_spec(2, "standard", "p=0", "digits")]
    assert (
        clean[0]
        == clean[1]
        == first_spec(3, "standard", "p=0", "digits", "paper").model_copy(
            update={"epochs": 120, "optimizer_options": clean[0].optimizer_options}
        )
    )


# What the data can make.


def test_factors_that_leave_a_class_empty_are_left_out_with_a_note():
    request = Request.parse("metainfonet-table1", budget="paper")
    assert [cell.imbalance for cell in request.cells] == [100, 50, 20, 10, 1]
    assert "factor=200 (imbalance factor 200 leaves no training image of 9" in request.left_out
    with pytest.raises(
        InvalidValue, match="factor=200 of metainfonet-table1: imbalance factor 200 leaves no"
    ):
        Request.parse("metainfonet-table1", cells=["factor=20", "factor=200"])
    small = Request.parse("metainfonet-table1", cells=["factor=5", "factor=2"])
    assert [cell.imbalance for cell in small.cells] == [5, 2]
    assert np.isnan(tables.paper_number(small, small.rows[0], small.cells[0]).value)


@pytest.mark.parametrize(("number", "rate", "title"), [(5, 0.38, "Clothing1M"), (6, 0.08, "ANIMAL-10N")])
def test_real_noise_is_made_where_a_data_set_has_none_and_the_caption_says_so(tmp_path, number, rate, title):
    name = f"metainfonet-table{number}"
    request = Request.parse(name)
    (cell,) = request.cells
    assert (cell.noise, cell.rate, cell.noise_options) == ("flip", rate, {"targets": 2})
    assert request.left_out == "labels as they came (digits has true labels only)"
    text = writing.caption(request, gather(request, Store(tmp_path)))
    assert (
        "The noise is made here" in text and f"The paper's numbers are for {title}, ours for digits" in text
    )
    with pytest.raises(InvalidValue, match=r"labels as they came of .* digits has true labels only"):
        Request.parse(name, cells=["noise=real"])


@pytest.mark.parametrize(("number", "dataset"), [(5, "clothing1m"), (6, "animal-10n")])
def test_a_data_set_that_is_not_there_is_asked_for(number, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("LNLIB_DATA", str(tmp_path))
    with pytest.raises(DataUnavailable, match="ask its authors"):
        Request.parse(f"metainfonet-table{number}", dataset)


def tiny(**fields):
    """Ten classes, 200 images, given labels that are the true ones moved on by one for each fifth image."""
    rng = np.random.default_rng(0)
    true = torch.arange(200) % 10
    images = (25 * true[:, None, None, None] + torch.from_numpy(rng.integers(0, 9, (200, 1, 8, 8)))).to(
        torch.uint8
    )
    labels = {"train_labels": true, "test_images": images[:50], "test_labels": true[:50]}
    return Dataset(
        name="tiny",
        train_images=images,
        class_names=tuple("abcdefghij"),
        mean=(0.5,),
        std=(0.3,),
        **labels,
        **fields,
    )


@pytest.mark.parametrize("kind", ["clean rows", "true labels known"])
def test_labels_that_came_noisy_are_trained_on_as_they_are(tmp_path, monkeypatch, kind):
    moved = (torch.arange(200) + (torch.arange(200) % 5 == 0)) % 10
    dataset = tiny(num_clean=50) if kind == "clean rows" else tiny(given_labels=moved)
    monkeypatch.setattr("lnlib.papers.spec.load", lambda name: dataset)
    table = TABLES["metainfonet-table6"]
    setups = {"other": {"net": "mlp", "net_options": {"width": 8}, "optimizer": "sgd", "meta_size": 20}}
    monkeypatch.setitem(TABLES, table.name, replace(table, setups=setups))
    request = Request.parse(table.name, "tiny", rows=["standard", "lossnet"], epochs=2)
    assert [cell.noise for cell in request.cells] == [GIVEN]
    assert request.left_out == "made: flip-2, p=0.08 (tiny has noisy labels already)"
    # A fifth is held out; the meta set comes from the clean rows, or from the training images.
    num_train = 120 if kind == "clean rows" else 140
    spec = request.specs()[0]
    assert spec.sizes().train == len(spec.task().train) == num_train
    assert "labels as they came" in spec.label
    frame = reproduce(request, Store(tmp_path))
    assert frame["ours"].notna().sum() == 2 and set(frame["n"]) == {num_train}
    assert list(frame.loc[frame["row"] == "lossnet", ["paper", "paper_last"]].iloc[0]) == [83.73, 82.07]


def test_labels_that_came_noisy_take_no_imbalance():
    with pytest.raises(InvalidValue, match="keep their class sizes, got imbalance 5"):
        Spec.parse({"dataset": "animal-10n", "noise": "given", "imbalance": 5})


# Making the tables.


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(
    ("number", "cell"),
    [(1, "factor=5"), (2, "p=0.4"), (3, "p=0.4"), (4, "p=0.4"), (5, "noise=flip"), (6, "noise=flip")],
)
def test_every_row_runs_through_the_command(number, cell, store, tmp_path, monkeypatch):
    monkeypatch.setenv("LNLIB_RUNS", str(store.root))
    arguments = ["reproduce", f"metainfonet-table{number}", "--epochs", "2", "--train-size", "300"]
    arguments += ["--cells", cell, "--output", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    table = TABLES[f"metainfonet-table{number}"]
    cells = json.loads(result.stdout)["cells"]
    made = [record for record in cells if record["ours"] is not None]
    assert [record["row"] for record in made] == [row.name for row in table.rows]
    assert all(record["last"] > 5 and not record["diverged"] for record in made)
    markdown = (tmp_path / f"{table.name}-digits-quick.md").read_text(encoding="utf-8")
    assert "## Best" in markdown and "## Last" in markdown and "one optimiser" in markdown
    assert markdown.count("\n| MetaInfoNet |") == 2
    page = (tmp_path / f"{table.name}-digits-quick.html").read_text(encoding="utf-8")
    assert "ours, last" in page and ("paper, last" in page) == (number in (4, 6))


def test_best_and_last_are_what_the_histories_say(store):
    request = Request.parse(
        "metainfonet-table4", rows=["standard"], cells=["p=0.4"], epochs=12, train_size=200
    )
    frame = reproduce(request, store)
    (record,) = frame[frame["ours"].notna()].to_dict("records")
    history = store.find(request.specs()[0]).history
    assert len(history) == 12
    assert record["last"] == pytest.approx(100 * history["test_accuracy"].tail(10).mean())
    best = history["validation_accuracy"].idxmax()
    assert record["ours"] == pytest.approx(100 * history.loc[best, "test_accuracy"])
    assert all(np.isnan(record[name]) for name in ("last_std", "paper_last", "last_difference"))


def test_the_last_epochs_are_the_evaluated_ones(store):
    request = Request.parse(
        "metainfonet-table4", rows=["standard"], cells=["p=0.4"], epochs=2, train_size=100
    )
    spec = request.specs()[0].model_copy(update={"epochs": 7, "evaluate_every": 3})
    result = store.obtain(spec)
    evaluated = result.history["test_accuracy"].dropna()
    assert len(evaluated) == 3 and result.last == pytest.approx(evaluated.mean())


@pytest.mark.rounding
@pytest.mark.parametrize(("number", "rows"), [(2, ["l2rw"]), (4, ["l2rw", "metainfonet"])])
def test_weights_learnt_from_clean_examples_help_against_flips(number, rows, store):
    request = Request.parse(
        f"metainfonet-table{number}", rows=["standard", *rows], cells=["p=0.4"], epochs=15
    )
    frame = reproduce(request, store).query("cell == 'p=0.4'").set_index("row")["last"]
    assert 50 < frame["standard"] < 80
    assert frame["l2rw"] > frame["standard"] + 15
    assert number == 2 or frame["metainfonet"] > frame["standard"] + 10


# The chart.


def test_the_chart_shows_the_last_epochs_beside_the_best():
    record = {"paper": 90.0, "paper_std": 0.3, "ours": 88.5, "std": 0.4, "seeds": 5, "setting": ""}
    rows = ("Standard", "MetaInfoNet")
    frame = pd.DataFrame([{"cell": "p=0.4", "method": name, **record} for name in rows])
    frame["same_setting"] = False
    both = frame.assign(paper_last=[np.nan, 87.0], last=[60.0, 86.0])
    chart = plots.table_chart(both, "Table 4")
    assert [trace.name for trace in chart.data] == ["paper", "ours ± std", "paper, last", "ours, last"]
    assert list(chart.data[3].x) == [60.0, 86.0]
    assert list(chart.data[3].marker.color) == [plots.style("CE").color, plots.style("MetaInfoNet").color]
    unprinted = plots.table_chart(both.assign(paper_last=np.nan), "Table 2")
    assert [trace.name for trace in unprinted.data] == ["paper", "ours ± std", "ours, last"]


def test_what_a_table_cannot_train_is_said_before_it_begins():
    with pytest.raises(InvalidValue, match="fine-tuning needs an epoch of each kind, got 1; try --epochs 2"):
        Request.parse("metainfonet-table1", epochs=1)
    assert Request.parse("metainfonet-table1", epochs=1, rows=["standard"]).epochs == 1
    with pytest.raises(InvalidValue, match=r"101 images leave one alone .* try --train-size 100"):
        Request.parse("metainfonet-table2", train_size=101)
