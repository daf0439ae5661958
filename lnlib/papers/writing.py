"""A table that `lnlib reproduce` made, in words: its caption, Markdown, CSV and an interactive page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lnlib.files import write_csv, write_text
from lnlib.papers.protocol import Metric
from lnlib.papers.request import Request
from lnlib.papers.store import LAST_EPOCHS

ACCURACIES: Mapping[Metric, tuple[str, str, str, str]] = {
    "best": ("paper", "ours", "difference", "std"),
    "last": ("paper_last", "last", "last_difference", "last_std"),
}
"""Where the frame has the paper's number, ours, their difference and the standard deviation of ours."""


def caption(request: Request, frame: pd.DataFrame) -> str:
    """Data, budget and what the numbers are, in a few sentences."""
    protocol, table = request.protocol, request.table
    tried = ", ".join(f"{row.name} {len(protocol.settings(row))}" for row in table.rows)
    meta = f"; meta set of {request.setup['meta_size']}" if "meta_size" in request.setup else ""
    sentences = [
        "Test accuracy in percent at each run's best noisy-validation epoch.",
        f"Last: the mean over the last {LAST_EPOCHS} evaluated epochs, or all of a shorter run."
        if "last" in table.metrics
        else "",
        f"Data: {request.dataset}{meta}; budget {protocol.name}: {protocol.title}; "
        f"up to {request.length} epochs{_stretched(request)}; seeds {', '.join(map(str, request.seeds))}; "
        f"settings tried: {tried}.",
        f"Chosen by mean noisy-validation accuracy. Device: {_devices(frame) or 'none yet'}.",
        f"At most {request.size_limit} training images." if request.size_limit else "",
        ""
        if request.dataset in table.datasets
        else f"The paper's numbers are for {table.dataset}, ours for {request.dataset}.",
        table.note,
        f"Left out: {request.left_out}." if request.left_out else "",
    ]
    return " ".join(filter(None, sentences))


def _stretched(request: Request) -> str:
    """Which numbers of images are seen for more epochs, in brackets."""
    sizes = {cell.train_size for cell in request.table.cells}
    longer = [
        f"n={n}: {request.length * stretch.times} epochs, evaluated every {stretch.evaluate_every}"
        for n, stretch in request.protocol.stretch.items()
        if n <= request.train_images and n in sizes
    ]
    return f" ({'; '.join(longer)})" if longer else ""


def _devices(frame: pd.DataFrame) -> str:
    return ", ".join(dict.fromkeys(filter(None, frame["device"])))


def short_caption(request: Request, frame: pd.DataFrame) -> str:
    """Data, budget, seeds and device in one line."""
    seeds = ", ".join(map(str, request.seeds))
    budget = f"budget {request.protocol.name}, {request.length} epochs{_stretched(request)}"
    return f"{request.dataset} · {budget} · seed {seeds} · {_devices(frame)}"


def to_markdown(request: Request, frame: pd.DataFrame) -> str:
    """The table as Markdown: paper → ours ± std (difference), then how each number came about."""
    metrics = request.table.metrics
    about = "Paper → ours ± std (ours − paper); blank: not made."
    lines = [f"# {request.table.title}", "", caption(request, frame), "", about, ""]
    for metric in metrics:
        lines += [f"## {metric.capitalize()}", ""] if len(metrics) > 1 else []
        lines += [*_accuracies(frame, metric), ""]
    lines += ["## How each number came about", "", *_origins(frame, metrics)]
    return "\n".join(lines) + "\n"


def _accuracies(frame: pd.DataFrame, metric: Metric) -> list[str]:
    """One line a method, one column a cell that has a number of either side."""
    numbered = frame[frame[["ours", "paper"]].notna().any(axis=1)]
    shown = list(dict.fromkeys(numbered["cell"]))
    records = {(record["row"], record["cell"]): record for record in frame.to_dict("records")}
    methods = dict(zip(frame["row"], frame["method"], strict=True))
    return _markdown(
        ["row", *shown],
        [[name, *(cell_text(records[row, cell], metric) for cell in shown)] for row, name in methods.items()],
    )


def _origins(frame: pd.DataFrame, metrics: Sequence[Metric]) -> list[str]:
    accuracies = [name for metric in metrics for name in ACCURACIES[metric][1::2]]
    how = "std_over seeds setting settings validation epochs best_epoch device diverged"
    names = ["row", "cell", *accuracies, *how.split()]
    done = frame[frame["ours"].notna() | (frame["diverged"] != "")]
    rows = [[_text(record[name]) for name in names] for record in done.to_dict("records")]
    return _markdown([name.replace("_", " ") for name in names], rows)


def cell_text(record: Mapping[Any, Any], metric: Metric = "best") -> str:
    """One cell in words: "71.8 → 70.2 ± 0.5 (−1.6)"."""
    printed, ours, by, std = (record[name] for name in ACCURACIES[metric])
    paper = "–" if np.isnan(printed) else f"{printed:.1f}"
    if np.isnan(ours):
        return f"{paper} → diverged" if record["diverged"] else f"{paper} →" if paper != "–" else ""
    difference = "" if np.isnan(by) else f" ({by:+.1f})".replace("-", "−")
    return f"{paper} → {ours:.1f} ± {std:.1f}{difference}"


def _text(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _markdown(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (names, ["---"] * len(names), *rows)]


def write(request: Request, frame: pd.DataFrame, output: Path | str) -> list[Path]:
    """Write the table as CSV, Markdown and an interactive page; returns the files."""
    from lnlib.course import plots

    dataset = request.dataset.replace(":", "-").replace("/", "-")
    stem = f"{request.table.name}-{dataset}-{request.protocol.name}"
    paths = [Path(output) / f"{stem}{suffix}" for suffix in (".csv", ".md", ".html")]
    write_csv(paths[0], frame, float_format="%.6g")
    write_text(paths[1], to_markdown(request, frame))
    figure = plots.table_comparison(frame, request.table.title, caption(request, frame))
    write_text(paths[2], plots.to_page(figure))
    return paths
