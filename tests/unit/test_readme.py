"""Every command that the README shows is run here, or is one of those that something else runs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LNLIB = Path(sys.executable).with_name("lnlib")
ENVIRONMENT = os.environ | {"LNLIB_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "LNLIB_RUNS": "runs"}

ELSEWHERE = {
    "make lab": "dry-run below; tests/browser starts the course with what it calls",
    "make test": "dry-run below; it is what runs this test",
    "lnlib lab": "tests/browser",
    'pip install -e ".[lab]"': "`make lab` runs it; below its extra is looked up",
    "conda env create -f environment.yml": "test_packaging.py compares the file; there is no conda here",
    "conda activate lnlib": "test_packaging.py checks the name",
    "python3 -m venv .venv": "`make lab` runs it",
    "lnlib data fetch mnist": "test_data.py runs it without network and with a mirror",
    "lnlib figures limit-fig1 --dataset mnist --budget full": "hours; quick below, figures/ holds it",
    "lnlib reproduce limit-table1 --dataset mnist --budget cores": "hours; digits above, figures/ holds it",
}


def commands() -> list[str]:
    """The indented lines of the README, without comments."""
    lines = re.findall(r"^    (\S.*)$", re.sub(r"```.*?```", "", README, flags=re.S), flags=re.M)
    return [re.sub(r"\s+# .*", "", line) for line in lines]


def make_pictures(tmp_path):
    """The reader's own pictures, where the README has them."""
    for position, name in enumerate(("cats", "dogs")):
        folder = tmp_path / "path" / "to" / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(30):
            Image.new("L", (20, 20), 60 + 120 * position + number).save(folder / f"{number}.png")


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
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.S)
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


def test_the_course_map_names_every_lesson_and_every_link_exists():
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert f"notebooks/{notebook.name}" in README
    for target in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert (ROOT / target).exists(), target
