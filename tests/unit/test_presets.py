"""The papers' tables as data: numbers, rows, cells and protocols, and how a part of them is asked for."""

import hashlib
import json
import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision.datasets
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lnlib import data
from lnlib.catalog import METHODS
from lnlib.data import Dataset
from lnlib.errors import InvalidValue, UnknownName
from lnlib.papers import presets, tables
from lnlib.papers.presets import TABLES
from lnlib.papers.printed import paper_table
from lnlib.papers.request import Request, named_cells, named_rows
from lnlib.papers.spec import Spec
from lnlib.training import Member
from lnlib.training.building import build_networks

TABLE1, TABLE2 = TABLES["limit-table1"], TABLES["limit-table2"]

PRINTED = [
    (table, dataset)
    for table in TABLES.values()
    for dataset in (name for name in table.datasets if name != "cifar-10-jpeg")
    if (table.name, dataset) != ("metainfonet-table3", "cifar-100")
]


@pytest.mark.parametrize(("table", "dataset"), PRINTED, ids=lambda part: getattr(part, "name", part))
def test_every_number_of_the_papers_table_has_its_cell(table, dataset):
    numbers = paper_table(table.source)
    ours = numbers[numbers["dataset"] == table.datasets[dataset]]
    if (table.name, dataset) == ("limit-table2", "cifar-100"):
        ours = ours[ours["rate"] == 0.4]
    request = replace(REQUEST, table=table, dataset=dataset)
    # The numbers for noise that came with the data stand beside noise made in its place, too.
    came_noisy = [cell for cell in table.cells if cell.printed == "real"][:1]
    made = [cell for cell in table.cells if cell.printed != "real"]
    cells = came_noisy if dataset in ("clothing1m", "animal-10n") else made
    found = [
        tables.paper_number(request, row, cell, metric).value
        for row in table.rows
        for cell in cells
        for metric in table.metrics
    ]
    assert sorted(value for value in found if not np.isnan(value)) == sorted(ours["value"])
    assert {row.paper for row in table.rows} - {"Standard"} == set(ours["method"]) - {"Standard"}
    assert {row.method for row in table.rows} <= set(METHODS)


def test_all_tables_of_both_papers_are_shipped():
    names = ["limit_table1", "limit_table2", *(f"metainfonet_table{number}" for number in range(1, 7))]
    for name in names:
        frame = paper_table(f"{name}.csv")
        assert len(frame) and frame["value"].between(0, 100).all() and frame["noise"].notna().all()


REQUEST = Request(TABLE1, "mnist", TABLE1.protocols["quick"], TABLE1.rows, TABLE1.cells, (42,))


def grid(table, row, cell, budget="paper", dataset="mnist", **fields):
    (row,), (cell,) = named_rows(table, [row]), named_cells(table, [cell])
    request = Request(table, dataset, table.protocols[budget], (row,), (cell,), table.seeds, **fields)
    return request.grid(row, cell)


def test_the_papers_protocol_on_mnist():
    settings = grid(TABLE1, "limit-l-s", "p=0.8,n=10000")
    assert [setting["beta"] for setting, _ in settings] == [0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]
    specs = settings[0][1]
    assert [spec.seed for spec in specs] == [42, 43, 44, 45, 46]
    spec = specs[0]
    assert (spec.net, spec.batch_size, spec.epochs, spec.patience) == ("cnn", 256, 400, 100)
    assert spec.train_size == 10000 and spec.validation == 0.2 and spec.noise == "uniform"
    assert spec.member_parts()[1].optimizer.lr == 1e-3
    sampled = grid(TABLE1, "limit-g+s", "p=0.8,n=all")
    assert [setting["sigma"] for setting, _ in sampled][:4] == [0.3162, 0.1, 0.0316, 0.01]
    assert [setting["lr"] for setting, _ in grid(TABLE1, "dmi", "p=0,n=all")] == [1e-3, 1e-4, 1e-5, 1e-6]
    assert len(grid(TABLE1, "soft-reg", "p=0,n=all")) == 20


