"""The meta-weighting framework: the hypergradient three ways, the three networks, L2RW, and their story."""

import gc
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.func import stack_module_state, vmap
from torch.utils._pytree import tree_leaves

from lnlib import data, noise
from lnlib.data.task import make_task
from lnlib.errors import InvalidValue
from lnlib.methods import L2RW, CrossEntropy, Examples, LogitNet, LossNet, MetaInfoNet
from lnlib.methods.base import cross_entropy, mean_one, one_hot
from lnlib.methods.hypergradient import VirtualStep, double_backward_loss, finite_differences
from lnlib.methods.l2rw import agreement
from lnlib.methods.meta_weighting import MetaWeighting, normalized
from lnlib.nets import MLP, Net, ResNet32, Skeleton
from lnlib.nets.net import repeatable
from lnlib.nets.stacked import StackedNet, stand_side_by_side
from lnlib.nets.weighting import (
    WeightFromLogits,
    WeightFromLoss,
    WeightThroughBottleneck,
    kl_to_standard_normal,
)
from lnlib.optimizers import SGD, Adam
from lnlib.training import Member, Run, Runs, fit, sweep
from tests.rounding import ROUNDING

METHODS = {
    "L2RW": L2RW(),
    "LossNet": LossNet(),
    "LogitNet": LogitNet(),
    "MetaInfoNet": MetaInfoNet(),
    "MetaInfoNet, sampled, every third step": MetaInfoNet(real_step="sample", interval=3, dimensions=4),
    "LogitNet, momentum": LogitNet(virtual_step="momentum", normalization="mean"),
}


@pytest.fixture(scope="module")
def tasks():
    digits = data.load("digits")
    return [
        make_task(digits, noise.flip(0.4, 10, targets=1, seed=seed), seed, meta_size=100) for seed in range(5)
    ]


def parameters(module):
    return sum(value.numel() for value in module.parameters())


# The networks, section 4.


def test_the_networks_have_the_sizes_of_their_description():
    assert parameters(WeightFromLoss()) == 301
    assert parameters(WeightFromLogits(10)) == 1301
    assert parameters(WeightFromLogits(10, linear=True)) == 1301 + 110
    assert parameters(WeightThroughBottleneck(10, 10)) == 1731
    assert parameters(WeightThroughBottleneck(10, 10, skip=False)) == 1731 - 100


def test_the_divergence_is_the_closed_form_and_an_average_of_log_ratios():
    mean, log_variance = torch.tensor([[0.5, -1.0]]).double(), torch.tensor([[0.0, -1.0]]).double()
    exact = kl_to_standard_normal(mean, log_variance)
    assert exact.item() == pytest.approx(0.8089397205857212, abs=1e-12)
    here = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    standard = torch.distributions.Normal(torch.zeros(2).double(), torch.ones(2).double())
    drawn = here.sample((200_000,))
    average = (here.log_prob(drawn) - standard.log_prob(drawn)).sum(-1).mean()
    assert average.item() == pytest.approx(exact.item(), abs=0.02)


def test_the_bottleneck_without_noise_takes_the_mean_and_begins_quiet():
    torch.manual_seed(0)
    net = WeightThroughBottleneck(10, 6)
    logits, labels = torch.randn(8, 10), torch.arange(8)
    weights, gaussians = net(logits, labels, None)
    assert torch.equal(weights, net(logits, labels, torch.zeros(8, 6))[0])
    assert not torch.equal(weights, net(logits, labels, torch.ones(8, 6))[0])
    assert net.gaussian.bias[6:].tolist() == [-2.0] * 6
    mean, log_variance = net.gaussian(logits).chunk(2, 1)
    assert torch.equal(gaussians.nats, kl_to_standard_normal(mean, log_variance))


def test_lossnet_sees_the_loss_and_nothing_else():
    nets = {"weighting": Net(WeightFromLoss())}
    logits, labels = torch.randn(6, 10), torch.arange(6)
    raw, gaussians = LossNet().raw_weights(nets, logits, labels, None)
    assert torch.allclose(raw, nets["weighting"](cross_entropy(logits, labels)))
    assert gaussians is None


GIVEN = torch.randn(3, 8, 4).double(), torch.arange(24).view(3, 8) % 4


