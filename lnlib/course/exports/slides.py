"""Each lesson as a deck of ten to fifteen slides: one HTML page that asks no other host for anything.

reveal.js lies in `deck/` and goes into the page, formulas become MathML, figures are the saved pictures.
A lesson whose cells have JupyterLab's slide types (*slide*, *subslide*, *fragment*, *notes*) is cut there.
In any other, each section gives one slide, or two where it asks for a prediction: the second has the figure.
"""

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files as resources
from pathlib import PurePosixPath

from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

from lnlib.course.exports.lessons import Files, Lessons, exercise_of, without_solutions

MOST = 15
AIMS = "You will be able to"
KNOWN = {"{align*}": r"\{aligned\}", r"\\mathrm{arg}": r"\\arg\b", "": r"\\[bB]igg?[lrm]?(?![a-z])"}
_VARIANT = re.compile(r'<mi mathvariant="(?P<kind>bold|script|double-struck)">(?P<letter>[^<]*)</mi>')
_FIGURE = re.compile(r'<img [^>]*src="data:image/[^>]*>')
_HEADING = re.compile(r"^(#{1,2}) +(.*)$", re.MULTILINE)
_DETAILS = re.compile(r"<details[^>]*>\s*<summary>.*?</summary>(.*?)</details>", re.DOTALL)
_SKIPPED = re.compile(r"references|.*disagree|if something does not work", re.IGNORECASE)
_KEPT = re.compile(r"(\d+\. )?(an )?exercises?$|summary$", re.IGNORECASE)


@dataclass
class Slide:
    """Markdown, a picture as its tag, and Markdown for the speaker; of too many, the highest ranks go."""

    text: str
    figure: str = ""
    notes: str = ""
    rank: int = 0


@dataclass
class Section:
    """What stands below a heading: paragraphs, what is folded, pictures, questions of exercises."""

    title: str
    paragraphs: list[str] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)


def slides(lessons: Lessons) -> Files:
    """One page a lesson; arrows turn the slides, S shows or hides what the speaker may say."""
    pages = {}
    for path, notebook in lessons.copies():
        if any(_slide_type(cell) == "slide" for cell in notebook.cells):
            deck = tagged_slides(notebook)
        elif any(AIMS in cell.source for cell in notebook.cells):
            deck = derived_slides(notebook)
        else:  # no lesson: the glossary
            continue
        pages[path.with_suffix(".html").as_posix()] = _page(path, deck).encode()
    return pages


def _slide_type(cell: NotebookNode) -> str:
    return str(cell.metadata.get("slideshow", {}).get("slide_type", ""))


def tagged_slides(notebook: NotebookNode) -> list[Slide]:
    """The cells with a slide type, as their types say; those without one are left out."""
    deck: list[Slide] = []
    for cell in notebook.cells:
        kind = _slide_type(cell)
        if kind in ("slide", "subslide"):
            deck.append(Slide(""))
        if kind in ("", "skip") or not deck:
            continue
        if cell.cell_type == "code":
            deck[-1].figure = next(iter(_figures(cell)), deck[-1].figure)
        elif kind == "notes":
            deck[-1].notes += f"\n\n{cell.source}"
        else:
            deck[-1].text += "\n\n" + _DETAILS.sub("", cell.source)
            deck[-1].notes += "\n\n".join(_DETAILS.findall(cell.source))
    return deck


def derived_slides(notebook: NotebookNode) -> list[Slide]:
    """The title, the aims, the sections, the questions and the summary."""
    title, *sections = _sections(notebook)
    aims = next((i for i, part in enumerate(title.paragraphs) if AIMS in part), None)
    deck = [Slide(f"# {title.title}\n\n{_opening(title.paragraphs[:aims])}")]
    if aims is not None:
        deck.append(Slide("## After this lesson\n\n" + "\n\n".join(title.paragraphs[aims : aims + 2])))
    for section in sections:
        if not _SKIPPED.match(section.title):
            deck += _slides_of(section)
    chosen = sorted(deck, key=lambda slide: slide.rank)[:MOST]
    return [slide for slide in deck if any(slide is one for one in chosen)]


