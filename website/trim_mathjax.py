"""Make static/mathjax from MathJax's npm package: `python website/trim_mathjax.py mathjax-3.2.2.tgz`, after
`npm pack mathjax@3.2.2`.

Formulas become SVG, which needs no font files: a browser that opens the site from a file may refuse those.
Alphabets that no formula of the course uses (Fraktur, sans serif, old style figures) are left out.
"""

import hashlib
import re
import sys
import tarfile
from pathlib import Path

SHA256 = "1b9c0a1c44df864e915690558e72adb9cc5203360daefd385084ced3b6c64c09"
FILES = [
    "startup.js",
    "core.js",
    "input/tex.js",
    "output/svg.js",
    "output/svg/fonts/tex.js",
    "a11y/assistive-mml.js",
]
UNUSED = (
    "fraktur",
    "frakturBold",
    "sansSerif",
    "sansSerifBold",
    "sansSerifItalic",
    "texOldstyle",
    "texOldstyleBold",
)
UNUSED_CODES = [range(0x1D504, 0x1D538), range(0x1D56C, 0x1D670)]
"""Fraktur and sans serif among Unicode's mathematical letters."""

TARGET = Path(__file__).parent / "static" / "mathjax"


def trimmed(font: str) -> str:
    """The font's script without the outlines of what is unused."""
    parts = re.split(r"(?=AddPaths\)\(V\.\w+)", font)
    for at, part in enumerate(parts[1:], 1):
        unused = re.match(r"AddPaths\)\(V\.(\w+)", part)[1] in UNUSED

        def kept(found: re.Match[str], unused: bool = unused) -> str:
            return "" if unused or any(int(found[1]) in codes for codes in UNUSED_CODES) else found[0]

        parts[at] = re.sub(r'(?<=[{,])(\d+):"[^"]*",?', kept, part)
    return "".join(parts)


def main(archive: Path) -> None:
    if (found := hashlib.sha256(archive.read_bytes()).hexdigest()) != SHA256:
        sys.exit(
            f"{archive} must have the SHA-256 {SHA256}, got {found}; fetch it by `npm pack mathjax@3.2.2`"
        )
    with tarfile.open(archive) as package:
        for name in ["LICENSE", *(f"es5/{file}" for file in FILES)]:
            text = package.extractfile(f"package/{name}").read().decode()
            path = TARGET / name.removeprefix("es5/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(trimmed(text) if "fonts" in name else text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
