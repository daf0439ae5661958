"""The project's address: what follows from it, and that nothing does while it is empty."""

import re
import tomllib
from pathlib import Path

import pytest

from lnlib import urls

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "https://github.com/somebody/noisy"
PAGE = (
    "see [the library](docs/library.md), ![a curve](figures/a.png), [papers](https://arxiv.org), [below](#x)"
)


@pytest.fixture(params=["given", "set"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address as an argument, or as the setting."""
    if request.param == "given":
        return ADDRESS
    monkeypatch.setattr(urls, "ADDRESS", ADDRESS)
    return ""


def test_without_an_address_there_is_nothing_that_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "ADDRESS", "")
    assert urls.page("README.md") == urls.colab("a.ipynb") == urls.binder() == ""
    assert urls.colab_badge("a.ipynb") == urls.binder_badge() == "" and urls.project_urls() == {}
    assert urls.absolute(PAGE) == "see the library, , [papers](https://arxiv.org), [below](#x)"


def test_with_an_address_everything_leads_there(address: str) -> None:
    assert urls.page("README.md", address) == f"{ADDRESS}/blob/main/README.md"
    at_colab = "https://colab.research.google.com/github/somebody/noisy/blob/main/notebooks/a.ipynb"
    assert urls.colab("notebooks/a.ipynb", address) == at_colab
    assert urls.colab_badge("notebooks/a.ipynb", address).endswith(f"]({at_colab})")
    at_binder = "https://mybinder.org/v2/gh/somebody/noisy/main?labpath=notebooks/00_start_here.ipynb"
    assert urls.binder(address) == at_binder
    assert urls.binder_badge(address).endswith(f"]({at_binder})")
    assert urls.project_urls(address) == {
        "Source": ADDRESS,
        "Changelog": f"{ADDRESS}/blob/main/CHANGELOG.md",
        "Issues": f"{ADDRESS}/issues",
    }
    assert urls.absolute(PAGE, address) == (
        f"see [the library]({ADDRESS}/blob/main/docs/library.md), "
        f"![a curve]({ADDRESS}/raw/main/figures/a.png), "
        "[papers](https://arxiv.org), [below](#x)"
    )


def test_the_readme_has_binders_button_as_long_as_there_is_an_address() -> None:
    badges = re.findall(
        r"\[!\[[^\]]*\]\([^)]*\)\]\([^)]*\)", (ROOT / "README.md").read_text(encoding="utf-8")
    )
    assert badges == [badge for badge in [urls.binder_badge()] if badge]


def test_no_file_has_an_address_of_its_own_for_the_project() -> None:
    files = [
        ROOT / "README.md",
        ROOT / "CITATION.cff",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
    ]
    for path in files:
        assert not re.search(r"(github|gitlab)\.(com|io)|mybinder\.org|colab\.research", path.read_text()), (
            path
        )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "urls" not in project and {"urls", "readme"} <= {*project["dynamic"]}
