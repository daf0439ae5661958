"""Directional derivatives of networks, alone and in a stack, and what makes stacks fast."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import jvp, vmap

import lnlib
from lnlib.errors import InvalidValue
from lnlib.methods import L2RW, CrossEntropy, MetaInfoNet
from lnlib.nets import CNN, MLP, Net, ResNet32, ResNet34, ResNet50, Skeleton, WideResNet
from lnlib.nets.net import repeatable
from lnlib.nets.stacked import StackedNet, stand_side_by_side
from lnlib.training import Member, Run, sweep
from tests.rounding import ROUNDING

# PyTorch's own forward mode warns of itself.
pytestmark = [
    pytest.mark.rounding,
    pytest.mark.filterwarnings("ignore:`torch.jit.script:FutureWarning"),
]
NETS = [
    (MLP(16, 2), (1, 8, 8)),
    (MLP(16, 2, batch_norm=False), (1, 8, 8)),
    (CNN(), (1, 8, 8)),
    (ResNet32(), (3, 8, 8)),
    (ResNet34(), (1, 8, 8)),
    (ResNet50(), (3, 32, 32)),
    (WideResNet(10, 1), (1, 8, 8)),
]


def direction(net: Net) -> dict[str, torch.Tensor]:
    return {name: torch.randn_like(value) for name, value in net.parameters.items()}


def by_jvp(net, x, along):
    return jvp(lambda at: net.at(at, x)[0], (dict(net.parameters),), (along,))[1]


@pytest.mark.parametrize(("spec", "shape"), NETS, ids=lambda value: getattr(value, "label", ""))
def test_it_is_jvps_it_agrees_with_backward_and_leaves_statistics_alone(spec, shape):
    torch.manual_seed(0)
    net = Net(spec.build(shape, 3).double())
    x, along = torch.rand(4, *shape, dtype=torch.float64), direction(net)
    before = {name: value.clone() for name, value in net.buffers.items()}
    found = net.derivative(along, x)
    torch.testing.assert_close(found, by_jvp(net, x, along), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in net.buffers.items())
    # The other way round: u·(J v) = (Jᵀu)·v.
    weights = torch.randn(4, 3, dtype=torch.float64)
    gradient = net.gradient(net.at(net.parameters, x)[0], weights)
    back = sum((gradient[name] * along[name]).sum() for name in along)
    torch.testing.assert_close((weights * found).sum(), back)


def test_dropped_units_stay_dropped():
    net = Net(MLP(16, 2, dropout=0.5).build((1, 8, 8), 3).double())
    for layer in net.module.modules():
        if hasattr(layer, "uniform"):
            layer.uniform = torch.rand(4, 16)
    x, along = torch.rand(4, 1, 8, 8, dtype=torch.float64), direction(net)
    torch.testing.assert_close(net.derivative(along, x), by_jvp(net, x, along))


class Odd(nn.Module):
    """Functions that a rule for each layer would have to know one by one."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        hidden = self.first(x).tanh_()
        left, right = hidden.chunk(2, dim=1)
        both = torch.cat([right * left, *[row[None] for row in hidden[:, :2].unbind()]])[: len(x)]
        joined = F.pad(torch.cat([both, left], dim=1)[:, ::2], (0, 2), value=2.0).mul(self.second.bias.sum())
        return self.second(joined + x.sum(dim=1, keepdim=True) + (hidden > 0)), hidden


def test_any_functions_are_differentiated():
    torch.manual_seed(0)
    net = Net(Odd().double())
    x, along = torch.rand(6, 5, dtype=torch.float64), direction(net)
    by = 1e-6
    there, back = (
        net.at({name: value + sign * by * along[name] for name, value in net.parameters.items()}, x)[0]
        for sign in (1, -1)
    )
    torch.testing.assert_close(net.derivative(along, x), (there - back) / (2 * by), rtol=1e-6, atol=1e-7)


def test_two_threads_differentiate_at_once():
    nets = [Net(Odd().double()) for _ in range(2)]
    x, along = torch.rand(6, 5, dtype=torch.float64), [direction(net) for net in nets]
    expected = [by_jvp(net, x, own) for net, own in zip(nets, along, strict=True)]

    def often(net, own):
        return [net.derivative(own, x) for _ in range(50)]

    with ThreadPoolExecutor(2) as pool:
        found = [*pool.map(often, nets, along)]
    for one, all_of_them in zip(expected, found, strict=True):
        for other in all_of_them:
            torch.testing.assert_close(other, one)


# Stacks.


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("spec", [MLP(8, 2), CNN(), ResNet32(), WideResNet(10, 1)])
def test_a_stack_has_the_derivatives_of_its_members(spec, together):
    torch.manual_seed(0)
    modules = [spec.build((1, 8, 8), 3).double() for _ in range(2)]
    nets = [Net(module) for module in modules]
    skeleton = Skeleton(modules[0])
    x = torch.rand(2, 4, 1, 8, 8, dtype=torch.float64)
    along = [direction(net) for net in nets]
    expected = [by_jvp(net, *given) for net, *given in zip(nets, x, along, strict=True)]
    if together:
        stand_side_by_side(skeleton.structure)

    def stack(of):
        return {name: torch.stack([own[name].detach() for own in of]) for name in of[0]}

    def member(parameters, buffers, x, along):
        return StackedNet(modules[0], parameters, buffers, skeleton).derivative(along, x)

    parameters, buffers = stack([net.parameters for net in nets]), stack([net.buffers for net in nets])
    found = vmap(member)(parameters, buffers, x, stack(along))
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-8, atol=1e-8)


