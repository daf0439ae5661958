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
