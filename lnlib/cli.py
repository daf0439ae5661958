"""The `lnlib` command: lab, doctor, data, train, suspects, figures, runs, reproduce.

Exit codes: 0 done, 1 a failed check (doctor), 2 an error that one line on stderr explains, 130 interrupted.
Whatever is slow to import is imported inside the commands, so that `--help` answers at once.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.parse import quote

import typer
from typer.core import TyperGroup

from lnlib import __version__
from lnlib.catalog import METHODS, NETS
from lnlib.errors import InvalidValue, LnlibError

if TYPE_CHECKING:
    from lnlib.papers.spec import Spec
    from lnlib.papers.store import StoredRun
    from lnlib.training import Epoch
    from lnlib.training import Run as Training

START = Path("notebooks/00_start_here.ipynb")
FIRST_PORT = 8888
SERVER_START_SECONDS = 60


class OneLineErrors(TyperGroup):
    """Commands whose expected errors are one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except LnlibError as error:
            if _was_interrupted(error):
                _end_interrupted()
            _fail(str(error))
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package in ("", "lnlib"):
                raise
            _fail(f'this command needs {package}, which is not installed; run pip install -e ".[lab]"')
        except KeyboardInterrupt:
            _end_interrupted()


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is below an error: while a checkpoint is written it comes as a failure to write."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _end_interrupted() -> NoReturn:
    typer.echo("interrupted", err=True)
    raise typer.Exit(130) from None


class ListsByDefault(TyperGroup):
    """Commands of which `list` is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` in its place."""
        return super().parse_args(ctx, args if {*args} - {"--json"} else ["list", *args])


def _fail(message: str) -> NoReturn:
    typer.echo("error: " + " ".join(message.split()), err=True)
    raise typer.Exit(2)


app = typer.Typer(
    name="lnlib",
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
data_app = typer.Typer(cls=ListsByDefault, help="List the data sets, or fetch one.")
app.add_typer(data_app, name="data")
runs_app = typer.Typer(cls=ListsByDefault, help="List the stored runs; show, compare or remove them.")
app.add_typer(runs_app, name="runs")
labs_app = typer.Typer(cls=ListsByDefault, help="List the labs of the lessons, or save some as pages.")
app.add_typer(labs_app, name="labs")

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A fingerprint, or its beginning.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def main() -> None:
    """What the `lnlib` command runs."""
    app()


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"lnlib {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def lnlib(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,
) -> None:
    """Learning with noisy labels: the course and its experiments."""


# lab


@app.command(context_settings={"ignore_unknown_options": True})
def lab(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGUMENT]...", help="For JupyterLab.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port on this machine; a free one unless given.")] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address, open nothing.")
    ] = False,
) -> None:
    """Open the course in JupyterLab, on this machine only and with a token."""
    root = course_folder()
    port = _free_port() if port is None else _checked_port(port)
    token = os.environ.get("JUPYTER_TOKEN") or secrets.token_urlsafe(24)
    page = f"/lab/tree/{quote(START.as_posix())}"
    options = {
        "--ip": "127.0.0.1",
        "--port": str(port),
        "--ServerApp.port_retries": "0",
        "--ServerApp.answer_yes": "True",
        "--ServerApp.root_dir": str(root),
        "--LabApp.default_url": page,
        # No calls for news and updates, nor the question whether to make them: the course works offline.
        "--LabApp.app_settings_dir": str(Path(__file__).parent / "jupyter"),
        "--log-level": "WARN",
    }
    further = arguments or []
    # JupyterLab refuses an option that comes twice.
    chosen = {argument.partition("=")[0] for argument in further}
    command = [sys.executable, "-m", "jupyterlab"]
    command += [f"{name}={value}" for name, value in options.items() if name not in chosen]
    if no_browser or not _has_display():
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        typer.echo(
            "note: running as root, which JupyterLab allows only with --allow-root; adding it", err=True
        )
        command.append("--allow-root")
    # A python3 kernel in the user's home would otherwise come before the one of this environment.
    environment = (
        os.environ | {"JUPYTER_TOKEN": token, "JUPYTER_PREFER_ENV_PATH": "1"} | _browser_for_figures()
    )
    typer.echo("starting JupyterLab ...", err=True)
    with _stopped_with_us(subprocess.Popen([*command, *further], env=environment)) as server:
        if _answers(server, port, token):
            typer.echo(f"\nThe course is at  http://127.0.0.1:{port}{page}?token={token}\nCtrl-C stops it.\n")
            sys.stdout.flush()
        server.wait()
    if server.returncode:
        raise LnlibError(
            f"JupyterLab ended with code {server.returncode}; its messages are above, and see `lnlib doctor`"
        )


