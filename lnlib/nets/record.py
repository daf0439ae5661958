"""Forward-mode differentiation along a forward pass that has been made already.

PyTorch's forward mode computes a network once more, beside its directional derivatives. Here the pass leaves
a record: for each layer a rule that takes tangents of its inputs to the tangent of its output, and looks at
nothing but what autograd keeps of the pass anyway. A meta iteration then costs ten forward passes (two a
backward pass), where PyTorch's forward mode makes eleven.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from threading import Lock
from typing import Any, NamedTuple
from weakref import ref

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import jvp
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from lnlib.errors import LnlibError
from lnlib.nets.layers import batch_norm_side_by_side, linear_side_by_side, side_by_side

Push = Callable[..., Tensor]
"""From the tangents of a function's inputs (None for a constant) to the tangent of its output."""
_threshold_backward = torch.ops.aten.threshold_backward.default
_norm_backward = torch.ops.aten.native_batch_norm_backward.default
_FORWARD_MODE = Lock()


class Applied(NamedTuple):
    """A function's output (the first of several is what counts), what it depends on, and its rule."""

    output: Any
    inputs: tuple[Tensor | None, ...]
    push: Push


class _Step(NamedTuple):
    inputs: tuple[int | None, ...]
    output: int
    push: Push


class Record(TorchFunctionMode):
    """Within, every function of `leaves`, or of what came of them, is written down.

    What draws random numbers of its own is not differentiated rightly, and an `autograd.Function` by its
    forward alone. Functions that change a tensor in place raise `LnlibError`, ReLU and sums apart. Works
    inside `torch.vmap`.
    """

    def __init__(self, leaves: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._leaves = leaves
        self._numbers = {id(leaf): number for number, leaf in enumerate(leaves.values())}
        self._alive: dict[int, ref[Tensor]] = {}
        self._steps: list[_Step] = []

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Apply `function`, and note how its output changes with its inputs."""
        options, numbers = kwargs or {}, self._numbers
        known = [id(value) for value in _values(args, options) if id(value) in numbers]
        if not known:
            return function(*args, **options)
        rule = RULES.get(function)
        applied = rule(*args, **options) if rule else None
        # A rule says what it covers: that of a product covers one factor, and here both may be known.
        if applied is None or known != [id(value) for value in applied.inputs if id(value) in numbers]:
            applied = _by_pytorch(function, args, options, numbers)
        output = applied.output[0] if isinstance(applied.output, tuple) else applied.output
        if isinstance(output, Tensor) and output.is_floating_point():
            inputs = tuple(numbers.get(id(value)) for value in applied.inputs)
            number = len(self._leaves) + len(self._steps)
            self._steps.append(_Step(inputs, number, applied.push))
            self._number(output, number)
        return applied.output

    def _number(self, output: Tensor, number: int) -> None:
        """Know the output for as long as somebody holds it; the record itself does not."""
        key, alive, numbers = id(output), self._alive, self._numbers

        def forget(gone: Any) -> None:  # knows not the record, which would else outlive its last user
            if alive.get(key) is gone:
                del alive[key], numbers[key]

        numbers[key], alive[key] = number, ref(output, forget)

    @torch.no_grad()
    def tangent(self, output: Tensor, along: Mapping[str, Tensor]) -> Tensor:
        """The directional derivative of a recorded output; the direction is one tensor a leaf."""
        wanted = self._numbers[id(output)]
        last_use = {number: place for place, step in enumerate(self._steps) for number in step.inputs}
        tangents: dict[int | None, Tensor] = {number: along[name] for number, name in enumerate(self._leaves)}
        for place, step in enumerate(self._steps):
            tangents[step.output] = step.push(*(tangents.get(number) for number in step.inputs))
            for number in {*step.inputs} - {wanted}:
                if last_use[number] == place:
                    tangents.pop(number, None)
        return tangents[wanted]


def _values(args: tuple[Any, ...], options: dict[str, Any]) -> Sequence[Any]:
    """A call's arguments, with what lies in lists."""
    values = (*args, *options.values()) if options else args
    return tree_leaves(values) if any(isinstance(value, list | tuple) for value in values) else values


# The rules of layers. What has none goes through PyTorch's own forward mode.


def _affine(function: Any) -> Any:
    """A layer that is linear in its input and in its weights."""

    def rule(x: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any, **named: Any) -> Applied:
        def push(x_dot: Tensor | None, weight_dot: Tensor, bias_dot: Tensor | None) -> Tensor:
            moved: Tensor = function(x, weight_dot, bias_dot, *rest, **named)
            return moved if x_dot is None else moved + function(x_dot, weight, None, *rest, **named)

        return Applied(function(x, weight, bias, *rest, **named), (x, weight, bias), push)

    return rule


def _linear(function: Any) -> Any:
    """A function that is linear in its first argument; the others are constants."""

    def rule(x: Tensor, *rest: Any, **named: Any) -> Applied:
        return Applied(function(x, *rest, **named), (x,), lambda x_dot: function(x_dot, *rest, **named))

    return rule


def _sum(function: Any) -> Any:
    """x + y of one shape."""

    def rule(x: Tensor, y: Any, **named: Any) -> Applied | None:
        if named or not isinstance(y, Tensor) or x.shape != y.shape:
            return None

        def push(*dots: Tensor | None) -> Tensor:
            first, *second = [dot for dot in dots if dot is not None]
            return first + second[0] if second else first

        return Applied(function(x, y), (x, y), push)

    return rule


def _relu(x: Tensor, inplace: bool = False) -> Applied:
    y = F.relu(x, inplace)
    return Applied(y, (x,), lambda x_dot: _threshold_backward(x_dot, y, 0))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Applied | None:
    if not training or weight is None or bias is None:
        return None
    y, mean, scale = torch.native_batch_norm(
        x, weight, bias, running_mean, running_var, training, momentum, eps
    )

    def push(x_dot: Tensor | None, weight_dot: Tensor, bias_dot: Tensor) -> Tensor:
        return _normalised_dot(x_dot, weight_dot, bias_dot, x, weight, mean, scale, eps)[0]

    return Applied(y, (x, weight, bias), push)


def _batch_norm_side_by_side(*given: Any) -> Applied:
    y, mean, scale = batch_norm_side_by_side(*given)
    x, _, _, weight, bias, _, eps = given

    def push(*dots: Tensor | None) -> Tensor:
        return side_by_side(partial(_normalised_dot, eps=eps), *dots, x, weight, mean, scale)[0]

    return Applied((y, mean, scale), (x, weight, bias), push)


def _normalised_dot(
    x_dot: Tensor | None,
    weight_dot: Tensor,
    bias_dot: Tensor,
    x: Tensor,
    weight: Tensor,
    mean: Tensor,
    scale: Tensor,
    eps: float,
) -> tuple[Tensor]:
    """The tangent of γ(x − μ)r + β, where r is `scale`. The Jacobian of (x − μ)r is symmetric, so the kernel
    that takes gradients back through it takes tangents on.
    """
    slope = weight_dot * scale
    columns = slope, bias_dot - slope * mean
    slope, offset = (column.view(1, -1, *[1] * (x.ndim - 2)) for column in columns)
    by_weights = torch.addcmul(offset, x, slope).to(x.dtype)
    if x_dot is None:
        return (by_weights,)
    only_x = [True, False, False]
    by_x = _norm_backward(x_dot, x, weight, None, None, mean, scale, True, eps, only_x)[0]
    return (by_weights.add_(by_x),)


def _by_pytorch(function: Any, args: Any, options: Any, numbers: Mapping[int, int]) -> Applied:
    """Any other function: PyTorch's forward mode, which computes this one function once more."""
    name = getattr(function, "__name__", "")
    if name.endswith("_") and not name.endswith("__"):
        raise LnlibError(
            f"a network that a virtual step trains must not call {name}, got it on what depends on its "
            f"weights; use {name.rstrip('_')}, which leaves its input alone"
        )
    output = function(*args, **options)
    if not isinstance(output, Tensor):
        return Applied(output, (), lambda: output)
    leaves, structure = tree_flatten((args, options))
    places = [place for place, leaf in enumerate(leaves) if id(leaf) in numbers]
    inputs = tuple(leaves[place] for place in places)

    def again(*values: Tensor) -> Any:
        given = dict(zip(places, values, strict=True))
        own, named = tree_unflatten([given.get(*pair) for pair in enumerate(leaves)], structure)
        return function(*own, **named)

    def push(*dots: Tensor) -> Tensor:
        with _forward_mode():
            tangent: Tensor = jvp(again, inputs, dots)[1]
        return tangent

    return Applied(output, inputs, push)


@contextmanager
def _forward_mode() -> Iterator[None]:
    """One thread at a time: PyTorch has one level of forward differentiation for the whole process."""
    with _FORWARD_MODE:
        _quiet_first_use()
        yield


@cache
def _quiet_first_use() -> None:
    """PyTorch prepares forward mode at its first use, and warns there of a function of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))


_LINEAR = (
    Tensor.flatten,
    Tensor.mean,
    Tensor.mul,
    Tensor.div,
    Tensor.to,
    Tensor.__getitem__,
    torch.flatten,
    F.adaptive_avg_pool2d,
)
RULES: Mapping[Any, Callable[..., Applied | None]] = {
    F.linear: _affine(F.linear),
    torch.conv2d: _affine(torch.conv2d),
    linear_side_by_side: _affine(linear_side_by_side),
    F.batch_norm: _batch_norm,
    batch_norm_side_by_side: _batch_norm_side_by_side,
    F.relu: _relu,
    Tensor.add: _sum(Tensor.add),
    Tensor.add_: _sum(Tensor.add_),
    **{function: _linear(function) for function in _LINEAR},
}
