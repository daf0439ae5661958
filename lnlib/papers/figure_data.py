"""What figures are made of: results of runs, and what they say of themselves."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go

from lnlib.device import default_device
from lnlib.papers.run_folder import Arrays
from lnlib.papers.spec import Spec
from lnlib.papers.store import Circumstances, Result, Store
from lnlib.training import Epoch, Run

Budget = Literal["quick", "full"]
OnProgress = Callable[[str, float], None]
"""Called with what is being done and the share that is done."""


@dataclass(frozen=True)
class FigureData:
    """A figure's table, its drawing, None for a table alone, and its provenance (specs, seeds, device,
    versions).
    """

    frame: pd.DataFrame
    drawing: go.Figure | None
    provenance: Mapping[str, Any]


def obtained(
    runs: Sequence[Spec],
    store: Store,
    progress: OnProgress,
    keep: Callable[[Run], Arrays] | None = None,
    names: Collection[str] = (),
) -> Iterator[Result]:
    """The runs' results, one after the other; all have the arrays of these names, which `keep` makes."""
    for position, run in enumerate(runs):

        def tick(epoch: Epoch, position: int = position, run: Spec = run) -> None:
            progress(run.label, (position + epoch.epoch / run.epochs) / len(runs))

        result = store.obtain(run, on_epoch=tick, keep=keep)
        if names and not {*names} <= {
            *result.arrays()
        }:  # made by another command, which keeps others or none
            store.remove(run.fingerprint)
            result = store.obtain(run, on_epoch=tick, keep=keep)
        yield result
        progress(run.label, (position + 1) / len(runs))


def small_print(results: Sequence[Result]) -> str:
    """Data set, net, budget, seeds and device in one line."""
    run, device = results[0].spec, results[0].circumstances.device
    size = f"n = {run.train_size}" if run.train_size else "all of its training split"
    net, seeds = run.member_parts()[1].net.label, sorted({result.spec.seed for result in results})
    note = f" · {run.note()}" if run.note() else ""
    return (
        f"{run.dataset}, {size}, {run.noise} noise {run.rate:.0%} · {net} · {run.epochs} epochs, "
        f"batch {run.batch_size} · seed {', '.join(map(str, seeds))} · {device}{note}"
    )


def provenance(results: Sequence[Result]) -> dict[str, Any]:
    """The specs and circumstances behind a figure, as plain values."""
    return {
        "runs": [
            {"fingerprint": result.spec.fingerprint, "spec": result.spec.model_dump(mode="json")}
            | asdict(result.circumstances)
            for result in results
        ],
        "made_with": asdict(Circumstances.here(default_device())),
    }
