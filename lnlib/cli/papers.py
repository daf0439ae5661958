"""`lnlib figures` and `reproduce`: the papers' figures and tables."""

from pathlib import Path
from typing import Annotated

import typer

from lnlib.cli.course import name_browser_for_figures
from lnlib.cli.options import AsJson, Dataset
from lnlib.cli.output import Update, note, print_json, print_table, progress, say
from lnlib.cli.runs import say_waiting


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
        str, typer.Option(help="quick, laptop, paper, or equal (the same patience and grids for all).")
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

    request = Request.parse(table, dataset, budget, rows, cells, seeds, epochs, train_size)
    check_writable(output / "table")
    if request.left_out:
        note(f"note: left out: {request.left_out}")
    with progress() as begin:
        update = begin(table)
        frame = tables.reproduce(request, None, lambda what, share: update(share, what), say_waiting)
        update(1.0, table)
    paths = writing.write(request, frame, output)
    if as_json:
        return print_json({"files": paths, "cells": frame.to_dict("records")})
    made = frame[frame["ours"].notna() | (frame["diverged"] != "")]
    metrics = request.table.metrics
    say(request.table.title)
    lines = []
    for record in made.to_dict("records"):
        line = {name: record[name] for name in ("row", "cell")}
        for metric in metrics:
            line["paper → ours" + f", {metric}" * (len(metrics) > 1)] = writing.cell_text(record, metric)
        lines.append(line | {name: record[name] for name in ("setting", "seeds", "diverged")})
    print_table(lines)
    say(*paths)
