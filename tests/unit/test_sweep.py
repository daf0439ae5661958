"""`sweep`: members equal their solo runs, grouping, modes, early stopping and checkpoints of stacks."""

from dataclasses import dataclass, replace

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
from lnlib.training import SGD, Adam, FlipCrop, Member, Settings, sweep
from lnlib.training import sweep as sweep_function
from lnlib.training.engine import Engine
from lnlib.training.sweep import Stack
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
    source = run(
        [replace(member, method=CrossEntropy()) for member in members],
        "solo",
        precision="float64",
        **options,
    )
    return [
        replace(member, start=member.method.begun_from({"cross-entropy": source.best_state(position)}))
        for position, member in enumerate(members)
    ]


def run(members, mode, **options):
    training = sweep(members, mode=mode, **EPOCHS | options)
    for _ in training:
        pass
    return training


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
    stacked = run(members, "stacked", precision="float64", **options)
    solo = run(members, "solo", precision="float64", **options)
    assert stacked.modes == ["stacked"] * len(members) and solo.modes == ["solo"] * len(members)
    (positions, stack), engines = stacked._groups[0], [engine for _, engine in solo._groups]
    for position in positions:
        one, other = stack.member_state(position), engines[position].member_state()
        for name in other:
            for key, value in other[name].items():
                torch.testing.assert_close(one[name][key], value, **ROUNDING, msg=f"{name} {key}")
    for first, second in zip(stacked.histories, solo.histories, strict=True):
        for one, other in zip(first, second, strict=True):
            assert one.loss == pytest.approx(other.loss, rel=1e-8)
            assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-8)
            assert one.extra == pytest.approx(other.extra)


@pytest.mark.rounding
def test_without_pytorchs_inner_parts_members_train_one_by_one(make_digits_task, monkeypatch):
    members = members_of(make_digits_task, [CrossEntropy()] * 2)
    stacked = run(members, "stacked", net=MLP(16, 2), precision="float64")
    monkeypatch.setattr("lnlib.nets.together.AVAILABLE", False)
    alone = run(members, "stacked", net=MLP(16, 2), precision="float64")
    assert stacked.modes == ["stacked"] * 2 and alone.modes == ["solo"] * 2
    for key, value in alone.member_state(1)["classifier"].items():
        torch.testing.assert_close(stacked.member_state(1)["classifier"][key], value, **ROUNDING)


def test_dropout_is_drawn_for_every_member_and_step(make_digits_task):
    members = members_of(make_digits_task, [CrossEntropy()] * 2)
    stack = Stack(members, Settings(net=MLP(16, 2, dropout=0.5)), torch.device("cpu"))
    rows = torch.arange(32).expand(2, 32)
    stack._step_on(rows)
    first = {
        key: value.clone() for key, value in stack.buffers["classifier"].items() if key.endswith("uniform")
    }
    stack._step_on(rows)
    assert first
    for key, value in first.items():
        assert not torch.equal(value[0], value[1])
        assert not torch.equal(value, stack.buffers["classifier"][key])


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
    training = run(members, "stacked", net=MLP(8, 1))
    assert [positions for positions, _ in training._groups] == [[0, 3], [1, 4], [2], [5]]
    for member, history in zip(members, training.histories, strict=True):
        alone = run([member], "stacked", net=MLP(8, 1)).histories[0]
        assert history[-1].train_accuracy == pytest.approx(alone[-1].train_accuracy, abs=0.02)


def test_auto_chooses_by_the_clock(make_digits_task, monkeypatch):
    members = members_of(make_digits_task, [CrossEntropy()] * 3)
    for solo, expected in ((1.0, "stacked"), (0.9, "solo")):
        seconds = {"stacked": 2.9, "solo": solo}
        monkeypatch.setattr(Engine, "timed_steps", lambda self, count, seconds=seconds: seconds[self.mode])
        assert sweep_function(members, net=MLP(8, 1)).modes == [expected] * 3
    assert sweep_function(members[:1], net=MLP(8, 1)).modes == ["solo"]


def test_the_timed_steps_leave_no_trace(make_digits_task):
    members = members_of(make_digits_task, [CrossEntropy()] * 3)
    chosen = run(members, "auto", net=MLP(8, 1))
    again = run(members, chosen.modes[0], net=MLP(8, 1))
    for one, other in zip(chosen.histories, again.histories, strict=True):
        assert [epoch.loss for epoch in one] == [epoch.loss for epoch in other]


