"""The lessons' first cell: nothing at home; on Colab the course comes, and Colab's PyTorch stays.

Colab itself is played: its module `google.colab`, and a PyTorch of which only the metadata are there.
"""

import json
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from packaging.requirements import Requirement

from lnlib.course import colab
from tests import wheel_tools
from tests.wheel_tools import ROOT, run

ADDRESS = "https://github.com/somebody/noisy"
RUN = """import json, os, sys
from IPython.core.interactiveshell import InteractiveShell
if {colab}:
    import google.colab
done = InteractiveShell.instance().run_cell(open("cell.py").read())
done.raise_error()
print("TOLD" + json.dumps([os.getcwd(), "lnlib" in sys.modules, os.path.exists("../figures/claims-05.csv")]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (built,) = wheel_tools.build(ROOT, tmp_path_factory.mktemp("dist"), "--wheel")
    return built


def fake(site: Path, name: str, version: str) -> Path:
    """The metadata of a package that is installed."""
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "RECORD").write_text(f"{folder.name}/METADATA,,\n{folder.name}/RECORD,,\n")
    (folder / "INSTALLER").write_text("colab\n")
    return folder


def play(tmp_path: Path, wheel: Path, torch: str, *, on_colab: bool = True, fails: bool = False) -> str:
    """Run the cell of lesson 05 in a fresh environment; what it says. Nothing can be downloaded."""
    environment = wheel_tools.environment(tmp_path / "environment", without=("torch-", "torchvision-"))
    (site,) = (environment / "lib").glob("python*/site-packages")
    dists = [fake(site, "torch", torch), fake(site, "torchvision", "0.27.0+cu999")]
    before = {path: path.read_bytes() for one in dists for path in one.iterdir()}
    module = site / "google" / "colab"
    module.mkdir(parents=True)
    (module / "__init__.py").write_text("")
    marker = f"open({str(tmp_path / 'manager')!r}, 'a').write('on ')"
    (module / "output.py").write_text(f"def enable_custom_widget_manager():\n    {marker}\n")
    home = tmp_path / "content"
    home.mkdir()
    (home / wheel.name).write_bytes(wheel.read_bytes())
    (home / "cell.py").write_text(colab.source("05_metainfonet.ipynb"))
    (home / "pip.conf").write_text("[global]\nno-index = true\ndisable-pip-version-check = true\n")
    python = environment / "bin" / "python"
    script = RUN.format(colab=on_colab)
    said = run("env", f"PIP_CONFIG_FILE={home / 'pip.conf'}", python, "-c", script, cwd=home, fails=fails)
    assert {path: path.read_bytes() for one in dists for path in one.iterdir()} == before
    installed = sorted(path.name for path in site.glob("torch*"))
    assert installed == [one.name for one in dists], "a PyTorch beside Colab's"
    return said


def told(said: str) -> list[object]:
    return json.loads(said.rpartition("TOLD")[2])


@pytest.mark.slow
def test_on_colab_the_course_comes_beside_a_pytorch_that_stays(tmp_path: Path, wheel: Path) -> None:
    folder, imported, figures = told(play(tmp_path, wheel, "2.12.0+cu999"))
    assert folder == str(tmp_path / "content" / "lnlib-course" / "notebooks") and imported and figures
    assert (tmp_path / "manager").read_text() == "on "


@pytest.mark.slow
def test_a_pytorch_that_is_too_old_is_named_and_stays(tmp_path: Path, wheel: Path) -> None:
    said = play(tmp_path, wheel, "2.10.0+cu999", fails=True)
    assert "Cannot install lnlib[kernel]" in said and "torch==2.10.0+cu999" in said and "conflict" in said
    assert "No module named 'lnlib'" in said and not (tmp_path / "manager").exists()


def test_at_home_the_cell_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    home = {"get_ipython": lambda: pytest.fail("%pip at home")}
    exec(colab.source("05_metainfonet.ipynb").replace("%pip", "get_ipython() #"), home)
    assert {*home} - {"__builtins__"} == {"get_ipython", "sys"} and not [*tmp_path.iterdir()]


def lesson() -> nbformat.NotebookNode:
    """Two cells that were run."""
    result = new_output("execute_result", {"text/plain": "4"}, execution_count=2)
    cells = [
        new_code_cell("1", execution_count=1),
        new_code_cell("2 + 2", execution_count=2, outputs=[result]),
    ]
    return new_notebook(cells=[new_markdown_cell("# A lesson"), *cells])


def test_the_cell_comes_first_of_the_code_and_the_others_count_on() -> None:
    book = lesson()
    colab.prepare(book, "deeper/05_audit.ipynb")
    assert [cell.get("execution_count") for cell in book.cells] == [None, 1, 2, 3]
    assert book.cells[3].outputs[0].execution_count == 3
    assert book.cells[1].source.endswith('colab.begin("notebooks/deeper")')
    assert book.cells[1].metadata == {"jupyter": {"source_hidden": True}, "tags": ["remove-cell"]}
    nbformat.validate(book)
    again = nbformat.from_dict(book)
    colab.prepare(again, "deeper/05_audit.ipynb")
    assert again == book


def test_the_button_is_there_as_long_as_the_project_has_an_address() -> None:
    book = lesson()
    colab.prepare(book, "01_fano_bound.ipynb", ADDRESS)
    badge = book.cells[0].source
    assert badge.endswith(
        "(https://colab.research.google.com/github/somebody/noisy/blob/main/notebooks/01_fano_bound.ipynb)"
    )
    (line,) = [line for line in book.cells[2].source.splitlines() if "course = " in line]
    wanted = Requirement(line.split('"')[1])
    assert (wanted.name, wanted.url, wanted.extras) == ("lnlib", f"git+{ADDRESS}", {"kernel"})
    colab.prepare(book, "01_fano_bound.ipynb")
    assert [cell.cell_type for cell in book.cells] == ["markdown", "code", "code", "code"]
    assert "http" not in "".join(cell.source for cell in book.cells)
