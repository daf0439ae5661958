"""How Sphinx builds the site from the folder that `website.prepare` has written."""

from typing import Any

from sphinx.application import Sphinx

from lnlib import __version__
from website.reference import as_restructured, signature

project = "Learning with noisy labels"
author = "the lnlib authors"
copyright = "the lnlib authors, MIT licence"
release = __version__
html_title = f"lnlib {release}"
extensions = ["myst_nb", "sphinx.ext.autodoc"]

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

myst_heading_slug_func = "website.reference.heading_anchor"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["labs.css", "site.css"]
html_js_files = ["site.js"]
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # from a file, a page cannot read another
html_theme_options = {"navigation_with_keys": True}
templates_path: list[str] = []

mathjax_path = "mathjax/startup.js"
mathjax3_config = {
    "loader": {"load": ["core", "input/tex", "output/svg", "a11y/assistive-mml"]},
    "tex": {"inlineMath": [["\\(", "\\)"]]},
    "svg": {"fontCache": "local", "scale": 0.95},
}

autodoc_member_order = "bysource"
maximum_signature_line_length = 90
add_module_names = False
suppress_warnings = ["ref.python"]  # two rooms may call a type by one name


def _docstring(app: Sphinx, kind: str, name: str, it: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_restructured(lines)


def _signature(app: Sphinx, kind: str, name: str, it: Any, *given: Any) -> tuple[str, str] | None:
    return signature(it) if kind in ("class", "exception", "function", "method") else None


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
