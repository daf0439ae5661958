"""A table of a paper with our numbers beside it, as a figure."""

import textwrap
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lnlib.course.plots.theme import TEMPLATE, THEORY, Style, small_print, style

WIDTHS = {"cell": 10, "method": 12, "paper": 6, "ours": 6, "difference": 8, "std": 5, "std_over": 8}
WIDTHS |= {"paper_last": 6, "last": 6, "seeds": 5, "setting": 15, "validation": 8, "epochs": 6, "device": 13}
"""What the table below the panels shows of the frame's columns, and how wide."""
HEAD, ROW, GAP = 34, 26, 74


def table_chart(frame: pd.DataFrame, title: str) -> go.Figure:
    """One panel a cell: the paper's number as a hollow diamond, ours with its standard deviation; hollow and
    crossed where they are means of the last epochs.

    `frame` is what `lnlib.papers.tables.gather` gives; cells and methods without a number of ours are
    left out.
    """
    return _panels(frame, title, table_height=0)


def table_comparison(frame: pd.DataFrame, title: str, caption: str) -> go.Figure:
    """The panels of `table_chart` with all numbers as a table below, and `caption` in small print."""
    made = frame[frame["ours"].notna()]
    columns = {name: width for name, width in WIDTHS.items() if name in made}
    figure = _panels(frame, title, table_height=HEAD + ROW * (len(made) + 1))
    heads, texts = [name.replace("_", " ") for name in columns], [_texts(made[name]) for name in columns]
    figure.add_table(
        header={"values": heads, "align": "left", "height": HEAD},
        cells={"values": texts, "align": "left", "height": ROW, "font": {"size": 12}},
        columnwidth=list(columns.values()),
        row=len(figure._grid_ref),
        col=1,
    )
    lines = textwrap.wrap(caption, 170)
    figure.update_layout(height=figure.layout.height + 16 * len(lines), margin_b=40 + 16 * len(lines))
    return small_print(figure, "<br>".join(lines)).update_annotations(selector=-1, align="left")


def _panels(frame: pd.DataFrame, title: str, table_height: int) -> go.Figure:
    """The panels, and below them room for a table where it has a height."""
    made = frame[frame["ours"].notna()]
    cells, methods = list(dict.fromkeys(made["cell"])), list(dict.fromkeys(made["method"]))
    columns = max(1, min(2, len(cells)))
    lines = max(1, -(-len(cells) // columns))
    heights = [40 + 24 * max(1, len(methods))] * lines + [table_height] * bool(table_height)
    inner = sum(heights) + GAP * (len(heights) - 1)
    specs: list[list[dict[str, object] | None]] = [[{}] * columns for _ in range(lines)]
    if table_height:
        specs.append([{"type": "table", "colspan": columns}, *[None] * (columns - 1)])
    figure = make_subplots(
        rows=len(heights),
        cols=columns,
        specs=specs,
        subplot_titles=cells,
        row_heights=heights,
        horizontal_spacing=0.16,
        vertical_spacing=GAP / inner if len(heights) > 1 else None,
    )
    for position, cell in enumerate(cells):
        part = made[made["cell"] == cell].set_index("method").reindex(methods)
        place = {"row": position // columns + 1, "col": position % columns + 1}
        _add_cell(figure, part, methods, place, in_legend=position == 0)
    legend = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "top", "yref": "container"}
    return figure.update_layout(
        template=TEMPLATE,
        title={"text": title, "y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 16}},
        height=inner + 96 + 64,
        legend=legend,
        margin={"l": 140, "t": 96, "b": 64},
    )


def _add_cell(
    figure: go.Figure, part: pd.DataFrame, methods: Sequence[str], place: dict[str, int], in_legend: bool
) -> None:
    common = {"y": methods, "mode": "markers", "showlegend": in_legend, **place}
    colors = [_style(method).color for method in methods]
    figure.add_scatter(
        x=part["paper"],
        name="paper",
        marker={"symbol": "diamond-open", "size": 11, "color": THEORY, "line": {"width": 2}},
        hovertemplate="%{y}: paper %{x:.1f}%<extra></extra>",
        legendgroup="paper",
        **common,
    )
    figure.add_scatter(
        x=part["ours"],
        name="ours ± std",
        error_x={"array": part["std"].fillna(0.0), "thickness": 2, "width": 5, "color": THEORY},
        marker={"size": 9, "color": colors},
        customdata=part[["std", "std_over", "seeds", "setting"]].to_numpy(),
        hovertemplate="%{y}: ours %{x:.1f} ± %{customdata[0]:.1f}% "
        "(%{customdata[1]}, seeds: %{customdata[2]})<br>%{customdata[3]}<extra></extra>",
        legendgroup="ours",
        **common,
    )
    for column, name, symbol, color in (
        ("paper_last", "paper, last", "diamond-x-open", [THEORY] * len(methods)),
        ("last", "ours, last", "circle-x-open", colors),
    ):
        if column in part and part[column].notna().any():
            figure.add_scatter(
                x=part[column],
                name=name,
                marker={"symbol": symbol, "size": 10, "color": color, "line": {"width": 2}},
                hovertemplate=f"%{{y}}: {name} %{{x:.1f}}%<extra></extra>",
                legendgroup=name,
                **common,
            )
    figure.update_yaxes(autorange="reversed", **place)
    figure.update_xaxes(title="test accuracy, %", **place)


def _texts(column: "pd.Series[object]") -> list[str]:
    """Numbers with one decimal; spaces that do not break, because a second line would be cut off."""
    texts = [
        "" if value != value else f"{value:.1f}" if isinstance(value, float) else str(value)
        for value in column
    ]
    return [text.replace(" ", "\N{NO-BREAK SPACE}") for text in texts]


def _style(method: str) -> Style:
    """The style of a method by its name in the paper's table; the variants of LIMIT share theirs."""
    if method == "Standard":
        return style("CE")
    own = method[:7].replace("_", "-") if method.startswith("LIMIT") else method.partition(" (")[0]
    return style(own)
