"""A lab's controls, declared once: the same declaration makes the widget and a saved page's input."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import ipywidgets as widgets

from lnlib.errors import DataUnavailable, InvalidValue, unknown_name

Values = Any
"""The values of all controls of a lab, a named tuple."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control: first value, label, width in pixels; grey where `when` of all values is false."""

    value: Any
    label: str
    width: int = 120
    when: Callable[[Values], bool] | None = None
    hint: str | Callable[[], str] = ""
    """A line below the row of settings."""

    def check(self, value: Any, values: Values) -> Any:
        """The value as the control holds it; raises `InvalidValue` where there is no such position."""
        raise NotImplementedError

    def widget(self, value: Any, values: Values) -> widgets.Widget:
        """The control in JupyterLab."""
        raise NotImplementedError

    def read(self, value: Any) -> Any:
        """The widget's value as the lab uses it."""
        return value

    def settle(self, widget: widgets.Widget, values: Values) -> str:
        """Bring the widget within its limits; says what became of its value, in words."""
        return ""

    def positions(self, values: Values) -> list[tuple[Any, str]]:
        """All values, each in words, for a page that walks them."""
        raise NotImplementedError

    def look(self, values: Values) -> dict[str, Any]:
        """How a saved page draws it."""
        return {"label": self.label, "kind": "slider"}

    @property
    def _options(self) -> dict[str, Any]:
        layout, style = widgets.Layout(width=f"{self.width}px"), {"description_width": "initial"}
        return {"description": self.label, "layout": layout, "style": style}


@dataclass(frozen=True, kw_only=True)
class Menu(Control):
    """One of some names."""

    options: Sequence[str] | Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        return list(self.options)

    def check(self, value: Any, values: Values) -> Any:
        if value not in self.names:
            raise unknown_name(self.label, value, self.names)
        return value

    def widget(self, value: Any, values: Values) -> widgets.Widget:
        return widgets.Dropdown(options=self.names, value=value, **self._options)

    def positions(self, values: Values) -> list[tuple[Any, str]]:
        return [(name, name) for name in self.names]

    def look(self, values: Values) -> dict[str, Any]:
        return {"label": self.label, "kind": "menu"}


@dataclass(frozen=True, kw_only=True)
class DataMenu(Menu):
    """The data sets that are on this machine; raises `DataUnavailable` for one that is not."""

    value: Any = "digits"
    label: str = "data"
    width: int = 135
    options: Sequence[str] = ()
    hint: str | Callable[[], str] = lambda: DataMenu._others()

    @property
    def names(self) -> list[str]:
        return [info.name for info in _data_sets() if info.present]

    def check(self, value: Any, values: Values) -> Any:
        known = {info.name: info for info in _data_sets()}
        if value not in known:
            raise unknown_name("data set", value, list(known))
        if not known[value].present:
            raise DataUnavailable(f"data set {value} is not on this machine; {known[value].how}")
        return value

    @staticmethod
    def _others() -> str:
        count = sum(not info.present for info in _data_sets())
        return f"{count} more data sets can be had: `lnlib data` in a terminal says how." if count else ""


@dataclass(frozen=True, kw_only=True)
class Number(Control):
    """A number to type from low to high, whole where its first value is."""

    low: float = 0
    high: float = 1000

    def check(self, value: Any, values: Values) -> Any:
        if not _is_number(value) or self.kept(value) != value:
            raise InvalidValue(f"{self.label} must be {self._range}, got {value!r}; choose one")
        return self.read(value)

    def widget(self, value: Any, values: Values) -> widgets.Widget:
        # A field for whole numbers would cut 3.7 to 3 before anyone hears of it.
        return widgets.FloatText(value=value, **self._options)

    def read(self, value: Any) -> Any:
        return type(self.value)(self.kept(value))

    def kept(self, value: float) -> float:
        """The nearest number that the control has; its first value in place of none."""
        if math.isnan(value):
            return float(self.value)
        inside = min(max(value, self.low), self.high)
        return math.floor(inside + 0.5) if isinstance(self.value, int) else inside

    def settle(self, widget: widgets.Widget, values: Values) -> str:
        typed, kept = widget.value, self.kept(widget.value)
        if kept == typed:
            return ""
        widget.value = kept
        return f"{self.label} is {self._range}: {typed:g} became {kept:g}."

    def look(self, values: Values) -> dict[str, Any]:
        return {"label": self.label, "kind": "number", "low": self.low, "high": self.high}

    @property
    def _range(self) -> str:
        return f"a {'whole ' * isinstance(self.value, int)}number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True, kw_only=True)
