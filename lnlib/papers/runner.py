"""Making what a table needs: every run once, those that others begin from first."""

from collections.abc import Callable, Iterable, Sequence

import torch

from lnlib.errors import TrainingDiverged
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store
from lnlib.training import Epoch

OnProgress = Callable[[str, float], None]
"""Called with what is being done and the share that is done."""
STEPS = {
    **dict.fromkeys(("limit", "soft-regularization", "co-teaching"), 2),
    **dict.fromkeys(("l2rw", "lossnet", "logitnet", "metainfonet"), 4),
    "mlnt": 20,
}
"""How many plain training steps one step of a method costs, roughly, where it is more than one."""


def in_order(runs: Iterable[Spec]) -> list[Spec]:
    """Each run once, after the ones that it begins from."""
    ordered: dict[str, Spec] = {}
    for run in runs:
        for source in in_order(run.sources().values()):
            ordered.setdefault(source.fingerprint, source)
        ordered.setdefault(run.fingerprint, run)
    return list(ordered.values())


def make(
    runs: Sequence[Spec],
    store: Store,
    device: torch.device | None = None,
    progress: OnProgress = lambda what, share: None,
    on_wait: Callable[[Spec], None] | None = None,
) -> dict[str, str]:
    """Train what is missing of the runs and of those that they begin from; what diverges is left out.

    Returns the messages of the runs that diverged, by fingerprint. Raises what `Store.obtain` raises besides.
    """
    missing = [run for run in in_order(runs) if store.find(run) is None]
    efforts = [effort(run) for run in missing]
    total, done, diverged = sum(efforts), 0.0, {}
    for run, share in zip(missing, efforts, strict=True):

        def tick(epoch: Epoch, run: Spec = run, share: float = share, done: float = done) -> None:
            progress(run.label, (done + share * epoch.epoch / run.epochs) / total)

        progress(run.label, done / total)
        try:
            store.obtain(run, device, on_epoch=tick, on_wait=on_wait)
        except TrainingDiverged as error:
            diverged[run.fingerprint] = str(error)
        done += share
        progress(run.label, done / total)
    return diverged


def effort(run: Spec) -> float:
    """How long a run takes beside others, roughly: a plain training step costs three forward passes."""
    sizes = run.sizes()
    return float(run.epochs) * (3 * STEPS.get(run.method, 1) * sizes.train + sum(sizes) / run.evaluate_every)
