"""The exports: nothing for students to find, everything for teachers; each read by what it is made for."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from typer.testing import CliRunner

from lnlib.cli.app import app
from lnlib.course import exercises, quiz
from lnlib.course.exports import export
from lnlib.doctor import find_browser
from lnlib.errors import InvalidValue, LnlibError, UnknownName

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
LESSONS = sorted(path.relative_to(NOTEBOOKS).as_posix() for path in NOTEBOOKS.rglob("[!.]*.ipynb"))
CORE = [name for name in LESSONS if name[0].isdigit()]
CHECKED = re.compile(r"^exercises\.(\w+)\.check\(answer\)", re.MULTILINE)
PIXEL = '<img alt="a dot" style="max-width:100%" src="data:image/png;base64,iVBORw0KGgo=">'


def exported(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / kind
    files = export(kind, folder, NOTEBOOKS)
    assert sorted(files) == sorted(path for path in folder.rglob("*") if path.is_file())
    return folder


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported("student", tmp_path_factory)


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported("solution", tmp_path_factory)


@pytest.fixture(scope="module")
def decks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("latex2mathml")
    return exported("slides", tmp_path_factory)


def read(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def sources(notebook: nbformat.NotebookNode, kind: str) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == kind)


@pytest.mark.parametrize("name", LESSONS)
def test_a_students_copy_has_questions_and_places_for_answers_but_neither_outputs_nor_solutions(
    name: str, students: Path
) -> None:
    original, copy = read(NOTEBOOKS / name), read(students / name)
    code, prose = sources(copy, "code"), sources(copy, "markdown")
    assert not [cell for cell in copy.cells if cell.get("outputs") or cell.get("execution_count")]
    assert not [cell for cell in copy.cells if cell.metadata]
    assert {*copy.metadata} <= {"kernelspec", "language_info"}
    assert "solution()" not in code + prose and "`#`" not in prose and "<details open" not in prose
    asked = CHECKED.findall(sources(original, "code"))
    assert CHECKED.findall(code) == asked
    assert code.count("answer = None  # your answer here") == code.count("answer = ") == len(asked)
    before = sources(original, "markdown")
    assert prose.count("**Predict") == before.count("**Predict")
    # Nothing but what tells of solutions is lost of the text.
    assert len(prose) > len(before) - 200
    assert prose.count("<details>") == prose.count("</details>")


@pytest.mark.parametrize("name", LESSONS)
def test_a_students_copy_says_first_where_the_course_begins(name: str, students: Path) -> None:
    first = read(students / name).cells[0].source
    links = re.findall(r"\]\(([^)]*)\)", first)
    assert "your answers" in first and "The course begins" in first
    begins = [(students / name).parent / link for link in links] or [students / name]
    assert [path.resolve() for path in begins] == [students.resolve() / CORE[0]]


@pytest.mark.parametrize("kind", ["student", "solution"])
def test_whatever_a_copy_reads_or_links_stands_in_the_folder(kind: str, students: Path, solved: Path) -> None:
    folder, outside = {"student": students, "solution": solved}[kind], []
    for name in LESSONS:
        text = "\n".join(cell.source for cell in read(folder / name).cells)
        paths = re.findall(r"\]\(([\w./-]+\.\w+)(?:#[^)]*)?\)", text)
        paths += re.findall(r"read_csv\(\"([^\"]+)\"", text)
        outside += [path for path in paths if not ((folder / name).parent / path).resolve().is_file()]
        assert "../figures" not in text or "/" in name
    assert outside == []
    assert [*folder.rglob("*.csv")]


@pytest.mark.parametrize("name", LESSONS)
def test_a_solved_copy_shows_each_check_right_and_the_solution_below(name: str, solved: Path) -> None:
    cells = read(solved / name).cells
    asked = CHECKED.findall(sources(read(NOTEBOOKS / name), "code"))
    found = []
    for cell, below in zip(cells, [*cells[1:], None], strict=True):
        if cell.cell_type == "code" and (check := CHECKED.search(cell.source)):
            assert cell.outputs[0].data["text/markdown"].startswith("✅")
            assert f"def {check[1]}(" in below.source and "**Answer:**" in below.source
            found.append(check[1])
    assert found == asked
    assert "answer = None" not in sources(read(solved / name), "code")


def test_run_in_a_kernel_every_answer_of_the_solved_copies_is_right(solved: Path, tmp_path: Path) -> None:
    cells = [new_code_cell("from lnlib.course import exercises")]
    for name in LESSONS:
        code = [cell.source for cell in read(solved / name).cells if cell.cell_type == "code"]
        cells += [new_code_cell(source) for source in code if CHECKED.search(source)]
    assert len(cells) > 15
    notebook = new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    verdicts = [cell.outputs[0].data["text/markdown"] for cell in notebook.cells[1:]]
    assert [verdict for verdict in verdicts if not verdict.startswith("✅")] == []


def nbgrader(folder: Path, *words: str) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "nbgrader", *words]
    own = {name: str(folder / "home") for name in ("JUPYTER_CONFIG_DIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR")}
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # nbgrader calls alembic
    done = subprocess.run(command, cwd=folder, env=os.environ | own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_nbgrader_releases_a_lesson_and_gives_full_marks_to_the_solved_one_and_none_to_the_empty(
    tmp_path: Path,
) -> None:
    pytest.importorskip("nbgrader")
    course = tmp_path / "course"
    export("nbgrader", course, NOTEBOOKS)
    name = next(Path(name).stem for name in CORE if "fano" in name)
    asked = CHECKED.findall(sources(read(NOTEBOOKS / f"{name}.ipynb"), "code"))
    nbgrader(course, "generate_assignment", name)
    text = (course / "release" / name / f"{name}.ipynb").read_text()
    assert "BEGIN SOLUTION" not in text and "solution()" not in text
    for student in ("somebody-solved", "nobody-empty"):
        shutil.copytree(course / "release" / name, course / "submitted" / student / name)
    path = course / "submitted/somebody-solved" / name / f"{name}.ipynb"
    submitted = read(path)
    right = {f"answer_{name}": getattr(exercises, name).solve() for name in asked}
    for cell in submitted.cells:
        if (marks := cell.metadata.get("nbgrader")) and marks.solution:
            assert cell.source.splitlines()[0] == "answer = None  # your answer here"
            cell.source = f'answer = "{right[marks.grade_id]:.4f}"'
    nbformat.write(submitted, path)
    nbgrader(course, "autograde", name)
    nbgrader(course, "export")
    with (course / "grades.csv").open() as file:
        grades = {row["student_id"]: (row["score"], row["max_score"]) for row in csv.DictReader(file)}
    most = f"{len(asked)}.0"
    assert len(asked) >= 2 and grades == {"somebody-solved": (most, most), "nobody-empty": ("0.0", most)}


def test_each_lesson_is_an_assignment_with_a_locked_point_below_each_answer(tmp_path: Path) -> None:
    validator = pytest.importorskip("nbgrader.nbgraderformat").MetadataValidator()
    export("nbgrader", tmp_path, NOTEBOOKS)
    for name in LESSONS:
        notebook = read(tmp_path / "source" / Path(name).stem / Path(name).name)
        validator.validate_nb(notebook)
        marks = [cell.metadata.nbgrader for cell in notebook.cells if "nbgrader" in cell.metadata]
        asked = CHECKED.findall(sources(read(NOTEBOOKS / name), "code"))
        assert [one.grade_id for one in marks[::2]] == [f"answer_{name}" for name in asked]
        assert all(one.solution and not one.locked and not one.grade for one in marks[::2])
        assert all(one.grade and one.locked and one.points == 1 for one in marks[1::2])
        text = "\n".join(cell.source for cell in notebook.cells)
        for link in re.findall(r"\]\(([\w./-]+\.ipynb)", text):
            assert (tmp_path / "source" / Path(name).stem / link).is_file(), link


@pytest.mark.parametrize("name", LESSONS)
def test_a_deck_has_ten_to_fifteen_slides_with_figures_and_asks_no_other_host(name: str, decks: Path) -> None:
    if name not in CORE and not (decks / name).with_suffix(".html").exists():
        pytest.skip("neither a core lesson nor cut into slides")
    page = (decks / name).with_suffix(".html").read_text(encoding="utf-8")
    count = page.count("<section>")
    assert count <= 15 and (count >= 10 or name not in CORE)
    assert name not in CORE or page.count("<figure><img ") >= 1
    assert re.findall(r"<!-- [\w.]+ -->", page) == []
    body = re.sub(r"<script>.*?</script>", "<script></script>", page, flags=re.DOTALL)
    asked = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"(?!data:)[^\"]*", body)
    assert asked == [] and "@import" not in page and not re.search(r"url\((?!['\"]?data:)", body)
    assert not re.search(r"(?<![\\$])\$[^$\n]+\$", re.sub(r"<[^>]*>|<pre.*?</pre>", "", body))


@pytest.mark.parametrize("name", LESSONS)
def test_each_formula_of_a_lesson_becomes_mathml_without_remains(name: str) -> None:
    pytest.importorskip("latex2mathml")
    from lnlib.course.exports.slides import _mathml

    prose = re.sub(r"`[^`\n]*`", "", sources(read(NOTEBOOKS / name), "markdown"))
    found = re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", prose, re.DOTALL)
    formulas = [displayed or inline for displayed, inline in found]
    odd = [one for one in formulas if re.search(r"\\|<mi>&(?!#|\w+;)|<mo ?/>", _mathml(one))]
    old = [one for one in formulas if re.search(r'mathvariant="(?!normal)', _mathml(one))]
    assert odd == old == []


def test_letters_of_formulas_are_those_that_browsers_draw() -> None:
    pytest.importorskip("latex2mathml")
    from lnlib.course.exports.slides import _mathml

    assert ["𝐲" in _mathml(r"\mathbf y"), "𝔼" in _mathml(r"\mathbb E"), "𝒩" in _mathml(r"\mathcal N")] == [
        True
    ] * 3
    assert _mathml(r"\begin{aligned}a&=b\\&=c\end{aligned}").count("<mtr>") == 2
    assert "⌊" in _mathml(r"\Bigl\lfloor n\Bigr\rfloor").replace("&#x0230A;", "⌊")


OVERFLOWING = """() => {
  const slide = document.querySelector("section.present .slide"), own = slide.getBoundingClientRect();
  const beyond = [...slide.querySelectorAll("p, li, td, h1, h2, h3, img, math, pre")].filter(part => {
    const box = part.getBoundingClientRect();
    return box.right > own.right + 1 || box.bottom > own.bottom + 1 || !box.width;
  });
  return [parseFloat(getComputedStyle(slide).fontSize), beyond.map(part => part.outerHTML.slice(0, 80))];
}"""


@pytest.mark.slow
@pytest.mark.parametrize("name", CORE)
def test_in_a_browser_without_network_no_slide_overflows_and_nothing_is_asked_for(
    name: str, decks: Path
) -> None:
    if (browser := find_browser()) is None:
        pytest.skip("no browser is installed")
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
        chromium = playwright.chromium.launch(executable_path=browser, args=options)
        page = chromium.new_page(viewport={"width": 1280, "height": 720})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: asked.append(str(error)))
        page.goto((decks / name).with_suffix(".html").as_uri())
        page.wait_for_function("Reveal.isReady()")
        for number in range(page.evaluate("Reveal.getTotalSlides()")):
            page.evaluate(f"Reveal.slide({number})")
            size, beyond = page.evaluate(OVERFLOWING)
            assert beyond == [] and size >= 20, f"slide {number + 1}: {size} px, {beyond}"
        chromium.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def lesson(*cells: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return new_notebook(
        cells=list(cells), metadata={"widgets": {"state": {}}, "language_info": {"name": "python"}}
    )


def figure(source: str = "show()", **metadata: object) -> nbformat.NotebookNode:
    output = new_output("display_data", {"text/html": PIXEL, "text/plain": "a dot"})
    return new_code_cell(source, outputs=[output], execution_count=1, metadata=metadata)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A course of two lessons, one of them deeper."""
    folder = tmp_path / "clone" / "notebooks"
    (folder / "deeper").mkdir(parents=True)
    (folder.parent / "figures").mkdir()
    (folder.parent / "figures" / "one.csv").write_text("a\n1\n")
    (folder.parent / "docs" / "teach").mkdir(parents=True)
    (folder.parent / "docs" / "teach" / "00.md").write_text("for teachers")
    first = lesson(
        new_markdown_cell("# 00 · First\n\nWhat it is about.\n\n**You will be able to**\n- count."),
        new_markdown_cell("## 1. Part\n\nSome text.\n\n**Predict.** How many?"),
        figure('read_csv("../figures/one.csv")'),
        new_markdown_cell(
            "<details open><summary>Explain</summary>\n\nTwo.\n</details>\n\nSee [more](deeper/x.ipynb)."
        ),
        new_markdown_cell("## 2. Exercises\n\nWrite it. Take the `#` away to see how."),
        new_code_cell("exercises.two_classes"),
        new_code_cell(
            "answer = None\nexercises.two_classes.check(answer)\n# exercises.two_classes.solution()"
        ),
    )
    deeper = lesson(
        new_markdown_cell(
            "# Deeper\n\n[for teachers](../../docs/teach/00.md), **Predict.** no\n\n**Predict.** And now?"
        ),
        new_code_cell('x = predict.number("x", 0, 1)\nread_csv("../../figures/one.csv")'),
    )
    nbformat.write(first, folder / "00_first.ipynb")
    nbformat.write(deeper, folder / "deeper" / "x.ipynb")
    return folder


