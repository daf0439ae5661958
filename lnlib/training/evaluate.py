"""What the networks know at the end of an epoch. The true labels are used here, for the record only."""

import torch
from torch import Tensor

from lnlib.analysis.memorization import memorization_split
from lnlib.device import mixed_precision
from lnlib.training.batches import Batches
from lnlib.training.images import Images, StreamedImages
from lnlib.training.networks import Networks
from lnlib.training.settings import Settings


@torch.no_grad()
def evaluate(networks: Networks, data: Batches, settings: Settings) -> list[dict[str, float]]:
    """Eval-mode accuracies and losses of every run, by name of a column of its history."""
    columns = {}
    everything = settings.measured == "all"
    # Images that are streamed are too many to be read once more for the record.
    if everything and not isinstance(data.train, StreamedImages):
        logits = logits_of(networks, data, settings, data.rows, data.train)
        columns["train_accuracy"] = _accuracy(logits, data.given)
        columns["train_loss"] = _mean_loss(logits, data.given)
        if data.members[0].task.truth.known:
            true = torch.stack([member.task.truth.train_labels.to(data.device) for member in data.members])
            split = memorization_split(logits.argmax(-1), data.given, true)
            columns["clean_accuracy"] = split.clean
            columns["corrupted_fit"] = split.corrupted_fit
            columns["corrupted_recovered"] = split.corrupted_recovered
    logits = logits_of(networks, data, settings, data.column("validation", "index"), data.train)
    given = data.column("validation", "labels")
    true = torch.stack([member.task.truth.validation_labels.to(data.device) for member in data.members])
    columns["validation_accuracy"] = _accuracy(logits, given)
    columns["validation_loss"] = _mean_loss(logits, given)
    known = (true >= 0).all(-1)
    columns["validation_clean_accuracy"] = torch.where(known, _accuracy(logits, true), torch.nan)
    if everything:
        logits = logits_of(networks, data, settings, data.column("test", "index"), data.test)
        true = data.column("test", "labels")
        columns["test_accuracy"] = _accuracy(logits, true)
        columns["test_loss"] = _mean_loss(logits, true)
    return [dict(zip(columns, row, strict=True)) for row in torch.stack(list(columns.values())).T.tolist()]


@torch.no_grad()
def logits_of(networks: Networks, data: Batches, settings: Settings, rows: Tensor, images: Images) -> Tensor:
    """Eval-mode logits of every run on `images[rows]`: (M, n, K)."""
    networks.train(False)
    with mixed_precision(data.device, settings.precision):
        parts = [networks.logits(x) for x in data.in_parts(rows, images)]
    return torch.cat(parts, dim=1).to(settings.dtype)


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(-1) == labels).double().mean(-1)


def _mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    losses = logits.logsumexp(-1) - logits.gather(-1, labels[..., None])[..., 0]
    return losses.double().mean(-1)