def test_members_that_share_their_weights_are_not_taken_together():
    """Another vmap than a stack's: over pictures, say, or over weights alone."""
    module = MLP(8, 2).build((1, 8, 8), 3)
    stand_side_by_side(module)
    x = torch.rand(5, 4, 1, 8, 8)
    module.eval()
    torch.testing.assert_close(vmap(lambda x: module(x)[0])(x), module(x.flatten(0, 1))[0].view(5, 4, 3))
    last = module.output
    weights = torch.stack([last.weight.detach(), 2 * last.weight.detach()])
    hidden = torch.rand(4, 8)

    def logits(weight):
        return torch.func.functional_call(last, {"weight": weight}, (hidden,))

    expected = torch.stack([F.linear(hidden, weight, last.bias) for weight in weights])
    torch.testing.assert_close(vmap(logits)(weights), expected)


def test_layers_of_a_stack_are_not_taken_together_within_another_transform():
    modules = [MLP(8, 1).build((1, 8, 8), 3).double() for _ in range(3)]
    stand_side_by_side(modules[0])
    layer = modules[0].output
    weights = torch.stack([module.output.weight.detach() for module in modules])
    x = torch.rand(3, 4, 8, dtype=torch.float64)

    def by_scale(weight, x):
        def total(scale):
            return (scale * torch.func.functional_call(layer, {"weight": weight}, (x,))).sum()

        return torch.func.grad(total)(torch.ones((), dtype=torch.float64))

    expected = torch.stack([F.linear(*own, layer.bias).sum() for own in zip(x, weights, strict=True)])
    torch.testing.assert_close(vmap(by_scale)(weights, x), expected)


def test_only_one_file_looks_into_pytorch_and_without_it_the_numbers_are_the_same(
    monkeypatch, make_digits_task
):
    private = [
        path.name
        for path in Path(lnlib.__file__).parent.rglob("*.py")
        if "torch._C" in path.read_text(encoding="utf-8") or "torch._functorch" in path.read_text("utf-8")
    ]
    assert private == ["stacked.py"]
    tasks = [make_digits_task(0.3, train_size=100, meta_size=20, seed=seed) for seed in (0, 1)]
    settings = {"net": MLP(8, 2), "epochs": 2, "precision": "float64", "mode": "stacked"}

    def trained(method):
        return sweep([Member(method, task, task.seed) for task in tasks], **settings)

    plain, meta = trained(CrossEntropy()), trained(MetaInfoNet())
    monkeypatch.setattr("lnlib.nets.stacked.AVAILABLE", False)
    plain_without, meta_without = trained(CrossEntropy()), trained(MetaInfoNet())
    assert [run.mode for run in plain_without] == ["stacked"] * 2
    assert [run.mode for run in meta_without] == ["solo"] * 2
    for one, other in zip([*plain, *meta], [*plain_without, *meta_without], strict=True):
        for key, value in one.weights["classifier"].items():
            torch.testing.assert_close(other.weights["classifier"][key], value, **ROUNDING)


def test_where_pytorch_has_no_such_names_the_library_still_imports():
    code = """
import torch
del torch._C._functorch._add_batch_dim
from lnlib.nets import stacked
assert not stacked.AVAILABLE
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


# Networks that draw random numbers of their own.


class Noisy(nn.Module):
    def __init__(self, noise):
        super().__init__()
        self.noise, self.output = noise, nn.Linear(64, 10)

    def forward(self, x):
        return self.output(self.noise(x.flatten(1))), x


class NoisyNet(MLP):
    """A spec whose network drops by PyTorch's own layer."""

    def build(self, image_shape, num_classes, role="classifier"):
        return Noisy(nn.Dropout(0.5))


@pytest.mark.parametrize("noise", [nn.Dropout(0.5), nn.RReLU(), nn.AlphaDropout(0.2), torch.rand_like])
def test_a_network_with_random_numbers_of_its_own_is_known(noise):
    net, x = Net(Noisy(noise)), torch.randn(4, 1, 8, 8)
    state = torch.random.get_rng_state()
    assert not repeatable(net, x) and torch.equal(state, torch.random.get_rng_state())
    assert repeatable(Net(Noisy(nn.Identity())), x)
    assert repeatable(Net(MLP(8, 2, dropout=0.5).build((1, 8, 8), 10)), x)  # the run gives it its numbers


@pytest.mark.parametrize("method", [MetaInfoNet(), L2RW()])
def test_a_virtual_step_refuses_it(method, make_digits_task):
    task = make_digits_task(0.3, train_size=100, meta_size=20)
    with pytest.raises(InvalidValue, match=r"passes are the same .*nn.Dropout.*; use lnlib.nets.Dropout"):
        Run(method, task, net=NoisyNet())


def test_a_stack_refuses_it_and_a_sweep_that_may_choose_trains_it_alone(make_digits_task):
    members = [Member(CrossEntropy(), make_digits_task(0.3, train_size=100), seed) for seed in range(2)]
    with pytest.raises(InvalidValue, match=r"a stack needs a network .* use lnlib.nets.Dropout"):
        sweep(members, net=NoisyNet(), mode="stacked", epochs=1)
    assert [run.mode for run in sweep(members, net=NoisyNet(), epochs=1)] == ["solo", "solo"]
