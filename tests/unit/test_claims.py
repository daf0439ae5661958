"""What lessons say of several seeds: quantities of runs, paired differences, and the table made of them."""

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from lnlib import noise
from lnlib.analysis.detection import evaluation_recovered
from lnlib.errors import InvalidValue
from lnlib.papers import claims, figures
from lnlib.papers.claims import Claim
from lnlib.papers.run_folder import Result
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store

TINY = {"train_size": 60, "net_options": {"width": 4, "depth": 1}, "epochs": 2}


def claim(**fields):
    usual = {
        "name": "c",
        "prose": "",
        "runs": {"one": {}},
        "quantities": ["test_accuracy at end"],
        "seeds": [0],
    }
    return Claim(**usual | fields)


@pytest.fixture
def result(tmp_path):
    """A run of thirteen epochs, evaluated at the odd ones; the best by noisy validation is the fifth."""
    epochs = np.arange(1, 14)
    test = np.where(epochs % 2, epochs / 100, np.nan)
    validation = np.where(epochs == 5, 0.9, 0.5)
    history = pd.DataFrame({"epoch": epochs, "test_accuracy": test, "validation_accuracy": validation})
    history.loc[6, "test_accuracy"] = 0.8
    return Result(Spec(), history, None, tmp_path, 1)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("end", 0.13),
        ("best", 0.05),
        ("top", 0.8),
        ("last", (0.01 + 0.03 + 0.05 + 0.8 + 0.09 + 0.11 + 0.13) / 7),
    ],
)
def test_a_quantity_is_taken_at_its_time(result, when, expected):
    assert claims.value(f"test_accuracy at {when}", result) == pytest.approx(expected)


def test_a_quantity_may_be_computed_from_columns_at_an_epoch(result):
    assert claims.value("validation_accuracy - test_accuracy * 2 at 9", result) == pytest.approx(0.5 - 0.18)


@pytest.mark.parametrize("quantity", ["test_accuracy", "test_accuracy at noon", "tial"])
def test_a_quantity_that_is_none_names_those_that_are(quantity):
    with pytest.raises((InvalidValue, ValidationError), match="try 'test_accuracy at end'"):
        claim(quantities=[quantity])


def test_differences_are_paired_by_seed():
    # Differences 2, 1 and 0: mean 1, deviation 1, standard error 1/√3; t(0.975; 2) = 4.3027.
    found = claims.paired([0.3, 0.5, 0.4], [-1.7, -0.5, 0.4])
    assert found == pytest.approx((1, 3**-0.5, 1 - 4.3027 * 3**-0.5, 1 + 4.3027 * 3**-0.5), abs=1e-4)
    assert np.isnan(claims.paired([0.3], [0.1])[1:]).all()


def test_a_run_has_the_claims_fields_and_its_own_and_a_spec_a_seed():
    fields = {"rate": 0.1, "net_options": {"width": 8, "depth": 2}}
    made = claim(
        fields=fields, runs={"thin": {"net_options": {"width": 4}, "rate": 0.2}}, seeds=[3, 4]
    ).specs()
    assert [spec.seed for spec in made["thin"]] == [3, 4]
    assert made["thin"][0].net_options == {"width": 4, "depth": 2} and made["thin"][0].rate == 0.2


@pytest.mark.parametrize("lesson", claims.lessons())
def test_every_claim_of_the_course_can_be_made(lesson):
    for one in claims.lessons()[lesson]:
        specs = [spec for own in one.specs().values() for spec in own]
        assert len({spec.fingerprint for spec in specs}) == len(specs)
        assert one.against in {"", *one.runs}
        assert (one.prose, len(one.seeds)) > ("", 0)


def test_an_optimiser_among_the_options_decides_the_runs_name():
    def named(**options):
        return Spec.parse({"method": "lossnet", "meta_size": 100, "method_options": options}).fingerprint

    usual = {"lr": 1e-3, "weight_decay": 5e-4, "decay": "all"}
    assert named() == named(meta_optimizer=usual) != named(meta_optimizer=usual | {"lr": 3e-3})


def test_recovery_counts_only_wrong_labels():
    given, true = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 2, 1, 1])
    says = torch.tensor([2, 2, 2, 1])  # of the three wrong labels the first and the last are put right
    logits = torch.nn.functional.one_hot(says, 3).float()
    assert evaluation_recovered(logits, given, true) == pytest.approx(2 / 3)
    with pytest.raises(InvalidValue, match="got none among 4"):
        evaluation_recovered(logits, true, true)


def test_lnlib_figures_writes_a_lessons_claims(tmp_path, monkeypatch):
    tiny = claim(
        fields=TINY | {"imbalance": 2, "meta_size": 10, "rate": 0.3},
        runs={"CE": {}, "LIMIT": {"method": "limit"}},
        quantities=["test_accuracy at end", "predictor_recovered", "recovered"],
        seeds=[0, 1],
        against="CE",
    )
    monkeypatch.setattr(claims, "lessons", lambda: {"02": (tiny,)})
    store = Store(tmp_path / "runs")
    spec = tiny.specs()["LIMIT"][1]
    without = store.obtain(spec)  # made by another command, which keeps no measures
    paths = figures.make("claims-02", output=tmp_path, store=store)
    assert {path.name for path in paths} == {"claims-02.csv", "claims-02.json"}
    frame = pd.read_csv(paths[0]).set_index(["quantity", "run"])
    row = frame.loc[("test_accuracy at end", "LIMIT")]
    ours = [store.find(one).history["test_accuracy"].iloc[-1] for one in tiny.specs()["LIMIT"]]
    theirs = [store.find(one).history["test_accuracy"].iloc[-1] for one in tiny.specs()["CE"]]
    assert without.history["test_accuracy"].iloc[-1] == ours[1]
    assert row["mean"] == pytest.approx(np.mean(ours), abs=1e-5)
    assert row["difference"] == pytest.approx(np.mean(ours) - np.mean(theirs), abs=1e-5)
    assert np.isnan(frame.loc[("predictor_recovered", "CE"), "mean"])
    recovered = store.find(spec).history["corrupted_recovered"].iloc[-1]
    assert frame.loc[("recovered", "LIMIT"), "by_seed"].split()[1] == f"{recovered:.6g}"


def test_new_flips_draws_the_wrong_classes_with_each_seed():
    flips = {"fields": {"noise": "flip", "rate": 0.4}, "seeds": [0, 1]}
    anew, fixed = (claim(**flips, new_flips=new).specs()["one"] for new in (True, False))
    for seed in (0, 1):
        assert (anew[seed].matrix() == noise.flip(0.4, 10, seed=seed)).all()
        assert (fixed[seed].matrix() == noise.flip(0.4, 10)).all()
    assert (anew[0].matrix() != anew[1].matrix()).any()
