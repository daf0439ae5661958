"""Networks: parameter counts of the papers, dropout, and evaluation at other weights."""

import pytest
import torch

from lnlib.errors import InvalidValue
from lnlib.nets import CNN, MLP, Dropout, Net
from lnlib.nets.layers import BatchNorm1d


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("spec", "role", "expected"),
    [
        (MLP(512, 4), "classifier", 1_199_114),
        (MLP(512, 4, batch_norm=False), "classifier", 1_199_114 - 4 * 2 * 512),
        (CNN(), "classifier", 218_122),
        (CNN(), "predictor", 218_378),
    ],
)
def test_parameter_counts_are_those_of_the_reference_code(spec, role, expected):
    assert count(spec.build((1, 28, 28), 10, role)) == expected


@pytest.mark.parametrize("spec", [MLP(16, 2), MLP(16, 2, dropout=0.5), CNN()])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28)])
def test_classifiers_return_logits_and_features(spec, shape):
    logits, features = spec.build(shape, 7)(torch.rand(5, *shape))
    assert logits.shape == (5, 7)
    assert features.shape == (5, 128 if isinstance(spec, CNN) else 16)


def test_the_cnn_says_that_it_resizes():
    assert CNN().note((1, 8, 8)) == "the CNN resizes 8×8 images to 28×28"
    assert CNN().note((1, 28, 28)) == ""


def test_dropout_uses_the_numbers_it_is_given_and_does_nothing_in_eval_mode():
    layer = Dropout(0.25, 3)
    layer.uniform = torch.tensor([[0.1, 0.3, 0.25]])
    torch.testing.assert_close(layer(torch.ones(1, 3)), torch.tensor([[0.0, 4 / 3, 4 / 3]]))
    assert torch.equal(layer.eval()(torch.ones(1, 3)), torch.ones(1, 3))
    free = Dropout(0.25, 1000)(torch.ones(100, 1000))
    assert (free == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_batch_norm_evaluates_as_pytorch_does():
    own, reference = BatchNorm1d(5), torch.nn.BatchNorm1d(5)
    with torch.no_grad():
        own.weight.uniform_(0.5, 2)
        own.bias.normal_()
    for _ in range(3):
        own(torch.randn(20, 5) * 3 + 1)
    reference.load_state_dict(own.state_dict())
    x = torch.randn(7, 5)
    torch.testing.assert_close(own.eval()(x), reference.eval()(x))
    assert torch.equal(own.train()(x), reference.train()(x))


def test_evaluating_at_other_weights_leaves_weights_and_running_statistics_alone():
    module = CNN().build((1, 28, 28), 10)
    net, x = Net(module), torch.rand(4, 1, 28, 28)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    doubled = {key: value * 2 for key, value in net.parameters.items()}
    logits, _ = net.at(doubled, x)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    same, _ = net.at(net.parameters, x)
    torch.testing.assert_close(same, module.train()(x)[0])
    assert not torch.allclose(logits, same)
    assert module.state_dict()["convolutions.1.num_batches_tracked"] == 1


def test_bad_sizes_and_names_are_refused():
    with pytest.raises(InvalidValue, match="width must be at least 1, got 0; try width=64"):
        MLP(0)
    with pytest.raises(InvalidValue, match=r"dropout must lie in \[0, 1\), got 1"):
        MLP(dropout=1.0)
