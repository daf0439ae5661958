"""The reference: a page for each room of the three rings, its texts taken from the docstrings."""

import ast
import dataclasses
import inspect
import pkgutil
import re
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

RINGS = {
    "The library": {
        "": [
            "bounds", "noise", "data", "nets", "methods", "optimizers", "training", "analysis", "catalog",
            "device", "checks", "errors", "files", "seeding",
        ],
    },
    "The course": {
        "course.": [
            "labs", "plots", "exercises", "quiz", "predict", "disagreements", "lessons", "exports", "folder",
            "colab",
        ],
    },
    "The papers": {"": ["papers"]},
}  # fmt: skip
"""By ring, the rooms in the order in which they are read; within a ring, imports point to the left."""


def rooms() -> dict[str, list[str]]:
    """By ring, its modules and packages."""
    return {
        ring: [f"lnlib.{prefix}{name}" for prefix, names in parts.items() for name in names]
        for ring, parts in RINGS.items()
    }


def modules(room: str) -> list[str]:
    """A module, or a package with all modules in it."""
    package = import_module(room)
    inside = pkgutil.walk_packages(getattr(package, "__path__", []), f"{room}.")
    return [room, *(one.name for one in inside if not one.name.rpartition(".")[2].startswith("_"))]


def write(folder: Path) -> None:
    """Write the pages, in reStructuredText, which autodoc fills."""
    folder.mkdir(parents=True)
    index = ["Reference", "=========", "", "Three rings; imports point inwards.", ""]
    for ring, names in rooms().items():
        listed = "".join(f"   {name}\n" for name in names)
        index.append(f"{ring}\n{'-' * len(ring)}\n\n.. toctree::\n   :maxdepth: 1\n\n{listed}")
        for room in names:
            lines = []
            for name in modules(room):
                title = name if name == room else name.removeprefix(f"{room}.")
                lines += [title, ("=" if name == room else "-") * len(title), "", f".. automodule:: {name}"]
                if not hasattr(
                    import_module(name), "__path__"
                ):  # what a package offers stands in its modules
                    lines.append("   :members:")
                lines.append("")
            (folder / f"{room}.rst").write_text("\n".join(lines), encoding="utf-8")
    (folder / "index.rst").write_text("\n".join(index), encoding="utf-8")


def as_restructured(lines: list[str]) -> list[str]:
    """A docstring, which is plain text with `code`, as reStructuredText."""
    made = []
    for line in lines:
        parts = re.split(r"(`[^`]+`)", line)
        escaped = [
            f"`{part}`" if at % 2 else re.sub(r"([\\*|_])", r"\\\1", part) for at, part in enumerate(parts)
        ]
        made.append("".join(escaped))
    return made


def heading_anchor(heading: str) -> str:
    """A heading's anchor as JupyterLab makes it, so that the lessons' links hold on the site, too."""
    return heading.replace(" ", "-")


def signature(it: Any) -> tuple[str, str] | None:
    """Arguments and what is returned as they are written: `entropy: Numbers`, not what Numbers stands for.

    None where nothing is written, as of a class whose arguments are its parent's.
    """
    if dataclasses.is_dataclass(it):
        written = {field.target.id: field for parent in reversed(it.__mro__) for field in _fields(parent)}
        parts = []
        for field in dataclasses.fields(it):
            if field.init and field.name in written:
                text = ast.unparse(written[field.name]).replace("\n", " ")
                parts.append(re.sub(r"= field\(.*", "= ...", text))
        return f"({', '.join(parts)})", ""
    function = it.__dict__.get("__init__") if inspect.isclass(it) else inspect.unwrap(it)
    if not inspect.isfunction(function) or function.__code__.co_filename.startswith("<"):  # made, not written
        return None
    node = _parsed(function)
    if not isinstance(node, ast.FunctionDef):  # a lambda, as a field's default
        return None
    arguments = node.args
    first = [*arguments.posonlyargs, *arguments.args][:1]
    if [one.arg for one in first] in (["self"], ["cls"]):
        (arguments.posonlyargs or arguments.args).pop(0)
    returns = ast.unparse(node.returns) if node.returns and not inspect.isclass(it) else ""
    return f"({ast.unparse(arguments)})", returns


def _fields(kind: type) -> list[Any]:
    if not dataclasses.is_dataclass(kind):
        return []
    return [node for node in _parsed(kind).body if isinstance(node, ast.AnnAssign)]


def _parsed(it: Any) -> Any:
    return ast.parse(dedent(inspect.getsource(it))).body[0]
