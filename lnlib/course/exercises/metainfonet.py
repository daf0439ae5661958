"""Lesson 05, MetaInfoNet."""

import math

from lnlib.course.exercises.exercise import exercise
from lnlib.papers.printed import paper_table


@exercise(
    tolerance=0.005,
    unit="per unit of weight",
    slips={
        "you left the mean out: of normalised weights only what is above the mean agrees": lambda: -0.2,
        "the sign is wrong: weight for what agrees less than the mean raises the loss": lambda: -0.075,
        "you left α out": lambda: 0.75,
        "you took the plain mean of the agreements: each counts by its weight": lambda: -0.1 * (2 - 7 / 3),
    },
)
def agreeing_is_not_enough() -> float:
    """Three examples have weights 0.5, 0.25 and 0.25, and their gradients agree with the meta gradient by
    ∇ℓᵢ·∇L_meta = 4, 1 and 2. α = 0.1, and the weights are normalised (the raw ones sum to 1). What is the
    derivative of the meta loss by the raw weight of the third?

    Hint: Raising one raw weight lowers all the normalised ones. What is left of an agreement of 2?

    Hint: $-\\alpha(a_3 - \\sum_j w_j a_j)$, and the weighted mean is 2.75.

    In words: The third agrees, but less than the weighted mean of 2.75. Normalised, its weight comes from
    better ones, so the meta loss rises: $-0.1 \\cdot (2 - 2.75)$.
    """
    weights, agreements, lr = (0.5, 0.25, 0.25), (4.0, 1.0, 2.0), 0.1
    mean = sum(weight * agreement for weight, agreement in zip(weights, agreements, strict=True))
    return -lr * (agreements[2] - mean)


@exercise(
    tolerance=0.005,
    unit="as a fraction",
    slips={"that is the share of those that weigh much: the others count a little, too": lambda: 0.6},
)
def effective_share() -> float:
    """60% of the examples weigh 1.6 each, the other 40% weigh 0.1 each. How large is the effective sample
    size, as a share of all examples?

    Hint: $(\\sum w)^2/\\sum w^2$, over $n$.

    Hint: The squared mean weight over the mean squared one: $1.0^2/(0.6\\cdot 1.6^2 + 0.4\\cdot 0.1^2)$.

    In words: The mean weight is 1, the mean square 1.54, and their quotient says how many equal weights would
    do as well.
    """
    mean = 0.6 * 1.6 + 0.4 * 0.1
    return mean**2 / (0.6 * 1.6**2 + 0.4 * 0.1**2)


@exercise(
    tolerance=0.005,
    unit="nats",
    slips={
        "it is in bits: times ln 2 it is in nats": lambda: 0.125 / math.log(2) + 1,
        "you left the mean out: a code far from zero costs, too": lambda: math.log(2) - 0.375,
        "0.5 is the deviation: the variance is its square": lambda: (1 + 0.5 - 1 - math.log(0.5)) / 2,
    },
)
def one_number_through_the_bottleneck() -> float:
    """A bottleneck lets one number ψ pass. For some example its mean is μ = 1 and its deviation σ = 0.5. What
    does eq. (6) charge for it, that is, what is KL[N(μ, σ²) ‖ N(0, 1)]?

    Hint: The divergence of two Gaussians has a closed form: one term for the mean, two for the variance.

    Hint: $\\tfrac12(\\mu^2 + \\sigma^2 - 1 - \\ln\\sigma^2)$.

    In words: The mean costs $1/2$, the variance $\\tfrac12(0.25 - 1 - \\ln 0.25) = 0.32$: a code that is far
    from zero costs, and one that is more certain than the prior.
    """
    mean, deviation = 1.0, 0.5
    return (mean**2 + deviation**2 - 1 - math.log(deviation**2)) / 2