@pytest.mark.parametrize(
    ("row", "cell", "patience"),
    [
        ("ce", "noise=uniform,p=0.4", 100),
        ("limit-l", "noise=uniform,p=0.4", 200),
        ("limit-l+init", "noise=uniform,p=0.4", 200),
        ("fw", "noise=pair,p=0.4", 50),
        ("dmi", "noise=pair,p=0.4", 100),
        ("limit-g", "noise=pair,p=0.4", 100),
        ("limit-g+init", "noise=pair,p=0.4", 200),
    ],
)
def test_patience_is_the_papers_or_the_same_for_all_rows(row, cell, patience):
    (_, (spec,)), *_ = grid(TABLE2, row, cell, dataset="cifar-10")
    assert spec.patience == patience
    assert (spec.net, spec.augment, spec.seed) == ("resnet34", True, 42)
    (_, (equal,)), *_ = grid(TABLE2, row, cell, budget="equal", dataset="cifar-10")
    assert equal.patience == 200
    # Whatever its own patience, a row begins from the run that is the table's row CE.
    (_, (cross_entropy,)), *_ = grid(TABLE2, "ce", cell, dataset="cifar-10")
    assert all(source == cross_entropy for source in spec.sources().values())


def test_clothing1m_has_a_column_in_limits_table_2():
    (_, (spec, *others)), *_ = grid(TABLE2, "limit-g+init", "labels as they came", dataset="clothing1m")
    assert (spec.noise, spec.net, spec.net_options, spec.augment, spec.seed) == (
        "given",
        "resnet50",
        {},
        "crop",
        42,
    )
    optimizer = spec.member_parts()[1].optimizer
    assert (optimizer.lr, spec.batch_size, spec.epochs, spec.patience, others) == (1e-3, 256, 400, 50, [])
    (source,) = spec.sources().values()
    assert source == grid(TABLE2, "ce", "labels as they came", dataset="clothing1m")[0][1][0]
    request = replace(REQUEST, table=TABLE2, dataset="clothing1m")
    printed = {row.name: tables.paper_number(request, row, TABLE2.cells[-1]).value for row in TABLE2.rows}
    assert printed == {
        "ce": 68.91, "mae": 6.52, "fw": 68.70, "dmi": 71.19, "limit-g": 70.32, "limit-l": 70.35,
        "limit-g+init": 71.39, "limit-l+init": 70.53,
    }  # fmt: skip


def test_few_images_are_seen_more_often_and_evaluated_less():
    (_, (spec, *_)), *_ = grid(TABLE1, "ce", "p=0.5,n=1000", "cores")
    assert (spec.train_size, spec.epochs, spec.evaluate_every) == (1000, 150, 3)
    (_, (spec, *_)), *_ = grid(TABLE1, "ce", "p=0.5,n=1000", "cores", epochs=4)
    assert (spec.train_size, spec.epochs, spec.evaluate_every) == (1000, 50, 3)
    (_, (spec, *_)), *_ = grid(TABLE1, "ce", "p=0.5,n=all", "cores", epochs=4)
    assert (spec.train_size, spec.epochs, spec.evaluate_every) == (None, 4, 1)


def number_of_runs(request):
    return sum(
        len(specs) for cell in request.asked for row in request.rows for _, specs in request.grid(row, cell)
    )


def test_two_cores_make_these_runs_of_limits_table_1():
    request = Request.parse("limit-table1", budget="cores")
    # CE, MAE and FW have nothing to choose, the other eight rows two settings each.
    settings = 3 * 1 + 8 * 2
    seeds = 3 * 5 + 2 * 3 + 1  # of n = 1000; of n = all with noise; without
    assert number_of_runs(request) == settings * seeds == 418
    assert {spec.seed for _, specs in request.grid(request.rows[0], request.asked[0]) for spec in specs} == {
        42, 43, 44, 45, 46,
    }  # fmt: skip
    assert number_of_runs(Request.parse("limit-table1", budget="cores", seeds=[7])) == settings * 6
    assert number_of_runs(Request.parse("limit-table2", budget="cores")) == (3 * 1 + 5 * 2) * 3