def test_a_prediction_without_a_widget_gets_a_place_to_write_and_the_one_with_a_widget_none(
    small: Path, tmp_path: Path
) -> None:
    export("student", tmp_path / "out", small)
    places = [sources(read(path), "markdown").count("Your prediction") for path in
              (tmp_path / "out/00_first.ipynb", tmp_path / "out/deeper/x.ipynb")]  # fmt: skip
    assert places == [1, 0]


def test_files_that_lessons_read_come_along_and_the_teachers_guide_does_not(
    small: Path, tmp_path: Path
) -> None:
    files = export("student", tmp_path / "out", small)
    names = [path.relative_to(tmp_path / "out").as_posix() for path in files]
    assert sorted(names) == ["00_first.ipynb", "deeper/x.ipynb", "figures/one.csv"]
    assert 'read_csv("figures/one.csv")' in sources(read(tmp_path / "out/00_first.ipynb"), "code")
    assert 'read_csv("../figures/one.csv")' in sources(read(tmp_path / "out/deeper/x.ipynb"), "code")
    text = sources(read(tmp_path / "out/00_first.ipynb"), "markdown")
    assert "<details>" in text and "Write it." in text and "Take the" not in text


def test_slide_types_of_cells_cut_the_deck_where_there_are_any(small: Path, tmp_path: Path) -> None:
    pytest.importorskip("latex2mathml")
    kinds = [("slide", "# Title"), ("", "left out"), ("slide", "## Second"), ("fragment", "more $x_1$")]
    kinds += [("notes", "to be said"), ("skip", "neither"), ("subslide", "third")]
    cells = [
        new_markdown_cell(text, metadata={"slideshow": {"slide_type": kind}} if kind else {})
        for kind, text in kinds
    ]
    cells.insert(3, figure(slideshow={"slide_type": "fragment"}))
    nbformat.write(lesson(*cells), small / "00_first.ipynb")
    export("slides", tmp_path / "out", small)
    page = (tmp_path / "out/00_first.html").read_text(encoding="utf-8")
    slides = re.findall(r"<section>(.*?)</section>", page, re.DOTALL)
    assert len(slides) == 3
    assert "<h1" in slides[0] and "third" in slides[2] and PIXEL in slides[1]
    assert "more <math" in slides[1] and '<aside class="notes"><p>to be said' in slides[1]
    assert "left out" not in page and "neither" not in page
    assert "<title>Title</title>" in page


