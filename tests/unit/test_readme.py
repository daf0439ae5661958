"""Every command and all Python of the README and its pages is run here, or is named with what runs it."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from lnlib import __version__

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("installing", "library", "commands", "kernels_elsewhere")
}
LNLIB = Path(sys.executable).with_name("lnlib")
ENVIRONMENT = os.environ | {"LNLIB_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "LNLIB_RUNS": "runs"}

ELSEWHERE = {
    "python -m build --wheel": "test_wheel.py",
    f'pip install "lnlib-{__version__}-py3-none-any.whl[lab]"': "test_wheel.py; in a browser, tests/browser",
    "lnlib lab --no-browser --port 8899": "tests/browser starts it so, on a free port",
    "ssh -N -L 8899:127.0.0.1:8899 you@server": "a server of yours",
    'python -m ipykernel install --user --name lnlib --display-name "lnlib"': "below, for a folder",
    "make lab": "dry-run below; tests/browser starts the course with what it calls",
    "make test": "dry-run below; it is what runs this test",
    "lnlib lab": "tests/browser",
    'pip install -e ".[lab]"': "`make lab` runs it; below its extra is looked up",
    "conda env create -f environment.yml": "test_packaging.py compares the file; there is no conda here",
    "conda activate lnlib": "test_packaging.py checks the name",
    "python3 -m venv .venv": "`make lab` runs it",
    "lnlib data fetch mnist": "test_data.py runs it without network and with a mirror",
    "lnlib reproduce limit-table1 --dry-run": "test_many_machines.py, for two rows",
    "lnlib reproduce limit-table1 --workers 2": "test_many_machines.py, for a short table",
    "lnlib reproduce limit-table1 --ray auto": "test_many_machines.py and test_ray.py",
    "lnlib figures limit-fig1 --dataset mnist --budget full": "hours; quick below, figures/ holds it",
    "lnlib reproduce limit-table1 --dataset mnist --budget cores": "hours; digits above, figures/ holds it",
}


def commands() -> list[str]:
    """The indented lines of all pages, without comments and what a lesson prints, each once."""
    text = re.sub(r"```.*?```", "", "\n".join([README, *PAGES.values()]), flags=re.S)
    lines = re.findall(r"^    (\S.*)$", text, flags=re.M)
    found = [re.sub(r"\s+# .*", "", line) for line in lines if not line.startswith("device: ")]
    return [*dict.fromkeys(found)]


def make_pictures(tmp_path):
    """The reader's own pictures, where the README has them."""
    for position, name in enumerate(("cats", "dogs")):
        folder = tmp_path / "path" / "to" / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(30):
            Image.new("L", (20, 20), 60 + 120 * position + number).save(folder / f"{number}.png")
    table = tmp_path / "path" / "to" / "labels.csv"
    rows = [f"{path.relative_to(table.parent)},{path.parent.name}" for path in tmp_path.rglob("*.png")]
    table.write_text("\n".join(["path,label", *rows]))


@pytest.mark.parametrize(
    "command", [line for line in commands() if line.startswith("lnlib ") and line not in ELSEWHERE]
)
def test_lnlib_commands_run_as_printed(command, tmp_path):
    make_pictures(tmp_path)
    words = [str(LNLIB), *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize(
    "target", [line for line in commands() if line.startswith("make ")] + ["make bench", "make notebooks"]
)
def test_make_targets_exist(target):
    done = subprocess.run(["make", "-n", target.split()[1]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_other_command_is_run_elsewhere():
    unknown = [
        line
        for line in commands()
        if line not in ELSEWHERE and not line.startswith("lnlib ") and "--index-url" not in line
    ]
    assert unknown == []
    assert set(ELSEWHERE) <= set(commands())


def test_the_wheels_without_cuda_are_the_tested_versions():
    line = next(line for line in commands() if "--index-url" in line)
    constraints = (ROOT / "constraints.txt").read_text().split()
    for package in re.findall(r"torch\S*==\S+", line):
        assert package in constraints


def test_the_python_of_the_readme_runs_from_top_to_bottom(tmp_path):
    make_pictures(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README + PAGES["library"], flags=re.S)
    ends = "print(bool(loss(nets, batch).isfinite()))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join([*blocks, ends])],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^LIMIT +0\.0", done.stdout, flags=re.M)
    assert done.stdout.endswith("True\n")


def test_a_kernel_under_its_own_name_runs_the_device_line_where_lnlib_is(tmp_path, monkeypatch):
    line = next(line for line in commands() if "ipykernel install" in line)
    python, *words = shlex.split(line.replace("--user", f"--prefix {tmp_path}"))
    subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    spec = json.loads((tmp_path / "share/jupyter/kernels/lnlib/kernel.json").read_text())
    assert (python, spec["argv"][0], spec["display_name"]) == ("python", sys.executable, "lnlib")
    cell = new_code_cell("from lnlib.device import setting_line\nprint(setting_line('digits', 'one'))")
    kernel = {"name": "lnlib", "display_name": "lnlib"}
    book = new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share/jupyter"))
    NotebookClient(book, timeout=120, kernel_name="lnlib").execute()
    (output,) = book.cells[0].outputs
    assert re.fullmatch(r"device: .+ · data: digits · budget: one\n", output.text)


def test_the_course_map_names_every_lesson_and_every_link_exists():
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert f"notebooks/{notebook.name}" in README
    for folder, page in ((ROOT, README), *((ROOT / "docs", page) for page in PAGES.values())):
        for target in re.findall(r"\]\(([^)h][^)]*)\)", page):
            assert (folder / target).exists(), target


def test_the_readme_is_short_and_has_one_picture_and_the_two_commands_first():
    assert len(README.splitlines()) < 120 and README.count("![") == 1
    first = [line for line in README.splitlines() if line.startswith("    ")][:2]
    assert [line.split()[:2] for line in first] == [["make", "lab"], ["make", "test"]]


def test_whatever_names_the_version_names_this_one():
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), flags=re.M)
    assert cited and cited[1] == __version__
    assert re.search(rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    for page in (README, *PAGES.values()):
        assert {*re.findall(r"lnlib-(\d[\d.]*)-py3", page)} <= {__version__}


def test_every_script_of_others_is_named_in_the_readme_and_has_its_licence():
    scripts = {path for path in (ROOT / "lnlib").rglob("*.js") if "licen" in path.read_text()[:400].lower()}
    assert {path.name for path in scripts} == {"reveal.js"}
    for path in scripts:
        licence = path.with_suffix(".LICENSE")
        assert path.name in README and licence.relative_to(ROOT).as_posix() in README
        assert "Permission is hereby granted" in licence.read_text()
