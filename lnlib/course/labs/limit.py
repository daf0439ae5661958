"""LimitLab: LIMIT at every β and noise rate of a grid, trained as one sweep, then explored at once.

LIMIT, section 3.4: what the penalty β‖μ‖² keeps out of the weights, and what it costs.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd

from lnlib.analysis.information import information_bounds
from lnlib.course import plots
from lnlib.course.labs.base import Lab
from lnlib.course.labs.controls import SEED, DataMenu, Menu, Steps, Values, epoch, epochs
from lnlib.course.labs.panels import Scene
from lnlib.course.labs.runs import Frame, budget_of, train_together, uniform_task
from lnlib.course.labs.worker import Report
from lnlib.methods import LIMIT
from lnlib.methods.limit import Distribution
from lnlib.nets import MLP
from lnlib.training import Member

RATES = (0.2, 0.4, 0.5, 0.6, 0.8)
BETAS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)
"""*Train* trains every β at every noise rate."""

DISTRIBUTIONS: dict[str, Distribution] = {"Laplace": "laplace", "Gaussian": "gaussian"}
SIGMAS = {0.0: "the mean μ", 0.1: "a sample, σ = 0.1", 0.3: "a sample, σ = 0.3"}
"""What the classifier receives, by the standard deviation σ of q; 0 is LIMIT without sampling."""
PREDICTORS: dict[str, dict[str, Any]] = {
    "like the classifier": {},
    "2 times narrower": {"narrower": 2},
    "4 times narrower": {"narrower": 4},
    "2 of 5 layers frozen": {"frozen": 2},
    "3 of 5 layers frozen": {"frozen": 3},
}
"""What section 3.4 names beside β, as options of `LIMIT`."""

NET = MLP(64)
Key = tuple[float, float]


class LimitLab(Lab):
    """What LIMIT's penalty does: every β at every noise rate, by epoch.

    *Train* runs the whole grid as one sweep. `histories` are the runs of the present settings.
    """

    settings: ClassVar = {
        "dataset": DataMenu(),
        "q": Menu(value="Laplace", label="q", width=120, options=DISTRIBUTIONS),
        "sigma": Steps(value=0.0, label="the classifier receives", width=290, values=SIGMAS),
        "predictor": Menu(value="like the classifier", label="predictor", width=220, options=PREDICTORS),
        "epochs": epochs(40),
        "seed": SEED,
    }
    views: ClassVar = {
        "rate": Steps(value=0.5, label="noise rate", width=225, values=RATES, form=".2f"),
        "beta": Steps(value=10.0, label="β", width=195, values=BETAS),
        "epoch": epoch(),
    }

    @property
    def histories(self) -> dict[Key, pd.DataFrame]:
        """What is trained with these settings: by noise rate and β, one row an epoch."""
        return {key: frame.history for key, frame in self.results.items()}

    def grid(self, c: Values) -> Collection[Key]:
        return [(rate, beta) for rate in RATES for beta in BETAS]

    def job(self, c: Values, keys: Sequence[Key], report: Report) -> dict[Key, Frame]:
        tasks = {rate: uniform_task(c.dataset, rate, c.seed) for rate, _ in keys}
        runs = train_together(
            [Member(method(c, beta), tasks[rate], c.seed) for rate, beta in keys],
            report,
            c.epochs,
            # Stacked takes half the time on digits (a quarter more on MNIST); a busy machine's clock may err.
            mode="stacked",
            net=NET,
            batch_size=budget_of(c.dataset).batch_size,
        )
        return {key: Frame.of(key[0], tasks[key[0]], run) for key, run in zip(keys, runs, strict=True)}

    def view(self, results: Mapping[Key, Frame], c: Values) -> Scene:
        frame = results.get((c.rate, c.beta)) or Frame.untrained(c.rate, c.epochs)
        frames = [results[c.rate, beta] for beta in BETAS] if results else []
        batch = budget_of(c.dataset).batch_size
        setting = f"{NET.label} · {c.epochs} epochs, batch {batch} · seed {c.seed}"
        return Scene(
            [frame.accuracy(c.epoch), plots.against_beta(at_epoch(frames, c.epoch), BETAS, c.beta)],
            describe_run(c, frame) if results else "",
            f"{spoken(c)}, β = {c.beta:g} · {frame.facts(c.dataset, setting)}",
        )


def method(c: Values, beta: float) -> LIMIT:
    """LIMIT as the controls say, at one β."""
    sampled = {"sampling": True, "sigma": c.sigma} if c.sigma else {}
    return LIMIT(q=DISTRIBUTIONS[c.q], beta=beta, **sampled, **PREDICTORS[c.predictor])


def spoken(c: Values) -> str:
    """The method in a sentence."""
    words = [c.q, f"σ = {c.sigma:g}" if c.sigma else "", c.predictor if PREDICTORS[c.predictor] else ""]
    return f"LIMIT ({', '.join(filter(None, words))})"


def at_epoch(frames: Sequence[Frame], epoch: int) -> pd.DataFrame:
    """The records of several runs at an epoch (from 1), one row a run."""
    columns = ["clean_accuracy", "corrupted_fit", "test_accuracy", "validation_accuracy"]
    rows = [[frame.history[column].to_numpy()[epoch - 1] for column in columns] for frame in frames]
    return pd.DataFrame(rows, columns=columns, dtype=float)


def describe_run(c: Values, frame: Frame) -> str:
    """What a run shows at the chosen epoch, in words."""
    now = frame.history.iloc[c.epoch - 1]
    ends = "ends" if c.epoch == c.epochs else f"stands after {c.epoch} epoch{'s'[: c.epoch > 1]}"
    text = (
        f"At noise rate {frame.rate:.2f} and β = {c.beta:g}, {spoken(c)} {ends} with "
        f"{now['corrupted_fit']:.0%} of the wrong labels fitted and {now['test_accuracy']:.0%} on test "
        f"images; the predicted gradients have a mean squared norm of {now['squared_gradient']:.2g}."
    )
    if not c.sigma:
        return text
    limits: Any = information_bounds(frame.history, c.sigma, frame.num_classes, DISTRIBUTIONS[c.q])
    most = limits["at_most"].iloc[c.epoch - 1]
    return f"{text} Proposition 3.1 lets them tell {most:.3g} bits per label; H(y|x) is {frame.entropy:.1f}."
