"""Runs as tasks of a Ray cluster, whose nodes need share no disk.

A task trains in a scratch store of its own and yields what the driver needs to know: epochs, checkpoints and
at its end the files of the run. The driver holds the run's lock, and writes them into its store. A node that
sees the store's folder puts its checkpoints there itself. lnlib must be installed on every node.
"""

import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock

from lnlib import data
from lnlib.errors import DataUnavailable, InvalidValue, LnlibError, TrainingDiverged
from lnlib.files import whole_file
from lnlib.papers import record
from lnlib.papers.executors import Event, Work
from lnlib.papers.measured_step import measured
from lnlib.papers.record import ARRAYS, BEST, CHECKPOINT, RECORD, Record
from lnlib.papers.run_folder import locked
from lnlib.papers.spec import Spec, load
from lnlib.papers.store import Store

Files = dict[tuple[str, str], bytes]
"""Contents by run and name."""
RESULT = (BEST, ARRAYS, RECORD)
"""What a task gives back; the record comes last, and says that the rest is there."""
AUTO: Literal["auto"] = "auto"
CONTEXT, SLACK = 0.6e9, 1.25
"""Of a process on a GPU: the bytes of CUDA's code and its libraries' buffers, and what PyTorch reserves for a
byte of its tensors. Rules of thumb.
"""


@dataclass(frozen=True)
class Ray:
    """Trains on the Ray cluster at `address`, or "local" for one on this machine while it is needed.

    A run takes `threads` processors and `gpus` of a GPU (0.25: four share one; "auto": as many as by estimate
    fit in the memory of the cluster's smallest), none unless given. Its checkpoints are `checkpoint_seconds`
    apart.
    """

    address: str
    threads: int = 1
    gpus: float | Literal["auto"] = 0.0
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.gpus != AUTO and not (0 <= self.gpus <= 1 or (self.gpus > 1 and self.gpus.is_integer())):
            raise InvalidValue(f"GPUs of a run must be a share or whole, got {self.gpus:g}; try 0.5 or 1")

    @contextmanager
    def session(self, work: Work) -> Iterator["_Cluster"]:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ModuleNotFoundError as error:
            raise LnlibError('Ray is not installed; run pip install -e ".[ray]"') from error
        options: dict[str, Any] = {"address": self.address, "log_to_driver": False, "logging_level": "error"}
        if self.address == "local":
            options |= {"include_dashboard": False}
        try:
            host, _, port = self.address.rpartition(":")
            if host:  # else Ray itself would wait for minutes
                socket.create_connection((host, int(port)), timeout=10).close()
            ray.init(**options)
        except (OSError, ValueError, RuntimeError) as error:
            why = str(error).partition("\n")[0].rstrip(".")
            raise LnlibError(
                f"there is no Ray cluster at {self.address!r} ({why}); try `ray start --head`, or --ray local"
            ) from error
        try:
            with closing(_Cluster(work, self)) as cluster:
                yield cluster
        finally:
            ray.shutdown()


@dataclass
class _Running:
    spec: Spec
    lock: ExitStack
    where: str = ""
    epoch: int = 0