@pytest.mark.parametrize(
    ("number", "rows", "cells", "seeds"), [(1, 8, 4, 3), (2, 13, 3, 3), (3, 13, 3, 3), (4, 5, 2, 5)]
)
def test_two_cores_make_these_runs_of_metainfonets_tables(number, rows, cells, seeds):
    request = Request.parse(f"metainfonet-table{number}", budget="cores")
    assert number_of_runs(request) == 3 * rows * cells * seeds
    optimizers = [
        [json.dumps([spec.optimizer, spec.optimizer_options]) for _, (spec, *_) in request.grid(row, cell)]
        for row in request.rows
        for cell in request.asked
    ]
    assert all(found == optimizers[0] for found in optimizers) and len(set(optimizers[0])) == 3
    sgd, slower, adam = (json.loads(text) for text in optimizers[0])
    steps = [12, 16] if number == 3 else [13, 17]  # 30 and 40 of 50 epochs, or 80 and 100 of 120
    schedule = {"momentum": 0.9, "weight_decay": 5e-4, "milestones": steps}
    assert {name: sgd[1][name] for name in schedule} == schedule and (sgd[0], sgd[1]["lr"]) == ("sgd", 0.1)
    assert slower == ["sgd", sgd[1] | {"lr": 0.02}] and adam == ["adam", {"lr": 1e-3}]


@pytest.mark.parametrize("table", ["limit-table2", "metainfonet-table4"])
def test_two_cores_train_a_small_network_on_ten_thousand_pictures_of_cifar(table, monkeypatch):
    pictures = of_classes(10, each=5000)
    monkeypatch.setattr("lnlib.papers.spec.load", lambda name: pictures)
    request = Request.parse(
        table, "cifar-10-jpeg", "cores", cells=["p=0.4"], rows=["ce" if "limit" in table else "l2rw"]
    )
    spec = request.specs()[0]
    assert (spec.net, spec.train_size, spec.sizes().train) == ("cnn", 10_000, 10_000)
    assert spec.epochs == (60 if "limit" in table else 40)
    assert Request.parse(table, "cifar-10-jpeg", "paper", cells=["p=0.4"]).specs()[0].train_size is None


def test_every_setting_of_the_short_grids_is_one_of_the_papers():
    for table in (TABLE1, TABLE2):
        short, full = table.protocols["cores"], table.protocols["paper"]
        for row in table.rows:
            assert len(short.settings(row)) == min(2, len(full.settings(row)))
            assert [setting for setting in short.settings(row) if setting not in full.settings(row)] == []
    for row in ("ce+gn", "ce+ln"):
        assert {setting["scale"] for setting, _ in grid(TABLE1, row, "p=0.5,n=all", "quick")} == {"reference"}


def test_what_is_listed_is_combined_in_the_order_of_its_names():
    assert presets.combinations({"a": [1, 2], "b": "ab", "c": [3, 4]}) == [
        {"a": 1, "b": "ab", "c": 3},
        {"a": 1, "b": "ab", "c": 4},
        {"a": 2, "b": "ab", "c": 3},
        {"a": 2, "b": "ab", "c": 4},
    ]
    assert presets.combinations({}) == [{}]


