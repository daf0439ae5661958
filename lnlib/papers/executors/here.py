"""One run after the other, in this process."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import torch

from lnlib.errors import TrainingDiverged
from lnlib.papers.executors import Event, Work
from lnlib.papers.spec import Spec


@dataclass(frozen=True)
class Here:
    """Trains in this process, with so many threads; PyTorch's number unless given."""

    threads: int | None = None

    @contextmanager
    def session(self, work: Work) -> Iterator["_Here"]:
        with with_threads(self.threads):
            yield _Here(work)


@contextmanager
def with_threads(number: int | None) -> Iterator[None]:
    """Lets PyTorch compute with so many threads of the CPU; as it does where none are given."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Here:
    places = 1

    def __init__(self, work: Work) -> None:
        self.work, self.started = work, list[Spec]()

    def start(self, spec: Spec) -> None:
        self.started.append(spec)

    def events(self) -> Iterator[Event]:
        spec = self.started.pop(0)
        yield from trained(spec, self.work)


def trained(spec: Spec, work: Work) -> Iterator[Event]:
    """Trains a run in this process, and gives its events."""
    options = {"on_wait": work.on_wait, "keep": work.keep}
    with closing(work.store.training(spec, work.device, **options)) as training:  # type: ignore[arg-type]
        try:
            for epoch in training:
                yield Event("trains", spec, epoch=epoch.epoch)
        except TrainingDiverged as error:
            yield Event("ended", spec, message=str(error))
        else:
            yield Event("ended", spec)