def test_members_stop_by_their_own_patience_and_keep_their_best_weights(make_digits_task):
    members = members_of(make_digits_task, [CrossEntropy()] * 3)
    options = {"net": MLP(32, 2), "epochs": 30, "patience": 3, "precision": "float64"}
    stacked, solo = run(members, "stacked", **options), run(members, "solo", **options)
    assert [len(history) for history in stacked.histories] == [len(history) for history in solo.histories]
    assert any(len(history) < 30 for history in stacked.histories)
    for position in range(3):
        one, other = stacked.best_state(position), solo.best_state(position)
        for key, value in other["classifier"].items():
            torch.testing.assert_close(one["classifier"][key], value, rtol=1e-6, atol=1e-8)


def test_a_stack_resumes_as_if_it_had_never_stopped(make_digits_task, tmp_path):
    members = members_of(make_digits_task, [LIMIT(beta=beta, sampling=True) for beta in (1.0, 3.0)])
    settings = Settings(net=MLP(16, 2, dropout=0.2), epochs=3, batch_size=32)
    whole, half, rest = (Stack(members, settings, torch.device("cpu")) for _ in range(3))
    for _ in whole:
        pass
    half.advance()
    half.save(tmp_path / "stack.pt")
    rest.load(tmp_path / "stack.pt")
    for _ in rest:
        pass
    for position in range(2):
        for name, state in whole.member_state(position).items():
            for key, value in state.items():
                assert torch.equal(value, rest.member_state(position)[name][key])
    assert [epoch.loss for epoch in whole.histories[1]] == [epoch.loss for epoch in rest.histories[1]]


@pytest.mark.parametrize("mode", ["stacked", "solo"])
def test_a_sweep_resumes_as_if_it_had_never_stopped(make_digits_task, tmp_path, mode):
    members = members_of(make_digits_task, [CrossEntropy(), CrossEntropy(), LIMIT()])
    options = {"mode": mode, "net": MLP(16, 2, dropout=0.2), **EPOCHS}
    whole, half, rest = (sweep(members, **options) for _ in range(3))
    for _ in whole:
        pass
    for _ in half:
        half.save(tmp_path / "sweep.pt")
        break
    rest.load(tmp_path / "sweep.pt")
    for _ in rest:
        pass
    for position, (one, other) in enumerate(zip(whole.histories, rest.histories, strict=True)):
        assert [epoch.loss for epoch in one] == [epoch.loss for epoch in other]
        for name, state in whole.member_state(position).items():
            assert all(
                torch.equal(value, rest.member_state(position)[name][key]) for key, value in state.items()
            )


def test_methods_that_cannot_be_stacked_train_alone(make_digits_task):
    class Alone(CrossEntropy):
        stackable = False

    members = members_of(make_digits_task, [Alone()] * 2)
    assert run(members, "stacked", net=MLP(8, 1)).modes == ["solo", "solo"]


def test_members_begin_from_their_own_start(make_digits_task):
    task = make_digits_task(0.5, train_size=100)
    states = [
        run([Member(CrossEntropy(), task, seed)], "solo", net=MLP(8, 1)).member_state(0) for seed in (1, 2)
    ]
    members = [Member(CrossEntropy(), task, 0, state) for state in states]
    stack = Stack(members, Settings(net=MLP(8, 1)), torch.device("cpu"))
    for position, state in enumerate(states):
        own = stack.member_state(position)["classifier"]
        assert all(torch.equal(own[key], value) for key, value in state["classifier"].items())
    fresh = Stack([Member(CrossEntropy(), task, 0)] * 2, Settings(net=MLP(8, 1)), torch.device("cpu"))
    assert fresh.fingerprint != stack.fingerprint


def test_an_empty_sweep_or_an_unknown_mode_is_refused(make_digits_task):
    with pytest.raises(InvalidValue, match="at least one member, got none"):
        sweep([])
    with pytest.raises(InvalidValue, match=r"mode must be .* got 'fast'"):
        sweep(members_of(make_digits_task, [CrossEntropy()]), mode="fast")


def test_one_member_with_one_image_batch_left_over_is_refused(make_digits_task):
    members = [Member(CrossEntropy(), make_digits_task(rate, train_size=97)) for rate in (0.2, 0.4)]
    with pytest.raises(InvalidValue, match="last batch must hold at least 2"):
        sweep(members, mode="stacked", **EPOCHS)
