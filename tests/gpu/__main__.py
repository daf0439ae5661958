"""`make gpu`: every method's device test, the lessons on the GPU's kernel, and how fast it trains.

Writes tests/gpu/results/NAME.json. Where there is no GPU it says so and ends well. `python -m tests.gpu
speeds` (or `steps`, `lessons`) does a part and leaves what the file says of the others.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from lnlib.files import write_text
from tests.gpu import bench

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = ["-n", "auto", "--maxprocesses", "8"]
"""So many share the GPU."""
PYTEST = {
    "steps": ["tests/gpu"],
    "lessons": [
        *("--dist", "loadfile", "--nbval-lax", "--nbval-sanitize-with", "tests/nbval_sanitize.cfg"),
        "notebooks",
    ],
}


def main() -> int:
    """Run all, whatever fails, and say what did."""
    if not torch.cuda.is_available():
        print("skipped: PyTorch sees no CUDA device here")
        return 0
    known = [*PYTEST, "speeds"]
    parts = sys.argv[1:] or known
    if unknown := set(parts) - set(known):
        sys.exit(f"a part must be one of {', '.join(known)}, got {', '.join(sorted(unknown))}")
    name = torch.cuda.get_device_name()
    path = ROOT / "tests" / "gpu" / "results" / f"{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')}.json"
    path.parent.mkdir(exist_ok=True)
    result = json.loads(path.read_text("utf-8")) if path.exists() else {}
    result |= {"device": name, "torch": torch.__version__}
    for part in parts:
        if part in PYTEST:
            result[part] = tested(PYTEST[part])
        else:
            result["rows"] = []
            for row in bench.rows(torch.device("cuda")):
                print(row, flush=True)
                result["rows"].append(row)
                write(result, path)  # a long one that is stopped keeps its rows
        write(result, path)
    failed = [part for part in parts if part in PYTEST and result[part]["failed"]]
    print(f"wrote {path.relative_to(ROOT)}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return bool(failed)


def tested(arguments: list[str]) -> dict[str, Any]:
    """Whether these tests fail, and what pytest counts at its end."""
    command = [sys.executable, "-m", "pytest", "-q", *PROCESSES, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = ""
        for line in process.stdout:
            print(line, end="", flush=True)
    return {"failed": bool(process.returncode), "said": line.strip()}


def write(result: dict[str, Any], path: Path) -> None:
    write_text(path, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
