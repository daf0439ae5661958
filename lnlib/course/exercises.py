"""The lessons' exercises: each question, its check and its worked solution come from one function."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass

from lnlib import bounds, noise
from lnlib.papers.printed import paper_table


@dataclass(frozen=True)
class Markdown:
    """Text that a notebook renders as Markdown."""

    text: str

    def __str__(self) -> str:
        return self.text

    _repr_markdown_ = __str__


@dataclass(frozen=True)
class Verdict(Markdown):
    """What `Exercise.check` thinks of an answer; `correct` is None where there is no answer yet."""

    correct: bool | None


@dataclass(frozen=True)
class Exercise:
    """A question with a number for an answer, which `solve` computes; `tolerance` is in its `unit`."""

    question: str
    solve: Callable[[], float]
    tolerance: float
    unit: str

    def check(self, answer: float | None) -> Verdict:
        """Compare an answer with the computed solution; never raises, and never gives the solution away."""
        if answer is None:
            return Verdict("✏️ Replace `None` by your answer, then run this cell again.", None)
        try:
            number = float(answer)
        except (TypeError, ValueError):
            return Verdict(f"The answer is one number ({self.unit}), yours is `{answer!r}`.", False)
        right = float(self.solve())
        if self._same(number, right):
            return Verdict(f"✅ Right: {number:g} {self.unit}.", True)
        hint = f"it is too {'large' if number > right else 'small'}"
        if math.isnan(number):
            hint = "it is not a number"
        elif self._same(number / 100, right):
            hint = "rates are fractions here, not percent"
        elif self._same(number / math.log(2), right):
            hint = "it is in nats; divide by ln 2 to get bits"
        return Verdict(f"❌ Not yet: you have {number:g} {self.unit}, but {hint}.", False)

    def solution(self) -> Markdown:
        """The code that computes the answer, and the answer."""
        source = inspect.getsource(self.solve)
        head, _, body = source[source.index("def ") :].split('"""')  # without the decorator and the question
        code = (head.rstrip() + body).rstrip()
        return Markdown(f"```python\n{code}\n```\n**Answer:** {self.solve():.3g} {self.unit}")

    def _repr_markdown_(self) -> str:
        return f"**Exercise.** {self.question} *(one number: {self.unit})*"

    def _same(self, number: float, right: float) -> bool:
        return abs(number - right) <= self.tolerance


def exercise(tolerance: float, unit: str) -> Callable[[Callable[[], float]], Exercise]:
    """Turn the function that computes an answer, its docstring the question, into the `Exercise`."""
    return lambda solve: Exercise(" ".join((solve.__doc__ or "").split()), solve, tolerance, unit)


# Lesson 00, start here.


@exercise(tolerance=0.001, unit="as a fraction")
def one_wrong_class() -> float:
    """Ten classes, 40% uniform noise (wrong classes only). With which probability is a 3 labelled as an 8?"""
    return float(noise.uniform(0.4, num_classes=10)[3, 8])


# Lesson 01, the Fano bound.


@exercise(tolerance=0.01, unit="bits per label")
def bits_behind_five_percent() -> float:
    """K = 10 and 60% uniform noise. A network makes 5% training errors on the given labels. How many bits
    per label has it memorised at least?
    """
    entropy = bounds.uniform_label_entropy(0.6, num_classes=10)
    return float(bounds.memorized_information(0.05, entropy, num_classes=10))


@exercise(tolerance=0.002, unit="as a fraction")
def two_classes() -> float:
    """Two classes, labels flipped with probability 0.3, and half a bit memorised per label. Which error
    rate does Remark 2 allow at least?
    """
    entropy = bounds.binary_entropy(0.3)
    return float(bounds.r0(entropy, 0.5, num_classes=2))


@exercise(tolerance=0.005, unit="bits per label")
def flipped_labels() -> float:
    """Flip-1 noise, K = 10: each class has one wrong class that its labels change to, with probability
    0.3. A network makes 10% training errors on the given labels. How many bits per label has it memorised
    at least, by the sharp bound?
    """
    matrix = noise.flip(0.3, num_classes=10)
    return float(bounds.rate_distortion(matrix, 0.1))


# Lesson 02, memorisation.


@exercise(tolerance=0.005, unit="as a fraction")
def wrong_labels_fitted() -> float:
    """80% of the labels are wrong. A network predicts 40% of all given labels, among them every one that
    is true. Which share of the wrong labels does it fit?
    """
    wrong, all_given = 0.8, 0.4
    return (all_given - (1 - wrong)) / wrong


