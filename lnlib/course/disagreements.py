"""Where a paper, the codes and lnlib differ: one list, from which docs/fidelity.md and the lessons have their
tables.
"""

import tomllib
from importlib.resources import files
from typing import NamedTuple


class Disagreement(NamedTuple):
    """What a paper says, what a code does or is so in fact, what lnlib does; empty where one says nothing."""

    about: str
    paper: str
    code: str
    here: str
    notebooks: list[str]


HEADINGS = {
    "about": "about",
    "paper": "in the paper",
    "code": "in the codes, or in fact",
    "here": "here",
}


def disagreements() -> list[Disagreement]:
    """All of them, in the order of the lessons."""
    text = files("lnlib").joinpath("course", "disagreements.toml").read_text(encoding="utf-8")
    return [Disagreement(**one) for one in tomllib.loads(text)["disagreements"]]


def table(notebook: str = "") -> str:
    """As a Markdown table: those of a notebook, named as "02_memorization" or "deeper/05_audit", or all."""
    chosen = [one for one in disagreements() if not notebook or notebook in one.notebooks]
    rows = [[*HEADINGS.values()], ["---"] * len(HEADINGS)]
    rows += [[getattr(one, name) or "–" for name in HEADINGS] for one in chosen]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def with_table(text: str, notebook: str = "") -> str:
    """A text in Markdown, its one table that has these headings made anew."""
    lines = text.split("\n")
    first = next(number for number, line in enumerate(lines) if line.startswith("| about | in the paper |"))
    last = next(
        (number for number in range(first, len(lines)) if not lines[number].startswith("|")), len(lines)
    )
    return "\n".join([*lines[:first], *table(notebook).split("\n"), *lines[last:]])