def course_folder() -> Path:
    """The folder with the notebooks: where lnlib was installed from, else the current one."""
    for root in (Path(__file__).resolve().parent.parent, Path.cwd()):
        if (root / START).is_file():
            return root
    raise LnlibError(
        f"could not find {START} beside lnlib or in {Path.cwd()}; run this in a clone of the repository"
    )


def _free_port() -> int:
    for port in (*range(FIRST_PORT, FIRST_PORT + 20), 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise LnlibError("no free port on 127.0.0.1; stop a server")


def _checked_port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise InvalidValue(f"a port must lie in 1 to 65535, got {port}; leave --port out to take a free one")
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            remedy = "leave --port out to take a free one"
            raise InvalidValue(f"port {port} cannot be used ({error.strerror}); {remedy}") from error
    return port


def _has_display() -> bool:
    return sys.platform != "linux" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )


def _answers(server: "subprocess.Popen[bytes]", port: int, token: str) -> bool:
    """Whether this server, which alone knows the token, answers before it ends or the time is up."""
    address = f"http://127.0.0.1:{port}/api/status?token={token}"
    give_up = time.monotonic() + SERVER_START_SECONDS
    while server.poll() is None and time.monotonic() < give_up:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2):
            return True
        time.sleep(0.1)
    return server.poll() is None


def _browser_for_figures() -> dict[str, str]:
    """Tells kaleido, in its own variable, of browsers that it would not find, such as Playwright's."""
    from lnlib.doctor import find_browser

    browser = find_browser()
    return {"BROWSER_PATH": browser} if browser else {}


