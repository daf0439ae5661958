"""The three lists of dependencies agree, the Makefile's targets exist, and the library needs no Jupyter."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import lnlib

ROOT = Path(lnlib.__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "python-build": "build",
    "ray-core": "ray",
    "python-kaleido": "kaleido",
    "playwright-python": "playwright",
}
ONLY_CONDA = {"python", "pip"}
IMPORT_NAMES = {"PIL": "pillow", "sklearn": "scikit-learn"}
COMES_WITH = {
    "IPython": "ipykernel",
    "traitlets": "ipywidgets",
    "choreographer": "kaleido",
    "jupyter_client": "ipykernel",
}


def pyproject(*extras: str) -> dict[str, SpecifierSet]:
    """The dependencies, with those of the extras: all unless some are named."""
    optional = PROJECT["optional-dependencies"]
    lists = [PROJECT["dependencies"], *(optional[extra] for extra in extras or optional)]
    requirements = [Requirement(line) for lines in lists for line in lines]
    return {canonicalize_name(one.name): one.specifier for one in requirements if one.name != "lnlib"}


def conda_lines(name: str = "environment.yml") -> list[str]:
    lines = yaml.safe_load((ROOT / name).read_text())["dependencies"]
    by_pip = [line for part in lines if isinstance(part, dict) for line in part["pip"]]
    return [line for line in [*lines, *by_pip] if isinstance(line, str) and line != "-e ."]


def conda() -> dict[str, SpecifierSet]:
    requirements = map(Requirement, conda_lines())
    return {CONDA_NAMES.get(one.name, one.name): one.specifier for one in requirements}


def constraint_lines() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def constraints() -> dict[str, Version]:
    pins = {}
    for one in map(Requirement, constraint_lines()):
        (pin,) = one.specifier
        pins[canonicalize_name(one.name)] = Version(pin.version)
    return pins


def test_constraints_pin_every_direct_dependency_to_a_version_it_allows() -> None:
    pins = constraints()
    wrong = [name for name, bound in pyproject().items() if name not in pins or pins[name] not in bound]
    assert wrong == []


def test_constraints_are_exact_and_hold_no_addresses_or_paths() -> None:
    for line in constraint_lines():
        requirement = Requirement(line)
        assert requirement.url is None and [pin.operator for pin in requirement.specifier] == ["=="], line


def test_every_python_that_the_project_admits_can_install_the_constraints() -> None:
    # One pin that Debian's Python 3.11.2 may not have sends pip through versions of all others for an hour.
    pins, (oldest,) = constraints(), SpecifierSet(PROJECT["requires-python"])
    wrong = {
        found.name: found.metadata.get("Requires-Python", "")
        for found in distributions()
        if str(pins.get(canonicalize_name(found.name))) == found.version
        and f"{oldest.version}.0" not in SpecifierSet(found.metadata.get("Requires-Python", ""))
    }
    assert wrong == {}


def test_the_environment_that_runs_the_tests_has_the_constrained_torch() -> None:
    import torch
    import torchvision

    pins = constraints()
    for module in (torch, torchvision):
        assert Version(module.__version__).public == str(pins[module.__name__])


def imported_packages() -> set[str]:
    """The top-level names that lnlib imports from outside itself and the standard library."""
    names = set()
    for path in (ROOT / "lnlib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"lnlib"}


def test_pyproject_names_everything_that_lnlib_imports() -> None:
    needed = {(IMPORT_NAMES | COMES_WITH).get(name, name) for name in imported_packages()}
    assert needed - set(pyproject()) == set()


def test_environment_has_the_dependencies_and_bounds_of_pyproject() -> None:
    wanted = pyproject()
    found = conda()
    assert {name: found[name] for name in found if name not in ONLY_CONDA} == wanted
    assert found["python"] == SpecifierSet(PROJECT["requires-python"])


def test_environment_has_one_channel_and_installs_lnlib() -> None:
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert content["channels"] == ["conda-forge"]
    assert content["dependencies"][-1]["pip"][-1] == "-e ."


def test_binder_gets_the_course_without_test_tools_and_without_cuda_as_repo2docker_reads_it() -> None:
    content = yaml.safe_load((ROOT / "binder/environment.yml").read_text())
    assert {*content} == {"channels", "dependencies"} and content["channels"] == ["conda-forge"]
    (python,) = [line for line in conda_lines("binder/environment.yml") if line.startswith("python=")]
    assert Version(python.removeprefix("python=")) in SpecifierSet(PROJECT["requires-python"])
    names = [line for line in content["dependencies"] if line != python]
    assert all(isinstance(name, str) for name in names), (
        "a local package here is installed before it is there"
    )
    requirements = {CONDA_NAMES.get(one.name, one.name): one.specifier for one in map(Requirement, names)}
    assert requirements == pyproject("kernel", "lab") | {"pip": SpecifierSet()}
    assert "pytorch-cpu>=2.11" in names and not [name for name in names if "cuda" in name]
    script = ROOT / "binder/postBuild"
    assert os.access(script, os.X_OK) and script.read_text().startswith("#!/bin/bash\n")
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("line", [line for line in conda_lines() if Requirement(line).specifier])
def test_each_pin_of_the_environment_has_its_reason_beside_it(line: str) -> None:
    (written,) = [row for row in (ROOT / "environment.yml").read_text().splitlines() if f"- {line} " in row]
    assert len(written.partition("#")[2].split()) >= 3


def test_ipykernel_that_breaks_widgets_is_excluded() -> None:
    assert Version("7.0.0") not in pyproject()["ipykernel"]


def dry_run(target: str, tmp_path: Path) -> str:
    """What `make` would do in a fresh clone."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    command = ["make", "--no-print-directory", "-n", target]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    ("target", "commands"),
    [
        ("site", ["-m venv .venv", 'install -c constraints.txt -e ".[site]"', "-m website"]),
        ("lab", ["-m venv .venv", 'install -c constraints.txt -e ".[lab]"', ".venv/bin/lnlib lab"]),
        (
            "test",
            [
                "-m venv .venv",
                'install -c constraints.txt -e ".[dev]"',
                "ruff check .",
                "ruff format --check .",
                "mypy",
                "scripts/ensure_browser.py",
                "tests/unit",
                "ATEN_CPU_CAPABILITY=default .venv/bin/pytest -n 2 -m rounding tests/unit",
                "--nbval-lax",
                "tests/browser",
            ],
        ),
    ],
)
def test_make_in_a_fresh_clone_installs_and_then_runs(
    target: str, commands: list[str], tmp_path: Path
) -> None:
    output = dry_run(target, tmp_path)
    positions = [output.find(command) for command in commands]
    assert -1 not in positions and positions == sorted(positions)


