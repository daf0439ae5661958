"""`make gpu`: every method's device test, the lessons on the GPU's kernel, and how fast it trains.

Writes tests/gpu/results/NAME.json. Where there is no GPU it says so and ends well.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import torch

from lnlib.files import write_text
from tests.gpu import bench

ROOT = Path(__file__).resolve().parents[2]
LESSONS = ["--nbval-lax", "--nbval-sanitize-with", "tests/nbval_sanitize.cfg", "notebooks"]


def main() -> int:
    """Run all, whatever fails, and say what did."""
    if not torch.cuda.is_available():
        print("skipped: PyTorch sees no CUDA device here")
        return 0
    name = torch.cuda.get_device_name()
    pytest = [sys.executable, "-m", "pytest", "-q"]
    failed = [
        part
        for part, arguments in (("steps", ["tests/gpu"]), ("lessons", LESSONS))
        if subprocess.run([*pytest, *arguments], cwd=ROOT).returncode
    ]
    found = []
    for row in bench.rows(torch.device("cuda")):
        print(row, flush=True)
        found.append(row)
    result = {"device": name, "torch": torch.__version__, "failed": failed, "rows": found}
    path = ROOT / "tests" / "gpu" / "results" / f"{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')}.json"
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps(result, indent=1) + "\n")
    print(f"wrote {path.relative_to(ROOT)}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
