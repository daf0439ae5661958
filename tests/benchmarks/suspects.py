"""Which ranking finds planted wrong labels best: `python -m tests.benchmarks.suspects` writes
figures/suspects.csv, one row a ranking, data set, noise, rate and seed.

Each image is scored by LIMIT with five folds, by LIMIT with one split, and by cross-entropy with five folds:
by the distance of the gradients, and by the loss, which ranks as cleanlab's self-confidence does. The
out-of-fold probabilities of both are ranked by cleanlab's confident learning, too. Runs are kept in
LNLIB_RUNS.
"""

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from lnlib.analysis import detection
from lnlib.files import write_csv
from lnlib.papers.spec import Spec
from lnlib.papers.store import Store

FOLDS, K_POOL = 5, 5000
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "digits": {"epochs": 40},
    "mnist": {"net": "cnn", "epochs": 15, "train_size": K_POOL},
    "cifar-10-jpeg": {"net": "cnn", "epochs": 15, "train_size": K_POOL},
}
PAIRS = {"cifar-10-jpeg": "cat-dog"}
"""On digits each is mistaken for the next one; on CIFAR-10 five classes for look-alikes."""


def conditions(dataset: str, seed: int) -> Iterator[dict[str, Any]]:
    """The fields of the specs, one dict a kind and rate of noise."""
    for kind, rate in product(("uniform", "pair"), (0.1, 0.3)):
        options = {"mapping": PAIRS.get(dataset, "next-class")} if kind == "pair" else {}
        yield {
            "dataset": dataset,
            "noise": kind,
            "rate": rate,
            "noise_options": options,
            "seed": seed,
            **SETTINGS[dataset],
        }


def rankings(fields: Mapping[str, Any], store: Store) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each ranking's name, its scores, and which labels are wrong."""
    for method, label in (("limit", "LIMIT"), ("cross-entropy", "cross-entropy")):
        specs = [
            Spec.parse({**fields, "method": method, "folds": FOLDS, "fold": fold}) for fold in range(FOLDS)
        ]
        tasks, logits = [spec.task() for spec in specs], []
        for result in store.obtain_together(specs):
            run = result.run()
            logits.append(run.logits("test", "predictor" if method == "limit" else None))
        found = detection.held_out(tasks, logits)
        wrong = (found.labels != tasks[0].dataset.train_labels[found.rows]).numpy()
        for kind, score in (("distance", detection.gradient_distance), ("loss", detection.loss_score)):
            yield f"{label}, {kind}, {FOLDS} folds", score(found.logits, found.labels).numpy(), wrong
        probabilities, labels = torch.softmax(found.logits.double(), dim=1).numpy(), found.labels.numpy()
        # What `CleanLearning` does: the issues that confident learning finds come first, by their quality.
        issues = find_label_issues(labels, probabilities, n_jobs=1)
        yield f"cleanlab on {label}", issues - get_label_quality_scores(labels, probabilities), wrong
    yield from one_split(fields, store)


def one_split(fields: Mapping[str, Any], store: Store) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The same images, four fifths of which LIMIT is trained on."""
    sizes = {"train_size": K_POOL * 4 // 5, "validation": K_POOL // 5} if "train_size" in fields else {}
    spec = Spec.parse({**fields, "method": "limit", **sizes})
    run = store.obtain(spec).run()
    logits = {
        "training": run.logits("train", "predictor"),
        "validation": run.logits("validation", "predictor"),
    }
    for kind, score in (("distance", detection.gradient_distance), ("loss", detection.loss_score)):
        frame = detection.evaluation_frame(detection.suspects(run.task, logits, score), run.task)
        yield f"LIMIT, {kind}, one split", frame["score"].to_numpy(), frame["wrong"].to_numpy()


def measured(fields: Mapping[str, Any], store: Store) -> Iterator[dict[str, Any]]:
    """How well each ranking finds the labels planted in one condition."""
    for name, scores, wrong in rankings(fields, store):
        planted = int(wrong.sum())
        yield {
            **{key: fields[key] for key in ("dataset", "noise", "rate", "seed")},
            "images": len(wrong),
            "planted": planted,
            "ranking": name,
            "auc": detection.evaluation_auc(scores, wrong),
            "precision_at_planted": detection.evaluation_precision(scores, wrong, planted),
            "precision_at_50": detection.evaluation_precision(scores, wrong, 50),
        }


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("datasets", nargs="*", default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path, default=Path("figures/suspects.csv"))
    arguments = parser.parse_args()
    store, rows = Store(), []
    for dataset, seed in product(arguments.datasets, arguments.seeds):
        for fields in conditions(dataset, seed):
            rows.extend(measured(fields, store))
            print(pd.DataFrame(rows).tail(8).to_string(index=False, header=False), flush=True)
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            write_csv(arguments.output, pd.DataFrame(rows), float_format="%.4f")


if __name__ == "__main__":
    main()
