"""The commands of `lnlib`, and how they end.

Exit codes: 0 done, 1 a failed check (doctor) or a reader that went away, 2 an error that one line on stderr
explains, 130 interrupted. Whatever is slow to import is imported inside the commands, so that `--help`
answers at once.
"""

import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from lnlib import __version__
from lnlib.cli import course, data, papers, runs, suspects, train
from lnlib.cli.output import discard_what_cannot_be_written, note, prepare_streams, say, warnings_as_notes
from lnlib.course.folder import install
from lnlib.errors import LnlibError


class OneLineErrors(TyperGroup):
    """Commands whose expected errors are one line on stderr and an exit code."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        prepare_streams()
        try:
            with warnings_as_notes():
                code = super().main(*args, **options | {"standalone_mode": False})
            sys.stdout.flush()
        except BrokenPipeError:
            code = 1
        except (Exception, KeyboardInterrupt) as error:
            code = 130 if _was_interrupted(error) else 2
            if code == 2:
                note(f"error: {_explained(error)}")
        if code == 130:
            note("interrupted")
        discard_what_cannot_be_written()
        sys.exit(code if isinstance(code, int) else 0)


def _explained(error: BaseException) -> str:
    """What the user can put right, in a sentence; whatever is a fault of lnlib is raised again."""
    if isinstance(error, LnlibError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        if package not in ("", "lnlib"):
            extra = "teach" if package in ("latex2mathml", "nbconvert", "nbgrader") else "lab"
            return f"this command needs {package}, which is not installed; run {install(extra)}"
    if isinstance(error, OSError):
        return f"cannot read or write {error.filename or 'the output'}: {error.strerror or error}"
    if hasattr(error, "format_message"):  # typer's own, or click's below an older typer
        return f"{error.format_message().rstrip('.')}; see --help"
    raise error


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is below an error: while a checkpoint is written it comes as a failure to write."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


options: Any = dict(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app = typer.Typer(name="lnlib", cls=OneLineErrors, **options)


@app.callback(invoke_without_command=True)
def lnlib(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print it.")] = False
) -> None:
    """Learning with noisy labels: the course and its experiments."""
    if version:
        say(f"lnlib {__version__}")
    elif context.invoked_subcommand is None:
        say(*context.get_help().splitlines())


# Options that this command does not know are JupyterLab's.
app.command(context_settings={"ignore_unknown_options": True})(course.lab)
app.command()(course.doctor)
app.add_typer(data.app, name="data")
app.command()(train.train)
app.command()(suspects.suspects)
app.command()(papers.figures)
app.add_typer(course.labs, name="labs")
app.add_typer(course.lessons, name="course")
app.add_typer(runs.app, name="runs")
app.command()(papers.reproduce)
