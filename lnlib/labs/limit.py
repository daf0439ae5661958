"""LimitLab: LIMIT at every β and noise rate of a grid, trained as one sweep, then explored at once.

LIMIT, section 3.4: what the penalty β‖μ‖² keeps out of the weights, and what it costs.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
import pandas as pd
import plotly.graph_objects as go

from lnlib import plots
from lnlib.analysis.information import information_bounds
from lnlib.errors import InvalidValue
from lnlib.labs.base import panel, redraw
from lnlib.labs.training import (
    PANEL,
    Frame,
    TrainingLab,
    budget_of,
    check_name,
    cursor,
    keep_legend,
    sized,
    train_together,
    uniform_task,
)
from lnlib.labs.worker import Report
from lnlib.methods import LIMIT
from lnlib.methods.limit import Distribution
from lnlib.nets import MLP
from lnlib.plots.theme import CLEAN, NOISY, TEMPLATE, TEST
from lnlib.training import Member

RATES = (0.2, 0.4, 0.5, 0.6, 0.8)
BETAS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)
"""*Train* trains every β at every noise rate."""

DISTRIBUTIONS: dict[str, Distribution] = {"Laplace": "laplace", "Gaussian": "gaussian"}
SIGMAS = {0.0: "the mean μ", 0.1: "a sample, σ = 0.1", 0.3: "a sample, σ = 0.3"}
"""What the classifier receives, by the standard deviation σ of q; 0 is LIMIT without sampling."""

NET = MLP(64)
Key = tuple[float, float]


@dataclass(frozen=True)
class Setup:
    """Everything that decides a sweep's numbers but its grid; equal setups share their results."""

    dataset: str
    q: Distribution
    sigma: float
    epochs: int
    seed: int

    def method(self, beta: float) -> LIMIT:
        """LIMIT at one β."""
        if not self.sigma:
            return LIMIT(q=self.q, beta=beta)
        return LIMIT(q=self.q, beta=beta, sampling=True, sigma=self.sigma)

    @property
    def spoken(self) -> str:
        """The method in a sentence."""
        sampling = f", σ = {self.sigma:g}" if self.sigma else ""
        return f"LIMIT ({self.q.capitalize()}{sampling})"

    @property
    def label(self) -> str:
        """Method, net and budget in a line."""
        batch = budget_of(self.dataset).batch_size
        return f"{self.spoken} · {NET.label} · {self.epochs} epochs, batch {batch} · seed {self.seed}"


def train(setup: Setup, keys: Sequence[Key], report: Report) -> dict[Key, Frame]:
    """Train `setup` at every (noise rate, β) in one sweep; `report` hears of every step.

    Raises what loading, training and `report` raise.
    """
    tasks = {rate: uniform_task(setup.dataset, rate, setup.seed) for rate, _ in keys}
    histories = train_together(
        [Member(setup.method(beta), tasks[rate], setup.seed) for rate, beta in keys],
        report,
        setup.epochs,
        # Stacked takes half the time on digits (a quarter more on MNIST); a busy machine's clock may err.
        mode="stacked",
        net=NET,
        batch_size=budget_of(setup.dataset).batch_size,
    )
    runs = zip(keys, histories, strict=True)
    return {key: Frame.of(key[0], tasks[key[0]], history) for key, history in runs}


def at_epoch(frames: Sequence[Frame], epoch: int) -> pd.DataFrame:
    """The records of several runs at an epoch (from 1), one row a run."""
    return pd.DataFrame([frame.history.iloc[epoch - 1] for frame in frames]).reset_index(drop=True)


def against_beta(records: pd.DataFrame, betas: Sequence[float], beta: float) -> go.Figure:
    """What is fitted and what is learned by β, with a cursor at `beta`; one row of `records` a β.

    β = 0 has no place on a logarithmic axis: the values stand at equal distances. The star is the β that
    noisy validation chooses, as a reader without true labels must.
    """
    lines = {
        "clean_accuracy": ("clean part", CLEAN, "solid", "square"),
        "corrupted_fit": ("corrupted part, fitted", NOISY, "solid", "x"),
        "test_accuracy": ("test", TEST, "longdash", "diamond"),
    }
    figure = go.Figure(layout={"template": TEMPLATE, "title_text": "At this epoch, by β"})
    figure.update_yaxes(title_text="accuracy", range=[0, 1.02], tickformat=".0%")
    figure.update_xaxes(
        title_text="β, the weight of the penalty ‖μ‖²", range=[-0.4, len(betas) - 0.6], **_ticks(betas)
    )
    for column, (name, color, dash, symbol) in lines.items():
        figure.add_scatter(
            x=np.arange(len(records)),
            y=records[column].to_numpy(),
            mode="lines+markers",
            line={"color": color, "dash": dash, "width": 2.5},
            marker={"symbol": symbol, "size": 8},
            name=name,
        )
    chosen = [int(records["validation_accuracy"].argmax())] if len(records) else []
    figure.add_scatter(
        x=chosen,
        y=records["test_accuracy"].to_numpy()[chosen],
        mode="markers",
        marker={"symbol": "star", "size": 15, "color": TEST, "line": {"color": "white", "width": 1}},
        name="test, at the β of the best noisy validation",
    )
    line = cursor(1.02).update(x=[betas.index(beta)] * 2)
    return keep_legend(figure).add_trace(line)


