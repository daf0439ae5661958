"""`lnlib figures` and `reproduce`: the papers' figures and tables."""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lnlib.cli.course import name_browser_for_figures
from lnlib.cli.options import AsJson, Dataset
from lnlib.cli.output import Update, note, print_json, print_table, progress, say
from lnlib.cli.runs import say_waiting
from lnlib.errors import InvalidValue

if TYPE_CHECKING:
    from lnlib.papers.cost import Cost
    from lnlib.papers.executors import Executor
    from lnlib.papers.request import Request
    from lnlib.papers.runner import Outlook

Workers = Annotated[
    int | None, typer.Option(help="Train in so many processes of this machine, which share its cores.")
]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Train on this Ray cluster; local for this machine."),
]
Threads = Annotated[
    int | None,
    typer.Option(help="Threads of a run, which decide its last digits; with --ray 1 unless given."),
]
GpusPerRun = Annotated[
    str,
    typer.Option(
        metavar="SHARE", help="With --ray: GPUs of a run, or a share of one, like 0.25; auto: as many as fit."
    ),
]

MOST_THREADS = 1024
HEARD = 5.0
"""Seconds after which there is something to judge the end of the work by."""
ORIGINS = ["bootstrap over test images", "settings tried", "validation", "epochs", "best epoch", "device"]
"""What the files say of a number and the screen has no room for."""


def figures(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="All unless given.")] = None,
    dataset: Dataset = "digits",
    budget: Annotated[str, typer.Option(help="quick, or full for the papers' epochs and grids.")] = "quick",
    output: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("figures"),
    list_only: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    workers: Workers = None,
    ray: RayAddress = None,
    threads: Threads = None,
    gpus_per_run: GpusPerRun = "0",
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
    executor = _executor(workers, ray, threads, gpus_per_run)
    check_writable(output / "figure")
    name_browser_for_figures()
    made: dict[str, list[Path]] = {}
    with progress() as begin:
        for name in names or FIGURES:
            update = begin(name)

            def on_progress(what: str, share: float, name: str = name, update: Update = update) -> None:
                update(share, f"{name}: {what}")

            made[name] = make(name, dataset, budget, output, None, on_progress, executor)  # type: ignore[arg-type]
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
    workers: Workers = None,
    ray: RayAddress = None,
    threads: Threads = None,
    gpus_per_run: GpusPerRun = "0",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take, by row, from measured steps.")
    ] = False,
    list_commands: Annotated[
        bool, typer.Option("--list-commands", help="Print one command a run, for a batch system.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Reproduce a table of a paper: train what is missing, write it as Markdown, CSV and interactive page.

    Runs are kept in LNLIB_RUNS (by default runs/): stop at any time, and go on with the same command.
    """
    from lnlib.files import check_writable
    from lnlib.papers import tables, writing
    from lnlib.papers.request import Request
    from lnlib.papers.store import Store

    executor = _executor(workers, ray, threads, gpus_per_run)
    request = Request.parse(table, dataset, budget, rows, cells, seeds, epochs, train_size)
    if request.left_out:
        note(f"note: left out: {request.left_out}")
    if dry_run:
        return _say_costs(request, threads, as_json)
    if list_commands:
        return _say_commands(request, as_json)
    check_writable(output / "table")
    note(f"{table}: {_outlook_text(tables.outlook(request, Store()))}")
    with progress() as begin:
        update = begin(table)
        frame = tables.reproduce(request, None, until(update), say_waiting, executor)
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


def _executor(workers: int | None, ray: str | None, threads: int | None, gpus_per_run: str) -> "Executor":
    """Where the options say that runs train."""
    from lnlib.papers.executors.here import Here
    from lnlib.papers.executors.processes import Processes
    from lnlib.papers.executors.ray import Ray

    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise InvalidValue(f"threads must be 1 to {MOST_THREADS}, got {threads}; try --threads 1")
    try:
        gpus = gpus_per_run if gpus_per_run == "auto" else float(gpus_per_run)
    except ValueError:
        raise InvalidValue(
            f"--gpus-per-run must be a number or auto, got {gpus_per_run!r}; try 0.5"
        ) from None
    if ray is None and gpus:
        raise InvalidValue(f"--gpus-per-run is for --ray, got {gpus_per_run} without it; try --ray local")
    if ray is not None:
        if workers is not None:
            raise InvalidValue(f"--workers is for this machine, got {workers} beside --ray; leave one out")
        return Ray(ray, threads or 1, gpus)  # type: ignore[arg-type]
    return Here(threads) if workers is None else Processes(workers, threads)


def until(update: Update) -> "Callable[[str, float], None]":
    """Moves a bar with what is being done, and when it will end if all goes on as it did."""
    began, first = time.time(), 0.0

    def on_progress(what: str, share: float) -> None:
        nonlocal began, first
        if not first:
            began, first = time.time(), share
        gone = time.time() - began
        if share > first and gone > HEARD:
            end = datetime.fromtimestamp(began + gone * (1 - first) / (share - first))
            day = "" if end.date() == datetime.now().date() else f"{end:%d %b} "
            what = f"until {day}{end:%H:%M} · {what}"
        update(share, what)

    return on_progress


def _say_costs(request: "Request", threads: int | None, as_json: bool) -> None:
    from lnlib.papers.cost import costs
    from lnlib.papers.executors.here import with_threads
    from lnlib.papers.store import Store

    with with_threads(threads), progress() as begin:
        update = begin(f"{request.table.name}: measuring")
        found = costs(request, Store(), progress=lambda what, share: update(share, what))
        update(1.0)
    if as_json:
        return print_json(found)
    print_table([_cost_line(cost) for cost in found])
    hours = sum(cost.hours for cost in found)
    say(f"{sum(cost.runs for cost in found)} runs, {duration(3600 * hours)} one at a time on this machine")


def _cost_line(cost: "Cost") -> dict[str, str]:
    most = f"{cost.gigabytes:.1f} GB" if cost.gigabytes >= 1 else f"{1000 * cost.gigabytes:.0f} MB"
    line = {"row": cost.row, "runs": f"{cost.runs}", "steps": f"{cost.steps}"}
    return line | {"time": duration(3600 * cost.hours), "memory of a run": most if cost.runs else ""}


def _say_commands(request: "Request", as_json: bool) -> None:
    from lnlib.cli.options import as_command
    from lnlib.papers import tables
    from lnlib.papers.runner import stages
    from lnlib.papers.store import Store

    first, then = stages(tables.wanted(request, Store()), Store())
    lines = [as_command(spec) for spec in [*first, *then]]
    if as_json:
        return print_json({"commands": lines, "first": len(first)})
    say(*lines)
    note(f"note: {len(lines)} commands; the first {len(first)} must end before the others begin")
    if request.protocol.choose_by == "first seed":
        note("note: when these have ended, ask again for those of the settings that they have chosen")


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
