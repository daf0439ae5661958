"""A Ray cluster of real nodes on this machine's loopback addresses, ended by the processes that it started.

Ray would replace 127.0.0.1 by the machine's own address, so the nodes are 127.0.0.2, 127.0.0.3 and so on.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

STARTED = "Ray runtime started"
HELPERS = {
    "metrics_agent": "dashboard-agent-grpc-port",
    "dashboard_agent_listen": "dashboard-agent-listen-port",
    "metrics_export": "metrics-export-port",
    "runtime_env_agent": "runtime-env-agent-port",
}
PATIENCE = 120


class Node:
    """A node with one processor, or more; everything that it starts is in a session of its own."""

    def __init__(self, address: str, log: Path, *arguments: str, cpus: int = 1) -> None:
        self.address, self.gcs = address, ""
        ray = Path(sys.executable).with_name("ray")
        small = [f"--num-cpus={cpus}", "--object-store-memory=100000000", "--disable-usage-stats"]
        self.ports = {helper: free_port(address) for helper in HELPERS}
        ports = [f"--{option}={self.ports[helper]}" for helper, option in HELPERS.items()]
        command = [ray, "start", "--block", f"--node-ip-address={address}", *small, *ports, *arguments]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
            )
        try:
            self._wait(log)
        except BaseException:
            self.kill()
            raise

    def _wait(self, log: Path) -> None:
        deadline, told = time.monotonic() + PATIENCE, False
        while STARTED not in log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no Ray node at {self.address}: {log.read_text()[-2000:]}")
            told = told or self._tell_ports()
            time.sleep(0.1)

    def _tell_ports(self) -> bool:
        """Say for the node's helpers which ports they have: it gives up on them after 15 seconds, in which
        they are not yet imported where the machine is busy.
        """
        for line in self.processes().values():
            named = dict(re.findall(r"--(node_id|session_dir)=(\S+)", line))
            if "raylet/raylet " in line and len(named) == 2:
                for helper, port in self.ports.items():
                    Path(named["session_dir"], f"{helper}_port_{named['node_id']}").write_text(str(port))
                return True
        return False

    def processes(self) -> dict[int, str]:
        """What belongs to the node, with its command line."""
        return {pid: line for pid, (line, session) in _all().items() if session == self.process.pid}

    def workers(self) -> list[int]:
        """The processes that train."""
        return [pid for pid, line in self.processes().items() if line.startswith("ray::_train")]

    def kill(self) -> None:
        """End all of it at once, as a failing machine would."""
        for pid in [self.process.pid, *self.processes()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def free_port(address: str) -> int:
    with socket.socket() as free:
        free.bind((address, 0))
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def cluster(nodes: int, pythonpath: Path, gpus: int = 0, cpus: int = 1) -> Iterator[list[Node]]:
    """So many nodes; the first is the head, at whose `gcs` the cluster is found. The others say they have
    so many GPUs, and all that they have so many processors.
    """
    place, started = (
        Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp")),
        list[Node](),
    )  # sockets need short paths
    own = {
        "PYTHONPATH": str(pythonpath),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        # The machine may be busy, and a node's helpers slow to start.
        "RAY_raylet_start_wait_time_s": str(PATIENCE),
        "RAY_agent_register_timeout_ms": str(1000 * PATIENCE),
        "RAY_health_check_period_ms": "1000",  # a dead node is noticed soon
    }
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    port = free_port("127.0.0.2")
    try:
        head = [
            "--head",
            f"--port={port}",
            "--include-dashboard=false",
            f"--temp-dir={place}",
            "--no-monitor",
        ]
        started.append(Node("127.0.0.2", place / "head.log", *head, cpus=cpus))
        started[0].gcs = f"127.0.0.2:{port}"
        for n in range(3, 2 + nodes):
            joins = f"--address=127.0.0.2:{port}", f"--num-gpus={gpus}"
            started.append(Node(f"127.0.0.{n}", place / f"{n}.log", *joins, cpus=cpus))
        yield started
    finally:
        for node in reversed(started):
            node.kill()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        shutil.rmtree(place, ignore_errors=True)


def _all() -> dict[int, tuple[str, int]]:
    """Every process's command line and session."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(folder.name)] = (
                    line,
                    int((folder / "stat").read_text().rpartition(")")[2].split()[3]),
                )
    return found
