"""The passing line: told to a person who watches, and to nobody else."""

import threading
from types import SimpleNamespace

import pytest

from lnlib.methods import CrossEntropy
from lnlib.nets import MLP
from lnlib.training import Member, Run, fit, sweep, watching

SETTINGS = {"net": MLP(8, 1), "epochs": 3, "batch_size": 32}


@pytest.fixture
def task(make_digits_task):
    return make_digits_task(0.3, train_size=100)


@pytest.fixture
def lines(monkeypatch):
    """What a terminal would show, without a wait."""
    found = []
    monkeypatch.setattr(watching, "PATIENCE", -1.0)
    monkeypatch.setattr(watching, "PAUSE", -1.0)
    monkeypatch.setattr(watching, "_in_terminal", found.append)
    monkeypatch.setattr(watching, "_is_terminal", lambda: True)
    return found


def test_it_counts_the_epochs_and_goes_at_the_end(task, lines):
    heard = []
    run = fit(CrossEntropy(), task, on_step=lambda *step: heard.append(step), **SETTINGS)
    assert lines[0].startswith("training: epoch 1 of 3, about ") and lines[-1] == ""
    assert sum(line.startswith("training: epoch 3 of 3") for line in lines) == 4
    assert len(heard) == 12 and run.state.on_step.__name__ == "<lambda>"
    assert "about 0 s left" in lines[-2]


def test_a_sweep_has_one_line(task, lines):
    sweep([Member(CrossEntropy(), task, seed) for seed in range(2)], mode="solo", **SETTINGS)
    assert len([line for line in lines if not line]) == 1 and len(lines) == 2 * 12 + 1


def test_what_stops_the_training_takes_it_away(task, lines):
    def stop(done, batches):
        raise KeyboardInterrupt

    run = Run(CrossEntropy(), task, on_step=stop, **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert lines[-1] == "" and run.state.on_step is stop


def test_quick_training_shows_none(task, lines, monkeypatch):
    monkeypatch.setattr(watching, "PATIENCE", 1000.0)
    fit(CrossEntropy(), task, **SETTINGS)
    assert lines == []


def test_nobody_watches_another_thread_or_a_pipe(task, lines, monkeypatch):
    thread = threading.Thread(target=fit, args=(CrossEntropy(), task), kwargs=SETTINGS)
    thread.start()
    thread.join()
    monkeypatch.setattr(watching, "_is_terminal", lambda: False)
    fit(CrossEntropy(), task, **SETTINGS)
    assert lines == []


@pytest.mark.parametrize("asks", [True, False])
def test_a_notebook_whose_page_is_open_shows_text_and_one_that_is_saved_nothing(
    task, lines, asks, monkeypatch
):
    import IPython
    import IPython.display

    shown = []
    handle = SimpleNamespace(update=lambda bundle, raw: shown.append(bundle))

    def display(bundle, raw, display_id):
        shown.append(bundle)
        return handle

    shell = SimpleNamespace(kernel=object(), get_parent=lambda: {"content": {"allow_stdin": asks}})
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    monkeypatch.setattr(IPython.display, "display", display)
    fit(CrossEntropy(), task, **SETTINGS)
    assert lines == []
    if asks:
        assert shown[0]["text/plain"].startswith("training: epoch 1") and shown[-1] == {}
        assert all(set(bundle) <= {"text/plain"} for bundle in shown)
    else:
        assert shown == []
