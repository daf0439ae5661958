"""Fixtures that several rooms' tests share."""

import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import settings

from lnlib import data, noise
from lnlib.data.task import Task, make_task
from lnlib.errors import DataUnavailable

# A shell's background jobs begin with Ctrl-C ignored, and so would what tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# A busy machine is no reason to fail.
settings.register_profile("lnlib", deadline=None)
settings.load_profile("lnlib")


SLOW = {
    f"test_{name}"
    for name in (
        "cli", "cli_output", "colab", "curriculum_and_latent_baselines", "damaged_stores", "device",
        "device_waits", "executors", "experiments", "exports", "limit_methods",
        "loss_and_selection_baselines", "many_machines", "meta_weighting", "metainfonet_tables", "presets",
        "random_folders", "ray", "readme", "reference_cell", "reproduce", "runs", "store", "suspects",
        "templates", "weights_lab", "wheel",
    )
}  # fmt: skip
"""Files that take most of the suite's time; `make check` leaves them to `make test`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _on_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests run beside one another: one thread each, or LNLIB_TEST_THREADS, on the CPU; and no test keeps its
    runs where the reader's are.
    """
    os.environ["LNLIB_RUNS"] = str(tmp_path_factory.mktemp("runs"))
    torch.set_num_threads(int(os.environ.get("LNLIB_TEST_THREADS", "1")))
    os.environ["LNLIB_DEVICE"] = "cpu"
    os.environ["LNLIB_PROGRESS"] = ""  # answers of tests are nobody's progress


@pytest.fixture(scope="session")
def digits() -> data.Dataset:
    return data.load("digits")


@pytest.fixture(scope="session")
def mnist() -> data.Dataset:
    try:
        return data.load("mnist")
    except DataUnavailable as error:
        pytest.skip(f"real MNIST is not here: {error}")


@pytest.fixture
def make_digits_task(digits: data.Dataset):
    """A digits task with uniform noise at a rate."""

    def make(rate: float = 0.5, seed: int = 0, train_size: int | None = None, **options: object) -> Task:
        return make_task(digits, noise.uniform(rate, 10), seed, train_size=train_size, **options)

    return make


@pytest.fixture
def oracle() -> dict[str, object]:
    """Closed-form values, computed in float64 NumPy for three examples of four classes."""
    return {
        "logits": np.array([[2.0, 1.0, 0.0, -1.0], [0.5, -0.5, 1.5, 0.0], [-1.0, 3.0, 0.0, 0.5]]),
        "labels": np.array([0, 2, 3]),
        "q_logits": np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 2.0, 0.0, 1.0]]),
        "cross_entropy": [0.4401896985611953, 0.5460063899405724, 2.6399251515605946],
        "cross_entropy_mean": 1.2087070800207875,
        "mu": [
            [0.16854737346930065, 0.062005113562800696, -0.08773338578507686, -0.14281910124702446],
            [0.03821959976151432, -0.09648358731026972, 0.10389164352270203, -0.04562765597394669],
            [-0.06667049609383437, 0.2591276225276451, -0.03930850177044902, -0.1531486246633615],
        ],
        "mae_mean": 1.1369737327564728,
        "mae_gradient": [
            [-0.4585773716017943, 0.3050644489810833, 0.11222693901243493, 0.041285983608276094],
            [0.24687686243339557, 0.09082092219015661, -0.48743617086306473, 0.14973838623951247],
            [0.002272890015715262, 0.12409559008685746, 0.006178355627804792, -0.13254683573037748],
        ],
        "forward_uniform": 1.1780801543188142,
        "forward_symmetric": 1.1569852385502963,
        "dmi_singular": 6.907755278982137,
        "uniform_determinant": 0.10162962962962963,
        "limit_gaussian": 0.5738180787216233,
        "limit_laplace": 1.2165006609755669,
        "limit_penalty": 0.06019473674577159,
    }