def test_without_slide_types_the_picture_comes_after_the_prediction(small: Path, tmp_path: Path) -> None:
    pytest.importorskip("latex2mathml")
    export("slides", tmp_path / "out", small)
    page = (tmp_path / "out/00_first.html").read_text(encoding="utf-8")
    title, aims, asked, shown, asks = re.findall(r"<section>(.*?)</section>", page, re.DOTALL)
    assert "What it is about." in title and "count." in aims and "be able to" not in title
    assert "How many?" in asked and "<figure>" not in asked
    assert PIXEL in shown and "How many?" not in shown and "Two." in shown.partition("<aside")[2]
    assert exercises.two_classes.question[:30] in asks and "Take the" not in page


def test_nothing_is_written_where_one_file_stands_already(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "deeper").mkdir(parents=True)
    (out / "deeper" / "x.ipynb").write_text("mine")
    with pytest.raises(InvalidValue, match=r"deeper/x\.ipynb already.*empty folder"):
        export("student", out, small)
    assert [path.name for path in out.rglob("*") if path.is_file()] == ["x.ipynb"]
    assert (out / "deeper" / "x.ipynb").read_text() == "mine"


def test_a_folder_that_is_a_file_or_cannot_be_made_is_refused_in_a_sentence(
    small: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidValue, match="must be a folder"):
        export("student", tmp_path / "file", small)
    with pytest.raises(LnlibError, match="could not write"):
        export("student", tmp_path / "file" / "below", small)
    if os.geteuid():
        (tmp_path / "shut").mkdir(mode=0o500)
        with pytest.raises(LnlibError, match="could not write"):
            export("student", tmp_path / "shut" / "out", small)
    with pytest.raises(UnknownName, match="did you mean 'student'"):
        export("students", tmp_path / "out", small)
    assert (tmp_path / "file").read_text() == "mine" and not (tmp_path / "out").exists()


