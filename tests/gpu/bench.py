"""How many images a second and runs an hour a device trains, by network, method and number of runs."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from lnlib import data, noise
from lnlib.data import Task, from_arrays, make_task
from lnlib.device import describe
from lnlib.methods import LIMIT, CrossEntropy, MetaInfoNet
from lnlib.nets import CNN, MLP, NetSpec, ResNet32, ResNet34
from lnlib.training import SGD, Member, Run, Runs, loop
from lnlib.training.state import State

METHODS = (CrossEntropy(), LIMIT(), MetaInfoNet())
TOGETHER = (1, 10, 40)
STEPS, FEWEST, FIRST = 20, 3, 4
"""Steps that are timed, at least so many of slow ones, and those before them in which kernels are chosen."""
SECONDS = 1.5
"""What the timed steps of a row may take together, unless the fewest take more."""


class Case(NamedTuple):
    """A network and pictures for it: noise of the data set's shape, since values do not matter."""

    name: str
    net: NetSpec
    shape: tuple[int, ...]
    images: int
    batch: int
    epochs: int


CASES = (
    Case("digits MLP 4x64", MLP(64), (8, 8), 1_437, 64, 60),
    Case("MNIST CNN", CNN(), (28, 28), 60_000, 256, 400),
    Case("CIFAR-10 ResNet-32", ResNet32(), (3, 32, 32), 50_000, 100, 100),
    Case("CIFAR-10 ResNet-34", ResNet34(), (3, 32, 32), 50_000, 256, 400),
)


def rows(
    device: torch.device, cases: tuple[Case, ...] = CASES, steps: int = STEPS
) -> Iterator[dict[str, Any]]:
    """One row a network, method and number of runs, of at most so many timed steps; one that does not fit
    into memory says so.
    """
    for case in cases:
        task = task_of(case)
        for method in METHODS:
            for together in TOGETHER:
                row = {"network": case.name, "method": method.label, "runs": together, "batch": case.batch}
                settings = {
                    "net": case.net,
                    "batch_size": case.batch,
                    "optimizer": SGD(0.01),
                    "device": device,
                }
                members = [Member(method, task, seed) for seed in range(together)]
                try:
                    if together == 1:
                        state = Run(method, task, epochs=case.epochs, **settings).state
                    else:
                        state = Runs(members, mode="stacked", epochs=case.epochs, **settings)[0].state
                    seconds = seconds_a_step(state, steps)
                except torch.OutOfMemoryError:
                    yield row | {"note": "out of memory"}
                    torch.cuda.empty_cache()
                    continue
                images = together * case.batch / seconds
                hours = case.epochs * case.images * together / images / 3600
                yield row | {
                    "images_a_second": round(images),
                    "runs_an_hour": round(together / hours, 2),
                    "epochs": case.epochs,
                    "device": describe(device),
                }


def task_of(case: Case) -> Task:
    """A task of the case's shape: a batch's worth of pictures a few times over is enough for a step."""
    if case.name.startswith("digits"):
        return make_task(data.load("digits"), noise.uniform(0.4, 10), meta_size=100)
    generator = np.random.default_rng(0)
    size = 6 * case.batch + 400
    images = generator.integers(0, 256, (size, *case.shape), dtype=np.uint8)
    return make_task(from_arrays(images, np.arange(size) % 10), noise.uniform(0.4, 10), meta_size=100)


def seconds_a_step(state: State, steps: int) -> float:
    """The mean time of a training step, all of a stack's runs together."""
    state.networks.train()
    loop.set_learning_rates(state, 1)
    index = state.data.of_epoch(state.streams)[0]

    def seconds(count: int) -> float:
        finish(state.device)
        began = time.perf_counter()
        for _ in range(count):
            loop.train_step(state, 1, index, next(state.data.images([index])))
            state.step += 1
        finish(state.device)
        return time.perf_counter() - began

    seconds(FIRST - 1)
    count = min(steps, max(FEWEST, int(SECONDS / seconds(1))))
    return seconds(count) / count


def finish(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
