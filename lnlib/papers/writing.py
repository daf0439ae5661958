"""A table that `lnlib reproduce` made, in words: its caption, Markdown, CSV and an interactive page."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lnlib.catalog import METHODS
from lnlib.files import write_csv, write_text
from lnlib.papers.protocol import Metric
from lnlib.papers.request import Request, optimizer_text
from lnlib.papers.store import LAST_EPOCHS
from lnlib.papers.tables import column

TIED, NOT_BEGUN = "°", "‡"
ORIGINS = {
    "bootstrap_std": "bootstrap over test images",
    "oracle": "oracle",
    "setting": "setting",
    "settings": "settings tried",
    "validation": "validation",
    "epochs": "epochs",
    "best_epoch": "best epoch",
    "device": "device",
    "diverged": "diverged",
}
"""What is shown of how a number came about, and what it is called."""


def caption(request: Request, frame: pd.DataFrame) -> str:
    """Data, budget and what the numbers are, in a few sentences."""
    protocol, table = request.protocol, request.table
    meta = f"; meta set of {request.setup['meta_size']}" if "meta_size" in request.setup else ""
    sentences = [
        "Test accuracy in percent at each run's best noisy-validation epoch.",
        f"Last: the mean over the last {LAST_EPOCHS} evaluated epochs, or all of a shorter run, "
        "without those before a method begins, where it begins late."
        if "last" in table.metrics
        else "",
        f"Data: {request.dataset}{meta}; network: {request.network}; "
        f"budget {protocol.name}: {protocol.title}; up to {request.length} epochs{_stretched(request)}; "
        f"seeds {_seeds(request)}.",
        f"{_chosen_by(request)} Device: {_devices(frame) or 'none yet'}.",
        f"At most {request.size_limit} training images." if request.size_limit else "",
        ""
        if request.dataset in table.datasets
        else f"The paper's numbers are for {table.dataset}, ours for {request.dataset}.",
        table.note,
        *(f"{row.paper}: {row.note}" for row in table.rows if row.note),
        f"Left out: {request.left_out}." if request.left_out else "",
    ]
    return " ".join(filter(None, sentences))


def _stretched(request: Request) -> str:
    """Which numbers of images are seen for more epochs, in brackets."""
    sizes = {cell.train_size for cell in request.table.cells}
    longer = [
        f"n={n}: {round(request.length * stretch.times)} epochs, evaluated every {stretch.evaluate_every}"
        for n, stretch in request.protocol.stretch.items()
        if n <= request.train_images and n in sizes
    ]
    return f" ({'; '.join(longer)})" if longer else ""


def _seeds(request: Request) -> str:
    """The seeds, and in brackets which cells have others."""
    by_seeds: dict[str, list[str]] = {}
    for cell in request.cells:
        if (own := request.seeds_of(cell)) != request.seeds:
            by_seeds.setdefault(", ".join(map(str, own)), []).append(cell.heading)
    others = "; ".join(f"{'; '.join(headings)}: {seeds}" for seeds, headings in by_seeds.items())
    return ", ".join(map(str, request.seeds)) + (f" ({others})" if others else "")


def tried(request: Request) -> list[str]:
    """The grid of every row, or its defaults; rows with the same together: "CE+GN, CE+LN: std 0.01, 0.1"."""
    protocol = request.protocol
    by_grid: dict[str, list[str]] = {}
    for row in request.table.rows:
        settings = protocol.settings(row)
        values = {name: [*dict.fromkeys(one[name] for one in settings)] for name in settings[0]}
        if not values:
            defaults = METHODS[row.method].load()(**row.options).tunable
            values = {name: [value] for name, value in defaults.items()}
            values |= {name: ["computed"] for name in row.computed}
        options = [f"{name} {', '.join(map(_plain, found))}" for name, found in values.items()]
        by_grid.setdefault("; ".join(options) or "no options", []).append(row.paper)
    lines = [f"{', '.join(rows)}: {grid}" for grid, rows in by_grid.items()]
    optimizers = ", ".join(map(optimizer_text, protocol.optimizers))
    return [*lines, f"each row by {optimizers}"] if optimizers else lines


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _chosen_by(request: Request) -> str:
    if request.protocol.choose_by == "first seed":
        return "The first seed's noisy-validation accuracy chooses the setting that the others train."
    return "Settings are chosen by mean noisy-validation accuracy."


def _devices(frame: pd.DataFrame) -> str:
    """Those of all rows, as `run_folder.devices` has joined each row's."""
    return "; ".join(dict.fromkeys(one for row in frame["device"] if row for one in row.split("; ")))


