"""`sweep`: members equal their solo runs, grouping, modes, early stopping and checkpoints of stacks."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from lnlib.errors import InvalidValue
from lnlib.methods import (
    DMI,
    LIMIT,
    BackwardCorrection,
    CrossEntropy,
    ForwardCorrection,
    MeanAbsoluteError,
    NoisyGradients,
    SoftRegularization,
)
from lnlib.methods.base import Phase
from lnlib.nets import CNN, MLP
from lnlib.noise import uniform
from lnlib.training import SGD, Adam, FlipCrop, Member, Runs, Settings, loop, sweep
from lnlib.training.images import Resident
from lnlib.training.networks import Stacked
from lnlib.training.state import State
from tests.rounding import ROUNDING

EPOCHS = {"epochs": 2, "batch_size": 32}


class Memory(nn.Module):
    """What a method remembers, and a layer that it initialises itself."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(1, 1)
        self.register_buffer("weight", torch.zeros(()))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        self.steps.add_(1)
        return self.scale(x)


@dataclass(frozen=True)
class TwoPhases(CrossEntropy):
    """Cross-entropy and a distilled second network with an optimiser, a rhythm and a memory of its own, as
    meta-learning needs: every member of the interface is used.
    """

    pull: float = 0.1

    def networks(self, new_net, task):
        return {"classifier": new_net("classifier"), "second": new_net("second"), "memory": Memory()}

    @property
    def phases(self):
        second = Phase(
            self.second_loss, ("second", "memory"), SGD(0.01, momentum=0.5, weight_decay=0.0), 2, meta=True
        )
        return (second, Phase(self.loss, ("classifier",)))

    def second_loss(self, nets, batch):
        teacher = torch.softmax(nets["classifier"](batch.x)[0].detach(), 1)
        meta = nets["second"].at(nets["second"].parameters, batch.meta.x)[0]
        scale = nets["memory"](nets["memory"].buffers["weight"].reshape(1, 1).clone())
        own = torch.log_softmax(scale * nets["second"](batch.x)[0], 1)
        return -(teacher * own).sum(1).mean() + torch.logsumexp(meta, 1).mean()

    def start(self, nets, data):
        nets["memory"].buffers["weight"].copy_(data.labels.double().mean())

    def after_step(self, nets, step):
        for name, value in nets["second"].parameters.items():
            value.lerp_(nets["classifier"].parameters[name], self.pull)

    def end_epoch(self, nets, data, epoch):
        logits, _ = data.outputs(nets["classifier"])
        for value in nets["classifier"].parameters.values():
            value.mul_(1 - 0.01 * epoch * logits.softmax(1).max(1).values.mean())

    def report(self, nets):
        return {"steps": float(nets["memory"].buffers["steps"]), "pull": self.pull}


def members_of(make_digits_task, methods, **options):
    rates = np.linspace(0.2, 0.8, len(methods))
    return [
        Member(method, make_digits_task(rate, seed, train_size=150, **options), seed)
        for seed, (method, rate) in enumerate(zip(methods, rates, strict=True))
    ]


def begun(members, options):
    """The members with the cross-entropy weights that some methods begin from."""
    if not members[0].method.warm_start:
        return members
    source = trained(
        [replace(member, method=CrossEntropy()) for member in members],
        "solo",
        precision="float64",
        **options,
    )
    return [
        replace(member, start=member.method.begun_from({"cross-entropy": one.best_weights}))
        for member, one in zip(members, source, strict=True)
    ]


def trained(members, mode, **options):
    return sweep(members, mode=mode, **EPOCHS | options)


def modes(runs):
    return [one.mode for one in runs]


def losses(runs):
    return [[epoch.loss for epoch in one.records] for one in runs]


# An estimate from a network that hardly trained is nearly singular: its inverse would magnify rounding.
KNOWN = tuple(map(tuple, uniform(0.4, 10).tolist()))

