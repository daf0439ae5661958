"""MemorizationLab: train a method at ten noise rates in the background, then move through them at once.

LIMIT, section 2.1 and Figure 1: accuracy on the clean and the corrupted labels apart, and Theorem 2.1 read
backwards, as memorised bits.
"""

import html
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
import plotly.graph_objects as go

from lnlib import bounds, data, noise, plots
from lnlib.data.task import make_task
from lnlib.device import default_device, describe
from lnlib.errors import LnlibError, unknown_name
from lnlib.labs.base import Lab, panel, redraw, row
from lnlib.labs.worker import Progress, Report, Worker
from lnlib.methods import LIMIT, CrossEntropy, Method
from lnlib.nets import MLP
from lnlib.plots.theme import THEORY
from lnlib.training import Adam, Epoch, Member, sweep

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
class Budget:
    """How much of a data set the lab trains on, so that ten runs take seconds to minutes on a laptop."""

    train_size: int | None
    batch_size: int


BUDGETS: Mapping[str, Budget] = {"digits": Budget(None, 64)}
LARGE = Budget(5000, 256)
"""For every data set that BUDGETS does not list."""

_LEGEND = {"x": 0, "y": -0.22, "yanchor": "top", "font_size": 13}  # a line an entry, so that none is cut off
_PANEL = {"height": 500, "margin": {"l": 56, "r": 10, "b": 196}, "legend": _LEGEND}


@dataclass(frozen=True)
class Setup:
    """Everything that decides a sweep's numbers but its noise rates; equal setups share their results."""

    dataset: str
    recipe: Recipe
    width: int
    epochs: int
    seed: int

    @property
    def budget(self) -> Budget:
        """How much is trained on."""
        return BUDGETS.get(self.dataset, LARGE)

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
        batch = self.budget.batch_size
        return f"{self.net.label}{penalty} · {self.epochs} epochs, batch {batch} · seed {self.seed}"


@dataclass(frozen=True, eq=False)
class Frame:
    """One run as the lab shows it; `history` is a `History.to_frame()`, `rate` the noise rate."""

    rate: float
    effective_rate: float
    num_classes: int
    num_train: int | None
    history: pd.DataFrame
    entropy: float

    @classmethod
    def untrained(cls, rate: float, epochs: int) -> "Frame":
        """Empty curves and the lines that need no training, for the ten classes of every data set here."""
        names = [*(name for name in Epoch.__dataclass_fields__ if name != "facts"), *_BITS]
        history = pd.DataFrame(np.nan, index=range(epochs), columns=names)
        history["epoch"] = np.arange(1, epochs + 1)
        return cls(rate, rate, 10, None, history, float(bounds.uniform_label_entropy(rate, 10)))

    @cached_property
    def accuracy(self) -> go.Figure:
        """The left panel's figure."""
        figure = _keep_legend(plots.accuracy_split(self.history, self.effective_rate))
        return figure.add_trace(_cursor(1.02))

    @cached_property
    def bits(self) -> go.Figure:
        """The right panel's figure; its axis reaches to log2 K whatever the rate, so that nothing jumps."""
        top = 1.05 * float(np.log2(self.num_classes))
        figure = _keep_legend(plots.bits_by_epoch(self.history, self.entropy))
        return figure.add_trace(_cursor(top)).update_yaxes(range=[0, top])


_BITS = ("memorized_bits", "memorized_bits_low", "memorized_bits_high")


def _cursor(top: float) -> go.Scatter:
    """The line that stands at the chosen epoch."""
    line = {"color": THEORY, "width": 1}
    return go.Scatter(x=[0, 0], y=[0, top], mode="lines", line=line, showlegend=False, hoverinfo="skip")


def _keep_legend(figure: go.Figure) -> go.Figure:
    """Give curves without points one that is nowhere: plotly would take them out of the legend."""
    for trace in figure.data:
        if not len(trace.y):
            trace.update(x=[0], y=[None])
    return figure


