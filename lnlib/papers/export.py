"""The stored runs as one table, for whatever else a group watches its runs with."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from lnlib.errors import InvalidValue, LnlibError
from lnlib.files import whole_file, write_csv
from lnlib.papers.store import Store, flat

KINDS = ".csv", ".parquet"


def frame(store: Store) -> pd.DataFrame:
    """One row a run: its name and status, the fields of its spec ("method_options.beta" for an option), and
    of a finished one its numbers.

    A column holds numbers, truth values or text; what is none of these, or mixed, is JSON.
    """
    rows = []
    for run in store.runs():
        numbers = {"trained_epochs" if name == "epochs" else name: n for name, n in run.numbers.items()}
        row = {"run": run.fingerprint, "status": run.status, "message": run.message}
        rows.append(row | flat(run.spec) | numbers)
    table = pd.DataFrame(rows, dtype=object)
    return pd.DataFrame({name: _plain(table[name]) for name in table})


def _plain(column: "pd.Series[Any]") -> "pd.Series[Any]":
    cells = [None if isinstance(cell, float) and cell != cell else cell for cell in column]
    for kinds, dtype in (((bool,), "boolean"), ((int,), "Int64"), ((int, float), "float64"), ((str,), "str")):
        if all(cell is None or type(cell) in kinds for cell in cells):
            return pd.Series(cells, dtype=dtype)
    return pd.Series([None if cell is None else json.dumps(cell) for cell in cells], dtype="str")


def write(store: Store, path: Path) -> int:
    """Write that table as CSV or Parquet, by the file's ending; returns the number of runs.

    Raises `InvalidValue` for another ending, `LnlibError` for Parquet where pyarrow is not installed, and as
    `whole_file`.
    """
    if path.suffix not in KINDS:
        raise InvalidValue(f"the file must end in {' or '.join(KINDS)}, got {path.name!r}; try runs.csv")
    table = frame(store)
    if path.suffix == ".csv":
        write_csv(path, table)
        return len(table)
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        remedy = 'run pip install -e ".[parquet]", or write a .csv'
        raise LnlibError(f"Parquet needs pyarrow, which is not installed; {remedy}") from error
    with whole_file(path) as file:
        table.to_parquet(file, engine="pyarrow", index=False)
    return len(table)
