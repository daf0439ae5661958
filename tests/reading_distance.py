"""How far a reader of one training step has to go: files, functions, lines and the deepest call, besides
the network's own forward pass.

    python -m tests.reading_distance
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import lnlib
from lnlib import data, noise
from lnlib.data import make_task
from lnlib.methods import LIMIT, MetaInfoNet, Method
from lnlib.nets import MLP
from lnlib.training import Member, Run, Runs, loop

PACKAGE = str(Path(lnlib.__file__).parent)
FORWARD = ("mlp.py", "layers.py", "weighting.py")
"""The networks' own passes."""
CASES = [(method, kind) for method in (LIMIT(), MetaInfoNet()) for kind in ("alone", "stacked")]


class Distance(NamedTuple):
    """What one step passes through."""

    files: int
    functions: int
    lines: int
    depth: int


def distance(method: Method, kind: str) -> Distance:
    """The distance of the second step of a run on digits; the first one imports and warms up."""
    task = make_task(data.load("digits"), noise.uniform(0.4, 10), train_size=200, meta_size=50)
    settings: dict[str, Any] = {"net": MLP(16, 2), "batch_size": 50, "epochs": 1}
    if kind == "alone":
        state = Run(method, task, **settings).state
    else:
        state = Runs([Member(method, task, seed) for seed in range(2)], mode="stacked", **settings)[0].state
    state.networks.train()
    loop.set_learning_rates(state, 1)
    batches = state.data.of_epoch(state.streams)
    images = state.data.images(batches)
    loop.train_step(state, 1, batches[0], next(images))
    seen: set[CodeType] = set()
    lines: set[tuple[str, int]] = set()
    deepest = 0

    def tracer(frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        nonlocal deepest
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE) or code.co_filename.endswith(FORWARD):
            return None
        if event == "call" and code.co_name not in ("<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>"):
            seen.add(code)
            deepest = max(deepest, sum(1 for _ in frames(frame)))
        if event == "line":
            lines.add((code.co_filename, frame.f_lineno))
        return tracer

    x = next(images)
    with traced(tracer):
        loop.train_step(state, 1, batches[1], x)
    return Distance(len({code.co_filename for code in seen}), len(seen), len(lines), deepest)


def frames(frame: FrameType | None) -> Iterator[FrameType]:
    """The calls of lnlib's functions that lead to a frame, comprehensions apart."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE) and not code.co_name.startswith("<"):
            yield frame
        frame = frame.f_back


@contextmanager
def traced(tracer: Callable[..., Any]) -> Iterator[None]:
    """Within, every call and line is seen, whatever else traces before and after."""
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        yield
    finally:
        sys.settrace(before)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(f"{'one step of':24}" + "".join(f"{name:>10}" for name in Distance._fields))
    for method, kind in CASES:
        columns = "".join(f"{value:10}" for value in distance(method, kind))
        print(f"{method.label + ', ' + kind:24}{columns}")
