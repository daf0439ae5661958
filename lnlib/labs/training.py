"""What the labs that train share: a worker thread behind Train, Stop and Reset, results kept by settings, and
a run as they draw it.
"""

import html
import threading
import traceback
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar

import ipywidgets as widgets
import numpy as np
import pandas as pd
import plotly.graph_objects as go

from lnlib import bounds, data, noise, plots
from lnlib.data.task import Task, make_task
from lnlib.device import default_device, describe
from lnlib.errors import LnlibError, unknown_name
from lnlib.labs.base import Lab, row
from lnlib.labs.worker import Progress, Report, Worker
from lnlib.plots.theme import THEORY
from lnlib.training import History, Member, sweep
from lnlib.training.history import COLUMNS

Setup = TypeVar("Setup", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)
Shown = TypeVar("Shown")

_LEGEND = {"x": 0, "y": -0.22, "yanchor": "top", "font_size": 13}  # a line an entry, so that none is cut off
PANEL = {"height": 500, "margin": {"l": 68, "r": 10, "b": 196}, "legend": _LEGEND}
"""The layout of a panel with up to six lines in its legend."""


@dataclass(frozen=True)
class Budget:
    """How much of a data set a lab trains on, so that its runs take seconds to minutes on a laptop."""

    train_size: int | None
    batch_size: int


BUDGETS: Mapping[str, Budget] = {"digits": Budget(None, 64)}
LARGE = Budget(5000, 256)
"""For every data set that BUDGETS does not list."""


def budget_of(dataset: str) -> Budget:
    """How much of a data set is trained on."""
    return BUDGETS.get(dataset, LARGE)


@dataclass(frozen=True, eq=False)
class Frame:
    """A run under uniform noise as a lab shows it; `history` is a `History.to_frame()`, `rate` the noise
    rate, `entropy` H(y|x) in bits.
    """

    rate: float
    effective_rate: float
    num_classes: int
    num_train: int | None
    history: pd.DataFrame
    entropy: float

    @classmethod
    def untrained(cls, rate: float, epochs: int) -> "Frame":
        """Empty curves and the lines that need no training, for the ten classes of every data set here."""
        names = [*COLUMNS, "memorized_bits", "memorized_bits_low", "memorized_bits_high"]
        history = pd.DataFrame(np.nan, index=range(epochs), columns=names)
        history["epoch"] = np.arange(1, epochs + 1)
        return cls(rate, rate, 10, None, history, float(bounds.uniform_label_entropy(rate, 10)))

    @classmethod
    def of(cls, rate: float, task: Task, history: History) -> "Frame":
        """A run that is trained."""
        entropy = float(bounds.label_entropy(task.truth.matrix, task.truth.prior))
        sizes = len(task.truth.matrix), len(task.train)
        return cls(rate, task.effective_error_rate, *sizes, history.to_frame(), entropy)

    @cached_property
    def accuracy(self) -> go.Figure:
        """`plots.accuracy_split` with a cursor as its last trace."""
        figure = keep_legend(plots.accuracy_split(self.history, self.effective_rate))
        return figure.add_trace(cursor(1.02))

    @cached_property
    def bits(self) -> go.Figure:
        """`plots.bits_by_epoch` with a cursor; its axis reaches to log2 K whatever the rate, so that nothing
        jumps.
        """
        top = 1.05 * float(np.log2(self.num_classes))
        figure = keep_legend(plots.bits_by_epoch(self.history, self.entropy))
        return figure.add_trace(cursor(top)).update_yaxes(range=[0, top])

    def facts(self, dataset: str, setting: str) -> str:
        """The small print: data, noise, the setting's own words, device."""
        size = f", n = {self.num_train}" if self.num_train else ""
        return (
            f"{dataset}{size} · uniform noise {self.rate:.2f} (effective error rate "
            f"{self.effective_rate:.2f}) · {setting} · {describe(default_device())}"
        )


def cursor(top: float) -> go.Scatter:
    """The line that stands at the chosen value of the horizontal axis, 0 at first."""
    line = {"color": THEORY, "width": 1}
    return go.Scatter(x=[0, 0], y=[0, top], mode="lines", line=line, showlegend=False, hoverinfo="skip")


