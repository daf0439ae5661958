"""What lab tests share: the panels as the page gets them, and training replaced by a look-up."""

import base64
import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from lnlib.course.labs.base import Lab

PATIENCE = 90.0


def scene(lab: Lab) -> dict[str, Any]:
    """What the page of a lab shows."""
    return _unpacked(json.loads(lab.panels.scene.value))


def panels(lab: Lab) -> list[go.Figure]:
    """The figures of the lab's page."""
    return [go.Figure(figure) for figure in scene(lab)["figures"]]


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        if "bdata" in value:
            return np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"])
        return {name: _unpacked(part) for name, part in value.items()}
    return [_unpacked(part) for part in value] if isinstance(value, list) else value


def move(control: Any, value: float) -> None:
    """Set a control by the message that the browser sends."""
    control.set_state({"value": value})


def trained(lab: Lab) -> Any:
    """The lab after its training."""
    lab.train()
    assert lab.wait(PATIENCE)
    return lab


def look_up(
    patch: pytest.MonkeyPatch, kind: type[Lab], results: dict[Any, Any]
) -> list[tuple[Any, list[Any]]]:
    """Replace a lab's training by a look-up; the list holds what was asked for, as settings and keys."""
    asked: list[tuple[Any, list[Any]]] = []

    def job(self: Lab, c: Any, keys: Any, report: Any) -> dict[Any, Any]:
        asked.append((self.setup(c), list(keys)))
        report(1, 2)
        return {key: results[key] for key in keys}

    patch.setattr(kind, "job", job)
    return asked


def run_job(lab: Lab, keys: Any = None, report: Any = lambda done, total: None) -> dict[Any, Any]:
    """What the lab's training gives, in this thread."""
    c = lab.values
    return lab.job(c, lab.grid(c) if keys is None else keys, report)


def axes(lab: Lab) -> list[Any]:
    """The ranges of all axes of the lab's panels."""
    return [axis.range for figure in panels(lab) for axis in (figure.layout.xaxis, figure.layout.yaxis)]
