"""A table of a paper with our numbers beside it, as a figure."""

import html
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lnlib.course.plots.showing import to_page
from lnlib.course.plots.theme import TEMPLATE, THEORY, Style, style

GAP = 74
PALE = "#bbbbbb"
STYLE = """<style>
.numbers { margin: 0 16px 40px; overflow-x: auto; font: 13px/1.5 "Open Sans", verdana, arial, sans-serif }
.numbers table { border-collapse: collapse }
.numbers th, .numbers td { padding: 4px 14px 4px 0; text-align: left; vertical-align: bottom }
.numbers td { border-top: 1px solid #dddddd; white-space: nowrap }
.numbers p { max-width: 60em; color: #444444 }
</style>"""


def table_chart(frame: pd.DataFrame, title: str) -> go.Figure:
    """One panel a cell: the paper's number as a hollow diamond, pale where it is for other data, another
    network or size; ours with its standard deviation over seeds; hollow and crossed where they are means of
    the last epochs.

    `frame` is what `lnlib.papers.tables.gather` gives; cells and methods without a number of ours are
    left out.
    """
    made = frame[frame["ours"].notna()]
    cells, methods = list(dict.fromkeys(made["cell"])), list(dict.fromkeys(made["method"]))
    columns = max(1, min(2, len(cells)))
    lines = max(1, -(-len(cells) // columns))
    inner = (40 + 24 * max(1, len(methods))) * lines + GAP * (lines - 1)
    figure = make_subplots(
        rows=lines,
        cols=columns,
        subplot_titles=cells,
        horizontal_spacing=0.16,
        vertical_spacing=GAP / inner if lines > 1 else None,
    )
    for position, cell in enumerate(cells):
        part = made[made["cell"] == cell].set_index("method").reindex(methods)
        place = {"row": position // columns + 1, "col": position % columns + 1}
        _add_cell(figure, part, methods, place, in_legend=position == 0)
    height = inner + 96 + 64
    above = {"yref": "container", "yanchor": "top"}
    return figure.update_layout(
        template=TEMPLATE,
        title={"text": title, "y": 1, **above, "pad": {"t": 16}},
        height=height,
        # Below the title: at the right the page has its buttons.
        legend={"orientation": "h", "x": 0, "y": 1 - 36 / height, **above},
        margin={"l": 140, "t": 96, "b": 64},
    )


def table_page(frame: pd.DataFrame, title: str, words: Sequence[str], texts: pd.DataFrame) -> str:
    """An interactive HTML page that works offline: the panels of `table_chart`, below them the table `texts`,
    whose cells may hold HTML, and paragraphs of plain `words`.
    """
    paragraphs = [f"<p>{html.escape(text)}</p>" for text in words]
    table = texts.to_html(index=False, escape=False, border=0) if len(texts) else ""
    below = f"{STYLE}<div class=numbers>{table}{''.join(paragraphs)}</div>"
    return to_page(table_chart(frame, title)).replace("</body>", f"{below}</body>", 1)


def _add_cell(
    figure: go.Figure, part: pd.DataFrame, methods: Sequence[str], place: dict[str, int], in_legend: bool
) -> None:
    common = {"y": methods, "mode": "markers", "showlegend": in_legend, **place}
    colors = [_style(method).color for method in methods]
    papers = [THEORY if same else PALE for same in part["same_setting"]]
    ours = pd.DataFrame({"spread": part["std"].map(lambda std: "" if std != std else f" ± {std:.1f}")})
    figure.add_scatter(
        x=part["paper"],
        name="paper",
        error_x={"array": part["paper_std"], "thickness": 1, "width": 3, "color": PALE},
        marker={"symbol": "diamond-open", "size": 11, "color": papers, "line": {"width": 2}},
        hovertemplate="%{y}: paper %{x:.1f}%<extra></extra>",
        legendgroup="paper",
        **common,
    )
    figure.add_scatter(
        x=part["ours"],
        name="ours ± std" if part["std"].notna().any() else "ours",
        error_x={"array": part["std"], "thickness": 2, "width": 5, "color": THEORY},
        marker={"size": 9, "color": colors},
        customdata=ours.join(part[["seeds", "setting"]]).to_numpy(),
        hovertemplate="%{y}: ours %{x:.1f}%{customdata[0]}%, seeds: %{customdata[1]}<br>%{customdata[2]}"
        "<extra></extra>",
        legendgroup="ours",
        **common,
    )
    for column, name, symbol, color in (
        ("paper_last", "paper, last", "diamond-x-open", papers),
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


def _style(method: str) -> Style:
    """The style of a method by its name in the paper's table; the variants of LIMIT share theirs."""
    if method == "Standard":
        return style("CE")
    own = method[:7].replace("_", "-") if method.startswith("LIMIT") else method.partition(" (")[0]
    return style(own)