@exercise(tolerance=0.01, unit="bits per label")
def half_the_wrong_labels() -> float:
    """K = 10, 50% uniform noise. A network predicts every given label that is true, and half of the wrong
    ones. How many bits per label has it memorised at least?
    """
    entropy = bounds.uniform_label_entropy(0.5, num_classes=10)
    return float(bounds.memorized_information(0.5 * 0.5, entropy, num_classes=10))


@exercise(tolerance=0.002, unit="as a fraction")
def score_on_noisy_validation() -> float:
    """K = 10, 80% uniform noise. A classifier is right on 90% of the validation images, and its mistakes
    have nothing to do with the noise. Which accuracy on the *given* validation labels do you expect?
    """
    right, wrong, num_classes = 0.9, 0.8, 10
    return right * (1 - wrong) + (1 - right) * wrong / (num_classes - 1)


# Lesson 03, generalisation.


@exercise(tolerance=0.01, unit="bits per label")
def bits_behind_a_low_loss() -> float:
    """Some learner has an expected training cross-entropy of 0.4 bits per label, and the labels hold
    H(y|x) = 1.5 bits of noise each. How many bits per label has it memorised at least?
    """
    cross_entropy, entropy, least_divergence = 0.4, 1.5, 0.0
    return entropy + least_divergence - cross_entropy


@exercise(tolerance=0.01, unit="bits per example")
def bits_behind_a_gap() -> float:
    """A network is right on 98% of the given labels that it was trained on and on 38% of fresh given
    labels. How many bits per example must its weights hold at least, by Theorem 2.2? Take expected values
    for granted.
    """
    gap, sigma = 0.98 - 0.38, 0.5
    return gap**2 / (2 * sigma**2) / math.log(2)


@exercise(tolerance=2000, unit="examples")
def examples_for_a_small_gap() -> float:
    """The weights hold 1000 bits about the training set, and no more of a larger one. From how many
    examples on does Theorem 2.2 promise a gap of at most 5 points of accuracy?
    """
    information_nats, gap, sigma = 1000 * math.log(2), 0.05, 0.5
    return 2 * sigma**2 * information_nats / gap**2


# Lesson 04, LIMIT.


@exercise(tolerance=0.05, unit="bits")
def bits_in_one_gradient() -> float:
    """K = 10, Gaussian q with σ = 0.1, predicted gradients with a mean squared norm of 0.09. How many
    bits of label information can one sampled gradient carry at most? (μ sums to zero: count K − 1.)
    """
    return float(bounds.gradient_information_bound(9, norm_squared_bound=0.09, sigma=0.1))


@exercise(tolerance=0.001, unit="as a fraction")
def how_faint_mae_begins() -> float:
    """K = 100, and training has just begun: each class has probability 1/100. How large is the gradient
    of the absolute error at the given label's logit, as a multiple of cross-entropy's?
    """
    probability = 1 / 100
    absolute_error, cross_entropy = 2 * probability * (probability - 1), probability - 1
    return absolute_error / cross_entropy


@exercise(tolerance=0.0005, unit="as a fraction")
def shrunken_determinant() -> float:
    """DMI of a perfect classifier under uniform noise, K = 10, p = 0.4. By which factor does the noise
    shrink the determinant of the confusion matrix?
    """
    rate, num_classes = 0.4, 10
    return float((1 - rate * num_classes / (num_classes - 1)) ** (num_classes - 1))


# Lesson 05, MetaInfoNet.


@exercise(tolerance=0.005, unit="per unit of weight")
def agreeing_is_not_enough() -> float:
    """Three examples have weights 0.5, 0.25 and 0.25, and their gradients agree with the meta gradient by
    ∇ℓᵢ·∇L_meta = 4, 1 and 2. α = 0.1, and the weights are normalised (the raw ones sum to 1). What is the
    derivative of the meta loss by the raw weight of the third?
    """
    weights, agreements, lr = (0.5, 0.25, 0.25), (4.0, 1.0, 2.0), 0.1
    mean = sum(weight * agreement for weight, agreement in zip(weights, agreements, strict=True))
    return -lr * (agreements[2] - mean)


@exercise(tolerance=0.005, unit="as a fraction")
def effective_share() -> float:
    """60% of the examples weigh 1.6 each, the other 40% weigh 0.1 each. How large is the effective sample
    size, as a share of all examples?
    """
    mean = 0.6 * 1.6 + 0.4 * 0.1
    return mean**2 / (0.6 * 1.6**2 + 0.4 * 0.1**2)


