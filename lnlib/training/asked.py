"""What a caller means: a method, network or optimiser by its name or class, a device by its name.

Whatever has one obvious meaning is taken; for the rest one sentence says what was expected and the way out.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from lnlib import catalog
from lnlib.catalog import Entry
from lnlib.data.task import Task
from lnlib.device import default_device
from lnlib.errors import InvalidValue, UnknownName, shown, unknown_name
from lnlib.methods.base import Method
from lnlib.nets import NetSpec
from lnlib.nets.own import OwnNet
from lnlib.optimizers import SGD, Adam
from lnlib.training.augment import Augmentation
from lnlib.training.settings import Member, Settings


def member_of(method: Any, task: Any, seed: Any = 0, start: Any = None) -> Member:
    """A run's member, whatever names the method."""
    if not isinstance(task, Task):
        raise InvalidValue(
            f"task must be a task, got {shown(task)}; make one: make_task(data.load('digits'), "
            "noise.uniform(0.4, 10))"
        )
    begins = start is None or isinstance(start, Mapping)
    if not begins or not all(isinstance(weights, Mapping) for weights in (start or {}).values()):
        raise InvalidValue(
            f"start must map a network's name to its weights by name, got {shown(start)}; take it from the "
            "weights of another run"
        )
    return Member(method_of(method), task, seed, start)


def method_of(asked: Any) -> Method:
    """The method that is meant: itself, its class or its name."""
    if isinstance(asked, Method):
        return asked
    if isinstance(asked, str):
        asked = _named("method", catalog.METHODS, asked)
    if isinstance(asked, type) and issubclass(asked, Method) and asked is not Method:
        made: Method = asked()
        return made
    raise InvalidValue(f"method must be a method, got {shown(asked)}; try CrossEntropy() or 'cross-entropy'")


def settings_of(options: Mapping[str, Any]) -> Settings:
    """The settings of what is said; raises `UnknownName` for one that there is not."""
    names = [part.name for part in fields(Settings)]
    for name, value in options.items():
        if name not in names:
            known = [*names, "seed", "start", "device", "on_step", "mode"]
            raise _option_of_a_part(name, value) or unknown_name("setting", name, known)
    given = dict(options)
    for name, meant in (("net", net_of), ("optimizer", optimizer_of), ("augment", augmentation_of)):
        if name in given:
            given[name] = meant(given[name])
    return Settings(**given)


def _option_of_a_part(name: str, value: object) -> UnknownName | None:
    """The error for an option that is the optimiser's, the network's or the method's, like lr or beta."""
    own = {"learning_rate": "lr"}.get(name, name)
    for part, entries, written in (
        ("the optimizer", catalog.OPTIMIZERS, "optimizer="),
        ("the net", catalog.NETS, "net="),
        ("a method", catalog.METHODS, ""),
    ):
        owners = [entry.kind for entry in entries.values() if own in _option_names(entry)]
        if owners:
            ways = " or ".join(f"{written}{kind}({own}={shown(value)})" for kind in owners[:3])
            return UnknownName(f"unknown setting {name!r}: it is an option of {part}; write {ways}")
    return None


def _option_names(entry: Entry) -> set[str]:
    return {part.name for part in fields(entry.load()) if part.init}


def net_of(asked: Any) -> NetSpec:
    """The network that is meant: a spec, its class or name, a module, or a function that makes one."""
    if isinstance(asked, str):
        asked = _named("network", catalog.NETS, asked)
    if isinstance(asked, type) and hasattr(asked, "build"):
        asked = asked()
    if isinstance(asked, NetSpec) and not isinstance(asked, nn.Module):
        return asked
    if callable(asked) and (not isinstance(asked, type) or issubclass(asked, nn.Module)):
        return OwnNet(asked)
    raise InvalidValue(f"net must be a network, got {shown(asked)}; try MLP(64), 'mlp' or a torch.nn.Module")


def optimizer_of(asked: Any) -> Adam | SGD:
    """The optimiser that is meant: itself, its class or its name."""
    if isinstance(asked, Adam | SGD):
        return asked
    if isinstance(asked, str):
        asked = _named("optimizer", catalog.OPTIMIZERS, asked)
    if isinstance(asked, type) and issubclass(asked, Adam | SGD):
        return asked()
    raise InvalidValue(f"optimizer must be lnlib's Adam or SGD, got {shown(asked)}; try Adam(1e-3) or 'adam'")


def augmentation_of(asked: Any) -> Augmentation | None:
    """The augmentation that is meant."""
    if isinstance(asked, type) and hasattr(asked, "evaluation"):
        asked = asked()
    if asked is None or hasattr(asked, "evaluation"):
        augmentation: Augmentation | None = asked
        return augmentation
    raise InvalidValue(f"augment must be an augmentation or None, got {shown(asked)}; try FlipCrop()")


def device_of(asked: Any) -> torch.device:
    """The device that is meant, by default the machine's best."""
    if asked is None:
        return default_device()
    try:
        device = torch.device(asked)
        torch.empty(0, device=device)
    except (RuntimeError, TypeError, ValueError, AssertionError, NotImplementedError) as error:
        raise InvalidValue(
            f"device must be one that PyTorch has here, got {shown(asked)}; try 'cpu', or leave it out"
        ) from error
    return device


def _named(kind: str, known: Mapping[str, Entry], name: str) -> Any:
    """The class of a name, as it is written on the command line or in Python: "co-teaching", "CoTeaching"."""
    for entry_name, entry in known.items():
        if _plain(name) in (_plain(entry_name), _plain(entry.kind), _plain(entry.label)):
            return entry.load()
    raise unknown_name(kind, name, known)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())
