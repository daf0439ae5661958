"""What a table will take: runs, steps, hours and memory, by row, from a measured step of each method."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from lnlib.device import default_device
from lnlib.papers import tables
from lnlib.papers.measured_step import Measured, measured
from lnlib.papers.request import Request
from lnlib.papers.runner import STEPS, effort, in_order
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store


@dataclass(frozen=True)
class Cost:
    """What is still to be made of a row. A run that several rows share counts in the first of them; with
    patience it may take fewer steps.
    """

    row: str
    runs: int
    steps: int
    hours: float
    """one run at a time, on this machine"""
    gigabytes: float
    """the largest run's images, networks and step, beside what Python and PyTorch take"""


def costs(
    request: Request,
    store: Store,
    device: torch.device | None = None,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> list[Cost]:
    """What is missing of the requested part, row by row; see `Cost`."""
    seen: set[str] = set()
    left = {row.paper: list[Spec]() for row in request.rows}
    for row in request.rows:
        grids = [request.grid(row, cell) for cell in request.cells]
        for spec in in_order(tables.planned(request, grids, store)):
            if spec.fingerprint not in seen and store.find(spec) is None and not store.failure(spec):
                left[row.paper].append(spec)
            seen.add(spec.fingerprint)
    every = [spec for specs in left.values() for spec in specs]
    # Of each method the run with the most images.
    largest = {spec.method: spec for spec in sorted(every, key=lambda spec: spec.sizes().train)}
    known = {}
    for done, (method, spec) in enumerate(largest.items()):
        progress(f"a step of {method}", done / len(largest))
        known[method] = measured(spec, device or default_device())
    return [_cost(row, specs, known) for row, specs in left.items()]


def _cost(row: str, specs: list[Spec], known: dict[str, Measured]) -> Cost:
    steps, seconds = 0, 0.0
    for spec in specs:
        size = spec.sizes().train
        steps += spec.epochs * -(-size // spec.batch_size)
        a_pass = known[spec.method].seconds / (3 * STEPS.get(spec.method, 1) * min(size, spec.batch_size))
        seconds += effort(spec) * a_pass
    most = max((known[spec.method].bytes for spec in specs), default=0.0)
    return Cost(row, len(specs), steps, seconds / 3600, most / 1e9)
