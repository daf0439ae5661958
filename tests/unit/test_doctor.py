"""The doctor: each check on a sound environment, and what it says of a broken one."""

import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from typer.testing import CliRunner, Result

from lnlib import data, doctor
from lnlib.cli.app import app
from lnlib.doctor import PARTS, Check, checks, find_browser


def check(name: str) -> Check:
    part, _ = PARTS[name]
    return part(name)


def test_every_part_is_checked_and_this_environment_can_run_the_course() -> None:
    done = list(checks())
    assert [one.name for one in done] == list(PARTS)
    assert [one for one in done if one.status == "FAIL"] == []


@pytest.mark.parametrize(
    ("ok", "required", "status"),
    [(True, True, "OK"), (True, False, "OK"), (False, True, "FAIL"), (False, False, "--")],
)
def test_only_required_parts_fail(ok: bool, required: bool, status: str) -> None:
    assert Check("part", ok, "", required=required).status == status


def test_a_missing_widget_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "anywidget" else find(name))
    found = check("widgets")
    assert found.status == "FAIL"
    assert found.detail == f"anywidget not found by {sys.executable}"
    assert 'pip install -c constraints.txt -e ".[lab]"' in found.remedy


def test_the_ipykernel_that_breaks_widgets_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "7.0.0" if name == "ipykernel" else "9.9")
    found = check("widgets")
    assert found.status == "FAIL"
    assert "ipykernel 7.0.0" in found.detail and "ipykernel!=7.0.0" in found.remedy


def test_a_torch_that_is_too_old_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.9.1"))
    found = check("torch")
    assert found.status == "FAIL" and found.detail == "2.9.1" and "2.11 or newer" in found.remedy


def test_a_torchvision_of_another_torch_fails_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*boxes: object) -> None:
        raise RuntimeError("operator torchvision::nms\ndoes not exist")

    monkeypatch.setattr("torchvision.ops.nms", broken)
    found = next(one for one in checks() if one.name == "torchvision")
    assert found.status == "FAIL"
    assert found.detail == "RuntimeError: operator torchvision::nms does not exist"
    assert "pip uninstall torch torchvision" in found.remedy


def test_a_package_that_is_not_installed_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    found = next(one for one in checks() if one.name == "torchvision")
    assert found.status == "FAIL" and found.detail.startswith("ModuleNotFoundError")


def test_cuda_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check("CUDA") == Check("CUDA", True, "no CUDA device, the CPU is used")


def test_gpus_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    assert check("CUDA").detail == "GPU 0, GPU 1"


@pytest.mark.parametrize(
    ("command", "status"),
    [("python", "OK"), ("python3", "OK"), (sys.executable, "OK"), ("/elsewhere/bin/python", "FAIL")],
)
def test_notebooks_must_run_with_the_python_that_has_the_widgets(
    monkeypatch: pytest.MonkeyPatch, command: str, status: str
) -> None:
    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", lambda self, name: KernelSpec(argv=[command]))
    found = check("kernel")
    assert found.status == status
    assert "ipykernel install" in found.remedy


def test_a_missing_browser_is_told_and_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_browser", lambda: None)
    found = check("browser")
    assert found.status == "--" and "install Chrome or Chromium" in found.remedy


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_chosen_browser_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen = executable(tmp_path / "browser")
    monkeypatch.setenv("BROWSER_PATH", str(chosen))
    assert find_browser() == str(chosen)
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "missing"))
    assert find_browser() is None


def test_playwrights_own_browser_comes_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    own = executable(tmp_path / "chromium-1234/chrome-linux/chrome")
    finder = "choreographer.browsers.chromium.Chromium.find_browser"
    monkeypatch.setattr(finder, lambda skip_local: None)
    assert find_browser() == str(own)
    monkeypatch.setattr(finder, lambda skip_local: "/usr/bin/chromium")
    assert find_browser() == "/usr/bin/chromium"


def test_mnist_may_be_absent_and_the_remedy_fetches_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LNLIB_DATA", str(tmp_path))
    found = check("mnist")
    assert found.status == "--" and found.remedy == "lnlib data fetch mnist"


def test_the_data_folder_may_be_made_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LNLIB_DATA", str(tmp_path / "not/yet"))
    assert check("data folder").status == "OK"
    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_that_cannot_be_written_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LNLIB_DATA", str(blocked / "data"))
    found = check("data folder")
    assert found.status == "FAIL" and "LNLIB_DATA" in found.remedy


def test_a_data_set_that_does_not_load_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError("no such file")

    monkeypatch.setattr(data, "load", broken)
    found = next(one for one in checks() if one.name == "digits")
    assert found.status == "FAIL" and found.detail == "OSError: no such file"


def test_a_device_that_is_not_there_fails_the_training_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LNLIB_DEVICE", "cuda:99")
    found = next(one for one in checks() if one.name == "training")
    assert found.status == "FAIL"
    assert "got 'cuda:99'" in found.detail and found.remedy == "set LNLIB_DEVICE=cpu"


# The command.


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def sick(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [
        Check("Python", True, "3.11"),
        Check("widgets", False, "plotly not found", "install it"),
        Check("browser", False, "none", "get one", required=False),
    ]
    monkeypatch.setattr(doctor, "checks", lambda: iter(parts))


@pytest.mark.usefixtures("sick")
def test_doctor_says_what_failed_with_the_remedy_and_ends_with_1() -> None:
    result = invoke("doctor")
    assert result.exit_code == 1
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["[OK]", "Python", "3.11"],
        ["[FAIL]", "widgets", "plotly", "not", "found"],
        ["install", "it"],
        ["[--]", "browser", "none"],
        ["get", "one"],
        ["The", "course", "needs:", "widgets."],
    ]


@pytest.mark.usefixtures("sick")
def test_doctor_as_json() -> None:
    result = invoke("doctor", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["ok"] is False
    assert [check["status"] for check in report["checks"]] == ["OK", "FAIL", "--"]
    assert report["checks"][1]["remedy"] == "install it"


def test_doctor_passes_without_what_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "checks", lambda: iter([Check("browser", False, "none", "get one", required=False)])
    )
    assert invoke("doctor").exit_code == 0