@pytest.mark.parametrize("section", ["rows", "protocols", "tables"])
def test_a_misspelt_word_in_the_data_is_refused(section):
    paper = presets._file("metainfonet")
    next(iter(paper[section].values()))["seedss"] = [1]
    with pytest.raises(ValidationError, match="seedss"):
        presets.read(**paper)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_what_the_data_name_exists(table):
    siblings = [other for other in TABLES.values() if other.protocols == table.protocols]
    rows = {row.name for other in siblings for row in other.rows}
    assert all(Spec.parse(setup) for setup in table.setups.values())
    assert {row.like for row in table.rows} <= rows | {""}
    for protocol in table.protocols.values():
        assert set(protocol.grids) <= rows and set(protocol.cells) <= {other.name for other in siblings}
        assert {row for by_row in protocol.patience.values() for row in by_row} <= rows | {"others"}
        assert named_cells(table, protocol.cells.get(table.name))
        for row in table.rows:
            for setting in protocol.settings(row):
                assert Spec.parse({"method": row.method, "method_options": {**row.options, **setting}})


CELLS = [(table, cell) for table in TABLES.values() for cell in table.cells]


@given(choice=st.sampled_from(CELLS), seed=st.integers(0, 2**20))
def test_a_cell_is_found_by_its_heading_however_it_is_spaced_and_capitalised(choice, seed):
    table, cell = choice
    rng = random.Random(seed)
    text = "".join(
        rng.choice((letter, letter.upper(), f" {letter}", f"{letter} ")) for letter in cell.heading
    )
    assert named_cells(table, [text]) == (cell,)


@given(choice=st.sampled_from(CELLS), text=st.text() | st.sampled_from(["uniform 40%", "n=", "p=.51", ","]))
def test_a_text_selects_cells_or_is_answered_with_the_headings(choice, text):
    table, cell = choice
    try:
        assert named_cells(table, [text])
    except UnknownName as error:
        assert f"unknown cell of {table.name} {text!r}" in str(error) and repr(cell.heading) in str(error)


def test_cells_are_selected_by_parts_of_their_headings():
    assert len(named_cells(TABLE1, None)) == 12
    assert [cell.rate for cell in named_cells(TABLE1, ["n=1000"])] == [0.0, 0.5, 0.8, 0.89]
    assert [cell.parts["n"] for cell in named_cells(TABLE1, ["p=0.50, n=all", "p=.8,n=1000"])] == [
        "all",
        "1000",
    ]
    assert [cell.noise for cell in named_cells(TABLE2, ["p=0.4"])] == ["uniform", "pair"]
    assert named_cells(TABLE2, ["pair"]) == named_cells(TABLE2, ["noise=pair"]) == TABLE2.cells[5:9]
    assert (
        named_cells(TABLE2, ["labels as they came"])
        == named_cells(TABLE2, ["noise=real"])
        == TABLE2.cells[9:]
    )
    assert [row.name for row in named_rows(TABLE1, ["LIMIT_L -S", "mae"])] == ["mae", "limit-l-s"]


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"table": "limit-tabel1"}, UnknownName, "unknown table 'limit-tabel1': did you mean 'limit-table1'"),
        ({"budget": "quikc"}, UnknownName, "did you mean 'quick'"),
        ({"dataset": "digit"}, UnknownName, "did you mean 'digits'"),
        ({"rows": ["limitl"]}, UnknownName, "unknown row of limit-table1 'limitl': did you mean 'limit-l"),
        (
            {"cells": ["q=0.5"]},
            UnknownName,
            "unknown cell of limit-table1 'q=0.5': known are 'p=0, n=1000', ",
        ),
        ({"cells": ["p=0.5", "p"]}, UnknownName, "unknown cell of limit-table1 'p': known are"),
        (
            {"cells": ["n=10000"]},
            InvalidValue,
            "p=0, n=10000 of limit-table1: it needs more training images than 1200, which is what digits has",
        ),
        (
            {"table": "limit-table2", "cells": ["noise=pair,p=0.8"]},
            UnknownName,
            "'noise=pair,p=0.8': known are 'uniform, p=0', .*'pair, p=0.4', 'labels as they came', or",
        ),
        ({"seeds": [-1]}, InvalidValue, "seed must be at least 0, got -1"),
        ({"epochs": 0}, InvalidValue, "epochs.* got 0"),
        ({"train_size": 0}, InvalidValue, "train_size.* got 0"),
    ],
)
def test_bad_requests_are_refused_before_anything_trains(fields, error, message):
    with pytest.raises(error, match=message):
        Request.parse(**{"table": "limit-table1", **fields})


