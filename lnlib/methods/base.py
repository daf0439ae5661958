"""What a method is: how one minibatch changes the weights. One file a method, one frozen dataclass.

A method is made of pure functions of `(nets, batch)`. The training engine calls them directly for one run,
and through `torch.func.vmap` for many runs at once; hyper-parameters given as floats then arrive as tensors,
one number a run.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lnlib import catalog
from lnlib.data.task import Visible
from lnlib.errors import InvalidValue
from lnlib.nets import Net
from lnlib.optimizers import Optimizer

Nets = Mapping[str, Net]
AnyMethod = TypeVar("AnyMethod", bound="Method")
NewNet = Callable[..., nn.Module]
"""makes a network of the run's kind for a role, and so many times narrower where a second number says so"""


class Draw(NamedTuple):
    """A random tensor for every batch: standard normal, Laplace of unit variance, or uniform on [0, 1)."""

    kind: Literal["normal", "laplace", "uniform"]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Examples:
    """Images (B, C, H, W) and labels (B,)."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Batch:
    """One minibatch: normalised images `x` (B, C, H, W), given labels `y` (B,), their rows `index` (B,) in
    the training set, the epoch (from 1) and step (from 0) of the run, the learning rate, a clean `meta`
    batch where the task has one, and the run's random numbers `noise` by the names that `Method.draws`
    gives them. What one phase puts into `carried`, later phases of the same step find there, with its graph.
    In a loop of your own, give what the method uses: `Batch(x, y, num_classes=10)` for LIMIT.
    """

    x: Tensor
    y: Tensor
    index: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    epoch: int = 1
    epochs: int = 1
    step: int = 0
    lr: float = 0.0
    num_classes: int = 0
    meta: Examples | None = None
    noise: Mapping[str, Tensor] = field(default_factory=dict)
    carried: dict[str, Tensor] = field(default_factory=dict)
    noted: dict[str, Tensor] = field(default_factory=dict)
    counted: dict[str, Tensor] = field(default_factory=dict)

    def note(self, name: str, value: Tensor) -> None:
        """A number of the loss for the epoch's record, which has its mean over the steps that note it."""
        self.noted[name] = value.detach()

    def count(self, name: str, value: Tensor) -> None:
        """A number of the loss for the epoch's record, which has its sum."""
        self.counted[name] = value.detach()

    @cached_property
    def one_hot(self) -> Float[Tensor, "batch classes"]:
        """The given labels as rows of zeros and a one, in the images' float type."""
        return one_hot(self.y, self.num_classes).to(self.x.dtype)


@dataclass(frozen=True)
class TrainingData:
    """What a method may use between batches: all training images (N, C, H, W), normalised and on the device,
    their given labels (N,), the clean meta set where there is one, and for how many epochs the run trains.
    `outputs` takes `chunk` images at a time.
    """

    images: Callable[[Tensor], Tensor]
    """rows of the training set (B,) → images (B, C, H, W)"""
    labels: Tensor
    num_classes: int
    epochs: int
    meta: Callable[[], Examples] | None = None
    """reads the meta set"""
    chunk: int = 2048

    def outputs(self, net: Net) -> tuple[Tensor, Tensor]:
        """Eval-mode logits (N, K) and features (N, F) of all training images, in order, without gradients."""
        training = net.module.training
        net.module.eval()
        rows = torch.arange(len(self.labels), device=self.labels.device)
        with torch.no_grad():
            parts = [net(self.images(part)) for part in torch.split(rows, self.chunk)]
        net.module.train(training)
        logits, features = (torch.cat(column) for column in zip(*parts, strict=True))
        return logits, features


State = Mapping[str, Tensor]


class WarmStart(NamedTuple):
    """Where a network's first weights come from: the best weights of a network of another method's run,
    with their running statistics (`buffers`) or without.
    """

    method: str
    network: str
    buffers: bool = True


FROM_BEST_CE: Mapping[str, WarmStart] = {"classifier": WarmStart("cross-entropy", "classifier")}


