"""Making what a table needs: every run once, those that others begin from first."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from lnlib.device import default_device
from lnlib.errors import TrainingDiverged
from lnlib.papers.spec import Spec
from lnlib.papers.store import Circumstances, Result, Store
from lnlib.training import Epoch
from lnlib.training.runs import timed_step

OnProgress = Callable[[str, float], None]
"""Called with what is being done and the share that is done."""
STEPS = {
    **dict.fromkeys(("limit", "soft-regularization", "co-teaching"), 2),
    **dict.fromkeys(("l2rw", "lossnet", "logitnet", "metainfonet"), 4),
    "mlnt": 20,
}
"""How many plain training steps one step of a method costs, roughly, where it is more than one."""


def in_order(specs: Iterable[Spec]) -> list[Spec]:
    """Each run once, after the ones that it begins from."""
    ordered: dict[str, Spec] = {}
    for spec in specs:
        for source in in_order(spec.sources().values()):
            ordered.setdefault(source.fingerprint, source)
        ordered.setdefault(spec.fingerprint, spec)
    return list(ordered.values())


def make(
    specs: Sequence[Spec],
    store: Store,
    device: torch.device | None = None,
    progress: OnProgress = lambda what, share: None,
    on_wait: Callable[[Spec], None] | None = None,
) -> dict[str, str]:
    """Train what is missing of the specs' runs and of those that they begin from; what diverges is left out.

    Returns the messages of the runs that diverged, by fingerprint. Raises what `Store.obtain` raises besides.
    """
    missing = [spec for spec in in_order(specs) if store.find(spec) is None]
    efforts = [effort(spec) for spec in missing]
    total, done, diverged = sum(efforts), 0.0, {}
    for spec, share in zip(missing, efforts, strict=True):

        def tick(epoch: Epoch, spec: Spec = spec, share: float = share, done: float = done) -> None:
            progress(spec.label, (done + share * epoch.epoch / spec.epochs) / total)

        progress(spec.label, done / total)
        try:
            store.obtain(spec, device, on_epoch=tick, on_wait=on_wait)
        except TrainingDiverged as error:
            diverged[spec.fingerprint] = str(error)
        done += share
        progress(spec.label, done / total)
    return diverged


def effort(spec: Spec) -> float:
    """How long a run takes beside others, roughly: a plain training step costs three forward passes."""
    sizes = spec.sizes()
    an_epoch = 3 * STEPS.get(spec.method, 1) * sizes.train + sum(sizes) / spec.evaluate_every
    return float(spec.epochs) * an_epoch


class Outlook(NamedTuple):
    """How far the cells of a table are, and about how many seconds the rest takes on this machine."""

    cells_done: int
    cells: int
    runs_done: int
    runs: int
    seconds: float


def outlook(
    cells: Sequence[Sequence[Spec]],
    known: Iterable[Spec],
    store: Store,
    device: torch.device | None = None,
) -> Outlook:
    """What `make` has before it for the cells' runs; those that have diverged are done.

    The time is judged by finished runs among the `known` ones: by those of the same method, else by all; and
    without any on this machine by timed steps of cross-entropy.
    """
    device = device or default_device()
    specs = in_order(spec for cell in cells for spec in cell)
    made = [result for spec in in_order([*specs, *known]) if (result := store.find(spec))]
    ended = {result.spec.fingerprint for result in made}
    left = [spec for spec in specs if spec.fingerprint not in ended and not store.failure(spec)]
    open_runs = {spec.fingerprint for spec in left}
    done = sum(open_runs.isdisjoint(spec.fingerprint for spec in cell) for cell in cells)
    rates = _rates(made, device)
    if left and not rates:
        rates = {"": _timed_rate(left[0], device)}
    seconds = sum(effort(spec) * rates.get(spec.method, rates[""]) for spec in left)
    return Outlook(done, len(cells), len(specs) - len(left), len(specs), seconds)


def _rates(made: Sequence[Result], device: torch.device) -> dict[str, float]:
    """Seconds for a unit of effort in runs on this machine, by method, and "" for all of them together."""
    here = Circumstances.here(device)
    spent: defaultdict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
    for result in made:
        there = result.circumstances
        if (there.device, there.processor) == (here.device, here.processor):
            seconds = np.nansum(result.history[["seconds", "evaluation_seconds"]])
            for name in (result.spec.method, ""):
                spent[name] += seconds, effort(result.spec)
    return {name: float(seconds / efforts) for name, (seconds, efforts) in spent.items()}


def _timed_rate(spec: Spec, device: torch.device) -> float:
    """The same from some training steps of cross-entropy."""
    plain = spec.model_copy(update={"method": "cross-entropy", "method_options": {}, "source_options": {}})
    return timed_step(plain.new_run(device).state) / (3 * min(spec.batch_size, spec.sizes().train))
