"""Claims: what a lesson says of several seeds, as data. `lnlib figures claims-02` trains the runs of lesson
02 and writes their numbers.

A lesson's claims are a file `presets/claims_02.toml`: a section a claim, in the words of `Claim`.
"""

import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from lnlib.analysis import detection
from lnlib.analysis.imbalance import ENDS, class_accuracy, class_means, weights_by_loss
from lnlib.analysis.paired import paired_difference
from lnlib.analysis.weights import evaluation_summary
from lnlib.errors import InvalidValue
from lnlib.methods import LossNet
from lnlib.papers.protocol import NO_MISSPELLINGS, Options
from lnlib.papers.run_folder import LAST_EPOCHS, Arrays, Result
from lnlib.papers.spec import Spec
from lnlib.training import Run

# Numbers of a run's end that no history holds.


def _by_class(run: Run) -> torch.Tensor:
    return class_accuracy(run.logits("test", "classifier"), run.task.test.labels)


def _class_weights(run: Run) -> torch.Tensor:
    weights = run.sample_weights()
    if weights is None:
        return torch.full((run.task.num_classes,), torch.nan)
    return class_means(weights, run.task.train.labels, run.task.num_classes)


def _weights_auc(run: Run) -> float:
    weights, task = run.sample_weights(), run.task
    if weights is None:
        return np.nan
    return evaluation_summary(weights.numpy(), (task.train.labels == task.truth.train_labels).numpy()).auc


def _large_losses(run: Run) -> float:
    if not isinstance(run.method, LossNet):
        return np.nan
    small, large = weights_by_loss(run.weights["weighting"], torch.tensor([0.0, 4.0])).tolist()
    return float(large / small)


def _recovered(run: Run, network: str) -> float:
    if network not in run.nets:
        return np.nan
    given, true = run.task.train.labels, run.task.truth.train_labels
    return detection.evaluation_recovered(run.logits("train", network), given, true)


def _suspects_auc(run: Run) -> float:
    train, true = run.task.train, run.task.truth.train_labels
    if "predictor" not in run.nets or torch.equal(train.labels, true):
        return np.nan
    scores = detection.gradient_distance(run.logits("train", "predictor"), train.labels)
    return detection.evaluation_auc(scores.numpy(), (train.labels != true).numpy())


MEASURES: Mapping[str, Callable[[Run], float]] = {
    "head": lambda run: float(_by_class(run)[:ENDS].mean()),
    "tail": lambda run: float(_by_class(run)[-ENDS:].mean()),
    "overall": lambda run: float(_by_class(run).mean()),
    "head_weight": lambda run: float(_class_weights(run)[:ENDS].mean()),
    "tail_weight": lambda run: float(_class_weights(run)[-ENDS:].mean()),
    "weights_auc": _weights_auc,
    "large_losses": _large_losses,
    "recovered": lambda run: _recovered(run, "classifier"),
    "predictor_recovered": lambda run: _recovered(run, "predictor"),
    "suspects_auc": _suspects_auc,
}
"""Test accuracy on the largest and the smallest classes and over all classes alike; the mean weight of an
example in the former two; how well weights tell right labels from wrong ones; LossNet's weight of a loss of 4
nats over that of 0; the share of wrong labels in whose place the classifier, or LIMIT's predictor, says the
true one; how well the predictor's distance tells right training labels from wrong ones. NaN for a method
without.
"""


def _read_quantity(text: str) -> str:
    _, _, when = text.partition(" at ")
    if text not in MEASURES and when not in ("end", "best", "top", "last") and not when.isdigit():
        raise InvalidValue(
            f"a quantity is one of {', '.join(MEASURES)}, or a column 'at end', 'best', 'top', 'last' or an "
            f"epoch, got {text!r}; try 'test_accuracy at end'"
        )
    return text


Quantity = Annotated[str, AfterValidator(_read_quantity)]