def keep_legend(figure: go.Figure) -> go.Figure:
    """Give curves without points one that is nowhere: plotly would take them out of the legend."""
    for trace in figure.data:
        if not len(trace.y):
            trace.update(x=[0], y=[None])
    return figure


@lru_cache(maxsize=1)
def load(name: str) -> data.Dataset:
    """A data set, kept until a lab asks for another; raises as `lnlib.data.load`."""
    return data.load(name)


def uniform_task(dataset: str, rate: float, seed: int) -> Task:
    """The task of a lab's run: uniform noise, as many images as the data set's budget says."""
    loaded = load(dataset)
    matrix = noise.uniform(rate, loaded.num_classes)
    return make_task(loaded, matrix, seed, train_size=budget_of(dataset).train_size)


def train_together(members: Sequence[Member], report: Report, epochs: int, **settings: Any) -> list[History]:
    """Train members in one sweep to the end; `report` hears of every step. Raises as `sweep` and `report`."""
    taken, engines = 0, 1

    def on_step(done: int, batches: int) -> None:
        nonlocal taken
        taken += 1
        report(taken, batches * engines * epochs)

    runs = sweep(members, on_step=on_step, epochs=epochs, **settings)
    engines = runs.modes.count("solo") or 1
    for _ in runs:
        pass
    return runs.histories


