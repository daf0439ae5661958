"""MemorizationLab: train a method at ten noise rates in the background, then move through them at once.

LIMIT, section 2.1 and Figure 1: accuracy on the clean and the corrupted labels apart, and Theorem 2.1 read
backwards, as memorised bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import ipywidgets as widgets
import numpy as np
import pandas as pd
import plotly.graph_objects as go

from lnlib import plots
from lnlib.labs.base import panel, redraw
from lnlib.labs.training import (
    PANEL,
    Frame,
    TrainingLab,
    budget_of,
    button,
    check_name,
    sized,
    small,
    train_together,
    uniform_task,
)
from lnlib.labs.worker import Report
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


RECIPES: Mapping[str, Recipe] = {
    "Cross-entropy": Recipe("cross-entropy"),
    "Cross-entropy + dropout": Recipe("cross-entropy with dropout", dropout=0.25),
    "Cross-entropy + weight decay": Recipe("cross-entropy with weight decay", weight_decay=3e-3),
    "LIMIT, Laplace q": Recipe("LIMIT", LIMIT(q="laplace")),
    "LIMIT, Gaussian q": Recipe("LIMIT with Gaussian q", LIMIT(q="gaussian")),
}


@dataclass(frozen=True)
class Setup:
    """Everything that decides a sweep's numbers but its noise rates; equal setups share their results."""

    dataset: str
    recipe: Recipe
    width: int
    epochs: int
    seed: int

    @property
    def net(self) -> MLP:
        """The network."""
        return MLP(self.width, dropout=self.recipe.dropout)

    @property
    def label(self) -> str:
        """Net, hyper-parameters and budget in a line."""
        method, decay = self.recipe.method, self.recipe.weight_decay
        penalty = f", β = {method.beta:g}" if isinstance(method, LIMIT) else ""
        penalty += f", weight decay {decay:g}" if decay else ""
        batch = budget_of(self.dataset).batch_size
        return f"{self.net.label}{penalty} · {self.epochs} epochs, batch {batch} · seed {self.seed}"


def train(setup: Setup, rates: Sequence[float], report: Report) -> dict[float, Frame]:
    """Train `setup` under uniform noise at every rate in one sweep; `report` hears of every step.

    Raises what loading, training and `report` raise.
    """
    recipe = setup.recipe
    tasks = [uniform_task(setup.dataset, rate, setup.seed) for rate in rates]
    histories = train_together(
        [Member(recipe.method, task, setup.seed) for task in tasks],
        report,
        setup.epochs,
        net=setup.net,
        optimizer=Adam(weight_decay=recipe.weight_decay),
        batch_size=budget_of(setup.dataset).batch_size,
    )
    runs = zip(rates, tasks, histories, strict=True)
    return {rate: Frame.of(rate, task, history) for rate, task, history in runs}


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


