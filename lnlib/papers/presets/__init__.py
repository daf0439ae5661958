"""The tables that can be reproduced, read from one TOML file a paper. Beside them lie the numbers that the
papers print.
"""

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import product
from typing import Any, Literal

from lnlib.methods.limit import lambda_to_sigma
from lnlib.papers.protocol import Cell, Options, Protocol, Row, Table


def combinations(values: Options) -> list[dict[str, Any]]:
    """All combinations of what is listed: of {"a": [1, 2], "b": 3}, {"a": 1, "b": 3} and {"a": 2, "b": 3}."""
    lists = [value if isinstance(value, list) else [value] for value in values.values()]
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*lists)]


def sigmas(q: Literal["gaussian", "laplace"], lambdas: Sequence[float]) -> list[float]:
    """The standard deviations of q that the λ of LIMIT's reference code stand for."""
    return [round(lambda_to_sigma(value, q), 4) for value in lambdas]


def settings(grid: Options) -> list[dict[str, Any]]:
    """The settings of a grid, some of whose values may be computed."""
    return combinations({name: sigmas(**v) if isinstance(v, dict) else v for name, v in grid.items()})


def setup(fields: Options, known: Mapping[str, Options]) -> dict[str, Any]:
    """The fields with those of the setup that they are `like`."""
    base = setup(known[fields["like"]], known) if "like" in fields else {}
    return {**base, **{name: value for name, value in fields.items() if name != "like"}}


def read(
    rows: Options,
    grids: Options,
    protocols: Options,
    setups: Options,
    tables: Options,
    notes: Options | None = None,
) -> dict[str, Table]:
    """The tables of a paper from the sections of its file; pydantic raises for what is misspelt there."""
    tried: Options = {
        kind: {row: settings(grid) for row, grid in by_row.items()} for kind, by_row in grids.items()
    }

    def protocol(name: str, grids: str = "", setups: Options | None = None, **fields: Any) -> Protocol:
        own = {dataset: setup(values, setups or {}) for dataset, values in (setups or {}).items()}
        return Protocol(name=name, grids=tried[grids] if grids else {}, setups=own, **fields)

    known = {name: protocol(name, **fields) for name, fields in protocols.items()}

    def table(name: str, headed_by: Any, note: str = "", **fields: Any) -> Table:
        own = {
            "rows": [Row(name=row, **rows[row]) for row in fields["rows"]],
            "cells": [
                Cell(headed_by=headed_by, **cell) for cells in fields["cells"] for cell in combinations(cells)
            ],
            "setups": {
                dataset: setup(values, setups)
                for dataset, values in {**setups, **fields.get("setups", {})}.items()
            },
            "note": note.format(**notes or {}),
        }
        return Table(name=name, protocols=known, **fields | own)

    return {name: table(name, **fields) for name, fields in tables.items()}


def _file(paper: str) -> dict[str, Any]:
    text = files("lnlib").joinpath("papers", "presets", f"{paper}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


TABLES: Mapping[str, Table] = read(**_file("limit")) | read(**_file("metainfonet"))
