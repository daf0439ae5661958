"""The spec of one training run: what the command line, the store and the figures speak."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from functools import cache, cached_property, lru_cache
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from lnlib import data, methods, noise
from lnlib.catalog import METHODS, NETS, OPTIMIZERS, Entry
from lnlib.checks import explained, fits
from lnlib.data import own_files
from lnlib.data.task import Task, given_task, make_task, split_rows
from lnlib.errors import InvalidValue, unknown_name
from lnlib.optimizers import SGD, Adam
from lnlib.papers.fields import Options, SpecFields
from lnlib.training import Augmentation, CenterCrop, CropFlip, FlipCrop, Member, Run, Settings

GIVEN = "given"
"""The noise of a data set whose training labels are noisy already."""
AUGMENTATIONS: dict[bool | str, Augmentation | None] = {
    True: FlipCrop(),
    "reflect": FlipCrop(mode="reflect"),
    "crop": CropFlip(),
    "center": CenterCrop(),
    False: None,
}
Start = Mapping[str, Mapping[str, Tensor]]
"""Weights by network, from which a run begins."""
_OF_FOLDS = {
    "dataset", "dataset_options", "scaling", "noise", "rate", "noise_options", "seed", "folds", "train_size",
    "validation",
}  # fmt: skip
"""What the tasks of all folds hang on."""
_PART_OPTIONS = {"method_options", "net_options", "optimizer_options"}


class Sizes(NamedTuple):
    """Numbers of images."""

    train: int
    validation: int
    test: int


class Spec(SpecFields):
    """Everything that decides a run's numbers, as plain values. `Spec.parse` gives readable errors.

    The `*_options` are the arguments of what the field beside them names: `method="limit",
    method_options={"beta": 10}`. The seed serves the split, the noise and the run's own streams. A method
    that begins from another's best weights begins from the run that `sources` gives: this spec with the other
    method and what `source_options` says (`{"patience": 100}`). Equal specs have equal fingerprints.

    `noise="given"` takes the labels of a data set that came noisy (Clothing1M, CIFAR-10N) as they are: `rate`
    says nothing then, and there is no imbalance. `augment` is True for LIMIT's flips and crops on CIFAR,
    "reflect" for MetaInfoNet's; of Clothing1M "crop" takes LIMIT's crops, "center" MetaInfoNet's. `scaling`
    says by which mean and deviation images are normalised: the data set's own or those of "metainfonet".

    With `folds` above 1 the run holds out one `fold` of the images (`data.fold_tasks`; of a reader's own
    folder the test pictures are among them), and `train_size` is how many there are in all folds.
    """

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Spec":
        """A spec from plain values; raises `UnknownName` for a misspelt field and `InvalidValue` for a bad
        one, one line each.
        """
        known = cls.model_fields
        for name in values:
            if name not in known:
                raise unknown_name("field of a run", name, known)
        try:
            spec = cls(**values)
        except ValidationError as error:
            raise _one_line(cls, values, error) from error
        if spec.noise == GIVEN and spec.imbalance != 1:
            raise InvalidValue(
                f"labels that came noisy keep their class sizes, got imbalance {spec.imbalance:g}; use 1"
            )
        if spec.fold >= spec.folds:
            raise InvalidValue(
                f"fold counts from 0 and must be below the {spec.folds} folds, got {spec.fold}; "
                f"use at most {spec.folds - 1}"
            )
        if spec.folds > 1 and (spec.imbalance != 1 or spec.meta_size):
            raise InvalidValue(
                f"folds have even classes and no meta set, got imbalance {spec.imbalance:g} and meta_size "
                f"{spec.meta_size}; use folds=1"
            )
        own_files.read_options(spec.dataset, spec.dataset_options)
        spec.sources()  # which checks the method and the settings, too
        return spec

    def __copy__(self) -> "Spec":
        # Without the cached properties: `model_copy` is about to change the fields that they come from.
        return self.model_construct(**{name: getattr(self, name) for name in Spec.model_fields})

    @property
    def fingerprint(self) -> str:
        """A short hash of all that decides the numbers; stable across sessions and machines.

        What has its default is left out, so that a field that is new to lnlib changes no fingerprint; a
        default that changes is caught where a stored spec, which spells all values out, is read again. Two
        ways to write the same method, network or optimiser have one fingerprint. Of a reader's own folder the
        names, sizes and dates of its files count.
        """
        return hashlib.sha256((self._chosen + self._folder_listing()).encode()).hexdigest()[:16]

    @cached_property
    def _chosen(self) -> str:
        """What differs from the defaults, as text."""
        method, settings = self._parts
        parts: Options = {"method": method, "net": settings.net, "optimizer": settings.optimizer}
        defaults = _usual_fields()
        fields = self.model_dump(mode="json", exclude=_PART_OPTIONS)
        chosen = {name: value for name, value in fields.items() if value != defaults[name]}
        for name, part in parts.items():
            usual = _usual_options(part.__class__).items()
            chosen[f"{name}_options"] = dict(pair for pair in _values(part).items() if pair not in usual)
        return json.dumps(chosen, sort_keys=True)

    def spelled_out(self) -> "Spec":
        """The same run with every option of its method, network and optimiser written down."""
        method, settings = self._parts
        parts = {"method": method, "net": settings.net, "optimizer": settings.optimizer}
        return self.model_copy(update={f"{name}_options": _values(part) for name, part in parts.items()})

    def sources(self) -> dict[str, "Spec"]:
        """The runs whose best weights this one begins from, by the name of their method."""
        return dict(self._sources)

    @cached_property
    def _sources(self) -> dict[str, "Spec"]:
        names = sorted({source.method for source in self._parts[0].warm_start.values()})
        own = {"method", "method_options", "source_options"}
        fields = self.model_dump(exclude=own) if names else {}
        return {name: Spec.parse({**fields, "method": name, **self.source_options}) for name in names}

    def _folder_listing(self) -> str:
        stated = own_files.stated(self.dataset, self.dataset_options)
        return repr(stated) if stated else ""

    @property
    def loaded(self) -> data.Dataset:
        """The data set, kept while runs on it follow one another."""
        return load(self.dataset, **self.dataset_options)

    @property
    def label(self) -> str:
        """The run in a few words, for progress bars and tables."""
        options = ", ".join(f"{key}={value}" for key, value in self.method_options.items())
        method = f"{self.method}({options})" if options else self.method
        tail = f" · imbalance {self.imbalance:g}" if self.imbalance != 1 else ""
        noise = "labels as they came" if self.noise == GIVEN else f"{self.noise} {self.rate:g}"
        fold = f" · fold {self.fold + 1} of {self.folds}" if self.folds > 1 else ""
        return f"{method} · {self.dataset} · {noise}{tail} · seed {self.seed}{fold}"

    def note(self) -> str:
        """What is to be known before training, in words: what the network does to images of this size,
        whether a batch can hold all classes, and whether the noise leaves nothing to learn from.
        """
        notes, classes = [self.member_parts()[1].net.note(self.loaded.image_shape)], self.loaded.num_classes
        if classes > self.batch_size:
            notes.append(
                f"a batch of {self.batch_size} cannot hold an example of each of the {classes} classes; try "
                f"--batch-size {2 * classes}"
            )
        # Symmetric noise below rate 1 leaves the true class the likeliest; pair and flip warn themselves.
        if self.noise == "uniform" and self.rate >= (classes - 1) / classes - 1e-9:
            notes.append(
                f"at noise rate {self.rate:g} of {classes} classes each wrong class is as likely as the true "
                "one, or likelier: no method can tell them apart without clean data"
            )
        return "; ".join(filter(None, notes))

    def matrix(self) -> NDArray[Any]:
        """The transition matrix (K, K) of the spec."""
        return noise.matrix(self.noise, self.rate, self.loaded.num_classes, **self.noise_options)

    @property
    def comes_noisy(self) -> bool:
        """Whether the data set's training labels are noisy already; loads the data."""
        dataset = self.loaded
        return dataset.num_clean is not None or dataset.given_labels is not None

    def task(self) -> Task:
        """The task: data, splits and given labels."""
        if self.folds > 1:
            return _fold_tasks(self.model_dump_json(include=_OF_FOLDS))[self.fold]
        if self.noise == GIVEN:
            sizes = {"train_size": self.train_size, "validation": self.validation}
            return given_task(self._scaled(), self.seed, meta_size=self.meta_size, **sizes)  # type: ignore[arg-type]
        return make_task(self._scaled(), self.matrix(), self.seed, **self._splits())

    def _scaled(self) -> data.Dataset:
        dataset = self.loaded
        return _as_metainfonet(dataset) if self.scaling == "metainfonet" else dataset

    def sizes(self) -> Sizes:
        """How many images the splits hold; loads the data."""
        if self.folds > 1:
            task = self.task()
            return Sizes(len(task.train), len(task.validation), len(task.test))
        dataset = self.loaded
        if self.imbalance != 1 or dataset.train_groups is not None:
            rows = split_rows(dataset, self.seed, **self._splits())
            return Sizes(len(rows["training"]), len(rows["validation"]), len(dataset.test_labels))
        # Clean examples among the training images hold the meta set, and are not trained on.
        total = len(dataset.train_labels) - (dataset.num_clean or 0)
        held = round(self.validation * total) if isinstance(self.validation, float) else self.validation
        left = total - held - (0 if dataset.num_clean else self.meta_size)
        return Sizes(left if self.train_size is None else self.train_size, held, len(dataset.test_labels))

    def _splits(self) -> Options:
        names = ("train_size", "validation", "meta_size", "imbalance")
        return {name: getattr(self, name) for name in names}

    def member_parts(self) -> tuple[methods.Method, Settings]:
        """The method and the settings; raises for unknown names and bad values, without touching data."""
        return self._parts

    @cached_property
    def _parts(self) -> tuple[methods.Method, Settings]:
        names = {option.name for option in fields(Settings)} & {*Spec.model_fields}
        built: Options = {
            "net": _built("network", NETS, self.net, self.net_options),
            "optimizer": _built("optimizer", OPTIMIZERS, self.optimizer, self.optimizer_options),
            "augment": AUGMENTATIONS[self.augment],
        }
        settings = Settings(**{name: getattr(self, name) for name in names} | built)
        return _built("method", METHODS, self.method, self.method_options), settings

    def member(self, start: Start | None = None) -> Member:
        """The run as a member of a sweep; `start` is as for `fit`."""
        return Member(self.member_parts()[0], self.task(), self.seed, start)

    def settings(self) -> Options:
        """How the run trains, as the options of `fit` and `sweep`."""
        settings = self.member_parts()[1]
        return {name: getattr(settings, name) for name in settings.__dataclass_fields__}

    def new_run(self, device: torch.device | None = None, start: Start | None = None) -> Run:
        """The run, not yet trained; `start` is as for `fit`."""
        method = self.member_parts()[0]
        return Run(method, self.task(), seed=self.seed, device=device, start=start, **self.settings())


