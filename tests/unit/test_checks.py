"""No public number accepts NaN, infinity, a switch, a text or, as a count, a fraction: over all there are."""

import dataclasses
import importlib
import inspect
import math
import pkgutil
import subprocess
import sys
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lnlib
from lnlib import bounds
from lnlib.catalog import METHODS, NETS
from lnlib.checks import LARGEST, Count, Finite, Part, Positive, Rate, Seed, Share, checked
from lnlib.errors import InvalidValue, UnknownName
from lnlib.methods.limit import lambda_to_sigma
from lnlib.nets import Dropout
from lnlib.papers.spec import Spec

OUTER = ("course", "papers", "cli", "doctor", "checks")
"""Where no number comes from a caller, but for `Spec`."""
INNER = ("methods", "nets", "training")
"""Where functions are equations and loops, whose numbers may be tensors: only the classes are checked."""
NO_ARGUMENTS = {
    "Batch, ClassCount, Decomposition, Epoch, NoiseFacts, TrainingData, Visible": "the library makes them",
    "read_animal10n, read_clothing1m, colour_once, decode, decoded_once, pixels_of, held_out": (
        "behind `load` and `image_folder`"
    ),
    "given_labels, known_task": "behind `make_task` and `fold_tasks`",
    "describe, with_threads": "of the machine, not of a learning problem",
}
LEGAL: dict[tuple[str, str], tuple[Any, ...]] = {
    ("r0", "information"): (math.inf, (math.inf,)),
    ("sharp_r0", "information"): (math.inf, (math.inf,)),
}
"""Weights that hold any number of bits may make no error."""
EXAMPLES: dict[str, Any] = {
    "dimension": 3,
    "entropy": 1.0,
    "error_rate": 0.3,
    "information": 0.5,
    "matrix": np.eye(4),
    "norm_squared_bound": 1.0,
    "num_classes": 4,
    "num_examples": 100,
    "one": {0: 0.5, 1: 0.6},
    "other": {0: 0.4, 1: 0.5},
    "probabilities": [0.5, 0.5],
    "sigma": 1.0,
    "transition_matrix": np.eye(4),
}
"""Arguments that a call needs beside the one in question; what is not here is looked at after it."""


class Odd:
    """Nothing that anything takes."""

    def __repr__(self) -> str:
        return "odd\nindeed"


def kinds(hint: Any) -> set[Any]:
    """The types that an annotation is made of."""
    if hint == bounds.Numbers:
        return {float}
    if get_origin(hint) is Annotated:
        return kinds(hint.__origin__)
    if get_origin(hint) in (Union, UnionType, tuple):
        return set().union(*map(kinds, get_args(hint)))
    return set() if get_origin(hint) or isinstance(hint, str | list) else {hint}


def numbers_of(thing: Any) -> dict[str, Any]:
    """The parameters annotated as numbers."""
    parameters = inspect.signature(thing).parameters
    return {name: one.annotation for name, one in parameters.items() if kinds(one.annotation) & {int, float}}


def public() -> dict[str, Any]:
    """Every public dataclass and function of the library that takes a number, by name."""
    found = {"lambda_to_sigma": lambda_to_sigma, "Dropout": Dropout}
    made = {name for names in NO_ARGUMENTS for name in names.split(", ")}
    for module in pkgutil.walk_packages(lnlib.__path__, "lnlib."):
        room = module.name.split(".")[1]
        if room in OUTER:
            continue
        for name, thing in vars(importlib.import_module(module.name)).items():
            here = getattr(thing, "__module__", None) == module.name and not name.startswith("_")
            function = inspect.isfunction(thing) and room not in INNER
            if here and (function or dataclasses.is_dataclass(thing)) and name not in made:
                found[name] = thing
    return {name: thing for name, thing in found.items() if numbers_of(thing)}


PUBLIC = public()
CASES = [(name, parameter) for name, thing in PUBLIC.items() for parameter in numbers_of(thing)]


def bad_values(hint: Any, texts: bool = True) -> st.SearchStrategy[Any]:
    """What no parameter with this annotation may take."""
    found = kinds(hint)
    bad: list[Any] = [math.nan, math.inf, -math.inf, True, False, "ten", 10**400, 1j, {}, Odd()]
    strategy = st.sampled_from([*bad, *[(value,) for value in bad[:6]]])
    if texts:
        strategy |= st.sampled_from(["10", "0.5", ("0.5",)]) | st.text()
    if float not in found:
        strategy |= st.floats() | st.floats().map(np.float64) | st.sampled_from([2.0, 2.5])
        strategy |= st.integers(min_value=2**63) | st.integers(max_value=-(2**31) - 1)
    if type(None) not in found:
        strategy |= st.none()
    return strategy


def refused(thing: Any, parameter: str, value: Any) -> str:
    """The sentence that refuses a value; fails where it is accepted, or refused in another way."""
    parameters = inspect.signature(thing).parameters.values()
    required = [
        one.name for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD
    ]
    others = {name: EXAMPLES.get(name) for name in required if name != parameter}
    with pytest.raises((InvalidValue, UnknownName)) as caught:
        thing(**{parameter: value}, **others)
    return str(caught.value)


def test_all_there_is_was_found():
    kinds = {
        entry.kind for entries in (METHODS, NETS) for entry in entries.values() if numbers_of(entry.load())
    }
    assert PUBLIC.keys() >= kinds | {"Adam", "Settings", "Member", "FlipCrop", "make_task", "uniform", "r0"}
    assert len(CASES) > 120


