"""The tables of LIMIT: rows, cells and protocols.

LIMIT, section 4, and its reference code for grids and patience.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lnlib.methods.limit import lambda_to_sigma
from lnlib.papers.presets.protocol import Budget, Cell, Grid, Options, Row, Table, grid


def gaussian_and_laplace(suffix: str, paper: str, **options: Any) -> tuple[Row, Row]:
    """The two rows that a variant of LIMIT has."""
    return (
        Row(f"limit-g{suffix}", f"LIMIT_G{paper}", "limit", {"q": "gaussian", **options}),
        Row(f"limit-l{suffix}", f"LIMIT_L{paper}", "limit", {"q": "laplace", **options}),
    )


CE = Row("ce", "CE", "cross-entropy")
MAE = Row("mae", "MAE", "mae")
FW = Row("fw", "FW", "forward-correction")
DMI = Row("dmi", "DMI", "dmi")

SETUPS: Mapping[str, Options] = {
    "digits": {"net": "mlp", "batch_size": 64},
    "mnist": {"net": "cnn", "batch_size": 256},
    "cifar-10": {"net": "resnet34", "batch_size": 256, "augment": True},
    "cifar-10-jpeg": {"net": "resnet34", "batch_size": 256, "augment": True},
    "cifar-100": {"net": "resnet34", "batch_size": 256, "augment": True},
    "": {"net": "cnn", "batch_size": 256},
}


def sigmas(q: str, lambdas: Sequence[float]) -> tuple[float, ...]:
    """The standard deviations of q that the reference code's λ stand for."""
    return tuple(round(lambda_to_sigma(lam, q), 4) for lam in lambdas)  # type: ignore[arg-type]


BETAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
PAPER_GRIDS: Mapping[str, Grid] = {
    **{f"ce+{q}n": grid(std=(0.01, 0.03, 0.1, 0.3), scale=("reference",)) for q in "gl"},
    "dmi": grid(lr=(1e-3, 1e-4, 1e-5, 1e-6)),
    "soft-reg": grid(lam=(0.001, 0.01, 0.03, 0.1), beta=(0.0, 0.01, 0.1, 1.0, 10.0)),
    "limit-g+s": grid(beta=BETAS, sigma=sigmas("gaussian", (5, 50, 500, 5000))),
    "limit-l+s": grid(beta=BETAS, sigma=sigmas("laplace", (5, 10, 30, 100))),
    **{f"limit-{q}-s": grid(beta=BETAS) for q in "gl"},
    **{f"limit-{q}": grid(beta=BETAS[:-1]) for q in "gl"},
}
SHORT_GRIDS: Mapping[str, Grid] = {
    **{f"ce+{q}n": grid(std=(0.1, 1.0)) for q in "gl"},
    "dmi": grid(lr=(1e-3, 1e-4)),
    "soft-reg": grid(lam=(0.01,)),
    **{f"limit-{q}+s": grid(beta=(3.0, 10.0), sigma=(0.1,)) for q in "gl"},
    **{f"limit-{q}-s": grid(beta=(3.0, 10.0)) for q in "gl"},
    **{f"limit-{q}": grid(beta=(3.0, 10.0)) for q in "gl"},
}
SHORT_CELLS = {"limit-table2": ("noise=uniform,p=0.4", "noise=pair,p=0.4")}

BUDGETS: Mapping[str, Budget] = {
    budget.name: budget
    for budget in (
        Budget(
            name="quick",
            title="short grids, no early stopping, one seed: a minute or two on digits",
            epochs=40,
            grids=SHORT_GRIDS,
            cells={"limit-table1": ("p=0.5,n=all", "p=0.8,n=all"), **SHORT_CELLS},
            seeds=(42,),
        ),
        Budget(
            name="laptop",
            title="short grids, no early stopping, one seed: MNIST in an evening on two cores",
            epochs=15,
            grids=SHORT_GRIDS,
            cells={
                "limit-table1": ("p=0.5,n=1000", "p=0.5,n=all", "p=0.8,n=1000", "p=0.8,n=all"),
                **SHORT_CELLS,
            },
            seeds=(42,),
            stretch={1000: (10, 2), 10000: (3, 1)},
        ),
        Budget(
            name="paper",
            title="the paper's grids, seeds and epochs, and the reference code's patience, unequal as it is",
            grids=PAPER_GRIDS,
            patience={
                "uniform": {"": 100, "limit-g": 200, "limit-l": 200},
                "pair": {
                    "": 50,
                    "dmi": 100,
                    "limit-g": 100,
                    "limit-l": 100,
                    "limit-g+init": 200,
                    "limit-l+init": 200,
                },
            },
        ),
        Budget(
            name="equal",
            title="the paper's grids, seeds and epochs, and the same patience for all rows",
            grids=PAPER_GRIDS,
            patience={"uniform": {"": 200}, "pair": {"": 200}},
        ),
    )
}

TABLE1 = Table(
    name="limit-table1",
    title="LIMIT, Table 1: MNIST with uniform label noise",
    source="limit_table1.csv",
    dataset="MNIST",
    datasets={"mnist": "MNIST"},
    largest=48000,
    rows=(
        CE,
        Row("ce+gn", "CE+GN", "noisy-gradients", {"noise": "gaussian"}),
        Row("ce+ln", "CE+LN", "noisy-gradients", {"noise": "laplace"}),
        MAE,
        FW,
        DMI,
        Row("soft-reg", "Soft reg. (eq. 11)", "soft-regularization"),
        *gaussian_and_laplace("+s", " +S", sampling=True),
        *gaussian_and_laplace("-s", " -S"),
    ),
    cells=tuple(
        Cell("uniform", p, n, printed="uniform_wrong")
        for p in (0.0, 0.5, 0.8, 0.89)
        for n in (1000, 10000, None)
    ),
    names=("p", "n"),
    seeds=(42, 43, 44, 45, 46),
    epochs=400,
    setups=SETUPS,
    budgets=BUDGETS,
)
TABLE2 = Table(
    name="limit-table2",
    title="LIMIT, Table 2: CIFAR with uniform and pair label noise",
    source="limit_table2.csv",
    dataset="CIFAR-10",
    datasets={"cifar-10": "CIFAR-10", "cifar-10-jpeg": "CIFAR-10", "cifar-100": "CIFAR-100"},
    largest=40000,
    rows=(
        CE,
        MAE,
        FW,
        DMI,
        *gaussian_and_laplace("", ""),
        *gaussian_and_laplace("+init", " + init.", init="cross-entropy"),
    ),
    cells=(
        *(Cell("uniform", p, printed="uniform_wrong") for p in (0.0, 0.2, 0.4, 0.6, 0.8)),
        *(Cell("pair", p) for p in (0.1, 0.2, 0.3, 0.4)),
    ),
    names=("noise", "p"),
    seeds=(42,),
    epochs=400,
    setups=SETUPS,
    budgets=BUDGETS,
)
