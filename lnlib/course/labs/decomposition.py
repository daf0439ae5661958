"""DecompositionLab: LIMIT's eq. (1), every term counted exactly, to play with."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from lnlib import bounds
from lnlib.analysis.decomposition import Decomposition, decompose, four_inputs, gibbs_learner
from lnlib.course import plots
from lnlib.course.labs.base import Lab
from lnlib.course.labs.controls import Slider, Values
from lnlib.course.labs.panels import Scene
from lnlib.course.labs.words import percent

MOST_EXAMPLES = 4
"""So many that every data set of lesson 03's four inputs can be counted while a slider moves."""

_CAPACITY = 4.0  # bits, of sixteen tables


class DecompositionLab(Lab):
    """Eq. (1) counted: noise rate, greed of the learner and number of examples, for four inputs.

    `terms` are the exact numbers at the controls' values.
    """

    views: ClassVar = {
        "rate": Slider(value=0.2, label="wrong labels p", width=270, high=0.5, step=0.05),
        "greed": Slider(value=2.0, label="greed of the learner", width=310, high=5.0, step=0.25),
        "num_examples": Slider(value=3, label="examples n", width=225, low=1, high=MOST_EXAMPLES, step=1),
    }

    @property
    def terms(self) -> Decomposition:
        """Every term at the controls' values."""
        return _terms(*self.values)

    def view(self, results: Mapping[Any, Any], c: Values) -> Scene:
        terms = _terms(*c)
        sizes = [_terms(c.rate, c.greed, size) for size in range(1, MOST_EXAMPLES + 1)]
        columns = plots.cross_entropy_terms(terms, c.num_examples)
        by_size = plots.information_by_size(sizes, _CAPACITY)
        return Scene([columns, by_size], _describe(terms, c.num_examples))


def _describe(terms: Decomposition, num_examples: int) -> str:
    if terms.label_entropy == 0:
        memory = "Every label is right, and there is no noise to memorise"
    else:
        held, noise = terms.label_information, terms.label_entropy
        memory = f"The weights hold {held:.2f} of {noise:.2f} bits of label noise"
    bound = float(bounds.generalization_bound(terms.information, num_examples, 0.5))
    return (
        f"{memory}: {percent(terms.training_error)} errors on the training labels, "
        f"{percent(terms.test_error)} on fresh ones. "
        f"The gap is {terms.gap:.2f}; Theorem 2.2 allows {bound:.2f}."
    )


@lru_cache(maxsize=1024)
def _terms(rate: float, greed: float, num_examples: int) -> Decomposition:
    problem = four_inputs(rate, num_examples)
    return decompose(problem, gibbs_learner(problem, greed))
