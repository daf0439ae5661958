"""Runs as objects: `fit` and `sweep` return them trained, and they tell the same alone and in a stack."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lnlib import noise
from lnlib.data.task import make_task
from lnlib.errors import CheckpointError, InvalidValue, LnlibError, UnknownName
from lnlib.methods import (
    L2RW,
    LIMIT,
    MLNT,
    ClassBalanced,
    CoTeaching,
    CrossEntropy,
    LossNet,
    MetaInfoNet,
    SelfPaced,
)
from lnlib.nets import MLP
from lnlib.training import SGD, Adam, FlipCrop, Member, Run, Runs, fit, sweep
from tests.rounding import ROUNDING

CLOCK = ["seconds", "evaluation_seconds"]
EXACT = {"rtol": 0, "atol": 0}
SMALL = {"net": MLP(8, 2, dropout=0.3), "batch_size": 50, "epochs": 3}


@pytest.fixture
def members_of(make_digits_task):
    """One run for each of some methods, each with a seed and noise of its own."""

    def make(*methods):
        members = []
        for seed, method in enumerate(methods):
            task = make_digits_task(0.3 + 0.2 * seed, seed, train_size=150, meta_size=50)
            fresh = Run(CrossEntropy(), task, seed=9, **SMALL).weights
            start = method.begun_from({"cross-entropy": fresh}) if method.warm_start else None
            members.append(Member(method, task, seed, start))
        return members

    return make


def told(run, networks=("classifier",)):
    """All that a run tells, as tensors by name."""
    found = {"epochs recorded": torch.tensor([epoch.epoch for epoch in run.records])}
    for name, column in run.history.drop(columns=CLOCK).items():
        found[f"history {name}"] = torch.tensor(column.to_numpy(float))
    for number in ("loss", "validation_loss"):
        found[f"records {number}"] = torch.tensor([getattr(epoch, number) or 0.0 for epoch in run.records])
    found["best"] = torch.tensor(run.best.epoch if run.best else -1)
    for split in ("train", "validation", "meta", "test"):
        found[f"logits {split}"] = run.logits(split)
        found |= {f"logits {split} {network}": run.logits(split, network) for network in networks}
    for kind, weights in (("weights", run.weights), ("best_weights", run.best_weights or {})):
        found |= {f"{kind} {name} {key}": one for name in weights for key, one in weights[name].items()}
    sample_weights = run.sample_weights()
    return found if sample_weights is None else {**found, "sample_weights": sample_weights}


def assert_tells(run, expected, within=EXACT, networks=("classifier",)):
    found = told(run, networks)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, **within, equal_nan=True, msg=lambda why, name=name: f"{name}: {why}"
        )


def assert_same(one, other, within=EXACT, networks=("classifier",)):
    assert_tells(one, told(other, networks), within, networks)


# Trained, and not yet.


def test_fit_returns_a_run_that_is_trained_and_a_run_of_its_own_is_not(members_of):
    (member,) = members_of(CrossEntropy())
    trained, lazy = fit(member.method, member.task, **SMALL), Run(member.method, member.task, **SMALL)
    assert isinstance(trained, Run) and trained.finished and len(trained.records) == 3
    assert not lazy.finished and not lazy.records and lazy.best is None and lazy.best_weights is None
    assert lazy.history.empty and set(lazy.history) <= set(trained.history)
    seen = [epoch.epoch for epoch in lazy]
    assert seen == [1, 2, 3] == trained.history["epoch"].tolist()
    assert_same(lazy, trained)
    assert_same(trained.train(), lazy)  # there is nothing left to train


@pytest.mark.parametrize("mode", ["stacked", "solo", "auto"])
def test_sweep_returns_runs_that_are_trained_and_runs_of_their_own_are_not(members_of, mode):
    members = members_of(CrossEntropy(), CrossEntropy(), LIMIT())
    lazy = Runs(members, mode=mode, **SMALL)
    assert not any(run.finished or run.records for run in lazy)
    trained = sweep(members, mode=mode, **SMALL)
    assert isinstance(trained, Runs) and all(run.finished for run in trained)
    assert [run.member for run in trained] == members
    by_epoch = [[record.epoch for record in records] for records in lazy.epochs()]
    assert by_epoch == [[1] * 3, [2] * 3, [3] * 3]
    if mode != "auto":  # where the clock may choose anew
        for one, other in zip(lazy, trained, strict=True):
            assert_same(one, other)


# The same names for the same things.

ALIKE = {
    "cross-entropy": ([CrossEntropy()] * 2, ("classifier",)),
    "limit": ([LIMIT(beta=beta, sampling=True) for beta in (1.0, 10.0)], ("classifier", "predictor")),
    "co-teaching": ([CoTeaching(rate, 2) for rate in (0.2, 0.6)], ("classifier", "peer")),
    "self-paced": ([SelfPaced(percentile=0.5, decay=0.9), SelfPaced()], ("classifier",)),
    "class-balanced": ([ClassBalanced(0.9), ClassBalanced(0.999)], ("classifier",)),
    "mlnt": ([MLNT(2, weight=30.0, begin=0.3, full=0.6), MLNT(2)], ("classifier",)),
    "l2rw": ([L2RW()] * 2, ("classifier",)),
    "metainfonet": ([MetaInfoNet(lam=lam) for lam in (0.1, 1.0)], ("classifier",)),
}


@pytest.mark.rounding
@pytest.mark.parametrize("case", ALIKE)
def test_a_run_tells_the_same_alone_and_in_a_stack(members_of, case):
    methods, networks = ALIKE[case]
    options = SMALL | {"epochs": 4, "evaluate_every": 2, "augment": FlipCrop(1), "precision": "float64"}
    members = members_of(*methods)
    stacked, solo = (sweep(members, mode=mode, **options) for mode in ("stacked", "solo"))
    assert [run.mode for run in (*stacked, *solo)] == ["stacked"] * 2 + ["solo"] * 2
    for one, other, member in zip(stacked, solo, members, strict=True):
        assert_same(one, other, ROUNDING, networks)
        alone = fit(member.method, member.task, seed=member.seed, start=member.start, **options)
        assert_same(other, alone, networks=networks)
        assert one.method is member.method and one.task is member.task and one.settings == other.settings


@pytest.mark.parametrize("mode", ["stacked", "solo"])
@pytest.mark.parametrize("case", ALIKE)
def test_logits_are_by_default_what_the_method_predicts(members_of, case, mode):
    methods, networks = ALIKE[case]
    for run in Runs(members_of(*methods), mode=mode, **SMALL):
        for name in ("train", "validation", "meta", "test"):
            split = run.task.split(name)
            predicted = run.predict(run.task.dataset.normalize(split.images))
            assert predicted.shape == (len(split), 10) and not predicted.requires_grad
            assert torch.equal(run.logits(name), predicted)
            assert torch.equal(run.logits(split), predicted)
        by_network = [run.logits("test", network) for network in networks]
        assert len(by_network) == 1 or not torch.equal(*by_network)
        assert torch.equal(run.logits(), run.logits("test"))


def test_splits_and_networks_that_are_not_there_are_named(members_of, make_digits_task):
    for run in Runs(members_of(LIMIT(), LIMIT()), mode="stacked", **SMALL):
        with pytest.raises(UnknownName, match=r"split of this task 'valid'.*did you mean 'validation'"):
            run.logits("valid")
        with pytest.raises(UnknownName, match="network of LIMIT 'teacher': known are classifier, predictor"):
            run.logits("train", "teacher")
    with pytest.raises(UnknownName, match="split of this task 'meta'"):
        Run(CrossEntropy(), make_digits_task(train_size=100), **SMALL).logits("meta")


# A list of runs.


def test_slices_of_runs_are_runs_and_hold_the_same_ones(members_of):
    runs = Runs(members_of(CrossEntropy(), LIMIT(), CrossEntropy()), mode="stacked", **SMALL)
    assert len(runs) == 3 and [*runs] == [runs[place] for place in range(3)] and runs[-1] is runs[2]
    for part in (slice(1, None), slice(None, None, 2), slice(None, None, -1), slice(5, 9)):
        assert isinstance(runs[part], Runs) and [*runs[part]] == [*runs][part]
    with pytest.raises(IndexError):
        runs[3]
    assert runs[1:2].train()[0] is runs[1]
    assert [len(run.records) for run in runs] == [0, 3, 0]


@pytest.mark.parametrize("at", ["last", "best"])
@pytest.mark.parametrize("mode", ["stacked", "solo"])
def test_a_table_has_a_row_a_run_at_the_last_epoch_or_the_best(members_of, mode, at):
    runs = sweep(members_of(LIMIT(), CrossEntropy(), LIMIT()), mode=mode, **SMALL | {"epochs": 6})
    columns = ["test_accuracy", "epoch", "memorized_bits"]
    table = runs.table(columns, at=at) if at == "best" else runs.table(columns)
    assert table.columns.tolist() == columns and table.index.names == ["method", "seed"]
    assert table.index.tolist() == [("LIMIT", 0), ("CE", 1), ("LIMIT", 2)]
    for run, (_, row) in zip(runs, table.iterrows(), strict=True):
        epoch = run.best if at == "best" else run.records[-1]
        expected = [epoch.test_accuracy, epoch.epoch, float(epoch.memorized.bits)]
        assert row.tolist() == pytest.approx(expected, rel=1e-12)
    assert runs[::2].table(["squared_gradient"]).loc["LIMIT"].notna().all(axis=None)


def test_a_column_that_a_history_lacks_is_named_and_untrained_runs_have_no_table(members_of):
    runs = Runs(members_of(LIMIT(), CrossEntropy()), mode="solo", **SMALL)
    with pytest.raises(InvalidValue, match="got one without a record; train them first"):
        runs.table(["test_accuracy"])
    runs.train()
    for columns in (["test_acuracy"], ["test_accuracy", "test_acuracy"]):
        with pytest.raises(UnknownName, match=r"column of a history 'test_acuracy'.*did you mean 'test_acc"):
            runs.table(columns)
    with pytest.raises(UnknownName, match="column of a history 'squared_gradient'"):
        runs.table(["squared_gradient"])  # which LIMIT alone reports


def test_iterating_one_run_of_a_stack_advances_its_fellows_and_no_others(members_of):
    members = members_of(CrossEntropy(), LIMIT(), CrossEntropy())
    for mode, expected in (("stacked", [1, 0, 1]), ("solo", [0, 0, 1])):
        runs = Runs(members, mode=mode, **SMALL)
        record = next(iter(runs[2]))
        assert [len(run.records) for run in runs] == expected and record is runs[2].records[-1]
        for run in runs:
            run.train()
        for run, other in zip(runs, sweep(members, mode=mode, **SMALL), strict=True):
            assert_same(run, other)


# Out of patience.


@pytest.mark.rounding
@pytest.mark.parametrize(
    ("method", "options"),
    [
        (CrossEntropy(), {"optimizer": Adam(3e-3)}),
        (CrossEntropy(), {"optimizer": SGD(0.1)}),
        (LossNet(), {"optimizer": SGD(0.1), "evaluate_every": 2}),
        (LIMIT(beta=3.0), {"optimizer": Adam(3e-3)}),
    ],
)
def test_a_run_out_of_patience_stays_where_it_stopped_while_its_stack_trains_on(
    members_of, tmp_path, method, options
):
    members = members_of(*[method] * 3)
    options = SMALL | {"epochs": 15, "patience": 2, "precision": "float64"} | options
    runs, solo = Runs(members, mode="stacked", **options), sweep(members, mode="solo", **options)
    stopped = {}
    for epoch, records in enumerate(runs.epochs(), start=1):
        for run, record in zip(runs, records, strict=True):
            assert record is run.records[-1]
            if record.epoch < epoch and run not in stopped:
                stopped[run] = told(run)
                assert run.finished and not list(run)
                for place, each in enumerate(runs):
                    each.save(tmp_path / f"{place}.pt")
    assert stopped and len({len(run.records) for run in runs}) > 1
    for run, there in stopped.items():
        assert_tells(run, there)
    fresh = Runs(members, mode="stacked", **options)
    for place, run in enumerate(fresh):
        run.load(tmp_path / f"{place}.pt")
    for run, other, continued in zip(runs, solo, fresh.train(), strict=True):
        # So many steps carry a bias before BatchNorm further than `ROUNDING` has room for.
        assert_same(run, other, {"rtol": 1e-6, "atol": 1e-7})
        assert_same(continued, run)
    for place, other in enumerate(solo):  # one that is iterated stops by itself as it does alone
        iterated = Runs(members, mode="stacked", **options)
        assert [epoch.epoch for epoch in iterated[place]] == [epoch.epoch for epoch in other.records]
        assert max(len(run.records) for run in iterated) == len(other.records)


# Stopped, saved and continued.

CONTINUED = {
    "adam": ([CrossEntropy()] * 2, {"optimizer": Adam(weight_decay=0.01)}),
    "momentum": ([CrossEntropy()] * 2, {"optimizer": SGD(0.05, milestones=(1,)), "augment": FlipCrop(1)}),
    "no momentum": ([CrossEntropy()] * 2, {"optimizer": SGD(0.05, momentum=0.0)}),
    "two phases": ([LIMIT(beta=beta, sampling=True) for beta in (1.0, 3.0)], {}),
    "a memory": ([SelfPaced(), SelfPaced(decay=0.5)], {}),
    "skipped batches": ([L2RW()] * 2, {"augment": FlipCrop(1)}),
    "a rhythm": ([MetaInfoNet(interval=4, virtual_step="momentum")] * 2, {"optimizer": SGD(0.1)}),
    "a teacher": ([MLNT(2, begin=0.1, full=0.3)] * 2, {}),
    "patience": ([CrossEntropy()] * 2, {"patience": 1, "epochs": 6}),
}


@pytest.mark.rounding
@pytest.mark.parametrize("mode", ["stacked", "solo"])
@pytest.mark.parametrize("case", CONTINUED)
def test_checkpoints_of_each_run_go_on_as_if_it_had_never_stopped(members_of, tmp_path, case, mode):
    methods, options = CONTINUED[case]
    members, options = members_of(*methods), {"mode": mode, **SMALL, **options}
    whole, half, fresh, used = (Runs(members, **options) for _ in range(4))
    whole.train()
    used.train()
    next(half.epochs())
    for place in (1, 0):
        half[place].save(tmp_path / f"{place}.pt")
    for runs in (fresh, used):
        for place in (0, 1):
            assert runs[place].load(tmp_path / f"{place}.pt") is runs[place]
            assert_same(runs[place], half[place])
    for continued in (half, fresh, used):
        continued.train()
        for one, other in zip(continued, whole, strict=True):
            assert_same(one, other)


@pytest.fixture(scope="module")
def straight(digits):
    """By patience: members of two stacks, options, and what their runs tell where nothing comes between."""
    tasks = [
        make_task(digits, noise.uniform(0.4, 10), seed, train_size=60, meta_size=20) for seed in range(2)
    ]
    members = [Member(method, task, task.seed) for method in (CrossEntropy(), LIMIT()) for task in tasks]
    found = {}
    for patience in (None, 1):
        options = SMALL | {"mode": "stacked", "batch_size": 30, "epochs": 4, "patience": patience}
        found[patience] = members, options, [told(run) for run in sweep(members, **options)]
    return found


WAYS = ["epochs", "first", "last", "slice", "save each", "save all"]


@pytest.mark.rounding
@settings(max_examples=15, deadline=None)
@given(ways=st.lists(st.sampled_from(WAYS), min_size=1, max_size=6), patience=st.sampled_from([None, 1]))
def test_however_runs_are_driven_they_end_with_the_same_numbers(tmp_path_factory, straight, ways, patience):
    members, options, ended = straight[patience]
    runs, folder = Runs(members, **options), tmp_path_factory.mktemp("runs")
    for way in ways:
        if way in ("first", "last"):
            next(iter(runs[0 if way == "first" else -1]), None)
        elif way in ("epochs", "slice"):
            next((runs if way == "epochs" else runs[1:3]).epochs(), None)
        elif way == "save all":
            runs.save(folder / "all.pt")
            runs = Runs(members, **options).load(folder / "all.pt")
        else:
            fresh = Runs(members, **options)
            for old, new in zip(runs, fresh, strict=True):
                old.save(folder / "one.pt")
                new.load(folder / "one.pt")
            runs = fresh
    for run, end in zip(runs.train(), ended, strict=True):
        assert_tells(run, end)


def test_a_checkpoint_belongs_to_a_run_in_its_mode(members_of, tmp_path):
    members = members_of(CrossEntropy(), CrossEntropy())
    solo, stacked = (sweep(members, mode=mode, **SMALL) for mode in ("solo", "stacked"))
    fresh = {mode: Runs(members, mode=mode, **SMALL) for mode in ("solo", "stacked")}
    for runs, other in ((solo, "stacked"), (stacked, "solo")):
        runs[0].save(tmp_path / "run.pt")
        runs.save(tmp_path / "runs.pt")
        for refusing, path in (
            (fresh[other][0], "run.pt"),
            (fresh[other], "runs.pt"),
            (fresh[runs[0].mode][1], "run.pt"),  # its neighbour
            (fresh[runs[0].mode][:1], "runs.pt"),
            (fresh[runs[0].mode][::-1], "runs.pt"),
            (fresh[runs[0].mode][0], "runs.pt"),
        ):
            with pytest.raises(CheckpointError, match=r"belongs to another run .* a path of its own"):
                refusing.load(tmp_path / path)
        fit(members[0].method, members[0].task, **SMALL).save(tmp_path / "fit.pt")
        assert_same(fresh["solo"][0].load(tmp_path / "fit.pt"), solo[0])


class Stopped(Exception):
    pass


@pytest.mark.parametrize("mode", ["stacked", "solo"])
def test_runs_stopped_inside_an_epoch_say_so_until_they_load_a_checkpoint(members_of, tmp_path, mode):
    members, steps = members_of(CrossEntropy(), CrossEntropy()), []

    def on_step(done, total):
        steps.append((done, total))
        if len(steps) == (4 if mode == "stacked" else 7):
            raise Stopped

    runs = Runs(members, mode=mode, on_step=on_step, **SMALL)
    loop = runs.epochs()
    next(loop)
    runs.save(tmp_path / "runs.pt")
    with pytest.raises(Stopped):
        next(loop)
    assert {total for _, total in steps} == {3} and steps[-1] == (1, 3)
    assert [len(run.records) for run in runs] == [1, 1]
    for again in (
        runs.train,
        runs[0].train,
        lambda: next(runs.epochs()),
        lambda: next(iter(runs[0])),
        lambda: runs[0].save(tmp_path / "no.pt"),
        lambda: runs.save(tmp_path / "no.pt"),
    ):
        with pytest.raises(LnlibError, match="was stopped inside epoch 2; load its checkpoint or start it"):
            again()
    assert [path.name for path in tmp_path.iterdir()] == ["runs.pt"]
    runs.load(tmp_path / "runs.pt").train()
    for one, other in zip(runs, sweep(members, mode=mode, **SMALL), strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("stop", [1, 3])
def test_runs_of_a_stack_that_stand_at_different_epochs_train_after_a_checkpoint_of_each(
    members_of, tmp_path, stop
):
    members = members_of(CrossEntropy(), CrossEntropy())
    half, rest = (Runs(members, mode="stacked", **SMALL) for _ in range(2))
    for records in half.epochs():
        for place, run in enumerate(half):
            run.save(tmp_path / f"{place}.pt")
        if records[0].epoch == stop:
            break
    rest[1].load(tmp_path / "1.pt")
    assert not any(run.finished for run in rest)
    for going_on in (rest.train, rest[0].train, lambda: rest[0].save(tmp_path / "no.pt")):
        with pytest.raises(LnlibError, match=f"at the same epoch, got 0, {stop}; load a checkpoint of each"):
            going_on()
    rest[0].load(tmp_path / "0.pt")
    for one, other in zip(rest.train(), half.train(), strict=True):
        assert_same(one, other)


def test_weights_are_copies_and_can_be_set(members_of):
    for mode in ("stacked", "solo"):
        runs = sweep(members_of(LIMIT(), LIMIT()), mode=mode, **SMALL)
        run, fellow = runs[0], runs[1].logits()
        begun = Runs([run.member for run in runs], mode=mode, **SMALL)[0].weights
        last, logits = run.weights, run.logits()
        assert run.set_weights(begun) is run
        assert not torch.equal(run.logits(), logits) and torch.equal(runs[1].logits(), fellow)
        for name, named in run.weights.items():
            assert all(torch.equal(value, begun[name][key]) for key, value in named.items())
        assert torch.equal(run.set_weights(last).logits(), logits)


@pytest.mark.parametrize("mode", ["stacked", "solo"])
def test_weights_of_another_kind_of_run_are_refused_and_change_nothing(members_of, mode):
    runs = Runs(members_of(LIMIT(), LIMIT()), mode=mode, **SMALL)
    before, own = told(runs[0]), runs[0].weights
    wider = Runs([run.member for run in runs], mode=mode, **SMALL | {"net": MLP(9, 2)})[0].weights
    # One row would do for all, were it copied as PyTorch copies.
    thinner = {name: {key: value[:1] for key, value in own[name].items() if value.ndim} for name in own}
    for weights in (
        wider,
        thinner,
        {"classifier": own["classifier"]},
        {**own, "teacher": own["classifier"]},
        {**own, "predictor": {}},
        runs[0].best_weights,
        {},
    ):
        with pytest.raises(
            InvalidValue, match=r"the weights must be those of a run with the same method, ne"
        ):
            runs[0].set_weights(weights)
        assert_tells(runs[0], before)
