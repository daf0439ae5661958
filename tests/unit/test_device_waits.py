"""No step of training reads a tensor on the host, draws from another stream, or meets a tensor elsewhere.

On PyTorch's meta device tensors have no values: to read one raises, and so does meeting one on the CPU.
"""

import pytest
import torch

from lnlib.methods import BackwardCorrection, CrossEntropy, MentorNet
from lnlib.nets import MLP
from lnlib.optimizers import step_except
from lnlib.training import SGD, Adam
from tests.device_tools import NETS, methods, state_on, steps
from tests.gpu import bench

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:FutureWarning")
META = torch.device("meta")


@pytest.mark.parametrize("stacked", [False, True], ids=["alone", "stacked"])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
def test_a_step_never_waits(method, net, stacked, make_digits_task, monkeypatch):
    if stacked and not method.stackable:
        pytest.skip("this method is not stacked")
    # What reads before the first step: the mentor's seed, and whether a matrix has an inverse.
    for kind in (MentorNet, BackwardCorrection):
        monkeypatch.setattr(kind, "start", lambda self, nets, data: None)
    state = state_on(META, method, NETS[net], make_digits_task(0.3, train_size=120, meta_size=30), stacked)
    steps(state)


@pytest.mark.parametrize(
    "fault",
    [
        lambda value: bool(value > 0),
        lambda value: torch.rand(3),
        lambda value: torch.as_tensor(1.0, device="meta"),
        lambda value: value + torch.ones(3),
    ],
    ids=["a host read", "a foreign draw", "a copy", "a tensor elsewhere"],
)
def test_what_would_wait_is_noticed(fault, make_digits_task, monkeypatch):
    loss = CrossEntropy.loss

    def faulty(self, nets, batch):
        value = loss(self, nets, batch)
        fault(value)
        return value

    monkeypatch.setattr(CrossEntropy, "loss", faulty)
    state = state_on(META, CrossEntropy(), NETS["mlp"], make_digits_task(0.3, train_size=120), False)
    with pytest.raises((AssertionError, RuntimeError)):
        steps(state)


@pytest.mark.parametrize("spec", [SGD(0.1), SGD(0.1, nesterov=True), Adam(), Adam(weight_decay=0.1)])
@pytest.mark.parametrize("stacked", [False, True])
def test_a_masked_step_is_a_step_or_none(spec, stacked):
    torch.manual_seed(0)
    shape = (3, 4, 2) if stacked else (4, 2)
    skips = [torch.tensor(row) for row in ([True, False, True], [False, False, True], [False, True, True])]
    weights = torch.rand(shape, dtype=torch.float64)
    masked = weights.clone().requires_grad_()
    optimizer = spec.build([masked], [])
    alone = [weight.clone().requires_grad_() for weight in (weights if stacked else weights[None])]
    optimizers = [spec.build([weight], []) for weight in alone]
    for skipped in skips if stacked else [skip[:1] for skip in skips]:
        masked.grad = torch.rand(shape, dtype=torch.float64)
        step_except(skipped, optimizer)
        for run, (weight, own) in enumerate(zip(alone, optimizers, strict=True)):
            weight.grad = (masked.grad[run] if stacked else masked.grad).clone()
            if not skipped[run]:
                own.step()
    found = masked if stacked else masked[None]
    for run, weight in enumerate(alone):
        if isinstance(spec, SGD):
            torch.testing.assert_close(found[run], weight, rtol=1e-12, atol=1e-12)
        elif skips[0][run]:  # Adam's count of steps goes on, so that only what never moved is the same
            assert bool(torch.equal(found[run], weights[run] if stacked else weights)) == all(
                bool(skip[run]) for skip in (skips if stacked else [s[:1] for s in skips])
            )


def test_the_gpu_benchmark_has_a_row_for_each_method_and_number_of_runs():
    case = bench.CASES[0]._replace(net=MLP(4, 1))
    rows = [*bench.rows(torch.device("cpu"), (case,), steps=1)]
    assert [(row["method"], row["runs"]) for row in rows] == [
        (method.label, together) for method in bench.METHODS for together in bench.TOGETHER
    ]
    assert all(row["images_a_second"] > 0 and row["runs_an_hour"] > 0 for row in rows)
    assert {bench.task_of(case).image_shape for case in bench.CASES} == {(1, 8, 8), (1, 28, 28), (3, 32, 32)}
