"""`lnlib lab FOLDER`: lessons come, keep up, and never take the place of what a student changed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lnlib import doctor
from lnlib.cli import course as command
from lnlib.cli.app import app
from lnlib.course import folder
from lnlib.course.exercises import progress
from lnlib.course.folder import RECORD, START, Update, bring
from lnlib.errors import InvalidValue, LnlibError

FIRST, SECOND, TABLE = START, "notebooks/deeper/02_figure_1.ipynb", "figures/claims-02.csv"


def ship(place: Path, **texts: str) -> None:
    """Let the installed course have these texts as its files."""
    for name, text in zip((FIRST, SECOND, TABLE), texts.values(), strict=False):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel's lessons, three files, and no clone in sight; the current folder is an empty one."""
    place = tmp_path / "material"
    ship(place, first="one", second="two", table="three")
    monkeypatch.setattr(folder, "CLONE", tmp_path / "nowhere")
    monkeypatch.setattr(folder, "SHIPPED", place)
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return place


def texts(place: Path) -> dict[str, str]:
    """What is in a folder, but for the record."""
    found = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
    return {name: path.read_text() for name, path in found.items() if name != RECORD}


def test_the_first_time_everything_is_copied_and_the_second_time_nothing(shipped: Path) -> None:
    own = Path("own")
    assert bring(own) == Update(own, added=(FIRST, SECOND, TABLE))
    assert texts(own) == {FIRST: "one", SECOND: "two", TABLE: "three"}
    before = {path: path.stat().st_mtime_ns for path in own.rglob("*")}
    assert bring(own) == Update(own)
    assert {path: path.stat().st_mtime_ns for path in own.rglob("*")} == before


def test_an_upgrade_replaces_what_is_as_it_was_adds_what_is_new_and_keeps_what_was_changed(
    shipped: Path,
) -> None:
    own, new = Path("own"), "notebooks/01_new.ipynb"
    bring(own)
    (own / FIRST).write_text("one, and my answers")
    (own / "notebooks" / "mine.ipynb").write_text("my own")
    ship(shipped, first="one, better", second="two, better")
    (shipped / new).write_text("new")
    update = bring(own)
    assert update == Update(own, added=(new,), replaced=(SECOND,), kept=(FIRST,))
    expected = {FIRST: "one, and my answers", SECOND: "two, better", TABLE: "three", new: "new"}
    assert texts(own) == expected | {"notebooks/mine.ipynb": "my own"}
    # It is told as long as it is so, and a lesson that was thrown away comes anew.
    assert bring(own) == Update(own, kept=(FIRST,))
    (own / FIRST).unlink()
    assert bring(own) == Update(own, added=(FIRST,)) and texts(own)[FIRST] == "one, better"


def test_a_change_is_no_matter_to_tell_as_long_as_the_course_has_nothing_newer(shipped: Path) -> None:
    own = Path("own")
    bring(own)
    (own / FIRST).write_text("one, run")
    assert bring(own) == Update(own) and texts(own)[FIRST] == "one, run"
    (own / FIRST).write_text("one")
    ship(shipped, first="one, better")
    assert bring(own) == Update(own, replaced=(FIRST,))


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"files": 3}', "\x00"])
def test_without_a_readable_record_nothing_that_stands_is_replaced(damage: str, shipped: Path) -> None:
    own = Path("own")
    bring(own)
    ship(shipped, first="one, better")
    (own / RECORD).write_text(damage)
    assert bring(own) == Update(own, kept=(FIRST,)) and texts(own)[FIRST] == "one"
    assert {*json.loads((own / RECORD).read_text())["files"]} == {SECOND, TABLE}


def interrupted(*given: object) -> None:
    raise KeyboardInterrupt


