"""A lab is declared: its controls, how it trains, and what is seen of it; everything else is here."""

import html
import inspect
import threading
import traceback
from collections import namedtuple
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import ipywidgets as widgets
import plotly.graph_objects as go

from lnlib.course import plots
from lnlib.course.labs import saved
from lnlib.course.labs.controls import Control, Values
from lnlib.course.labs.panels import Panels, Scene
from lnlib.course.labs.worker import Progress, Report, Worker
from lnlib.errors import InvalidValue, LnlibError

PREDICT = "Nothing is trained with these settings yet. What do you expect? Press Train."
TRAINING = "Training in the background. What do you expect to see?"
STILL = "Run this cell to move the sliders."


class Lab:
    """A small app: a few controls, an answer at once, and a sentence that says what you see.

    A subclass declares `settings` (what is trained) and `views` (what is seen of it), both names to controls,
    and overrides `view`; where it trains, `grid` and `job` as well. The values of all controls, a named
    tuple, are called `c`. Arguments of the constructor are first values of controls; raises `InvalidValue`
    for one that its control does not have. Each control is an attribute by its name, a widget with a `value`.
    """

    settings: ClassVar[Mapping[str, Control]] = {}
    views: ClassVar[Mapping[str, Control]] = {}
    script: ClassVar[str] = ""
    """A file of `page/` that answers in a saved page whose views are too many to walk."""
    words: ClassVar[Mapping[str, str]] = {}
    """Templates of the sentence, which that script fills as `view` does."""

    # What a subclass says.

    def view(self, results: Mapping[Any, Any], c: Values) -> Scene:
        """What there is to see: a pure function; `results` are those of the settings, by key."""
        raise NotImplementedError

    def grid(self, c: Values) -> Collection[Any]:
        """The keys of the results that *Train* makes."""
        return ()

    def job(self, c: Values, keys: Sequence[Any], report: Report) -> dict[Any, Any]:
        """Train what belongs to the keys, in the worker thread; `report` hears of every step. Of the controls
        only the settings may matter.
        """
        raise NotImplementedError

    def actions(self, results: Mapping[Any, Any], c: Values) -> dict[str, Collection[Any]]:
        """Further buttons: a label, and the keys that it trains; grey without keys."""
        return {}

    def positions(self, results: Mapping[Any, Any], c: Values) -> dict[str, list[tuple[Any, str]]]:
        """What a saved page offers of each view: values, and the words for them."""
        return {name: control.positions(c) for name, control in self.views.items()}

    def still(self, results: Mapping[Any, Any], c: Values) -> go.Figure:
        """All panels as one static figure."""
        scene = self.view(results, c)
        return plots.small_print(plots.side_by_side(*scene.figures), scene.small_print or scene.sentence)

    # What all labs are made of.

    def __init_subclass__(cls) -> None:
        cls.controls = {**cls.settings, **cls.views}
        cls._values = namedtuple("Values", list(cls.controls))  # type: ignore[misc]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        first = [inspect.Parameter(name, kind, default=one.value) for name, one in cls.controls.items()]
        cls._first = inspect.Signature(first)

    controls: ClassVar[dict[str, Control]] = {}
    _first: ClassVar[inspect.Signature]
    _values: ClassVar[Any]

    def __init__(self, *args: Any, **named: Any) -> None:
        given = self._first.bind(*args, **named)
        given.apply_defaults()
        values = self._values(**given.arguments)
        for name, control in self.controls.items():  # in order: limits look at what comes before
            values = values._replace(**{name: control.check(getattr(values, name), values)})
        self._initial = values
        self._results: dict[Any, dict[Any, Any]] = {}
        self._held = False
        self._drawing = threading.RLock()
        self._worker = Worker[Any](self._on_done, self._on_error, self._on_progress, self._on_stopped)
        self._display: Any = None
        self.widgets = {key: one.widget(getattr(values, key), values) for key, one in self.controls.items()}
        self.panels = Panels()
        self.status, self.failure = widgets.HTML(), widgets.HTML()
        self.progress = widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="130px"))
        self.train_button = button("Train", self.train, "play", "trains what these settings lack", "primary")
        self.stop_button = button("Stop", self.stop, "stop", "ends the training; unfinished runs are dropped")
        self.reset_button = button(
            "Reset", self.reset, "undo", "forgets all that was trained, and puts the controls back"
        )
        self.action_buttons = {
            label: button(label, lambda at=label: self._act(at), "crosshairs", label, width=175)
            for label in self.actions({}, values)
        }
        self.widget = widgets.VBox(list(self._rows()))
        self.widget.add_class("lnlib-lab")
        for widget in self.widgets.values():
            widget.observe(self._on_control, "value")
        self._say_state()
        self.update()

    def _rows(self) -> Iterator[widgets.Widget]:
        if self.settings:
            yield row(*(self.widgets[name] for name in self.settings))
            for hint in (control.hint for control in self.settings.values() if control.hint):
                yield widgets.HTML(_small(hint() if callable(hint) else hint))
        if self.trains:
            yield row(self.train_button, self.stop_button, self.reset_button, self.progress, self.status)
        yield row(*(self.widgets[name] for name in self.views), *self.action_buttons.values())
        if self.trains:
            yield self.failure
        yield self.panels

    def __getattr__(self, name: str) -> Any:
        if name in type(self).controls and "widgets" in self.__dict__:
            return self.widgets[name]
        controls = ", ".join(type(self).controls)
        raise AttributeError(f"{type(self).__name__} has no {name!r}; its controls are {controls}")

    @property
    def trains(self) -> bool:
        """Whether the lab has something to train."""
        return type(self).job is not Lab.job

    @property
    def values(self) -> Values:
        """The values of all controls."""
        return self._values(*(one.read(self.widgets[name].value) for name, one in self.controls.items()))

    def setup(self, c: Values) -> tuple[Any, ...]:
        """What decides the numbers that are trained; one that is grey has its first value."""
        return tuple(
            getattr(c, name) if one.when is None or one.when(c) else one.value
            for name, one in self.settings.items()
        )

    @property
    def results(self) -> dict[Any, Any]:
        """What is trained with these settings, by key."""
        return self._results.get(self.setup(self.values), {})

    @property
    def running(self) -> bool:
        """Whether training runs."""
        return self._worker.running

    @property
    def scene(self) -> Scene:
        """What is seen now."""
        results = self.results
        scene = self.view(results, self.values)
        if results or not self.trains:
            return scene
        return replace(scene, sentence=TRAINING if self.running else PREDICT)

    @property
    def sentence(self) -> str:
        """What one sees, in words."""
        return self.scene.sentence

    def snapshot(self) -> go.Figure:
        """The present state as one static figure."""
        return self.still(self.results, self.values)

    # What the buttons do.

    def train(self) -> None:
        """Train these settings in the background, as far as they are not trained yet."""
        self.start(self.grid(self.values))

    def start(self, keys: Collection[Any]) -> None:
        """Train those of the keys in the background that are not trained yet."""
        c, missing = self.values, [key for key in keys if key not in self.results]
        if not missing:
            self._say("already trained")
            return
        self.failure.value, self.progress.value = "", 0.0
        self._say("preparing …")
        from lnlib.course.labs.runs import THREADS
        from lnlib.device import with_threads  # here, since labs that do not train do without PyTorch

        job = with_threads(THREADS, self.job)
        self._worker.start(lambda report: (self.setup(c), job(c, missing, report)))
        self.update()

    def stop(self) -> None:
        """Stop the training that runs at its next step; its unfinished runs are dropped."""
        self._worker.stop()

    def reset(self) -> None:
        """Stop, forget all results and put the controls back."""
        self._worker.stop()
        self._results.clear()
        with self.one_update():
            for name, value in self._initial._asdict().items():
                self.widgets[name].value = value
            self.failure.value = ""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds for training to end; whether it has. Raises what made it fail."""
        ended = self._worker.wait(timeout)
        if ended and self.results and self._display is not None:
            self._display.update(plots.picture(self.snapshot()), raw=True)
            self._display = None  # what is trained later has a cell of its own
        return ended

    def save(self, path: Path | str) -> Path:
        """Write the lab as one HTML file that needs no kernel, no network and no other file; returns it.

        It holds every trained setting. Raises `InvalidValue` before anything is trained, and `LnlibError`
        where the file cannot be written.
        """
        if self.trains and not self._results:
            raise InvalidValue("there is nothing to save, got an untrained lab; call train() and wait()")
        return saved.write(self, Path(path))

    def trained(self) -> list[tuple[Values, Mapping[Any, Any]]]:
        """Every trained setting as values of all controls, with its results; the one on show first."""
        c = self.values
        shown_first = sorted(self._results.items(), key=lambda pair: pair[0] != self.setup(c))
        return [(c._replace(**dict(zip(self.settings, one, strict=True))), made) for one, made in shown_first]

    # What follows from a change.

    def update(self, note: str = "") -> None:
        """Bring everything up to the controls."""
        with self._drawing:
            c, results = self.values, self.results
            scene = self.scene
            self.panels.show(replace(scene, note=note) if note else scene)
            for name, control in self.controls.items():
                if control.when:
                    self.widgets[name].disabled = not control.when(c)
            self.train_button.disabled, self.stop_button.disabled = self.running, not self.running
            for label, keys in self.actions(results, c).items():
                self.action_buttons[label].disabled = self.running or not keys

    @contextmanager
    def one_update(self) -> Iterator[None]:
        """Several controls may change in the block; everything is brought up to them once, at its end."""
        held, self._held = self._held, True
        try:
            yield
        finally:
            self._held = held
        self._on_control()

    def _on_control(self, change: object = None) -> None:
        if self._held:
            return
        self._held = True
        try:
            notes = [one.settle(self.widgets[name], self.values) for name, one in self.controls.items()]
        finally:
            self._held = False
        self._say_state()
        self.update(" ".join(filter(None, notes)))

    def _act(self, label: str) -> None:
        self.start(self.actions(self.results, self.values)[label])

    # What the worker tells, from its thread.

    def _on_progress(self, progress: Progress) -> None:
        self.progress.value = progress.fraction
        left = progress.seconds_left
        self._say(f"training, {f'{left:.0f} s' if left < 100 else f'{left / 60:.0f} min'} left")

    def _on_done(self, result: tuple[Any, dict[Any, Any]]) -> None:
        setup, made = result
        self._results.setdefault(setup, {}).update(made)
        self._say_state()
        self.update()

    def _on_error(self, error: Exception) -> None:
        self.progress.value = 0.0
        self._say("failed")
        message = str(error) if isinstance(error, LnlibError) else f"{type(error).__name__}: {error}"
        trace = html.escape("".join(traceback.format_exception(error)))
        self.failure.value = (
            '<div role="alert" style="border-left:4px solid #D55E00;padding:4px 12px">'
            f"<b>Training failed.</b> {html.escape(message)}"
            f"<details><summary>Traceback</summary><pre>{trace}</pre></details></div>"
        )
        self.update()

    def _on_stopped(self) -> None:
        self.progress.value = 0.0
        self._say("stopped: unfinished runs are dropped")
        self.update()

    def _say_state(self) -> None:
        """Say what there is for these settings, unless a training run has something to say."""
        if self.trains and not self.running:
            self.progress.value = float(bool(self.results))
            self._say("trained: move the sliders" if self.results else "not trained yet")

    def _say(self, text: str) -> None:
        self.status.value = f'<span role="status">{html.escape(text)}</span>'

    # How a notebook shows it.

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if plots.for_pages():
            self._display = display(plots.picture(self.snapshot()), raw=True, display_id=True)  # type: ignore[no-untyped-call]
            display({"text/markdown": f"*A still picture. {STILL}*", "text/plain": STILL}, raw=True)  # type: ignore[no-untyped-call]
        else:
            bundle = self.widget._repr_mimebundle_()
            display(bundle | {"text/plain": f"{type(self).__name__}. {STILL}"}, raw=True)  # type: ignore[no-untyped-call]


def row(*children: widgets.Widget) -> widgets.Box:
    """Children close beside each other, below each other where the column is too narrow."""
    layout = widgets.Layout(display="flex", flex_flow="row wrap", align_items="center", grid_gap="0 4px")
    return widgets.Box(children, layout=layout)


def button(
    label: str, action: Any, icon: str, tooltip: str, style: str = "", width: int = 90
) -> widgets.Button:
    """A button that calls `action`, and says in its tooltip what that does."""
    layout = widgets.Layout(width=f"{width}px")
    made = widgets.Button(description=label, icon=icon, tooltip=tooltip, button_style=style, layout=layout)
    made.on_click(lambda _: action())
    return made


def _small(text: str) -> str:
    return f'<div style="font-size:13px;line-height:18px;opacity:.8">{html.escape(text)}</div>'