def test_a_notebook_that_cannot_be_read_is_named(small: Path, tmp_path: Path) -> None:
    (small / "01_bad.ipynb").write_text("{")
    with pytest.raises(LnlibError, match=r"01_bad\.ipynb is no notebook"):
        export("student", tmp_path / "out", small)
    with pytest.raises(LnlibError, match="no notebook in"):
        export("student", tmp_path / "out", tmp_path / "nowhere")


@pytest.mark.parametrize(("kind", "package"), [("nbgrader", "nbgrader"), ("slides", "latex2mathml")])
def test_a_missing_package_is_named_with_its_extra(kind: str, package: str, tmp_path: Path) -> None:
    script = f"import sys; sys.modules[{package!r}] = None; from lnlib.cli import main; main()"
    command = [sys.executable, "-c", script, "course", "export", kind, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert package in line and "[teach]" in line
    assert not (tmp_path / "out").exists()


def test_the_command_prints_the_files_it_wrote(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["course", "export", "student", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    assert {Path(path) for path in json.loads(done.stdout)} == {
        path for path in (tmp_path / "out").rglob("*") if path.is_file()
    }


def test_moodle_gets_a_file_of_questions_for_each_lesson_and_one_for_all(tmp_path: Path) -> None:
    files = export("gift", tmp_path, NOTEBOOKS)
    texts = {path.stem: path.read_text(encoding="utf-8") for path in files}
    assert {path.suffix for path in files} == {".gift"} and {*texts} == {"all_lessons", *quiz.LESSONS}
    everything = texts.pop("all_lessons")
    for text in texts.values():
        blocks = [block for block in text.split("\n\n") if "{" in block]
        assert text.startswith("$CATEGORY: ") and len(blocks) == 5
        for block in blocks:
            assert block in everything
            # One right answer, two or three wrong ones.
            assert len(re.findall(r"^\t?=", block, re.MULTILINE)) == 1
            assert len(re.findall(r"^\t?~", block, re.MULTILINE)) in (2, 3)
    assert everything.count("$CATEGORY: ") == len(texts)
