"""The store, whatever is in it: the others are listed, the bad one is named, set aside and made again, and no
error is longer than a sentence.
"""

import csv
import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lnlib.cli.app import app
from lnlib.errors import LnlibError
from lnlib.papers.store import SET_ASIDE, DamagedRun, Result, Store
from tests.stores import SPECS, Made, make, same_numbers


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return make(tmp_path_factory)


# Damage: what it does to a file or a folder.

TEXT = st.text(max_size=5)
NONSENSE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    TEXT,
    st.sampled_from([10**400, "finished", "\x1b", "0.5", [[]], {"a": {"a": 1}}]),
)
JSON = st.recursive(
    NONSENSE, lambda part: st.lists(part, max_size=3) | st.dictionaries(TEXT, part, max_size=3)
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all parts of nested dicts and lists."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, part in parts for place in places(part, (*at, key)))][bool(not at) :]


def spoiled(value: Any, draw: st.DrawFn) -> Any:
    """The same with one part lost or replaced by nonsense."""
    *way, last = draw(st.sampled_from(places(value)))
    inner = value
    for key in way:
        inner = inner[key]
    if draw(st.booleans()):
        del inner[last]
    else:
        inner[last] = draw(JSON)
    return value


@st.composite
def contents(draw: st.DrawFn, name: str, content: bytes) -> bytes:
    """Other contents of a file."""
    kinds = ["bytes", "cut", "flip", "json", "deep", "latin-1"]
    kind = draw(st.sampled_from([*kinds, "part", "part", "part"]))
    if kind == "bytes":
        return draw(st.binary(max_size=50))
    if kind == "cut":
        return content[: draw(st.integers(0, len(content) - 1))]
    if kind == "flip":
        place = draw(st.integers(0, len(content) - 1))
        return content[:place] + bytes([content[place] ^ draw(st.integers(1, 255))]) + content[place + 1 :]
    if kind == "json":
        return json.dumps(draw(JSON)).encode()
    if kind == "deep":
        return b'{"spec": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    if kind == "latin-1":
        return content + "\N{LATIN SMALL LETTER E WITH ACUTE}".encode("latin-1")
    if name.endswith(".json"):
        return json.dumps(spoiled(json.loads(content), draw)).encode()
    if name.endswith(".csv"):
        rows = spoiled(list(csv.reader(content.decode().splitlines())), draw)
        return "\n".join(
            ",".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows
        ).encode("utf-8", "surrogatepass")
    return content[::-1]


@st.composite
def damage(draw: st.DrawFn, folder: Path) -> None:
    """Damage a run's folder."""
    name = draw(st.sampled_from(sorted(path.name for path in folder.iterdir())))
    path = folder / name
    kind = draw(
        st.sampled_from(["lost", "folder", "loop", "fifo", "empty", "file", "notebook", *["content"] * 8])
    )
    content = path.read_bytes()
    if kind == "notebook":  # what JupyterLab leaves: no damage
        (folder / ".ipynb_checkpoints").mkdir()
        return
    if kind == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
        return
    if kind == "file":
        shutil.rmtree(folder)
        folder.write_bytes(draw(st.binary(max_size=20)))
        return
    path.unlink()
    if kind == "folder":
        path.mkdir()
        (path / "inside").write_text("")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "content":
        path.write_bytes(draw(contents(name, content)))


def said(call: Callable[[], Any]) -> Any:
    """What a call returns, or the one line that it raises."""
    try:
        return call()
    except LnlibError as error:
        assert "\n" not in str(error).strip() and "  " not in str(error)
        return None


def command(*arguments: str) -> None:
    """A command that answers, or says in one line why not."""
    done = CliRunner().invoke(app, ["runs", *arguments])
    assert done.exit_code == 0 or (done.exit_code == 2 and done.stderr.startswith("error: ")), done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs on this system")
@settings(max_examples=80, deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(SPECS.keys() - {"bystander"})), removed=st.booleans())
def test_whatever_is_in_a_folder_nothing_raises_and_the_others_are_there(
    made, tmp_path_factory, data, kind, removed
):
    store, spec = made.copy(tmp_path_factory.mktemp("damaged") / "runs"), SPECS[kind]
    name, bystander = spec.fingerprint, SPECS["bystander"].fingerprint
    data.draw(damage(store.folder(spec)))
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LNLIB_RUNS", str(store.root))
        warnings.simplefilter("ignore", DamagedRun)
        listed = {run.fingerprint: run for run in store.runs()}
        assert listed.keys() == {spec.fingerprint for spec in SPECS.values()}
        assert listed[bystander].status == "finished"
        assert listed[name].status != "damaged" or listed[name].message
        said(lambda: store.history(store.named(name)))
        said(lambda: store.compare(bystander, name))
        for more in ([], ["--json"]):
            command("list", *more)
            command("show", name, *more)
            command("compare", name, bystander, *more)
        if not removed:
            assert isinstance(store.failure(spec), str)
            found = store.find(spec)
            assert found is None or found.spec == spec
            obtained = said(lambda: store.obtain(spec))
            assert isinstance(obtained, Result) == (kind != "diverged")
            if obtained:
                said(obtained.arrays)
                if said(obtained.best_states) is None:
                    obtained = store.obtain(spec)
                    assert obtained.best_states()["classifier"]
            if obtained and found is None:
                same_numbers(obtained.history, made.histories[kind])
                assert not (store.folder(spec) / "checkpoint.pt").exists()
        if os.path.lexists(store.folder(spec)):
            assert store.remove(name).fingerprint == name
        assert not os.path.lexists(store.folder(spec))
        assert [run.fingerprint for run in store.runs()] == sorted(listed.keys() - {name})


def test_a_checkpoint_without_a_part_is_set_aside_and_the_run_starts_again(made, tmp_path):
    spec = SPECS["interrupted"]
    state = torch.load(Store(made.root).folder(spec) / "checkpoint.pt", weights_only=True)
    parts = [place for place in places(state) if len(place) <= 2]
    assert len(parts) > 10
    for number, (*way, last) in enumerate(parts):
        store = made.copy(tmp_path / str(number))
        path = store.folder(spec) / "checkpoint.pt"
        lacking = torch.load(path, weights_only=True)
        inner = lacking[way[0]] if way else lacking
        del inner[last]
        torch.save(lacking, path)
        with pytest.warns(DamagedRun, match=r"checkpoint\.pt"):
            result = store.obtain(spec)
        same_numbers(result.history, made.histories["interrupted"])
        assert (store.root / SET_ASIDE / f"{spec.fingerprint}-checkpoint.pt-1").is_file()
