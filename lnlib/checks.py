"""What a number or a choice may be, said by its annotation: `lr: Positive`, `epochs: Count`, a `Literal`.

`checked` goes over a frozen dataclass or a function: a value that does not fit gets one sentence with its
name, what was expected and the way out. Pydantic does the checking, strictly: "10" is not 10, True is not 1,
2.0 is no count, and no number is NaN or infinite. A reader of text, as the command line is, gives pydantic
the same annotations without `strict`: then "10" is 10, and all else is as strict.
"""

import difflib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial, wraps
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from lnlib.errors import InvalidValue, shown, unknown_name

LARGEST = 2**31 - 1
"""No size is larger: nothing of that size can be held."""


@dataclass(frozen=True, repr=False)
class Range:
    """From where to where a number goes, in pydantic's words; it is finite in any case."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def __repr__(self) -> str:
        low, high = (self.ge if self.gt is None else self.gt), (self.le if self.lt is None else self.lt)
        if low is None:
            return "finite"
        if high is not None and high < LARGEST:
            return f"in {'[' if self.gt is None else '('}{low:g}, {high:g}{']' if self.lt is None else ')'}"
        return f"at least {low:g}" if self.gt is None else f"above {low:g}" if low else "positive"

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        limits = {name: limit for name, limit in vars(self).items() if limit is not None}
        strict = handler(source) | limits | {"strict": True}
        if source is float:
            strict["allow_inf_nan"] = False
        # Left to itself, pydantic takes True for 1 and 2.0 for 2 wherever it takes "10" for 10.
        read = {
            "type": "function-before",
            "function": {"type": "no-info", "function": _read},
            "schema": strict,
        }
        return {"type": "lax-or-strict", "lax_schema": read, "strict_schema": strict}


Finite = Annotated[float, Range()]
Positive = Annotated[float, Range(gt=0)]
NonNegative = Annotated[float, Range(ge=0)]
Factor = Annotated[float, Range(ge=1)]
Share = Annotated[float, Range(ge=0, le=1)]
Rate = Annotated[float, Range(ge=0, lt=1)]
"""A share that is never all: of wrong labels, of dropped units, of the step before."""
Part = Annotated[float, Range(gt=0, lt=1)]
"""A share that is neither none nor all."""
Whole = Annotated[int, Range(ge=0, le=LARGEST)]
Count = Annotated[int, Range(ge=1, le=LARGEST)]
Several = Annotated[int, Range(ge=2, le=LARGEST)]
Seed = Annotated[int, Range(ge=0, le=2**63 - 1), "try seed=0"]

EXAMPLES = {
    "Dataset": "data.load('digits')",
    "Task": "make_task(data.load('digits'), noise.uniform(0.4, 10))",
    "PathLike": "'path/to/pictures'",
    "Mapping": "a dictionary",
}
"""What a sentence offers for things that are no numbers."""

Thing = TypeVar("Thing", bound=Callable[..., Any])
Check = Callable[[Any], Any]


def checked(thing: Thing) -> Thing:
    """A frozen dataclass or a function that checks its numbers, choices, switches and texts at each call.

    NumPy's scalars pass for Python's, and lists for tuples. A text beside the type is the way out that the
    sentence ends with, `Annotated[Rate, "write 80% as 0.8"]`; without one it is the default or an example.
    Raises `InvalidValue`, and `UnknownName` for an argument that there is not.
    """
    if not isinstance(thing, type):
        return _checked(thing, thing.__qualname__.removesuffix(".__init__"))  # type: ignore[return-value]
    method = getattr(thing, "name", None)
    owner = f"{method}: " if isinstance(method, str) else ""
    thing.__init__ = _checked(thing.__init__, thing.__name__, owner)  # type: ignore[misc]
    return thing


def refusal(name: str, expected: str, value: object, way_out: str) -> InvalidValue:
    """The sentence that refuses a value; `expected` is what comes after "must"."""
    return InvalidValue(f"{name} must {expected}, got {shown(value)}; {way_out}")


def explained(name: str, hint: Any, value: object, default: object = None, owner: str = "") -> InvalidValue:
    """The sentence for a value that does not fit its annotation; `owner` comes before the name."""
    value, options = _plain(value), _options(hint)
    kind, limits = _parts(options[0])
    numbers = (int, float) if kind is float else (int,)
    if options[1:] in ([], [NoneType]) and limits and type(value) in numbers:
        expected = _within(limits, value)
    else:
        expected = f"be {_either(options)}"
    return refusal(owner + name, expected, value, _way_out(name, hint, value, default))


def _checked(function: Callable[..., Any], title: str, owner: str = "") -> Callable[..., Any]:
    @cache  # made at the first call: pydantic takes as long to import as lnlib.bounds
    def signature() -> tuple[dict[str, Check | None], list[Check | None], bool]:
        parameters = inspect.signature(function).parameters
        checks: dict[str, Check | None] = {
            name: partial(_check, _validator(one.annotation), one, owner)
            if fits(one.annotation)
            else _kind_check(one, owner)
            for name, one in parameters.items()
        }
        kinds = {name: one.kind for name, one in parameters.items()}
        in_order = [
            checks[name] for name, kind in kinds.items() if kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        ]
        return checks, in_order, inspect.Parameter.VAR_KEYWORD in kinds.values()

    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        checks, in_order, open_ended = signature()
        placed = [check(value) if check else value for check, value in zip(in_order, args, strict=False)]
        for name, value in named.items():
            if check := checks.get(name):
                named[name] = check(value)
            elif name not in checks and not open_ended:
                known = [name for name in checks if name != "self"] or ["none at all"]
                raise unknown_name(f"argument of {title}", name, known)
        return function(*placed, *args[len(placed) :], **named)

    return call


def _check(validate: Check, one: inspect.Parameter, owner: str, value: Any) -> Any:
    try:
        return validate(value)
    except ValueError:
        pass
    try:
        return validate(_plain(value))
    except ValueError:
        default = None if one.default is one.empty else one.default
        raise explained(one.name, one.annotation, value, default, owner) from None


def _kind_check(one: inspect.Parameter, owner: str) -> Check | None:
    """What takes lnlib's own things, paths and mappings where the annotation names nothing else."""
    kinds = tuple(get_origin(option) or option for option in _options(one.annotation))
    of_two_kinds = str in kinds and Mapping in kinds  # which the function tells apart, and explains
    if of_two_kinds or not all(isinstance(kind, type) and _is_ours(kind) for kind in kinds):
        return None

    def check(value: Any) -> Any:
        if isinstance(value, kinds):
            return value
        names = [kind.__name__ for kind in kinds if kind is not NoneType]
        example = next((EXAMPLES[name] for name in names if name in EXAMPLES), "what its docstring says")
        raise refusal(owner + one.name, f"be a {' or '.join(names)}", value, f"try {example}")

    return check


