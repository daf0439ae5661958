"""Any words behind `lnlib` end in an answer or in one line: no traceback, no hang, no control character.

What takes long or leaves this machine is stubbed: training, drawing, downloads, JupyterLab.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jupyterlab.labapp import LabApp
from typer.main import get_command
from typer.testing import CliRunner

from lnlib import doctor
from lnlib.catalog import METHODS, NETS
from lnlib.cli import course
from lnlib.cli.app import app
from lnlib.course import labs, plots
from lnlib.data import sources
from lnlib.files import write_text
from lnlib.noise import BUILDERS
from lnlib.papers import cost, figures, runner
from lnlib.papers.figures import FIGURES
from lnlib.papers.presets import TABLES
from lnlib.papers.spec import Spec
from lnlib.papers.store import Result, Store

NUMBERS = ("0", "1", "-1", "0.5", "2", "100", "nan", "NaN", "-Infinity", "1e999", str(10**30), "1" * 5000)
NAMES = ("digits", "mnist", "quick", "given", *METHODS, *NETS, *BUILDERS, *TABLES, *FIGURES, *labs.LABS)
PLACES = ("FILE", "FOLDER", "missing", "FILE/below", "folder:FOLDER", "folder:FILE", "folder:~nobody/x")
ODD = (
    "",
    " ",
    "[/y]",
    "[red]a",
    "\x1b[31mred",
    "\u202ebidi",
    "two\nlines",
    "\udcff",
    "=",
    "x=",
    "{}",
    "null",
)
PAIRS = st.tuples(
    st.sampled_from(("beta", "width", "lr", "targets", "mapping", "seed", "patience", "init", "betas", "")),
    st.sampled_from((*NUMBERS, *ODD, "true", "laplace", "[1, 2]", '{"1": 2}', "[" * 9999)),
).map("=".join)
# As a word of a command line cannot hold a zero, and nothing may be written outside the test's folder.
TEXTS = st.text(st.characters(exclude_characters="\0/~\\:"), max_size=20).filter(lambda text: text != "..")
VALUES = st.one_of(st.sampled_from((*NUMBERS, *NAMES, *PLACES, *ODD)), PAIRS, TEXTS)


def leaves(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*words, name))
        else:
            yield (*words, name), command


COMMANDS = dict(leaves(get_command(app)))


STORED = Spec.parse({"epochs": 1, "train_size": 100})
RUNS = (STORED.fingerprint, STORED.fingerprint[:3])
FITTING: dict[str, Sequence[str]] = {
    "dataset": ("digits", "folder:FOLDER"),
    "noise": tuple(BUILDERS),
    "method": tuple(METHODS),
    "net": tuple(NETS),
    "optimizer": ("adam", "sgd"),
    "rate": ("0", "0.3", "0.95"),
    "budget": ("quick", "cores", "full"),
    "table": tuple(TABLES),
    "rows": ("ce", "limit-l", "standard"),
    "cells": ("p=0.5", "p=0.5,n=all", "n=1000", "factor=20"),
    "output": ("new", "FILE", "FOLDER", "FILE/below"),
    "names": ("digits", "limit-fig2", "fano", "limit"),
    **dict.fromkeys(("fingerprint", "fingerprints", "one", "other"), RUNS),
    **dict.fromkeys(("epochs", "batch_size", "seed", "seeds", "train_size", "top"), ("1", "2", "64")),
}


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command, what it needs, some of its options with values that fit or not, and at times too much."""
    name = draw(st.sampled_from(sorted(COMMANDS)))
    words = [*name]
    for parameter in COMMANDS[name].params:
        if not parameter.required and draw(st.integers(0, len(COMMANDS[name].params))) > 2:
            continue
        value = draw(st.one_of(st.sampled_from(FITTING.get(parameter.name, ODD)), VALUES))
        if parameter.param_type_name == "argument":
            words.append(value)
        elif parameter.is_flag:
            words.append(draw(st.sampled_from([*parameter.opts, *parameter.secondary_opts])))
        else:
            words += [parameter.opts[-1], value]
    return words + draw(st.lists(VALUES, max_size=1)) * (draw(st.integers(0, 9)) == 9)


@pytest.fixture(scope="module", autouse=True)
def _stubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    place = tmp_path_factory.mktemp("fuzz")
    trained = Store(place / "trained").obtain(STORED)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name in ("LNLIB_DATA", "LNLIB_RUNS"):
            patch.setenv(name, str(place / name))
        for name in ("JUPYTER_TOKEN", "JUPYTER_PREFER_ENV_PATH", "BROWSER_PATH"):
            patch.setenv(name, "")
        (place / "FILE").write_text("")
        for folder in ("[red]a", "b"):
            (place / "FOLDER" / folder).mkdir(parents=True)
        shutil.copytree(trained.folder, place / "LNLIB_RUNS" / trained.folder.name)
        patch.setattr(Store, "obtain", lambda self, spec, **options: replace(trained, spec=spec))
        patch.setattr(Store, "remove", Store.named)
        patch.setattr(runner, "make", lambda *arguments, **options: {})
        patch.setattr(runner, "timed_step", lambda state: 0.01)
        patch.setattr(cost, "measured", lambda *arguments: cost.Measured(1.0, 1e9))
        patch.setattr(Spec, "new_run", lambda spec, *arguments, **options: SimpleNamespace(state=None))
        patch.setattr(Result, "run", lambda result: _trained(result.spec))
        patch.setattr(
            Store,
            "obtain_together",
            lambda self, specs, **options: [replace(trained, spec=spec) for spec in specs],
        )
        patch.setattr(figures, "FIGURES", {name: _figure(one) for name, one in FIGURES.items()})
        patch.setattr(plots, "save", lambda figure, stem: [])
        patch.setattr(labs, "lab_named", lambda name, real=labs.lab_named: real(name) and _Lab)
        patch.setattr(sources._Download, "torchvision_class", _no_network)
        patch.setattr(doctor, "checks", lambda: iter([doctor.Check("\x1b", False, "[/y]", "\n")]))
        patch.setattr(course, "course_folder", lambda named, fresh: place)
        patch.setattr(LabApp, "initialize_server", lambda argv: _Server())
        yield


class _Lab:
    """A stub."""

    trains = False

    def save(self, path: Path) -> Path:
        write_text(path, "")
        return path


class _Server:
    local_url = "http://127.0.0.1"
    identity_provider = SimpleNamespace(token="secret")
    io_loop = SimpleNamespace(add_callback=lambda call, *arguments: call(*arguments))

    def start(self) -> None:
        pass


def _no_network(self: Any) -> Any:
    raise OSError("no network")


def _figure(spec: figures.FigureSpec) -> figures.FigureSpec:
    made = figures.FigureData(pd.DataFrame({"x": ["=1"]}), go.Figure(), {})
    return replace(spec, make=lambda *arguments: made)


def _trained(spec: Spec) -> Any:
    """A run that needs no epoch."""
    task = spec.task()
    return SimpleNamespace(
        nets={}, logits=lambda split, network: torch.zeros(len(task.split(split)), task.num_classes)
    )


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.generate],
)
@given(words=command_lines())
def test_any_command_line_ends_in_an_answer_or_in_one_line(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code in (0, 1, 2), result.output
    assert all(line.isprintable() for line in result.output.split("\n"))
    if result.exit_code == 2:
        *_, last = result.stderr.splitlines()
        assert last.startswith("error: ")