@pytest.mark.parametrize(
    ("new", "inputs"),
    [
        (WeightFromLoss, (torch.rand(3, 8).double(),)),
        (partial(WeightFromLogits, 4, linear=True), GIVEN),
        (partial(WeightThroughBottleneck, 4, 3), (*GIVEN, torch.randn(3, 8, 3).double())),
        (partial(WeightThroughBottleneck, 4, 3), (*GIVEN, None)),
    ],
)
def test_a_stack_weighs_by_one_call_as_each_member_alone(new, inputs):
    modules = [new().double() for _ in range(3)]
    seen = []
    modules[0].weight.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[:2]))
    skeleton, (parameters, _) = Skeleton(modules[0]), stack_module_state(modules)
    stand_side_by_side(skeleton.structure)

    def member(parameters, *own):
        return StackedNet(modules[0], parameters, {}, skeleton)(*own)

    dims = (0, *(None if value is None else 0 for value in inputs))
    together = tree_leaves(vmap(member, in_dims=dims)(parameters, *inputs))
    assert seen == [(3, 8)]
    sum(value.square().sum() for value in together).backward()
    for position, module in enumerate(modules):
        alone = tree_leaves(module(*(value if value is None else value[position] for value in inputs)))
        sum(value.square().sum() for value in alone).backward()
        torch.testing.assert_close([value[position] for value in together], alone)
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(parameters[name].grad[position], parameter.grad)