def _is_ours(kind: type) -> bool:
    named = kind.__module__.startswith(("lnlib", "os", "pathlib", "collections")) or kind in (str, NoneType)
    return named and not getattr(kind, "_is_protocol", False)  # of which no instance can be told


@cache
def _validator(hint: Any) -> Check:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False)).validator.validate_python


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's, lists and arrays as tuples."""
    if type(value).__module__ == "numpy":  # which the command line's help does without
        value = value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _read(value: Any) -> Any:
    """The number that a text holds."""
    for kind in (int, float) if isinstance(value, str) else ():
        try:
            return kind(value)
        except ValueError:
            continue
    return _plain(value)


# What an annotation says.


def _options(hint: Any) -> list[Any]:
    """What a union offers; a type that is none is its only option."""
    if get_origin(hint) in (Union, UnionType):
        return [option for part in get_args(hint) for option in _options(part)]
    if get_origin(hint) is Annotated and not _parts(hint)[1]:
        return _options(hint.__origin__)
    return [hint]


def _parts(option: Any) -> tuple[Any, Range | None]:
    if get_origin(option) is not Annotated:
        return option, None
    return option.__origin__, next((part for part in option.__metadata__ if isinstance(part, Range)), None)


def _entry(kind: Any) -> Any:
    """What the entries of a tuple are, which are all alike."""
    return get_args(kind)[0]


def fits(hint: Any) -> bool:
    """Whether an annotation is made of numbers, choices, switches and texts alone."""
    kinds = [_parts(option)[0] for option in _options(hint)]
    return all(
        kind in (int, float, bool, str, NoneType)
        or get_origin(kind) is Literal
        or (get_origin(kind) is tuple and fits(_entry(kind)))
        for kind in kinds
    )


# The sentence.


def _described(option: Any) -> list[str]:
    kind, limits = _parts(option)
    if get_origin(kind) is Literal:
        return [repr(choice) for choice in get_args(kind)]
    if get_origin(kind) is tuple:
        length = "" if ... in get_args(kind) else f" of {len(get_args(kind))}"
        return [f"a tuple{length}, each entry {_either(_options(_entry(kind)))}"]
    if kind not in (int, float):
        return {bool: ["True", "False"], str: ["text"], NoneType: ["None"]}[kind]
    noun, text = "whole number" if kind is int else "number", repr(limits or Range())
    if text in ("finite", "positive"):
        return [f"a {text} {noun}" if kind is float else f"a {noun}"]
    return [f"a {noun} {text}" if text.startswith("in") else f"a {noun} of {text}"]


def _within(limits: Range, number: Any) -> str:
    if limits.le is not None and number > limits.le >= LARGEST:
        return f"be at most {limits.le}"
    text = repr(limits)
    if text.startswith("in"):
        return f"lie {text}"
    return "be finite" if number > sys.float_info.max else f"be {text}"


def _way_out(name: str, hint: Any, value: object, default: object) -> str:
    if text := next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, str)), None):
        return text
    kind = _parts(_options(hint)[0])[0]
    if get_origin(kind) is Literal and (near := difflib.get_close_matches(str(value), get_args(kind), n=1)):
        return f"did you mean {near[0]!r}"
    if default is not None:
        return f"try {name}={default!r}"
    return f"try {name}={_example(_options(hint)[0])!r}"


def _example(option: Any) -> Any:
    kind, limits = _parts(option)
    if get_origin(kind) is tuple:
        return (_example(_entry(kind)),)
    below_one = limits is not None and 1 in (limits.le, limits.lt)
    return {int: 10, float: 0.5 if below_one else 1.0, bool: True, str: "..."}.get(kind) or get_args(kind)[0]


def _either(options: list[Any]) -> str:
    *first, last = (words for option in options for words in _described(option))
    return f"{', '.join(first)} or {last}" if first else last