def _printed(table: int, dataset: str, rate: float, metric: str) -> dict[str, float]:
    """What MetaInfoNet's table prints for each method."""
    frame = paper_table(f"metainfonet_table{table}.csv")
    chosen = frame[(frame["dataset"] == dataset) & (frame["rate"] == rate) & (frame["metric"] == metric)]
    return dict(zip(chosen["method"], chosen["value"], strict=True))


@exercise(tolerance=0.05, unit="points")
def more_than_eight_percent() -> float:
    """Section 5.3, on Table 4: 'MetaInfoNet attains more than 8% improvement over LossNet'. The largest
    gap is on CIFAR-10 at 40%, 'last'. How many points of accuracy is it?
    """
    last = _printed(4, "CIFAR-10", 0.4, "test_acc_last")
    return last["MetaInfoNet"] - last["LossNet"]


@exercise(tolerance=0.03, unit="points")
def who_decreases_dramatically() -> float:
    """On Table 4 at 40%: 'MetaInfoNet keeps the advantage while the other three algorithms' performance
    decrease dramatically'. On CIFAR-100, how many points more does MetaInfoNet lose from best to last
    than LogitNet does?
    """
    best = _printed(4, "CIFAR-100", 0.4, "test_acc_best")
    last = _printed(4, "CIFAR-100", 0.4, "test_acc_last")
    return (best["MetaInfoNet"] - last["MetaInfoNet"]) - (best["LogitNet"] - last["LogitNet"])


@exercise(tolerance=0.25, unit="methods")
def best_at_all_noise_rates() -> float:
    """On Table 2: 'MetaInfoNet achieves the best performance across both datasets and all noise rates'.
    How many methods are printed above it on CIFAR-10 without noise?
    """
    printed = _printed(2, "CIFAR-10", 0.0, "test_acc")
    return sum(value > printed["MetaInfoNet"] for value in printed.values())


@exercise(tolerance=0.05, unit="points")
def nearly_two_percent() -> float:
    """On Table 6, ANIMAL-10N: 'nearly 2% improvement over the other methods on best'. How many points?"""
    best = _printed(6, "ANIMAL-10N", 0.08, "test_acc_best")
    own = best.pop("MetaInfoNet")
    return own - max(best.values())


@exercise(tolerance=0.04, unit="points")
def the_same_experiment_twice() -> float:
    """Table 1 at imbalance 1 and Table 2 at 0% noise are the same experiment on CIFAR-100. By how many
    points do LossNet, LogitNet and MetaInfoNet differ between the two, on average and in absolute value?
    """
    frame = paper_table("metainfonet_table1.csv")
    even = frame[(frame["dataset"] == "CIFAR-100-LT") & (frame["rate"] == 1)]
    one, other = even.set_index("method")["value"], _printed(2, "CIFAR-100", 0.0, "test_acc")
    names = ("LossNet", "LogitNet", "MetaInfoNet")
    return float(sum(abs(one[name] - other[name]) for name in names) / len(names))


# Lesson 06, class imbalance.


@exercise(tolerance=1, unit="images")
def images_of_class_five() -> float:
    """CIFAR-10 with ten images a class taken out for the meta set leaves 4990 of each. Imbalance factor
    100. How many images has class 5, of classes 0 to 9?
    """
    return float(noise.long_tailed_sizes(4990, num_classes=10, factor=100)[5])


@exercise(tolerance=0.2, unit="times")
def weight_of_a_rare_image() -> float:
    """Class-balanced weights with β = 0.999. A class has 50 images, another 5000. How many times as much
    does an image of the small class weigh as one of the large class?
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
    """In how many of the six CIFAR-100 columns of Table 1 is LogitNet printed above MetaInfoNet?"""
    own = _long_tailed("CIFAR-100-LT", "MetaInfoNet")
    return sum(value > own[factor] for factor, value in _long_tailed("CIFAR-100-LT", "LogitNet").items())


@exercise(tolerance=0.25, unit="columns")
def fine_tuning_ahead() -> float:
    """Fine-tuning trains on the meta set as on any other data. In how many of the twelve columns of Table
    1 is it printed above LossNet, which learns weights from the same images?
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
    """
    return 54.37 - _long_tailed("CIFAR-100-LT", "MetaInfoNet")[20]
