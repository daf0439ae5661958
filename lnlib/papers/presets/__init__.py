"""The tables that can be reproduced, and how their runs are trained: one file a paper, and `protocol` for
what they share.
"""

from collections.abc import Mapping

import lnlib.papers.presets.limit as limit
import lnlib.papers.presets.metainfonet as metainfonet
from lnlib.papers.presets.protocol import (
    Budget,
    Cell,
    Grid,
    Options,
    Row,
    Table,
    cell_runs,
    named_cells,
    named_rows,
)

__all__ = [
    "TABLES",
    "Budget",
    "Cell",
    "Grid",
    "Options",
    "Row",
    "Table",
    "cell_runs",
    "named_cells",
    "named_rows",
]

TABLES: Mapping[str, Table] = {
    table.name: table for table in (limit.TABLE1, limit.TABLE2, *metainfonet.TABLES)
}
