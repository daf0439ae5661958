"""The `lnlib` command: what it prints, where errors go, and with which code it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from jupyterlab.labapp import LabApp
from typer.testing import CliRunner, Result

import lnlib
from lnlib import data, methods, nets
from lnlib.catalog import METHODS, NETS
from lnlib.cli import course
from lnlib.cli.app import app
from lnlib.course.labs import LABS
from lnlib.errors import DataUnavailable
from lnlib.methods import MetaInfoNet
from lnlib.papers.spec import Spec
from lnlib.training import SGD

SHORT = ["train", "--train-size", "120", "--width", "8", "--depth", "1"]


@pytest.fixture(autouse=True)
def _own_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LNLIB_RUNS", str(tmp_path / "runs"))


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@contextmanager
def command(*arguments: str, environment: dict[str, str] | None = None) -> "Iterator[subprocess.Popen[str]]":
    """`lnlib` in a process of its own, its stdout and stderr read through pipes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lnlib", *arguments],
        env=os.environ | {"LNLIB_DEVICE": "cpu"} | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def one_line_error(result: Result) -> str:
    """The error, having checked that it is one line on stderr and the exit code 2."""
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and result.stderr.endswith(errors[0] + "\n")
    assert "Traceback" not in result.output
    return errors[0]


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["suspects", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = """
import sys
from lnlib.cli.app import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    heavy = {"torch", "numpy", "pandas", "scipy", "sklearn", "plotly", "rich"} & set(sys.modules)
    sys.exit(f"imported {heavy}" if heavy else end.code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    commands, options = ["lab", "doctor", "data", "train", "figures"], ["--epochs INTEGER", "--set"]
    words = commands if arguments == ["--help"] else options
    assert all(re.search(rf"^\W*{word}\b", done.stdout, re.MULTILINE) for word in words)


def test_version() -> None:
    assert invoke("--version").stdout == f"lnlib {lnlib.__version__}\n"


def test_the_installed_command_ends_with_the_code() -> None:
    command = [str(Path(sys.executable).parent / "lnlib"), "train", "--rate", "1.5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


# Errors of every command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--rate", "1.3"], "1.3"),
        (["train", "--method", "limmit"], "did you mean 'limit'"),
        (["train", "--dataset", "mnits"], "did you mean 'mnist'"),
        (["train", "--noise", "unifrom"], "did you mean 'uniform'"),
        (["train", "--set", "beta=1"], "beta"),
        (["train", "--method", "limit", "--set", "beta"], "NAME=VALUE"),
        (["train", "--method", "limit", "--set", "betta=1"], "did you mean 'beta'"),
        (["train", "--noise-set", "targets"], "try --noise-set targets=1"),
        (["train", "--noise", "flip", "--noise-set", "targts=1"], "'targts'"),
        (["train", "--epochs", "0"], "epochs"),
        (["train", "--seed", "-1"], "seed"),
        (["figures", "limit-fig5"], "did you mean 'limit-fig"),
        (["figures", "limit-fig2", "--budget", "huge"], "'huge'"),
        (["data", "fetch", "minst"], "did you mean 'mnist'"),
    ],
)
def test_bad_input_is_one_line_that_names_it(arguments: list[str], said: str) -> None:
    assert said in one_line_error(invoke(*arguments))


def test_an_error_of_several_lines_becomes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise DataUnavailable("no network;\n  put the files there by hand")

    monkeypatch.setattr(data, "fetch", broken)
    assert (
        one_line_error(invoke("data", "fetch", "mnist")) == "error: no network; put the files there by hand"
    )


def test_a_package_that_is_not_installed_is_named_with_the_remedy() -> None:
    code = "import sys; sys.modules['plotly'] = None; from lnlib.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "figures", "--list"], capture_output=True, text=True)
    remedy = 'pip install -c constraints.txt -e ".[lab]"'
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f"error: this command needs plotly, which is not installed; run {remedy}\n"


def test_an_interrupt_ends_with_130_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "fetch", interrupted)
    result = invoke("data", "fetch", "mnist")
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


def test_an_interrupt_below_another_error_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted_while_writing(name: str) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise DataUnavailable("could not write it; free some space") from error

    monkeypatch.setattr(data, "fetch", interrupted_while_writing)
    assert invoke("data", "fetch", "mnist").exit_code == 130


# data


@pytest.mark.parametrize("arguments", [["data"], ["data", "list"]])
def test_data_lists_what_is_here_and_how_to_get_the_rest(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LNLIB_DATA", str(tmp_path))
    text = " ".join(invoke(*arguments).stdout.split())
    assert "digits" in text and "missing: lnlib data fetch mnist" in text
    sets = {one["name"]: one for one in json.loads(invoke(*arguments, "--json").stdout)}
    assert sets["digits"]["present"] and not sets["mnist"]["present"]
    assert sets["mnist"]["where"].startswith(str(tmp_path))


def test_data_fetches_each_name(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(data, "fetch", fetched.append)
    assert invoke("data", "fetch", "mnist", "fashion-mnist").exit_code == 0
    assert fetched == ["mnist", "fashion-mnist"]


# train


def test_train_has_the_defaults_of_a_run() -> None:
    report = json.loads(invoke("train", "--epochs", "1", "--train-size", "120", "--json").stdout)
    assert Spec.parse({"epochs": 1, "train_size": 120}) == Spec.parse(report["run"])
    assert invoke("train", "--help").stdout.count(f"default: {Spec().epochs}") == 1


def test_train_hands_its_options_to_the_run() -> None:
    options = [
        "--rate",
        "0.4",
        "--method",
        "limit",
        *("--set", "beta=3", "--set", "q=gaussian", "--set", "sampling=true", "--set", "sigma=0.2"),
    ]
    more = [
        "--lr",
        "0.01",
        "--weight-decay",
        "0.001",
        "--dropout",
        "0.25",
        "--batch-size",
        "32",
        "--seed",
        "5",
    ]
    report = json.loads(invoke(*SHORT, *options, *more, "--epochs", "2", "--json").stdout)
    wanted = {
        "train_size": 120,
        "rate": 0.4,
        "method": "limit",
        "method_options": {"beta": 3.0, "q": "gaussian", "sampling": True, "sigma": 0.2},
        "net_options": {"width": 8, "depth": 1, "dropout": 0.25},
        "optimizer_options": {"lr": 0.01, "weight_decay": 0.001},
        "epochs": 2,
        "batch_size": 32,
        "seed": 5,
    }
    assert Spec.parse(wanted).fingerprint == report["fingerprint"]
    assert report["last"]["epoch"] == 2
    assert report["best"]["validation_accuracy"] >= report["last"]["validation_accuracy"]


def test_train_takes_a_meta_set_a_long_tail_and_what_the_noise_needs() -> None:
    options = (
        "--noise flip --noise-set targets=1 --rate 0.4 --meta-size 20 --imbalance 2 --method metainfonet"
    )
    more = "--set lam=0.3 --set interval=2 --optimizer sgd --lr 0.05 --epochs 1 --width 8 --depth 1 --json"
    report = json.loads(invoke("train", *options.split(), *more.split()).stdout)
    run = Spec.parse(report["run"])
    assert run.noise_options == {"targets": 1} and (run.meta_size, run.imbalance) == (20, 2)
    method, settings = run.member_parts()
    assert method == MetaInfoNet(lam=0.3, interval=2) and settings.optimizer == SGD(0.05)
    without = one_line_error(invoke("train", "--method", "lossnet", "--epochs", "1"))
    assert "without a meta set; make it with meta_size=100 or --meta-size 100" in without


def test_the_catalogue_names_every_method_and_network() -> None:
    assert {entry.load() for entry in METHODS.values()} == {
        kind for kind in vars(methods).values() if isinstance(kind, type) and hasattr(kind, "name")
    }
    assert {entry.load() for entry in NETS.values()} == {
        kind
        for kind in vars(nets).values()
        if hasattr(kind, "build") and kind not in (nets.NetSpec, nets.OwnNet)
    }
    assert all(entry.load().name == name and entry.label for name, entry in METHODS.items())


def test_train_prints_a_table_and_keeps_the_progress_out_of_it() -> None:
    result = invoke(*SHORT, "--epochs", "2")
    assert result.exit_code == 0
    assert re.search(r"^test accuracy +0\.\d{3} +0\.\d{3} *$", result.stdout, re.MULTILINE)
    assert "100%" in result.stderr and "100%" not in result.stdout


def test_train_keeps_its_run_and_trains_it_once() -> None:
    options = [*SHORT, "--epochs", "3", "--json"]
    first, again = (json.loads(invoke(*options).stdout) for _ in range(2))
    assert first == again  # times included
    (run,) = json.loads(invoke("runs", "--json").stdout)
    assert run["fingerprint"] == first["fingerprint"] and run["status"] == "finished"


# figures


def test_figures_lists_them() -> None:
    assert "limit-fig2" in invoke("figures", "--list").stdout
    names = [figure["name"] for figure in json.loads(invoke("figures", "--list", "--json").stdout)]
    assert {"limit-fig1", "limit-fig2"} <= set(names)


def test_figures_writes_the_files_it_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Without a browser the PNG is left out, and said to be.
    monkeypatch.setattr("lnlib.course.plots.showing.png", lambda figure: None)
    result = invoke("figures", "limit-fig2", "--output", str(tmp_path), "--json")
    assert result.exit_code == 0, result.output
    files = [Path(path) for path in json.loads(result.stdout)["limit-fig2"]]
    assert sorted(files) == sorted(tmp_path.iterdir())
    assert {path.suffix for path in files} == {".csv", ".json", ".html"}
    assert "note: no PNG without Chrome or Chromium" in result.stderr


# lab


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What `lnlib lab` would start JupyterLab with, a course in the current folder and no token in sight."""
    given: list[str] = []

    class Server:
        local_url = "http://127.0.0.1:8888/lab?token=..."
        identity_provider = SimpleNamespace(token="secret")
        io_loop = SimpleNamespace(add_callback=lambda call, *arguments: call(*arguments))

        def start(self) -> None:
            given.append("started")

    def initialize_server(argv: list[str]) -> Server:
        given.extend(argv)
        return Server()

    monkeypatch.setattr(course, "course_folder", lambda named, fresh: tmp_path)
    monkeypatch.setattr(LabApp, "initialize_server", initialize_server)
    for name in ("JUPYTER_TOKEN", "JUPYTER_PREFER_ENV_PATH", "BROWSER_PATH"):
        monkeypatch.setenv(name, "")  # so that the test takes back what the command sets
    return given


def test_lab_starts_jupyter_on_this_machine_only_with_a_token_and_prints_the_address(
    started: list[str], tmp_path: Path
) -> None:
    result = invoke("lab", "--no-browser")
    assert result.exit_code == 0, result.output
    assert {"--ip=127.0.0.1", f"--ServerApp.root_dir={tmp_path}", "--no-browser"} <= {*started}
    assert "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb" in started
    assert started[-1] == "started" and len(os.environ["JUPYTER_TOKEN"]) > 20
    assert "The course is at  http://127.0.0.1:8888/lab?token=secret\n" in result.stdout


@pytest.mark.parametrize(("display", "opens"), [("", False), (":0", True)])
def test_lab_opens_a_browser_only_where_there_is_a_display(
    started: list[str], monkeypatch: pytest.MonkeyPatch, display: str, opens: bool
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", display)
    invoke("lab")
    assert ("--no-browser" not in started) is opens


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there is no root on this system")
@pytest.mark.parametrize(("user", "allowed"), [(0, True), (1000, False)])
def test_lab_as_root_says_so(
    started: list[str], monkeypatch: pytest.MonkeyPatch, user: int, allowed: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    result = invoke("lab")
    assert ("--allow-root" in started) is allowed
    assert ("note: running as root" in result.stderr) is allowed


def test_lab_hands_further_arguments_on(started: list[str]) -> None:
    invoke("lab", "--log-level=INFO", "--ServerApp.allow_remote_access=False")
    assert started[-3:] == ["--log-level=INFO", "--ServerApp.allow_remote_access=False", "started"]
    # JupyterLab refuses an option that comes twice.
    assert sum(part.startswith("--log-level") for part in started) == 1


def test_a_port_that_is_asked_for_is_the_only_one_tried(started: list[str]) -> None:
    invoke("lab", "--port", "9999")
    assert {"--port=9999", "--ServerApp.port_retries=0"} <= {*started}


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("port", ["0", "65536"])
def test_lab_names_a_port_that_cannot_be(port: str) -> None:
    assert "'--port'" in one_line_error(invoke("lab", "--port", port))


@pytest.mark.usefixtures("started")
def test_a_server_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LabApp, "initialize_server", lambda argv: sys.exit(1))
    assert "JupyterLab ended with code 1" in one_line_error(invoke("lab"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_jupyter_which_answers_at_its_address(number: signal.Signals, tmp_path: Path) -> None:
    folders = {name: str(tmp_path) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    with command("lab", "--no-browser", environment=folders) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "http://" in line)
        assert "/lab/tree/notebooks/00_start_here.ipynb?token=" in line
        page, token = line.split()[-1].split("?token=")
        server = page.removesuffix("/lab/tree/notebooks/00_start_here.ipynb")
        # Without the token this is refused, where a page would send to the one that asks for it.
        with urllib.request.urlopen(f"{server}/api/contents?token={token}", timeout=60) as contents:
            assert contents.status == 200
        process.send_signal(number)
        assert process.wait(60) == 0


# labs


def test_labs_are_listed() -> None:
    rows = json.loads(invoke("labs", "--json").stdout)
    assert [row["name"] for row in rows] == list(LABS)
    assert invoke("labs").stdout.count("\n") == len(LABS) + 1


def test_labs_save_writes_a_page_of_each(tmp_path: Path) -> None:
    done = invoke("labs", "save", "fano", "decomposition", "--output", str(tmp_path / "pages"))
    pages = [tmp_path / "pages" / f"{name}.html" for name in ("fano", "decomposition")]
    assert done.stdout.split() == [str(page) for page in pages]
    assert all(page.stat().st_size > 1_000_000 for page in pages)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["fanno"], "unknown lab 'fanno': did you mean 'fano'?"),
        (["fano", "--output", "FILE"], "output must be a folder, got the file FILE; try --output pages"),
    ],
)
def test_what_labs_save_cannot_do_is_one_line(
    arguments: list[str], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("")
    assert hint in one_line_error(invoke("labs", "save", *arguments))
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]
