"""A short cell of numbers made again: equal where it was recorded, within the spread over seeds elsewhere."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from lnlib.papers import figures
from lnlib.papers.record import Circumstances
from lnlib.papers.store import Store

RECORDED = Path(__file__).resolve().parents[2] / "figures" / "claims-reference"


@pytest.mark.rounding
def test_a_short_cell_is_made_again(tmp_path):
    then = pd.read_csv(f"{RECORDED}.csv").set_index(["run", "quantity"])
    paths = figures.make("claims-reference", output=tmp_path, store=Store(tmp_path / "runs"))
    now = pd.read_csv(paths[0]).set_index(["run", "quantity"])
    assert now.index.equals(then.index)
    (recorded,) = json.loads(Path(f"{RECORDED}.json").read_text())["trained_with"]
    here = Circumstances.here(torch.device("cpu"))
    fixed = ("threads", "torch_version", "processor", "instructions")
    if all(recorded[name] == getattr(here, name) for name in fixed):
        assert now["by_seed"].equals(then["by_seed"])
    moved = now["mean"] - then["mean"]
    assert (moved.abs() <= 3 * then["std"].mean()).all(), moved.to_dict()