@pytest.mark.parametrize(
    ("how", "raw", "expected"),
    [
        ("sum", [0.2, 0.8, 0.0], [0.2, 0.8, 0.0]),
        ("sum", [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
        ("sum", [1.0, 3.0], [0.25, 0.75]),
        ("paper", [1.0, 3.0], [0.125, 0.375]),
        ("mean", [1.0, 3.0], [0.5, 1.5]),
    ],
)
def test_weights_are_normalised_as_line_6_says_or_as_named(how, raw, expected):
    assert normalized(torch.tensor(raw), how).tolist() == pytest.approx(expected)


# The hypergradient.


def setting(net, shape, dtype, batch, seed=3):
    torch.manual_seed(seed)
    module = net.build(shape, 10).to(dtype)
    weighting = WeightThroughBottleneck(10, 10).to(dtype)
    train = Examples(torch.randn(batch, *shape, dtype=dtype), torch.randint(10, (batch,)))
    meta = Examples(torch.randn(batch, *shape, dtype=dtype), torch.randint(10, (batch,)))
    return Net(module), weighting, train, meta, torch.randn(batch, 10, dtype=dtype)


# In float64: there rounding does not decide on which side of its kink a ReLU is.
@pytest.mark.rounding
@pytest.mark.parametrize(
    ("net", "shape", "batch", "seed"),
    [
        (MLP(32, 2), (1, 8, 8), 40, 3),
        (ResNet32(), (3, 16, 16), 12, 3),
        (ResNet32(), (3, 8, 8), 8, 0),
        (ResNet32(), (3, 8, 8), 8, 1),
    ],
)
@pytest.mark.parametrize("how", ["sum", "mean"])
def test_forward_mode_equals_double_backward_over_the_whole_weighting_network(net, shape, batch, seed, how):
    classifier, weighting, train, meta, psi = setting(net, shape, torch.float64, batch, seed)
    before = {name: value.clone() for name, value in classifier.module.state_dict().items()}

    step = VirtualStep(classifier, train)
    weights = normalized(weighting(step.logits, train.y, psi)[0], how)
    found = step.meta_gradient(meta, step.taken(weights.detach(), 0.1), 0.1)
    exact = torch.autograd.grad((found.by_weight * weights).sum(), [*weighting.parameters()])

    again = normalized(weighting(step.logits, train.y, psi)[0], how)
    loss = double_backward_loss(classifier, train, again, meta, 0.1)
    expected = torch.autograd.grad(loss, [*weighting.parameters()])

    one, other = (torch.cat([part.flatten() for part in parts]) for parts in (exact, expected))
    assert (one - other).norm() / other.norm() < 1e-10
    assert found.loss.item() == pytest.approx(loss.item(), rel=1e-9)
    # Neither weights nor running statistics have moved.
    after = classifier.module.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.rounding
def test_the_hypergradient_is_what_finite_differences_give():
    classifier, _, train, meta, _ = setting(MLP(12, 1), (1, 4, 4), torch.float64, 10)
    weights = torch.rand(10, dtype=torch.float64)
    step = VirtualStep(classifier, train)
    found = step.meta_gradient(meta, step.taken(weights, 0.5), 0.5).by_weight
    expected = finite_differences(classifier, train, weights, meta, 0.5)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.rounding
@pytest.mark.parametrize("net", [MLP(12, 1), ResNet32()])
def test_in_float32_and_bfloat16_the_hypergradient_points_where_it_does_in_float64(net):
    """No closer than a ReLU allows that rounding puts on the other side of its kink."""
    found = {}
    for name, dtype in (("exact", torch.float64), ("float32", torch.float32), ("bfloat16", torch.float32)):
        classifier, _, train, meta, _ = setting(net, (3, 16, 16), torch.float64, 12)
        classifier.module.to(dtype)
        train, meta = (Examples(part.x.to(dtype), part.y) for part in (train, meta))
        with torch.autocast("cpu", torch.bfloat16, enabled=name == "bfloat16"):
            step = VirtualStep(classifier, train)
            weights = torch.full((12,), 1 / 12, dtype=dtype)
            found[name] = step.meta_gradient(meta, step.taken(weights, 0.01), 0.01).by_weight.double()
    assert torch.cosine_similarity(found["exact"], found["float32"], dim=0) > 0.99
    assert torch.cosine_similarity(found["exact"], found["bfloat16"], dim=0) > 0.95


def test_a_weight_rises_where_its_gradient_agrees_more_than_the_weighted_mean():
    """On a linear model, against the closed form of MetaInfoNet's eq. (3)."""
    torch.manual_seed(0)

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 3, bias=False).double()

        def forward(self, x):
            return self.layer(x), x

    classifier = Net(Linear())
    train = Examples(torch.randn(4, 5).double(), torch.tensor([0, 1, 2, 0]))
    meta = Examples(torch.randn(6, 5).double(), torch.randint(3, (6,)))
    raw = torch.rand(4).double().requires_grad_()
    weights = raw / raw.sum()
    step = VirtualStep(classifier, train)
    taken = step.taken(weights.detach(), 0.1)
    by_weight = step.meta_gradient(meta, taken, 0.1).by_weight

    matrix = classifier.parameters["layer.weight"].detach()
    residual = torch.softmax(train.x @ matrix.T, 1) - one_hot(train.y, 3).double()
    moved = matrix - 0.1 * torch.einsum("i,ik,id->kd", weights.detach(), residual, train.x)
    assert torch.allclose(taken["layer.weight"], moved)
    meta_residual = torch.softmax(meta.x @ moved.T, 1) - one_hot(meta.y, 3).double()
    direction = torch.einsum("jk,jd->kd", meta_residual, meta.x) / 6
    agreement_of = torch.einsum("ik,id,kd->i", residual, train.x, direction)
    assert torch.allclose(by_weight, -0.1 * agreement_of)

    (by_raw,) = torch.autograd.grad((by_weight * weights).sum(), raw)
    mean = (weights.detach() * agreement_of).sum()
    assert torch.allclose(by_raw, -0.1 / raw.detach().sum() * (agreement_of - mean))
    assert ((by_raw < 0) == (agreement_of > mean)).all()


def test_l2rw_weighs_by_the_agreement_at_the_present_weights():
    classifier, _, train, meta, _ = setting(MLP(12, 1), (1, 4, 4), torch.float64, 10)
    found = agreement(VirtualStep(classifier, train), meta)
    nothing = torch.zeros(10, dtype=torch.float64)
    slopes = finite_differences(classifier, train, nothing, meta, 1.0, by=1e-6)
    assert torch.allclose(found, (-slopes).clamp(min=0), atol=1e-6)
    assert 0 < (found > 0).sum() < 10


# The framework in training.


SETTINGS = {"net": MLP(16, 2), "batch_size": 100, "optimizer": SGD(0.1), "precision": "float64"}


@pytest.mark.rounding
@pytest.mark.parametrize("name", METHODS)
def test_a_stack_of_runs_equals_the_runs_alone(name, tasks):
    method = METHODS[name]
    methods = [method, replace(method, lam=0.7) if isinstance(method, MetaInfoNet) else method]
    pairs = zip(methods, tasks, strict=False)
    members = [Member(own, task, seed) for seed, (own, task) in enumerate(pairs)]
    together = sweep(members, mode="stacked", epochs=2, **SETTINGS)
    alone = sweep(members, mode="solo", epochs=2, **SETTINGS)
    assert [run.mode for run in (*together, *alone)] == ["stacked"] * 2 + ["solo"] * 2
    for run, other in zip(together, alone, strict=True):
        one, expected = run.weights, other.weights
        for network in one:
            for key, value in expected[network].items():
                assert torch.allclose(one[network][key], value, **ROUNDING), (network, key)
        assert run.records[-1].extra == pytest.approx(dict(other.records[-1].extra), rel=1e-6)
        weights = run.sample_weights()
        assert torch.allclose(weights, other.sample_weights(), rtol=1e-7, atol=1e-9)
        assert weights.mean().item() == pytest.approx(1, abs=1e-9) and (weights >= 0).all()


def test_a_run_continued_equals_one_that_never_stopped(tasks, tmp_path):
    options = {"net": MLP(16, 2), "batch_size": 100, "optimizer": SGD(0.1), "epochs": 3}
    whole = fit(MetaInfoNet(), tasks[0], **options)
    first = Run(MetaInfoNet(), tasks[0], **options)
    next(iter(first))
    first.save(tmp_path / "half.pt")
    second = Run(MetaInfoNet(), tasks[0], **options).load(tmp_path / "half.pt").train()
    for name, state in whole.weights.items():
        assert all(torch.equal(value, second.weights[name][key]) for key, value in state.items())


def test_the_weighting_network_moves_every_so_many_steps_only(tasks):
    run = Run(LossNet(interval=10**6), tasks[0], net=MLP(8, 1), batch_size=100, epochs=2)
    fresh = run.weights["weighting"]
    # Its first step moves it, no later one does.
    once, again = (run.weights["weighting"] for _ in run)
    assert not all(torch.equal(value, once[key]) for key, value in fresh.items())
    assert all(torch.equal(value, again[key]) for key, value in once.items())


@pytest.mark.parametrize("mode", ["solo", "stacked"])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_no_tensor_waits_for_the_garbage_collector(tasks, method, mode):
    # A pass holds all activations: on ResNet-32 those that waited took gigabytes.
    members = [Member(method, task) for task in tasks[:2]]
    runs = Runs(members, mode=mode, net=MLP(8, 1), batch_size=100, epochs=2)
    next(runs.epochs())
    gc.collect()
    gc.disable()
    try:
        next(runs.epochs())
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert not [thing for thing in gc.garbage if isinstance(thing, torch.Tensor)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


class Dumb(LossNet):
    """No example weighs anything unless a bias of the weighting network is large."""

    def raw_weights(self, nets, logits, labels, noise):
        weights, nats = super().raw_weights(nets, logits, labels, noise)
        return weights * (nets["weighting"].parameters["weight.2.bias"].sum() > 5), nats


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam()])
def test_a_batch_without_any_weight_moves_nothing_and_is_counted(tasks, optimizer):
    settings = {"net": MLP(8, 1), "batch_size": 100, "optimizer": optimizer, "epochs": 1}
    begin = Run(Dumb(), tasks[0], **settings).weights
    loud = {**begin["weighting"], "weight.2.bias": torch.tensor([9.0])}
    members = [Member(Dumb(), tasks[0], 0), Member(Dumb(), tasks[0], 0, {"weighting": loud})]
    for mode in ("solo", "stacked"):
        runs = sweep(members, mode=mode, **settings)
        silent, heard = (run.weights["classifier"] for run in runs)
        for key, value in begin["classifier"].items():
            if "running" not in key and "tracked" not in key:
                assert torch.equal(silent[key], value), key
        weights = next(iter(begin["classifier"]))
        assert not torch.equal(heard[weights], begin["classifier"][weights])
        skipped = [run.records[-1].extra["skipped_steps"] for run in runs]
        assert skipped == [-(-len(tasks[0].train) // 100), 0]


def test_no_weight_at_all_leaves_the_weighting_network_finite_however_steep_the_loss(tasks):
    run = Run(LossNet(), tasks[0], net=MLP(8, 1), batch_size=100, optimizer=SGD(100.0), epochs=1)
    with torch.no_grad():
        run.nets["weighting"].parameters["weight.2.bias"].fill_(-200.0)  # a sigmoid of exactly zero
    before = run.weights["weighting"]
    (record,) = run
    assert record.extra["skipped_steps"] == -(-len(tasks[0].train) // 100)
    after = run.weights["weighting"]
    assert all(torch.isfinite(value).all() for value in after.values()) and before.keys() == after.keys()


def test_no_run_takes_its_first_weights_while_another_is_looked_at(tasks):
    """Which puts PyTorch's one generator back, and would put back another's."""
    settings = {"net": MLP(16, 2), "batch_size": 100}
    alone = Run(LossNet(), tasks[0], **settings).weights["classifier"]
    begun, meanwhile = [], []

    class Slow(nn.Module):
        def forward(self, x):
            if not begun:
                begun.append(pool.submit(lambda: Run(LossNet(), tasks[0], **settings).weights["classifier"]))
            done, _ = wait(begun, timeout=0.5)
            meanwhile.append(bool(done))
            return x.flatten(1) + torch.rand(()), x

    with ThreadPoolExecutor(1) as pool:
        assert not repeatable(Net(Slow()), torch.zeros(2, 1, 3, 3))
        found = begun[0].result()
    assert meanwhile == [False, False]
    assert all(torch.equal(found[name], value) for name, value in alone.items())


def test_two_runs_may_train_at_the_same_time(tasks):
    settings = {"net": MLP(16, 2), "batch_size": 100, "optimizer": SGD(0.1), "epochs": 3}

    def trained(mode):
        runs = sweep([Member(LossNet(), tasks[0], seed) for seed in range(2)], mode=mode, **settings)
        return [epoch.train_loss for epoch in runs[0].records]

    modes = ("solo", "stacked", "solo", "stacked")
    alone = {mode: trained(mode) for mode in set(modes)}
    with ThreadPoolExecutor(len(modes)) as pool:
        together = [*pool.map(trained, modes)]
    assert together == [alone[mode] for mode in modes]


def test_l2rw_weighs_any_number_of_examples_the_same_way_twice(digits):
    task = make_task(digits, noise.flip(0.4, 10, targets=1, seed=0), train_size=257, meta_size=50)
    run = fit(L2RW(), task, net=MLP(16, 2, dropout=0.5), batch_size=100, epochs=1)
    once = run.sample_weights()
    assert len(once) == 257 and torch.equal(once, run.sample_weights())


def test_a_meta_batch_of_one_is_refused_under_batch_norm(tasks):
    with pytest.raises(InvalidValue, match="a meta batch must hold at least 2 examples under BatchNorm"):
        fit(LossNet(), tasks[0], net=MLP(8, 1), meta_batch_size=1)
    Run(CrossEntropy(), tasks[0], net=MLP(8, 1), meta_batch_size=1)
    Run(LossNet(), tasks[0], net=MLP(8, 1, batch_norm=False), meta_batch_size=1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_are_not_rounded_with_the_images(tasks, precision):
    run = Run(MetaInfoNet(), tasks[0], net=MLP(16, 2), batch_size=100, epochs=1, precision=precision)
    seen = []
    weighed = MetaInfoNet._weighed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetaInfoNet, "_weighed", lambda *values: seen.append(weighed(*values)) or seen[-1])
        run.train()
    assert {weights.dtype for weights, _ in seen} == {torch.float32}
    assert min(len(weights.unique()) for weights, _ in seen) > 90


def test_what_cannot_be_weighed_is_refused(tasks):
    without = make_task(data.load("digits"), noise.uniform(0.2, 10))
    for method in (LossNet(), L2RW()):
        with pytest.raises(InvalidValue, match="without a meta set; make it with meta_size=100"):
            fit(method, without)
    for options, text in [
        ({"interval": 0}, "metainfonet: interval must be at least 1, got 0; 1 updates at every step"),
        ({"interval": 1.5}, "interval must be a whole number of at least 1, got 1.5"),
        ({"hidden": 0}, "hidden must be at least 1, got 0; try hidden=100"),
        ({"normalization": "softmax"}, "'sum', 'paper' or 'mean', got 'softmax'"),
        ({"virtual_step": "nesterov"}, "'plain' or 'momentum', got 'nesterov'"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1.0"),
        ({"lam": -0.1}, "lam must be at least 0, got -0.1"),
        ({"lam": float("inf")}, "lam must be finite, got inf"),
        ({"dimensions": 0}, "dimensions must be at least 1, got 0"),
        ({"real_step": "median"}, "'mean' or 'sample', got 'median'"),
    ]:
        with pytest.raises(InvalidValue, match=text):
            MetaInfoNet(**options)


def test_with_momentum_the_virtual_step_goes_on_as_the_last_real_one(tasks):
    method = LossNet(virtual_step="momentum", momentum=0.9)
    optimizer = SGD(0.1, weight_decay=0.0, milestones=(1,))
    settings = {"net": MLP(8, 1), "batch_size": 100, "optimizer": optimizer, "epochs": 2}
    other = Run(method, tasks[0], seed=1, **settings).weights
    run = Run(method, tasks[0], start={"classifier": other["classifier"]}, **settings)
    assert all(not drift.any() for drift in method._drift(run.nets, 0.1).values())
    next(iter(run))
    momenta = run.state.networks.optimizers[1].state
    for lr in (0.1, 0.01):  # before and after the milestone
        for name, drift in method._drift(run.nets, lr).items():
            velocity = momenta[run.nets["classifier"].parameters[name]]["momentum_buffer"]
            assert torch.allclose(drift, -0.9 * lr * velocity, atol=1e-6), name


def test_mean_one_keeps_proportions_and_zeros():
    assert mean_one(torch.tensor([1.0, 3.0])).tolist() == [0.5, 1.5]
    assert mean_one(torch.zeros(2)).tolist() == [0.0, 0.0]
    assert issubclass(MetaInfoNet, MetaWeighting)


# The story: 40% flip-1 noise, 100 clean examples.


def story(method, tasks, epochs=30):
    """Over five seeds the means of: the AUC of the weight as a score of cleanliness, and test accuracy, at
    the best noisy-validation epoch and over the last ten.
    """
    members = [Member(method, task, seed) for seed, task in enumerate(tasks)]
    optimizer = SGD(0.1, milestones=(epochs * 2 // 3, epochs * 5 // 6))
    runs = sweep(members, mode="stacked", net=MLP(64, 2), batch_size=100, optimizer=optimizer, epochs=epochs)
    found = []
    for run, task in zip(runs, tasks, strict=True):
        weights, history = run.sample_weights(), run.history
        clean = task.truth.train_labels == task.train.labels
        auc = 0.5 if weights is None else roc_auc_score(clean, weights)
        best = history.test_accuracy[history.validation_accuracy.idxmax()]
        found.append((auc, best, history.test_accuracy[-10:].mean()))
    return np.mean(found, axis=0)


@pytest.mark.parametrize(
    ("method", "auc", "best", "last"),
    [
        (CrossEntropy(), None, (0.60, 0.74), (0.54, 0.70)),
        (LossNet(), (0.42, 0.70), (0.62, 0.76), (0.54, 0.72)),
        (LogitNet(), (0.85, 0.98), (0.75, 0.93), (0.80, 0.95)),
        (MetaInfoNet(), (0.88, 0.99), (0.75, 0.93), (0.82, 0.96)),
        (L2RW(), (0.93, 0.99), (0.89, 0.98), (0.91, 0.98)),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_the_story_of_figure_1_on_digits(tasks, method, auc, best, last):
    """Means of five seeds; ten seeds were measured in two halves for these ranges."""
    cleanliness, chosen, end = story(method, tasks)
    assert auc is None or auc[0] < cleanliness < auc[1], cleanliness
    assert last[0] < end < last[1], end
    assert best[0] < chosen < best[1], chosen
