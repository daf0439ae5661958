"""The numbers that the two papers print. It is data, and imports nothing else of lnlib."""

from importlib.resources import files

import pandas as pd


def paper_table(name: str) -> pd.DataFrame:
    """A table of the papers, as shipped with lnlib: "limit_table1.csv"."""
    with files("lnlib").joinpath("papers", "presets", name).open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False, na_values=[""])
