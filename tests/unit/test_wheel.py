"""The wheel is the course: what it holds, what an index is told, and that it serves without the clone."""

import email
import json
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import pytest

from lnlib.course import folder
from tests import wheel_tools
from tests.wheel_tools import ROOT, install, run

LARGEST = 6_000_000
IGNORED = (".pyc", ".pyo")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Wheel and sdist; the wheel is built from the sdist."""
    wheel, sdist = wheel_tools.build(ROOT, tmp_path_factory.mktemp("dist"))
    assert (wheel.suffix, sdist.suffixes[-1]) == (".whl", ".gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment into which lnlib can be installed."""
    return wheel_tools.environment(tmp_path_factory.mktemp("empty") / "environment")


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_package_the_lessons_and_the_figures_and_is_small(
    built: tuple[Path, Path],
) -> None:
    wheel, _ = built
    package = {
        path.relative_to(ROOT).as_posix(): path
        for path in (ROOT / "lnlib").rglob("*")
        if path.is_file() and path.suffix not in IGNORED and ".ipynb_checkpoints" not in path.parts
    }
    course = {f"lnlib/course/material/{name}": ROOT / name for name in folder.files(ROOT)}
    found = {name: content for name, content in contents(wheel).items() if ".dist-info/" not in name}
    assert {*found} == {*package, *course}
    assert all(found[name] == path.read_bytes() for name, path in (package | course).items())
    kinds = {Path(name).suffix for name in found}
    assert kinds >= {
        ".py",
        ".typed",
        ".toml",
        ".csv",
        ".js",
        ".css",
        ".html",
        ".json",
        ".ipynb",
        ".png",
        ".md",
    }
    assert sum(name.endswith(".ipynb") for name in found) == len([*(ROOT / "notebooks").rglob("[!.]*.ipynb")])
    assert wheel.stat().st_size < LARGEST


def test_a_wheel_built_from_the_sdist_is_the_one_built_from_the_clone(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    (direct,) = wheel_tools.build(ROOT, tmp_path, "--wheel")
    assert contents(direct) == contents(built[0])


def test_the_sdist_holds_what_its_own_tests_need(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"Makefile", "constraints.txt", "environment.yml", "CONTRIBUTING.md", "CITATION.cff", "LICENSE"}
    needed |= {
        "tests/conftest.py",
        "scripts/save_notebooks.py",
        "docs/fidelity.md",
        ".ci/run",
        "hatch_build.py",
    }
    assert needed <= names
    assert not [name for name in names if name.startswith((".venv", "runs/", ".git/"))]


def test_an_index_would_take_both(built: tuple[Path, Path], tmp_path: Path) -> None:
    said = run(sys.executable, "-m", "twine", "check", "--strict", *built, cwd=tmp_path)
    assert said.count("PASSED") == 2
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert "OK" in run(sys.executable, "-m", "check_wheel_contents", built[0], cwd=tmp_path)


def test_metadata_name_the_licences_and_no_address_that_the_project_does_not_have(
    built: tuple[Path, Path],
) -> None:
    found = contents(built[0])
    (told,) = (content for name, content in found.items() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(told)
    assert metadata["License-Expression"] == "MIT"
    licences = metadata.get_all("License-File")
    assert licences == ["LICENSE", "lnlib/course/exports/deck/reveal.LICENSE"]
    assert all([name for name in found if name.endswith(f"/licenses/{one}")] for one in licences)
    assert metadata.get_all("Project-URL") is None
    text = metadata.get_payload()
    assert isinstance(text, str) and text.startswith("# lnlib") and "make lab" in text
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith("https://")] == []


def course_at(environment: Path, *words: str, cwd: Path) -> tuple[int, str]:
    """Start `lnlib lab` of an environment, ask it for its first lesson, and stop it: cells, what it says."""
    own = {name: str(cwd / ".home") for name in wheel_tools.OWN_FOLDERS}
    command = [environment / "bin" / "lnlib", "lab", "--no-browser", *words]
    process = subprocess.Popen(
        command, cwd=cwd, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if address := re.search(r"(http://127\.0\.0\.1:\d+)/\S*token=(\S+)", line):
                    break
            else:
                pytest.fail(said)
            asked = f"{address[1]}/api/contents/{folder.START}?token={address[2]}"
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return len(json.load(answer)["content"]["cells"]), said
        finally:
            process.terminate()


@pytest.mark.slow
def test_from_a_wheel_in_an_empty_environment_the_course_is_served_and_an_upgrade_keeps_a_changed_lesson(
    built: tuple[Path, Path], empty: Path, tmp_path: Path
) -> None:
    install(empty, built[0])
    where = run(empty / "bin" / "python", "-c", "import lnlib; print(lnlib.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(empty)
    cells, said = course_at(empty, cwd=tmp_path)
    own = tmp_path / "lnlib-course"
    lesson = json.loads((ROOT / folder.START).read_text(encoding="utf-8"))
    assert cells == len(lesson["cells"]) and f"{len([*folder.files(ROOT)])} files added" in said
    assert {name: (own / name).read_bytes() for name in folder.files(own)} == {
        name: (ROOT / name).read_bytes() for name in folder.files(ROOT)
    }

    # The next version: another glossary, another first lesson, one lesson more.
    shutil.unpack_archive(built[1], tmp_path / "next")
    (source,) = (tmp_path / "next").iterdir()
    lesson["cells"] = lesson["cells"][:5]
    for name in (folder.START, "notebooks/glossary.ipynb", "notebooks/99_new.ipynb"):
        (source / name).write_text(json.dumps(lesson), encoding="utf-8")
    init = source / "lnlib" / "__init__.py"
    init.write_text(re.sub(r'__version__ = "[^"]*"', '__version__ = "99"', init.read_text()))
    (newer,) = wheel_tools.build(source, tmp_path / "newer", "--wheel")
    install(empty, newer)
    (own / folder.START).write_text((own / folder.START).read_text() + "\n")  # as a student saved it
    mine = (own / folder.START).read_bytes()
    cells, said = course_at(empty, "lnlib-course", cwd=tmp_path)
    assert cells > 5 and (own / folder.START).read_bytes() == mine
    assert "1 files added, 1 replaced" in said
    assert f"kept as you changed them: {Path(folder.START).name};" in said
    assert len(json.loads((own / "notebooks/glossary.ipynb").read_text())["cells"]) == 5


@pytest.mark.slow
def test_the_sdist_installs_and_its_lnlib_has_the_lessons(
    built: tuple[Path, Path], empty: Path, tmp_path: Path
) -> None:
    install(empty, built[1])
    script = "from lnlib.course import folder\nprint(folder.source(), folder.is_clone())"
    place, clone = run(empty / "bin" / "python", "-c", script, cwd=tmp_path).split()
    assert Path(place).is_relative_to(empty) and Path(place).name == "material" and clone == "False"
    export = run(empty / "bin" / "lnlib", "course", "export", "student", "class", cwd=tmp_path)
    assert "00_start_here.ipynb" in export and (tmp_path / "class" / "00_start_here.ipynb").is_file()
