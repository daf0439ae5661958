"""What one run and a stack of runs share: settings, device-resident data, random streams, evaluation and
records.
"""

import copy
import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lnlib.analysis.memorization import memorization_split
from lnlib.checks import Count, Seed, checked
from lnlib.data.task import Split, Task
from lnlib.device import keep_freed_memory
from lnlib.errors import InvalidValue, LnlibError, TrainingDiverged, unknown_name
from lnlib.methods.base import Batch, Draw, Examples, Method, Phase, TrainingData
from lnlib.nets import MLP, Dropout, Net, NetSpec
from lnlib.optimizers import Adam, Optimizer
from lnlib.seeding import stream_seed
from lnlib.training import checkpoint
from lnlib.training.augment import Augmentation
from lnlib.training.history import Epoch, History, NoiseFacts
from lnlib.training.images import Images, Resident, StreamedImages, in_batches

Precision = Literal["float32", "bfloat16", "float64"]
OnStep = Callable[[int, int], None]
EVALUATION_PIXELS = {"cpu": 2**18, "cuda": 2**22, "mps": 2**22}
"""What one forward pass of an evaluation takes at most, over all members: on a CPU 334 images of 28x28, whose
activations stay in the cache, and on a GPU enough to keep it busy."""
FEWEST_STREAMED = 16
"""Images that a loading process hands over together in an evaluation, at least."""
_BUILDING = Lock()


@checked
@dataclass(frozen=True)
class Settings:
    """How a run trains, whatever its method and task. Batches of 64 suit digits; the papers' experiments use
    256 and 100.

    `patience` stops a run that many epochs after its best noisy-validation accuracy. Batches of the meta set
    are augmented as those of training are, as in Meta-Weight-Net's code, unless `augment_meta` is False.
    `precision="bfloat16"` is autocast over float32 weights. `compile` lets `torch.compile` write code for the
    networks of a run that trains alone: a minute at the first step, and a gain on a GPU. Raises
    `InvalidValue` for values that cannot train.
    """

    net: NetSpec = MLP()
    optimizer: Optimizer = Adam()
    epochs: Count = 60
    batch_size: Count = 64
    evaluate_every: Count = 1
    patience: Annotated[Count | None, "use None to train all epochs"] = None
    drop_last: bool = False
    augment: Augmentation | None = None
    augment_meta: bool = True
    meta_batch_size: Count = 100
    precision: Precision = "float32"
    compile: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """The type of weights and images."""
        return torch.float64 if self.precision == "float64" else torch.float32


@checked
@dataclass(frozen=True)
class Member:
    """One run: a method with its hyper-parameters, a task, the seed of its own streams, and state dicts by
    network to begin from (what a network has beyond them keeps its fresh values).
    """

    method: Method
    task: Task
    seed: Seed = 0
    start: Mapping[str, Mapping[str, Tensor]] | None = None