def test_make_installs_nothing_twice_and_counts_the_test_environment_as_the_labs(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/pip").write_text('#!/bin/sh\necho "$@" >> pip.log\n')
    (tmp_path / ".venv/bin/lnlib").write_text("#!/bin/sh\n")
    for program in (tmp_path / ".venv/bin").iterdir():
        program.chmod(0o755)
    make = ["make", "--no-print-directory"]
    subprocess.run([*make, ".venv/.dev-installed"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([*make, "lab"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "pip.log").read_text() == "install -c constraints.txt -e .[dev]\n"
    later = (tmp_path / ".venv/.dev-installed").stat().st_mtime + 10
    os.utime(tmp_path / "constraints.txt", (later, later))
    subprocess.run([*make, "lab"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "pip.log").read_text().splitlines()[1:] == ["install -c constraints.txt -e .[lab]"]


def test_make_names_the_python_that_is_too_old(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "old-python"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 9, 6); $2"\n')
    old.chmod(0o755)
    command = ["make", "lab", f"PYTHON={old}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "lnlib needs Python 3.11 or newer, got 3.9" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_every_make_target_of_the_help_is_listed_with_its_sentence() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    targets = [line.split()[1] for line in done.stdout.splitlines()]
    assert targets == [
        "help",
        "lab",
        "check",
        "test",
        "notebooks",
        "site",
        "bench",
        "gpu",
        "figures",
        "clean",
    ]


def test_the_ci_script_can_be_run() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_the_library_and_training_need_neither_jupyter_nor_plotly() -> None:
    script = """
import sys
for name in ("plotly", "ipywidgets", "anywidget", "IPython", "jupyterlab", "ipykernel", "kaleido"):
    sys.modules[name] = None
import lnlib, lnlib.training, lnlib.methods, lnlib.analysis, lnlib.papers.store
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_module_imports_with_numpys_next_kind_of_alias() -> None:
    """From 2.5 on, which needs Python 3.12, `NDArray` is no class to jaxtyping."""
    script = """
import pkgutil
from importlib import import_module
from typing import Any, TypeVar
import numpy as np, numpy.typing
from typing_extensions import TypeAliasType
T = TypeVar("T", bound=np.generic)
numpy.typing.NDArray = TypeAliasType("NDArray", np.ndarray[tuple[Any, ...], np.dtype[T]], type_params=(T,))
import lnlib
for module in pkgutil.walk_packages(lnlib.__path__, "lnlib."):
    if not module.name.endswith("__main__"):
        import_module(module.name)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_first_lab_waits_for_neither_pytorch_nor_scikit_learn() -> None:
    script = """
import sys
from lnlib.course.labs import FanoLab
FanoLab()
heavy = {"torch", "sklearn", "nbformat"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


ROOMS = [
    "errors",
    "checks",
    "files",
    "seeding",
    "bounds",
    "noise",
    "device",
    "data",
    "optimizers",
    "nets",
    "methods",
]
"""The library from left to right; training and analysis come last and know each other."""
RINGS = {"papers": 2, "course": 1}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports_at_the_top(path: Path) -> list[str]:
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module == "lnlib":
            found += [f"lnlib.{name.name}" for name in node.names if not name.name.startswith("_")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lnlib."):
            found.append(node.module or "")
    return found


def test_imports_point_inwards_and_to_the_left() -> None:
    package = ROOT / "lnlib"
    wrong = []
    for path in package.rglob("*.py"):
        own = path.relative_to(package).with_suffix("").parts[0]
        if own in ("cli", "doctor"):
            continue
        for module in imports_at_the_top(path):
            other = room(module)
            outwards = RINGS.get(other, 0) > RINGS.get(own, 0) and module != "lnlib.papers.printed"
            right = own in ROOMS and other in ROOMS and ROOMS.index(other) > ROOMS.index(own)
            late = own in ROOMS and other in ("training", "analysis")
            if outwards or right or late:
                wrong.append(f"{path.relative_to(package)} imports {module}")
    assert wrong == []
