"""The tables of MetaInfoNet: rows, cells and protocols.

MetaInfoNet, section 5 and tables 1-6. Its numbers for the rows Standard to MentorNet are most likely those of
Meta-Weight-Net's paper, trained on other schedules; here all rows of a table have one optimiser and one
schedule, the one that the paper gives for its own.
"""

from collections.abc import Mapping
from typing import Any

from lnlib import noise
from lnlib.papers.presets.protocol import Budget, Cell, Grid, Options, Row, Table, grid
from lnlib.papers.spec import GIVEN, Spec

# Rows. What the originals give in epochs is here a share of the run's.


def forget_rate(run: Spec) -> Options:
    """Co-teaching is told how many labels are wrong: fewer than the rate where a label may be drawn anew."""
    return {"forget_rate": noise.effective_error_rate(run.matrix())}


def last_epochs(run: Spec) -> Options:
    """L2RW's code goes on for 5000 steps, 10 epochs on CIFAR; at most a third of a short run."""
    return {"last_epochs": max(1, min(10, run.epochs // 3))}


def init_epoch(run: Spec) -> Options:
    """D2L's 40 of 120 epochs on CIFAR-10."""
    return {"init_epoch": run.epochs // 3}


STANDARD = Row("standard", "Standard", "cross-entropy")
FOCAL = Row("focal", "Focal loss", "focal")
CLASS_BALANCED = Row("class-balanced", "Class-balanced", "class-balanced")
FINE_TUNING = Row("fine-tuning", "Fine-tuning", "fine-tuning", options_of=last_epochs)
BOOTSTRAP = Row("bootstrap", "Bootstrap", "bootstrap")
S_MODEL = Row("s-model", "S-Model", "s-model")
SELF_PACED = Row("self-paced", "Self-paced", "self-paced")
CO_TEACHING = Row("co-teaching", "Co-teaching", "co-teaching", options_of=forget_rate)
D2L = Row("d2l", "D2L", "d2l", options_of=init_epoch)
MENTORNET = Row("mentornet", "MentorNet", "mentornet")
MLNT = Row("mlnt", "MLNT", "mlnt")
LCCN = Row("lccn", "LCCN", "lccn")
L2RW = Row("l2rw", "L2RW", "l2rw")
WEIGHTING = (
    Row("lossnet", "LossNet", "lossnet"),
    Row("logitnet", "LogitNet", "logitnet"),
    Row("metainfonet", "MetaInfoNet", "metainfonet"),
)
NOISE_ROWS = (
    STANDARD,
    BOOTSTRAP,
    S_MODEL,
    SELF_PACED,
    FOCAL,
    CO_TEACHING,
    D2L,
    FINE_TUNING,
    MENTORNET,
    L2RW,
    *WEIGHTING,
)

# Setups: the fields of a run, by data set.

SCHEDULE: Options = {
    "batch_size": 100,
    "meta_batch_size": 100,
    "optimizer": "sgd",
    "optimizer_options": {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4},
}
# 100 clean images are to 5000 of MNIST what the paper's 1000 are to its 49000.
SMALL: Mapping[str, Options] = {
    "digits": {**SCHEDULE, "net": "mlp", "net_options": {"depth": 2}, "meta_size": 100},
    "mnist": {**SCHEDULE, "net": "cnn", "validation": 2000, "meta_size": 100},
    "": {**SCHEDULE, "net": "cnn", "meta_size": 100},
}
CIFAR: Options = {**SCHEDULE, "validation": 0.1, "augment": "reflect", "scaling": "metainfonet"}


def setups(net: str, meta_size: int, meta_size_of_100: int) -> dict[str, Options]:
    """The small data sets, and CIFAR with a network and with so many clean images of 10 and of 100
    classes.
    """
    ten = {**CIFAR, "net": net, "meta_size": meta_size}
    hundred = {**CIFAR, "net": net, "meta_size": meta_size_of_100}
    return {**SMALL, "cifar-10": ten, "cifar-10-jpeg": ten, "cifar-100": hundred}


BALANCED = setups("resnet32", 1000, 1000)
LONG_TAILED = setups("resnet32", 100, 1000)
WIDE = setups("wrn-28-10", 1000, 1000)
CLOTHING = {
    **SMALL,
    "clothing1m": {
        **SCHEDULE,
        "net": "resnet50",
        "net_options": {"weights": "imagenet"},
        "batch_size": 32,
        "optimizer_options": {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-3},
        "validation": 10_000,
        "meta_size": 7000,
        "augment": "center",
    },
}
ANIMALS = {
    **SMALL,
    "animal-10n": {**CIFAR, "net": "resnet32", "meta_size": 1000},
}
CIFAR_NAMES = {"cifar-10": "CIFAR-10", "cifar-10-jpeg": "CIFAR-10", "cifar-100": "CIFAR-100"}

# Budgets.

SHORT_GRIDS: Mapping[str, Grid] = {
    # The defaults are in steps of runs a hundred times as long.
    "lccn": grid(every=(20,)),
}
SHORT_CELLS = {
    "metainfonet-table2": ("p=0.4",),
    "metainfonet-table3": ("p=0.4",),
    "metainfonet-table4": ("p=0.4",),
}
FACTORS = tuple(f"factor={factor}" for factor in (200, 100, 50, 20, 10, 1))

BUDGETS: Mapping[str, Budget] = {
    budget.name: budget
    for budget in (
        Budget(
            name="quick",
            title="one setting a row, one seed: seconds a row on digits",
            epochs=30,
            grids=SHORT_GRIDS,
            cells={"metainfonet-table1": ("factor=20",), **SHORT_CELLS},
            seeds=(0,),
        ),
        Budget(
            name="laptop",
            title="one setting a row, one seed, at most 5000 training images: MNIST in ten minutes a table",
            epochs=20,
            train_size=5000,
            grids=SHORT_GRIDS,
            cells={"metainfonet-table1": ("factor=50",), **SHORT_CELLS},
            seeds=(0,),
        ),
        Budget(
            name="paper",
            title="the paper's epochs, five seeds, its grid of λ for MetaInfoNet and Cui et al.'s of γ",
            grids={
                "metainfonet": grid(lam=(0.0, 0.01, 0.03, 0.1, 0.3, 1.0)),
                "focal": grid(gamma=(0.5, 1.0, 2.0)),
            },
            cells={"metainfonet-table1": FACTORS},
        ),
        Budget(
            name="equal",
            title="the paper's epochs, five seeds, and one setting for every row",
            grids={},
            cells={"metainfonet-table1": FACTORS},
        ),
    )
}

# Tables.

SEEDS = (0, 1, 2, 3, 4)
STEPS = (2 / 3, 5 / 6)
BOTH = ("best", "last")
SAME_FOR_ALL = (
    "All rows have one optimiser, one schedule, and the same clean meta set taken away from their training "
    "images, used or not. The noisy validation split is taken away too: the paper trains on all but the meta "
    "set and does not say what selects its best epoch."
)
MADE = "The noise is made here where a data set has true labels only: flip-2 with as many wrong labels. "


def table(number: int, title: str, **fields: Any) -> Table:
    """One of the paper's tables; `fields` are what it does not share with the others."""
    return Table(
        name=f"metainfonet-table{number}",
        title=f"MetaInfoNet, Table {number}: {title}",
        source=f"metainfonet_table{number}.csv",
        seeds=SEEDS,
        budgets=BUDGETS,
        metrics=BOTH,
        **fields,
    )


TABLE1 = table(
    1,
    "long-tailed CIFAR",
    dataset="CIFAR-10-LT",
    datasets={name: f"{printed}-LT" for name, printed in CIFAR_NAMES.items()},
    rows=(STANDARD, FOCAL, CLASS_BALANCED, FINE_TUNING, L2RW, *WEIGHTING),
    # The paper has no factors 5 and 2: they are for data sets too small for its largest ones.
    cells=tuple(
        Cell("uniform", 0.0, imbalance=factor, printed="imbalance")
        for factor in (200.0, 100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0)
    ),
    names=("factor",),
    epochs=120,
    milestones=STEPS,
    setups=LONG_TAILED,
    note=f"{SAME_FOR_ALL} The validation split is as uneven as the training images; test and meta sets are "
    "even. With a tenth held out, CIFAR-10's largest class has 4490 images, not the paper's 4990. Under this "
    "schedule L2RW collapses on MNIST (factor 50, seed 0); with a learning rate of .01 or without momentum "
    "it does not.",
)
TABLE2 = table(
    2,
    "CIFAR with flip-2 label noise",
    dataset="CIFAR-10",
    datasets=CIFAR_NAMES,
    rows=NOISE_ROWS,
    cells=tuple(Cell("flip", p, noise_options={"targets": 2}, printed="flip2") for p in (0.0, 0.2, 0.4)),
    names=("p",),
    epochs=120,
    milestones=STEPS,
    setups=BALANCED,
    note=SAME_FOR_ALL,
)
TABLE3 = table(
    3,
    "CIFAR-10 with label noise drawn from any class",
    dataset="CIFAR-10",
    datasets=CIFAR_NAMES,
    rows=NOISE_ROWS,
    cells=tuple(Cell("symmetric", p, printed="uniform_any") for p in (0.0, 0.4, 0.6)),
    names=("p",),
    epochs=50,
    milestones=(3 / 5, 4 / 5),
    setups=WIDE,
    note=f"{SAME_FOR_ALL} A share p of the labels is drawn anew from all K classes: p (K − 1)/K are wrong.",
)
TABLE4 = table(
    4,
    "best and last epochs on CIFAR with flip-1 label noise",
    dataset="CIFAR-10",
    datasets=CIFAR_NAMES,
    rows=(STANDARD, L2RW, *WEIGHTING),
    cells=tuple(Cell("flip", p, noise_options={"targets": 1}, printed="flip1") for p in (0.2, 0.4)),
    names=("p",),
    epochs=120,
    milestones=STEPS,
    setups=BALANCED,
    note=f"{SAME_FOR_ALL} The paper's table has no row Standard.",
)


def real_cells(wrong: float) -> tuple[Cell, Cell]:
    """The labels as they came, and for data sets with true labels only, made noise with as many wrong."""
    stand_in = Cell(
        "flip",
        wrong,
        noise_options={"targets": 2},
        printed="real",
        heading=f"made: flip-2, p={wrong:g}",
    )
    return Cell(GIVEN, 0.0, printed="real", heading="labels as they came"), stand_in


TABLE5 = table(
    5,
    "Clothing1M",
    dataset="Clothing1M",
    datasets={"clothing1m": "Clothing1M"},
    rows=(STANDARD, BOOTSTRAP, S_MODEL, LCCN, MLNT, *WEIGHTING),
    cells=real_cells(0.38),
    names=("noise",),
    epochs=10,
    milestones=(1 / 2,),
    setups=CLOTHING,
    note=f"{MADE}{SAME_FOR_ALL} On Clothing1M the ResNet-50 begins from ImageNet's weights, as the paper's.",
)
TABLE6 = table(
    6,
    "best and last epochs on ANIMAL-10N",
    dataset="ANIMAL-10N",
    datasets={"animal-10n": "ANIMAL-10N"},
    rows=(STANDARD, FINE_TUNING, L2RW, *WEIGHTING),
    cells=real_cells(0.08),
    names=("noise",),
    epochs=100,
    milestones=(1 / 2, 3 / 4),
    setups=ANIMALS,
    note=f"{MADE}{SAME_FOR_ALL} The paper's table has no row Standard.",
)
TABLES = (TABLE1, TABLE2, TABLE3, TABLE4, TABLE5, TABLE6)
