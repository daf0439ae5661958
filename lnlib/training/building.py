"""The networks that a run trains, with the weights that it begins from."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lnlib.device import global_generator
from lnlib.errors import InvalidValue
from lnlib.nets.spec import narrowed
from lnlib.training.settings import Member, Settings
from lnlib.training.streams import torch_seed


def build_networks(member: Member, settings: Settings, device: torch.device) -> dict[str, nn.Module]:
    """The method's networks, initialised from the run's own streams and begun from `member.start`."""
    image_shape = member.task.image_shape
    if settings.augment is not None:
        image_shape = settings.augment.shape(image_shape)

    def new_net(role: str, narrower: int = 1) -> nn.Module:
        net = settings.net if narrower == 1 else narrowed(settings.net, narrower)
        torch.manual_seed(torch_seed(member.seed, f"init/{role}"))
        return net.build(image_shape, member.task.num_classes, role)

    with global_generator():
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