def _slides_of(section: Section) -> Iterator[Slide]:
    heading, figure = f"## {section.title}\n\n", "".join(section.figures[:1])
    if _KEPT.match(section.title):
        questions = "\n\n".join(f"- {question}" for question in section.questions)
        yield Slide(heading + (questions or "\n\n".join(section.paragraphs)))
        return
    asked = next((part for part in section.paragraphs if part.startswith("**Predict")), "")
    opening = _opening([part for part in section.paragraphs if part != asked])
    notes = "\n\n".join(section.folded)
    if not asked:
        yield Slide(heading + opening, figure, notes, rank=1 if figure else 2)
        return
    yield Slide(f"{heading}{opening}\n\n{asked}", rank=1 if figure else 2)
    outcome = _opening(section.folded[0].strip().split("\n\n")) if section.folded else ""
    if figure or outcome:
        yield Slide(heading + ("" if figure else outcome), figure, notes, rank=1 if figure else 3)


def _sections(notebook: NotebookNode) -> list[Section]:
    """The lesson cut at its headings of the first two levels."""
    sections = [Section("")]
    for cell in notebook.cells:
        if exercise := exercise_of(cell):
            sections[-1].questions.append(exercise.question)
        if cell.cell_type == "code":
            sections[-1].figures += _figures(cell)
            continue
        without_solutions(cell)
        before, *rest = _HEADING.split(cell.source)
        for title, text in [("", before), *zip(rest[1::3], rest[2::3], strict=True)]:
            if title:
                sections.append(Section(title))
            sections[-1].folded += _DETAILS.findall(text)
            parts = re.split(r"\n\s*\n", _DETAILS.sub("", text))
            sections[-1].paragraphs += [part.strip() for part in parts if part.strip()]
    return sections[1:] or sections


def _opening(paragraphs: list[str]) -> str:
    """The first paragraph, with what it announces: a list, a table or a formula."""
    shown = [part for part in paragraphs if not part.startswith("#")]
    more = len(shown) > 1 and (shown[0].rstrip("*").endswith(":") or shown[1].startswith(("$$", "|")))
    return "\n\n".join(shown[: 2 if more else 1])


def _figures(cell: NotebookNode) -> list[str]:
    pages = [output.get("data", {}).get("text/html", "") for output in cell.outputs]
    return [tag for page in pages for tag in _FIGURE.findall(page)]


class _WithMathML(IPythonRenderer):
    """Markdown to HTML in which a formula is MathML, which a browser sets by itself."""

    def inline_math(self, body: str) -> str:
        return _mathml(body)

    def block_math(self, body: str) -> str:
        return _mathml(body, display="block")


def _mathml(formula: str, display: str = "inline") -> str:
    # What latex2mathml does not know, in its words. Of brackets it sets the sizes itself.
    for known, unknown in KNOWN.items():
        formula = re.sub(unknown, known, formula)
    # Browsers know letters in bold or script by their own signs, and no longer by the attribute.
    return _VARIANT.sub(_letter, convert(formula, display=display))


def _letter(found: re.Match[str]) -> str:
    kind, letter = found["kind"].upper(), html.unescape(found["letter"])
    name = unicodedata.name(letter).replace("LATIN ", "").replace("GREEK ", "").replace(" LETTER", "")
    return f"<mi>{unicodedata.lookup(f'MATHEMATICAL {kind} {name}')}</mi>"


def _rendered(text: str) -> str:
    page: str = MarkdownWithMath(renderer=_WithMathML(escape=False, exclude_anchor_links=True)).render(text)
    # A deck is one file: a link to another lesson would lead nowhere.
    return re.sub(r'<a href="(?!https?:)[^"]*">(.*?)</a>', r"\1", page, flags=re.DOTALL)


def _page(path: PurePosixPath, deck: list[Slide]) -> str:
    sections = []
    for slide in deck:
        notes = f'<aside class="notes">{_rendered(slide.notes)}</aside>' if slide.notes.strip() else ""
        figure = f"<figure>{slide.figure}</figure>" if slide.figure else ""
        text = f'<div class="text">{_rendered(slide.text)}</div>'
        sections.append(f'<section><div class="slide">{text}{figure}</div>{notes}</section>')
    title = html.escape(next(iter(re.findall(r"^#+ (.*)", deck[0].text, re.MULTILINE)), path.stem))
    deck_folder = resources("lnlib.course.exports") / "deck"
    page = (deck_folder / "deck.html").read_text(encoding="utf-8")
    parts = {name: (deck_folder / name).read_text(encoding="utf-8") for name in ("reveal.css", "reveal.js")}
    for name, content in (parts | {"title": title, "slides": "\n".join(sections)}).items():
        page = page.replace(f"<!-- {name} -->", content)
    return page
