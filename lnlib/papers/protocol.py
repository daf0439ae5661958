"""What the papers' tables compare and how their runs are trained: the words in which `presets` says it."""

from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict
from pydantic.dataclasses import dataclass

from lnlib import noise
from lnlib.papers.spec import GIVEN, Spec

Options = Mapping[str, Any]
Metric = Literal["best", "last"]
NO_MISSPELLINGS = ConfigDict(extra="forbid")

# What the data name and is computed: what the originals give in epochs is here a share of the run's.


def forget_rate(spec: Spec) -> float:
    """Co-teaching is told how many labels are wrong: fewer than the rate where a label may be drawn anew."""
    return noise.effective_error_rate(spec.matrix())


def last_epochs(spec: Spec) -> int:
    """L2RW's code goes on for 5000 steps, 10 epochs on CIFAR; at most a third of a short run."""
    return max(1, min(10, spec.epochs // 3))


def init_epoch(spec: Spec) -> int:
    """D2L's 40 of 120 epochs on CIFAR-10."""
    return spec.epochs // 3


def ramp_epochs(spec: Spec) -> int:
    """Co-teaching's 10 of 200 epochs."""
    return max(1, round(spec.epochs / 20))


COMPUTED: Mapping[str, Callable[[Spec], float]] = {
    function.__name__: function for function in (forget_rate, last_epochs, init_epoch, ramp_epochs)
}


# The parts of a table.


@dataclass(frozen=True, config=NO_MISSPELLINGS)
class Row:
    """A method of a table: its name here and in the paper's table, the options that it always sets, and those
    that are computed from the run that it is part of (its epochs, its noise).
    """

    name: str
    paper: str
    method: str
    options: Options = field(default_factory=dict)
    computed: tuple[Literal["forget_rate", "last_epochs", "init_epoch", "ramp_epochs"], ...] = ()
    like: str = ""
    """the row whose grid and patience it has unless it has its own"""
    oracle: str = ""
    """what it is told that a learner would not know, in words"""
    note: str = ""
    """what a reader has to know of its numbers"""

    def options_in(self, fields: Options) -> dict[str, Any]:
        """The method's options in a run with these fields."""
        if not self.computed:
            return dict(self.options)
        spec = Spec.parse(fields)
        return {**self.options, **{name: COMPUTED[name](spec) for name in self.computed}}


@dataclass(frozen=True, config=NO_MISSPELLINGS)
class Cell:
    """A column of a table: the noise with its options, its rate, the number of training images (None for
    all), and how many times more images the largest class has than the smallest.

    `printed` is what the shipped table calls the noise, where that is not `noise`; `headed_by` names the
    parts that the heading is made of, unless the cell has a `title`.
    """

    noise: str
    headed_by: tuple[Literal["noise", "p", "n", "factor"], ...]
    rate: float = 0.0
    train_size: Annotated[int | None, BeforeValidator(lambda size: None if size == "all" else size)] = None
    imbalance: float = 1.0
    noise_options: Options = field(default_factory=dict)
    printed: str = ""
    title: str = ""

    @cached_property
    def parts(self) -> dict[str, str]:
        """The parts of its heading by name: {"p": "0.5", "n": "1000"}."""
        values = {
            "noise": "real" if self.noise == GIVEN else self.noise,
            "p": f"{self.rate:g}",
            "n": "all" if self.train_size is None else str(self.train_size),
            "factor": f"{self.imbalance:g}",
        }
        return {name: values[name] for name in self.headed_by}

    @property
    def heading(self) -> str:
        """The cell in a few words: "p=0.5, n=1000"."""
        words = [value if name == "noise" else f"{name}={value}" for name, value in self.parts.items()]
        return self.title or ", ".join(words)

    @property
    def fields(self) -> Options:
        """The cell as fields of a spec."""
        if self.noise != GIVEN and self.rate == 0:
            # Clean labels are written in one way, so that tables share the runs.
            return {"noise": "uniform", "rate": 0.0, "imbalance": self.imbalance}
        noise = {"noise": self.noise, "rate": self.rate, "noise_options": dict(self.noise_options)}
        return noise | {"imbalance": self.imbalance}

    @property
    def printed_as(self) -> tuple[str, float | None]:
        """What the shipped table calls the noise and its level; of real noise there is one level."""
        kind = self.printed or self.noise
        if kind == "real":
            return kind, None
        if kind == "imbalance":
            return kind, self.imbalance
        return (kind if self.rate else "none"), self.rate


@dataclass(frozen=True, config=NO_MISSPELLINGS)
class Stretch:
    """How many times the epochs are trained, after how many of them a run is evaluated, and on what."""

    times: float = 1.0
    evaluate_every: int = 1
    measured: Literal["all", "validation"] = "all"


@dataclass(frozen=True, config=NO_MISSPELLINGS)
class Protocol:
    """What `--budget` chooses: epochs, patience, grids, seeds, and what is made unless asked for more.

    With few training images an epoch has few steps: `stretch` says by the number of images what is then done.
    `setups` are fields of a spec by data set ("other" for another), in place of the table's; `epochs` and the
    most training images, `train_size`, may be among them.
    """

    name: str
    title: str
    epochs: int | None = None
    """the table's own unless given"""
    seeds: tuple[int, ...] | None = None
    """the table's own unless given"""
    cell_seeds: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    """of cells that have others, by table and heading"""
    grids: Mapping[str, tuple[Options, ...]] = field(default_factory=dict)
    """the settings to try, by row"""
    optimizers: tuple[Options, ...] = ()
    """to try with each setting of every row, the `name` and options of each; the table's own unless given"""
    choose_by: Literal["all seeds", "first seed"] = "all seeds"
    """whose noisy-validation accuracy chooses a setting: with the first seed's, only what is chosen is
    trained with the others"""
    setups: Mapping[str, Options] = field(default_factory=dict)
    cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """by table; all where it is missing"""
    stretch: Mapping[int, Stretch] = field(default_factory=dict)
    patience: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """by noise and row, or "others" """

    def patience_of(self, row: Row, noise: str) -> int | None:
        """How many epochs after its best one a row stops; None for never."""
        own = self.patience.get(noise, {})
        return own.get(row.name, own.get(row.like, own.get("others")))

    def settings(self, row: Row) -> tuple[Options, ...]:
        """The settings from which noisy validation chooses, beside the optimisers."""
        return self.grids.get(row.name, self.grids.get(row.like, ({},)))

    def setup(self, dataset: str) -> Options:
        """The fields of a spec that take the place of the table's."""
        return self.setups.get(dataset, self.setups.get("other", {}))


@dataclass(frozen=True, config=NO_MISSPELLINGS)
class Table:
    """One of the papers' tables. Its runs take their fields from `setups`, by data set ("other" for another);
    after the epochs `milestones` the learning rate falls, sooner in a shorter run.

    `datasets` gives the names of the paper's data sets in the shipped table; other data is set beside the
    numbers for the first.
    """

    name: str
    title: str
    datasets: Mapping[str, str]
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    epochs: int
    setups: Mapping[str, Options]
    protocols: Mapping[str, Protocol]
    largest: int | None = None
    """what the shipped table says for all images, where it tells numbers of images apart"""
    milestones: tuple[int, ...] = ()
    metrics: tuple[Metric, ...] = ("best",)
    """which accuracies it shows: at the best noisy-validation epoch, and the mean of the last epochs"""
    note: str = ""
    """what a reader has to know of all its numbers"""

    @property
    def source(self) -> str:
        """The shipped file with the paper's numbers."""
        return f"{self.name.replace('-', '_')}.csv"

    @property
    def dataset(self) -> str:
        """The data set beside whose numbers other data is set."""
        return next(iter(self.datasets.values()))

    def setup(self, dataset: str) -> Options:
        """The fields of a spec that the data set decides."""
        return self.setups.get(dataset, self.setups["other"])
