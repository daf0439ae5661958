"""Lesson 06, class imbalance."""

from lnlib import noise
from lnlib.course.exercises.exercise import exercise
from lnlib.papers.printed import paper_table


@exercise(
    tolerance=1,
    unit="images",
    slips={
        "class 5 is the sixth: the power is 5/9": lambda: 4990 * 100 ** (-4 / 9),
        "with ten classes the last has the power 1, so there are nine steps, not ten": lambda: (
            4990 * 100 ** (-5 / 10)
        ),
    },
)
def images_of_class_five() -> float:
    """CIFAR-10 with ten images a class taken out for the meta set leaves 4990 of each. Imbalance factor
    100. How many images has class 5, of classes 0 to 9?

    Hint: The sizes fall geometrically, from 4990 for class 0 to 4990/100 for class 9.

    Hint: $4990 \\cdot 100^{-5/9}$, rounded down.

    In words: Each step of nine divides by $100^{1/9}$; after five of them $4990 \\cdot 100^{-5/9}$ are left.
    """
    return float(noise.long_tailed_sizes(4990, num_classes=10, factor=100)[5])


@exercise(
    tolerance=0.2,
    unit="times",
    slips={"that is by inverse size; class-balanced weights are milder": lambda: 100.0},
)
def weight_of_a_rare_image() -> float:
    """Class-balanced weights with β = 0.999. A class has 50 images, another 5000. How many times as much
    does an image of the small class weigh as one of the large class?

    Hint: A weight is the inverse of the effective number, $(1-\\beta^n)/(1-\\beta)$.

    Hint: $(1 - 0.999^{5000})/(1 - 0.999^{50})$.

    In words: The effective numbers are 49 and 993: beyond some thousand images more of them say little new.
    """
    beta = 0.999
    return (1 - beta**5000) / (1 - beta**50)


def _long_tailed(dataset: str, method: str) -> dict[float, float]:
    """What MetaInfoNet's Table 1 prints for a method, by imbalance factor."""
    frame = paper_table("metainfonet_table1.csv")
    chosen = frame[(frame["dataset"] == dataset) & (frame["method"] == method)]
    return dict(zip(chosen["rate"], chosen["value"], strict=True))


@exercise(tolerance=0.15, unit="columns")
def logitnet_ahead() -> float:
    """In how many of the six CIFAR-100 columns of Table 1 is LogitNet printed above MetaInfoNet?

    Hint: Go through the imbalance factors 200 to 1, and compare two numbers in each.

    In words: One column each where LogitNet's number is the larger.
    """
    own = _long_tailed("CIFAR-100-LT", "MetaInfoNet")
    return sum(value > own[factor] for factor, value in _long_tailed("CIFAR-100-LT", "LogitNet").items())


@exercise(tolerance=0.25, unit="columns")
def fine_tuning_ahead() -> float:
    """Fine-tuning trains on the meta set as on any other data. In how many of the twelve columns of Table
    1 is it printed above LossNet, which learns weights from the same images?

    Hint: Six columns of CIFAR-10 and six of CIFAR-100.

    In words: One column each where fine-tuning's number is the larger.
    """
    return sum(
        value > _long_tailed(dataset, "LossNet")[factor]
        for dataset in ("CIFAR-10-LT", "CIFAR-100-LT")
        for factor, value in _long_tailed(dataset, "Fine-tuning").items()
    )


@exercise(tolerance=0.05, unit="points")
def below_the_published_number() -> float:
    """CIFAR-100, imbalance 20. The paper of Meta-Weight-Net prints 54.37 for what is LossNet in Table 1.
    How many points lie MetaInfoNet's numbers, in the same column of Table 1, below that?

    Hint: 54.37 less MetaInfoNet's number at factor 20.

    In words: The baseline's own paper prints more than the new method here: settings differ between papers.
    """
    return 54.37 - _long_tailed("CIFAR-100-LT", "MetaInfoNet")[20]
