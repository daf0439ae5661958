"""Options that several commands have; those of a run come from the fields of its spec."""

import functools
import inspect
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lnlib.checks import LARGEST
from lnlib.errors import InvalidValue
from lnlib.papers.fields import SpecFields

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Dataset = Annotated[str, typer.Option(help=SpecFields.model_fields["dataset"].description)]

FIELDS: Mapping[str, Mapping[str, Any]] = SpecFields.model_json_schema()["properties"]
SHORTHANDS = {
    "size": ("dataset_options", "Your own pictures: pixels of a side."),
    "layout": ("dataset_options", "Your own pictures: `classes` takes every folder for a class."),
    "unreadable": ("dataset_options", "Your own pictures: `skip` leaves out those that cannot be read."),
    "width": ("net_options", "MLP: units in a layer."),
    "depth": ("net_options", "MLP: hidden layers."),
    "dropout": ("net_options", "MLP: share of units dropped."),
    "lr": ("optimizer_options", "Learning rate of the optimiser."),
    "weight_decay": ("optimizer_options", "Weight decay of the optimiser."),
}
"""Options of the data, a network or an optimiser that have a flag of their own."""
WORDS = {"layout": "auto|classes", "unreadable": "stop|skip"}
"""What such a flag takes where it is no number."""
EXAMPLES = {
    "dataset_options": "size=32",
    "noise_options": "targets=1",
    "net_options": "width=64",
    "optimizer_options": "lr=0.01",
}
BOUNDS = dict(minimum="at least", exclusiveMinimum="above", maximum="at most", exclusiveMaximum="below")


class ListsByDefault(TyperGroup):
    """Commands of which `list` is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if {*args} - {"--json"} else ["list", *args])


def group(help: str) -> typer.Typer:
    """Commands that list what there is where none is named."""
    return typer.Typer(cls=ListsByDefault, help=help, rich_markup_mode=None)


def takes_spec(*names: str, **defaults: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator: gives a command the options of the spec's fields `names`, all unless given, and the spec
    that they make as its first argument. A name in `defaults` has another default, or is no option if it is
    not among `names`.
    """
    wanted = names or tuple(FIELDS)
    short = {name: place for name, place in SHORTHANDS.items() if place[0] in wanted}
    options = [_option(name, defaults.get(name)) for name in wanted]
    for name, (_, text) in short.items():
        options.append(_parameter(name, typer.Option(help=text, metavar=WORDS.get(name, "NUMBER"))))

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_spec(**given: Any) -> None:
            from lnlib.papers.spec import Spec

            values: dict[str, Any] = {**defaults}
            for name in wanted:
                if (value := given.pop(name)) is not None:
                    values[name] = _read(name, value)
            for name, (field, _) in short.items():
                if (text := given.pop(name)) is not None:
                    values[field] = {**values.get(field, {}), name: plain(text)}
            command(Spec.parse(values), **given)

        _, *rest = inspect.signature(command).parameters.values()
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in rest]
        with_spec.__signature__ = inspect.Signature([*options, *own])  # type: ignore[attr-defined]
        with_spec.__annotations__ = {}
        return with_spec

    return decorate


def as_command(spec: Any) -> str:
    """The command `lnlib train` that makes a run, quoted for a shell: what differs from the defaults."""
    words = ["lnlib", "train"]
    for name, value in spec.model_dump(mode="json").items():
        field = FIELDS[name]
        if value == field.get("default"):
            continue
        if field.get("type") == "object":
            for key, own in value.items():
                words += [_flag(name), f"{key}={_written(own)}"]
        elif field.get("type") == "boolean":
            words.append(_flag(name) if value else _flag(name).replace("--", "--no-", 1))
        else:
            words += [_flag(name), value if field.get("type") == "string" else _written(value)]
    return shlex.join(words)


def _written(value: Any) -> str:
    """What `plain` reads as the value."""
    return value if isinstance(value, str) and plain(value) == value else json.dumps(value)


def plain(text: str) -> Any:
    """A number, true, false, a list or an object where the text is JSON for one, else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read(name: str, value: Any) -> Any:
    field = FIELDS[name].get("type")
    if field == "object":
        return _pairs(value, _flag(name), EXAMPLES.get(name, "beta=10"))
    return plain(value) if isinstance(value, str) and field != "string" else value


def _pairs(texts: Sequence[str], option: str, example: str) -> dict[str, Any]:
    for text in texts:
        if "=" not in text:
            raise InvalidValue(f"{option} takes NAME=VALUE, got {text!r}; try {option} {example}")
    return {name: plain(value) for name, _, value in (text.partition("=") for text in texts)}


def _flag(name: str) -> str:
    flag = "--" + name.replace("_options", "-set").replace("_", "-")
    return "--set" if flag == "--method-set" else flag


def _option(name: str, default: object = None) -> inspect.Parameter:
    field = FIELDS[name]
    default = field.get("default") if default is None else default
    if field.get("type") == "object":
        option = typer.Option(_flag(name), metavar="NAME=VALUE", help=field["description"])
        return _parameter(name, option, list[str] | None)
    if field.get("type") == "boolean":
        return _parameter(name, typer.Option(help=field["description"]), bool, default)
    # Whatever else comes as text and is checked by the spec alone.
    option = typer.Option(_flag(name), metavar=_kinds(field), help=field["description"] + _range(field))
    return _parameter(name, option, default=_text(default))


def _parameter(name: str, option: Any, kind: Any = str | None, default: object = None) -> inspect.Parameter:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=default, annotation=Annotated[kind, option])


def _text(default: object) -> str | None:
    return default if default is None or isinstance(default, str) else json.dumps(default)


def _kinds(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return "|".join(_kinds(part) for part in field["anyOf"] if part["type"] != "null")
    words = {"integer": "INTEGER", "number": "NUMBER", "string": "TEXT", "boolean": "true|false"}
    return "|".join(field["enum"]) if "enum" in field else words[field["type"]]


def _range(field: Mapping[str, Any]) -> str:
    """What numbers are taken; that no size is beyond measure goes without saying."""
    found = [
        ", ".join(f"{word} {part[key]}" for key, word in BOUNDS.items() if part.get(key, LARGEST) < LARGEST)
        for part in (field, *field.get("anyOf", ()))
    ]
    return f" [{' or '.join(filter(None, found))}]" if any(found) else ""
