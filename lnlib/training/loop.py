"""The training loop, in the order in which things happen: epochs, batches, phases, records.

It trains one run, or many in lockstep: tensors have a leading axis for the runs (M, ...), and what that means
is known to `state.networks` (`Alone` or `Stacked`). Nothing inside an epoch reads a tensor on the host, so
that a device never waits.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from lnlib.data.task import Task
from lnlib.device import mixed_precision
from lnlib.errors import TrainingDiverged
from lnlib.methods.base import Method, Nets
from lnlib.optimizers import step_except
from lnlib.training.evaluate import evaluate
from lnlib.training.history import Epoch
from lnlib.training.meters import Meters
from lnlib.training.state import State


def epochs(state: State) -> Iterator[list[Epoch]]:
    """Train from where `state` stands; the runs' records, an epoch at a time."""
    while not state.finished:
        state.check_together()
        state.reached = [-1] * len(state.members)
        began = time.perf_counter()
        losses = train_epoch(state, state.epoch + 1)
        trained = time.perf_counter()
        state.epoch += 1
        last = state.epoch == state.settings.epochs
        due = last or state.epoch % state.settings.evaluate_every == 0
        measured = evaluate(state.networks, state.data, state.settings) if due else [{} for _ in losses]
        seconds = trained - began, time.perf_counter() - trained
        own_numbers = reports(state)
        records = [
            record(state, position, seconds, *numbers)
            for position, numbers in enumerate(zip(losses, measured, own_numbers, strict=True))
        ]
        state.reached = [state.epoch] * len(state.members)
        yield records


def train_epoch(state: State, epoch: int) -> list[float]:
    """Every batch once, in each run's own order; the runs' mean losses."""
    state.networks.train()
    set_learning_rates(state, epoch)
    state.meters, total, first_bad = Meters(state.settings.dtype), state.zeros(), state.zeros() - 1
    batches = state.data.of_epoch(state.streams)
    for done, (index, x) in enumerate(zip(batches, state.data.images(batches), strict=True), start=1):
        loss = train_step(state, epoch, index, x)
        total += loss * index.shape[-1]
        # Looked at once an epoch, in `stop_where_diverged`.
        first_bad.masked_fill_((first_bad < 0) & ~loss.isfinite(), state.step)
        state.step += 1
        if state.on_step:
            state.on_step(done, len(batches))
    state.draw_dropout(0)  # what is evaluated now has no use for the last batch's numbers
    stop_where_diverged(state, first_bad, epoch)  # before `end_epoch` builds on it
    for_each_run(
        state, "end_epoch", lambda method, nets, task: method.end_epoch(nets, state.data.whole(task), epoch)
    )
    mean: list[float] = (total / sum(index.shape[-1] for index in batches)).tolist()
    return mean


def train_step(state: State, epoch: int, index: Tensor, x: Tensor) -> Tensor:
    """Every phase of the method on one batch: loss, gradients, the optimiser's step; the losses (M,)."""
    networks = state.networks
    due = [place for place, phase in enumerate(networks.phases) if state.step % phase.every == 0]
    phases = [networks.phases[place] for place in due]
    batch = state.data.batch(index, x, phases, state.streams, epoch, state.step, state.lr)
    if networks.dropout:  # drawn after the method's own numbers, from the same stream
        state.draw_dropout(max(examples.y.shape[-1] for examples in (batch, batch.meta) if examples))
    losses = []
    for place, phase in zip(due, phases, strict=True):
        with mixed_precision(state.device, state.settings.precision):
            loss = networks.backward(place, batch)
        if phase.skip_zero:
            step_except(loss == 0, networks.optimizers[place])
            batch.count("skipped_steps", loss == 0)
        else:
            networks.optimizers[place].step()
        losses.append(loss.double())
    state.meters.add(batch.noted, batch.counted)
    for_each_run(state, "after_step", lambda method, nets, _: method.after_step(nets, state.step))
    return torch.stack(losses).sum(dim=0)


def for_each_run(state: State, hook: str, call: Callable[[Method, Nets, Task], Any]) -> list[Any]:
    """Give every run's method, networks and task to `call`, where the method has that hook."""
    if getattr(type(state.networks.method), hook) is getattr(Method, hook):
        return []
    with torch.no_grad():
        return [
            call(member.method, state.networks.nets(position), member.task)
            for position, member in enumerate(state.members)
        ]


def set_learning_rates(state: State, epoch: int) -> None:
    """What each phase's schedule says of an epoch; the run's own is what losses may ask for."""
    state.lr = state.settings.optimizer.lr_at(epoch)
    for phase, optimizer in zip(state.networks.phases, state.networks.optimizers, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = (phase.optimizer or state.settings.optimizer).lr_at(epoch)


def stop_where_diverged(state: State, first_bad: Tensor, epoch: int) -> None:
    """Raise `TrainingDiverged` for a loss that was not a finite number."""
    for position, (member, step) in enumerate(zip(state.members, first_bad.tolist(), strict=True)):
        if step >= 0 and position not in state.stopped:  # one out of patience is put back where it stopped
            raise TrainingDiverged(
                f"the loss of {member.method.label} (seed {member.seed}) is not a finite number at step "
                f"{int(step)}, in epoch {epoch}; lower the learning rate and train again"
            )


def reports(state: State) -> list[dict[str, float]]:
    """What each run's method says of itself: at the epoch's end, and of its steps."""
    found = for_each_run(state, "report", lambda method, nets, _: method.report(nets))
    if found:
        columns = {name: [torch.as_tensor(own[name]) for own in found] for name in found[0]}
        state.meters.add({}, {name: torch.stack(values) for name, values in columns.items()})
    return state.meters.read(len(state.members))


def record(
    state: State,
    position: int,
    seconds: tuple[float, float],
    loss: float,
    measured: dict[str, float],
    extra: dict[str, float],
) -> Epoch:
    """Write down one run's epoch, and keep its weights where it is the best so far or the last."""
    history = state.histories[position]
    epoch = Epoch(state.epoch, *seconds, loss, **measured, extra=extra, facts=history.facts)
    if position in state.stopped:
        # A run out of patience trains on with its stack, unrecorded, and stays where it stopped.
        state.networks.set_weights(position, state.stopped[position])
        return history[-1]
    history.append(epoch)
    if epoch.evaluated and history.best is epoch:
        state.best[position] = state.networks.weights(position)
    if state.out_of_patience(position):
        state.stopped[position] = state.networks.weights(position)
    return epoch