class _Cluster:
    def __init__(self, work: Work, asked: Ray) -> None:
        import ray

        self.ray, self.work, self.asked = ray, work, asked
        self._check_room()
        self.gpu_memory = _smallest_gpu() if asked.gpus == AUTO else 0
        self.task = ray.remote(num_cpus=asked.threads, max_retries=0)(_train)  # the runner tries again
        self.running: dict[Any, _Running] = {}
        self.ended: list[Event] = []
        self.shares: dict[str, float] = {}
        # Who sees this file shares the folder.
        root = work.store.root.resolve()
        root.mkdir(parents=True, exist_ok=True)
        self.sign = root / f".seen-{secrets.token_hex(8)}"
        self.sign.touch()

    @property
    def places(self) -> int:
        there = self.ray.cluster_resources()
        places = [there.get("CPU", 0) / self.asked.threads]
        if self.asked.gpus:
            # Where shares differ, some runs may wait in Ray for those before them.
            share = min(self.shares.values(), default=1.0) if self.asked.gpus == AUTO else self.asked.gpus
            places.append(there.get("GPU", 0) / share)
        return int(min(places) + 1e-9)

    def _check_room(self) -> None:
        """Raises `LnlibError` where no node could take a run: it would wait for ever."""
        gpus = 1e-4 if self.asked.gpus == AUTO else self.asked.gpus
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        fits = [n for n in nodes if n.get("CPU", 0) >= self.asked.threads and n.get("GPU", 0) >= gpus]
        if not fits:
            cpus, there = max((n.get("CPU", 0), n.get("GPU", 0)) for n in nodes)
            wanted = "a GPU" if self.asked.gpus == AUTO else f"GPUs {self.asked.gpus:g}"
            raise LnlibError(
                f"no node of the Ray cluster has what a run takes: processors {self.asked.threads}"
                f"{f', {wanted}' if gpus else ''}; the largest has processors {cpus:g}, GPUs {there:g}; give "
                "less to --threads or --gpus-per-run, or add a node"
            )

    def share(self, spec: Spec) -> float:
        """GPUs of a run."""
        if self.asked.gpus != AUTO:
            return self.asked.gpus
        alike = f"{spec.method} {spec.net} {spec.net_options} {spec.dataset} {spec.sizes()} {spec.batch_size}"
        if alike not in self.shares:
            needed = CONTEXT + SLACK * measured(spec, torch.device("cpu")).bytes
            self.shares[alike] = 1 / max(1, int(self.gpu_memory / needed))
        return self.shares[alike]

    def start(self, spec: Spec) -> None:
        store, lock, share = self.work.store, ExitStack(), self.share(spec)
        folder, on_wait = store.folder(spec), self.work.on_wait
        lock.enter_context(locked(folder, (lambda: on_wait(spec)) if on_wait else None))
        if store.find(spec) or store.failure(spec):  # another process was quicker
            lock.close()
            return self.ended.append(Event("ended", spec, message=store.failure(spec)))
        record.write(Record(spec=spec.spelled_out()), folder)
        files = _files(store, [spec], [CHECKPOINT]) | _files(store, spec.sources().values(), [RECORD, BEST])
        work = replace(self.work, on_wait=None)
        task = self.task.options(num_gpus=share).remote(spec, work, files, str(self.sign), self.asked)
        self.running[task] = _Running(spec, lock)

    def events(self) -> Iterator[Event]:
        while self.ended:
            yield self.ended.pop()
        if not self.running:
            return time.sleep(0.5)  # no place for now
        ready, _ = self.ray.wait([*self.running], timeout=1.0)
        for task in ready:
            yield from self._heard(task, self.running[task])

    def _heard(self, task: Any, run: _Running) -> Iterator[Event]:
        errors, spec = self.ray.exceptions, run.spec
        try:
            kind, where, content = self.ray.get(next(task))
        except errors.RayTaskError as error:
            raise error.cause if isinstance(error.cause, LnlibError) else error from error
        except (errors.RayError, StopIteration):
            self.running.pop(task).lock.close()
            yield Event("died", spec, run.where)
            return
        run.where, folder = where, self.work.store.folder(spec)
        if kind == "checkpoint":
            _write(folder / CHECKPOINT, content)
        elif kind == "epoch":
            yield Event("trains", spec, where, content)
        else:
            for name in RESULT:
                if name in content:
                    _write(folder / name, content[name])
            (folder / CHECKPOINT).unlink(missing_ok=True)
            self.running.pop(task).lock.close()
            yield Event("ended", spec, where, message=self.work.store.failure(spec))

    def close(self) -> None:
        for task, run in self.running.items():
            self.ray.cancel(task, force=True)
            run.lock.close()
        self.sign.unlink(missing_ok=True)


def _smallest_gpu() -> int:
    """Bytes of memory of the cluster's smallest GPU."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    ask = ray.remote(num_cpus=0, num_gpus=1e-3)(_gpu_memory)
    there = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    least: int = min(ray.get([ask.options(scheduling_strategy=node).remote() for node in there]))
    if not least:
        raise LnlibError(
            "PyTorch sees no CUDA on a node that Ray counts GPUs of, so their memory is unknown; install it "
            "with CUDA there, or give --gpus-per-run a number"
        )
    return least


def _gpu_memory() -> int:
    """Bytes of this node's smallest GPU, 0 where PyTorch sees none."""
    found = (torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count()))
    return min((one.total_memory for one in found), default=0)


def _files(store: Store, specs: Any, names: list[str]) -> Files:
    paths = [store.folder(spec) / name for spec in specs for name in names]
    return {(path.parent.name, path.name): path.read_bytes() for path in paths if path.is_file()}


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as file:
        file.write(content)


def _train(spec: Spec, work: Work, files: Files, sign: str, asked: Ray) -> Iterator[tuple[str, str, Any]]:
    """The task: what it is, on which node, and an epoch's number, a checkpoint's content, or all files; after
    a checkpoint come later epochs only.
    """
    import ray

    where, told = ray.util.get_node_ip_address(), 0.0
    torch.set_num_threads(asked.threads)
    _have_data(spec.dataset)
    with tempfile.TemporaryDirectory(prefix="lnlib-run-") as scratch:
        store = Store(scratch)
        for (run, name), content in files.items():
            _write(store.root / run / name, content)
        own, shared = store.folder(spec), Path(sign).parent if Path(sign).exists() else None
        checkpoint, sent = own / CHECKPOINT, _time_of(own / CHECKPOINT)
        device = work.device or (None if asked.gpus else torch.device("cpu"))
        often = {"checkpoint_seconds": asked.checkpoint_seconds}
        with closing(store.training(spec, device, keep=work.keep, **often)) as training:  # type: ignore[arg-type]
            try:
                for epoch in training:
                    if time.monotonic() - told >= 1:
                        told = time.monotonic()
                        yield "epoch", where, epoch.epoch
                    if (saved := _time_of(checkpoint)) != sent:
                        sent = saved
                        if shared:
                            _write(shared / own.name / CHECKPOINT, checkpoint.read_bytes())
                        else:
                            yield "checkpoint", where, checkpoint.read_bytes()
            except TrainingDiverged:
                pass  # a result, which the record says
        yield "files", where, {path.name: path.read_bytes() for path in own.iterdir() if path.name in RESULT}


def _time_of(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _have_data(name: str) -> None:
    """Fetches a data set that this node lacks; of several runs that need it one does."""
    try:
        load(name)
    except DataUnavailable:
        if name.startswith(data.FOLDER):
            raise
        data.data_root().mkdir(parents=True, exist_ok=True)
        with FileLock(data.data_root() / ".fetch.lock"):
            data.fetch(name)
