"""`lnlib runs`: the stored runs, and how the commands speak of the store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lnlib.cli.options import AsJson, group
from lnlib.cli.output import note, print_json, print_table, say

if TYPE_CHECKING:
    from lnlib.papers.spec import Spec
    from lnlib.papers.store import StoredRun

app = group("List the stored runs; show, compare, export or remove them.")
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A fingerprint, or its beginning.")]


@app.command("list")
def list_runs(as_json: AsJson = False) -> None:
    """List the runs in LNLIB_RUNS (by default runs/): what they train, how far they are, how well they do."""
    from lnlib.papers.store import Store

    store = Store()
    known = store.runs()
    if as_json:
        return print_json([_stored(run) for run in known])
    if not known:
        return say(f"no runs in {store.root}; `lnlib train` makes one")
    print_table(
        [
            {
                "run": run.fingerprint,
                "status": run.status,
                "method": run.method,
                "data": run.spec.get("dataset", ""),
                "n": run.spec.get("train_size") or "all",
                "noise": f"{run.spec.get('noise', '')} {run.spec.get('rate', '')}",
                "net": run.spec.get("net", ""),
                "seed": run.spec.get("seed", ""),
                "epochs": run.numbers.get("epochs", ""),
                "validation": _share(run.numbers.get("validation_accuracy")),
                "test": _share(run.numbers.get("test_accuracy")),
            }
            for run in known
        ]
    )


@app.command("show")
def show_run(fingerprint: RunName, as_json: AsJson = False) -> None:
    """Show a run's spec, its state and its epochs."""
    from lnlib.papers.store import Store

    store = Store()
    run = store.named(fingerprint)
    history = store.history(run) if run.status == "finished" else None
    if as_json:
        epochs = [] if history is None else history.to_dict("records")
        return print_json(_stored(run) | {"history": epochs})
    say(f"{run.fingerprint} · {run.status}" + (f" · {run.message}" if run.message else ""))
    facts = {**run.spec, **run.numbers}
    print_table([{"": name, " ": value} for name, value in facts.items()] or [{"": "no spec"}])
    if history is not None:
        columns = ["epoch", "loss", "train_accuracy", "validation_accuracy", "test_accuracy"]
        rows = history.loc[history["validation_accuracy"].notna(), columns].to_dict("records")
        print_table([{name: three_digits(value) for name, value in row.items()} for row in rows])


@app.command("compare")
def compare_runs(one: RunName, other: RunName, as_json: AsJson = False) -> None:
    """Compare two runs: the fields that differ, and their numbers."""
    from lnlib.papers.store import Store

    frame = Store().compare(one, other)
    rows = {name: dict(zip(frame.columns, row, strict=True)) for name, *row in frame.itertuples()}
    if as_json:
        return print_json(rows)
    print_table([{"": name, **{run: str(value) for run, value in row.items()}} for name, row in rows.items()])


@app.command("remove")
def remove_runs(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Fingerprints or their beginnings.")],
    as_json: AsJson = False,
) -> None:
    """Remove runs for good; nothing else changes."""
    from lnlib.papers.store import Store

    store = Store()
    names = [store.named(fingerprint).fingerprint for fingerprint in runs]
    removed = [store.remove(name).fingerprint for name in dict.fromkeys(names)]
    print_json(removed) if as_json else say(*(f"removed {name}" for name in removed))


@app.command("export")
def export_runs(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .csv or .parquet file.")],
    as_json: AsJson = False,
) -> None:
    """Write all runs as a table, one row each: specs, status and numbers."""
    from lnlib.files import check_writable
    from lnlib.papers import export
    from lnlib.papers.store import Store

    check_writable(file)
    count = export.write(Store(), file)
    print_json({"file": file, "runs": count}) if as_json else say(f"{count} runs are in {file}")


def _stored(run: "StoredRun") -> dict[str, object]:
    return {name: getattr(run, name) for name in ("fingerprint", "status", "message", "spec", "numbers")}


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def three_digits(value: float) -> str:
    """A number as a table shows it; "-" where there is none, as without corrupted labels."""
    if value != value:
        return "-"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3f}"


def say_waiting(spec: "Spec") -> None:
    """Tell that another process is at work on a run."""
    note(f"note: waiting for another process to finish {spec.label}")
