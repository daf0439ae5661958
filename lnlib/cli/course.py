"""`lnlib lab`, `doctor`, `labs` and `course`: the course in JupyterLab, what it needs, its labs as pages, its
lessons as copies for a class.
"""

import contextlib
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from lnlib.cli.options import AsJson, group
from lnlib.cli.output import console, note, print_json, print_table, printable, progress, say
from lnlib.course import folder as course
from lnlib.errors import InvalidValue, LnlibError
from lnlib.files import expanded

FOLDER = "lnlib-course"


def lab(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FOLDER] [ARGUMENT]...",
            help="Your folder for the lessons; then what JupyterLab takes.",
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Put a new copy of the lessons beside the folder that is there.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port on this machine; a free one unless given.")
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address, open nothing.")
    ] = False,
) -> None:
    """Open the course in JupyterLab, on this machine only and with a token.

    An installed lnlib copies the lessons into FOLDER first. In later versions it adds what is new there and
    leaves what you changed.
    """
    from jupyterlab.labapp import LabApp  # type: ignore[import-untyped]

    further = [*(arguments or ())]
    named = further.pop(0) if further and not further[0].startswith("-") else None
    options = {
        "--ip": "127.0.0.1",
        "--ServerApp.answer_yes": "True",
        "--ServerApp.root_dir": str(course_folder(named, fresh)),
        "--LabApp.default_url": f"/lab/tree/{quote(course.START)}",
        # No calls for news and updates, nor the question whether to make them: the course works offline.
        "--LabApp.app_settings_dir": str(Path(__file__).parents[1] / "jupyter"),
        "--log-level": "WARN",
        "--LabApp.log_level": "WARN",
    }
    if port is not None:
        options |= {"--port": str(port), "--ServerApp.port_retries": "0"}
    # JupyterLab refuses an option that comes twice.
    chosen = {argument.partition("=")[0] for argument in further}
    command = [f"{name}={value}" for name, value in options.items() if name not in chosen]
    if no_browser or not _has_display():
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        note("note: running as root, which JupyterLab allows only with --allow-root; adding it")
        command.append("--allow-root")
    os.environ["JUPYTER_TOKEN"] = os.environ.get("JUPYTER_TOKEN") or secrets.token_urlsafe(24)
    # A python3 kernel in the user's home would otherwise come before the one of this environment.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    name_browser_for_figures()
    note("starting JupyterLab ...")
    try:
        server = LabApp.initialize_server([*command, *further])
        # The server's own text hides the token, without which nobody gets in.
        address = f"{server.local_url.partition('?')[0]}?token={server.identity_provider.token}"
        # Said when it listens.
        server.io_loop.add_callback(say, "", f"The course is at  {address}", "Ctrl-C stops it.", "")
        # As on SIGTERM: a KeyboardInterrupt may come to lie in code that takes it for a failure of its own.
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
        server.start()
    except SystemExit as end:
        if end.code:
            raise LnlibError(
                f"JupyterLab ended with code {end.code}; its messages are above, and see `lnlib doctor`"
            ) from end


def course_folder(named: str | None, fresh: bool) -> Path:
    """The folder to open: the clone unless one is named, else the reader's own, brought up to date."""
    here = Path.cwd()
    own = (here / course.RECORD).is_file()
    if named is None and not fresh:
        for clone in (course.CLONE, here):
            if (clone / course.START).is_file() and not (clone == here and own):
                return clone
    update = course.bring(expanded(named or (here if own else FOLDER)).absolute(), fresh=fresh)
    if update.added or update.replaced:
        done = f"{len(update.added)} files added, {len(update.replaced)} replaced that you had not changed"
        note(f"the lessons are in {update.folder}: {done}")
    if update.kept:
        names = ", ".join(name.rpartition("/")[2] for name in update.kept)
        note(f"kept as you changed them: {names}; `lnlib lab --fresh` puts the new ones beside")
    return update.folder


def _has_display() -> bool:
    return sys.platform != "linux" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))


def name_browser_for_figures() -> None:
    """Tell kaleido, in its own variable, of a browser that it would not find, such as Playwright's."""
    from lnlib.doctor import find_browser

    if browser := find_browser():
        os.environ["BROWSER_PATH"] = browser


def doctor(as_json: AsJson = False) -> None:
    """Check each part of the environment; ends with 1 if the course cannot run."""
    from rich.text import Text

    from lnlib.doctor import checks

    screen, done = console(), []
    with contextlib.nullcontext() if as_json else screen.status("looking at the environment ..."):
        for check in checks():
            done.append(check)
            if not as_json:
                colour = {"OK": "green", "FAIL": "bold red"}.get(check.status, "yellow")
                found = printable(check.name).ljust(13) + printable(check.detail)
                screen.print(Text.assemble((f"[{check.status}]".ljust(7), colour), found), soft_wrap=True)
                if not check.ok:
                    screen.print(Text(" " * 20 + printable(check.remedy)), soft_wrap=True)
    failed = [check.name for check in done if check.status == "FAIL"]
    if as_json:
        rows = []
        for one in done:
            remedy = "" if one.ok else one.remedy
            rows.append({"name": one.name, "status": one.status, "detail": one.detail, "remedy": remedy})
        print_json({"ok": not failed, "checks": rows})
    else:
        say(f"The course needs: {', '.join(failed)}." if failed else "The course can run.")
    raise typer.Exit(1 if failed else 0)


labs = group("List the labs of the lessons, or save some as pages.")


@labs.command("list")
def list_labs(as_json: AsJson = False) -> None:
    """List the labs of the lessons."""
    from lnlib.course.labs import LABS, lab_named

    titles = {name: (lab_named(name).__doc__ or "").partition("\n")[0].rstrip(".") for name in LABS}
    rows = [{"name": name, "what it shows": title} for name, title in titles.items()]
    print_json(rows) if as_json else print_table(rows)


@labs.command("save")
def save_labs(
    names: Annotated[list[str], typer.Argument(metavar="NAME...")],
    output: Annotated[Path, typer.Option(help="Folder for the pages.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Train labs on digits and save each as one HTML page that needs neither kernel nor network."""
    from lnlib.course.labs import lab_named
    from lnlib.files import check_writable

    if output.exists() and not output.is_dir():
        raise InvalidValue(f"output must be a folder, got the file {output}; try --output pages")
    pages = {output / f"{name}.html": lab_named(name)() for name in dict.fromkeys(names)}
    for page in pages:
        check_writable(page)
    with progress() as begin:
        for page, lab in pages.items():
            update = begin(page.stem)
            if lab.trains:
                lab.train()
                while not lab.wait(0.2):
                    update(lab.progress.value)
            lab.save(page)
            update(1.0)
    print_json([*pages]) if as_json else say(*pages)


lessons = typer.Typer(help="Make copies of the lessons for a class.", rich_markup_mode=None)


@lessons.command("export")
def export_lessons(
    kind: Annotated[str, typer.Argument(help="student, solution, nbgrader, slides or gift.")],
    folder: Annotated[Path, typer.Argument(help="Where the files go; none is overwritten.")],
    as_json: AsJson = False,
) -> None:
    """Write copies for students, solved ones, a course of nbgrader, slides, or the quizzes for Moodle."""
    from lnlib.course.exports import export

    files = export(kind, expanded(folder), course.source() / "notebooks")
    print_json([*files]) if as_json else say(*files)