def test_an_upgrade_that_broke_off_goes_on(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path("own")
    bring(own)
    ship(shipped, first="1", second="2", table="3")
    with monkeypatch.context() as power, pytest.raises(KeyboardInterrupt):
        power.setattr(folder, "write_text", interrupted)
        bring(own)
    assert bring(own) == Update(own) and texts(own) == {FIRST: "1", SECOND: "2", TABLE: "3"}
    ship(shipped, first="one")
    assert bring(own) == Update(own, replaced=(FIRST,))


def test_a_fresh_copy_goes_beside_the_one_that_is_there(shipped: Path) -> None:
    own = Path("own")
    assert bring(own, fresh=True).folder == own
    (own / FIRST).write_text("mine")
    names = [bring(own, fresh=True).folder.name for _ in range(2)]
    assert names == ["own-2", "own-3"]
    assert texts(own)[FIRST] == "mine" and texts(Path("own-3"))[FIRST] == "one"


def test_a_file_is_no_folder_and_a_folder_that_cannot_be_written_gets_nothing(shipped: Path) -> None:
    Path("file").write_text("")
    with pytest.raises(InvalidValue, match="got the file file; try `lnlib lab lnlib-course`"):
        bring(Path("file"))
    own = Path("own")
    (own / "notebooks" / "deeper").mkdir(parents=True)
    (own / "figures").write_text("in the way")
    with pytest.raises(LnlibError, match="could not write"):
        bring(own)
    assert texts(own) == {"figures": "in the way"}


def test_only_what_belongs_to_the_course_travels(shipped: Path) -> None:
    for name in ("my-progress.json", ".ipynb_checkpoints/a.ipynb", "deeper/.hidden.ipynb", "page.html"):
        (shipped / "notebooks" / name).parent.mkdir(exist_ok=True)
        (shipped / "notebooks" / name).write_text("")
    (shipped / "figures" / "limit-fig1.html").write_text("")
    assert [*folder.files(shipped)] == [FIRST, SECOND, TABLE]


def opened(*words: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """The folder that `lnlib lab` shows, and what it says."""
    given: list[str] = []

    def start(argv: list[str]) -> None:
        given.extend(argv)
        raise LnlibError("started")

    monkeypatch.setattr("jupyterlab.labapp.LabApp.initialize_server", start)
    for name in ("JUPYTER_TOKEN", "JUPYTER_PREFER_ENV_PATH", "BROWSER_PATH"):
        monkeypatch.setenv(name, "")
    result = CliRunner().invoke(app, ["lab", *words])
    assert "error: started" in result.stderr, result.stderr
    return Path(next(one for one in given if one.startswith("--ServerApp.root_dir=")).partition("=")[2]), (
        result.stderr
    )


def test_the_command_copies_into_its_folder_and_opens_it_again_from_inside(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, said = opened(monkeypatch=monkeypatch)
    assert place == Path("lnlib-course").absolute() and "3 files added" in said
    place, said = opened("my course", "--log-level=INFO", monkeypatch=monkeypatch)
    assert place == Path("my course").absolute() and (place / START).is_file()
    ship(shipped, first="one, better")
    (place / TABLE).write_text("mine")
    ship(shipped, first="one, better", second="two", table="better")
    monkeypatch.chdir(place)
    again, said = opened(monkeypatch=monkeypatch)
    assert again == place and "0 files added, 1 replaced that you had not changed" in said
    assert "kept as you changed them: claims-02.csv; `lnlib lab --fresh`" in said
    fresh, _ = opened("--fresh", monkeypatch=monkeypatch)
    assert fresh == place.with_name("my course-2")


def test_from_a_clone_the_clone_is_opened_unless_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place, said = opened(monkeypatch=monkeypatch)
    assert place == folder.CLONE == Path(command.__file__).parents[2] and "added" not in said
    assert not [*tmp_path.iterdir()]
    place, _ = opened("mine", monkeypatch=monkeypatch)
    assert place == tmp_path / "mine"
    assert {*folder.files(place)} == {*folder.files(folder.CLONE)}


def test_a_clone_of_another_lnlib_is_opened_as_it_is(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("notebooks").mkdir()
    Path(START).write_text("{}")
    place, _ = opened(monkeypatch=monkeypatch)
    assert place == Path.cwd() and texts(place) == {START: "{}"}


def test_progress_lies_in_the_folder_of_the_lessons_as_in_a_clone(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = bring(Path("own")).folder.absolute()
    monkeypatch.delenv("LNLIB_PROGRESS", raising=False)
    for below in ("notebooks", "notebooks/deeper"):
        monkeypatch.chdir(own / below)
        progress.note("limit", below, correct=True)
    found = json.loads((own / "notebooks" / progress.FILE).read_text())
    assert {*found["limit"]} == {"notebooks", "notebooks/deeper"}
    assert bring(own) == Update(own)


def test_the_doctor_tells_of_the_lessons_and_misses_them(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PARTS", {"lessons": doctor.PARTS["lessons"]})
    (found,) = doctor.checks()
    assert (found.status, found.detail.split()[0]) == ("OK", "2")
    (shipped / START).unlink()
    (found,) = doctor.checks()
    assert found.status == "FAIL" and "missing from" in found.detail and "wheel anew" in found.remedy


def test_what_is_missing_is_installed_as_lnlib_was(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder.install("teach") == 'pip install "lnlib[teach]"'
    monkeypatch.undo()
    assert folder.install("lab") == 'pip install -c constraints.txt -e ".[lab]"'
