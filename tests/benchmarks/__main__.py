"""`make bench`: one table of ratios, each measured within this run, written as JSON with the device named.

Names of benchmarks may be given as arguments; `--output FILE` says where the JSON goes.
"""

import json
import platform
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lnlib import data, noise
from lnlib.analysis.detection import suspects
from lnlib.data.task import Task, make_task
from lnlib.device import default_device, describe
from lnlib.errors import DataUnavailable
from lnlib.methods import L2RW, LIMIT, CrossEntropy, MetaInfoNet
from lnlib.methods.transition import anchor_matrix
from lnlib.nets import CNN, MLP, ResNet32, ResNet34
from lnlib.optimizers import SGD
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store
from lnlib.training import FlipCrop, Member, Run, Settings, loop, sweep
from lnlib.training.state import State

CNN_SETTINGS = {"net": CNN(), "batch_size": 256, "epochs": 50, "evaluate_every": 50}
ROUNDS = 5


class Skipped(Exception):
    """A benchmark that this machine cannot run."""


@dataclass(frozen=True)
class Figure:
    """One measured number beside what is asked of it."""

    name: str
    value: float
    unit: str
    wanted: str = ""
    met: bool | None = None


def at_least(name: str, value: float, bound: float, unit: str = "x") -> Figure:
    return Figure(name, value, unit, f">= {bound:g}", value >= bound)


def at_most(name: str, value: float, bound: float, unit: str = "x") -> Figure:
    return Figure(name, value, unit, f"<= {bound:g}", value <= bound)


def sweeps() -> Iterator[Figure]:
    """A sweep of noise rates on digits with the lessons' net against one run after another."""
    digits = data.load("digits")
    for count, bound in ((10, 2.0), (40, 4.0)):
        members = [
            Member(CrossEntropy(), make_task(digits, noise.uniform(0.9 * k / (count - 1), 10)))
            for k in range(count)
        ]
        seconds: dict[str, list[float]] = {"stacked": [], "solo": [], "auto": []}
        for _ in range(ROUNDS):
            for mode, times in seconds.items():
                began = time.perf_counter()
                sweep(members, mode=mode, epochs=10)
                times.append(time.perf_counter() - began)
        best = {mode: min(times) for mode, times in seconds.items()}
        yield at_least(
            f"digits, {count} noise rates: solo / sweep as chosen", best["solo"] / best["auto"], bound
        )
        yield Figure(f"digits, {count} noise rates: solo / stacked", best["solo"] / best["stacked"], "x")
        yield Figure(f"digits, {count} noise rates: seconds for 10 epochs", best["auto"], "s")


def epochs() -> Iterator[Figure]:
    """An epoch of the CNN on MNIST against the usual pipeline, and against the same steps on one resident
    batch.
    """
    from tests.benchmarks.own_process import OwnProcess
    from tests.benchmarks.usual_pipeline import UsualRun

    task = make_task(data.load("mnist"), noise.uniform(0.5, 10))
    for name, method, bound in (("cross-entropy", CrossEntropy(), 2.2), ("limit", LIMIT(beta=10.0), 1.8)):
        # Each has the machine to itself: a second process, idle as it may be, slows the first by a third.
        usual = OwnProcess(UsualRun, task, name)
        times = {"usual": [usual("epoch") for _ in range(ROUNDS)], "ours": [], "floor": [], "bfloat16": []}
        usual_accuracy = usual("test_accuracy", task)
        usual.close()
        ours = Run(method, task, **CNN_SETTINGS)
        half = Run(method, task, **CNN_SETTINGS, precision="bfloat16")
        for _ in range(ROUNDS):
            times["ours"].append(next(iter(ours)).seconds)
            times["floor"].append(floor(Run(method, task, **CNN_SETTINGS).state))
            times["bfloat16"].append(next(iter(half)).seconds)
        best = {key: min(values) for key, values in times.items()}
        accuracy = (ours.logits("test").argmax(1) == task.test.labels).double().mean().item()
        yield at_least(
            f"MNIST CNN, {name}: usual pipeline / ours, an epoch", best["usual"] / best["ours"], bound
        )
        yield at_most(
            f"MNIST CNN, {name}: ours / steps on one resident batch", best["ours"] / best["floor"], 1.15
        )
        yield Figure(
            f"MNIST CNN, {name}: usual pipeline / ours in bfloat16", best["usual"] / best["bfloat16"], "x"
        )
        yield Figure(f"MNIST CNN, {name}: seconds an epoch, float32", best["ours"], "s")
        difference = accuracy - usual_accuracy
        yield at_least(
            f"MNIST CNN, {name}: test accuracy, ours - usual, {ROUNDS} epochs", difference, -0.02, ""
        )