def train(setup: Setup, rates: Sequence[float], report: Report) -> dict[float, Frame]:
    """Train `setup` under uniform noise at every rate in one sweep; `report` hears of every step.

    Raises what loading, training and `report` raise.
    """
    dataset, budget, recipe = _load(setup.dataset), setup.budget, setup.recipe
    tasks = [
        make_task(dataset, noise.uniform(rate, dataset.num_classes), setup.seed, train_size=budget.train_size)
        for rate in rates
    ]
    taken, engines = 0, 1

    def on_step(done: int, batches: int) -> None:
        nonlocal taken
        taken += 1
        report(taken, batches * engines * setup.epochs)

    runs = sweep(
        [Member(recipe.method, task, setup.seed) for task in tasks],
        on_step=on_step,
        net=setup.net,
        optimizer=Adam(weight_decay=recipe.weight_decay),
        epochs=setup.epochs,
        batch_size=budget.batch_size,
    )
    engines = runs.modes.count("solo") or 1
    for _ in runs:
        pass
    frames = {}
    for rate, task, history in zip(rates, tasks, runs.histories, strict=True):
        entropy = float(bounds.label_entropy(task.truth.matrix, task.truth.prior))
        sizes = dataset.num_classes, len(task.train)
        frames[rate] = Frame(rate, task.effective_error_rate, *sizes, history.to_frame(), entropy)
    return frames


@lru_cache(maxsize=1)
def _load(name: str) -> data.Dataset:
    return data.load(name)


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


