"""Lesson 02, memorisation."""

from lnlib import bounds
from lnlib.course.exercises.exercise import exercise


@exercise(
    tolerance=0.005,
    unit="as a fraction",
    slips={
        "that is their share of all labels: the question is which share of the wrong ones": lambda: 0.2,
        "that is the share of all labels that are predicted: the true ones are among them": lambda: 0.4,
    },
)
def wrong_labels_fitted() -> float:
    """80% of the labels are wrong. A network predicts 40% of all given labels, among them every one that
    is true. Which share of the wrong labels does it fit?

    Hint: 20% of all labels are true. How many of the 40% are left for wrong ones?

    Hint: 20% of all labels are wrong and fitted. Of 80% that are wrong, that is …

    In words: Of 100 labels it predicts 40. The 20 true ones are among them, so 20 are wrong: 20 of 80.
    """
    wrong, all_given = 0.8, 0.4
    return (all_given - (1 - wrong)) / wrong


@exercise(
    tolerance=0.01,
    unit="bits per label",
    slips={
        "that is for 50% training errors: half of the labels are true, and those are all fitted": lambda: 0.0,
        "that is half of H(y|x): put the error rate into the bound": lambda: (
            float(bounds.uniform_label_entropy(0.5, num_classes=10)) / 2
        ),
    },
)
def half_the_wrong_labels() -> float:
    """K = 10, 50% uniform noise. A network predicts every given label that is true, and half of the wrong
    ones. How many bits per label has it memorised at least?

    Hint: First the training error: on which share of *all* labels does it err?

    Hint: 25%. Now $H(0.5) + 0.5\\log_2 9$ less $H(0.25) + 0.25\\log_2 9$.

    In words: It errs on half of the wrong half: 25%. The bound read backwards does the rest:
    $2.58 - (0.81 + 0.79) = 0.98$.
    """
    entropy = bounds.uniform_label_entropy(0.5, num_classes=10)
    return float(bounds.memorized_information(0.5 * 0.5, entropy, num_classes=10))


@exercise(
    tolerance=0.002,
    unit="as a fraction",
    slips={
        "that is its accuracy on true labels: 80% of the given ones are wrong": lambda: 0.9,
        "you left out the mistakes that happen to meet a wrong label": lambda: 0.18,
    },
)
def score_on_noisy_validation() -> float:
    """K = 10, 80% uniform noise. A classifier is right on 90% of the validation images, and its mistakes
    have nothing to do with the noise. Which accuracy on the *given* validation labels do you expect?

    Hint: It scores in two ways: it is right and the label is true, or both are wrong in the same way.

    Hint: $0.9 \\cdot 0.2$, and $0.1 \\cdot 0.8$ times the chance that two wrong classes agree.

    In words: Right and true: 0.9 · 0.2. Wrong and wrong: 0.1 · 0.8, and then the two name the same of nine
    wrong classes once in nine times. A low score on given labels can belong to a good classifier.
    """
    right, wrong, num_classes = 0.9, 0.8, 10
    return right * (1 - wrong) + (1 - right) * wrong / (num_classes - 1)


@exercise(
    tolerance=0.005,
    unit="as an absolute error",
    slips={
        "that is $\\lVert\\mu\\rVert_1$: how far the classifier is from the predictor": lambda: 1.2,
        "that is $\\lVert g\\rVert_1$: how far the classifier is from the label": lambda: 1.6,
        "that is the squared distance, which Gaussian q takes": lambda: 0.06,
    },
)
def what_the_predictor_misses() -> float:
    """Three classes. A classifier says (0.7, 0.2, 0.1), LIMIT's predictor (0.1, 0.8, 0.1), and the given
    label is the second class. How large is the distance $\\lVert\\mu-g\\rVert_1$ that the predictor with
    Laplace q is trained to make small?

    Hint: $\\mu - g$ does not hold the classifier's output any more. What is left?

    Hint: $y - s(r)$ with $y = (0, 1, 0)$; add up the absolute values.

    In words: What is left is the label less the predictor's output, (−0.1, 0.2, −0.1): 0.4 in absolute value.
    """
    label, predictor = (0, 1, 0), (0.1, 0.8, 0.1)
    return sum(abs(y - s) for y, s in zip(label, predictor, strict=True))
