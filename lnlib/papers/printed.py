"""The numbers that the two papers print. It is data, and imports nothing else of lnlib."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd


def paper_table(name: str) -> pd.DataFrame:
    """A table of the papers, as shipped with lnlib: "limit_table1.csv"."""
    with files("lnlib").joinpath("papers", "presets", name).open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False, na_values=[""])


class Printed(NamedTuple):
    """A number that a paper prints, in percent, with its standard deviation over trials, its network and its
    number of training images; NaN for what it does not print.
    """

    value: float = np.nan
    std: float = np.nan
    model: str = ""
    num_train: float = np.nan


@cache
def printed_numbers(source: str, by_size: bool) -> dict[tuple[object, ...], Printed]:
    """The numbers of a shipped table, by data set, noise, its level, number of images, method and metric."""
    frame = paper_table(source).astype({"rate": object, "n_train": object})
    numbers = [
        Printed(*values) for values in frame[["value", "std", "model", "n_train"]].itertuples(index=False)
    ]
    frame.loc[frame["noise"] == "real", "rate"] = None  # of which there is one kind
    frame["n_train"] = frame["n_train"] if by_size else None
    names = ["dataset", "noise", "rate", "n_train", "method", "metric"]
    return dict(zip(frame[names].itertuples(index=False, name=None), numbers, strict=True))