@lru_cache(maxsize=2)
def load(name: str, **options: Any) -> data.Dataset:
    """The data set called `name`, kept while runs on it follow one another."""
    return data.load(name, **options)


@lru_cache(maxsize=2)
def _fold_tasks(of_folds: str) -> tuple[Task, ...]:
    """The tasks of all folds of a spec, of which the fields _OF_FOLDS are given as JSON: one data set for all
    of them, so that they can train as one stack.
    """
    spec = Spec.model_validate_json(of_folds)
    dataset = spec._scaled()
    if own_files.is_own(spec.dataset):
        dataset = data.pooled(dataset)
    matrix = None if spec.noise == GIVEN else spec.matrix()
    size, validation = spec.train_size, spec.validation
    return data.fold_tasks(dataset, matrix, spec.seed, folds=spec.folds, size=size, validation=validation)


@lru_cache(maxsize=2)
def _as_metainfonet(dataset: data.Dataset) -> data.Dataset:
    return replace(dataset, mean=data.METAINFONET_MEAN, std=data.METAINFONET_STD)


def _built(kind: str, known: Mapping[str, Entry], name: str, options: Options) -> Any:
    """The dataclass called `name` with its fields read from plain values ("10" and 10 are both 10.0 for a
    float).
    """
    if name not in known:
        raise unknown_name(kind, name, known)
    adapter, names = _reader(known[name])
    for option in options:
        if option not in names:
            raise unknown_name(f"option of {name}", option, names or ["none at all"])
    try:
        return adapter.validate_python(options)
    except ValidationError as error:
        raise _one_line(known[name].load(), options, error, f"{name}: ") from error