class TrainingLab(Lab, Generic[Setup, Key, Shown]):
    """A lab whose *Train* runs a job in a worker thread; its results are kept by settings until *Reset*.

    The base makes the controls `dataset`, `epochs`, `seed` and `epoch`, the buttons, progress, status and
    failure box. A subclass makes the rest, calls `assemble`, and says what the settings are (`setup`), what
    *Train* trains (`grid`), how (`job`), how that looks (`draw`) and what it means (`words`, `facts`). Raises
    `UnknownName` for an unknown data set.
    """

    def __init__(self, dataset: str, epochs: int, seed: int) -> None:
        super().__init__()
        titles = {info.name: info.name + (" (to fetch)" * (not info.present)) for info in data.available()}
        check_name("data set", dataset, titles)
        self._results: dict[Setup, dict[Key, Shown]] = {}
        self._drawing = threading.RLock()
        self._worker: Worker[tuple[Setup, dict[Key, Shown]]] = Worker(
            self._on_done, self._on_error, self._on_progress, self._on_stopped
        )
        self.dataset = widgets.Dropdown(
            options=[(title, name) for name, title in titles.items()],
            value=dataset,
            description="data",
            **sized(135),
        )
        self.epochs = widgets.BoundedIntText(
            value=epochs, min=1, max=1000, description="epochs", **sized(114)
        )
        self.seed = widgets.BoundedIntText(value=seed, min=0, max=2**31, description="seed", **sized(90))
        self.epoch = widgets.IntSlider(value=epochs, min=1, max=epochs, description="epoch", **sized(300))
        self.train_button = button("Train", self.train, "play", "Train with these settings", "primary")
        self.stop_button = button("Stop", self.stop, "stop", "Stop the training that runs")
        self.reset_button = button(
            "Reset", self.reset, "undo", "Forget all results and put the controls back"
        )
        self.progress = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="220px"))
        self.status = widgets.HTML()
        self.small_print, self.failure = widgets.HTML(), widgets.HTML()

    def assemble(
        self,
        settings: Sequence[widgets.Widget],
        views: Sequence[widgets.Widget],
        panels: Sequence[go.FigureWidget],
    ) -> None:
        """Lay out and bring to life: a row of settings, one of buttons, one of views, the panels.

        Settings decide what is trained; views, `epoch` among them, only what is seen of it.
        """
        controls = [control for control in (*settings, *views) if control.has_trait("value")]
        self._initial = {control: control.value for control in controls}
        self.epochs.observe(self._on_epochs, "value")
        for control in settings:
            control.observe(self._on_settings, "value")
        self.watch(*controls)
        self.lay_out(
            close_row(*settings),
            close_row(self.train_button, self.stop_button, self.reset_button, self.progress, self.status),
            close_row(*views),
            self.failure,
            close_row(*panels),
            self.small_print,
        )
        self._on_settings()
        self.update()

    # What a subclass says.

    @property
    def setup(self) -> Setup:
        """What the controls ask for; equal setups share their results."""
        raise NotImplementedError

    @property
    def grid(self) -> Collection[Key]:
        """The keys of the results that *Train* makes."""
        raise NotImplementedError

    def job(self, setup: Setup, keys: Sequence[Key], report: Report) -> dict[Key, Shown]:
        """Train what belongs to these keys, in the worker thread; `report` hears of every step."""
        raise NotImplementedError

    def draw(self) -> None:
        """Bring the panels, and what else is the subclass's own, up to the controls."""
        raise NotImplementedError

    def words(self) -> str:
        """The sentence, once something is trained with these settings."""
        raise NotImplementedError

    def facts(self) -> str:
        """The small print."""
        raise NotImplementedError

    # What is trained, and what is shown.

    @property
    def results(self) -> dict[Key, Shown]:
        """What is trained with these settings."""
        return self._results.get(self.setup, {})

    @property
    def running(self) -> bool:
        """Whether training runs."""
        return self._worker.running

    def update(self) -> None:
        """Bring panels, buttons, small print and sentence up to the controls."""
        with self._drawing:
            self.train_button.disabled, self.stop_button.disabled = self.running, not self.running
            self.draw()
            self.small_print.value = small(html.escape(self.facts()))
            if self.results:
                self.sentence = self.words()
            elif self.running:
                self.sentence = "Training in the background. What do you expect to see?"
            else:
                self.sentence = "Nothing is trained with these settings yet. What do you expect? Press Train."

    # What the buttons do.

    def train(self) -> None:
        """Train these settings in the background, as far as they are not trained yet."""
        self.start(self.grid)

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
        self._on_settings()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds for training to end; whether it has. Raises what made it fail."""
        return self._worker.wait(timeout)

    def start(self, keys: Collection[Key]) -> None:
        """Train those of the keys in the background that are not trained yet."""
        setup, missing = self.setup, [key for key in keys if key not in self.results]
        if not missing:
            self._say("already trained")
            return
        self.failure.value, self.progress.value = "", 0.0
        self._say("preparing …")
        self._worker.start(lambda report: (setup, self.job(setup, missing, report)))
        self.update()

    # What the worker tells, from its thread.

    def _on_progress(self, progress: Progress) -> None:
        self.progress.value = progress.fraction
        self._say(f"training, {_duration(progress.seconds_left)} left")

    def _on_done(self, result: tuple[Setup, dict[Key, Shown]]) -> None:
        setup, made = result
        self._results.setdefault(setup, {}).update(made)
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
        if not self.running:
            self.progress.value = float(bool(self.results))
            self._say("trained: move the sliders" if self.results else "not trained yet")

    def _on_epochs(self, change: dict[str, Any]) -> None:
        with self.one_update():
            self.epoch.max = self.epochs.value
            self.epoch.value = self.epochs.value

    def _say(self, text: str) -> None:
        self.status.value = f'<span role="status">{html.escape(text)}</span>'


def check_name(kind: str, name: str, known: Collection[str]) -> None:
    """Raise `UnknownName` for a name that a menu does not have."""
    if name not in known:
        raise unknown_name(kind, name, known)


def small(text: str) -> str:
    """A line of small print, as tall when it is empty."""
    return f'<div style="font-size:13px;line-height:20px;min-height:20px;color:#555">{text}</div>'


def close_row(*children: widgets.Widget) -> widgets.Box:
    """A row whose children stand close: six controls fit JupyterLab's column on a small laptop."""
    close = row(*children)
    close.layout.grid_gap = "0 2px"
    return close


def sized(width: int) -> dict[str, Any]:
    """The options of a control that wide, in pixels, its description taking what it needs."""
    return {"layout": widgets.Layout(width=f"{width}px"), "style": {"description_width": "initial"}}


def button(
    label: str, action: Callable[[], None], icon: str, tooltip: str, style: str = "", width: int = 90
) -> widgets.Button:
    """A button that calls `action`."""
    made = widgets.Button(
        description=label,
        icon=icon,
        tooltip=tooltip,
        button_style=style,
        layout=widgets.Layout(width=f"{width}px"),
    )
    made.on_click(lambda _: action())
    return made


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