@dataclass(frozen=True, config=NO_MISSPELLINGS)
class Claim:
    """Runs with several seeds, and what is said of them.

    `prose` tells where the lesson says it. The spec of a run is `fields` with its own in `runs`, options
    merged. A quantity is one of MEASURES, or an expression of the history's columns at the "end" of a run, at
    its "best" noisy-validation epoch, at the "top" over all epochs, at an epoch of that number, or, "last",
    on average over the last ten evaluated epochs: "test_accuracy at end". `against` is the run that the
    others are compared with, seed by seed. With `new_flips` each seed draws the wrong classes of flip noise,
    too.
    """

    name: str
    prose: str
    runs: Mapping[str, Options]
    quantities: tuple[Quantity, ...]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    fields: Options = field(default_factory=dict)
    against: str = ""
    new_flips: bool = False

    def specs(self) -> dict[str, tuple[Spec, ...]]:
        """The specs by run, one a seed."""
        merged = {name: _merged(self.fields, own) for name, own in self.runs.items()}
        return {
            name: tuple(Spec.parse({**fields, **self._seeded(seed)}) for seed in self.seeds)
            for name, fields in merged.items()
        }

    def _seeded(self, seed: int) -> dict[str, Any]:
        return {"seed": seed} | ({"noise_options": {"seed": seed}} if self.new_flips else {})


def _merged(fields: Options, own: Options) -> dict[str, Any]:
    both = {name: {**fields[name], **own[name]} for name in fields.keys() & own if name.endswith("_options")}
    return {**fields, **own, **both}


@cache
def lessons() -> Mapping[str, tuple[Claim, ...]]:
    """The claims by lesson: "02"."""
    presets = files("lnlib").joinpath("papers", "presets")
    found = sorted(path.name for path in presets.iterdir() if path.name.startswith("claims_"))
    return {name.removeprefix("claims_").removesuffix(".toml"): _read(presets / name) for name in found}


def _read(path: Any) -> tuple[Claim, ...]:
    sections = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(Claim(name=name, **section) for name, section in sections.items())


def measures(claims: Sequence[Claim]) -> Collection[str]:
    """Which of MEASURES the claims speak of."""
    return sorted({name for claim in claims for name in claim.quantities if name in MEASURES})


def kept(run: Run, names: Collection[str]) -> Arrays:
    """These MEASURES of a run, for the store."""
    return {name: np.array(MEASURES[name](run)) for name in names}


def value(quantity: str, result: Result) -> float:
    """What a finished run says of a quantity."""
    if quantity in MEASURES:
        return float(result.arrays()[quantity])
    expression, _, when = quantity.partition(" at ")
    values = result.history.set_index("epoch").eval(expression).dropna()
    if when == "end":
        return float(values.iloc[-1])
    if when == "top":
        return float(values.max())
    if when == "last":
        return float(values.tail(LAST_EPOCHS).mean())
    return float(values[int(result.best["epoch"]) if when == "best" else int(when)])


class Paired(NamedTuple):
    """A mean difference over seeds, its standard error, and the t interval at 95%; NaN for one seed."""

    difference: float
    standard_error: float
    low: float
    high: float


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Paired:
    """How far our numbers lie above theirs, seed by seed."""
    found = paired_difference(dict(enumerate(ours)), dict(enumerate(theirs)))
    return Paired(float(np.mean(np.subtract(ours, theirs))), found.standard_error, found.low, found.high)


def frame(claims: Sequence[Claim], results: Mapping[str, Result]) -> pd.DataFrame:
    """One row a claim, run and quantity; `results` by fingerprint.

    `std` is over seeds, `by_seed` holds each seed's number, in the claim's order; `difference` is that to the
    run named in `against`, seed by seed, with its standard error and the ends of its t interval at 95%.
    """
    return pd.DataFrame([row for claim in claims for row in _rows(claim, results)])


def _rows(claim: Claim, results: Mapping[str, Result]) -> Iterator[dict[str, Any]]:
    specs = claim.specs()
    for quantity in claim.quantities:
        values = {
            name: [value(quantity, results[spec.fingerprint]) for spec in own] for name, own in specs.items()
        }
        for name, numbers in values.items():
            row = {
                "claim": claim.name,
                "run": name,
                "quantity": quantity,
                "seeds": len(numbers),
                "mean": np.mean(numbers),
                "std": np.std(numbers, ddof=1) if len(numbers) > 1 else np.nan,
                "smallest": min(numbers),
                "largest": max(numbers),
                "by_seed": " ".join(f"{number:.6g}" for number in numbers),
            }
            if claim.against and name != claim.against:
                row |= {"against": claim.against, **paired(numbers, values[claim.against])._asdict()}
            yield row
