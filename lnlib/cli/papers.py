"""`lnlib figures` and `reproduce`: the papers' figures and tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lnlib.cli.course import name_browser_for_figures
from lnlib.cli.options import AsJson, Dataset
from lnlib.cli.output import Update, note, print_json, print_table, progress, say
from lnlib.cli.runs import say_waiting

if TYPE_CHECKING:
    from lnlib.papers.runner import Outlook

ORIGINS = ["bootstrap over test images", "settings tried", "validation", "epochs", "best epoch", "device"]
"""What the files say of a number and the screen has no room for."""


def figures(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="All unless given.")] = None,
    dataset: Dataset = "digits",
    budget: Annotated[str, typer.Option(help="quick, or full for the papers' epochs and grids.")] = "quick",
    output: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("figures"),
    list_only: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    as_json: AsJson = False,
) -> None:
    """Regenerate figures: PNG, interactive HTML, and the data as CSV with its provenance beside it.

    The claims of a lesson are tables of their own, without a picture.
    """
    from lnlib.errors import unknown_name
    from lnlib.files import check_writable
    from lnlib.papers.figures import FIGURES, make

    if list_only:
        rows = [{"name": name, "title": figure.title} for name, figure in FIGURES.items()]
        return print_json(rows) if as_json else print_table(rows)
    for name in names or ():
        if name not in FIGURES:
            raise unknown_name("figure", name, FIGURES)
    check_writable(output / "figure")
    name_browser_for_figures()
    made: dict[str, list[Path]] = {}
    with progress() as begin:
        for name in names or FIGURES:
            update = begin(name)

            def on_progress(what: str, share: float, name: str = name, update: Update = update) -> None:
                update(share, f"{name}: {what}")

            made[name] = make(name, dataset=dataset, budget=budget, output=output, progress=on_progress)  # type: ignore[arg-type]
            update(1.0, name)
    print_json(made) if as_json else say(*(path for paths in made.values() for path in paths))
    written = {path for paths in made.values() for path in paths}
    if any(path.suffix == ".html" and path.with_suffix(".png") not in written for path in written):
        note("note: no PNG without Chrome or Chromium; see `lnlib doctor`")


def reproduce(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="limit-table1 or 2, metainfonet-table1 to 6.")
    ],
    dataset: Dataset = "digits",
    rows: Annotated[
        list[str] | None, typer.Option(help="A row, like limit-l; may be repeated. All unless given.")
    ] = None,
    cells: Annotated[
        list[str] | None,
        typer.Option(
            help="A cell by its heading, like 'p=0.5, n=all', or several by a part of theirs, like n=all; "
            "may be repeated. The budget's unless given."
        ),
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option(help="A seed; may be repeated. The budget's unless given.")
    ] = None,
    budget: Annotated[
        str, typer.Option(help="quick, cores, paper, or equal (the same patience and grids for all).")
    ] = "quick",
    epochs: Annotated[int | None, typer.Option(help="Epochs, in place of the budget's.")] = None,
    train_size: Annotated[
        int | None, typer.Option(help="At most so many training images, for a trial.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("tables"),
    as_json: AsJson = False,
) -> None:
    """Reproduce a table of a paper: train what is missing, write it as Markdown, CSV and interactive page.

    Runs are kept in LNLIB_RUNS (by default runs/): stop at any time, and go on with the same command.
    """
    from lnlib.files import check_writable
    from lnlib.papers import tables, writing
    from lnlib.papers.request import Request
    from lnlib.papers.store import Store

    request = Request.parse(table, dataset, budget, rows, cells, seeds, epochs, train_size)
    check_writable(output / "table")
    if request.left_out:
        note(f"note: left out: {request.left_out}")
    note(f"{table}: {_outlook_text(tables.outlook(request, Store()))}")
    with progress() as begin:
        update = begin(table)
        frame = tables.reproduce(request, None, lambda what, share: update(share, what), say_waiting)
        update(1.0, table)
    paths = writing.write(request, frame, output)
    missing = writing.missing(frame)
    if as_json:
        return print_json({"files": paths, "cells": frame.to_dict("records"), "missing": missing})
    say(request.table.title)
    shown = writing.overview(frame, request.table.metrics).drop(columns=ORIGINS, errors="ignore")
    print_table(shown.to_dict("records"))
    if missing:
        say(f"missing: {missing}")
    say(*paths)


def _outlook_text(outlook: "Outlook") -> str:
    """How far a table is and what it takes, in a line."""
    cells, runs = (f"{done} of {total}" for done, total in (outlook[:2], outlook[2:4]))
    rest = f"; the rest takes about {duration(outlook.seconds)} here" if outlook.seconds else ""
    return f"{cells} cells and {runs} runs are made{rest}"


def duration(seconds: float) -> str:
    """A time in words: "40 s", "12 min", "3.3 hours"."""
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 1.5:
        return f"{max(1, round(seconds))} s"
    if hours < 1.5:
        return f"{round(minutes)} min"
    return f"{round(hours, 1):g} hours" if hours < 48 else f"{round(hours / 24, 1):g} days"
