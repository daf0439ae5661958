"""`lnlib train`: one run."""

from typing import TYPE_CHECKING

from lnlib.cli.options import AsJson, takes_spec
from lnlib.cli.output import note, print_json, print_reading, print_table, progress, say
from lnlib.cli.runs import say_waiting, three_digits

if TYPE_CHECKING:
    from lnlib.papers.spec import Spec
    from lnlib.training import Epoch

COLUMNS = {
    "epoch": "epoch",
    "train_accuracy": "accuracy on given labels",
    "clean_accuracy": "… on the clean part",
    "corrupted_fit": "corrupted labels fitted",
    "corrupted_recovered": "true labels recovered",
    "validation_accuracy": "noisy validation accuracy",
    "test_accuracy": "test accuracy",
    "memorized_bits": "memorised bits per label",
    "singular_batches": "batches without some class",
}
"""What `train` prints of an epoch."""


@takes_spec()
def train(spec: "Spec", as_json: AsJson = False) -> None:
    """Train one method on noisy labels and print its last and its best epoch (by noisy validation).

    The run is kept in LNLIB_RUNS (by default runs/): what exists is shown at once, what was interrupted goes
    on.
    """
    from lnlib.papers.health import complaints
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
    faults = complaints(result)
    for text in faults:
        note(f"warning: {text}")
    if as_json:
        facts = {"run": spec.model_dump(mode="json"), "fingerprint": spec.fingerprint, "device": device}
        return print_json(facts | epochs | {"warnings": faults, "reading": spec.loaded.reading})
    say(f"{spec.label} · {device}")
    print_table(
        [
            {"": label} | {name: three_digits(row[column]) for name, row in epochs.items()}
            for column, label in COLUMNS.items()
            if column in evaluated
        ]
    )


def _test_accuracy(epoch: "Epoch") -> str:
    return "" if epoch.test_accuracy is None else f" · test {epoch.test_accuracy:.3f}"