class Streams:
    """A run's random numbers: the order of examples, its draws, its augmentation and its meta batches, each
    from its own stream.
    """

    NAMES = ("order", "draws", "augmentation", "meta")

    def __init__(self, seed: int, device: torch.device) -> None:
        self.generators = {
            name: torch.Generator(device).manual_seed(torch_seed(seed, name)) for name in self.NAMES
        }

    def __getitem__(self, name: str) -> torch.Generator:
        return self.generators[name]

    def state(self) -> dict[str, Tensor]:
        """Where each stream stands."""
        return {name: generator.get_state() for name, generator in self.generators.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `state` stood."""
        for name, generator in self.generators.items():
            generator.set_state(state[name].cpu())


def torch_seed(seed: int, name: str) -> int:
    """The seed of a PyTorch generator for the stream `name`."""
    return int(stream_seed(seed, name).generate_state(1, "uint64")[0] >> 1)


def sample(draw: Draw, generator: torch.Generator, device: torch.device, dtype: torch.dtype) -> Tensor:
    """One random tensor: standard normal, Laplace of unit variance, or uniform on [0, 1)."""
    if draw.kind == "normal":
        return torch.randn(draw.shape, generator=generator, device=device, dtype=dtype)
    uniform = torch.rand(draw.shape, generator=generator, device=device, dtype=dtype)
    if draw.kind == "uniform":
        return uniform
    centred = uniform - 0.5
    # The inverse of the Laplace distribution function with scale 1/√2, clamped where rounding would give log
    # 0.
    return -centred.sign() * torch.log1p(-2 * centred.abs().clamp(max=0.5 - 1e-7)) / 2**0.5


def build_networks(member: Member, settings: Settings, device: torch.device) -> dict[str, nn.Module]:
    """The method's networks, initialised from the run's own streams and begun from `member.start`."""
    image_shape = member.task.image_shape
    if settings.augment is not None:
        image_shape = settings.augment.shape(image_shape)

    def new_net(role: str) -> nn.Module:
        torch.manual_seed(torch_seed(member.seed, f"init/{role}"))
        return settings.net.build(image_shape, member.task.num_classes, role)

    # PyTorch initialises from its global generator: one builder at a time, and the generator is put back.
    with _BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(member.seed, "init"))
        networks = member.method.networks(new_net, member.task.visible)
    start = member.start or {}
    for name, source in member.method.warm_start.items():
        if name not in start:
            raise InvalidValue(
                f"{member.method.label} begins its {name} from the best weights of {source.method}, got no "
                f"start for it; train {source.method} on this task and pass start=method.begun_from(...)"
            )
        if not source.buffers:
            parameters = dict(networks[name].named_parameters())
            start = {**start, name: {key: start[name][key] for key in start[name] if key in parameters}}
    for name, state in start.items():
        _begin_from(networks, name, state)
    return {name: module.to(device, settings.dtype) for name, module in networks.items()}


def _begin_from(networks: Mapping[str, nn.Module], name: str, state: Mapping[str, Tensor]) -> None:
    """Copy what `state` holds, buffers included; what the network has beyond it keeps its fresh values."""
    if name not in networks:
        raise InvalidValue(
            f"start names the network {name!r}, expected one of {', '.join(networks)}; rename it"
        )
    own = networks[name].state_dict()
    unknown = [key for key in state if key not in own or own[key].shape != state[key].shape]
    if unknown:
        raise InvalidValue(
            f"start[{name!r}] has {unknown[0]!r}, which this network does not have in that shape; "
            "start from a run with the same net and data"
        )
    networks[name].load_state_dict({**own, **state})


class Engine(ABC):
    """One or more runs that advance together, epoch by epoch.

    Iterating yields what `advance` returns, an epoch at a time. Breaking out leaves runs that can be
    continued, or saved with `save` and continued elsewhere with `load`. `on_step(done, total)` is called
    after every batch of an epoch; what it raises stops the run.
    """

    mode: str
    phases: tuple[Phase, ...]
    optimizers: list[torch.optim.Optimizer]

    def __init__(
        self,
        members: Sequence[Member],
        settings: Settings,
        device: torch.device,
        resident: Resident | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        self.members, self.settings, self.device = list(members), settings, device
        if device.type == "cpu":
            keep_freed_memory()
        self.resident = resident or Resident(device, settings.dtype)
        self.on_step = on_step
        self.streams = [Streams(member.seed, device) for member in members]
        self.histories = [History(NoiseFacts.of(member.task)) for member in members]
        self.best_states: list[dict[str, dict[str, Tensor]] | None] = [None] * len(self.members)
        self.epoch = self.step = 0
        self._inside_epoch = False
        self._skipped = self._zeros()
        task = members[0].task
        self.num_train, self.num_classes = len(task.train), task.num_classes
        self.images = self.resident.images(task.dataset, "train")
        self.train_rows = self._column(lambda task: task.train.index)
        self.given = self._column(lambda task: task.train.labels)
        self.phases = members[0].method.phases
        meta = [member.task.meta for member in self.members if member.task.meta is not None]
        self.meta_rows = self._collect(split.index.to(device) for split in meta) if meta else None
        self.meta_labels = self._collect(split.labels.to(device) for split in meta) if meta else None

    # What differs between one run and a stack of them.

    @abstractmethod
    def _collect(self, tensors: Iterable[Tensor]) -> Tensor:
        """The members' tensors as one: the tensor itself for one run, stacked for many."""

    @abstractmethod
    def _draw_dropout(self, rows: int) -> None:
        """Give every dropout layer its random numbers for `rows` examples."""

    @abstractmethod
    def _set_gradients(
        self,
        phase: int,
        examples: Mapping[str, Tensor],
        noise: Mapping[str, Tensor],
        kept: dict[str, Tensor],
    ) -> Tensor:
        """Put the gradients of a phase's loss where its optimiser finds them, and into `kept` what it keeps
        for later phases; the loss, one a member.
        """

    @abstractmethod
    def _logits(self, rows: Tensor, images: Images) -> Tensor:
        """Eval-mode logits of every member on `images[rows]`: (members, n, K)."""

    @abstractmethod
    def member_nets(self, position: int) -> dict[str, Net]:
        """One member's networks by name; what is done to their tensors in place is done to the member."""

    @abstractmethod
    def member_state(self, position: int) -> dict[str, dict[str, Tensor]]:
        """A copy of one member's weights and buffers by network."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """Weights, buffers and optimiser state, for a checkpoint."""

    @abstractmethod
    def _restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `_state` gave."""

    # Training.

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or every member has run out of patience."""
        return self.epoch >= self.settings.epochs or all(
            self._out_of_patience(history) for history in self.histories
        )

    def __iter__(self) -> Iterator[Any]:
        while not self.finished:
            yield self.advance()

    @abstractmethod
    def advance(self) -> Any:
        """Train one more epoch and return its record."""

    def _advance(self) -> list[Epoch]:
        if self._inside_epoch:
            raise LnlibError(
                f"this run was stopped inside epoch {self.epoch + 1}; load its checkpoint or start it again"
            )
        self._inside_epoch = True
        began = time.perf_counter()
        losses = self._train_epoch(self.epoch + 1)
        trained = time.perf_counter()
        self.epoch += 1
        last = self.epoch == self.settings.epochs
        evaluate = last or self.epoch % self.settings.evaluate_every == 0
        measured = self._evaluate() if evaluate else [{} for _ in self.members]
        ended = time.perf_counter()
        records = []
        for position, (history, loss, numbers) in enumerate(
            zip(self.histories, losses, measured, strict=True)
        ):
            extra = self._report(position)
            seconds = trained - began, ended - trained
            record = Epoch(self.epoch, *seconds, loss, **numbers, extra=extra, facts=history.facts)
            if not self._out_of_patience(history):
                history.append(record)
                if record.evaluated and history.best is record:
                    self.best_states[position] = self.member_state(position)
            records.append(record)
        self._inside_epoch = False
        return records

    def _report(self, position: int) -> dict[str, float]:
        method, extra = self.members[position].method, dict[str, float]()
        if _overrides(method, "report"):
            extra |= method.report(self.member_nets(position))
        if any(phase.skip_zero for phase in self.phases):
            extra["skipped_steps"] = float(self._skipped.flatten()[position])
        return extra

    def evaluation_parts(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The rows (..., n) to evaluate, in parts that bound the memory of a forward pass."""
        return torch.split(rows, self._at_once(len(self.members)), dim=-1)

    def _at_once(self, members: int = 1) -> int:
        """How many images an evaluation takes in one forward pass of so many members."""
        pixels = prod(self.members[0].task.image_shape) * members
        least = FEWEST_STREAMED if isinstance(self.images, StreamedImages) else 1
        return max(least, EVALUATION_PIXELS[self.device.type] // pixels)

    def evaluation_batches(self, rows: Tensor, images: Images) -> Iterator[Tensor]:
        """The images (..., n, C, H, W) of rows (..., n), in the same parts, as networks are to see them."""
        return map(self._settled, in_batches(images, self.evaluation_parts(rows)))

    def _settled(self, x: Tensor) -> Tensor:
        return x if self.settings.augment is None else self.settings.augment.evaluation(x)

    def _out_of_patience(self, history: History) -> bool:
        if self.settings.patience is None or history.best is None:
            return False
        return history.evaluated[-1].epoch - history.best.epoch >= self.settings.patience

    def _train_epoch(self, epoch: int) -> list[float]:
        order = self._collect(
            torch.randperm(self.num_train, generator=streams["order"], device=self.device)
            for streams in self.streams
        )
        batches = torch.split(order, self.settings.batch_size, dim=-1)
        if self.settings.drop_last and batches[-1].shape[-1] < self.settings.batch_size:
            batches = batches[:-1]
        self._skipped = self._zeros()
        total, first_bad = self._zeros(), self._zeros() - 1
        images = in_batches(self.images, (self.train_rows.gather(-1, index) for index in batches))
        for done, (index, x) in enumerate(zip(batches, images, strict=True), start=1):
            loss = self._step(index, x)
            # Looked at once an epoch, so that the device never waits.
            first_bad.masked_fill_((first_bad < 0) & ~loss.isfinite(), self.step)
            total += loss * index.shape[-1]
            self.step += 1
            if self.on_step:
                self.on_step(done, len(batches))
        self._draw_dropout(0)
        self._check_finite(first_bad.reshape(-1).tolist(), epoch)
        self._each("end_epoch", lambda method, nets, task: method.end_epoch(nets, self._data(task), epoch))
        return [float(value) for value in total.reshape(-1) / sum(index.shape[-1] for index in batches)]

    def _check_finite(self, first_bad: Sequence[float], epoch: int) -> None:
        for member, step in zip(self.members, first_bad, strict=True):
            if step >= 0:
                raise TrainingDiverged(
                    f"the loss of {member.method.label} (seed {member.seed}) is not a finite number at step "
                    f"{int(step)}, in epoch {epoch}; lower the learning rate and train again"
                )

    def timed_steps(self, count: int) -> float:
        """The shortest of `count` training steps after a first one, in seconds; the run stays as it was."""
        kept = copy.deepcopy(self._state()), [streams.state() for streams in self.streams]
        rows = torch.arange(min(self.settings.batch_size, self.num_train), device=self.device)
        index = self._collect(rows for _ in self.members)
        seconds = []
        for _ in range(1 + count):
            began = time.perf_counter()
            self._step_on(index)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds.append(time.perf_counter() - began)
        self._restore(kept[0])
        for streams, state in zip(self.streams, kept[1], strict=True):
            streams.restore(state)
        return min(seconds[1:])

    def _step_on(self, index: Tensor) -> Tensor:
        return self._step(index, self.images[self.train_rows.gather(-1, index)])

    def _step(self, index: Tensor, x: Tensor) -> Tensor:
        given = self.given.gather(-1, index)
        return self.train_step({"x": self._augmented(x), "y": given, "index": index, **self._meta_examples()})

    def train_step(self, examples: Mapping[str, Tensor]) -> Tensor:
        """Every phase of the method on one batch of x, y, index (and meta_x, meta_y); the loss, one number a
        member.
        """
        size = examples["index"].shape[-1]
        due, draws = self._due, self.members[0].method.draws(size, self.num_classes)
        noise = self._draw({name: draws[name] for name in draws if _any_uses(due, name)})
        largest = max(size, examples["meta_y"].shape[-1]) if "meta_y" in examples else size
        self._draw_dropout(largest)
        total, kept = self._zeros(), dict[str, Tensor]()
        for position, (phase, optimizer) in enumerate(zip(self.phases, self.optimizers, strict=True)):
            if phase in due:
                for group in optimizer.param_groups:
                    group["lr"] = (phase.optimizer or self.settings.optimizer).lr_at(self.epoch + 1)
                with torch.autocast(self.device.type, torch.bfloat16, self.settings.precision == "bfloat16"):
                    loss = self._set_gradients(position, examples, noise, kept)
                if phase.skip_zero and not loss.all():
                    _step_except(loss == 0, optimizer)
                    self._skipped += loss == 0
                else:
                    optimizer.step()
                total += loss
        self._each("after_step", lambda method, nets, task: method.after_step(nets, self.step))
        return total

    @property
    def _due(self) -> list[Phase]:
        """The phases of the present step."""
        return [phase for phase in self.phases if self.step % phase.every == 0]

    def _batch(
        self, examples: Mapping[str, Tensor], noise: Mapping[str, Tensor], kept: dict[str, Tensor]
    ) -> Batch:
        meta = Examples(examples["meta_x"], examples["meta_y"]) if "meta_x" in examples else None
        return Batch(
            x=examples["x"],
            y=examples["y"],
            index=examples["index"],
            epoch=self.epoch + 1,
            epochs=self.settings.epochs,
            step=self.step,
            lr=self.settings.optimizer.lr_at(self.epoch + 1),
            num_classes=self.num_classes,
            meta=meta,
            noise=noise,
            kept=kept,
        )

    def _each(self, hook: str, call: Callable[[Method, dict[str, Net], Task], None]) -> None:
        """Give every member's method, networks and task to `call`, where the method has that hook."""
        if not _overrides(self.members[0].method, hook):
            return
        with torch.no_grad():
            for position, member in enumerate(self.members):
                call(member.method, self.member_nets(position), member.task)

    @torch.no_grad()
    def sample_weights(self, position: int = 0) -> Tensor | None:
        """What each training example (N,) counts for a member at present, with mean one, on the CPU; None for
        a method that weighs all alike.
        """
        member = self.members[position]
        weights = member.method.sample_weights(self.member_nets(position), self._data(member.task))
        return None if weights is None else weights.cpu()

    @torch.no_grad()
    def member_outputs(self, position: int, split: Split, network: str) -> Tensor:
        """Eval-mode logits (n, K) of one member's network, on the CPU, for the images of one of its task's
        splits; raises `UnknownName` for a network that the method does not train.
        """
        trained = {name for phase in self.phases for name in phase.networks}
        member = self.members[position]
        if network not in trained:
            raise unknown_name(f"network of {member.method.label}", network, trained)
        net = self.member_nets(position)[network]
        net.module.eval()
        images = self.resident.images(member.task.dataset, "test" if split is member.task.test else "train")
        with torch.autocast(self.device.type, torch.bfloat16, self.settings.precision == "bfloat16"):
            parts = [net(x)[0] for x in self.evaluation_batches(split.index.to(self.device), images)]
        return torch.cat(parts).to(self.settings.dtype).cpu()

    def _data(self, task: Task) -> TrainingData:
        train_rows = task.train.index.to(self.device)

        def images(rows: Tensor) -> Tensor:
            return self._settled(self.images[train_rows[rows]])

        def examples(split: Split) -> Examples:
            images = self._settled(self.images[split.index.to(self.device)])
            return Examples(images, split.labels.to(self.device))

        return TrainingData(
            images,
            task.train.labels.to(self.device),
            self.num_classes,
            self.settings.epochs,
            partial(examples, task.meta) if task.meta is not None else None,
            chunk=self._at_once(),
        )

    def _zeros(self) -> Tensor:
        return self._collect(torch.zeros((), device=self.device, dtype=torch.float64) for _ in self.members)

    def _check_batches(self, networks: Iterable[nn.Module]) -> None:
        """Raise `InvalidValue` where no batch is full, or where a batch would hold one example, which
        BatchNorm cannot normalise.
        """
        size, num_train = self.settings.batch_size, self.num_train
        if self.settings.drop_last and num_train < size:
            raise InvalidValue(
                f"batch_size must be at most the {num_train} training examples with drop_last, got {size}; "
                "make it smaller"
            )
        if not any(isinstance(layer, _BatchNorm) for module in networks for layer in module.modules()):
            return
        if size == 1 or (num_train % size == 1 and not self.settings.drop_last):
            raise InvalidValue(
                f"the last batch must hold at least 2 examples under BatchNorm, got 1 ({num_train} examples "
                f"in batches of {size}); choose another batch_size, drop_last or a net without BatchNorm"
            )
        if self.meta_rows is None or not any(phase.meta for phase in self.phases):
            return
        if min(self.settings.meta_batch_size, self.meta_rows.shape[-1]) == 1:
            raise InvalidValue(
                "a meta batch must hold at least 2 examples under BatchNorm, got 1; choose a larger "
                "meta_batch_size and meta set, or a net without BatchNorm"
            )

    def _build_optimizers(self, parameters: Mapping[str, Mapping[str, Tensor]], stacked: bool) -> None:
        """One optimiser a phase, over the parameters of the networks that it trains."""
        self.optimizers = []
        for phase in self.phases:
            tensors = [tensor for name in phase.networks for tensor in parameters[name].values()]
            spec = phase.optimizer or self.settings.optimizer
            self.optimizers.append(spec.build(*decay_groups(tensors, stacked)))

    def _augmented(self, x: Tensor, stream: str = "augmentation") -> Tensor:
        if self.settings.augment is None:
            return x
        parts = x.unbind() if x.ndim == 5 else [x]
        augment = self.settings.augment
        pairs = zip(parts, self.streams, strict=True)
        return self._collect(augment(part, streams[stream]) for part, streams in pairs)

    def _meta_examples(self) -> dict[str, Tensor]:
        if self.meta_rows is None or self.meta_labels is None:
            return {}
        if not any(phase.meta for phase in self._due):
            return {}
        size, batch = self.meta_rows.shape[-1], self.settings.meta_batch_size
        chosen = self._collect(
            torch.randperm(size, generator=streams["meta"], device=self.device)[:batch]
            for streams in self.streams
        )
        meta_x = self.images[self.meta_rows.gather(-1, chosen)]
        meta_x = self._augmented(meta_x, "meta") if self.settings.augment_meta else self._settled(meta_x)
        return {"meta_x": meta_x, "meta_y": self.meta_labels.gather(-1, chosen)}

    def _draw(self, draws: Mapping[str, Draw]) -> dict[str, Tensor]:
        """The random tensors by name, every member's from its own stream."""
        return {
            name: self._collect(
                sample(draw, streams["draws"], self.device, self.settings.dtype) for streams in self.streams
            )
            for name, draw in draws.items()
        }

    def _column(self, of: Callable[[Task], Tensor]) -> Tensor:
        return self._collect(of(member.task).to(self.device) for member in self.members)

    # Evaluation. The true labels are used here, for the record only.

    @torch.no_grad()
    def _evaluate(self) -> list[dict[str, float]]:
        task, columns = self.members[0].task, {}
        test_images = self.resident.images(task.dataset, "test")
        # Images that are streamed are too many to be read once more for the record.
        if not isinstance(self.images, StreamedImages):
            logits = self._logits(self.train_rows, self.images)
            given = self.given.expand(logits.shape[:-1])
            columns["train_accuracy"] = _accuracy(logits, given)
            columns["train_loss"] = _mean_loss(logits, given)
            if task.truth.known:
                true = self._column(lambda task: task.truth.train_labels).expand(logits.shape[:-1])
                split = memorization_split(logits.argmax(-1), given, true)
                columns["clean_accuracy"] = split.clean
                columns["corrupted_fit"] = split.corrupted_fit
                columns["corrupted_recovered"] = split.corrupted_recovered
        logits = self._logits(self._column(lambda task: task.validation.index), self.images)
        given = self._column(lambda task: task.validation.labels).expand(logits.shape[:-1])
        true = self._column(lambda task: task.truth.validation_labels).expand(logits.shape[:-1])
        columns["validation_accuracy"] = _accuracy(logits, given)
        columns["validation_loss"] = _mean_loss(logits, given)
        known = (true >= 0).all(-1)
        columns["validation_clean_accuracy"] = torch.where(known, _accuracy(logits, true), torch.nan)
        logits = self._logits(self._column(lambda task: task.test.index), test_images)
        true = self._column(lambda task: task.test.labels).expand(logits.shape[:-1])
        columns["test_accuracy"] = _accuracy(logits, true)
        columns["test_loss"] = _mean_loss(logits, true)
        table = torch.stack(list(columns.values())).T.tolist()
        return [dict(zip(columns, row, strict=True)) for row in table]

    # Checkpoints.

    @property
    def fingerprint(self) -> str:
        """A short hash of what a checkpoint must share with a run: members, settings, labels and mode."""
        parts = [
            (
                member.method,
                member.task.dataset.name,
                member.task.image_shape,
                member.task.label_hash,
                member.seed,
            )
            for member in self.members
        ]
        starts = [tensor_hash(member.start) for member in self.members if member.start]
        text = repr((parts, starts, self.settings, self.mode, self.device.type))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def save(self, path: Path | str) -> None:
        """Write a checkpoint from which `load` continues as if the run had never stopped; raises as
        `whole_file`.
        """
        checkpoint.write({"fingerprint": self.fingerprint, **self.checkpoint_state()}, Path(path))

    def load(self, path: Path | str) -> None:
        """Continue from a checkpoint; raises `CheckpointError` where it is missing, damaged or of another
        spec.
        """
        self.restore_checkpoint(checkpoint.read(Path(path), self.fingerprint, self.device))

    def checkpoint_state(self) -> dict[str, Any]:
        """All that `restore_checkpoint` needs, as tensors and plain values."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "streams": [streams.state() for streams in self.streams],
            "histories": [[epoch.numbers() for epoch in history] for history in self.histories],
            "best": self.best_states,
            "engine": self._state(),
        }

    def restore_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Continue from what `checkpoint_state` gave."""
        self.epoch, self.step = state["epoch"], state["step"]
        for streams, saved in zip(self.streams, state["streams"], strict=True):
            streams.restore(saved)
        self.histories = [
            History.from_numbers(history.facts, rows)
            for history, rows in zip(self.histories, state["histories"], strict=True)
        ]
        self.best_states = state["best"]
        self._restore(state["engine"])
        self._inside_epoch = False


def _overrides(method: Method, hook: str) -> bool:
    return getattr(type(method), hook) is not getattr(Method, hook)


def _any_uses(phases: Iterable[Phase], draw: str) -> bool:
    return any(phase.draws is None or draw in phase.draws for phase in phases)


def _step_except(skipped: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One step of the members that are not `skipped` () or (M,); the others keep weights and momenta.

    Adam's count of steps, which the members of a stack share, goes on.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    kept = {
        parameter: (parameter.detach().clone(), _momenta(optimizer, parameter)) for parameter in parameters
    }
    optimizer.step()
    with torch.no_grad():
        for parameter, (weights, momenta) in kept.items():
            stays = skipped.reshape(skipped.shape + (1,) * (parameter.ndim - skipped.ndim))
            parameter.copy_(torch.where(stays, weights, parameter))
            for name, value in _momenta(optimizer, parameter).items():
                before = momenta.get(name, torch.zeros_like(value))
                optimizer.state[parameter][name].copy_(torch.where(stays, before, value))


def _momenta(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """Copies of what the optimiser keeps for each weight."""
    state = optimizer.state.get(parameter, {})
    return {
        name: value.clone()
        for name, value in state.items()
        if isinstance(value, Tensor) and value.shape == parameter.shape
    }


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(-1) == labels).double().mean(-1)


def _mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    losses = logits.logsumexp(-1) - logits.gather(-1, labels[..., None])[..., 0]
    return losses.double().mean(-1)


def dropout_widths(modules: Mapping[str, nn.Module]) -> dict[str, dict[str, int]]:
    """By network and by name of a buffer: how many uniform numbers a dropout layer needs for an example."""
    return {
        network: {
            f"{name}.uniform": layer.features
            for name, layer in module.named_modules()
            if isinstance(layer, Dropout) and layer.rate
        }
        for network, module in modules.items()
    }


def dropout_draws(widths: Mapping[str, int], batch_size: int) -> dict[str, Draw]:
    """What a network's dropout layers need for one batch."""
    return {name: Draw("uniform", (batch_size, width)) for name, width in widths.items()}


def decay_groups(tensors: Iterable[Tensor], stacked: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Weights with and without weight decay: matrices and kernels, and the rest (biases, BatchNorm)."""
    matrix = 3 if stacked else 2
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    for tensor in tensors:
        (decayed if tensor.ndim >= matrix else plain).append(tensor)
    return decayed, plain


def tensor_hash(state: Mapping[str, Mapping[str, Tensor]]) -> str:
    """A short hash of state dicts by network."""
    digest = hashlib.sha256()
    for name in sorted(state):
        for key, value in sorted(state[name].items()):
            digest.update(f"{name}.{key}".encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
