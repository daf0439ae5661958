"""A table of a paper with our numbers beside it, as a figure."""

import textwrap

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lnlib.plots.theme import TEMPLATE, TEST, THEORY, small_print, style

COLUMNS = (
    "cell",
    "method",
    "paper",
    "ours",
    "difference",
    "std",
    "std_over",
    "seeds",
    "setting",
    "validation",
    "epochs",
    "device",
)


def table_comparison(frame: pd.DataFrame, title: str, caption: str) -> go.Figure:
    """One panel a cell: the paper's number as a hollow diamond, ours with its standard deviation; below, all
    of it as a table.

    `frame` is what `lnlib.experiments.tables.gather` gives; cells without any number of ours are left out.
    """
    made = frame[frame["ours"].notna()]
    cells = list(dict.fromkeys(made["cell"])) or list(dict.fromkeys(frame["cell"]))[:1]
    methods = list(dict.fromkeys(frame["method"]))
    panels = 1 if len(cells) == 1 else 2
    lines = -(-len(cells) // panels)
    panel, table = 60 + 24 * len(methods), 60 + 26 * max(len(made), 1)
    specs: list[list[dict[str, object] | None]] = [[{"type": "xy"}] * panels for _ in range(lines)]
    specs.append([{"type": "table", "colspan": panels}, *[None] * (panels - 1)])
    figure = make_subplots(
        rows=lines + 1,
        cols=panels,
        specs=specs,
        subplot_titles=[*cells, *[""] * (lines * panels - len(cells)), ""],
        row_heights=[panel] * lines + [table],
        vertical_spacing=60 / (lines * (panel + 60) + table),
        horizontal_spacing=0.14,
    )
    for position, cell in enumerate(cells):
        part = frame[frame["cell"] == cell].set_index("method").reindex(methods)
        place = {"row": position // panels + 1, "col": position % panels + 1}
        figure.add_scatter(
            x=part["paper"],
            y=methods,
            mode="markers",
            name="paper",
            marker={"symbol": "diamond-open", "size": 11, "color": THEORY, "line": {"width": 2}},
            hovertemplate="%{y}: paper %{x:.1f}%<extra></extra>",
            showlegend=position == 0,
            legendgroup="paper",
            **place,
        )
        figure.add_scatter(
            x=part["ours"],
            y=methods,
            mode="markers",
            name="ours ± std",
            error_x={"array": part["std"].fillna(0.0), "thickness": 2, "width": 5, "color": THEORY},
            marker={"symbol": "circle", "size": 10, "color": [style(method).color for method in methods]},
            customdata=part[["std", "std_over", "seeds", "setting"]].to_numpy(),
            hovertemplate="%{y}: ours %{x:.1f} ± %{customdata[0]:.1f}% "
            "(%{customdata[1]}, %{customdata[2]} seeds)<br>%{customdata[3]}<extra></extra>",
            showlegend=position == 0,
            legendgroup="ours",
            **place,
        )
        figure.update_yaxes(autorange="reversed", **place)
        figure.update_xaxes(title="test accuracy, %", **place)
    texts = [
        [
            f"{value:.1f}" if isinstance(value, float) and value == value else _blank(value)
            for value in made[name]
        ]
        for name in COLUMNS
    ]
    figure.add_table(
        header={"values": [name.replace("_", " ") for name in COLUMNS], "align": "left"},
        cells={"values": texts, "align": "left", "height": 24},
        row=lines + 1,
        col=1,
    )
    wrapped = textwrap.wrap(caption, 170)
    figure.update_layout(
        template=TEMPLATE,
        title=title,
        height=lines * (panel + 60) + table + 120,
        legend={
            "orientation": "h",
            "y": 1,
            "yanchor": "bottom",
            "x": 1,
            "xanchor": "right",
            "yref": "container",
        },
        margin={"l": 130, "b": 30 + 16 * len(wrapped), "t": 90},
    )
    return small_print(figure, "<br>".join(wrapped))


def _blank(value: object) -> str:
    return "" if value != value else str(value)


def table_chart(frame: pd.DataFrame, title: str) -> go.Figure:
    """The panels of `table_comparison` without the table below them, for a page."""
    made = frame[frame["ours"].notna()]
    cells, methods = list(dict.fromkeys(made["cell"])), list(dict.fromkeys(made["method"]))
    panels = min(2, len(cells))
    lines = -(-len(cells) // panels)
    figure = make_subplots(
        rows=lines, cols=panels, subplot_titles=cells, horizontal_spacing=0.16, vertical_spacing=0.3 / lines
    )
    for position, cell in enumerate(cells):
        part = made[made["cell"] == cell].set_index("method").reindex(methods)
        place = {"row": position // panels + 1, "col": position % panels + 1}
        for name, column, marker in (
            ("paper", "paper", {"symbol": "diamond-open", "size": 11, "color": THEORY, "line": {"width": 2}}),
            ("ours", "ours", {"size": 10, "color": TEST}),
        ):
            figure.add_scatter(
                x=part[column],
                y=methods,
                mode="markers",
                marker=marker,
                name=name,
                legendgroup=name,
                showlegend=position == 0,
                **place,
            )
        figure.update_yaxes(autorange="reversed", **place)
        figure.update_xaxes(title="test accuracy, %", **place)
    legend = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.06, "yanchor": "bottom"}
    return figure.update_layout(
        template=TEMPLATE,
        title=title,
        height=150 + lines * (90 + 24 * len(methods)),
        legend=legend,
        margin={"l": 130, "t": 96},
    )
