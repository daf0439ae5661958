"""Forty runs of a second: in this process, by two that share them by hand, by --workers 2, and by Ray.

What two processes cost beyond one is the machine's; what `--workers` and Ray cost beyond those two is ours.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from lnlib.papers import runner
from lnlib.papers.executors import Executor
from lnlib.papers.executors.here import Here, with_threads
from lnlib.papers.executors.processes import Processes
from lnlib.papers.executors.ray import Ray
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store
from tests.ray_cluster import cluster

ROOT = Path(__file__).resolve().parents[2]
RUNS, EPOCHS, ROUNDS = 40, 60, 3
SETTLED = 3.0
"""Seconds until what a node starts beside its workers is imported."""


def seconds() -> Iterator[dict[str, float]]:
    """How long each way takes, round by round, from the call to the last result: the start of processes and
    Ray's import and connection included. The Ray cluster is one node of two processors, which runs already.
    """
    specs = [Spec.parse({"epochs": EPOCHS, "seed": seed}) for seed in range(RUNS)]
    half(specs[:1])  # what is imported and read once
    for _ in range(ROUNDS):
        taken = {"plain": timed(specs, Here(1))}
        began = time.perf_counter()
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            list(pool.map(half, [specs[::2], specs[1::2]]))
        taken["two processes"] = time.perf_counter() - began
        taken["workers"] = timed(specs, Processes(2, 1))
        with cluster(1, ROOT, cpus=2) as nodes:
            time.sleep(SETTLED)
            taken["ray"] = timed(specs, Ray(nodes[0].gcs))
        yield taken


def timed(specs: list[Spec], executor: Executor) -> float:
    began = time.perf_counter()
    with TemporaryDirectory() as root:
        runner.make(specs, Store(root), executor=executor)
    return time.perf_counter() - began


def half(specs: list[Spec]) -> None:
    with with_threads(1), TemporaryDirectory() as root:
        for spec in specs:
            Store(root).obtain(spec)


if __name__ == "__main__":
    for taken in seconds():
        print({name: round(value, 1) for name, value in taken.items()}, file=sys.stderr)