@pytest.mark.parametrize(("name", "parameter"), CASES)
@settings(max_examples=30)
@given(data=st.data())
def test_a_public_number_is_a_number_and_its_refusal_names_it(name, parameter, data):
    value = data.draw(bad_values(numbers_of(PUBLIC[name])[parameter]))
    assume(not any(value is one or value == one for one in LEGAL.get((name, parameter), ())))
    text = refused(PUBLIC[name], parameter, value)
    assert parameter.replace("_", " ") in text.replace("_", " ") and "\n" not in text


@pytest.mark.parametrize("field", numbers_of(Spec))
@settings(max_examples=30)
@given(data=st.data())
def test_a_field_of_a_spec_is_as_strict_save_that_it_reads_text(field, data):
    text = refused(
        lambda **fields: Spec.parse(fields), field, data.draw(bad_values(numbers_of(Spec)[field], False))
    )
    assert text.startswith(f"{field} must") and "\n" not in text
    one = getattr(Spec(), field) or 10
    others = {"folds": 11} if field == "fold" else {}
    assert getattr(Spec.parse({field: str(one), **others}), field) == one


WITH_DEFAULTS = {
    name: thing
    for name, thing in PUBLIC.items()
    if dataclasses.is_dataclass(thing)
    and all(part.default is not dataclasses.MISSING for part in dataclasses.fields(thing))
}


@pytest.mark.parametrize("name", WITH_DEFAULTS)
def test_numpy_scalars_pass_for_pythons_and_lists_for_tuples(name):
    usual = WITH_DEFAULTS[name]()
    for part in dataclasses.fields(usual):
        if isinstance(part.default, bool | int | float | tuple):
            array = np.asarray(part.default)
            made = WITH_DEFAULTS[name](**{part.name: array.tolist() if array.ndim else array[()]})
            assert made == usual and type(getattr(made, part.name)) is type(part.default)


@checked
@dataclasses.dataclass(frozen=True)
class Own:
    """One of each kind."""

    share: Share = 0.5
    rate: Annotated[Rate, "write 80% as 0.8"] = 0.4
    lr: Positive = 0.1
    shift: Finite = 0.0
    epochs: Count = 60
    size: Count | None = None
    held: Part | Count = 0.2
    seed: Seed = 0
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    kind: Literal["gaussian", "laplace"] = "laplace"
    fast: bool = False


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"share": 1.3}, "share must lie in [0, 1], got 1.3; try share=0.5"),
        ({"share": "1"}, "share must be a number in [0, 1], got '1'; try share=0.5"),
        ({"rate": 1}, "rate must lie in [0, 1), got 1; write 80% as 0.8"),
        ({"lr": 0}, "lr must be positive, got 0; try lr=0.1"),
        ({"lr": True}, "lr must be a positive number, got True; try lr=0.1"),
        ({"lr": math.inf}, "lr must be finite, got inf; try lr=0.1"),
        ({"shift": math.nan}, "shift must be finite, got nan; try shift=0.0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0; try epochs=60"),
        ({"epochs": 2.0}, "epochs must be a whole number of at least 1, got 2.0; try epochs=60"),
        ({"epochs": np.int64(0)}, "epochs must be at least 1, got 0; try epochs=60"),
        ({"epochs": 10**30}, f"epochs must be at most {LARGEST}, got {10**30}; try epochs=60"),
        (
            {"seed": 10**5000},
            f"seed must be at most {2**63 - 1}, got a number beyond all measure; try seed=0",
        ),
        ({"size": "3"}, "size must be a whole number of at least 1 or None, got '3'; try size=10"),
        (
            {"held": 1.0},
            "held must be a number in (0, 1) or a whole number of at least 1, got 1.0; try held=0.2",
        ),
        ({"seed": -1}, "seed must be at least 0, got -1; try seed=0"),
        (
            {"betas": (2, 2)},
            "betas must be a tuple of 2, each entry a number in [0, 1), got (2, 2); try betas=(0.9, 0.999)",
        ),
        (
            {"kind": "gausian"},
            "kind must be 'gaussian' or 'laplace', got 'gausian'; did you mean 'gaussian'",
        ),
        ({"kind": None}, "kind must be 'gaussian' or 'laplace', got None; try kind='laplace'"),
        ({"fast": 1}, "fast must be True or False, got 1; try fast=False"),
    ],
)
def test_a_refusal_is_one_sentence_with_name_expectation_value_and_way_out(given, sentence):
    with pytest.raises(InvalidValue) as caught:
        Own(**given)
    assert str(caught.value) == sentence


def test_an_argument_that_there_is_not_names_the_nearest():
    with pytest.raises(UnknownName, match="unknown argument of Own 'epoch': did you mean 'epochs'"):
        Own(epoch=3)
    with pytest.raises(TypeError, match="positional"):
        Own(0.5, 0.4, 0.1, 0.0, 60, None, 0.2, 0, (0.9, 0.9), "laplace", False, "too many")


@pytest.mark.parametrize("name", METHODS)
def test_what_a_stack_may_tune_are_the_fields_declared_as_floats(name):
    method = METHODS[name].load()()
    floats = {one.name for one in dataclasses.fields(method) if kinds(one.type) == {float}}
    assert method.tunable.keys() == ({"beta"} if name == "bootstrap" else floats)
    tensors = method.with_values(dict.fromkeys(method.tunable, torch.tensor(-1.0)))
    assert all(torch.is_tensor(getattr(tensors, key)) for key in method.tunable)


def test_bounds_and_noise_are_imported_without_pydantic():
    code = "import sys, lnlib.bounds, lnlib.noise; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "torch"} & set(found.stdout.split())
