"""Run specs and the figures made of them: readable errors, stable names."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lnlib import bounds, methods
from lnlib.catalog import METHODS, Entry
from lnlib.course import plots
from lnlib.data import METAINFONET_MEAN
from lnlib.errors import InvalidValue, LnlibError, UnknownName
from lnlib.files import write_text
from lnlib.papers import figures, limit_figures, tables, writing
from lnlib.papers.request import Request
from lnlib.papers.spec import Spec
from lnlib.papers.store import DamagedRun, Store

PINNED = "08232d292d740242"
SMALL = {"net_options": {"width": 8, "depth": 1}, "epochs": 2, "train_size": 100}


def test_a_spec_builds_the_run_that_it_says():
    run = Spec.parse(
        SMALL
        | {
            "method": "limit",
            "method_options": {"beta": 3.0, "q": "gaussian"},
            "optimizer": "sgd",
            "optimizer_options": {"lr": 0.05},
            "rate": 0.3,
            "seed": 4,
            "patience": 7,
        }
    )
    training = run.new_run()
    assert training.method.beta == 3.0 and training.method.q == "gaussian"
    assert training.settings.optimizer.lr == 0.05 and training.settings.patience == 7
    assert training.settings.net.width == 8
    assert training.member.seed == training.member.task.seed == 4
    assert training.member.task.effective_error_rate == pytest.approx(0.3)
    assert len(training.member.task.train) == 100


def test_fingerprints_are_equal_for_equal_specs_and_stable():
    run = Spec.parse(SMALL)
    assert run.fingerprint == Spec.parse(json.loads(run.model_dump_json())).fingerprint
    assert run.fingerprint != Spec.parse(SMALL | {"seed": 1}).fingerprint
    limit = {"method": "limit"}
    ways = ({}, {"beta": 10}, {"beta": 10.0}, {"beta": "10"}, {"q": "laplace"})
    assert len({Spec.parse(limit | {"method_options": way}).fingerprint for way in ways}) == 1
    assert Spec.parse(limit | {"method_options": {"beta": 3}}).fingerprint != Spec.parse(limit).fingerprint
    # Runs are stored under it: it must not change from one version to the next.
    assert Spec.parse(limit | {"method_options": {"beta": 3}, "epochs": 7}).fingerprint == PINNED


def test_a_spec_spelled_out_is_the_same_run_with_every_option_written_down():
    run = Spec.parse(SMALL | {"method": "limit"})
    spelled = Spec.parse(json.loads(run.spelled_out().model_dump_json()))
    assert spelled.fingerprint == run.fingerprint
    assert spelled.method_options["beta"] == 10.0 and spelled.optimizer_options["lr"] == 1e-3


@dataclass(frozen=True)
class Wider(methods.LIMIT):
    gamma: float = 0.0


@dataclass(frozen=True)
class Milder(methods.LIMIT):
    beta: float = 1.0


def test_an_option_that_is_new_leaves_fingerprints_and_a_new_default_changes_them(monkeypatch):
    fields = {"method": "limit"}
    spec = Spec.parse(fields)
    before, spelled = spec.fingerprint, spec.spelled_out().model_dump()

    monkeypatch.setitem(METHODS, "limit", Entry(__name__, "Wider"))
    assert Spec.parse(fields).fingerprint == Spec.parse(spelled).fingerprint == before

    monkeypatch.setitem(METHODS, "limit", Entry(__name__, "Milder"))
    # What was stored under the old default is no longer found under its name: the store sets it aside.
    assert Spec.parse(spelled).fingerprint != before == Spec.parse(fields).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 3},
        {"rate": 0.25},
        {"epochs": 9},
        {"method": "forward-correction", "method_options": {}},
        {"method_options": {"lr": 1e-3}},
        {"source_options": {"patience": 2}},
        {"net_options": {"width": 16}},
        {"optimizer": "sgd", "optimizer_options": {"lr": 0.5}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_a_spec_has_worked_out_does_not_go_into_its_changed_copies(change):
    spec = Spec.parse(SMALL | {"method": "dmi", "method_options": {"lr": 1e-4}, "patience": 5})

    def worked_out(spec):
        return spec, spec.fingerprint, spec.member_parts(), spec.sources()

    before = worked_out(spec)
    changed = spec.model_copy(update=change)
    assert worked_out(changed) == worked_out(Spec.parse({**spec.model_dump(), **change}))
    assert changed.fingerprint != spec.fingerprint and worked_out(spec) == before


def test_images_are_scaled_as_a_run_says(monkeypatch, digits):
    coloured = replace(
        digits,
        train_images=digits.train_images.expand(-1, 3, -1, -1),
        test_images=digits.test_images.expand(-1, 3, -1, -1),
        mean=digits.mean * 3,
        std=digits.std * 3,
    )
    monkeypatch.setattr("lnlib.papers.spec.load", lambda name: coloured)
    theirs, own = Spec(scaling="metainfonet"), Spec()
    assert theirs.task().dataset.mean == METAINFONET_MEAN and own.task().dataset.mean == coloured.mean
    assert theirs.task().dataset is theirs.task().dataset  # the images lie on the device once
    assert theirs.fingerprint != own.fingerprint
    monkeypatch.undo()
    with pytest.raises(InvalidValue, match="for each of 1 channels"):
        theirs.task()


def test_a_run_names_the_runs_that_it_begins_from():
    dmi = Spec.parse(SMALL | {"method": "dmi", "method_options": {"lr": 1e-4}, "seed": 3, "patience": 5})
    assert dmi.sources() == {"cross-entropy": Spec.parse(SMALL | {"seed": 3, "patience": 5})}
    earlier = dmi.model_copy(update={"source_options": {"patience": 2}})
    assert earlier.sources()["cross-entropy"].patience == 2
    assert Spec.parse(SMALL).sources() == {}
    with pytest.raises(UnknownName, match="did you mean 'patience'"):
        Spec.parse({"method": "dmi", "source_options": {"pateince": 2}})


def test_the_fingerprint_of_a_folder_changes_with_its_pictures(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "one.png").write_bytes(b"1")
    run = Spec.parse({"dataset": f"folder:{tmp_path}"})
    before = run.fingerprint
    assert before == run.fingerprint
    (tmp_path / "cats" / "two.png").write_bytes(b"2")
    assert run.fingerprint != before


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"epoch": 3}, UnknownName, "unknown field of a run 'epoch': did you mean 'epochs'"),
        ({"method": "limmit"}, UnknownName, "did you mean 'limit'"),
        ({"optimizer": "adamm"}, UnknownName, "did you mean 'adam'"),
        ({"net": "cn"}, UnknownName, "did you mean 'cnn'"),
        ({"epochs": 0}, InvalidValue, "epochs must be at least 1, got 0; try epochs=60"),
        ({"seed": -1}, InvalidValue, "seed must be at least 0, got -1; try seed=0"),
        (
            {"net": "mlp", "net_options": {"widht": 3}},
            UnknownName,
            "unknown option of mlp 'widht': did you mean 'width'",
        ),
        ({"net_options": {"width": 1.5}}, InvalidValue, "whole number of at least 1, got 1.5; try width=64"),
        ({"net": "resnet32", "net_options": {"width": 8}}, UnknownName, "known are none at all"),
        (
            {"method": "limit", "method_options": {"beta": "ten"}},
            InvalidValue,
            "limit: beta must be a number of at least 0, got 'ten'; try beta=10.0",
        ),
        (
            {"method": "limit", "method_options": {"beta": -1}},
            InvalidValue,
            "limit: beta must be at least 0, got -1; try beta=10.0",
        ),
        (
            {"method": "limit", "method_options": {"sampling": "perhaps"}},
            InvalidValue,
            "limit: sampling must be True or False, got 'perhaps'; try sampling=False",
        ),
        ({"rate": 1.5}, InvalidValue, r"rate must lie in \[0, 1\), got 1.5; write 80% as 0.8"),
        ({"rate": float("nan")}, InvalidValue, r"rate must lie in \[0, 1\), got nan"),
        ({"optimizer_options": {"lr": -1.0}}, InvalidValue, "lr must be positive, got -1.0; try lr=0.001"),
        ({"precision": "float8"}, InvalidValue, "precision must be .* got 'float8'; did you mean"),
    ],
)
def test_bad_specs_are_refused_in_one_line(fields, error, message):
    with pytest.raises(error, match=message) as caught:
        Spec.parse(fields)
    assert "\n" not in str(caught.value)


def test_unknown_data_and_noise_name_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'digits'"):
        Spec.parse({"dataset": "digit"}).task()
    with pytest.raises(UnknownName, match="did you mean 'uniform'"):
        Spec.parse({"noise": "unifrom"}).task()


def test_writing_where_one_may_not_is_one_error(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(LnlibError, match=r"could not write .* choose a file you may write to"):
        write_text(tmp_path / "file" / "inside.txt", "text")
    assert (tmp_path / "file").read_text() == "kept"


def test_figure_2_holds_the_values_of_the_bound(tmp_path):
    files = figures.make("limit-fig2", output=tmp_path)
    assert {path.suffix for path in files} >= {".csv", ".json", ".html"}
    frame = pd.read_csv(tmp_path / "limit-fig2.csv")
    pinned = {0.2: [0.2, 0.1112, 0.0383], 0.4: [0.4, 0.2791, 0.1778], 0.8: [0.8, 0.5576, 0.4051]}
    for rate, expected in pinned.items():
        part = frame[frame["rate"] == rate]
        found = np.interp([0.0, 0.5, 1.0], part["information"], part["r0"])
        assert found == pytest.approx(expected, abs=2e-4)


def test_the_committed_figure_2_is_what_the_code_makes():
    committed = Path(__file__).resolve().parents[2] / "figures" / "limit-fig2.csv"
    frame = pd.read_csv(committed)
    entropy = bounds.uniform_label_entropy(frame["rate"].to_numpy(), 10)
    expected = bounds.r0(entropy, frame["information"].to_numpy(), 10)
    np.testing.assert_allclose(frame["r0"], expected, atol=1e-5)


def test_figure_1_chooses_each_setting_by_noisy_validation(tmp_path, monkeypatch):
    def tiny(dataset, budget):
        run = {"dataset": dataset, "rate": 0.8, **SMALL}
        settings = [
            ("CE", {}),
            *(("CE + dropout", {"net_options": {"width": 8, "depth": 1, "dropout": d}}) for d in (0.2, 0.6)),
        ]
        return [(label, Spec.parse(run | extra)) for label, extra in settings]

    monkeypatch.setattr(limit_figures, "figure1_runs", tiny)
    seen = []
    figures.make(
        "limit-fig1", output=tmp_path, store=Store(tmp_path), progress=lambda what, share: seen.append(share)
    )
    assert seen == sorted(seen) and seen[-1] == 1
    frame = pd.read_csv(tmp_path / "limit-fig1-digits.csv")
    dropout = frame[frame["method"] == "CE + dropout"]
    best = dropout[dropout["seed"] == 0].groupby("setting")["validation_accuracy"].max()
    assert set(dropout.loc[dropout["selected"], "setting"]) == {best.idxmax()}
    # The first seed tries all settings, the others only those that it chooses.
    seeds = {setting: set(part["seed"]) for setting, part in dropout.groupby("setting")}
    assert seeds == {name: {0} for name in best.index} | {best.idxmax(): {0, 1, 2}}
    assert frame.loc[frame["method"] == "CE", "selected"].all()
    provenance = json.loads((tmp_path / "limit-fig1-digits.json").read_text())
    assert {"spec", "fingerprint", "device", "torch_version"} <= set(provenance["runs"][0])


def test_the_grids_of_figure_1_are_those_that_the_docstring_says():
    runs = limit_figures.figure1_runs("mnist", "full")
    assert [run.method_options["beta"] for label, run in runs if label == "LIMIT-L"] == [3, 10, 30]
    assert [run.net_options["dropout"] for label, run in runs if label == "CE + dropout"] == [0.25, 0.5, 0.75]
    assert {run.net_options["width"] for _, run in runs} == {512}
    assert {run.epochs for _, run in runs} == {50} and {run.rate for _, run in runs} == {0.8}
    assert len({run.fingerprint for _, run in runs}) == len(runs)


def test_figure_4_says_what_predictor_and_classifier_put_right(tmp_path, monkeypatch):
    spec = Spec.parse({"rate": 0.8, "method": "limit", **SMALL})
    result = Store(tmp_path).obtain(spec)
    places = []

    def chosen(place, *rest, first):
        assert first
        places.append(place)
        return {"LIMIT_L -S": [result]}

    monkeypatch.setattr(limit_figures, "_chosen", chosen)
    for name in ("limit-fig4", "limit-fig4-by-class"):
        figures.make(name, output=tmp_path, store=Store(tmp_path))
    facts = json.loads((tmp_path / "limit-fig4-digits.json").read_text())
    assert facts["wrong_labels_recovered"]["classifier"] == pytest.approx(result.best["corrupted_recovered"])
    assert 0 <= facts["wrong_labels_recovered"]["predictor"] <= 1
    by_class = pd.read_csv(tmp_path / "limit-fig4-by-class-digits.csv")
    assert by_class["suggested"].value_counts().max() == limit_figures.EACH
    assert set(by_class["suggested"]) == set(pd.read_csv(tmp_path / "limit-fig4-digits.csv")["suggested"])
    assert {*places} == {("limit-table1", ("limit-l-s",), "p=0.8,n=all")}
    limit_figures.figure4("cifar-10-jpeg", "full", figures.Making(Store(tmp_path)))
    assert places[-1] == ("limit-table2", ("limit-l+init",), "uniform, p=0.4")


def test_figure_4_trains_again_what_has_come_without_its_weights(tmp_path, monkeypatch):
    store = Store(tmp_path)
    result = store.obtain(Spec.parse({"rate": 0.8, "method": "limit", **SMALL}))
    (result.folder / "best.pt").unlink()
    monkeypatch.setattr(limit_figures, "_chosen", lambda *asked, first: {"LIMIT_L -S": [result]})
    with pytest.warns(DamagedRun):
        found = limit_figures.figure4("digits", "quick", figures.Making(store))
    assert len(found.frame) and store.find(result.spec) is not None


def test_figures_3_and_4_take_the_runs_that_the_table_chooses(tmp_path, monkeypatch):
    monkeypatch.setattr(limit_figures, "TABLE_BUDGETS", {"quick": "cores"})  # which has several seeds
    place, making = ("limit-table1", ("ce",), "p=0.8,n=all"), figures.Making(Store(tmp_path))
    seeds = [
        [
            result.spec.seed
            for result in limit_figures._chosen(place, "digits", "quick", making, first=first)["CE"]
        ]
        for first in (True, False)
    ]
    assert seeds == [[42], [42, 43, 44]]
    monkeypatch.setattr(limit_figures, "FIGURE3", place)
    figures.make("limit-fig3", output=tmp_path, store=Store(tmp_path))
    assert pd.read_csv(tmp_path / "limit-fig3-digits.csv")["seed"].unique().tolist() == [42, 43, 44]
    request = Request.parse("limit-table1", "digits", "cores", ["ce"], ["p=0.8,n=all"])
    (row,) = tables.gather(request, making.store).dropna(subset="ours").to_dict("records")
    by_seed = dict(part.split(":") for part in row["by_seed"].split())
    assert [*by_seed] == ["42", "43", "44"]
    assert np.mean([*map(float, by_seed.values())]) == pytest.approx(row["ours"], abs=1e-3)


def test_a_caption_names_each_device_and_every_cells_seeds_once():
    devices = ["CPU, 1 thread; NVIDIA H100", "CPU, 1 thread", ""]
    request = Request.parse("limit-table1", "digits", "cores")
    words = writing.short_caption(request, pd.DataFrame({"device": devices}))
    assert words.endswith("CPU, 1 thread; NVIDIA H100") and words.count("CPU") == 1
    assert "42, 43, 44 (p=0, n=1000" in words


def test_figure_a0_tries_the_reference_codes_betas_with_both_kinds_of_q(tmp_path, monkeypatch):
    runs = limit_figures.figure_a0_runs("mnist", "full")
    tried = {(run.method_options["q"], run.method_options["beta"], run.seed) for run in runs}
    assert len(tried) == len(runs) == 2 * 8 * 3
    assert {beta for _, beta, _ in tried} == {0, 0.1, 0.3, 1, 3, 10, 30, 100}
    short = [run.model_copy(update={"epochs": 2} | SMALL) for run in runs if run.method_options["beta"] > 20]
    short = [
        run.model_copy(update={"dataset": "digits", "net": "mlp", "batch_size": 64}) for run in short[:4]
    ]
    monkeypatch.setattr(limit_figures, "figure_a0_runs", lambda dataset, budget: short)
    figures.make("limit-figA0", output=tmp_path, store=Store(tmp_path))
    frame = pd.read_csv(tmp_path / "limit-figA0-digits.csv")
    assert frame[["q", "beta"]].values.tolist() == [
        [q, b] for q in ("gaussian", "laplace") for b in (30, 100)
    ]
    history = Store(tmp_path).find(short[0]).history
    chosen = history.loc[history["validation_accuracy"].idxmax()]
    assert frame.loc[0, ["best_epoch", "best"]].tolist() == pytest.approx(
        [chosen["epoch"], chosen["test_accuracy"]], abs=1e-5
    )


def test_the_chart_of_table_1_spells_limits_variants_as_the_figures_do():
    names = {
        "CE+GN": "CE+GN",
        "LIMIT_G +S": "LIMIT-G + S",
        "LIMIT_L -S": "LIMIT-L − S",
        "LIMIT_G + init.": "LIMIT-G + init.",
    }
    assert {name: limit_figures.spelled(name) for name in names} == names
    columns = {"cell": "p=0.5", "paper": 70.0, "ours": 71.0, "paper_std": np.nan, "std": 1.0, "seeds": 3}
    frame = pd.DataFrame(
        {"method": ["LIMIT-G + S", "LIMIT-L − S"], "setting": "", "same_setting": True} | columns
    )
    ours = next(trace for trace in plots.table_chart(frame, "Table 1").data if trace.name.startswith("ours"))
    assert [*ours.marker.color] == [plots.style("LIMIT-G").color, plots.style("LIMIT-L").color]


def test_unknown_figures_and_budgets_are_refused(tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'limit-fig1'"):
        figures.make("limit-figure1", output=tmp_path)
    with pytest.raises(InvalidValue, match="budget must be 'quick' or 'full', got 'huge'"):
        figures.make("limit-fig2", budget="huge", output=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_gallery_marks_wrong_labels_by_more_than_colour():
    images = np.zeros((3, 1, 8, 8), dtype=np.uint8)
    figure = plots.gallery(images, ["1", "2", "3"], [False, True, False], columns=2)
    titles = [annotation.text for annotation in figure.layout.annotations]
    assert ["✗" in title for title in titles] == [False, True, False]
    with pytest.raises(InvalidValue, match="got 3 images, 1 captions and 1 marks"):
        plots.gallery(images, ["1"], [True])
