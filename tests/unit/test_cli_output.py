"""What the terminal gets: names as they are, on any console, also on one that is full or closed."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len
from typer.testing import CliRunner

from lnlib.cli.app import app
from lnlib.cli.output import note, print_json, print_table, printable, progress, say
from lnlib.files import read_csv

LNLIB = [sys.executable, "-m", "lnlib"]
posix = pytest.mark.skipif(os.name != "posix", reason="signals, /dev/full and such names are those of POSIX")


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    surroundings = os.environ | {"LNLIB_DEVICE": "cpu"} | environment
    return subprocess.run([*LNLIB, *arguments], env=surroundings, capture_output=True, check=False)


# Names


@given(st.text())
def test_what_is_shown_holds_no_control_character_and_nothing_is_lost(text: str) -> None:
    seen = printable(text)
    assert all(unicodedata.category(one)[0] not in "C" for one in seen)
    assert printable(seen) == seen
    assert text != seen or text.isprintable()


@given(st.text(), st.text())
def test_every_way_to_print_shows_a_name_the_same(name: str, other: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        say(name)
        print_table([{"name": name, "other": other}])
        note(name)
        with progress() as begin:
            begin(name)
    line, _, row, *rest = out.getvalue().split("\n")
    assert line == printable(name) and rest == [""]
    assert row == f"{printable(name)}  {printable(other)}".rstrip() or cell_len(printable(name)) < len("name")
    said, bar = err.getvalue().split("\n")[:2]
    assert said == printable(" ".join(name.split())) and bar.startswith(printable(name))


@given(st.dictionaries(st.text(), st.floats() | st.text()))
def test_json_is_ascii_that_any_reader_takes(value: dict[str, float | str]) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        print_json(value)
    assert all(one == "\n" or " " <= one <= "~" for one in out.getvalue())
    read = json.loads(out.getvalue())
    wrong = {
        key
        for key, one in value.items()
        if isinstance(one, float) and (one != one or abs(one) == float("inf"))
    }
    assert read == {key: None if key in wrong else one for key, one in value.items()}


@pytest.fixture
def odd_pictures(tmp_path: Path) -> Path:
    """Two classes and files whose names a console, a spreadsheet or UTF-8 would stumble over."""
    root = tmp_path / "[/y] pictures"
    names = ["=1+1", "[red]a", "\x1b[31mred", "new\nline", "\u202ebidi", os.fsdecode(b"\xff"), "x" * 200]
    for folder, level in (("[red]a", 60), ("-b", 190)):
        (root / folder).mkdir(parents=True)
        for number in range(14):
            name = names[number % len(names)]
            Image.new("L", (8, 8), level + number).save(root / folder / f"{name}{number}.png")
    return root


@posix
def test_no_name_of_a_picture_is_lost_or_does_harm(odd_pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "list.csv"
    options = ["suspects", "--dataset", f"folder:{odd_pictures}", "--epochs", "1", "--output", str(output)]
    printed = CliRunner().invoke(app, options)
    assert printed.exit_code == 0, printed.output
    assert all(line.isprintable() for line in printed.output.split("\n"))
    assert "[red]a" in printed.stdout and "[/y] pictures" in printed.stdout
    cells = output.read_text().split("\n", 1)[1]
    assert "'-b" in cells and ",-b," not in cells
    table = read_csv(output)
    files = {path.relative_to(odd_pictures).as_posix() for path in odd_pictures.rglob("*.png")}
    assert {*table["file"]} == {name.encode(errors="backslashreplace").decode() for name in files}
    assert {*table["given"]} == {"[red]a", "-b"}
    told = json.loads(CliRunner().invoke(app, [*options, "--json"]).stdout)
    assert {row["file"] for row in told["suspects"]} == files


# Consoles


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize("arguments", [["data"], ["data", "--json"], ["train", "--epochs", "1"], ["--help"]])
def test_output_survives_any_console(arguments: list[str], encoding: str, tmp_path: Path) -> None:
    done = run(*arguments, PYTHONIOENCODING=encoding, LNLIB_RUNS=str(tmp_path / "\u2192"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode(encoding)
    assert b"Traceback" not in done.stderr


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device on this system")
@pytest.mark.parametrize("arguments", [["data"], ["--help"], ["data", "--json"], ["labs"]])
def test_a_full_console_is_one_line(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*LNLIB, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "error: cannot read or write the output: No space left on device\n"


@posix
def test_a_reader_that_went_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*LNLIB, "data"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@posix
@pytest.mark.slow
@pytest.mark.parametrize("closed", ["1>&- 2>&-", "2>/dev/full"])
def test_work_is_not_lost_where_nobody_listens(closed: str, tmp_path: Path) -> None:
    words = f'exec "$0" -m lnlib train --epochs 1 --train-size 100 {closed}'
    surroundings = os.environ | {"LNLIB_RUNS": str(tmp_path / "runs"), "LNLIB_DEVICE": "cpu"}
    done = subprocess.run(
        ["sh", "-c", words, sys.executable], env=surroundings, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs").is_dir()


# Ctrl-C


SLOWLY = """
import os, signal, sys
{where}
from lnlib.cli import main
sys.argv[1:] = ["train", "--epochs", "2000", "--train-size", "100", "--evaluate-every", "2000"]
main()
"""
IN_AN_IMPORT = """
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "{name}":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""
IN_TRAINING = """
from lnlib.papers import store
obtain = store.Store.obtain
def interrupted(*arguments, on_epoch, **options):
    return obtain(*arguments, on_epoch=lambda epoch: os.kill(os.getpid(), signal.SIGINT), **options)
store.Store.obtain = interrupted
"""


@posix
@pytest.mark.parametrize(
    "where",
    [*(IN_AN_IMPORT.format(name=name) for name in ("typer", "pydantic", "numpy", "torch")), IN_TRAINING],
)
def test_ctrl_c_at_any_time_is_one_word_and_130(where: str, tmp_path: Path) -> None:
    script = SLOWLY.format(where=where)
    surroundings = os.environ | {"LNLIB_RUNS": str(tmp_path), "LNLIB_DEVICE": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
        # Whoever runs the tests in the background has Ctrl-C ignored, and so would the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.endswith("interrupted\n") and "Traceback" not in done.stderr


@posix
def test_a_job_in_the_background_stays_deaf_to_ctrl_c() -> None:
    script = "import os, signal; from lnlib.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "data", "--json"],
        capture_output=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) and None,
    )
    assert done.returncode == 0


# Where the runs are


@pytest.mark.parametrize("command", [["runs"], ["train", "--epochs", "1"], ["runs", "show", "a"]])
@pytest.mark.parametrize(
    ("place", "said"), [("FILE", "it is not a folder"), ("~nobody-here/runs", "home directory")]
)
def test_a_place_for_runs_that_cannot_be_is_one_line(
    command: list[str], place: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("")
    monkeypatch.setenv("LNLIB_RUNS", place)
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2 and said in result.stderr.splitlines()[-1]
