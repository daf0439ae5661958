"""Residual networks: the papers' parameter counts, image sizes, training, and ImageNet's weights."""

from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import ResNet50_Weights, resnet50

from lnlib import data, noise
from lnlib.catalog import NETS
from lnlib.data.task import make_task
from lnlib.errors import DataUnavailable, InvalidValue
from lnlib.methods import LIMIT, CrossEntropy
from lnlib.nets import ResNet32, ResNet34, ResNet50, WideResNet
from lnlib.training import SGD, FlipCrop, Member, Run, fit, sweep


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("num_classes", "expected"), [(10, 21_282_122), (100, 21_328_292)])
@pytest.mark.parametrize("role", ["classifier", "predictor"])
def test_resnet34_has_the_parameters_of_the_reference_code(num_classes, expected, role):
    assert count(NETS["resnet34"].load()().build((3, 32, 32), num_classes, role)) == expected


@pytest.mark.parametrize(
    ("name", "num_classes", "expected"),
    [
        ("resnet32", 10, 464_154),
        ("resnet32", 100, 470_004),
        ("wrn-28-10", 10, 36_479_194),
        ("wrn-28-10", 100, 36_536_884),
    ],
)
def test_metainfonets_networks_have_the_parameters_of_their_usual_code(name, num_classes, expected):
    with torch.device("meta"):
        assert count(NETS[name].load()().build((3, 32, 32), num_classes)) == expected


def test_resnet50_has_torchvisions_parameters_under_a_last_layer_of_its_own():
    ours = count(NETS["resnet50"].load()().build((3, 224, 224), 14))
    assert ours == count(resnet50()) - 1000 * 2049 + 14 * 2049


def test_resnet34_halves_a_cifar_image_three_times():
    net = ResNet34().build((3, 32, 32), 10).eval()
    sizes = {}
    for name in ("conv1", "layer1", "layer2", "layer3", "layer4"):
        layer = net.body.get_submodule(name)
        layer.register_forward_hook(lambda _, x, y, name=name: sizes.update({name: tuple(y.shape[1:])}))
    with torch.no_grad():
        logits, features = net(torch.rand(2, 3, 32, 32))
    assert sizes == {
        "conv1": (64, 32, 32),
        "layer1": (64, 32, 32),
        "layer2": (128, 16, 16),
        "layer3": (256, 8, 8),
        "layer4": (512, 4, 4),
    }
    assert logits.shape == (2, 10) and features.shape == (2, 512)
    torch.testing.assert_close(logits, net.output(features))


@pytest.mark.parametrize(
    ("spec", "width"), [(ResNet34(), 512), (ResNet50(), 2048), (ResNet32(), 64), (WideResNet(10, 2), 128)]
)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 28, 20), (1, 64, 64)])
def test_residual_networks_take_images_of_every_size(spec, width, shape):
    assert spec.note(shape) == ""
    with torch.no_grad():
        logits, features = spec.build(shape, 7).eval()(torch.rand(2, *shape))
    assert logits.shape == (2, 7) and features.shape == (2, width)


@pytest.mark.parametrize(("spec", "blocks"), [(ResNet32(), 5), (WideResNet(28, 1), 4)])
def test_three_stages_halve_a_cifar_image_twice(spec, blocks):
    net = spec.build((3, 32, 32), 10).eval()
    sizes = []
    for block in net.blocks:
        block.register_forward_hook(lambda _, x, y: sizes.append(tuple(y.shape[1:])))
    with torch.no_grad():
        logits, features = net(torch.rand(2, 3, 32, 32))
    assert sizes == [(16, 32, 32)] * blocks + [(32, 16, 16)] * blocks + [(64, 8, 8)] * blocks
    torch.testing.assert_close(logits, net.output(features))


def test_resnet32s_shortcut_takes_every_second_pixel_and_pads_the_channels_on_both_sides():
    block = ResNet32().build((3, 32, 32), 10).eval().blocks[5]
    torch.nn.init.zeros_(block.second.weight)  # what is left is the shortcut
    x = torch.rand(2, 16, 7, 6)
    with torch.no_grad():
        out = block(x)
    assert out.shape == (2, 32, 4, 3)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2]) and not out[:, :8].any() and not out[:, 24:].any()


def test_a_wide_block_normalises_before_it_convolves():
    net = WideResNet(10, 2).build((1, 8, 8), 3).double()
    first, x = net.blocks[0], torch.rand(4, 16, 5, 5, dtype=torch.float64)
    active = F.relu(F.batch_norm(x, None, None, training=True))
    inner = F.relu(F.batch_norm(F.conv2d(active, first.first.weight, padding=1), None, None, training=True))
    expected = F.conv2d(inner, first.second.weight, padding=1) + F.conv2d(active, first.shortcut.weight)
    torch.testing.assert_close(first(x), expected)
    assert [block.first.stride[0] for block in net.blocks] == [1, 2, 2]
    assert WideResNet(16, 1).build((1, 8, 8), 3).blocks[1].shortcut is None