CASES = {
    "cross-entropy": ([CrossEntropy()] * 3, {"net": MLP(16, 2)}),
    "no batch norm": ([CrossEntropy()] * 3, {"net": MLP(16, 2, batch_norm=False)}),
    "dropout, decay": (
        [CrossEntropy()] * 3,
        {"net": MLP(16, 2, dropout=0.5), "optimizer": Adam(weight_decay=0.01)},
    ),
    "momentum": ([CrossEntropy()] * 3, {"net": MLP(16, 2), "optimizer": SGD(0.05, milestones=(1,))}),
    "augmentation": ([CrossEntropy()] * 3, {"net": MLP(16, 2), "augment": FlipCrop(1)}),
    "cnn": ([CrossEntropy()] * 2, {"net": CNN()}),
    "limit gaussian": ([LIMIT("gaussian", beta) for beta in (0.0, 1.0, 10.0)], {"net": MLP(16, 2)}),
    "limit laplace": ([LIMIT("laplace", beta) for beta in (0.0, 1.0, 10.0)], {"net": MLP(16, 2)}),
    "limit gaussian, sampled": (
        [LIMIT("gaussian", beta, sampling=True, sigma=beta / 10) for beta in (1.0, 3.0)],
        {"net": MLP(16, 2)},
    ),
    "limit laplace, sampled": (
        [LIMIT("laplace", beta, sampling=True, sigma=beta / 10) for beta in (1.0, 3.0)],
        {"net": CNN()},
    ),
    "gaussian gradient noise": ([NoisyGradients("gaussian", std) for std in (0.1, 1.0)], {"net": MLP(16, 2)}),
    "laplace gradient noise": ([NoisyGradients("laplace", std) for std in (0.1, 1.0)], {"net": MLP(16, 2)}),
    "mae": ([MeanAbsoluteError()] * 2, {"net": MLP(16, 2)}),
    "forward correction": ([ForwardCorrection()] * 2, {"net": MLP(16, 2)}),
    "backward correction": ([BackwardCorrection(KNOWN)] * 2, {"net": MLP(16, 2)}),
    # Small batches, some of which lack a class.
    "dmi": ([DMI(lr=1e-3)] * 2, {"net": MLP(16, 2), "batch_size": 24}),
    "soft regularisation": (
        [SoftRegularization(lam, 0.1) for lam in (0.01, 0.1)],
        {"net": MLP(16, 2)},
    ),
    "limit + init": (
        [LIMIT(beta=beta, init=init) for beta, init in ((1.0, "cross-entropy"), (3.0, "cross-entropy"))],
        {"net": MLP(16, 2)},
    ),
    "two phases": (
        [TwoPhases(pull) for pull in (0.0, 0.3)],
        {"net": MLP(16, 2, dropout=0.2), "meta_batch_size": 40},
    ),
}


@pytest.mark.rounding
@pytest.mark.parametrize("case", CASES)
def test_a_member_equals_its_solo_run_in_float64(make_digits_task, case):
    methods, options = CASES[case]
    meta = {"meta_size": 50} if case == "two phases" else {}
    members = begun(members_of(make_digits_task, methods, **meta), options)
    stacked = trained(members, "stacked", precision="float64", **options)
    solo = trained(members, "solo", precision="float64", **options)
    assert modes(stacked) == ["stacked"] * len(members) and modes(solo) == ["solo"] * len(members)
    assert len({one.state for one in stacked}) == 1
    for first, second in zip(stacked, solo, strict=True):
        one, other = first.weights, second.weights
        for name in other:
            for key, value in other[name].items():
                torch.testing.assert_close(one[name][key], value, **ROUNDING, msg=f"{name} {key}")
        for one, other in zip(first.records, second.records, strict=True):
            assert one.loss == pytest.approx(other.loss, rel=1e-8)
            assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-8)
            assert one.extra == pytest.approx(other.extra)


def test_dropout_is_drawn_for_every_member_and_step(make_digits_task):
    members = members_of(make_digits_task, [CrossEntropy()] * 2)
    settings, device = Settings(net=MLP(16, 2, dropout=0.5)), torch.device("cpu")
    state = State(Stacked, members, settings, device, Resident(device, settings.dtype))
    index = torch.arange(32).expand(2, 32)
    drawn = []
    for _ in range(2):
        loop.train_step(state, 1, index, next(state.data.images([index])))
        buffers = state.networks.buffers["classifier"]
        drawn.append({key: value.clone() for key, value in buffers.items() if key.endswith("uniform")})
    assert drawn[0]
    for key, value in drawn[0].items():
        assert not torch.equal(value[0], value[1])
        assert not torch.equal(value, drawn[1][key])


def test_members_of_different_code_paths_form_groups_and_keep_their_order(make_digits_task):
    task = make_digits_task(0.5, train_size=100)
    other = make_digits_task(0.5, train_size=120)
    methods = [
        LIMIT("laplace", 1.0),
        CrossEntropy(),
        LIMIT("gaussian", 1.0),
        LIMIT("laplace", 3),
        CrossEntropy(),
    ]
    members = [Member(method, task, seed) for seed, method in enumerate(methods)] + [
        Member(methods[1], other)
    ]
    runs = trained(members, "stacked", net=MLP(8, 1))
    assert [one.member for one in runs] == members
    states = list(dict.fromkeys(one.state for one in runs))
    groups = [[place for place, one in enumerate(runs) if one.state is state] for state in states]
    assert groups == [[0, 3], [1, 4], [2], [5]]
    for member, one in zip(members, runs, strict=True):
        (alone,) = trained([member], "stacked", net=MLP(8, 1))
        assert one.records[-1].train_accuracy == pytest.approx(alone.records[-1].train_accuracy, abs=0.02)


