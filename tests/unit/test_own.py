"""A reader's own networks, data and words: what has an obvious meaning is taken, else one sentence helps."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from lnlib import data, methods, noise
from lnlib.data import from_arrays, from_torch, make_task
from lnlib.errors import LnlibError
from lnlib.methods import LIMIT, CoTeaching, CrossEntropy
from lnlib.nets import MLP
from lnlib.training import Adam, Member, Run, fit, sweep

SETTINGS = {"epochs": 1, "batch_size": 32}


@pytest.fixture
def task(make_digits_task):
    return make_digits_task(0.3, train_size=100, meta_size=30)


def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


class WithFeatures(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 12), nn.Linear(12, 10)

    def forward(self, x):
        features = self.first(x.flatten(1)).relu()
        return self.second(features), features


@pytest.mark.filterwarnings("ignore:`torch.jit.script:FutureWarning")
@pytest.mark.parametrize(
    "net", [small(), small, WithFeatures(), WithFeatures], ids=["module", "function", "features", "class"]
)
@pytest.mark.parametrize("name", ["cross-entropy", "limit", "metainfonet", "d2l", "co-teaching", "mlnt"])
def test_any_module_trains_alone_and_stacked(name, net, task):
    method = name
    start = None
    if name == "mlnt":
        source = fit("cross-entropy", task, net=net, **SETTINGS)
        start = methods.MLNT().begun_from({"cross-entropy": source.weights})
    run = fit(method, task, net=net, start=start, **SETTINGS)
    assert run.logits("test").shape == (len(task.test), 10) and np.isfinite(run.records[-1].loss)
    member = Member(run.method, task, 0, start)
    stacked = sweep([member, member], net=net, mode="stacked", **SETTINGS)
    assert stacked[0].mode == "stacked"
    torch.testing.assert_close(stacked[1].logits("test"), run.logits("test"), rtol=1e-2, atol=1e-2)


def test_a_modules_weights_are_where_the_classifier_begins_and_other_networks_are_fresh(task):
    net = small()
    run = Run(LIMIT(), task, net=net)
    for name, value in net.state_dict().items():
        assert torch.equal(run.weights["classifier"][f"net.{name}"], value)
        if name.endswith("weight"):
            assert not torch.equal(run.weights["predictor"][f"net.{name}"], value)
    first, peer = Run(CoTeaching(), task, net=net).nets.values()
    assert not torch.equal(first.parameters["net.1.weight"], peer.parameters["net.1.weight"])
    made = [Run(CrossEntropy(), task, seed=seed, net=small).weights["classifier"] for seed in (0, 0, 1)]
    assert torch.equal(made[0]["net.1.weight"], made[1]["net.1.weight"])
    assert not torch.equal(made[0]["net.1.weight"], made[2]["net.1.weight"])


def test_a_readers_module_stays_as_it_is(task):
    net = small()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fit(CrossEntropy(), task, net=net, **SETTINGS)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("net", "text"),
    [
        (
            nn.Flatten(),
            r"net must give logits of shape \(batch, 10\) .*, got \(2, 64\) .*nn.Linear",
        ),
        (nn.Linear(3, 10), "net must give logits .*, got RuntimeError: .*; try it on torch.zeros"),
        (lambda: 5, "a function that makes one, got one of 5"),
        (3, "net must be a network, got 3; try MLP"),
        ("mlpp", "unknown network 'mlpp': did you mean 'mlp'"),
    ],
)
def test_what_is_no_network_for_these_images_is_refused(net, text, task):
    with pytest.raises(LnlibError, match=text):
        fit(CrossEntropy(), task, net=net, **SETTINGS)


# Words.


def test_names_classes_and_things_mean_the_same(task):
    settings = SETTINGS | {"net": MLP(8, 1)}
    expected = fit(CrossEntropy(), task, **settings).records[-1].loss
    for asked in ("cross-entropy", "CrossEntropy", "CE", "ce", CrossEntropy):
        assert fit(asked, task, **settings).records[-1].loss == expected
    assert fit("limit", task, net="mlp", optimizer="adam", device="cpu", **SETTINGS).method == LIMIT()
    assert Run("limit", task, optimizer=Adam, net=MLP).settings.net == MLP()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epoch": 3}, "unknown setting 'epoch': did you mean 'epochs'"),
        ({"learning_rate": 3}, r"option of the optimizer; write optimizer=Adam\(lr=3\) or optimizer=SGD"),
        ({"momentum": 0.9}, r"unknown setting 'momentum'.*write optimizer=SGD\(momentum=0.9\)$"),
        ({"beta": 10}, r"it is an option of a method; write .*LIMIT\(beta=10\)"),
        ({"width": 64}, r"it is an option of the net; write net=MLP\(width=64\)"),
        (
            {"optimizer": torch.optim.SGD([torch.zeros(1)], 0.1)},
            "must be lnlib's Adam or SGD, got SGD",
        ),
        ({"optimizer": "adamw"}, "unknown optimizer 'adamw': did you mean 'adam'"),
        ({"augment": True}, "augment must be an augmentation or None, got True"),
        ({"device": "tpu9"}, "device must be one that PyTorch has here, got 'tpu9'"),
        ({"device": 3.5}, "device must be one that PyTorch has here"),
        ({"start": 5}, "start must map a network's name"),
        ({"start": {"classifier": 5}}, "start must map a network's name"),
    ],
)
def test_slips_in_settings_get_one_sentence(options, text, task):
    with pytest.raises(LnlibError, match=text):
        fit(CrossEntropy(), task, **options)


@pytest.mark.parametrize("method", [5, None, "limt", methods.Method, torch.nn.Linear(1, 1)], ids=range(5))
def test_what_is_no_method_is_refused(method, task):
    with pytest.raises(LnlibError, match="method"):
        fit(method, task)


@pytest.mark.parametrize("other", ["digits", None, 5])
def test_what_is_no_task_is_refused(other):
    with pytest.raises(LnlibError, match=r"task must be a task, got .*; make one: make_task\(data.load"):
        fit(CrossEntropy(), other)


@pytest.mark.parametrize("members", [[], None, 5, [5], [CrossEntropy()], "limit"])
def test_what_is_no_list_of_members_is_refused(members):
    with pytest.raises(LnlibError, match=r"a sweep must have at least one member, got .*; pass a list"):
        sweep(members)


# Data.


def pictures(generator, size=60, shape=(6, 6)):
    labels = np.arange(size) % 3
    return (generator.random((size, *shape)) * 50 + 60 * labels.reshape(-1, *[1] * len(shape))).astype(
        np.uint8
    ), labels


def test_a_task_is_made_from_arrays_tensors_and_torch_datasets_in_one_line():
    images, labels = pictures(np.random.default_rng(0))
    grey = from_arrays(images, labels)
    assert grey.image_shape == (1, 6, 6) and grey.class_names == ("0", "1", "2")
    assert len(grey.train_images) == 48 and len(grey.test_images) == 12
    same = from_arrays(torch.from_numpy(images / 255.0), torch.from_numpy(labels))
    assert torch.equal(same.train_images, grey.train_images)
    pairs = TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))
    assert torch.equal(from_torch(pairs).train_images, grey.train_images)
    task = make_task(from_torch(pairs, pairs), noise.uniform(0.3, 3))
    assert len(task.test) == 60
    run = fit("cross-entropy", task, epochs=20, batch_size=16, net=MLP(16, 1))
    assert run.records[-1].train_accuracy > 0.5
    words = from_arrays(images, np.array(["cat", "dog", "bird"])[labels])
    assert words.class_names == ("bird", "cat", "dog")
    for shape in ((6, 6, 3), (3, 6, 6)):
        assert from_arrays(*pictures(np.random.default_rng(0), shape=shape)).image_shape == (3, 6, 6)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda images, labels: (images, labels[:-1]), "labels must be one for each of 60 images"),
        (lambda images, labels: (images.astype(int), labels), "uint8, or floats in .0, 1., got int64"),
        (lambda images, labels: (images.astype(float), labels), r"must lie in \[0, 1\], got .*divide by 255"),
        (lambda images, labels: (images / 255 * np.nan, labels), r"must lie in \[0, 1\], got nan"),
        (lambda images, labels: (images[:, 0, 0], labels), r"images must have the shape .*, got \(60,\)"),
        (lambda images, labels: (images[:0], labels[:0]), "images must have the shape"),
        (lambda images, labels: (images, labels + 0.5), "labels must be whole numbers or words, got float64"),
        (lambda images, labels: (images, labels > 0.5), "labels must be whole numbers or words, got bool"),
        (lambda images, labels: (images, labels * 0), "must have at least 2 classes"),
        (lambda images, labels: (images, labels, images), "a test set needs images and labels"),
        (lambda images, labels: (images, labels, images[:, :2], labels), "of the training images' shape"),
        (lambda images, labels: (images, labels, images, labels + 1), "the test set has the class 3"),
        (lambda images, labels: (images, labels, images, labels * 0), "the test set needs an image of every"),
        (lambda images, labels: (None, None), "images must"),
        (lambda images, labels: (images, None), "labels must"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, text):
    with pytest.raises(LnlibError, match=text):
        from_arrays(*change(*pictures(np.random.default_rng(0))))


@pytest.mark.parametrize("examples", [5, [], [1, 2], [(torch.zeros(2), 1), (torch.zeros(3), 0)], None])
def test_what_is_no_torch_dataset_is_refused(examples):
    with pytest.raises(LnlibError, match=r"pairs \(image, label\)|one shape"):
        data.from_torch(examples)