def short_caption(request: Request, frame: pd.DataFrame) -> str:
    """Data, budget, seeds and device, for below a figure."""
    budget = f"budget {request.protocol.name}, {request.length} epochs{_stretched(request)}"
    return f"{request.dataset} · {budget} · seed {_seeds(request)} · {_devices(frame)}"


def reading(request: Request, frame: pd.DataFrame) -> str:
    """How the numbers are to be read, and what is still missing of them, in a few sentences."""
    begun, same, lacking = {*_made(frame)["cell"]}, frame["same_setting"], missing(frame)
    blank = [cell.heading for cell in request.cells if cell.heading not in begun]
    standing = [column("not_begun", metric) for metric in request.table.metrics]
    sentences = {
        "Paper → ours (ours − paper).": same.any(),
        "The paper's number stands in brackets, and nothing is subtracted, where it is for other data, "
        "another network or number of training images.": not same.all(),
        "± is a standard deviation over seeds, the paper's over its trials; of one seed there is none.": True,
        f"Bold: the best, by the mean over the seeds that all rows have. {TIED}: not distinguishable from "
        "it, as the 95% t interval of the paired difference over seeds reaches 0. Behind: that difference, "
        "with its standard error.": frame["behind"].notna().any(),
        f"{NOT_BEGUN}: in some runs or all, the method had not yet departed from cross-entropy, whose "
        "weights these are.": frame[standing].any(axis=None),
        f"Missing: {lacking}.": lacking,
        f"Not made: {'; '.join(blank)}.": blank,
    }
    return " ".join(sentence for sentence, holds in sentences.items() if holds)


def missing(frame: pd.DataFrame) -> str:
    """Which seeds the rows that have some still lack: "seeds 45, 46 of CE (p=0.5, n=all), MAE (p=0, n=all)";
    empty where they have all.
    """
    texts = []
    for seeds, part in frame[frame["missing"] != ""].groupby("missing", sort=False):
        rows = [f"{name} ({'; '.join(own['cell'])})" for name, own in part.groupby("method", sort=False)]
        word = "seeds" if " " in str(seeds) else "seed"
        texts.append(f"{word} {str(seeds).replace(' ', ', ')} of {', '.join(rows)}")
    return "; ".join(texts)


def to_markdown(request: Request, frame: pd.DataFrame) -> str:
    """The table as Markdown: paper → ours ± std (difference), then how each number came about."""
    metrics = request.table.metrics
    lines = [f"# {request.table.title}", "", caption(request, frame), "", reading(request, frame), ""]
    for metric in metrics:
        lines += [f"## {metric.capitalize()}", ""] if len(metrics) > 1 else []
        lines += [*_cells(frame, metric), ""]
    lines += ["## Settings tried", "", *(f"- {line}" for line in tried(request)), ""]
    origins = overview(frame, metrics, bold="**{}**", grey="*{}*")
    lines += ["## How each number came about", "", *_markdown([*origins], origins.to_numpy().tolist())]
    return "\n".join(lines) + "\n"


def _cells(frame: pd.DataFrame, metric: Metric) -> list[str]:
    """One line a method, one column a cell of which something is made."""
    shown = list(dict.fromkeys(_made(frame)["cell"]))
    records = {(record["method"], record["cell"]): record for record in frame.to_dict("records")}
    methods = list(dict.fromkeys(frame["method"]))
    texts = [
        [name, *(cell_text(records[name, cell], metric, "**{}**", "*{}*") for cell in shown)]
        for name in methods
    ]
    return _markdown(["row", *shown], texts)