class Phase(NamedTuple):
    """A loss, the networks that its gradient trains, their optimiser (the run's own unless given) and how
    often: every so many steps. With `skip_zero` a batch whose loss is exactly zero (all of its weights are)
    moves nothing, not even by momentum or weight decay, and is counted. With `meta` the loss looks at the
    meta batch, and `draws` names the random numbers that it uses, unless it uses all: both are drawn for
    steps that need them only. Weight decay never moves the networks `undecayed`.
    """

    loss: Callable[[Nets, Batch], Tensor]
    networks: tuple[str, ...]
    optimizer: Optimizer | None = None
    every: int = 1
    skip_zero: bool = False
    meta: bool = False
    draws: tuple[str, ...] | None = None
    undecayed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """A subclass needs `loss`, and overrides what else it uses. Its name and label stand in
    `lnlib.catalog`; one that is not there states its own.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    stackable: ClassVar[bool] = True
    """Whether `torch.func.vmap` can train many runs at once; a recurrent network, say, cannot be stacked."""
    trained: ClassVar[tuple[str, ...]] = ("classifier",)
    """The networks, all of the run's own kind unless `networks` makes others."""
    steps_virtually: ClassVar[bool] = False
    """Whether the loss differentiates the network itself, as a virtual step does."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if known := catalog.entry_of(catalog.METHODS, cls):
            cls.name, cls.label = known[0], known[1].label

    @property
    def warm_start(self) -> Mapping[str, WarmStart]:
        """The networks that begin from another run on the same task, and from which; it must come first."""
        return {}

    def begun_from(self, best: Mapping[str, Mapping[str, State]]) -> dict[str, State]:
        """`fit(start=)` from other runs' best weights, by method; raises `InvalidValue` if one is missing."""
        for source in self.warm_start.values():
            if source.method not in best:
                raise InvalidValue(
                    f"{self.label} begins from the best weights of {source.method}, got {sorted(best)}; "
                    f"train {source.method} on the same task first"
                )
        return {name: best[source.method][source.network] for name, source in self.warm_start.items()}

    def networks(self, new_net: NewNet, task: Visible) -> dict[str, nn.Module]:
        """The modules by name, "classifier" first; anything with memory is a module with buffers."""
        return {name: new_net(name) for name in self.trained}

    @property
    def phases(self) -> tuple[Phase, ...]:
        """What happens to one batch, in order; by default `loss` trains all of `trained` by one optimiser."""
        return (Phase(self.loss, self.trained),)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        """The scalar whose gradient moves the weights; cross-entropies are in nats."""
        raise NotImplementedError

    def draws(self, batch_size: int, num_classes: int) -> Mapping[str, Draw]:
        """The random tensors that one batch needs, by name; they arrive as `batch.noise`."""
        return {}

    def start(self, nets: Nets, data: TrainingData) -> None:
        """Estimates made once before training, from the given labels; without gradients."""

    def after_step(self, nets: Nets, step: int) -> None:
        """In-place updates after a step (a moving average, say); without gradients, one run at a time."""

    def end_epoch(self, nets: Nets, data: TrainingData, epoch: int) -> None:
        """What happens after an epoch (a rollback, say); without gradients, one run at a time."""

    def report(self, nets: Nets) -> Mapping[str, Tensor | float]:
        """Numbers of its own at an epoch's end, for its record; what a loss knows of a step, it notes."""
        return {}

    def sample_weights(self, nets: Nets, data: TrainingData) -> Float[Tensor, " train"] | None:
        """What each training example counts, mean one (N,), without gradients; None where all count alike."""
        return None

    def first_own_epoch(self, epochs: int, history: Mapping[str, Iterable[float]]) -> float:
        """The first epoch (from 1) after which a run of so many epochs is not plain cross-entropy's, by what
        its history says; infinite where that epoch never came. By default the first.
        """
        return 1

    def predict(self, nets: Nets, x: Tensor) -> Float[Tensor, "batch classes"]:
        """Logits (B, K) of images (B, C, H, W), by default the classifier's."""
        logits: Tensor = nets["classifier"](x)[0]
        return logits

    @property
    def tunable(self) -> dict[str, float]:
        """The hyper-parameters that may differ between the members of a stack: those declared as float."""
        kinds = {part.name: getattr(part.type, "__origin__", part.type) for part in fields(self)}
        return {name: float(getattr(self, name)) for name, kind in kinds.items() if kind is float}

    def with_values(self: AnyMethod, values: Mapping[str, Any]) -> AnyMethod:
        """The same method with tensors in place of some floats; unchecked, for the engine."""
        other = copy.copy(self)
        for name, value in values.items():
            object.__setattr__(other, name, value)
        return other


def one_hot(labels: Int[Tensor, " batch"], num_classes: int) -> Float[Tensor, "batch classes"]:
    """Labels (B,) as rows (B, K) of zeros and a one; unlike `F.one_hot` it works inside `vmap(grad(...))`."""
    return torch.eye(num_classes, device=labels.device)[labels]


def cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """−log softmax(logits)[label] in nats, one number an example: (B, K) and (B,) to (B,)."""
    return -torch.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]


def mean_one(raw: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Weights (N,) divided by their mean; all zero where it is."""
    mean = raw.mean()
    return raw / (mean + (mean == 0))
