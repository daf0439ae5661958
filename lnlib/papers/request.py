"""A table as it is asked for: which part, on which data, by which protocol, and the runs that this takes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

import torch
from torch import nn

from lnlib.catalog import METHODS
from lnlib.data.task import Task
from lnlib.errors import InvalidValue, UnknownName, unknown_name
from lnlib.papers.presets import TABLES
from lnlib.papers.protocol import Cell, Options, Protocol, Row, Table
from lnlib.papers.spec import GIVEN, Spec

Grid = list[tuple[Options, tuple[Spec, ...]]]
"""Settings, each with its specs by seed."""


@dataclass(frozen=True)
class Request:
    """A table as it is asked for; `asked` are the cells, some of which the data may be unable to make."""

    table: Table
    dataset: str
    protocol: Protocol
    rows: tuple[Row, ...]
    asked: tuple[Cell, ...]
    seeds: tuple[int, ...]
    epochs: int | None = None
    train_size: int | None = None
    _grids: dict[tuple[str, str], Grid] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def parse(
        cls,
        table: str,
        dataset: str = "digits",
        budget: str = "quick",
        rows: Sequence[str] | None = None,
        cells: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        epochs: int | None = None,
        train_size: int | None = None,
    ) -> "Request":
        """A request from names; raises `UnknownName` and `InvalidValue` for what does not exist.

        Cells that the data cannot make are left out; `InvalidValue` where one of `cells` selects no other.
        """
        if table not in TABLES:
            raise unknown_name("table", table, TABLES)
        found = TABLES[table]
        if budget not in found.protocols:
            raise unknown_name("budget", budget, found.protocols)
        protocol = found.protocols[budget]
        if seeds:
            protocol = replace(protocol, cell_seeds={})
        request = cls(
            found,
            dataset,
            protocol,
            named_rows(found, rows),
            named_cells(found, cells or protocol.cells.get(table)),
            tuple(dict.fromkeys(seeds or protocol.seeds or found.seeds)),
            epochs,
            train_size,
        )
        request._first(request.asked[0])  # its specs check seeds, epochs and sizes
        if request.length < 2 and any(row.method == "fine-tuning" for row in request.rows):
            n = request.length
            raise InvalidValue(f"fine-tuning needs an epoch of each kind, got {n}; try --epochs 2 or --rows")
        for selected in [named_cells(found, [text]) for text in cells or ()] or [request.asked]:
            if all(cell.heading in request.obstacles for cell in selected):
                heading = selected[0].heading
                raise InvalidValue(f"{heading} of {table}: {request.obstacles[heading]}; try other --cells")
        return request

    @property
    def length(self) -> int:
        """The epochs of a run that nothing stretches or stops."""
        own = self.protocol.setup(self.dataset).get("epochs")
        return next(n for n in (self.epochs, own, self.protocol.epochs, self.table.epochs) if n is not None)

    def seeds_of(self, cell: Cell) -> tuple[int, ...]:
        """The seeds of a cell's runs."""
        return self.protocol.cell_seeds.get(self.table.name, {}).get(cell.heading, self.seeds)

    @property
    def setup(self) -> Options:
        """The fields of a spec that the data set decides."""
        chosen = {**self.table.setup(self.dataset), **self.protocol.setup(self.dataset)}
        return {name: value for name, value in chosen.items() if name not in ("epochs", "train_size")}

    @property
    def size_limit(self) -> int | None:
        """At most so many training images, by the request or its protocol; None for all."""
        usual = self.protocol.setup(self.dataset).get("train_size")
        return min((n for n in (self.train_size, usual) if n is not None), default=None)

    @cached_property
    def _left(self) -> int:
        """How many training images the other splits leave."""
        return Spec.parse({**self.setup, "dataset": self.dataset}).sizes().train

    @property
    def train_images(self) -> int:
        """How many training images there are at most."""
        return self._left if self.size_limit is None else min(self.size_limit, self._left)

    @cached_property
    def obstacles(self) -> dict[str, str]:
        """Why the data cannot make some cells of the table, by heading."""
        return {cell.heading: why for cell in self.table.cells if (why := self._obstacle(cell))}

    def _obstacle(self, cell: Cell) -> str:
        spec = self._first(cell)
        if spec.comes_noisy != (cell.noise == GIVEN):
            kind = "noisy labels already" if spec.comes_noisy else "true labels only"
            return f"{self.dataset} has {kind}"
        if (cell.train_size or 0) > self.train_images:
            return (
                f"it needs more training images than {self.train_images}, which is what {self.dataset} has "
                "or --train-size leaves"
            )
        try:
            task, num_train = spec.task(), spec.sizes().train
            for row in self.rows:
                self._try(row, cell, task)
        except InvalidValue as error:
            return str(error)
        if num_train % spec.batch_size == 1 and not spec.drop_last:
            return (
                f"its {num_train} images leave one alone after batches of {spec.batch_size}, which BatchNorm "
                f"cannot normalise; try --train-size {num_train - 1}"
            )
        return ""

    def _try(self, row: Row, cell: Cell, task: Task) -> None:
        """Raise `InvalidValue` where a row cannot be trained on the task; nothing large is built."""
        method, settings = self.grid(row, cell)[0][1][0].member_parts()
        if settings.augment:
            settings.augment.shape(task.image_shape)
        with torch.device("meta"):  # where nothing is drawn
            method.networks(lambda *role: nn.Linear(1, 1), task.visible)

    @property
    def network(self) -> str:
        """What all rows train, by how many images a step."""
        _, settings = self._first(self.table.cells[0]).member_parts()
        return f"{settings.net.label}, batches of {settings.batch_size}"

    def num_train(self, cell: Cell) -> int:
        """How many images the runs of a cell are trained on."""
        return self._first(cell).sizes().train

    def _first(self, cell: Cell) -> Spec:
        return self.grid(self.table.rows[0], cell)[0][1][0]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells that are made."""
        return tuple(cell for cell in self.asked if cell.heading not in self.obstacles)

    @property
    def left_out(self) -> str:
        """Which of the cells that are asked for the data cannot make, and why."""
        by_reason: dict[str, list[str]] = {}
        for cell in self.asked:
            if why := self.obstacles.get(cell.heading):
                by_reason.setdefault(why, []).append(cell.heading)
        return "; ".join(f"{', '.join(headings)} ({why})" for why, headings in by_reason.items())

    def specs(self) -> list[Spec]:
        """The runs by which the settings of the part that is asked for are chosen, cell by cell."""
        return [spec for grid in self.grids for _, specs in grid for spec in self.deciding(specs)]

    @property
    def grids(self) -> list[Grid]:
        """Those of the part that is asked for, cell by cell."""
        return [self.grid(row, cell) for cell in self.cells for row in self.rows]

    def deciding(self, specs: Sequence[Spec]) -> Sequence[Spec]:
        """Those of a setting's runs that have a say in whether it is chosen."""
        return specs[:1] if self.protocol.choose_by == "first seed" else specs

    def grid(self, row: Row, cell: Cell) -> Grid:
        """The settings of a cell with their runs; each spec is parsed once."""
        where = row.name, cell.heading
        if where not in self._grids:
            self._grids[where] = self._parsed_grid(row, cell)
        return self._grids[where]

    def _parsed_grid(self, row: Row, cell: Cell) -> Grid:
        fields = self._fields(row, cell)
        options = row.options_in(fields)
        patience = self.protocol.patience_of(self.table.rows[0], cell.noise)
        # A run that begins from cross-entropy's begins from that of the table's first row.
        if patience != fields["patience"] and METHODS[row.method].load()(**options).warm_start:
            fields["source_options"] = {"patience": patience}
        fields["method"] = row.method
        grid: Grid = []
        for setting, optimizer in product(self.protocol.settings(row), self.protocol.optimizers or ({},)):
            changed = {"method_options": {**options, **setting}, **_with_optimizer(fields, optimizer)}
            shown = {**setting, **({"optimizer": optimizer_text(optimizer)} if optimizer else {})}
            specs = [Spec.parse({**fields, **changed, "seed": seed}) for seed in self.seeds_of(cell)]
            grid.append((shown, tuple(specs)))
        return grid

    def _fields(self, row: Row, cell: Cell) -> dict[str, Any]:
        """The fields of a cell's runs that no setting or seed changes."""
        stretch = self.protocol.stretch.get(cell.train_size or 0)
        epochs = round(self.length * stretch.times) if stretch else self.length
        # All images are written in one way, so that runs are shared, and looked for only where it matters.
        binds = self.size_limit is not None and self.size_limit < self._left
        sizes = (cell.train_size, self.size_limit if binds else None)
        fields = {
            **self.setup,
            **cell.fields,
            "dataset": self.dataset,
            "train_size": min((n for n in sizes if n is not None), default=None),
            "epochs": epochs,
            "patience": self.protocol.patience_of(row, cell.noise),
        }
        if stretch:
            fields |= {"evaluate_every": stretch.evaluate_every, "measured": stretch.measured}
        if self.table.milestones:
            steps = [round(step / self.table.epochs * epochs) for step in self.table.milestones]
            fields["optimizer_options"] = {**self.setup.get("optimizer_options", {}), "milestones": steps}
        return fields