def _made(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["ours"].notna() | (frame["diverged"] != "")]


def overview(
    frame: pd.DataFrame, metrics: Sequence[Metric], bold: str = "{}", grey: str = "{}"
) -> pd.DataFrame:
    """The numbers of what is made and how they came about, as texts; columns that would be blank are left
    out.
    """
    lines = []
    for record in _made(frame).to_dict("records"):
        line = {"cell": record["cell"], "row": record["method"]}
        for metric in metrics:
            tail = "" if metric == "best" else f", {metric}"
            by, behind, error = (
                record[column(name, metric)] for name in ("difference", "behind", "behind_se")
            )
            line |= {
                f"paper{tail}": paper_text(record, metric, grey),
                f"ours{tail}": our_text(record, metric, bold),
                f"ours − paper{tail}": "" if np.isnan(by) else _signed(by),
                f"behind (s.e.){tail}": _behind(behind, error),
            }
        line |= {"seeds": _counted(record)} | {title: _text(record[name]) for name, title in ORIGINS.items()}
        lines.append(line)
    texts = pd.DataFrame(lines)
    return texts[[name for name in texts if (texts[name] != "").any()]]


def cell_text(record: Mapping[Any, Any], metric: Metric = "best", bold: str = "{}", grey: str = "{}") -> str:
    """One cell in words: "71.8 → 70.2 ± 0.5 (−1.6)", or "(71.8) → 70.2 ± 0.5" beside another setting's."""
    ours, by = (record[column(name, metric)] for name in ("ours", "difference"))
    before = f"{paper} → " if (paper := paper_text(record, metric, grey)) else ""
    if np.isnan(ours):
        return f"{before}diverged" if record["diverged"] else before.strip()
    difference = "" if np.isnan(by) else f" ({_signed(by)})"
    seeds = f", {_counted(record)} seeds" if record["missing"] else ""
    return f"{before}{our_text(record, metric, bold)}{difference}{seeds}"


def paper_text(record: Mapping[Any, Any], metric: Metric, grey: str = "{}") -> str:
    """The paper's number: "71.8 ± 0.4", or "(71.8 ± 0.4)" where it is not for our setting."""
    text = _with_std(record, "paper", "paper_std", metric)
    return text if record["same_setting"] or not text else grey.format(f"({text})")


def our_text(record: Mapping[Any, Any], metric: Metric, bold: str = "{}") -> str:
    """Our number with its marks."""
    if not (text := _with_std(record, "ours", "std", metric)):
        return ""
    behind, tied, not_begun = (record[column(name, metric)] for name in ("behind", "tied", "not_begun"))
    text = bold.format(text) if behind == 0 else text + TIED * bool(tied)
    return text + NOT_BEGUN * bool(not_begun)


def _with_std(record: Mapping[Any, Any], number: str, spread: str, metric: Metric) -> str:
    value, std = (record[column(name, metric)] for name in (number, spread))
    return "" if np.isnan(value) else f"{value:.1f}" if np.isnan(std) else f"{value:.1f} ± {std:.1f}"


def _counted(record: Mapping[Any, Any]) -> str:
    """ "5", or "3 of 5"."""
    done, lacks = record["seeds"], len(record["missing"].split())
    return f"{done} of {done + lacks}" if lacks else str(done)


def _behind(mean: float, error: float) -> str:
    if np.isnan(mean):
        return ""
    return "best" if mean == 0 else f"{mean:.1f} ({error:.1f})".replace("-", "−")


def _signed(difference: float) -> str:
    return f"{difference:+.1f}".replace("-", "−")


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.1f}"
    return "" if value == 0 else str(value)


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
    plain = frame.map(lambda value: html.escape(value) if isinstance(value, str) else value)
    texts = overview(plain, request.table.metrics, "<b>{}</b>", '<span style="color: #888888">{}</span>')
    words = [
        reading(request, frame),
        caption(request, frame),
        f"Settings tried: {'. '.join(tried(request))}.",
    ]
    write_text(paths[2], plots.table_page(frame, request.table.title, words, texts))
    return paths