def test_auto_chooses_by_the_clock(make_digits_task, monkeypatch):
    members = members_of(make_digits_task, [CrossEntropy()] * 3)
    for solo, expected in ((1.0, "stacked"), (0.9, "solo")):
        seconds = {"stacked": 2.9, "solo": solo}
        timed = partial(lambda seconds, state: seconds[state.networks.mode], seconds)
        monkeypatch.setattr("lnlib.training.runs.timed_step", timed)
        assert modes(Runs(members, net=MLP(8, 1))) == [expected] * 3
    assert modes(Runs(members[:1], net=MLP(8, 1))) == ["solo"]


def test_a_stack_that_a_gpus_memory_does_not_hold_is_trained_one_by_one(make_digits_task, monkeypatch):
    def timed(state):
        if state.networks.mode == "stacked":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1.0

    monkeypatch.setattr("lnlib.training.runs.timed_step", timed)
    members = members_of(make_digits_task, [CrossEntropy()] * 3)
    assert modes(Runs(members, net=MLP(8, 1))) == ["solo"] * 3


def test_the_timed_steps_leave_no_trace(make_digits_task):
    members = members_of(make_digits_task, [CrossEntropy()] * 3)
    chosen = trained(members, "auto", net=MLP(8, 1))
    again = trained(members, chosen[0].mode, net=MLP(8, 1))
    assert losses(chosen) == losses(again)


def test_members_stop_by_their_own_patience_and_keep_the_weights_of_stop_and_best(
    make_digits_task,
):
    members = members_of(make_digits_task, [CrossEntropy()] * 3)
    options = {"net": MLP(32, 2), "epochs": 30, "patience": 3, "precision": "float64"}
    stacked, solo = trained(members, "stacked", **options), trained(members, "solo", **options)
    lengths = [len(one.records) for one in stacked]
    assert lengths == [len(one.records) for one in solo] and min(lengths) < max(lengths)
    for one, other in zip(stacked, solo, strict=True):
        for mine, expected in ((one.best_weights, other.best_weights), (one.weights, other.weights)):
            for key, value in expected["classifier"].items():
                torch.testing.assert_close(mine["classifier"][key], value, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("mode", ["stacked", "solo"])
def test_a_sweep_resumes_as_if_it_had_never_stopped(make_digits_task, tmp_path, mode):
    methods = [CrossEntropy(), CrossEntropy(), *(LIMIT(beta=beta, sampling=True) for beta in (1.0, 3.0))]
    members = members_of(make_digits_task, methods)
    options = {"mode": mode, "net": MLP(16, 2, dropout=0.2), **EPOCHS, "epochs": 3}
    whole, half = sweep(members, **options), Runs(members, **options)
    next(half.epochs())
    half.save(tmp_path / "sweep.pt")
    rest = Runs(members, **options).load(tmp_path / "sweep.pt").train()
    assert losses(whole) == losses(rest)
    for one, other in zip(whole, rest, strict=True):
        weights = other.weights
        for name, state in one.weights.items():
            assert all(torch.equal(value, weights[name][key]) for key, value in state.items())


def test_methods_that_cannot_be_stacked_train_alone(make_digits_task):
    class Alone(CrossEntropy):
        stackable = False

    members = members_of(make_digits_task, [Alone()] * 2)
    assert modes(trained(members, "stacked", net=MLP(8, 1))) == ["solo", "solo"]


def test_members_begin_from_their_own_start(make_digits_task):
    task = make_digits_task(0.5, train_size=100)
    states = [
        trained([Member(CrossEntropy(), task, seed)], "solo", net=MLP(8, 1))[0].weights for seed in (1, 2)
    ]
    members = [Member(CrossEntropy(), task, 0, state) for state in states]
    runs = Runs(members, mode="stacked", net=MLP(8, 1))
    for one, state in zip(runs, states, strict=True):
        own = one.weights["classifier"]
        assert all(torch.equal(own[key], value) for key, value in state["classifier"].items())
    fresh = Runs([Member(CrossEntropy(), task, 0)] * 2, mode="stacked", net=MLP(8, 1))
    assert len({fresh[0].fingerprint, *(one.fingerprint for one in runs)}) == 3
    assert fresh.fingerprint != runs.fingerprint


def test_an_empty_sweep_or_an_unknown_mode_is_refused(make_digits_task):
    with pytest.raises(InvalidValue, match=r"at least one member, got \[\]"):
        sweep([])
    with pytest.raises(InvalidValue, match=r"mode must be .* got 'fast'"):
        sweep(members_of(make_digits_task, [CrossEntropy()]), mode="fast")


def test_one_member_with_one_image_batch_left_over_is_refused(make_digits_task):
    members = [Member(CrossEntropy(), make_digits_task(rate, train_size=97)) for rate in (0.2, 0.4)]
    with pytest.raises(InvalidValue, match="last batch must hold at least 2"):
        sweep(members, mode="stacked", **EPOCHS)
