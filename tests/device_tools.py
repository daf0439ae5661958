"""Steps of training that a device would never wait for: on PyTorch's meta device, where a host read and a
tensor on another device raise, or on a GPU.
"""

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from lnlib import noise
from lnlib.catalog import METHODS
from lnlib.data.task import Task
from lnlib.methods import BackwardCorrection, CrossEntropy, FineTuning, Method
from lnlib.nets import CNN, MLP, NetSpec, WideResNet
from lnlib.training import SGD, Member, Run, Runs, loop
from lnlib.training.state import State

NETS: Mapping[str, NetSpec] = {
    "mlp": MLP(16, 2),
    "mlp with dropout": MLP(16, 2, dropout=0.1),
    "cnn": CNN(),
    "residual": WideResNet(10, 1),
}
DRAWS = {torch.rand, torch.randn, torch.randint, torch.randperm, torch.bernoulli, torch.multinomial}
COPIES = {torch.tensor, torch.as_tensor, torch.from_numpy}


class StaysOnDevice(TorchFunctionMode):
    """Within, each random draw has one of the generators `own`, and nothing is copied from the host."""

    def __init__(self, device: torch.device, own: set[int]) -> None:
        super().__init__()
        self.device, self.own = device, own

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if function in DRAWS:
            assert id(options.get("generator")) in self.own, f"{function.__name__} draws from no run's stream"
        # PyTorch's optimisers make their count of steps on the host where they are not fused.
        ours = "torch/optim" not in sys._getframe(1).f_code.co_filename
        assert not ours or function not in COPIES, f"{function.__name__} copies from the host"
        tensors = [leaf for leaf in tree_leaves((args, options)) if isinstance(leaf, Tensor) and leaf.ndim]
        elsewhere = {tensor.device.type for tensor in tensors} - {self.device.type}
        assert not elsewhere, f"{getattr(function, '__name__', function)} meets a tensor on {elsewhere}"
        return function(*args, **options)


def methods() -> list[Method]:
    """Every method, as it is by default where it can be trained so at once."""
    # The matrix that an untrained net gives may lack an inverse.
    options: Mapping[type[Method], dict[str, Any]] = {
        FineTuning: {"last_epochs": 1},
        BackwardCorrection: {"matrix": noise.uniform(0.3, 10)},
    }
    return [kind(**options.get(kind, {})) for kind in (entry.load() for entry in METHODS.values())]


def state_on(device: torch.device, method: Method, net: NetSpec, task: Task, stacked: bool) -> State:
    """A run, or a stack of two, that has begun on the device."""
    start = None
    if method.warm_start:
        source = Run(CrossEntropy(), task, net=net, device=torch.device("cpu"))
        start = method.begun_from({"cross-entropy": source.weights})
    settings = {"net": net, "device": device, "epochs": 3, "batch_size": 32, "optimizer": SGD(0.01)}
    if not stacked:
        return Run(method, task, start=start, **settings).state
    members = [Member(method, task, seed, start) for seed in range(2)]
    return Runs(members, mode="stacked", **settings)[0].state


def steps(state: State, epoch_end: bool = True) -> None:
    """Two steps and one on the last, smaller batch, every draw and copy looked at; then the epoch's end."""
    batches = state.data.of_epoch(state.streams)
    loop.set_learning_rates(state, epoch=1)
    state.networks.train()
    own = {id(generator) for streams in state.streams for generator in streams.values()}
    with StaysOnDevice(state.device, own):
        for index in (batches[0], batches[1], batches[-1]):
            loss = loop.train_step(state, 1, index, next(state.data.images([index])))
            state.step += 1
            assert loss.device.type == state.device.type
    if not epoch_end:
        return
    loop.for_each_run(
        state, "end_epoch", lambda method, nets, task: method.end_epoch(nets, state.data.whole(task), 1)
    )