# What a data set cannot make is left out before anything trains.


def of_classes(count, each=20):
    """So many black training images of each class, and as many test images."""
    labels = torch.arange(each * count) % count
    images = torch.zeros(each * count, 3, 5, 5, dtype=torch.uint8)
    names = tuple(f"class {label}" for label in range(count))
    return Dataset("tiny", images, labels, images, labels, names, (0.5,) * 3, (0.3,) * 3)


@pytest.mark.parametrize("count", [*range(2, 13), 100])
@pytest.mark.parametrize("name", TABLES)
def test_each_cell_of_each_table_is_left_out_with_a_sentence_or_can_be_trained(name, count, monkeypatch):
    monkeypatch.setattr("lnlib.papers.spec.load", lambda name: of_classes(count))
    table = TABLES[name]
    meta = {"meta_size": 2 * count} if "meta_size" in table.setups["other"] else {}
    setup = {"net": "mlp", "net_options": {"width": 4}, "batch_size": 10_000, **meta}
    setup["optimizer"] = table.setups["other"].get("optimizer", "adam")
    table = replace(table, setups={"other": setup})
    request = Request(table, "tiny", table.protocols["quick"], table.rows, table.cells, (0,))
    made = []
    of_a_class = 16 - 2 * bool(meta)  # twenty without the validation and the meta set
    for cell in table.cells:
        cannot_be_made = (
            cell.noise == "given"
            or (cell.noise == "pair" and count != 10)
            or (cell.noise == "flip" and cell.rate > 0 and cell.noise_options["targets"] >= count)
            or cell.imbalance > of_a_class
            or (cell.train_size or 0) > of_a_class * count
        )
        left_out = request.obstacles.get(cell.heading, "")
        assert bool(left_out) == cannot_be_made == (cell not in request.cells), (cell, left_out)
        assert left_out in request.left_out
        if not left_out:
            made = [request.grid(row, cell)[0][1][0] for row in table.rows]
            tasks = {spec.task().label_hash: spec.task() for spec in made}
            assert [len(task.train) for task in tasks.values()] == [request.num_train(cell)]
    for spec in made:  # those of the last cell that can be made
        method, settings = spec.member_parts()
        start = {network: {} for network in method.warm_start}
        assert build_networks(Member(method, *tasks.values(), start=start), settings, torch.device("cpu"))


def test_cifar_100_has_no_pair_noise_and_is_told_so_before_anything_trains(tmp_path, monkeypatch):
    monkeypatch.setenv("LNLIB_DATA", str(tmp_path))
    names = {"fine_label_names": [f"class {label}" for label in range(100)]}
    parts = {"meta": pickle.dumps(names, protocol=2)}
    for part, size in (("train", 1000), ("test", 200)):
        rows = {
            "data": np.zeros((size, 3 * 32 * 32), dtype=np.uint8),
            "fine_labels": [*range(100)] * (size // 100),
        }
        parts[part] = pickle.dumps(rows, protocol=2)
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    sums = {}
    for part, content in parts.items():
        (folder / part).write_bytes(content)
        sums[part] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    kind = torchvision.datasets.CIFAR100
    monkeypatch.setattr(kind, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(kind, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": sums["meta"]})
    assert data.load("cifar-100").num_classes == 100
    request = Request.parse("limit-table2", "cifar-100", "quick")
    assert [cell.heading for cell in request.cells] == ["uniform, p=0.4"]
    assert request.left_out.startswith("pair, p=0.4 (the pairs of 'limit' are CIFAR-10's and need 10 classes")
    with pytest.raises(
        InvalidValue, match=r"pair, p=0\.1 of limit-table2: the pairs of .* try other --cells"
    ):
        Request.parse("limit-table2", "cifar-100", cells=["pair"])
