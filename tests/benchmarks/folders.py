"""Loading a folder of 50 000 JPEG files, made from CIFAR-10's, beside torchvision's usual way.

Each is measured in a process of its own, in turns, with as many workers as there are processors; all files
have been read before, so that the disk decides nothing. `python -m tests.benchmarks.folders KIND ROOT` is
such a process.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from lnlib import data
from lnlib.data.listing import list_folder
from lnlib.errors import DataUnavailable

SIDE, COUNT = 32, 50_000


def seconds_and_memory(rounds: int) -> dict[str, float]:
    """Medians of seconds, the median ratio of a first load to torchvision's first epoch in the same round,
    and the largest peak memory of a process that loads the folder with lnlib.
    """
    source = data.data_root() / "cifar10-jpeg" / "train"
    if not source.is_dir():
        raise DataUnavailable(f"there is no {source}")
    with TemporaryDirectory() as scratch:
        root = Path(scratch, "pictures")
        copied = 0
        for file in sorted(source.glob("*/*"))[:COUNT]:
            (root / file.parent.name).mkdir(parents=True, exist_ok=True)
            (root / file.parent.name / file.name).write_bytes(file.read_bytes())
            copied += 1
        assert copied == COUNT
        rows = []
        for number in range(rounds):
            kinds = ("listing", "first load", "torchvision")
            row = {kind: _measured(kind, root, Path(scratch, f"cache {number}")) for kind in kinds}
            row["load from the copy"] = _measured("first load", root, Path(scratch, f"cache {number}"))
            rows.append(row)
    seconds = {kind: median(row[kind]["seconds"] for row in rows) for kind in rows[0]}
    seconds["first load / torchvision"] = median(
        row["first load"]["seconds"] / row["torchvision"]["seconds"] for row in rows
    )
    seconds["peak memory, GB"] = max(row["first load"]["gigabytes"] for row in rows)
    return seconds


def _measured(kind: str, root: Path, cache: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.folders", kind, str(root)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _torchvision(root: Path) -> None:
    """The usual way: list, decode in worker processes, collate."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

    examples = ImageFolder(str(root), Compose([Resize(SIDE), CenterCrop(SIDE), PILToTensor()]))
    loader = DataLoader(examples, batch_size=256, shuffle=True, num_workers=os.cpu_count() or 1)
    assert sum(len(labels) for _, labels in loader) == COUNT


def main() -> None:
    kind, root = sys.argv[1], Path(sys.argv[2])
    if kind == "torchvision":
        import torchvision.datasets  # before the clock starts, as lnlib is
        import torchvision.transforms  # noqa: F401
    began = time.perf_counter()
    if kind == "torchvision":
        _torchvision(root)
    elif kind == "listing":
        assert len(list_folder(root).files) == COUNT
    else:
        mine = data.image_folder(root, size=SIDE)
        assert len(mine.train_images) + len(mine.test_images) == COUNT
    seconds = time.perf_counter() - began
    unit = 1024**3 if platform.system() == "Darwin" else 1024**2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(json.dumps({"seconds": seconds, "gigabytes": peak}))


if __name__ == "__main__":
    main()