def describe_run(setup: Setup, beta: float, frame: Frame, epoch: int) -> str:
    """What a run shows at an epoch (from 1), in words."""
    now = frame.history.iloc[epoch - 1]
    last = epoch == len(frame.history)
    ends = "ends" if last else f"stands after {epoch} epoch{'s'[: epoch > 1]}"
    text = (
        f"At noise rate {frame.rate:.2f} and β = {beta:g}, {setup.spoken} {ends} with "
        f"{now['corrupted_fit']:.0%} of the wrong labels fitted and {now['test_accuracy']:.0%} on test "
        f"images; the predicted gradients have a mean squared norm of {now['squared_gradient']:.2g}."
    )
    if not setup.sigma:
        return text
    limits = information_bounds(frame.history, setup.sigma, frame.num_classes, setup.q)
    most = limits["at_most"].iloc[epoch - 1]
    return f"{text} Proposition 3.1 lets them tell {most:.3g} bits per label; H(y|x) is {frame.entropy:.1f}."


class LimitLab(TrainingLab[Setup, Key, Frame]):
    """*Train* runs LIMIT at every β and noise rate of a grid in a worker thread; then the sliders move at
    once.

    Controls are the attributes `dataset`, `q`, `gradient`, `epochs`, `seed`, `rate`, `beta` and `epoch`;
    buttons are `train_button`, `stop_button` and `reset_button`; `train()`, `stop()` and `reset()` do what
    they do; `wait()` waits. Results are kept by settings until *Reset*. Raises `UnknownName` for an unknown
    data set or q, `InvalidValue` for a σ, rate or β that the lab does not train.
    """

    def __init__(
        self,
        dataset: str = "digits",
        q: str = "Laplace",
        sigma: float = 0.0,
        epochs: int = 40,
        seed: int = 0,
        rate: float = 0.5,
        beta: float = 10.0,
    ) -> None:
        super().__init__(dataset, epochs, seed)
        check_name("q", q, DISTRIBUTIONS)
        for name, value, known in (("σ", sigma, SIGMAS), ("noise rate", rate, RATES), ("β", beta, BETAS)):
            _check_value(name, value, known)
        self.train_button.tooltip = f"Train {len(BETAS)} values of β at {len(RATES)} noise rates"
        self.q = widgets.Dropdown(options=DISTRIBUTIONS, label=q, description="q", **sized(120))
        self.gradient = widgets.Dropdown(
            options=[(title, value) for value, title in SIGMAS.items()],
            value=sigma,
            description="the classifier receives",
            **sized(290),
        )
        self.rate = widgets.SelectionSlider(
            options=[(f"{value:.2f}", value) for value in RATES],
            value=rate,
            description="noise rate",
            **sized(270),
        )
        self.beta = widgets.SelectionSlider(
            options=[(f"{value:g}", value) for value in BETAS], value=beta, description="β", **sized(250)
        )
        self.accuracy = panel(Frame.untrained(rate, epochs).accuracy)
        self.by_beta = panel(self._by_beta)
        for shown in (self.accuracy, self.by_beta):
            shown.layout.legend = {}
            shown.update_layout(PANEL)
        self.assemble(
            settings=(self.dataset, self.q, self.gradient, self.epochs, self.seed),
            views=(self.rate, self.beta, self.epoch),
            panels=(self.accuracy, self.by_beta),
        )

    @property
    def setup(self) -> Setup:
        """What the controls ask for."""
        return Setup(
            self.dataset.value, self.q.value, self.gradient.value, self.epochs.value, self.seed.value
        )

    @property
    def grid(self) -> list[Key]:
        """Every noise rate with every β."""
        return [(rate, beta) for rate in RATES for beta in BETAS]

    @property
    def histories(self) -> dict[Key, pd.DataFrame]:
        """What is trained with these settings: by noise rate and β, one row an epoch
        (`History.to_frame()`).
        """
        return {key: frame.history for key, frame in self.results.items()}

    @property
    def frame(self) -> Frame:
        """The run on show; empty before it is trained."""
        key = self.rate.value, self.beta.value
        return self.results[key] if self.results else Frame.untrained(key[0], self.epochs.value)

    def job(self, setup: Setup, keys: Sequence[Key], report: Report) -> dict[Key, Frame]:
        """`train`, and draw the figures, so that a move of a slider only swaps arrays."""
        frames = train(setup, keys, report)
        for frame in frames.values():
            _ = frame.accuracy
        return frames

    def draw(self) -> None:
        """Bring both panels up to the controls."""
        accuracy = self.frame.accuracy
        accuracy.data[-1].x = [self.epoch.value] * 2
        redraw(self.accuracy, accuracy)
        redraw(self.by_beta, self._by_beta)

    def words(self) -> str:
        """What the run on show shows at the chosen epoch."""
        return describe_run(self.setup, self.beta.value, self.frame, self.epoch.value)

    def facts(self) -> str:
        """Data, noise, method, net, budget and device."""
        return self.frame.facts(self.dataset.value, self.setup.label)

    def snapshot(self) -> go.Figure:
        """Both panels as one static figure."""
        both = plots.side_by_side(go.Figure(self.accuracy), go.Figure(self.by_beta))
        return plots.small_print(
            both.update_xaxes(col=2, **_ticks(BETAS)), f"β = {self.beta.value:g} · {self.facts()}"
        )

    @property
    def _by_beta(self) -> go.Figure:
        if not self.results:
            empty = Frame.untrained(self.rate.value, 1).history.iloc[:0]
            return against_beta(empty, BETAS, self.beta.value)
        frames = [self.results[self.rate.value, beta] for beta in BETAS]
        return against_beta(at_epoch(frames, self.epoch.value), BETAS, self.beta.value)


def _ticks(betas: Sequence[float]) -> dict[str, list[int] | list[str]]:
    return {"tickvals": list(range(len(betas))), "ticktext": [f"{beta:g}" for beta in betas]}


def _check_value(name: str, value: float, known: Collection[float]) -> None:
    if value not in known:
        options = ", ".join(f"{option:g}" for option in known)
        raise InvalidValue(f"{name} must be one of {options}, got {value}; choose one that the lab trains")
