"""Directional derivatives along a forward pass that was recorded."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import jvp, vmap

from lnlib.errors import LnlibError
from lnlib.nets import CNN, MLP, Net, ResNet32, ResNet34, ResNet50, Skeleton, StackedNet, WideResNet

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


def by_pytorch(net, x, along):
    return jvp(lambda at: net.at(at, x)[0], (dict(net.parameters),), (along,))[1]


@pytest.mark.parametrize("moving", [True, False])
@pytest.mark.parametrize(("spec", "shape"), NETS, ids=lambda value: getattr(value, "label", ""))
def test_it_is_what_pytorchs_forward_mode_gives(spec, shape, moving):
    torch.manual_seed(0)
    net = Net(spec.build(shape, 3).double())
    x, along = torch.rand(4, *shape, dtype=torch.float64), direction(net)
    before = {name: value.clone() for name, value in net.buffers.items()}
    recorded = net.recorded(x, moving=moving)
    torch.testing.assert_close(recorded.derivative(along), by_pytorch(net, x, along), rtol=1e-9, atol=1e-9)
    moved = [name for name, value in net.buffers.items() if not torch.equal(value, before[name])]
    assert bool(moved) == (moving and bool(before))
    # Another direction, and the other way round: u·(J v) = (Jᵀu)·v.
    along, weights = direction(net), torch.randn(4, 3, dtype=torch.float64)
    gradient = recorded.gradient(weights)
    there = (weights * recorded.derivative(along)).sum()
    back = sum((gradient[name] * along[name]).sum() for name in along)
    torch.testing.assert_close(there, back)


def test_dropped_units_stay_dropped():
    net = Net(MLP(16, 2, dropout=0.5).build((1, 8, 8), 3).double())
    for layer in net.module.modules():
        if hasattr(layer, "uniform"):
            layer.uniform = torch.rand(4, 16)
    x, along = torch.rand(4, 1, 8, 8, dtype=torch.float64), direction(net)
    torch.testing.assert_close(net.recorded(x).derivative(along), by_pytorch(net, x, along))


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("spec", [MLP(8, 2), CNN(), ResNet32(), WideResNet(10, 1)])
def test_a_stack_has_the_derivatives_of_its_members(spec, together):
    torch.manual_seed(0)
    modules = [spec.build((1, 8, 8), 3).double() for _ in range(2)]
    skeleton = Skeleton(modules[0])
    nets = [Net(module) for module in modules]
    x = torch.rand(2, 4, 1, 8, 8, dtype=torch.float64)
    along = [direction(net) for net in nets]
    expected = [by_pytorch(net, *given) for net, *given in zip(nets, x, along, strict=True)]
    for layer in modules[0].modules():
        if hasattr(layer, "side_by_side"):
            layer.side_by_side = together

    def stack(of):
        return {name: torch.stack([own[name].detach() for own in of]) for name in of[0]}

    def member(parameters, buffers, x, along):
        return StackedNet(modules[0], parameters, buffers, skeleton).recorded(x).derivative(along)

    parameters, buffers = stack([net.parameters for net in nets]), stack([net.buffers for net in nets])
    found = vmap(member)(parameters, buffers, x, stack(along))
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-8, atol=1e-8)


def test_members_that_share_their_weights_are_not_taken_together():
    """Another vmap than a stack's: over pictures, say, or over weights alone."""
    module = MLP(8, 2).build((1, 8, 8), 3)
    for layer in module.modules():
        if hasattr(layer, "side_by_side"):
            layer.side_by_side = True
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
    layer = modules[0].output
    layer.side_by_side = True
    weights = torch.stack([module.output.weight.detach() for module in modules])
    x = torch.rand(3, 4, 8, dtype=torch.float64)

    def by_scale(weight, x):
        def total(scale):
            return (scale * torch.func.functional_call(layer, {"weight": weight}, (x,))).sum()

        return torch.func.grad(total)(torch.ones((), dtype=torch.float64))

    expected = torch.stack([F.linear(*own, layer.bias).sum() for own in zip(x, weights, strict=True)])
    torch.testing.assert_close(vmap(by_scale)(weights, x), expected)


class Odd(nn.Module):
    """Functions that have no rule of their own, each with what depends on the weights in another place."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        hidden = self.first(x)
        assert hidden.shape == (len(x), 4) and hidden.ndim == 2
        both = torch.cat([hidden.tanh(), hidden * hidden], dim=1) + 1
        joined = F.pad(both[:, ::2], (0, 0, 0, 0), value=2.0).mul(self.second.bias.sum())
        return self.second(joined + x.sum(dim=1, keepdim=True) + (hidden > 0)), hidden


def test_functions_without_a_rule_are_left_to_pytorch():
    net = Net(Odd().double())
    x, along = torch.rand(6, 5, dtype=torch.float64), direction(net)
    torch.testing.assert_close(net.recorded(x).derivative(along), by_pytorch(net, x, along))


def test_functions_that_work_in_place_are_refused_with_a_remedy():
    class InPlace(Odd):
        def forward(self, x):
            hidden = self.first(x).tanh_()
            return self.second(hidden), hidden

    with pytest.raises(LnlibError, match=r"must not call tanh_, got it .*; use tanh"):
        Net(InPlace()).recorded(torch.rand(2, 5))


def test_two_threads_differentiate_at_once():
    nets = [Net(Odd().double()) for _ in range(2)]
    x, along = torch.rand(6, 5, dtype=torch.float64), [direction(net) for net in nets]
    expected = [by_pytorch(net, x, own) for net, own in zip(nets, along, strict=True)]

    def often(net, own):
        return [net.recorded(x).derivative(own) for _ in range(50)]

    with ThreadPoolExecutor(2) as pool:
        found = [*pool.map(often, nets, along)]
    for one, all_of_them in zip(expected, found, strict=True):
        for other in all_of_them:
            torch.testing.assert_close(other, one)


def test_what_nobody_needs_is_not_kept():
    from weakref import ref

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Linear(5, 4), nn.BatchNorm1d(4)
            self.seen = None

        def forward(self, x):
            normalised = self.norm(self.layer(x))
            self.seen = ref(normalised)
            return F.relu(normalised), x

    net = Net(Watched())
    recorded = net.recorded(torch.rand(6, 5))
    assert net.module.seen() is None
    assert recorded.derivative(direction(net)).shape == (6, 4)