@contextlib.contextmanager
def _stopped_with_us(server: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    """The server, which a SIGTERM or Ctrl-C to this process also shuts down."""
    before = signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    try:
        yield server
    except KeyboardInterrupt:
        server.send_signal(signal.SIGINT)
        server.wait()
        server.returncode = 0
    finally:
        signal.signal(signal.SIGTERM, before)


# doctor


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check each part of the environment; ends with 1 if the course cannot run."""
    from rich.console import Console
    from rich.text import Text

    from lnlib.doctor import checks

    console = Console()
    done = []
    with contextlib.nullcontext() if as_json else console.status("looking at the environment ..."):
        for check in checks():
            done.append(check)
            if not as_json:
                colour = {"OK": "green", "FAIL": "bold red"}.get(check.status, "yellow")
                line = Text.assemble(
                    (f"[{check.status}]".ljust(7), colour), check.name.ljust(13), check.detail
                )
                console.print(line, soft_wrap=True)
                if not check.ok:
                    console.print(Text(" " * 20 + check.remedy), soft_wrap=True)
    failed = [check.name for check in done if check.status == "FAIL"]
    if as_json:
        rows = [
            {
                "name": check.name,
                "status": check.status,
                "detail": check.detail,
                "remedy": "" if check.ok else check.remedy,
            }
            for check in done
        ]
        _print_json({"ok": not failed, "checks": rows})
    else:
        typer.echo(f"The course needs: {', '.join(failed)}." if failed else "The course can run.")
    raise typer.Exit(1 if failed else 0)


# data


@data_app.command("list")
def list_data(as_json: AsJson = False) -> None:
    """List the data sets and whether they are here."""
    from dataclasses import asdict

    from lnlib import data

    known = data.available()
    if as_json:
        _print_json([asdict(info) for info in known])
    else:
        heres = [info.where if info.present else f"missing: {info.how}" for info in known]
        rows = [
            {"name": info.name, "what it is": f"{info.title}, {info.size}", "where": here}
            for info, here in zip(known, heres, strict=True)
        ]
        _print_table("", rows)


@data_app.command()
def fetch(names: Annotated[list[str], typer.Argument(metavar="NAME...")], as_json: AsJson = False) -> None:
    """Download data sets into LNLIB_DATA (by default the user's cache folder)."""
    from lnlib import data

    for name in names:
        data.fetch(name)
    list_data(as_json)


# train


@app.command()
def train(
    dataset: Annotated[str, typer.Option(help="Data set, see `lnlib data`.")] = "digits",
    noise: Annotated[
        str, typer.Option(help="Kind of label noise: uniform, symmetric, pair, flip.")
    ] = "uniform",
    rate: Annotated[float, typer.Option(help="Noise rate, from 0 to below 1.")] = 0.5,
    noise_setting: Annotated[
        list[str] | None,
        typer.Option("--noise-set", metavar="NAME=VALUE", help="An option of the noise, as targets of flip."),
    ] = None,
    imbalance: Annotated[
        float, typer.Option(help="How many times more images the largest class has than the smallest.")
    ] = 1.0,
    meta_size: Annotated[int, typer.Option(help="Clean images kept apart, for methods that need some.")] = 0,
    method: Annotated[str, typer.Option(help=f"Method: {', '.join(METHODS)}.")] = "cross-entropy",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter of the method; may be repeated."),
    ] = None,
    net: Annotated[str, typer.Option(help=f"Network: {', '.join(NETS)}.")] = "mlp",
    width: Annotated[int | None, typer.Option(help="MLP: units in a layer.")] = None,
    depth: Annotated[int | None, typer.Option(help="MLP: hidden layers.")] = None,
    dropout: Annotated[float | None, typer.Option(help="MLP: share of units dropped.")] = None,
    optimizer: Annotated[str, typer.Option(help="adam, or sgd with momentum.")] = "adam",
    lr: Annotated[float | None, typer.Option(help="Learning rate of the optimiser.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay of the optimiser.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training set.")] = 60,
    batch_size: Annotated[int, typer.Option(help="Examples in a batch.")] = 64,
    train_size: Annotated[int | None, typer.Option(help="Training examples; all unless given.")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop so many epochs after the best one.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of split, noise and training.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train one method on noisy labels and print its last and its best epoch (by noisy validation).

    The run is kept in LNLIB_RUNS (by default runs/): what exists is shown at once, what was interrupted goes
    on.
    """
    from lnlib.papers.spec import Spec
    from lnlib.papers.store import Store

    run = Spec.parse(
        {
            "dataset": dataset,
            "noise": noise,
            "rate": rate,
            "noise_options": _numbers(_settings(noise_setting or [], "--noise-set", "targets=1")),
            "imbalance": imbalance,
            "meta_size": meta_size,
            "method": method,
            "method_options": _settings(setting or []),
            "net": net,
            "net_options": _given(width=width, depth=depth, dropout=dropout),
            "optimizer": optimizer,
            "optimizer_options": _given(lr=lr, weight_decay=weight_decay),
            "epochs": epochs,
            "batch_size": batch_size,
            "train_size": train_size,
            "patience": patience,
            "seed": seed,
        }
    )
    if note := run.note():
        typer.echo(f"note: {note}", err=True)
    with _progress_bar() as progress, _warnings_as_notes():
        bar = progress.add_task(run.label, total=run.epochs)

        def on_epoch(epoch: "Epoch") -> None:
            accuracy = "" if epoch.test_accuracy is None else f" · test {epoch.test_accuracy:.3f}"
            progress.update(bar, completed=epoch.epoch, description=run.label + accuracy)

        result = Store().obtain(run, on_epoch=on_epoch, on_wait=_say_waiting)
        progress.update(bar, completed=run.epochs)
    device = result.circumstances.device
    evaluated = result.history[result.history["validation_accuracy"].notna()]
    epochs_shown = {"best": result.best.to_dict(), "last": evaluated.iloc[-1].to_dict()}
    if as_json:
        facts = {
            "run": run.model_dump(mode="json"),
            "fingerprint": run.fingerprint,
            "device": device,
        }
        _print_json(facts | epochs_shown)
    else:
        shown = {
            "epoch": "epoch",
            "train_accuracy": "accuracy on given labels",
            "clean_accuracy": "… on the clean part",
            "corrupted_fit": "corrupted labels fitted",
            "corrupted_recovered": "true labels recovered",
            "validation_accuracy": "noisy validation accuracy",
            "test_accuracy": "test accuracy",
            "memorized_bits": "memorised bits per label",
        }
        rows = [
            {"": label} | {name: _number(row[column]) for name, row in epochs_shown.items()}
            for column, label in shown.items()
        ]
        _print_table(f"{run.label} · {device}", rows)


def _settings(pairs: Sequence[str], option: str = "--set", example: str = "beta=10") -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise InvalidValue(f"{option} takes NAME=VALUE, got {pair!r}; try {option} {example}")
    return dict(pair.split("=", 1) for pair in pairs)


def _numbers(texts: Mapping[str, str]) -> dict[str, int | float | str]:
    """Values read as numbers where they are."""
    found: dict[str, int | float | str] = {}
    for name, text in texts.items():
        for kind in (int, float, str):
            with contextlib.suppress(ValueError):
                found[name] = kind(text)
                break
    return found


def _given(**options: object) -> dict[str, object]:
    return {name: value for name, value in options.items() if value is not None}


def _number(value: float) -> str:
    if value != value:
        return "-"  # no corrupted labels, say
    return f"{value:.3f}" if value != int(value) else f"{value:.0f}"


def _with_progress(training: "Training", label: str) -> "Iterator[Epoch]":
    with _progress_bar() as progress:
        total = training.settings.epochs
        bar = progress.add_task(label, total=total, completed=len(training.records))
        for epoch in training:
            accuracy = "" if epoch.test_accuracy is None else f" · test {epoch.test_accuracy:.3f}"
            progress.update(bar, completed=epoch.epoch, description=label + accuracy)
            yield epoch


# suspects


@app.command()
def suspects(
    dataset: Annotated[
        str, typer.Option(help="Data set, see `lnlib data`, or folder:PATH for your own pictures.")
    ] = "digits",
    noise: Annotated[
        str, typer.Option(help="Kind of label noise: uniform, symmetric, pair, flip.")
    ] = "uniform",
    rate: Annotated[
        float, typer.Option(help="Corrupt so many labels first, to see how many are found.")
    ] = 0.0,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter of LIMIT; may be repeated."),
    ] = None,
    net: Annotated[str, typer.Option(help="Network: mlp or cnn.")] = "mlp",
    epochs: Annotated[int, typer.Option(help="Passes over the training set.")] = 60,
    batch_size: Annotated[int, typer.Option(help="Examples in a batch.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of split, noise and training.")] = 0,
    top: Annotated[int, typer.Option(help="How many to list, the most suspicious first.")] = 50,
    output: Annotated[Path, typer.Option(help="File for the list.")] = Path("suspects.csv"),
    as_json: AsJson = False,
) -> None:
    """Find wrong labels: train LIMIT, and rank the images by how far its gradients are from their labels'."""
    from lnlib.analysis import detection
    from lnlib.data import FOLDER
    from lnlib.device import default_device, describe
    from lnlib.files import write_text
    from lnlib.papers.spec import Spec

    if top < 1:
        raise InvalidValue(f"top must be at least 1, got {top}; try --top 50")
    if output.is_dir():
        raise InvalidValue(f"output must be a file, got the folder {output}; try --output suspects.csv")
    run = Spec.parse(
        {
            "dataset": dataset,
            "noise": noise,
            "rate": rate,
            "method": "limit",
            "method_options": _settings(setting or []),
            "net": net,
            "epochs": epochs,
            "batch_size": batch_size,
            "seed": seed,
        }
    )
    device = default_device()
    if note := run.note():
        typer.echo(f"note: {note}", err=True)
    best = {}
    for name, source in run.sources().items():
        first = source.training(device)
        for _ in _with_progress(first, f"{name} first"):
            pass
        best[name] = first.best_weights or {}
    training = run.training(device, run.member_parts()[0].begun_from(best))
    task = training.task
    for _ in _with_progress(training, task.dataset.name):  # a folder's name, where the label has its path
        pass
    parts = {"training": task.train, "validation": task.validation}
    if dataset.startswith(FOLDER):
        # The labels of a reader's own test pictures are no surer than those of the others.
        parts["test"] = task.test
    ranked = detection.suspects(
        task, {name: training.logits(split, "predictor") for name, split in parts.items()}
    )
    wanted = ("rank", "file", "row", "part", "given", "predicted", "score")
    listed = ranked.head(top)[[name for name in wanted if name in ranked]]
    write_text(output, listed.to_csv(index=False, lineterminator="\n"))
    marked = detection.evaluation_frame(ranked, task) if run.rate else ranked.assign(wrong=False)
    aucs = {
        str(name): detection.evaluation_auc(part["score"].to_numpy(), part["wrong"].to_numpy())
        for name, part in marked.groupby("part")
        if part["wrong"].any()  # a low rate may have left a small part as it was
    }
    if as_json:
        facts = {
            "run": run.model_dump(mode="json"),
            "fingerprint": run.fingerprint,
            "device": describe(device),
            "scored": len(ranked),
            "auc": aucs or None,
            "output": output,
        }
        return _print_json(facts | {"suspects": listed.to_dict("records")})
    shown = listed.head(10).assign(score=listed["score"].map("{:.3f}".format))
    _print_table(f"{run.label} · {describe(device)}", shown.to_dict("records"))
    typer.echo(f"the first {len(listed)} of {len(ranked)} are in {output}")
    for name, auc in aucs.items():
        typer.echo(f"AUC on {name} images: {auc:.2%}")


# figures


@app.command()
def figures(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="All unless given.")] = None,
    dataset: Annotated[str, typer.Option(help="Data set, see `lnlib data`.")] = "digits",
    budget: Annotated[str, typer.Option(help="quick, or full for the papers' epochs and grids.")] = "quick",
    output: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("figures"),
    list_only: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    as_json: AsJson = False,
) -> None:
    """Regenerate figures: PNG, interactive HTML, and the data as CSV with its provenance beside it."""
    from lnlib.errors import unknown_name
    from lnlib.papers.figures import FIGURES, make

    if list_only:
        rows = [{"name": name, "title": figure.title} for name, figure in FIGURES.items()]
        return _print_json(rows) if as_json else _print_table("", rows)
    for name in names or ():
        if name not in FIGURES:
            raise unknown_name("figure", name, FIGURES)
    os.environ.update(_browser_for_figures())
    made: dict[str, list[str]] = {}
    with _progress_bar() as progress:
        for name in names or FIGURES:
            bar = progress.add_task(name, total=1.0)

            def on_progress(what: str, share: float, name: str = name, bar: Any = bar) -> None:
                progress.update(bar, completed=share, description=f"{name}: {what}")

            files = make(name, dataset=dataset, budget=budget, output=output, progress=on_progress)  # type: ignore[arg-type]
            made[name] = [str(path) for path in files]
            progress.update(bar, completed=1.0, description=name)
    if as_json:
        _print_json(made)
    else:
        typer.echo("\n".join(path for paths in made.values() for path in paths))
    if not all(any(path.endswith(".png") for path in paths) for paths in made.values()):
        typer.echo("note: no PNG without Chrome or Chromium; see `lnlib doctor`", err=True)


# labs


@labs_app.command("list")
def list_labs(as_json: AsJson = False) -> None:
    """List the labs of the lessons."""
    from lnlib.course.labs import LABS, lab_named

    titles = {name: (lab_named(name).__doc__ or "").partition("\n")[0].rstrip(".") for name in LABS}
    rows = [{"name": name, "what it shows": title} for name, title in titles.items()]
    _print_json(rows) if as_json else _print_table("", rows)


@labs_app.command("save")
def save_labs(
    names: Annotated[list[str], typer.Argument(metavar="NAME...")],
    output: Annotated[Path, typer.Option(help="Folder for the pages.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Train labs on digits and save each as one HTML page that needs neither kernel nor network."""
    from lnlib.course.labs import lab_named

    if output.exists() and not output.is_dir():
        raise InvalidValue(f"output must be a folder, got the file {output}; try --output pages")
    labs = {name: lab_named(name)() for name in names}
    pages = []
    with _progress_bar() as progress:
        for name, lab in labs.items():
            bar = progress.add_task(name, total=1.0)
            if lab.trains:
                lab.train()
                while not lab.wait(0.2):
                    progress.update(bar, completed=lab.progress.value)
            pages.append(lab.save(output / f"{name}.html"))
            progress.update(bar, completed=1.0)
    _print_json([str(page) for page in pages]) if as_json else typer.echo("\n".join(map(str, pages)))


# runs


@runs_app.command("list")
def list_runs(as_json: AsJson = False) -> None:
    """List the runs in LNLIB_RUNS (by default runs/): what they train, how far they are, how well they do."""
    from lnlib.papers.store import Store

    store = Store()
    known = store.runs()
    if as_json:
        return _print_json([_stored(run) for run in known])
    if not known:
        return typer.echo(f"no runs in {store.root}; `lnlib train` makes one")
    _print_table(
        "",
        [
            {
                "run": run.fingerprint,
                "status": run.status,
                "method": run.method,
                "data": run.spec.get("dataset", ""),
                "n": run.spec.get("train_size") or "all",
                "noise": f"{run.spec.get('noise', '')} {run.spec.get('rate', '')}",
                "net": run.spec.get("net", ""),
                "seed": run.spec.get("seed", ""),
                "epochs": run.numbers.get("epochs", ""),
                "validation": _share(run.numbers.get("validation_accuracy")),
                "test": _share(run.numbers.get("test_accuracy")),
            }
            for run in known
        ],
    )


@runs_app.command("show")
def show_run(fingerprint: RunName, as_json: AsJson = False) -> None:
    """Show a run's spec, its state and its epochs."""
    from lnlib.papers.store import Store

    store = Store()
    run = store.named(fingerprint)
    history = store.history(run) if run.status == "finished" else None
    if as_json:
        epochs = [] if history is None else history.to_dict("records")
        return _print_json(_stored(run) | {"history": epochs})
    typer.echo(f"{run.fingerprint} · {run.status}" + (f" · {run.message}" if run.message else ""))
    facts = {**run.spec, **run.numbers}
    _print_table("", [{"": name, " ": str(value)} for name, value in facts.items()] or [{"": "no spec"}])
    if history is not None:
        columns = ["epoch", "loss", "train_accuracy", "validation_accuracy", "test_accuracy"]
        rows = history.loc[history["validation_accuracy"].notna(), columns].to_dict("records")
        _print_table("", [{name: _number(value) for name, value in row.items()} for row in rows])


@runs_app.command("compare")
def compare_runs(one: RunName, other: RunName, as_json: AsJson = False) -> None:
    """Compare two runs: the fields that differ, and their numbers."""
    from lnlib.papers.store import Store

    frame = Store().compare(one, other)
    if as_json:
        return _print_json(
            {name: dict(zip(frame.columns, row, strict=True)) for name, *row in frame.itertuples()}
        )
    _print_table(
        "",
        [
            {"": name, **dict(zip(frame.columns, map(str, row), strict=True))}
            for name, *row in frame.itertuples()
        ],
    )


@runs_app.command("remove")
def remove_runs(
    fingerprints: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Fingerprints or their beginnings.")
    ],
    as_json: AsJson = False,
) -> None:
    """Remove runs for good; nothing else changes."""
    from lnlib.papers.store import Store

    store = Store()
    names = [store.named(fingerprint).fingerprint for fingerprint in fingerprints]
    removed = [store.remove(name).fingerprint for name in dict.fromkeys(names)]
    if as_json:
        _print_json(removed)
    else:
        typer.echo("\n".join(f"removed {name}" for name in removed))


def _stored(run: "StoredRun") -> dict[str, object]:
    """A stored run as one object, its spec and numbers inside."""
    return {
        "fingerprint": run.fingerprint,
        "status": run.status,
        "message": run.message,
        "spec": run.spec,
        "numbers": run.numbers,
    }


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


# reproduce


@app.command()
def reproduce(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="limit-table1 or 2, metainfonet-table1 to 6.")
    ],
    dataset: Annotated[str, typer.Option(help="Data set, see `lnlib data`.")] = "digits",
    rows: Annotated[
        list[str] | None, typer.Option(help="A row, like limit-l; may be repeated. All unless given.")
    ] = None,
    cells: Annotated[
        list[str] | None,
        typer.Option(
            help="Cells, like p=0.5,n=all or factor=20; may be repeated. The budget's unless given."
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
    from lnlib.papers import tables

    request = tables.Request.parse(table, dataset, budget, rows, cells, seeds, epochs, train_size)
    if request.left_out:
        typer.echo(f"note: left out: {request.left_out}", err=True)
    with _progress_bar() as progress, _warnings_as_notes():
        bar = progress.add_task(table, total=1.0)

        def on_progress(what: str, share: float) -> None:
            progress.update(bar, completed=share, description=what)

        frame = tables.reproduce(request, progress=on_progress, on_wait=_say_waiting)
        progress.update(bar, completed=1.0, description=table)
    paths = tables.write(request, frame, output)
    if as_json:
        return _print_json({"files": paths, "cells": frame.to_dict("records")})
    made = frame[frame["ours"].notna() | (frame["diverged"] != "")]
    metrics = request.table.metrics
    _print_table(
        request.table.title,
        [
            {
                "row": record["row"],
                "cell": record["cell"],
                **{
                    "paper → ours" + f", {metric}" * (len(metrics) > 1): tables.cell_text(record, metric)
                    for metric in metrics
                },
                "setting": record["setting"],
                "seeds": record["seeds"],
                "diverged": record["diverged"],
            }
            for record in made.to_dict("records")
        ],
    )
    typer.echo("\n".join(map(str, paths)))


def _say_waiting(run: "Spec") -> None:
    typer.echo(f"note: waiting for another process to finish {run.label}", err=True)


@contextlib.contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """What the store warns of, as one line each on stderr."""
    import warnings

    from lnlib.papers.store import DamagedRun

    with warnings.catch_warnings():
        warnings.simplefilter("always", DamagedRun)
        warnings.showwarning = lambda message, *_, **__: typer.echo(f"note: {message}", err=True)
        yield


# What the commands print with.


def _print_json(value: object) -> None:
    typer.echo(json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    """JSON's own types: no NumPy numbers, paths or NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    value = value.item() if hasattr(value, "item") else value
    return None if value != value else value


def _print_table(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    if title:
        typer.echo(title)
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console = Console()
    # Without a terminal there is no width to keep to, and scripts like whole lines.
    (console if console.is_terminal else Console(width=200)).print(table)


def _progress_bar() -> Any:
    """A bar with the time left, on stderr so that stdout stays clean for scripts."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
