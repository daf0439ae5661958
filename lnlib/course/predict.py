"""A place for a prediction, above the cell that answers it.

A cell makes it and shows it, `bits = predict.number("unknown bits of a label", 0, 3.32, "bits")`; the reader
moves its slider, or does not; `bits.answer(entropy)` says after the run what was said, what came out and by
how much. `predict.summary()` goes over all of a lesson. Nothing is sent anywhere, and an unanswered
prediction stops nothing.
"""

import math
from typing import Any

import ipywidgets as widgets

from lnlib.checks import Finite, checked, refusal
from lnlib.course import plots
from lnlib.course.exercises.exercise import Markdown
from lnlib.course.labs.base import row
from lnlib.course.labs.panels import Names

UNANSWERED = "no prediction yet"
_made: dict[str, "Prediction"] = {}


class Prediction:
    """What a reader expects: a number or one of some choices, None while they have not said.

    `control` is the widget that says it; a number's first position is not yet a prediction. Made again, it is
    what the reader said before, until it was answered: who moves a slider selects its cell, and the next
    Shift + Enter runs it once more.
    """

    def __init__(self, about: str, control: widgets.Widget, unit: str = "") -> None:
        self.about, self.unit, self.control = about, unit, control
        self.said: Any = None
        self.verdict = ""
        self._line = widgets.HTML(UNANSWERED)
        self.widget = row(control, self._line, Names())
        before = _made.get(about)
        _made[about] = self
        self._first = control.value
        control.observe(self._take, "value")
        if before and not before.verdict and before.said in getattr(control, "options", [before.said]):
            control.value = control.value if before.said is None else before.said

    def answer(self, value: Any) -> Markdown:
        """What was predicted beside what came out."""
        number = hasattr(self.control, "min")
        value = float(value) if number else value
        if self.said is None:
            self.verdict = f"It is {self._words(value)}. You made no prediction."
        elif not number:
            right = self.said == value
            self.verdict = (
                f"You said {self.said}, and so it is." if right else (f"You said {self.said}. It is {value}.")
            )
        else:
            off = self.said - value
            how = f"{abs(off):.3g} too {'high' if off > 0 else 'low'}" if f"{off:.2g}" != "0" else "spot on"
            self.verdict = f"You said {self._words(self.said)}. It is {self._words(value)}: {how}."
        self._line.value = self.verdict
        return Markdown(f"**Your prediction.** {self.verdict}")

    def _take(self, change: Any) -> None:
        # A page may round where its slider stands, which nobody has said.
        if self.said is None and isinstance(change["new"], float) and self._is_first(change["new"]):
            return
        self.said = change["new"]
        self._line.value = f"your prediction: {self._words(self.said)}"

    def _is_first(self, value: float) -> bool:
        return abs(value - float(self._first)) < float(self.control.step) / 2

    def _words(self, value: Any) -> str:
        if not isinstance(value, float):
            return str(value)
        written = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        return f"{written} {self.unit}".strip()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        plain = f"A prediction: {self.about}. Run this cell in JupyterLab to make yours."
        bundle: dict[str, Any] = {"text/plain": plain}
        if plots.for_pages():
            bundle["text/markdown"] = f"*{plain}*"
        else:
            bundle |= self.widget._repr_mimebundle_()
        display(bundle | {"text/plain": plain}, raw=True)  # type: ignore[no-untyped-call]


@checked
def number(about: str, low: Finite, high: Finite, unit: str = "") -> Prediction:
    """A number between two others, to be said with a slider; `about` names it in the summary.

    It moves in some hundred round steps, by whole numbers where both limits are whole and ten or more apart.
    """
    if low >= high:
        raise refusal("high", f"be above low, {low:g}", high, "swap the two")
    whole = float(low).is_integer() and float(high).is_integer() and high - low >= 10
    step = _round_step(high - low)
    step = max(step, 1.0) if whole else step
    control = widgets.FloatSlider(
        value=low + step * round((high - low) / 2 / step),
        min=low,
        max=high,
        step=step,
        readout_format=",.0f" if whole else ".3g",
        description=about,
        description_allow_html=False,
        style={"description_width": "initial"},
        layout=widgets.Layout(width="min(100%, 680px)"),
    )
    return Prediction(about, control, unit)


def _round_step(span: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most a hundredth."""
    power = 10.0 ** math.floor(math.log10(span / 100))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= span / 100 * (1 + 1e-9))


@checked
def choice(about: str, options: tuple[str, ...]) -> Prediction:
    """One of some answers, to be said with a button; `about` names it in the summary."""
    if len(set(options)) < 2:
        raise refusal("options", "be two different answers or more", options, "try ('yes', 'no')")
    control = widgets.ToggleButtons(
        options=options, value=None, description=about, style={"description_width": "initial"}
    )
    return Prediction(about, control)


def summary() -> Markdown:
    """All predictions of this kernel: what you said and what came out."""
    lines = ["| prediction | |", "| --- | --- |"]
    lines += [f"| {one.about} | {one.verdict or UNANSWERED} |" for one in _made.values()]
    return Markdown("\n".join(lines) if _made else "No prediction was asked for yet.")
