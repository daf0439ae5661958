"""What figures are made of: results of runs, and what they say of themselves."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from lnlib.device import default_device
from lnlib.papers import runner
from lnlib.papers.executors import Executor
from lnlib.papers.run_folder import devices
from lnlib.papers.spec import Spec
from lnlib.papers.store import Circumstances, Keep, Result, Store

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


class Making(NamedTuple):
    """How a figure's runs are made: where they are kept and train, and who is told."""

    store: Store
    progress: OnProgress = lambda what, share: None
    executor: Executor = runner.HERE

    def obtained(
        self, runs: Sequence[Spec], keep: Keep | None = None, names: Collection[str] = ()
    ) -> list[Result]:
        """The runs' results; all have the arrays of these names, which `keep` makes."""
        for run in runs:
            result = self.store.find(run) if names else None
            if result and not {*names} <= {*result.arrays()}:  # made by a command that keeps others or none
                self.store.remove(run.fingerprint)
        runner.make(runs, self.store, None, self.progress, executor=self.executor, keep=keep)
        return [self.store.obtain(run, keep=keep) for run in runs]  # raises for one that has diverged

    def part(self, first: float, last: float) -> "Making":
        """The same for a part of the work, which begins and ends at these shares of it."""
        return self._replace(progress=lambda what, done: self.progress(what, first + (last - first) * done))


def small_print(results: Sequence[Result]) -> str:
    """Data set, net, budget, seeds and device in one line."""
    run = results[0].spec
    size = f"n = {run.train_size}" if run.train_size else "all of its training split"
    net, seeds = run.member_parts()[1].net.label, sorted({result.spec.seed for result in results})
    note = f" · {run.note()}" if run.note() else ""
    return (
        f"{run.dataset}, {size}, {run.noise} noise {run.rate:.0%} · {net} · {run.epochs} epochs, "
        f"batch {run.batch_size} · seed {', '.join(map(str, seeds))} · {devices(results)}{note}"
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
