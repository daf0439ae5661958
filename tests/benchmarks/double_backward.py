"""The meta iteration as the public codes write it, to compare with: a rebuilt network in every iteration, the
graph of the virtual step kept, and two backward passes through it.
"""

import resource

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lnlib.data.task import Task
from lnlib.methods.base import cross_entropy, one_hot
from lnlib.nets import NetSpec
from lnlib.nets.weighting import WeightThroughBottleneck
from lnlib.training import Settings
from lnlib.training.fit import Training


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
        raw, nats = self.weighting(logits.detach(), one_hot(self.y, 10), noise)
        return raw / raw.sum(), nats

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
    """A method's iteration on one batch, over and over, by the engine."""

    def __init__(self, training: Training) -> None:
        self.training = training
        index = torch.arange(100, device=training.device)
        self.examples = {
            "x": training.images[training.train_rows[index]].clone(),
            "y": training.given[index].clone(),
            "index": index,
        }

    def iteration(self) -> None:
        """One training step with all its phases."""
        self.training.train_step({**self.examples, **self.training._meta_examples()})
        self.training.step += 1


class Peak:
    """How much memory iterations take beyond what the process holds before them; in a process of its own."""

    def __init__(self, make: object, *values: object) -> None:
        self.run = make(*values)  # type: ignore[operator]

    def measure(self) -> int:
        """KiB on Linux."""
        with open("/proc/self/statm") as file:
            before = int(file.read().split()[1]) * resource.getpagesize() // 1024
        for _ in range(3):
            self.run.iteration()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def our_run(task: Task, settings: Settings, method: object) -> OurRun:
    from lnlib.device import default_device
    from lnlib.training import Member

    return OurRun(Training(Member(method, task), settings, default_device()))  # type: ignore[arg-type]
