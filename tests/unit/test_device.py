"""The device rule, with the machine's GPUs played by hand."""

import os
import subprocess
import sys
import threading

import pytest
import torch

from lnlib.device import default_device, describe, setting_line, with_threads
from lnlib.errors import InvalidValue


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):
    """Sets how many CUDA devices there seem to be, with no override and no Apple GPU."""
    monkeypatch.delenv("LNLIB_DEVICE", raising=False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    def present(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return present


def test_cuda_is_used_when_it_is_there(gpus) -> None:
    gpus(1)
    assert default_device() == torch.device("cuda")


def test_the_cpu_is_used_otherwise(gpus) -> None:
    gpus(0)
    assert default_device() == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "device"),
    [("cpu", "cpu"), (" CPU ", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("", "cuda")],
)
def test_the_environment_variable_overrides(
    gpus, monkeypatch: pytest.MonkeyPatch, name: str, device: str
) -> None:
    gpus(2)
    monkeypatch.setenv("LNLIB_DEVICE", name)
    assert default_device() == torch.device(device)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "meta", "xla", "cpu cuda"])
def test_an_unknown_device_is_named_with_what_is_expected_and_the_remedy(
    gpus, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    gpus(1)
    monkeypatch.setenv("LNLIB_DEVICE", name)
    with pytest.raises(InvalidValue, match=rf"must be 'cpu', 'cuda'.*got '{name}'; unset it"):
        default_device()


@pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:2", 2), ("mps", 1), ("cpu:1", 0)])
def test_a_device_that_is_not_there_is_named_with_those_that_are(
    gpus, monkeypatch: pytest.MonkeyPatch, name: str, count: int
) -> None:
    gpus(count)
    monkeypatch.setenv("LNLIB_DEVICE", name)
    with pytest.raises(InvalidValue, match=rf"of this machine \(cpu.*got '{name}'; choose one"):
        default_device()


@pytest.mark.parametrize(("threads", "text"), [(1, "CPU, 1 thread"), (2, "CPU, 2 threads")])
def test_the_cpu_is_described_with_its_threads(
    monkeypatch: pytest.MonkeyPatch, threads: int, text: str
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert describe(torch.device("cpu")) == text


def test_a_gpu_is_described_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert describe(torch.device("cuda:1")) == "GPU 1"


def test_a_gpus_warning_that_asks_for_nothing_is_not_shown() -> None:
    said = "Attempting to run cuBLAS, but there was no current CUDA context! Attempting to set ..."
    code = f"import warnings, lnlib.device; warnings.warn({said!r}); warnings.warn('Attempting else')"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert "cuBLAS" not in shown and "Attempting else" in shown


def test_the_line_of_every_notebook_names_device_data_and_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setenv("LNLIB_DEVICE", "cpu")
    assert setting_line("digits", "60 epochs") == "device: CPU, 2 threads · data: digits · budget: 60 epochs"


def test_work_has_its_own_number_of_threads_and_leaves_that_of_others() -> None:
    before, seen = torch.get_num_threads(), {}
    torch.set_num_threads(2)
    try:
        running, looked = threading.Event(), threading.Event()

        def work() -> str:
            running.set()
            assert looked.wait(20)
            return f"{torch.get_num_threads()}"

        job = with_threads(1, work)
        thread = threading.Thread(target=lambda: seen.update(work=job(), after=torch.get_num_threads()))
        thread.start()
        assert running.wait(20)
        seen["here"] = torch.get_num_threads()
        looked.set()
        thread.join(20)
        assert seen == {"work": "1", "after": 2, "here": 2}
    finally:
        torch.set_num_threads(before)


INTERRUPTED = """
import os, signal, sys, threading, time

from lnlib import data, noise
from lnlib.data import make_task
from lnlib.methods import CrossEntropy
from lnlib.nets import MLP
from lnlib.training import fit

task = make_task(data.load("digits"), noise.uniform(0.5, 10), train_size=100)
assert "torch._dynamo" not in sys.modules


def interrupt():
    while sys.argv[1] not in sys.modules:
        time.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGINT)


threading.Thread(target=interrupt, daemon=True).start()
try:
    fit(CrossEntropy(), task, net=MLP(8, 1), epochs=1000)
except KeyboardInterrupt:
    print("trained", len(fit(CrossEntropy(), task, net=MLP(8, 1), epochs=2).records))
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("importing", ["torch._dynamo", "sympy.core", "sympy.logic", "sympy.tensor"])
def test_an_interrupt_in_the_first_fit_breaks_no_later_one(importing: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, importing]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "trained 2\n", done.stderr
