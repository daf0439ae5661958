"""Meta weighting: a second network weighs the examples of a batch, and learns from what a small clean meta
set says of the step that its weights make.

MetaInfoNet, section 4.1, Algorithm 1. LossNet, LogitNet and MetaInfoNet say only how an example is weighed.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lnlib.checks import Count, Rate, checked
from lnlib.data.task import Visible
from lnlib.device import full_precision
from lnlib.errors import InvalidValue
from lnlib.methods.base import (
    Batch,
    Examples,
    Method,
    Nets,
    NewNet,
    Phase,
    TrainingData,
    cross_entropy,
    mean_one,
)
from lnlib.methods.hypergradient import Parameters, VirtualStep
from lnlib.nets import Memory
from lnlib.nets.weighting import HIDDEN, Gaussians
from lnlib.optimizers import Adam, Optimizer

Normalization = Literal["sum", "paper", "mean"]


@checked
@dataclass(frozen=True)
class MetaWeighting(Method):
    """Every `interval` steps the weighting network takes a step on the meta loss after a virtual step of the
    classifier (lines 5-11); then the classifier takes a real one under the new weights (lines 12-14).

    `normalization` "sum" makes the weights of a batch sum to one; "paper" divides by the batch size once
    more, as lines 6 and 7 say, which makes the learning rate a hundred times smaller; "mean" takes the raw
    weights' mean with the losses, as one of Meta-Weight-Net's scripts does. The virtual step is a plain one
    at the run's learning rate; with `virtual_step="momentum"` a share `momentum` of the last real step comes
    on top. The weighting network sees logits without gradients; its `hidden` units and its optimiser's type
    are open in the paper, and its weight decay moves biases, too, as in Meta-Weight-Net's codes. Virtual and
    meta passes normalise by the batch and keep no running statistics. A batch whose weights are all zero is
    skipped and counted. Raises `InvalidValue` for a task without a meta set.
    """

    steps_virtually: ClassVar[bool] = True
    interval: Annotated[Count, "1 updates at every step"] = 1
    normalization: Normalization = "sum"
    virtual_step: Literal["plain", "momentum"] = "plain"
    momentum: Rate = 0.9
    meta_optimizer: Optimizer = Adam(1e-3, weight_decay=5e-4, decay="all")
    hidden: Count = HIDDEN

    # What the three networks fill in.

    def new_weighting(self, num_classes: int) -> nn.Module:
        """A new weighting network."""
        raise NotImplementedError

    def raw_weights(
        self, nets: Nets, logits: Tensor, labels: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Gaussians | None]:
        """Weights w̃ (B,) of logits (B, K) under labels (B,), and the bottleneck's distributions if any."""
        raise NotImplementedError

    @property
    def penalty(self) -> float:
        """What a nat costs in the meta loss: λ of eq. (7)."""
        return 0.0

    @property
    def real_draws(self) -> tuple[str, ...]:
        """The random numbers of the real step's weights; none unless a method says so."""
        return ()

    # The framework.

    def networks(self, new_net: NewNet, task: Visible) -> dict[str, nn.Module]:
        """The classifier, the weighting network, and for momentum the classifier's last weights."""
        require_meta(self, task)
        classifier = new_net("classifier")
        networks = {"classifier": classifier, "weighting": self.new_weighting(task.num_classes)}
        if self.virtual_step == "momentum":
            own = {_flat(name): torch.zeros_like(value) for name, value in classifier.named_parameters()}
            networks["previous"] = Memory(**own, lr=torch.ones(()))
        return networks

    def start(self, nets: Nets, data: TrainingData) -> None:
        if "previous" in nets:
            self._remember(nets)

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase(self.meta_loss, ("weighting",), self.meta_optimizer, every=self.interval, meta=True),
            Phase(self.loss, ("classifier",), skip_zero=True, draws=self.real_draws),
        )

    def meta_loss(self, nets: Nets, batch: Batch) -> Tensor:
        """Lines 5-11, eq. (7): mean meta loss after the virtual step plus mean λ·KL, with exact gradient."""
        meta = meta_of(batch)
        logits = batch.carried["logits"] = nets["classifier"](batch.x)[0]
        step = VirtualStep(nets["classifier"], Examples(batch.x, batch.y), logits)
        weights, gaussians = self._weighed(nets, step.logits, batch, batch.noise.get("psi"))
        taken = step.taken(weights.detach(), batch.lr, self._drift(nets, batch.lr))
        measured = step.meta_gradient(meta, taken, batch.lr)
        change = (measured.by_weight * weights).sum()
        loss = measured.loss + change - change.detach()
        batch.note("meta_loss", measured.loss)
        if gaussians is None:
            return loss
        nats = gaussians.nats.mean()
        batch.note("information_nats", nats)
        return loss + self.penalty * nats

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        """Lines 12-14: Σ wᵢℓᵢ under the weights of the updated network."""
        logits = batch.carried["logits"] if "logits" in batch.carried else nets["classifier"](batch.x)[0]
        with torch.no_grad():
            noise = batch.noise["psi"] if "psi" in self.real_draws else None
            weights, _ = self._weighed(nets, logits.detach(), batch, noise)
        if "previous" in nets:
            self._remember(nets)
            nets["previous"].buffers["lr"].fill_(batch.lr)
        return (weights * cross_entropy(logits, batch.y)).sum()

    def _weighed(
        self, nets: Nets, logits: Tensor, batch: Batch, noise: Tensor | None
    ) -> tuple[Tensor, Gaussians | None]:
        """Normalised weights (B,), not rounded to a type of fewer digits than the images have."""
        with full_precision(logits):
            raw, gaussians = self.raw_weights(nets, logits.to(batch.x.dtype), batch.y, noise)
            return normalized(raw, self.normalization), gaussians

    def _remember(self, nets: Nets) -> None:
        for name, value in nets["classifier"].parameters.items():
            nets["previous"].buffers[_flat(name)].copy_(value.detach())

    def _drift(self, nets: Nets, lr: float) -> Parameters | None:
        """What momentum adds to a step: a share of the last one, at the present learning rate."""
        if "previous" not in nets:
            return None
        before = nets["previous"].buffers
        share = self.momentum * lr / before["lr"]
        return {
            name: share * (value.detach() - before[_flat(name)])
            for name, value in nets["classifier"].parameters.items()
        }

    def sample_weights(self, nets: Nets, data: TrainingData) -> Float[Tensor, " train"]:
        """The network's weights of all training examples (N,), from eval-mode logits, with mean one."""
        logits, _ = data.outputs(nets["classifier"])
        raw, _ = self.raw_weights(nets, logits, data.labels, None)
        return mean_one(raw)


def normalized(raw: Float[Tensor, " batch"], how: Normalization) -> Float[Tensor, " batch"]:
    """Raw weights (B,) made to sum to one (Algorithm 1, line 6) unless all zero; or see `MetaWeighting`."""
    if how == "mean":
        return raw / len(raw)
    total = raw.sum()
    weights = raw / (total + (total == 0))
    return weights / len(raw) if how == "paper" else weights


def require_meta(method: Method, task: Visible) -> None:
    """Raise `InvalidValue` for a task without a clean meta set."""
    if task.meta is None:
        raise InvalidValue(
            f"{method.label} needs clean examples to learn from, got a task without a meta set; make it with "
            "meta_size=100 or --meta-size 100"
        )


def meta_of(batch: Batch) -> Examples:
    """The meta batch; raises `InvalidValue` where there is none."""
    if batch.meta is None:
        raise InvalidValue("a meta batch is needed, got none; make the task with meta_size=100")
    return batch.meta


def _flat(name: str) -> str:
    return name.replace(".", "/")
