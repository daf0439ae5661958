"""`lnlib data`: the data sets, and fetching one."""

from dataclasses import asdict
from typing import Annotated

import typer

from lnlib.cli.options import AsJson, group
from lnlib.cli.output import print_json, print_table

app = group("List the data sets, or fetch one.")


@app.command("list")
def list_data(as_json: AsJson = False) -> None:
    """List the data sets and whether they are here."""
    from lnlib import data

    known = data.available()
    if as_json:
        return print_json([asdict(info) for info in known])
    print_table(
        [
            {
                "name": info.name,
                "what it is": f"{info.title}, {info.size}",
                "where": info.where if info.present else f"missing: {info.how}",
            }
            for info in known
        ]
    )


@app.command()
def fetch(names: Annotated[list[str], typer.Argument(metavar="NAME...")], as_json: AsJson = False) -> None:
    """Download data sets into LNLIB_DATA (by default the user's cache folder)."""
    from lnlib import data

    for name in names:
        data.fetch(name)
    list_data(as_json)
