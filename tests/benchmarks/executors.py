"""Forty short runs: in this process, by two processes that share them by hand, by --workers 2, and by Ray.

What two processes cost beyond one is the machine's; what `--workers` and Ray cost beyond those two is ours.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lnlib.papers import runner
from lnlib.papers.executors import Executor
from lnlib.papers.executors.here import Here
from lnlib.papers.executors.processes import Processes
from lnlib.papers.executors.ray import Ray
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store
from tests.ray_cluster import cluster

ROOT = Path(__file__).resolve().parents[2]
RUNS, EPOCHS = 40, 15


def seconds() -> Iterator[tuple[str, float]]:
    """How long each way takes, from the call to the last result, the start of processes included."""
    specs = [Spec.parse({"epochs": EPOCHS, "seed": seed}) for seed in range(RUNS)]
    with TemporaryDirectory() as folder:
        half(specs[:1], f"{folder}/first")  # what is imported and read once
        yield "plain", timed(specs, f"{folder}/plain", Here(1))
        began = time.perf_counter()
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            list(pool.map(half, [specs[::2], specs[1::2]], [f"{folder}/even", f"{folder}/odd"]))
        yield "two processes", time.perf_counter() - began
        yield "workers", timed(specs, f"{folder}/workers", Processes(2, 1))
        with cluster(2, ROOT) as nodes:
            yield "ray", timed(specs, f"{folder}/ray", Ray(nodes[0].gcs))


def timed(specs: list[Spec], root: str, executor: Executor) -> float:
    began = time.perf_counter()
    runner.make(specs, Store(root), executor=executor)
    return time.perf_counter() - began


def half(specs: list[Spec], root: str) -> None:
    torch.set_num_threads(1)
    for spec in specs:
        Store(root).obtain(spec)


if __name__ == "__main__":
    for name, taken in seconds():
        print(name, round(taken, 1), file=sys.stderr)