def test_resnet34_begins_from_pytorchs_own_initial_weights_as_in_the_reference_code():
    net = ResNet34().build((3, 32, 32), 10)
    kernels = [layer.weight for layer in net.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert len(kernels) == 36
    for weight in [*kernels, net.output.weight]:
        # Uniform within ±1/√inputs, whose deviation is 1/√(3·inputs); .45/√n of it is its standard error.
        inputs, n = weight[0].numel(), weight.numel()
        assert weight.std().item() == pytest.approx((3 * inputs) ** -0.5, rel=5 * 0.45 / n**0.5)
        assert 0.97 < weight.abs().max().item() * inputs**0.5 < 1 + 1e-6


def test_initial_weights_are_those_of_the_usual_codes():
    small, wide = ResNet32().build((3, 32, 32), 10), WideResNet(10, 4).build((3, 32, 32), 10)
    # √(2 / (k² inputs)) and √(2 / (k² outputs)): the blocks that widen tell them apart.
    assert small.blocks[10].first.weight.std().item() == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.03)
    assert small.output.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.12)
    assert wide.blocks[1].first.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.03)
    assert wide.blocks[1].shortcut.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    assert not wide.output.bias.any()


@pytest.mark.parametrize(("depth", "width", "message"), [(27, 10, "depth must be 6n"), (28, 0, "width must")])
def test_wide_networks_that_cannot_be_are_refused(depth, width, message):
    with pytest.raises(InvalidValue, match=message):
        WideResNet(depth, width)


def two_classes(shape: tuple[int, int, int], count: int = 20) -> data.Dataset:
    """Dark and light pictures."""
    labels = torch.arange(count) % 2
    grain = torch.randint(80, (count, *shape), generator=torch.Generator().manual_seed(0))
    images = (labels[:, None, None, None] * 120 + grain).byte()
    scale = (0.4,) * shape[0], (0.3,) * shape[0]
    return data.Dataset("two", images, labels, images, labels, ("dark", "light"), *scale)


def test_wrn_28_10_takes_a_training_step():
    task = make_task(two_classes((3, 8, 8), 8), noise.uniform(0.0, 2), validation=4)
    settings = {"optimizer": SGD(), "batch_size": 4, "epochs": 1, "augment": FlipCrop(2, "reflect")}
    run = Run(CrossEntropy(), task, net=NETS["wrn-28-10"].load()(), **settings)
    net = run.nets["classifier"].module
    before = net.blocks[0].first.weight.detach().clone()
    (epoch,) = run
    assert net.norm.num_batches_tracked == 1 and epoch.loss == pytest.approx(0.7, abs=0.4)
    assert not torch.equal(before, net.blocks[0].first.weight)


@pytest.mark.parametrize("spec", [ResNet32(), WideResNet(10, 1)])
def test_stacked_runs_equal_their_solo_runs(spec):
    task = make_task(two_classes((1, 8, 8)), noise.uniform(0.0, 2), validation=4)
    members = [Member(CrossEntropy(), task, seed) for seed in (0, 1)]
    settings = {"net": spec, "optimizer": SGD(), "batch_size": 8, "epochs": 2, "precision": "float64"}
    losses = {}
    for mode in ("stacked", "solo"):
        runs = sweep(members, mode=mode, **settings)
        losses[mode] = [epoch.loss for run in runs for epoch in run.records]
    assert losses["stacked"] == pytest.approx(losses["solo"], rel=1e-8)


def test_resnet34_trains_with_limit_and_augmentation():
    dataset = two_classes((3, 8, 8))
    task = make_task(dataset, noise.uniform(0.0, 2), validation=4)
    run = fit(LIMIT(beta=1.0), task, net=ResNet34(), batch_size=8, epochs=3, augment=FlipCrop(1))
    losses = [epoch.loss for epoch in run.records]
    assert losses[-1] < losses[0]
    assert run.nets["classifier"].module.body.bn1.num_batches_tracked == 3 * 2


def test_imagenet_weights_come_through_torchvision_under_a_new_last_layer(monkeypatch):
    published = resnet50().state_dict()
    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", lambda self, **_: published)
    net = ResNet50("imagenet").build((3, 64, 64), 14)
    assert torch.equal(net.body.conv1.weight, published["conv1.weight"])
    assert net.output.weight.shape == (14, 2048)
    with pytest.raises(InvalidValue, match="take images of 3 channels, got 1"):
        ResNet50("imagenet").build((1, 64, 64), 14)
    with pytest.raises(InvalidValue, match="weights must be 'none' or 'imagenet', got 'cifar'"):
        ResNet50("cifar")


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("invalid hash value\nno network")])
def test_weights_that_cannot_be_had_say_where_to_put_them(monkeypatch, error):
    def download(self, **_):
        raise error

    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", download)
    with pytest.raises(DataUnavailable, match=r"no network.*resnet50-\w+\.pth into .*checkpoints") as caught:
        ResNet50("imagenet").build((3, 64, 64), 14)
    assert "\n" not in str(caught.value) and "weights='none'" in str(caught.value)
