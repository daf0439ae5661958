"""`lnlib suspects`: which labels are wrong, as a list to act on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lnlib.cli.options import AsJson, takes_spec
from lnlib.cli.output import Update, note, print_json, print_reading, print_table, progress, say
from lnlib.cli.papers import duration
from lnlib.cli.runs import say_waiting
from lnlib.errors import InvalidValue, unknown_name

if TYPE_CHECKING:
    import pandas as pd

    from lnlib.analysis.detection import HeldOut, Score
    from lnlib.data.dataset import Dataset
    from lnlib.papers.spec import Spec
    from lnlib.papers.store import Result, Store
    from lnlib.training import Epoch

FOLDS, MOST_FOLDED = 5, 20_000
"""How many folds there are unless given, and up to how many images."""
COLUMNS = {
    "rank": "{}",
    "file": "{}",
    "row": "{}",
    "part": "{}",
    "given": "{}",
    "suggested": "{}",
    "given_probability": "{:.1%}",
    "suggested_probability": "{:.1%}",
    "score": "{:.3f}",
    "fold": "{}",
    "mark": "{}",
}
"""The list's, and how the terminal shows them; `row` where the images are no files."""


@takes_spec(
    *("dataset", "dataset_options", "validation", "noise", "rate", "noise_options"),
    *("method", "method_options", "net", "epochs", "batch_size", "seed"),
    method="limit",
    rate=0.0,
)
def suspects(
    spec: "Spec",
    folds: Annotated[
        int | None,
        typer.Option(
            help="How many folds: each image is scored by a network that was trained on the others. 1 for "
            f"one split, with its own training images. {FOLDS} up to {MOST_FOLDED} images, else 1."
        ),
    ] = None,
    score: Annotated[
        str,
        typer.Option(help="Rank by the loss of the given label, or by the distance of LIMIT's gradients."),
    ] = "loss",
    top: Annotated[str, typer.Option(help="How many to list, the most suspicious first, or all.")] = "50",
    output: Annotated[Path, typer.Option(help="File for the list.")] = Path("suspects.csv"),
    report: Annotated[
        Path | None, typer.Option(help="File for a page with their pictures, at most 500.")
    ] = None,
    export: Annotated[
        tuple[str, Path] | None,
        typer.Option(metavar="cleanlab FILE.npz", help="Labels and out-of-fold probabilities of all images."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find wrong labels: train LIMIT, and rank the images by how unlikely its predictor finds their labels.

    Another method's own prediction takes the place of the predictor's.

    A noise rate corrupts so many labels first, to see how many are found. The runs are kept in LNLIB_RUNS (by
    default runs/): what was interrupted goes on.
    """
    from lnlib.analysis import detection
    from lnlib.device import default_device, describe
    from lnlib.files import check_writable, write_csv
    from lnlib.papers.health import complaints
    from lnlib.papers.store import Store

    most = _read_top(top)
    if score not in detection.SCORES:
        raise unknown_name("score", score, detection.SCORES)
    for name, path in (("output", output), ("report", report), ("export", export and export[1])):
        if path and path.is_dir():
            raise InvalidValue(f"{name} must be a file, got the folder {path}; name a file in it")
        if path:
            check_writable(path)
    if export and export[0] != "cleanlab":
        raise unknown_name("format of an export", export[0], ["cleanlab"])
    specs, rule = _in_folds(spec, folds)
    if export and len(specs) == 1:
        raise InvalidValue("an export holds out-of-fold probabilities, got --folds 1; try --folds 5")
    if text := spec.note():
        note(f"note: {text}")
    if not as_json:
        print_reading(spec.loaded.reading)
    store = Store()
    results = _train(specs, rule, store, spec.loaded.name)
    for complaint in dict.fromkeys(text for result in results for text in complaints(result)):
        note(f"warning: {complaint}")
    dataset, ranked, found = _scored(results, detection.SCORES[score])
    ranked["mark"] = _marks(ranked, dataset)
    wanted = [name for name in COLUMNS if name in ranked and (name != "row" or "file" not in ranked)]
    listed = ranked.head(len(ranked) if most is None else most)
    write_csv(output, listed[wanted])
    device = describe(default_device())
    facts = _planted(detection.evaluation_frame(ranked, specs[0].task())) if spec.rate else {}
    if report:
        from lnlib.analysis.report import write_report

        net = spec.member_parts()[1].net.label
        method = f"{spec.member_parts()[0].label}, ranked by {score}"
        text = f"{method}, {net}, {spec.epochs} epochs, seed {spec.seed}, {device}"
        write_report(report, listed, dataset, [rule, text])
    if export and found:
        _write_cleanlab(export[1], found, dataset)
    if as_json:
        told = {
            "run": spec.model_dump(mode="json") | {"folds": len(specs)},
            "fingerprints": [one.fingerprint for one in specs],
            "device": device,
            "scored": len(ranked),
            "auc": facts.get("auc"),
            "precision": facts.get("precision"),
            "output": output,
            "reading": spec.loaded.reading,
            "report": report,
            "export": export and export[1],
        }
        return print_json(told | {"suspects": listed[wanted].to_dict("records")})
    say(f"{spec.label} · {device}")
    shown = listed.head(10)[[name for name in wanted if name != "part" or "fold" not in ranked]]
    print_table([{name: COLUMNS[name].format(row[name]) for name in row} for row in shown.to_dict("records")])
    say(f"the first {len(listed)} of {len(ranked)} are in {output}")
    say(
        *(
            f"{what} in {path}"
            for what, path in (
                ("their pictures are", report),
                ("all probabilities are", export and export[1]),
            )
            if path
        )
    )
    say(*(f"AUC on {name} images: {auc:.2%}" for name, auc in facts.get("auc", {}).items()))
    if "planted" in facts:
        say(f"of the first {facts['planted']}, as many as were planted, {facts['precision']:.1%} are wrong")


def _read_top(top: str) -> int | None:
    """How many to list; None for all."""
    if top == "all":
        return None
    if not top.isdecimal() or int(top) < 1:
        raise InvalidValue(f"top must be at least 1, or all, got {top}; try --top 50")
    return int(top)


def _in_folds(spec: "Spec", folds: int | None) -> tuple[list["Spec"], str]:
    """The runs, one a fold, and by which rule."""
    from lnlib.data.own_files import is_own
    from lnlib.papers.spec import Spec

    dataset = spec.loaded
    images = len(dataset.train_labels) + is_own(spec.dataset) * len(dataset.test_labels)
    chosen = folds
    if chosen is None:
        chosen = FOLDS if images <= MOST_FOLDED and dataset.num_clean is None else 1
    rule = (
        "one split: training images are scored by the network that was trained on them"
        if chosen == 1
        else f"{chosen} folds: each of {images} images is scored by a network that never saw it"
    )
    if folds is None:
        rule += f" (the default for {'at most' if chosen > 1 else 'more than'} {MOST_FOLDED} images)"
    fields = spec.model_dump()
    parsed = [Spec.parse({**fields, "folds": chosen, "fold": fold}) for fold in range(chosen or 1)]
    return parsed, rule


def _train(specs: Sequence["Spec"], rule: str, store: "Store", name: str) -> "list[Result]":
    """The runs' results; what is missing is trained, those first that the runs begin from."""
    from lnlib.papers.runner import outlook

    seconds = outlook([specs], [], store).seconds
    note(f"{rule}; " + (f"about {duration(seconds)} here" if seconds else "all are trained already"))
    with progress() as begin:
        for label, chosen in _stages(specs, name).items():
            update = begin(label, chosen[0].epochs)

            def told(epochs: "Sequence[Epoch]", update: Update = update) -> None:
                update(epochs[0].epoch)

            store.obtain_together(chosen, on_epochs=told, on_wait=say_waiting)
            update(chosen[0].epochs)
    return store.obtain_together(specs)


def _stages(specs: Sequence["Spec"], name: str) -> dict[str, Sequence["Spec"]]:
    firsts = {f"{method} first": [spec.sources()[method] for spec in specs] for method in specs[0].sources()}
    return {**firsts, name: specs}


def _scored(
    results: "Sequence[Result]", score: "Score"
) -> tuple["Dataset", "pd.DataFrame", "HeldOut | None"]:
    """The ranking, the data set whose rows it names, and with folds what it was made of."""
    from lnlib.analysis import detection
    from lnlib.data.own_files import is_own

    logits = []
    for result in results:
        spec, run = result.spec, result.run()
        network = "predictor" if "predictor" in run.nets else None
        parts = {"training": "train", "validation": "validation", "test": "test"}
        if spec.folds > 1:
            parts = {"test": "test"}
        elif not is_own(spec.dataset):
            parts.pop("test")  # of a reader's own pictures their labels are no surer than those of the others
        logits.append({part: run.logits(split, network) for part, split in parts.items()})
    tasks = [result.spec.task() for result in results]
    dataset = tasks[0].dataset
    if len(results) == 1:
        return dataset, detection.suspects(tasks[0], logits[0], score), None
    found = detection.held_out(tasks, [own["test"] for own in logits])
    return dataset, detection.suspects_of_folds(dataset, found, score), found


def _marks(ranked: "pd.DataFrame", dataset: "Dataset") -> list[str]:
    """What the files' bytes say: the same under two labels, or twice under one."""
    reading, marks = dataset.reading, dict[str, str]()
    if reading is not None:
        marks |= {file: "duplicate" for group in reading.duplicates for file in group}
        marks |= {file: "contradiction" for group in reading.contradictions for file in group}
    return [marks.get(file, "") for file in ranked.get("file", [""] * len(ranked))]


def _planted(marked: "pd.DataFrame") -> Mapping[str, Any]:
    """How well the planted errors are found."""
    from lnlib.analysis import detection

    planted, scores = int(marked["wrong"].sum()), marked["score"].to_numpy()
    if not planted:
        return {}
    return {
        "auc": {
            str(name): detection.evaluation_auc(part["score"].to_numpy(), part["wrong"].to_numpy())
            for name, part in marked.groupby("part")
            if part["wrong"].any()  # a low rate may have left a small part as it was
        },
        "planted": planted,
        "precision": detection.evaluation_precision(scores, marked["wrong"].to_numpy(), planted),
    }


def _write_cleanlab(path: Path, found: "HeldOut", dataset: "Dataset") -> None:
    """What cleanlab's functions take: `labels` and `pred_probs`; beside them what the rows stand for."""
    import numpy as np
    import torch

    from lnlib.files import whole_file

    with whole_file(path) as file:
        np.savez_compressed(
            file,
            labels=found.labels.numpy(),
            pred_probs=torch.softmax(found.logits.double(), dim=1).numpy(),
            class_names=np.array(dataset.class_names),
            rows=found.rows.numpy(),
            files=np.array(
                [dataset.train_files[row] for row in found.rows] if dataset.train_files else [], str
            ),
        )
