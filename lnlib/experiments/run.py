"""The spec of one training run: what the command line, the store and the figures speak."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from lnlib import data, methods, nets, noise
from lnlib.data.task import Task, make_task
from lnlib.errors import InvalidValue, unknown_name
from lnlib.training import SGD, Adam, FlipCrop, Member, Settings, Training, fit

OPTIMIZERS = {"adam": Adam, "sgd": SGD}
Options = dict[str, Any]


class Run(BaseModel):
    """Everything that decides a run's numbers, as plain values. `Run.parse` gives readable errors.

    The `*_options` are the arguments of what the field beside them names: `method="limit",
    method_options={"beta": 10}`. The seed serves the split, the noise and the run's own streams. Equal specs
    have equal fingerprints.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = "digits"
    train_size: PositiveInt | None = None
    validation: float | PositiveInt = 0.2
    meta_size: NonNegativeInt = 0
    noise: str = "uniform"
    rate: float = 0.5
    noise_options: Options = Field(default_factory=dict)
    method: str = "cross-entropy"
    method_options: Options = Field(default_factory=dict)
    net: str = "mlp"
    net_options: Options = Field(default_factory=dict)
    optimizer: str = "adam"
    optimizer_options: Options = Field(default_factory=dict)
    epochs: PositiveInt = 60
    batch_size: PositiveInt = 64
    evaluate_every: PositiveInt = 1
    patience: PositiveInt | None = None
    augment: bool = False
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    seed: NonNegativeInt = 0

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> "Run":
        """A spec from plain values; raises `UnknownName` for a misspelt field and `InvalidValue` for a bad
        one, one line each.
        """
        for name in fields:
            if name not in cls.model_fields:
                raise unknown_name("field of a run", name, cls.model_fields)
        try:
            run = cls(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            expected = first["msg"][:1].lower() + first["msg"][1:]
            raise InvalidValue(
                f"{where} of a run: {expected}, got {first['input']!r}; see `lnlib train --help`"
            ) from error
        run.member_parts()
        return run

    @property
    def fingerprint(self) -> str:
        """A short hash of what the spec says beyond the defaults, stable across sessions and machines."""
        text = json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The run in a few words, for progress bars and tables."""
        options = ", ".join(f"{key}={value}" for key, value in self.method_options.items())
        method = f"{self.method}({options})" if options else self.method
        return f"{method} · {self.dataset} · {self.noise} {self.rate:g} · seed {self.seed}"

    def matrix(self) -> NDArray[Any]:
        """The transition matrix (K, K) of the spec."""
        return noise.matrix(self.noise, self.rate, load(self.dataset).num_classes, **self.noise_options)

    def task(self) -> Task:
        """The task: data, splits and given labels."""
        sizes = {"train_size": self.train_size, "validation": self.validation, "meta_size": self.meta_size}
        return make_task(load(self.dataset), self.matrix(), self.seed, **sizes)  # type: ignore[arg-type]

    def member_parts(self) -> tuple[methods.Method, Settings]:
        """The method and the settings; raises for unknown names and bad values, without touching data."""
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimizer", self.optimizer, OPTIMIZERS)
        settings = Settings(
            net=_built(nets.by_name, self.net, self.net_options),
            optimizer=_built(OPTIMIZERS[self.optimizer], None, self.optimizer_options),
            epochs=self.epochs,
            batch_size=self.batch_size,
            evaluate_every=self.evaluate_every,
            patience=self.patience,
            augment=FlipCrop() if self.augment else None,
            precision=self.precision,
        )
        return methods.by_name(self.method, **self.method_options), settings

    def member(self) -> Member:
        """The run as a member of a sweep."""
        return Member(self.member_parts()[0], self.task(), self.seed)

    def training(self, device: torch.device | None = None) -> Training:
        """The training run, not yet begun."""
        method, settings = self.member_parts()
        parts = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
        return fit(method, self.task(), seed=self.seed, device=device, **parts)


@lru_cache(maxsize=2)
def load(name: str) -> data.Dataset:
    """The data set called `name`, kept while runs on it follow one another."""
    return data.load(name)


def _built(build: Any, name: str | None, options: Options) -> Any:
    try:
        return build(name, **options) if name is not None else build(**options)
    except TypeError as error:
        what = name or build.__name__
        raise InvalidValue(
            f"{what} got options {options} that it does not take ({error}); leave them out"
        ) from error