@cache
def _reader(entry: Entry) -> tuple[TypeAdapter[Any], tuple[str, ...]]:
    """What reads a class's options, and their names."""
    kind = entry.load()
    return TypeAdapter(kind), _option_names(kind)


def _values(part: Any) -> Options:
    """The options of a method, network or optimiser with their values, an optimiser among them as a dict."""
    values = {name: getattr(part, name) for name in _option_names(part.__class__)}
    return {name: asdict(value) if isinstance(value, Adam | SGD) else value for name, value in values.items()}


@cache
def _option_names(kind: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(option.name for option in fields(kind))  # type: ignore[arg-type]


@cache
def _usual_options(kind: Callable[..., Any]) -> Options:
    return _values(kind())


@cache
def _usual_fields() -> Options:
    return Spec().model_dump(mode="json")


def _one_line(kind: type, values: Mapping[str, Any], error: ValidationError, owner: str = "") -> InvalidValue:
    first = error.errors()[0]
    own = first.get("ctx", {}).get("error")
    if isinstance(own, InvalidValue):
        return own
    name = str(first["loc"][0])
    wanted = inspect.signature(kind).parameters[name]
    if fits(wanted.annotation):
        return explained(name, wanted.annotation, values[name], wanted.default, owner)
    where = ".".join(str(part) for part in first["loc"])
    expected = first["msg"][:1].lower() + first["msg"][1:]
    return InvalidValue(f"{owner}{where}: {expected}, got {first['input']!r}; see `lnlib train --help`")
