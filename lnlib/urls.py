"""Where others find the project: one setting, from which every address of it follows.

It is empty as long as the project has no public address; whatever needs one is then left out.
"""

import re

ADDRESS = ""
"""The repository on GitHub, `https://github.com/OWNER/NAME`, or empty."""
BRANCH = "main"
START = "notebooks/00_start_here.ipynb"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")
"""A link or a picture whose target is a file of the repository."""


def page(path: str, address: str = "") -> str:
    """Where a file of the repository is read; empty without an address."""
    address = address or ADDRESS
    return address and f"{address}/blob/{BRANCH}/{path}"


def colab(notebook: str, address: str = "") -> str:
    """Where Google Colab opens a notebook, a path in the repository; empty without an address."""
    address = address or ADDRESS
    return address and f"https://colab.research.google.com/github/{_name(address)}/blob/{BRANCH}/{notebook}"


def binder(address: str = "") -> str:
    """Where Binder opens the first lesson; empty without an address."""
    address = address or ADDRESS
    return address and f"https://mybinder.org/v2/gh/{_name(address)}/{BRANCH}?labpath={START}"


def colab_badge(notebook: str, address: str = "") -> str:
    """A button, in Markdown, that opens a notebook on Colab; empty without an address."""
    to = colab(notebook, address)
    return to and f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({to})"


def binder_badge(address: str = "") -> str:
    """A button, in Markdown, that opens the course on Binder; empty without an address."""
    to = binder(address)
    return to and f"[![Open on Binder](https://mybinder.org/badge_logo.svg)]({to})"


def project_urls(address: str = "") -> dict[str, str]:
    """The addresses for a package index; none without an address."""
    address = address or ADDRESS
    if not address:
        return {}
    return {"Source": address, "Changelog": page("CHANGELOG.md", address), "Issues": f"{address}/issues"}


def absolute(markdown: str, address: str = "") -> str:
    """A page of the repository as it can be read elsewhere: its links lead to the repository.

    Without an address a link becomes its text, and a picture is left out.
    """
    address = address or ADDRESS

    def replaced(link: re.Match[str]) -> str:
        picture, text, target = link.groups()
        if not address:
            return "" if picture else text
        to = f"{address}/raw/{BRANCH}/{target}" if picture else page(target, address)
        return f"{picture}[{text}]({to})"

    return _LINK.sub(replaced, markdown)


def _name(address: str) -> str:
    """OWNER/NAME."""
    return "/".join(address.rstrip("/").split("/")[-2:])
