"""What every lab that trains does: it can be stopped, answers while it trains, and tells of failures."""

import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from lnlib.errors import DataUnavailable
from lnlib.labs import (
    ImbalanceLab,
    LimitLab,
    MemorizationLab,
    WeightsLab,
    imbalance,
    limit,
    memorization,
    training,
    weights,
)

PATIENCE = 60.0


class Kind(NamedTuple):
    """A lab, the module whose `train` it calls, and a slider that moves a line while it trains."""

    lab: type[Any]
    module: ModuleType
    slider: str | None = None
    value: float = 0.0
    line: Callable[[Any], Any] | None = None


KINDS = [
    Kind(LimitLab, limit, "beta", 0.0, lambda lab: (lab.by_beta.data[-1].x, 0)),
    Kind(MemorizationLab, memorization, "rate", 0.2, lambda lab: (lab.accuracy.data[5].y, 0.8)),
    Kind(WeightsLab, weights),
    Kind(ImbalanceLab, imbalance),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.lab.__name__)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def endless(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Training that goes on until it is stopped; the event says that it runs."""
    running, over = threading.Event(), threading.Event()

    def train(setup: Any, keys: Any, report: Callable[[int, int], None]) -> None:
        for step in range(1, 10**6):
            report(step, 10**6)
            running.set()
            if over.wait(0.001):
                break
        raise AssertionError("nobody stopped this")

    monkeypatch.setattr(kind.module, "train", train)
    yield running
    over.set()


def test_stop_stops_and_leaves_the_lab_ready(kind: Kind, endless: threading.Event) -> None:
    lab = kind.lab(epochs=2)
    lab.train_button.click()
    assert endless.wait(PATIENCE)
    assert lab.train_button.disabled and not lab.stop_button.disabled
    assert "left" in lab.status.value
    if kind.slider and kind.line:
        getattr(lab, kind.slider).value = kind.value
        line, expected = kind.line(lab)
        assert tuple(line) == (expected, expected), "the lab answers while it trains"
    lab.stop_button.click()
    assert lab.wait(PATIENCE)
    assert lab.stop_button.disabled and not lab.train_button.disabled
    assert "stopped" in lab.status.value
    assert lab.progress.value == 0
    assert not lab.results


def test_a_failure_shows_in_the_lab(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise DataUnavailable("there is no <mnist> here; run `lnlib data fetch mnist`")

    monkeypatch.setattr(training, "load", missing)
    lab = kind.lab(dataset="mnist", epochs=2)
    lab.train_button.click()
    with pytest.raises(DataUnavailable):
        lab.wait(PATIENCE)
    assert "there is no &lt;mnist&gt; here" in lab.failure.value
    assert "DataUnavailable:" not in lab.failure.value.split("<details>")[0]
    assert "<details>" in lab.failure.value and "Traceback" in lab.failure.value
    assert "failed" in lab.status.value
    assert not lab.train_button.disabled
    lab.reset()
    assert lab.failure.value == ""