class MemorizationLab(TrainingLab[Setup, float, Frame]):
    """*Train* runs a sweep over noise rates in a worker thread; then the sliders move at once.

    Controls are the attributes `dataset`, `method`, `beta`, `width`, `epochs`, `seed`, `rate` and `epoch`;
    buttons are `train_button`, `stop_button`, `reset_button` and `exact_button`. `train()`, `stop()`,
    `reset()` and `train_exact()` do what the buttons do; `wait()` waits. Results are kept by settings until
    *Reset*. Raises `UnknownName` for an unknown data set or method.
    """

    def __init__(
        self,
        dataset: str = "digits",
        method: str = "Cross-entropy",
        beta: float = 10.0,
        width: int = 64,
        epochs: int = 60,
        seed: int = 0,
        rate: float = 0.5,
    ) -> None:
        super().__init__(dataset, epochs, seed)
        check_name("method", method, RECIPES)
        self.train_button.tooltip = "Train at ten noise rates"
        self.method = widgets.Dropdown(
            options=list(RECIPES), value=method, description="method", **sized(255)
        )
        self.beta = widgets.BoundedFloatText(
            value=beta, min=0, max=1000, description="LIMIT's β", **sized(115)
        )
        self.width = widgets.BoundedIntText(value=width, min=4, max=1024, description="width", **sized(100))
        self.rate = widgets.FloatSlider(
            value=rate, min=0, max=RATES[-1], step=STEP, description="noise rate", **sized(340)
        )
        self.exact_button = button(
            "Train this exact rate",
            self.train_exact,
            "crosshairs",
            "Train at the slider's noise rate alone",
            width=175,
        )
        self.note = widgets.HTML(layout=widgets.Layout(width="100%"))
        blank = Frame.untrained(rate, epochs)
        self.accuracy, self.bits = panel(blank.accuracy), panel(blank.bits)
        for shown in (self.accuracy, self.bits):
            shown.layout.legend = {}
            shown.update_layout(PANEL)
        self.assemble(
            settings=(self.dataset, self.method, self.beta, self.width, self.epochs, self.seed),
            views=(self.rate, self.exact_button, self.epoch, self.note),
            panels=(self.accuracy, self.bits),
        )

    @property
    def setup(self) -> Setup:
        """What the controls ask for."""
        recipe = RECIPES[self.method.value]
        if isinstance(recipe.method, LIMIT):
            recipe = replace(recipe, method=replace(recipe.method, beta=float(self.beta.value)))
        return Setup(self.dataset.value, recipe, self.width.value, self.epochs.value, self.seed.value)

    @property
    def grid(self) -> Sequence[float]:
        """The noise rates that *Train* trains together."""
        return RATES

    @property
    def histories(self) -> dict[float, pd.DataFrame]:
        """What is trained with these settings: by noise rate, one row an epoch (`History.to_frame()`)."""
        return {rate: frame.history for rate, frame in sorted(self.results.items())}

    @property
    def frame(self) -> Frame:
        """The run on show: at the trained rate nearest to the slider, the lower of two; empty if none is."""
        trained, rate = self.results, _round(self.rate.value)
        if not trained:
            return Frame.untrained(rate, self.epochs.value)
        return trained[min(sorted(trained), key=lambda other: round(abs(other - rate), 6))]

    def train_exact(self) -> None:
        """Train these settings at the slider's noise rate in the background."""
        self.start([_round(self.rate.value)])

    def job(self, setup: Setup, keys: Sequence[float], report: Report) -> dict[float, Frame]:
        """`train`, and draw the figures, so that a move of the slider only swaps arrays."""
        frames = train(setup, keys, report)
        for frame in frames.values():
            _ = frame.accuracy, frame.bits
        return frames

    def draw(self) -> None:
        """Bring panels, note and the disabled states of its own up to the controls."""
        frame, rate = self.frame, _round(self.rate.value)
        for shown, figure in ((self.accuracy, frame.accuracy), (self.bits, frame.bits)):
            figure.data[-1].x = [self.epoch.value] * 2
            redraw(shown, figure)
        between = bool(self.results) and frame.rate != rate
        nearest = f"{rate:.2f} is not trained yet: you see {frame.rate:.2f}, the nearest trained rate."
        self.note.value = small(f"<b>{nearest}</b>" * between)
        self.beta.disabled = not isinstance(self.setup.recipe.method, LIMIT)
        self.exact_button.disabled = self.running or not between

    def words(self) -> str:
        """What the run on show shows at the chosen epoch."""
        return describe_run(self.setup.recipe.spoken, self.frame, self.epoch.value)

    def facts(self) -> str:
        """Data, noise, net, budget and device."""
        return self.frame.facts(self.dataset.value, self.setup.label)

    def snapshot(self) -> go.Figure:
        """Both panels as one static figure."""
        both = plots.side_by_side(go.Figure(self.accuracy), go.Figure(self.bits))
        return plots.small_print(both, f"{self.method.value} · {self.facts()}")


def _round(rate: float) -> float:
    """The slider's value as it is written: 0.15000000000000002 is 0.15."""
    return round(rate, 2)
