"""The meta iteration as the public codes write it, to compare with: a rebuilt network in every iteration, the
graph of the virtual step kept, and two backward passes through it.
"""

import time
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.profiler import ProfilerActivity, profile

from lnlib.data.task import Task
from lnlib.device import default_device
from lnlib.methods.base import Method, cross_entropy
from lnlib.nets import NetSpec
from lnlib.nets.weighting import WeightThroughBottleneck
from lnlib.training import Member, Settings
from lnlib.training.engine import Engine
from lnlib.training.fit import Training
from lnlib.training.sweep import Stack


class DoubleBackwardRun:
    """MetaInfoNet's iteration on one batch, over and over."""

    def __init__(self, task: Task, net: NetSpec, layout: torch.memory_format) -> None:
        torch.manual_seed(0)
        self.net, self.shape, self.layout = net, task.image_shape, layout
        self.classifier = self.new_net()
        self.weighting = WeightThroughBottleneck(10, 10)
        self.optimizer = torch.optim.SGD(self.classifier.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
        self.meta_optimizer = torch.optim.Adam(self.weighting.parameters(), 1e-3, weight_decay=5e-4)
        self.x, self.y = self.batch(task, 0)
        self.meta_x, self.meta_y = self.batch(task, 100)

    def new_net(self) -> nn.Module:
        return self.net.build(self.shape, 10).to(memory_format=self.layout)

    def batch(self, task: Task, first: int) -> tuple[Tensor, Tensor]:
        rows = task.train.index[first : first + 100]
        x = task.dataset.normalize(task.dataset.train_images[rows]).contiguous(memory_format=self.layout)
        return x, task.train.labels[first : first + 100]

    def weights(self, logits: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        raw, gaussians = self.weighting(logits.detach(), self.y, noise)
        return raw / raw.sum(), gaussians.nats

    def iteration(self) -> None:
        """Virtual step, meta step, real step."""
        copy = self.new_net()
        copy.load_state_dict(self.classifier.state_dict())
        parameters = dict(copy.named_parameters())
        logits = copy(self.x)[0]
        weights, nats = self.weights(logits, torch.randn(100, 10))
        loss = (weights * cross_entropy(logits, self.y)).sum()
        gradient = torch.autograd.grad(loss, [*parameters.values()], create_graph=True)
        moved = {
            name: value - 0.1 * change
            for (name, value), change in zip(parameters.items(), gradient, strict=True)
        }
        meta = cross_entropy(functional_call(copy, moved, (self.meta_x,))[0], self.meta_y).mean()
        self.meta_optimizer.zero_grad()
        (meta + 0.1 * nats.mean()).backward(inputs=[*self.weighting.parameters()])
        self.meta_optimizer.step()
        logits = self.classifier(self.x)[0]
        with torch.no_grad():
            weights, _ = self.weights(logits, None)
        self.optimizer.zero_grad()
        (weights * cross_entropy(logits, self.y)).sum().backward()
        self.optimizer.step()


class OurRun:
    """A method's iteration on one batch, over and over, by the engine; many `members` are one stack."""

    def __init__(self, task: Task, settings: Settings, method: Method, members: int = 1) -> None:
        self.engine: Engine
        runs = [Member(method, task, seed) for seed in range(members)]
        device = default_device()
        self.engine = Stack(runs, settings, device) if members > 1 else Training(runs[0], settings, device)
        self.index = self.engine._collect(torch.arange(100, device=device) for _ in runs)

    def iteration(self) -> None:
        """One training step with all its phases."""
        self.engine._step_on(self.index)
        self.engine.step += 1


class InTurns:
    """Runs that take turns in one process; `makes` has by name what makes each, and with what."""

    def __init__(self, makes: Mapping[str, tuple[Any, ...]]) -> None:
        self.runs = {name: make(*values) for name, (make, *values) in makes.items()}

    def seconds(self, counts: Mapping[str, int]) -> dict[str, float]:
        """An iteration's by run, of so many after a first one."""
        found = {}
        for name, count in counts.items():
            self.runs[name].iteration()
            began = time.perf_counter()
            for _ in range(count):
                self.runs[name].iteration()
            found[name] = (time.perf_counter() - began) / count
        return found

    def peak(self, name: str) -> int:
        """The largest sum of the bytes of tensors that an iteration makes, as on a GPU its allocator counts
        them: what the process holds says more of the allocator than of the method.
        """
        self.runs[name].iteration()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            self.runs[name].iteration()
        events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
        sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
        return max(accumulate(sizes), default=0)
