"""What a finished run says against itself: a method that trained nothing, a network that learnt nothing."""

import math

import torch

from lnlib.papers.run_folder import Result


def complaints(result: Result) -> list[str]:
    """A sentence for each thing that is wrong with a run; none where its history looks healthy."""
    return [text for text in (_singular_batches(result), _at_chance(result)) if text]


def _singular_batches(result: Result) -> str:
    """DMI's batches without some class, whose determinant is zero."""
    if "singular_batches" not in result.history:
        return ""
    spec, singular = result.spec, int(result.history["singular_batches"].sum())
    num_train, num_classes = spec.sizes().train, spec.loaded.num_classes
    batches = num_train // spec.batch_size if spec.drop_last else math.ceil(num_train / spec.batch_size)
    if not singular:
        return ""
    return (
        f"{singular} of {batches * len(result.history)} batches lacked a class and trained nothing, as their "
        f"determinant is zero; use a batch_size far above the {num_classes} classes, got {spec.batch_size}"
    )


def _at_chance(result: Result) -> str:
    """A network no better than one that gives all validation images the most frequent given label."""
    labels = result.spec.task().validation.labels
    counts = torch.bincount(labels)
    share = float(counts.max()) / len(labels)
    reached = float(result.history["validation_accuracy"].dropna().iloc[-1])
    # Within two standard errors of a share among so many images.
    if reached > share + 2 * math.sqrt(share * (1 - share) / len(labels)):
        return ""
    return (
        f"the validation accuracy ended at {reached:.1%}, at chance: the most frequent given label alone has "
        f"{share:.1%}; the network has learnt nothing that shows, try more epochs or another learning rate"
    )
