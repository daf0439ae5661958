"""The device rule, with the machine's GPUs played by hand."""

import pytest
import torch

from lnlib.device import default_device, describe, setting_line
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


def test_the_line_of_every_notebook_names_device_data_and_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setenv("LNLIB_DEVICE", "cpu")
    assert setting_line("digits", "60 epochs") == "device: CPU, 2 threads · data: digits · budget: 60 epochs"
