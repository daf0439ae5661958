"""Every method takes its steps on a GPU without waiting for it, and learns there alone and stacked."""

import pytest
import torch

from lnlib.nets import MLP
from lnlib.training import Member, fit, sweep
from tests.device_tools import NETS, methods, state_on, steps

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device here"),
    pytest.mark.filterwarnings("ignore"),  # what a driver or a kernel warns of is not ours
]


@pytest.fixture
def syncs_raise():
    """Within, whatever makes the host wait for the device raises."""
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("stacked", [False, True], ids=["alone", "stacked"])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
def test_a_step_never_waits(method, net, stacked, make_digits_task, syncs_raise):
    if stacked and not method.stackable:
        pytest.skip("this method is not stacked")
    task = make_digits_task(0.3, train_size=120, meta_size=30)
    state = state_on(torch.device("cuda"), method, NETS[net], task, stacked)
    steps(state)  # kernels are chosen and memory is taken at the first steps, which may wait
    syncs_raise()
    steps(state, epoch_end=False)  # whose reading of sizes and rows may wait


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
def test_a_stack_has_the_numbers_of_its_runs_and_the_run_learns(method, make_digits_task):
    task = make_digits_task(0.3, train_size=200, meta_size=50)
    settings = {"net": MLP(32, 2), "epochs": 8, "batch_size": 32, "precision": "float64", "device": "cuda"}
    start = None
    if method.warm_start:
        source = fit("cross-entropy", task, **settings)
        start = method.begun_from({"cross-entropy": source.weights})
    alone = fit(method, task, start=start, **settings)
    assert alone.records[-1].loss < alone.records[0].loss or alone.records[-1].test_accuracy > 0.3
    if method.stackable:
        stacked = sweep([Member(method, task, 0, start)] * 2, mode="stacked", **settings)
        torch.testing.assert_close(stacked[0].logits("test"), alone.logits("test"), rtol=1e-4, atol=1e-4)
