"""Every method of the two papers, one file each. `by_name("limit", beta=10.0)` finds them by name."""

from collections.abc import Mapping
from dataclasses import fields

from lnlib.errors import InvalidValue, unknown_name
from lnlib.methods.base import Batch, Draw, Examples, Method, Nets, Phase
from lnlib.methods.cross_entropy import CrossEntropy
from lnlib.methods.limit import LIMIT

__all__ = [
    "LIMIT",
    "METHODS",
    "Batch",
    "CrossEntropy",
    "Draw",
    "Examples",
    "Method",
    "Nets",
    "Phase",
    "by_name",
]

METHODS: Mapping[str, type[Method]] = {method.name: method for method in (CrossEntropy, LIMIT)}


def by_name(name: str, **options: object) -> Method:
    """The method called `name` with its hyper-parameters; raises `UnknownName` or `InvalidValue` with the
    nearest name.
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    known = [part.name for part in fields(METHODS[name])]
    for option in options:
        if option not in known:
            if not known:
                raise InvalidValue(f"{name} has no hyper-parameters, got {option!r}; leave it out")
            raise unknown_name(f"hyper-parameter of {name}", option, known)
    return METHODS[name](**options)