def floor(state: State) -> float:
    """Seconds for the steps of an epoch on one batch over and over: nothing to fetch, nothing to shuffle."""
    steps = -(-state.data.num_train // state.settings.batch_size)
    index = torch.arange(state.settings.batch_size, device=state.device)[None]
    x = next(state.data.images([index]))
    state.networks.train()
    loop.train_step(state, 1, index, x)
    began = time.perf_counter()
    for _ in range(steps):
        loop.train_step(state, 1, index, x)
    if state.device.type == "cuda":
        torch.cuda.synchronize(state.device)
    return time.perf_counter() - began


MEMORY = """
import resource
from lnlib import data, noise
from lnlib.data.task import make_task
from lnlib.methods import LIMIT
from lnlib.nets import CNN
from lnlib.training import fit
task = make_task(data.load("mnist"), noise.uniform(0.5, 10))
fit(LIMIT(beta=10.0), task, net=CNN(), batch_size=256, epochs=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def memory() -> Iterator[Figure]:
    """Peak memory of a whole process that trains LIMIT's CNN on MNIST and evaluates it."""
    data.load("mnist")
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    unit = 1024**2 if platform.system() == "Darwin" else 1024
    yield at_most("MNIST CNN, LIMIT: peak memory of the process", int(done.stdout) / unit / 1024, 2.0, "GB")


def labs() -> Iterator[Figure]:
    """Moves of each lab, in the kernel and in a page, and a page of six labs beside plotly's own widgets."""
    from tests.benchmarks.labs import in_the_kernel, in_the_page, six_labs

    for name, milliseconds in in_the_kernel():
        yield at_most(name, milliseconds, 20.0, "ms")
    for name, milliseconds in in_the_page():
        yield at_most(name, milliseconds, 100.0, "ms")
    for name, value, unit in six_labs():
        yield Figure(name, value, unit)


def detection() -> Iterator[Figure]:
    """Beyond the forward pass: scoring and ranking 48 000 labels, and the noise matrix from anchor points."""
    images = torch.zeros(48_010, 1, 2, 2, dtype=torch.uint8)
    labels = torch.arange(len(images)) % 10
    names = tuple("0123456789")
    many = data.Dataset("many", images, labels, images, labels, names, mean=(0.5,), std=(0.5,))
    task = make_task(many, noise.uniform(0.8, 10), validation=10)
    logits = 5 * torch.randn(len(task.train), 10, generator=torch.Generator().manual_seed(0))
    for name, work in (
        ("48 000 labels scored and ranked", lambda: suspects(task, {"training": logits})),
        ("noise matrix from 48 000 posteriors", lambda: anchor_matrix(torch.softmax(logits, dim=1))),
    ):
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
        yield at_most(f"beyond the forward pass: {name}", 1000 * min(times), 1000.0, "ms")


def store() -> Iterator[Figure]:
    """Listing a store of 10 000 runs, each read from its own record."""
    run = Spec.parse({"epochs": 2, "train_size": 100})
    with TemporaryDirectory() as folder:
        one = Store(Path(folder) / "one")
        one.obtain(run)
        many = Store(Path(folder) / "many")
        for number in range(10_000):
            copy = many.root / f"{number:016x}"
            copy.mkdir(parents=True)
            (copy / "run.json").write_bytes((one.folder(run) / "run.json").read_bytes())
        began = time.perf_counter()
        assert len(many.runs()) == 10_000
        yield at_most("store: listing 10 000 runs", time.perf_counter() - began, 2.0, "s")


def folders() -> Iterator[Figure]:
    """A folder of 50 000 JPEG files: listed, loaded first beside torchvision, and loaded again."""
    from tests.benchmarks.folders import seconds_and_memory

    measured = seconds_and_memory(ROUNDS - 2)
    for name, bound in (("listing", 2.0), ("first load / torchvision", 1.0), ("peak memory, GB", 1.5)):
        yield at_most(f"50 000 JPEG: {name}", measured.pop(name), bound, "s" if name == "listing" else "")
    for name, value in measured.items():
        yield Figure(f"50 000 JPEG: {name}", value, "s")


def executors() -> Iterator[Figure]:
    """Forty runs of a second by `--workers 2` and on Ray, beside two processes that share them by hand."""
    from tests.benchmarks.executors import seconds

    rounds = [*seconds()]

    def ratio(one: str, other: str) -> float:
        return median(taken[one] / taken[other] for taken in rounds)

    yield Figure("forty runs of a second: one process", median(taken["plain"] for taken in rounds), "s")
    yield Figure("forty runs of a second: two processes / one", ratio("two processes", "plain"), "x")
    for name, way in (("--workers 2", "workers"), ("Ray, one node", "ray")):
        yield at_most(f"forty runs of a second: {name} / two processes", ratio(way, "two processes"), 1.1)


def meta() -> Iterator[Figure]:
    """An iteration of MetaInfoNet against a plain step and against double backward with a rebuilt network.

    They take turns, ours in one process and double backward in another; a ratio is the median of its rounds.
    The bounds of the lessons' net are set for a stack of forty; in small stacks and alone what Python does
    between two layers takes a larger share.
    """
    from tests.benchmarks.double_backward import DoubleBackwardRun, InTurns, OurRun
    from tests.benchmarks.own_process import OwnProcess

    for name, net, shape, steps, rounds, members in (
        ("ResNet-32, 32×32", ResNet32(), (3, 32, 32), 4, ROUNDS, 1),
        ("MLP 4×64, 8×8, forty stacked", MLP(), (1, 8, 8), 10, 8 * ROUNDS, 40),
        ("MLP 4×64, 8×8, ten stacked", MLP(), (1, 8, 8), 20, 8 * ROUNDS, 10),
        ("MLP 4×64, 8×8, alone", MLP(), (1, 8, 8), 50, 8 * ROUNDS, 1),
    ):
        task = random_task(1000, shape, meta_size=200)
        settings = Settings(net=net, optimizer=SGD(0.1), batch_size=100)
        methods = {"plain": CrossEntropy(), "every": MetaInfoNet(), "tenth": MetaInfoNet(interval=10)}
        layouts = {"double": torch.contiguous_format, "double, channels-last": torch.channels_last}
        ours = {key: (OurRun, task, settings, method, members) for key, method in methods.items()}
        others = {key: (DoubleBackwardRun, task, net, layout) for key, layout in layouts.items()}
        mine, theirs = OwnProcess(InTurns, ours), OwnProcess(InTurns, others)
        counts = {"plain": steps, "every": steps, "tenth": max(10, steps)}
        rows = [
            {**mine("seconds", counts), **theirs("seconds", dict.fromkeys(others, steps))}
            for _ in range(rounds)
        ]

        def ratio(one: str, other: str, rows: Sequence[Mapping[str, float]] = rows) -> float:
            return median(row[one] / row[other] for row in rows)

        bounded = "alone" not in name and "ten" not in name
        figures = {
            "MetaInfoNet / plain step": (ratio("every", "plain"), 4.0 if "ResNet" in name else 4.6, at_most),
            "MetaInfoNet, interval 10 / plain step": (
                ratio("tenth", "plain"),
                1.4 if "ResNet" in name else 1.7,
                at_most,
            ),
            "double backward, rebuilt network / MetaInfoNet, same layout": (
                members * ratio("double, channels-last", "every"),
                1.3,
                at_least,
            ),
            "double backward, rebuilt network, contiguous / MetaInfoNet, channels-last": (
                members * ratio("double", "every"),
                1.9,
                at_least,
            ),
        }
        for what, (value, bound, kind) in figures.items():
            yield kind(f"{name}: {what}", value, bound) if bounded else Figure(f"{name}: {what}", value, "x")
        yield Figure(
            f"{name}: an iteration of MetaInfoNet", 1000 * median(row["every"] for row in rows), "ms"
        )
        if "ResNet" in name:
            share = mine("peak", "every") / theirs("peak", "double, channels-last")
            yield at_most(f"{name}: peak memory, MetaInfoNet / double backward", share, 0.7)
        for process in (mine, theirs):
            process.close()


def cuda() -> Iterator[Figure]:
    """Training images a second on a CUDA device, on random images that lie there."""
    if default_device().type != "cuda":
        raise Skipped("it needs a CUDA device")
    limit, weighting = (CrossEntropy(), LIMIT(beta=10.0)), (CrossEntropy(), MetaInfoNet(), L2RW())
    for name, net, shape, augment, batch, methods in (
        ("CNN, 28×28", CNN(), (1, 28, 28), None, 256, limit),
        ("ResNet-34, 32×32", ResNet34(), (3, 32, 32), FlipCrop(), 256, limit),
        ("ResNet-32, 32×32", ResNet32(), (3, 32, 32), FlipCrop(), 100, weighting),
    ):
        task = random_task(48_000, shape, meta_size=1000)
        for method in methods:
            for kind, options in CUDA_KINDS.items():
                run = Run(method, task, net=net, augment=augment, batch_size=batch, epochs=1000, **options)
                loop.train_epoch(run.state, 1)  # the first steps choose kernels
                began = time.perf_counter()
                loop.train_epoch(run.state, 2)  # waits for the device at its end
                rate = len(task.train) / (time.perf_counter() - began)
                yield Figure(f"{name}, {method.name}, {kind}: images a second", rate, "/s")


def random_task(size: int, shape: tuple[int, int, int], meta_size: int = 0) -> Task:
    """`size` training images of random pixels and labels of ten classes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (size + 10 + meta_size, *shape), dtype=torch.uint8, generator=generator)
    labels, channels = torch.arange(len(images)) % 10, shape[0]
    names = tuple("0123456789")
    statistics = (0.5,) * channels, (0.25,) * channels
    random = data.Dataset("random", images, labels, images[:10], labels[:10], names, *statistics)
    return make_task(random, noise.uniform(0.5, 10), validation=10, meta_size=meta_size)


CUDA_KINDS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, compiled": {"precision": "bfloat16", "compile": True},
}

BENCHMARKS: dict[str, Callable[[], Iterator[Figure]]] = {
    "sweeps": sweeps,
    "epochs": epochs,
    "memory": memory,
    "labs": labs,
    "cuda": cuda,
    "store": store,
    "executors": executors,
    "detection": detection,
    "folders": folders,
    "meta": meta,
}


def main() -> int:
    parser = ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    arguments = parser.parse_args()
    console, figures = Console(), []
    for name in track(arguments.names or list(BENCHMARKS), description="measuring", console=console):
        try:
            figures.extend(BENCHMARKS[name]())
        except (DataUnavailable, Skipped) as error:
            console.print(f"[yellow]{name} skipped:[/] {error}")
    device = describe(default_device())
    table = Table("what", "measured", "wanted", title=f"{device}, torch {torch.__version__}")
    for figure in figures:
        mark = {True: " ✓", False: " ✗", None: ""}[figure.met]
        table.add_row(figure.name, f"{figure.value:.3g} {figure.unit}".strip(), figure.wanted + mark)
    console.print(table)
    report = {
        "device": device,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "figures": [asdict(figure) for figure in figures],
    }
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    console.print(f"written to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
