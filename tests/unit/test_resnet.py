"""Residual networks: the papers' parameter counts, image sizes, training, and ImageNet's weights."""

from urllib.error import URLError

import pytest
import torch
from torchvision.models import ResNet50_Weights, resnet50

from lnlib import data, noise
from lnlib.data.task import make_task
from lnlib.errors import DataUnavailable, InvalidValue
from lnlib.methods import LIMIT
from lnlib.nets import NETS, ResNet34, ResNet50
from lnlib.training import FlipCrop, fit


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("num_classes", "expected"), [(10, 21_282_122), (100, 21_328_292)])
@pytest.mark.parametrize("role", ["classifier", "predictor"])
def test_resnet34_has_the_parameters_of_the_reference_code(num_classes, expected, role):
    assert count(NETS["resnet34"]().build((3, 32, 32), num_classes, role)) == expected


def test_resnet50_has_torchvisions_parameters_under_a_last_layer_of_its_own():
    ours = count(NETS["resnet50"]().build((3, 224, 224), 14))
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


@pytest.mark.parametrize("spec", [ResNet34(), ResNet50()])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 20), (1, 64, 64)])
def test_residual_networks_take_images_of_every_size(spec, shape):
    assert spec.note(shape) == ""
    with torch.no_grad():
        logits, features = spec.build(shape, 7).eval()(torch.rand(2, *shape))
    assert logits.shape == (2, 7) and features.shape == (2, 512 if isinstance(spec, ResNet34) else 2048)


def test_resnet34_trains_with_limit_and_augmentation():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(20) % 2
    grain = torch.randint(80, (20, 3, 8, 8), generator=generator)
    images = (labels[:, None, None, None] * 120 + grain).byte()
    dataset = data.Dataset("two", images, labels, images, labels, ("dark", "light"), (0.4,) * 3, (0.3,) * 3)
    task = make_task(dataset, noise.uniform(0.0, 2), validation=4)
    run = fit(LIMIT(beta=1.0), task, net=ResNet34(), batch_size=8, epochs=3, augment=FlipCrop(1))
    losses = [epoch.loss for epoch in run]
    assert losses[-1] < losses[0]
    assert run.networks["classifier"].body.bn1.num_batches_tracked == 3 * 2


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
