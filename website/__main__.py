"""`python -m website`: build the site in build/site; `-t teacher` takes the teacher's pages in."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from website.prepare import ROOT, prepare

BUILD = ROOT / "build" / "site"


def build(output: Path = BUILD, tags: tuple[str, ...] = ()) -> int:
    """Prepare the sources and run Sphinx, warnings being errors; what it returns, 0 for success.

    An older site there is removed first: its pages might be the teacher's, or have lost their source.
    """
    from sphinx.cmd.build import main as sphinx

    if (output / ".buildinfo").exists():  # a folder that Sphinx has made
        shutil.rmtree(output)
    sources = output.with_name(f"{output.name}-sources")
    prepare(sources, teacher="teacher" in tags)
    flags = [flag for tag in tags for flag in ("-t", tag)]
    where = ["-d", str(sources / ".doctrees"), str(sources), str(output)]
    return sphinx(["-b", "html", "-W", "--keep-going", "-q", *flags, *where])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m website", description=__doc__)
    parser.add_argument("-t", "--tag", action="append", default=[], choices=["teacher"])
    parser.add_argument("-o", "--output", type=Path, default=BUILD)
    given = parser.parse_args()
    os.chdir(ROOT)
    failed = build(given.output.resolve(), tuple(given.tag))
    if not failed:
        print(f"The site is in {os.path.relpath(given.output / 'index.html')}; it opens from there.")
    return failed


if __name__ == "__main__":
    sys.exit(main())