class Slider(Control):
    """A number from low to high in steps. The high end may depend on the other controls; a first value of
    None is the high end, which the slider then follows.
    """

    low: float = 0
    high: float | Callable[[Values], float] = 1
    step: float = 0.01

    def end(self, values: Values) -> float:
        return self.high(values) if callable(self.high) else self.high

    def check(self, value: Any, values: Values) -> Any:
        high = self.end(values)
        return high if value is None else _within(self.low, high, self.label, value)

    def widget(self, value: Any, values: Values) -> widgets.Widget:
        limits = {"min": self.low, "max": self.end(values), "step": self.step}
        kind = widgets.IntSlider if isinstance(self.step, int) else widgets.FloatSlider
        return kind(value=value, **limits, **self._options)

    def read(self, value: Any) -> Any:
        return round(value, 6)  # as it is written: 0.15000000000000002 is 0.15

    def settle(self, widget: widgets.Widget, values: Values) -> str:
        high, before = self.end(values), widget.value
        if widget.max == high:
            return ""
        widget.max = high  # pulls the value in
        if self.value is None:
            widget.value = high
            return ""
        return f"{self.label} ends at {high:g} now: {before:g} became {high:g}." if before > high else ""

    def positions(self, values: Values) -> list[tuple[Any, str]]:
        count = round((self.end(values) - self.low) / self.step) + 1
        made = [self.read(self.low + at * self.step) for at in range(count)]
        return [(value, str(value) if isinstance(self.step, int) else f"{value:.2f}") for value in made]

    def look(self, values: Values) -> dict[str, Any]:
        limits = {"low": self.low, "high": self.end(values), "step": self.step}
        return {"label": self.label, "kind": "slider", **limits}


@dataclass(frozen=True, kw_only=True)
class LogSlider(Control):
    """A whole number from low to high on a logarithmic scale."""

    low: float = 1
    high: float = 1000

    def check(self, value: Any, values: Values) -> Any:
        return self.read(_within(self.low, self.high, self.label, value))

    def widget(self, value: Any, values: Values) -> widgets.Widget:
        return widgets.FloatLogSlider(
            value=value,
            min=math.log10(self.low),
            max=math.log10(self.high),
            step=0.0001,  # the browser rounds to it, and 1200 is to stay 1200
            readout_format=",.0f",
            **self._options,
        )

    def read(self, value: Any) -> Any:
        return round(value)

    def look(self, values: Values) -> dict[str, Any]:
        return {"label": self.label, "kind": "slider", "scale": "log", "low": self.low, "high": self.high}


@dataclass(frozen=True, kw_only=True)
class Steps(Control):
    """A slider over some values, or a menu of them where `words` say what they mean."""

    values: Sequence[Any] | Mapping[Any, str]
    form: str = "g"

    def check(self, value: Any, values: Values) -> Any:
        if value not in self.values:
            options = ", ".join(f"{option:g}" for option in self.values)
            raise InvalidValue(f"{self.label} must be one of {options}, got {value!r}; choose one of these")
        return value

    def widget(self, value: Any, values: Values) -> widgets.Widget:
        kind = widgets.Dropdown if isinstance(self.values, Mapping) else widgets.SelectionSlider
        options = [(words, one) for one, words in self.positions(values)]
        return kind(options=options, value=value, **self._options)

    def positions(self, values: Values) -> list[tuple[Any, str]]:
        named = self.values if isinstance(self.values, Mapping) else {}
        return [(value, named.get(value) or f"{value:{self.form}}") for value in self.values]

    def look(self, values: Values) -> dict[str, Any]:
        return {"label": self.label, "kind": "menu" if isinstance(self.values, Mapping) else "slider"}


SEED = Number(value=0, label="seed", width=90, high=2**31)
"""The seed of a lab's runs."""


def epochs(first: int) -> Number:
    """How many epochs a lab trains."""
    return Number(value=first, label="epochs", width=114, low=1)


def epoch(width: int = 215) -> Slider:
    """Which epoch of a run is seen, the last at first."""
    return Slider(value=None, label="epoch", width=width, low=1, high=lambda c: c.epochs, step=1)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _within(low: float, high: float, label: str, value: object) -> float:
    if not (_is_number(value) and low <= value <= high):
        raise InvalidValue(f"{label} must lie in [{low:g}, {high:g}], got {value!r}; move it inside")
    return value


def _data_sets() -> Sequence[Any]:
    from lnlib import data  # brings PyTorch, which takes a second and which labs that do not train do without

    return data.available()
