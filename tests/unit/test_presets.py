"""The papers' tables as data: numbers, rows, cells and protocols, and how a part of them is asked for."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lnlib.catalog import METHODS
from lnlib.errors import InvalidValue, UnknownName
from lnlib.papers import presets, tables
from lnlib.papers.presets import TABLES
from lnlib.papers.printed import paper_table
from lnlib.papers.request import Request, named_cells, named_rows
from lnlib.papers.spec import Spec

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
    cells = [cell for cell in table.cells if cell.printed != "real"] or table.cells[:1]
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


def test_few_images_are_seen_more_often_and_evaluated_less():
    (_, (spec, *_)), *_ = grid(TABLE1, "ce", "p=0.5,n=1000", "laptop", epochs=4)
    assert (spec.train_size, spec.epochs, spec.evaluate_every) == (1000, 40, 2)
    (_, (spec, *_)), *_ = grid(TABLE1, "ce", "p=0.5,n=all", "laptop", epochs=4)
    assert (spec.train_size, spec.epochs, spec.evaluate_every) == (None, 4, 1)


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
    assert named_cells(TABLE2, ["pair"]) == named_cells(TABLE2, ["noise=pair"]) == TABLE2.cells[5:]
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
            "'noise=pair,p=0.8': known are 'uniform, p=0', .*'pair, p=0.4', or parts of these",
        ),
        ({"seeds": [-1]}, InvalidValue, "seed must be at least 0, got -1"),
        ({"epochs": 0}, InvalidValue, "epochs.* got 0"),
        ({"train_size": 0}, InvalidValue, "train_size.* got 0"),
    ],
)
def test_bad_requests_are_refused_before_anything_trains(fields, error, message):
    with pytest.raises(error, match=message):
        Request.parse(**{"table": "limit-table1", **fields})