def _printed(table: int, dataset: str, rate: float, metric: str) -> dict[str, float]:
    """What MetaInfoNet's table prints for each method."""
    frame = paper_table(f"metainfonet_table{table}.csv")
    chosen = frame[(frame["dataset"] == dataset) & (frame["rate"] == rate) & (frame["metric"] == metric)]
    return dict(zip(chosen["method"], chosen["value"], strict=True))


@exercise(tolerance=0.05, unit="points")
def more_than_eight_percent() -> float:
    """Section 5.3, on Table 4: 'MetaInfoNet attains more than 8% improvement over LossNet'. The largest
    gap is on CIFAR-10 at 40%, 'last'. How many points of accuracy is it?

    Hint: `paper_table("metainfonet_table4.csv")` has the numbers: data set CIFAR-10, rate 0.4, metric
    test_acc_last.

    In words: MetaInfoNet's number less LossNet's. It is less than eight.
    """
    last = _printed(4, "CIFAR-10", 0.4, "test_acc_last")
    return last["MetaInfoNet"] - last["LossNet"]


@exercise(
    tolerance=0.03,
    unit="points",
    slips={
        "that is what MetaInfoNet loses itself: take off what LogitNet loses": lambda: (
            _printed(4, "CIFAR-100", 0.4, "test_acc_best")["MetaInfoNet"]
            - _printed(4, "CIFAR-100", 0.4, "test_acc_last")["MetaInfoNet"]
        ),
    },
)
def who_decreases_dramatically() -> float:
    """On Table 4 at 40%: 'MetaInfoNet keeps the advantage while the other three algorithms' performance
    decrease dramatically'. On CIFAR-100, how many points more does MetaInfoNet lose from best to last
    than LogitNet does?

    Hint: For each of the two, best less last. Then the difference.

    In words: MetaInfoNet loses more from best to last than LogitNet, the other way round than the sentence.
    """
    best = _printed(4, "CIFAR-100", 0.4, "test_acc_best")
    last = _printed(4, "CIFAR-100", 0.4, "test_acc_last")
    return (best["MetaInfoNet"] - last["MetaInfoNet"]) - (best["LogitNet"] - last["LogitNet"])


@exercise(tolerance=0.25, unit="methods")
def best_at_all_noise_rates() -> float:
    """On Table 2: 'MetaInfoNet achieves the best performance across both datasets and all noise rates'.
    How many methods are printed above it on CIFAR-10 without noise?

    Hint: The column of 0% noise, CIFAR-10. Count the numbers that are larger than MetaInfoNet's.

    In words: Some are: the sentence and the table disagree.
    """
    printed = _printed(2, "CIFAR-10", 0.0, "test_acc")
    return sum(value > printed["MetaInfoNet"] for value in printed.values())


@exercise(tolerance=0.05, unit="points")
def nearly_two_percent() -> float:
    """On Table 6, ANIMAL-10N: 'nearly 2% improvement over the other methods on best'. How many points?

    Hint: MetaInfoNet's best less the largest of the others.

    In words: Beside the strongest of the other methods the gap is smaller than the sentence says.
    """
    best = _printed(6, "ANIMAL-10N", 0.08, "test_acc_best")
    own = best.pop("MetaInfoNet")
    return own - max(best.values())


@exercise(tolerance=0.04, unit="points")
def the_same_experiment_twice() -> float:
    """Table 1 at imbalance 1 and Table 2 at 0% noise are the same experiment on CIFAR-100. By how many
    points do LossNet, LogitNet and MetaInfoNet differ between the two, on average and in absolute value?

    Hint: Three absolute differences, and their mean.

    In words: So much do two runs of one experiment differ. Differences of that size in a table say little.
    """
    frame = paper_table("metainfonet_table1.csv")
    even = frame[(frame["dataset"] == "CIFAR-100-LT") & (frame["rate"] == 1)]
    one, other = even.set_index("method")["value"], _printed(2, "CIFAR-100", 0.0, "test_acc")
    names = ("LossNet", "LogitNet", "MetaInfoNet")
    return float(sum(abs(one[name] - other[name]) for name in names) / len(names))
