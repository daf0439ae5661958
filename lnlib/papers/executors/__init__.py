"""Where the runs of a table train: in this process, in several of this machine, or on a Ray cluster.

An executor opens a session. The runner starts runs in it, not more at a time than it has places, and hears
what becomes of them.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch

from lnlib.papers.spec import Spec
from lnlib.papers.store import Keep, Store


@dataclass(frozen=True)
class Work:
    """What all runs of a session share; `keep` goes to other processes, so it must be a module's function."""

    store: Store
    device: torch.device | None = None
    keep: Keep | None = None
    on_wait: Callable[[Spec], None] | None = None
    """told of a run that another process has locked, and that is waited for"""


class Event(NamedTuple):
    """What becomes of a run. It "trains" for so many epochs now, somewhere; it has "ended", with a `message`
    where it diverged; or its process "died", or could not begin, and it can be started again.
    """

    kind: Literal["trains", "ended", "died"]
    spec: Spec
    where: str = ""
    epoch: int = 0
    message: str = ""


class Session(Protocol):
    """Where runs are started, and heard of; leaving it ends them all."""

    @property
    def places(self) -> int:
        """How many runs can train at the same time, as of now."""

    def start(self, spec: Spec) -> None:
        """Begin or continue a run, whose sources are finished and in the store."""

    def events(self) -> Iterator[Event]:
        """Waits for some news of what was started, for a second or so where there is none. What ended
        otherwise than by diverging is raised.
        """


class Executor(Protocol):
    """A way to train runs."""

    def session(self, work: Work) -> AbstractContextManager[Session]:
        """A place to train runs in."""