def _with_optimizer(fields: Options, optimizer: Options) -> dict[str, Any]:
    """What another optimiser changes; of the same kind it keeps the options that it does not name."""
    if not optimizer:
        return {}
    own = {name: value for name, value in optimizer.items() if name != "name"}
    kept = fields["optimizer_options"] if fields.get("optimizer") == optimizer["name"] else {}
    return {"optimizer": optimizer["name"], "optimizer_options": {**kept, **own}}


def optimizer_text(optimizer: Options) -> str:
    """An optimiser to try in words: "sgd (lr 0.02)"."""
    own = ", ".join(f"{name} {value:g}" for name, value in optimizer.items() if name != "name")
    return f"{optimizer['name']} ({own})"


# What --rows and --cells name.


def named_rows(table: Table, names: Sequence[str] | None) -> tuple[Row, ...]:
    """The rows that are called so here or in the paper, all without names; raises `UnknownName`."""
    known = {row.name: row for row in table.rows} | {_plain(row.paper): row for row in table.rows}
    wanted = [_plain(name) for name in names or ()]
    for name in wanted:
        if name not in known:
            raise unknown_name(f"row of {table.name}", name, [row.name for row in table.rows])
    return tuple(row for row in table.rows if not wanted or row in [known[name] for name in wanted])


def named_cells(table: Table, texts: Sequence[str] | None) -> tuple[Cell, ...]:
    """The cells that have one of the headings ("p=0.5, n=all") or its parts ("n=all"), all without texts.

    Raises `UnknownName` for a text that no cell has.
    """
    for text in texts or ():
        if not any(_has(cell, text) for cell in table.cells):
            known = ", ".join(repr(cell.heading) for cell in table.cells)
            raise UnknownName(f"unknown cell of {table.name} {text!r}: known are {known}, or parts of these")
    return tuple(cell for cell in table.cells if not texts or any(_has(cell, text) for text in texts))


def _has(cell: Cell, text: str) -> bool:
    named = [f"{name}={value}" for name, value in cell.parts.items()]
    parts = {*map(_plain, [*named, *cell.heading.split(", ")])}
    return _plain(text) == _plain(cell.heading) or {*map(_plain, text.split(","))} <= parts


def _plain(text: str) -> str:
    """Without spaces and capitals, and numbers in one way: "P = .50" is "p=0.5"."""
    plain = re.sub(r"\s", "", text.lower())
    return re.sub(r"(?<==)(\d+\.?\d*|\.\d+)(?=,|$)", lambda number: f"{float(number[0]):g}", plain)
