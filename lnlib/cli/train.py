"""`lnlib train` and `suspects`: one run, and what it thinks of the labels."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lnlib.cli.options import AsJson, takes_spec
from lnlib.cli.output import note, print_json, print_reading, print_table, progress, say
from lnlib.cli.runs import say_waiting, three_digits
from lnlib.errors import InvalidValue

if TYPE_CHECKING:
    from lnlib.papers.spec import Spec
    from lnlib.training import Epoch, Run

COLUMNS = {
    "epoch": "epoch",
    "train_accuracy": "accuracy on given labels",
    "clean_accuracy": "… on the clean part",
    "corrupted_fit": "corrupted labels fitted",
    "corrupted_recovered": "true labels recovered",
    "validation_accuracy": "noisy validation accuracy",
    "test_accuracy": "test accuracy",
    "memorized_bits": "memorised bits per label",
}
"""What `train` prints of an epoch."""


@takes_spec()
def train(spec: "Spec", as_json: AsJson = False) -> None:
    """Train one method on noisy labels and print its last and its best epoch (by noisy validation).

    The run is kept in LNLIB_RUNS (by default runs/): what exists is shown at once, what was interrupted goes
    on.
    """
    from lnlib.papers.store import Store

    if text := spec.note():
        note(f"note: {text}")
    if not as_json:
        print_reading(spec.loaded.reading)
    with progress() as begin:
        update = begin(spec.label, spec.epochs)
        result = Store().obtain(
            spec,
            on_epoch=lambda epoch: update(epoch.epoch, spec.label + _test_accuracy(epoch)),
            on_wait=say_waiting,
        )
        update(spec.epochs)
    device = result.circumstances.device
    evaluated = result.history[result.history["validation_accuracy"].notna()]
    epochs = {"best": result.best.to_dict(), "last": evaluated.iloc[-1].to_dict()}
    if as_json:
        facts = {"run": spec.model_dump(mode="json"), "fingerprint": spec.fingerprint, "device": device}
        return print_json(facts | epochs | {"reading": spec.loaded.reading})
    say(f"{spec.label} · {device}")
    print_table(
        [
            {"": label} | {name: three_digits(row[column]) for name, row in epochs.items()}
            for column, label in COLUMNS.items()
        ]
    )


@takes_spec(
    *(
        "dataset",
        "dataset_options",
        "noise",
        "rate",
        "noise_options",
        "method_options",
        "net",
        "epochs",
        "batch_size",
        "seed",
    ),
    method="limit",
    rate=0.0,
)
def suspects(
    spec: "Spec",
    top: Annotated[int, typer.Option(help="How many to list, the most suspicious first.")] = 50,
    output: Annotated[Path, typer.Option(help="File for the list.")] = Path("suspects.csv"),
    as_json: AsJson = False,
) -> None:
    """Find wrong labels: train LIMIT, and rank the images by how far its gradients are from their labels'.

    A noise rate corrupts so many labels first, to see how many are found.
    """
    from lnlib.analysis import detection
    from lnlib.data import FOLDER
    from lnlib.device import default_device, describe
    from lnlib.files import check_writable, write_csv

    if top < 1:
        raise InvalidValue(f"top must be at least 1, got {top}; try --top 50")
    if output.is_dir():
        raise InvalidValue(f"output must be a file, got the folder {output}; try --output suspects.csv")
    check_writable(output)
    device = default_device()
    if text := spec.note():
        note(f"note: {text}")
    if not as_json:
        print_reading(spec.loaded.reading)
    best = {}
    for name, source in spec.sources().items():
        first = source.new_run(device)
        for _ in _with_progress(first, f"{name} first"):
            pass
        best[name] = first.best_weights or {}
    run = spec.new_run(device, spec.member_parts()[0].begun_from(best))
    task = run.task
    for _ in _with_progress(run, task.dataset.name):  # a folder's name, where the label has its path
        pass
    parts = {"training": task.train, "validation": task.validation}
    if spec.dataset.startswith(FOLDER):
        # The labels of a reader's own test pictures are no surer than those of the others.
        parts["test"] = task.test
    logits = {name: run.logits(split, "predictor") for name, split in parts.items()}
    ranked = detection.suspects(task, logits)
    wanted = ("rank", "file", "row", "part", "given", "predicted", "score")
    listed = ranked.head(top)[[name for name in wanted if name in ranked]]
    write_csv(output, listed)
    marked = detection.evaluation_frame(ranked, task) if spec.rate else ranked.assign(wrong=False)
    aucs = {
        str(name): detection.evaluation_auc(part["score"].to_numpy(), part["wrong"].to_numpy())
        for name, part in marked.groupby("part")
        if part["wrong"].any()  # a low rate may have left a small part as it was
    }
    if as_json:
        facts = {
            "run": spec.model_dump(mode="json"),
            "fingerprint": spec.fingerprint,
            "device": describe(device),
            "scored": len(ranked),
            "auc": aucs or None,
            "output": output,
            "reading": spec.loaded.reading,
        }
        return print_json(facts | {"suspects": listed.to_dict("records")})
    say(f"{spec.label} · {describe(device)}")
    print_table(listed.head(10).assign(score=listed["score"].map("{:.3f}".format)).to_dict("records"))
    say(f"the first {len(listed)} of {len(ranked)} are in {output}")
    say(*(f"AUC on {name} images: {auc:.2%}" for name, auc in aucs.items()))


def _with_progress(run: "Run", label: str) -> "Iterator[Epoch]":
    with progress() as begin:
        update = begin(label, run.settings.epochs, len(run.records))
        for epoch in run:
            update(epoch.epoch, label + _test_accuracy(epoch))
            yield epoch


def _test_accuracy(epoch: "Epoch") -> str:
    return "" if epoch.test_accuracy is None else f" · test {epoch.test_accuracy:.3f}"