class MemorizationLab(Lab):
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
        super().__init__()
        datasets = {info.name: info.name + (" (to fetch)" * (not info.present)) for info in data.available()}
        for kind, name, known in (("data set", dataset, datasets), ("method", method, RECIPES)):
            if name not in known:
                raise unknown_name(kind, name, known)
        self._results: dict[Setup, dict[float, Frame]] = {}
        self._spoken_state = ""
        self._drawing = threading.RLock()
        self._worker: Worker[tuple[Setup, dict[float, Frame]]] = Worker(
            self._on_done, self._on_error, self._on_progress, self._on_stopped
        )
        self.dataset = widgets.Dropdown(
            options=[(title, name) for name, title in datasets.items()],
            value=dataset,
            description="data",
            **_sized(135),
        )
        self.method = widgets.Dropdown(
            options=list(RECIPES), value=method, description="method", **_sized(255)
        )
        self.beta = widgets.BoundedFloatText(
            value=beta, min=0, max=1000, description="LIMIT's β", **_sized(115)
        )
        self.width = widgets.BoundedIntText(value=width, min=4, max=1024, description="width", **_sized(100))
        self.epochs = widgets.BoundedIntText(
            value=epochs, min=1, max=1000, description="epochs", **_sized(114)
        )
        self.seed = widgets.BoundedIntText(value=seed, min=0, max=2**31, description="seed", **_sized(90))
        self.train_button = _button("Train", self.train, "play", "Train at ten noise rates", "primary")
        self.stop_button = _button("Stop", self.stop, "stop", "Stop the training that runs")
        self.reset_button = _button(
            "Reset", self.reset, "undo", "Forget all results and put the controls back"
        )
        self.progress = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="220px"))
        self.status = widgets.HTML()
        self.rate = widgets.FloatSlider(
            value=rate, min=0, max=RATES[-1], step=STEP, description="noise rate", **_sized(340)
        )
        self.epoch = widgets.IntSlider(value=epochs, min=1, max=epochs, description="epoch", **_sized(300))
        self.exact_button = _button(
            "Train this exact rate", self.train_exact, "crosshairs", "Train at the slider's noise rate alone"
        )
        self.exact_button.layout.width = "175px"
        self.note, self.small_print, self.failure = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._initial = {control: control.value for control in (*self._settings, self.rate)}
        blank = Frame.untrained(rate, epochs)
        self.accuracy, self.bits = panel(blank.accuracy), panel(blank.bits)
        for shown in (self.accuracy, self.bits):
            shown.layout.legend = {}
            shown.update_layout(_PANEL)
        self.epochs.observe(self._on_epochs, "value")
        for control in self._settings:
            control.observe(self._on_settings, "value")
        self.watch(*self._settings, self.rate, self.epoch)
        self.lay_out(
            _row(*self._settings),
            _row(self.train_button, self.stop_button, self.reset_button, self.progress, self.status),
            _row(self.rate, self.exact_button, self.epoch),
            self.note,
            self.failure,
            _row(self.accuracy, self.bits),
            self.small_print,
        )
        self._on_settings()
        self.update()

    # What is set, and what is shown.

    @property
    def _settings(self) -> tuple[widgets.Widget, ...]:
        return self.dataset, self.method, self.beta, self.width, self.epochs, self.seed

    @property
    def setup(self) -> Setup:
        """What the controls ask for."""
        recipe = RECIPES[self.method.value]
        if isinstance(recipe.method, LIMIT):
            recipe = replace(recipe, method=replace(recipe.method, beta=float(self.beta.value)))
        return Setup(self.dataset.value, recipe, self.width.value, self.epochs.value, self.seed.value)

    @property
    def histories(self) -> dict[float, pd.DataFrame]:
        """What is trained with these settings: by noise rate, one row an epoch (`History.to_frame()`)."""
        return {rate: frame.history for rate, frame in sorted(self._results.get(self.setup, {}).items())}

    @property
    def frame(self) -> Frame:
        """The run on show: at the trained rate nearest to the slider, the lower of two; empty if none is."""
        trained = self._results.get(self.setup, {})
        rate = _round(self.rate.value)
        if not trained:
            return Frame.untrained(rate, self.epochs.value)
        return trained[min(sorted(trained), key=lambda other: round(abs(other - rate), 6))]

    def snapshot(self) -> go.Figure:
        """Both panels as one static figure."""
        frame = self.frame
        both = plots.side_by_side(go.Figure(self.accuracy), go.Figure(self.bits))
        return plots.small_print(both, f"{self.method.value} · {self._small_print(frame)}")

    def update(self) -> None:
        """Bring panels, notes and sentence up to the controls."""
        with self._drawing:
            setup, frame, rate = self.setup, self.frame, _round(self.rate.value)
            trained, running = frame.num_train is not None, self._worker.running
            self._draw(frame)
            self.beta.disabled = not isinstance(setup.recipe.method, LIMIT)
            self.train_button.disabled, self.stop_button.disabled = running, not running
            self.exact_button.disabled = running or not trained or frame.rate == rate
            between = trained and frame.rate != rate
            nearest = f"{rate:.2f} is not trained yet: you see {frame.rate:.2f}, the nearest trained rate."
            self.note.value = _small(f"<b>{nearest}</b>" * between)
            self.small_print.value = _small(html.escape(self._small_print(frame)))
            if trained:
                self.sentence = describe_run(setup.recipe.spoken, frame, self.epoch.value)
            elif running:
                self.sentence = "Training in the background. What do you expect to see?"
            else:
                self.sentence = "Nothing is trained with these settings yet. What do you expect? Press Train."

    def _draw(self, frame: Frame) -> None:
        for shown, figure in ((self.accuracy, frame.accuracy), (self.bits, frame.bits)):
            figure.data[-1].x = [self.epoch.value] * 2
            redraw(shown, figure)

    def _small_print(self, frame: Frame) -> str:
        setup = self.setup
        size = f", n = {frame.num_train}" if frame.num_train else ""
        return (
            f"{setup.dataset}{size} · uniform noise {frame.rate:.2f} "
            f"(effective error rate {frame.effective_rate:.2f}) · {setup.label} · "
            f"{describe(default_device())}"
        )

    # What the buttons do.

    def train(self) -> None:
        """Train these settings in the background, at all of `RATES` that are not trained yet."""
        done = self._results.get(self.setup, {})
        self._start([rate for rate in RATES if rate not in done])

    def train_exact(self) -> None:
        """Train these settings at the slider's noise rate in the background."""
        rate = _round(self.rate.value)
        self._start([rate] if rate not in self._results.get(self.setup, {}) else [])

    def stop(self) -> None:
        """Stop the training that runs at its next step; its unfinished runs are dropped."""
        self._worker.stop()

    def reset(self) -> None:
        """Stop, forget all results and put the controls back."""
        self._worker.stop()
        self._results.clear()
        with self.one_update():
            for control, value in self._initial.items():
                control.value = value
            self.failure.value = ""
            self.epoch.value = self.epoch.max
        self._on_settings()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds for training to end; whether it has. Raises what made it fail."""
        return self._worker.wait(timeout)

    def _start(self, rates: Sequence[float]) -> None:
        if not rates:
            self._say("already trained")
            return
        setup = self.setup
        self.failure.value, self.progress.value = "", 0.0
        self._say("preparing …")
        self._worker.start(lambda report: (setup, train(setup, rates, report)))
        self.update()

    # What the worker tells, from its thread.

    def _on_progress(self, progress: Progress) -> None:
        self.progress.value = progress.fraction
        self._say(f"training, {_duration(progress.seconds_left)} left")

    def _on_done(self, result: tuple[Setup, dict[float, Frame]]) -> None:
        setup, frames = result
        for frame in frames.values():
            _ = frame.accuracy, frame.bits  # drawn now, so that a move of the slider only swaps arrays
        self._results.setdefault(setup, {}).update(frames)
        self._on_settings()
        self.update()

    def _on_error(self, error: Exception) -> None:
        self.progress.value = 0.0
        self._say("failed")
        message = str(error) if isinstance(error, LnlibError) else f"{type(error).__name__}: {error}"
        trace = "".join(traceback.format_exception(error))
        self.failure.value = (
            f'<div role="alert" style="border-left:4px solid #D55E00;padding:4px 12px">'
            f"<b>Training failed.</b> {html.escape(message)}"
            f"<details><summary>Traceback</summary><pre>{html.escape(trace)}</pre></details></div>"
        )
        self.update()

    def _on_stopped(self) -> None:
        self.progress.value = 0.0
        self._say("stopped")
        self.update()

    def _on_settings(self, change: object = None) -> None:
        """Say what there is for these settings, unless a training run has something to say."""
        if not self._worker.running:
            trained = self.setup in self._results
            self.progress.value = float(trained)
            self._say("trained: move the sliders" if trained else "not trained yet")

    def _on_epochs(self, change: dict[str, Any]) -> None:
        with self.one_update():
            self.epoch.max = self.epochs.value
            self.epoch.value = self.epochs.value

    def _say(self, text: str) -> None:
        self.status.value = f'<span role="status">{html.escape(text)}</span>'


def _round(rate: float) -> float:
    """The slider's value as it is written: 0.15000000000000002 is 0.15."""
    return round(rate, 2)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _small(text: str) -> str:
    return f'<div style="font-size:13px;line-height:20px;min-height:20px;color:#555">{text}</div>'


def _row(*children: widgets.Widget) -> widgets.Box:
    """A row whose children stand close: six controls fit JupyterLab's column on a small laptop."""
    close = row(*children)
    close.layout.grid_gap = "0 2px"
    return close


def _sized(width: int) -> dict[str, Any]:
    return {"layout": widgets.Layout(width=f"{width}px"), "style": {"description_width": "initial"}}


def _button(label: str, action: Any, icon: str, tooltip: str, style: str = "") -> widgets.Button:
    button = widgets.Button(
        description=label,
        icon=icon,
        tooltip=tooltip,
        button_style=style,
        layout=widgets.Layout(width="90px"),
    )
    button.on_click(lambda _: action())
    return button
