"""The one writer: only a plain file is replaced, whatever stands at the path."""

import csv
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lnlib.errors import InvalidValue, LnlibError
from lnlib.files import check_writable, expanded, read_csv, whole_file, write_csv, write_text

posix = pytest.mark.skipif(os.name != "posix", reason="links, FIFOs and modes are those of POSIX")


def inode(path: Path) -> int:
    return path.lstat().st_ino


def test_a_new_file_has_the_mode_that_any_program_would_give_it(tmp_path: Path) -> None:
    write_text(tmp_path / "new/list.csv", "a,b\n")
    (tmp_path / "usual").write_text("")
    assert (tmp_path / "new/list.csv").read_text() == "a,b\n"
    assert (tmp_path / "new/list.csv").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["list.csv"]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_a_file_keeps_its_mode_and_is_replaced_whole(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "list.csv"
    path.write_text("old")
    path.chmod(mode)
    before = inode(path)
    write_text(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", mode)
    assert inode(path) != before


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@posix
@pytest.mark.parametrize("dangling", [False, True])
def test_of_a_link_the_file_that_it_leads_to_is_written(tmp_path: Path, dangling: bool) -> None:
    target, link = tmp_path / "there/list.csv", tmp_path / "link"
    target.parent.mkdir()
    (tmp_path / "middle").symlink_to(target)
    link.symlink_to("middle")
    if not dangling:
        target.write_text("old")
    write_text(link, "new")
    assert target.read_text() == "new" and not target.is_symlink()
    assert os.readlink(link) == "middle"


@posix
def test_a_fifo_is_written_to(tmp_path: Path) -> None:
    path, read = tmp_path / "fifo", []
    os.mkfifo(path)
    before = inode(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    text = "rows\n" * 50_000  # more than a FIFO holds: the writer waits for the reader

    def drain() -> None:
        while sum(map(len, read)) < len(text):  # nothing comes before the writer opens
            read.append(os.read(reader, 1 << 16))

    thread = threading.Thread(target=drain, daemon=True)
    with whole_file(path) as file:
        file.write(text.encode())
        thread.start()
    thread.join(20)
    os.close(reader)
    assert b"".join(read).decode() == text
    assert inode(path) == before and stat.S_ISFIFO(path.stat().st_mode)


@posix
def test_a_device_is_written_to(tmp_path: Path) -> None:
    """A terminal of the test's own; a link to it is a device as well."""
    ours, theirs = os.openpty()
    try:
        device = Path(os.ttyname(theirs))
        before = inode(device)
        (tmp_path / "link").symlink_to(device)
        for path in (device, tmp_path / "link"):
            write_text(path, "text")
            assert os.read(ours, 100) == b"text"
        assert inode(device) == before and stat.S_ISCHR(device.stat().st_mode)
        assert (tmp_path / "link").is_symlink()
    finally:
        os.close(ours)
        os.close(theirs)


def fifo_without_a_reader(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


def folder(path: Path) -> None:
    path.mkdir()


@posix
@pytest.mark.parametrize("make", [fifo_without_a_reader, loop, below_a_file, folder])
def test_what_cannot_be_written_is_refused_in_a_sentence(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "place" / "out"
    path.parent.mkdir()
    make(path)
    with pytest.raises(LnlibError, match=r"could not write .*out: .*; free some space or choose a file"):
        write_text(path, "text")
    left = sorted(one.name for one in tmp_path.rglob("*"))
    assert left == (["place"] if make is below_a_file else ["out", "place"])


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write anywhere")
def test_a_write_protected_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(LnlibError, match="Permission denied"):
        write_text(path, "new")
    assert path.read_text() == "old"


@posix
def test_what_will_not_be_written_is_known_before(tmp_path: Path) -> None:
    for make in (loop, below_a_file, folder):
        path = tmp_path / make.__name__ / "place" / "out"
        path.parent.mkdir(parents=True)
        make(path)
        with pytest.raises(LnlibError, match="could not write"):
            check_writable(path)
    standing = tmp_path / "list.csv"
    standing.write_text("old")
    check_writable(standing)
    check_writable(tmp_path / "new/list.csv")
    assert standing.read_text() == "old" and not (tmp_path / "new").exists()


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
CELLS = TEXTS | TEXTS.map("=".__add__) | st.sampled_from(["'=1", "''-x", "-1", "\r", "NA", "nan", "+a\tb"])


@given(st.lists(st.tuples(CELLS, st.floats(allow_infinity=False)), min_size=1))
def test_a_spreadsheet_finds_no_formula_and_the_reader_finds_what_was_written(
    rows: list[tuple[str, float]],
) -> None:
    table = pd.DataFrame(rows, columns=["text", "number"])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        write_csv(path, table)
        with path.open(encoding="utf-8", newline="") as file:
            plain = [*csv.reader(file)][1:]
        again = read_csv(path, dtype={"text": str}).to_dict("list")
    assert not any(text.startswith(("=", "+", "-", "@", "\t", "\r")) for text, _ in plain)
    assert [float(number or "nan") for _, number in plain] == pytest.approx(again["number"], nan_ok=True)
    assert ["" if text != text else text for text in again["text"]] == [text for text, _ in rows]
    assert again["number"] == pytest.approx(table["number"].tolist(), nan_ok=True)


def test_a_name_that_is_not_utf_8_is_written_with_backslashes(tmp_path: Path) -> None:
    write_text(tmp_path / "list", "a\udcffb")
    assert (tmp_path / "list").read_bytes() == b"a\\udcffb"


def test_a_home_that_nobody_has_is_named() -> None:
    with pytest.raises(InvalidValue, match="~nobody-here/x"):
        expanded("~nobody-here/x")
