"""MemorizationLab: train a method at ten noise rates in the background, then move through them at once.

LIMIT, section 2.1 and Figure 1: accuracy on the clean and the corrupted labels apart, and Theorem 2.1 read
backwards, as memorised bits.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from lnlib.course.labs.base import Lab
from lnlib.course.labs.controls import SEED, DataMenu, Menu, Number, Slider, Values, epoch, epochs
from lnlib.course.labs.panels import Scene
from lnlib.course.labs.runs import Frame, budget_of, train_together, uniform_task
from lnlib.course.labs.worker import Report
from lnlib.methods import LIMIT, CrossEntropy, Method
from lnlib.nets import MLP
from lnlib.training import Adam, Member

RATES = tuple(step / 10 for step in range(10))
"""The noise rates that *Train* trains together."""

STEP = 0.05
"""The noise-rate slider's step; a rate between the trained ones can be trained by itself."""


@dataclass(frozen=True)
class Recipe:
    """A line of the method menu: how it is called in a sentence, and what makes it."""

    spoken: str
    method: Method = field(default_factory=CrossEntropy)
    dropout: float = 0.0
    weight_decay: float = 0.0

    @classmethod
    def of(cls, c: Values) -> "Recipe":
        """The recipe that the controls name, with their β."""
        recipe = RECIPES[c.method]
        if isinstance(recipe.method, LIMIT):
            recipe = replace(recipe, method=replace(recipe.method, beta=c.beta))
        return recipe

    def net(self, width: int) -> MLP:
        return MLP(width, dropout=self.dropout)


RECIPES: Mapping[str, Recipe] = {
    "Cross-entropy": Recipe("cross-entropy"),
    "Cross-entropy + dropout": Recipe("cross-entropy with dropout", dropout=0.25),
    "Cross-entropy + weight decay": Recipe("cross-entropy with weight decay", weight_decay=3e-3),
    "LIMIT, Laplace q": Recipe("LIMIT", LIMIT(q="laplace")),
    "LIMIT, Gaussian q": Recipe("LIMIT with Gaussian q", LIMIT(q="gaussian")),
}


def _has_beta(c: Values) -> bool:
    return isinstance(RECIPES[c.method].method, LIMIT)


class MemorizationLab(Lab):
    """What a network memorises: a method at ten noise rates, by rate and by epoch.

    *Train* runs a sweep over the noise rates; a rate between them can be trained by itself. `histories` are
    the runs of the present settings.
    """

    settings: ClassVar = {
        "dataset": DataMenu(),
        "method": Menu(value="Cross-entropy", label="method", width=255, options=RECIPES),
        "beta": Number(value=10.0, label="LIMIT's β", width=115, when=_has_beta),
        "width": Number(value=64, label="width", width=100, low=4, high=1024),
        "epochs": epochs(60),
        "seed": SEED,
    }
    views: ClassVar = {
        "rate": Slider(value=0.5, label="noise rate", width=235, high=RATES[-1], step=STEP),
        "epoch": epoch(),
    }

    @property
    def histories(self) -> dict[float, pd.DataFrame]:
        """What is trained with these settings: by noise rate, one row an epoch."""
        return {rate: frame.history for rate, frame in sorted(self.results.items())}

    def grid(self, c: Values) -> Collection[float]:
        return RATES

    def actions(self, results: Mapping[float, Frame], c: Values) -> dict[str, Collection[float]]:
        return {"Train this exact rate": [c.rate] if results and c.rate not in results else []}

    def positions(self, results: Mapping[float, Frame], c: Values) -> dict[str, list[tuple[Any, str]]]:
        """A saved page stops at the trained rates only."""
        return super().positions(results, c) | {"rate": [(rate, f"{rate:.2f}") for rate in sorted(results)]}

    def job(self, c: Values, keys: Sequence[float], report: Report) -> dict[float, Frame]:
        recipe = Recipe.of(c)
        tasks = [uniform_task(c.dataset, rate, c.seed) for rate in keys]
        runs = train_together(
            [Member(recipe.method, task, c.seed) for task in tasks],
            report,
            c.epochs,
            net=recipe.net(c.width),
            optimizer=Adam(weight_decay=recipe.weight_decay),
            batch_size=budget_of(c.dataset).batch_size,
        )
        found = zip(keys, tasks, runs, strict=True)
        return {rate: Frame.of(rate, task, run) for rate, task, run in found}

    def view(self, results: Mapping[float, Frame], c: Values) -> Scene:
        """The run at the trained rate nearest to the slider, the lower of two."""
        recipe, frame, note, sentence = Recipe.of(c), Frame.untrained(c.rate, c.epochs), "", ""
        if results:
            frame = results[min(sorted(results), key=lambda other: round(abs(other - c.rate), 6))]
            sentence = describe_run(recipe.spoken, frame, c.epoch)
            if frame.rate != c.rate:
                note = f"{c.rate:.2f} is not trained yet: you see {frame.rate:.2f}, the nearest trained rate."
        penalty = f", β = {c.beta:g}" * _has_beta(c)
        penalty += f", weight decay {recipe.weight_decay:g}" * bool(recipe.weight_decay)
        budget = f"{c.epochs} epochs, batch {budget_of(c.dataset).batch_size} · seed {c.seed}"
        setting = f"{recipe.net(c.width).label}{penalty} · {budget}"
        figures = [frame.accuracy(c.epoch), frame.bits(c.epoch)]
        return Scene(figures, sentence, f"{c.method} · {frame.facts(c.dataset, setting)}", note)


def describe_run(spoken: str, frame: Frame, epoch: int) -> str:
    """What a run shows at an epoch (from 1), in words."""
    now = frame.history.iloc[epoch - 1]
    last = epoch == len(frame.history)
    when = f"{spoken} ends" if last else f"after {epoch} epoch{'s'[: epoch > 1]}, {spoken} stands"
    where = f"At noise rate {frame.rate:.2f}"
    if np.isnan(now["corrupted_fit"]):
        return (
            f"{where} every label is right and there is nothing to memorise: {when} at "
            f"{now['test_accuracy']:.0%} on test images."
        )
    return (
        f"{where}, {when} with at least {now['memorized_bits']:.1f} of {frame.entropy:.1f} bits per label "
        f"memorised: it fits {now['corrupted_fit']:.0%} of the wrong labels and recovers the right one for "
        f"{now['corrupted_recovered']:.0%} of them. Test accuracy: {now['test_accuracy']:.0%}."
    )
