"""The site's sources in one folder, laid out as the repository is, so that links between its texts hold."""

import base64
import posixpath
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import nbformat
import plotly

from lnlib.course.labs import lab_named
from lnlib.course.labs.panels import page_file
from lnlib.course.labs.saved import own_script
from website import cells, reference
from website.labs import FRONT, KEPT

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).parent
TEACH = "docs/teach"
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\(([^()\s#:]+)(#[^()\s]*)?\)")
"""A link of Markdown to a file beside it."""
ELSEWHERE = re.compile(r"!\[([^\[\]]*)\]\(https?:[^()\s]*\)")
"""A picture on another host, as a badge is."""
PICTURES = ("figures/*.png", "figures/*.csv", "docs/**/*.png", "docs/**/*.svg")
COURSE = ("notebooks/0*.ipynb", "notebooks/deeper/0*.ipynb", "notebooks/glossary.ipynb")


def prepare(target: Path, teacher: bool = False) -> None:
    """Write all that Sphinx reads; `teacher` takes the teacher's pages in."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(HERE / "static", target / "_static")
    shutil.copy(HERE / "conf.py", target)
    _scripts(target / "_static")
    texts = _texts(teacher)
    offered = {*texts, "notebooks/deeper/index.md", "figures/index.md"}
    for name in texts:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".ipynb":
            book = nbformat.read(ROOT / name, as_version=4)
            cells.enliven(book)
            for cell in book.cells:
                if cell.cell_type == "markdown":
                    cell.source = linked(cell.source, name, offered)
            nbformat.write(book, path)
        else:
            text = (ROOT / name).read_text(encoding="utf-8")
            path.write_text(linked(text, name, offered), encoding="utf-8")
    for picture in [path for pattern in PICTURES for path in ROOT.glob(pattern)]:
        copy = target / picture.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, copy)
    (target / "figures" / "index.md").write_text(_figures(texts), encoding="utf-8")
    (target / "index.md").write_text(_front(texts, teacher), encoding="utf-8")
    reference.write(target / "api")


def _texts(teacher: bool) -> list[str]:
    """The repository's texts that the site takes, as paths in it."""
    patterns = [*COURSE, "docs/**/*.md", "figures/*.md", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
    found = [path.relative_to(ROOT).as_posix() for one in patterns for path in sorted(ROOT.glob(one))]
    return [name for name in found if teacher or not name.startswith(TEACH)]


def linked(text: str, name: str, offered: Iterable[str]) -> str:
    """A text whose links lead only to what the site holds; of the others, and of pictures on other hosts, the
    words stay.
    """

    def kept(found: re.Match[str]) -> str:
        aim = posixpath.normpath(posixpath.join(posixpath.dirname(name), found[2]))
        here = aim in offered or (aim.startswith("figures/") and (ROOT / aim).suffix in (".png", ".csv"))
        return found[0] if here else found[1]

    blocks = re.split(r"(```.*?```|`[^`]*`)", text, flags=re.S)
    return "".join(
        one if at % 2 else LINK.sub(kept, ELSEWHERE.sub(r"\1", one)) for at, one in enumerate(blocks)
    )


def _scripts(static: Path) -> None:
    """plotly, what the labs share, and each lab with what it answers from."""
    shutil.copy(Path(plotly.__file__).parent / "package_data" / "plotly.min.js", static)
    shared = page_file("board.js") + page_file("saved.js")
    (static / "labs.js").write_text(
        f"(() => {{\n{shared}globalThis.lnlibLab = savedLab;\n}})();\n", encoding="utf-8"
    )
    (static / "labs.css").write_text(page_file("board.css") + page_file("controls.css"), encoding="utf-8")
    for kept in KEPT.glob("*.json.gz"):
        name = kept.name.removesuffix(".json.gz")
        kind = lab_named("memorization" if name == FRONT else name)
        content = base64.b64encode(kept.read_bytes()).decode()
        script = f'(globalThis.lnlibLabs ??= {{}})["{name}"] = ["{content}", {own_script(kind.script)}];\n'
        (static / f"lab-{name}.js").write_text(script, encoding="utf-8")


def card(name: str) -> str:
    """A lesson on the front page: its number, its title, and how it begins."""
    text = nbformat.read(ROOT / name, as_version=4).cells[0].source
    title, _, rest = text.partition("\n")
    number, words = Path(name).name.partition("_")[0], title.rpartition(" · ")[2].lstrip("# ")
    begins = LINK.sub(r"\1", " ".join(rest.strip().partition("\n\n")[0].split())).replace("**", "")
    promise = re.match(r".{60,}?[.?!](?= |$)|.*", begins)
    return f"<li>\n\n[{number} · {words}]({name})\n\n{promise[0] if promise else begins}\n\n</li>"


def _front(texts: list[str], teacher: bool) -> str:
    """The front page, with the path of the lessons and the tree of all pages."""
    lessons = [name for name in texts if re.match(r"notebooks/0", name)]
    deeper = [name for name in texts if name.startswith("notebooks/deeper/")]
    docs = [name for name in texts if name.startswith("docs/") and not name.startswith(TEACH)]
    trees = {
        "Lessons": [*lessons, "notebooks/glossary"],
        "Deeper": deeper,
        "The papers": [*docs, "figures/index"],
        "The library": ["README", "api/index", "CONTRIBUTING", "CHANGELOG"],
    }
    if teacher:
        trees["Teaching"] = [name for name in texts if name.startswith(TEACH)]
    text = (HERE / "index.md").read_text(encoding="utf-8")
    text = text.replace("<!-- lab -->", cells.lab(FRONT)).replace(
        "<!-- lessons -->", "\n".join(map(card, lessons))
    )
    return text + "".join(tree(caption, names) for caption, names in trees.items())


def tree(caption: str, names: Iterable[str]) -> str:
    """A part of the navigation, as Sphinx reads it."""
    listed = "\n".join(re.sub(r"\.(ipynb|md)$", "", name) for name in names)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def _figures(texts: list[str]) -> str:
    """A page with the tables that were made, and the figures with the data behind them."""
    tables = []
    for path in [ROOT / name for name in texts if name.startswith("figures/")]:
        title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        tables.append(f"{title} (budget {path.stem.rpartition('-')[2]}) <{path.stem}>")
    parts = [
        "# Tables and figures\n",
        "Each was made by `lnlib reproduce` or `lnlib figures`. What is reproduced, and how far, is in "
        "[fidelity](../docs/fidelity.md).\n",
        "## Tables, the papers' numbers beside ours\n",
        "```{toctree}\n:maxdepth: 1\n\n" + "\n".join(tables) + "\n```\n",
        "## Figures\n",
    ]
    for picture in sorted((ROOT / "figures").glob("*.png")):
        stem = picture.stem
        parts.append(f"### {stem}\n\n![{stem}]({stem}.png)\n")
        parts.append(f"Its data: {{download}}`{stem}.csv <{stem}.csv>`.\n")
    claims = sorted(path.name for path in (ROOT / "figures").glob("claims-*.csv"))
    parts.append("## What the lessons claim of several seeds\n")
    parts += [f"- {{download}}`{name} <{name}>`" for name in claims]
    return "\n".join(parts) + "\n"
