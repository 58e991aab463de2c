"""Figures of ordinal regression: errors by bin, order of similarities, and maps of embeddings."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from countclip.experiments.ordinal import metrics
from countclip.experiments.ordinal.embeddings import KINDS, Embeddings, read_embeddings
from countclip.experiments.ordinal.table import CONSTANT
from countclip.report import sheets
from countclip.report.plotting import INK, LINES, MARKERS, drawing

STYLES = {"argmax": 0, "expectation": 1}
"""Place of each decoding in INK, LINES and MARKERS."""
DOTTED = {"color": "#555555", "linewidth": 1.0, "linestyle": (0, (1, 2))}


def order_table(states: dict[str, str], csv_path: str, scale: str) -> None:
    """Publish `metrics.order` of texts and images in each state as CSV.

    states: title, such as "before", -> path of `write_embeddings`.
    """
    parts = [
        metrics.order(*embeddings.of(kind)).assign(state=state, kind=kind, scale=scale)
        for state, embeddings in _read(states).items()
        for kind in KINDS
    ]
    table = pd.concat(parts, ignore_index=True)
    first = ["state", "kind"]
    sheets.write_csv(table[[*first, *table.columns.drop(first)]], csv_path)


def _read(states: dict[str, str]) -> dict[str, Embeddings]:
    return {state: read_embeddings(path) for state, path in states.items()}


def errors_by_bin(
    bins_csv: str, *, svg: str, png: str, scale: str, title: str = "Mean absolute error by bin"
) -> None:
    """Draw each method's MAE in each bin, a panel a method, beside that of the constant median.

    bins_csv: of `scores.bin_table`.
    """
    table = sheets.read_csv(bins_csv)
    columns, lines = _grid(table["method"].nunique())
    with drawing(svg, png, scale, 3.0 * columns + 0.4, 2.9 * lines + 1.0, title) as figure:
        error_panels(figure, table)


def _grid(panels: int) -> tuple[int, int]:
    """Columns and lines of a grid of panels."""
    columns = min(4, panels)
    return columns, -(-panels // columns)


def error_panels(figure: Figure, table: pd.DataFrame) -> None:
    """Draw the panels of `errors_by_bin`, all with the same scale."""
    is_constant = (table["method"] == CONSTANT) & (table["decoding"] == "expectation")
    constant = table[is_constant]
    methods = [rows for _, rows in table.groupby("method", sort=False)]
    columns, lines = _grid(len(methods))
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(methods) :]:
        axes.set_visible(False)
    for number, (axes, rows) in enumerate(zip(grid.flat, methods, strict=False)):
        if len(constant):
            axes.plot(constant["bin"], constant["mae"], label="constant median", **DOTTED)
        for decoding, line in rows.groupby("decoding", sort=False):
            _line(axes, line["bin"], line["mae"], STYLES[decoding], decoding)
        _title(axes, rows["label"].iloc[0])
        words = rows.drop_duplicates("bin")
        ticks = [f"{row.word}\nn = {row.n}" for row in words.itertuples()]
        axes.set_xticks(words["bin"], ticks, fontsize=7, rotation=90)
        axes.tick_params(labelbottom=number >= len(methods) - columns)
        if number % columns == 0:
            axes.set_ylabel("MAE")
    grid[0, 0].set_ylim(bottom=0)  # after all lines: it ends the scaling
    _legend(figure)


def _line(axes: Axes, x: pd.Series, y: pd.Series, style: int, label: str) -> None:
    axes.plot(
        x, y, color=INK[style % 4], linestyle=LINES[style % 4], marker=MARKERS[style % 4],
        markersize=4, label=label,
    )  # fmt: skip


def _title(axes: Axes, *lines: str) -> None:
    axes.set_title(
        "\n".join(text for line in lines for text in textwrap.wrap(line, 38)), loc="left"
    )


def _legend(figure: Figure) -> None:
    """One legend of all panels, each label once."""
    handles = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=len(handles))


def similarities(
    states: dict[str, str],
    *,
    svg: str,
    png: str,
    scale: str,
    title: str = "Similarities in the order of the labels",
) -> None:
    """Draw the cosine matrices of texts and of mean images, a column a state, with ordinality.

    A matrix has its own shades, from its lowest to its highest similarity off the diagonal: those
    of texts lie close together. states: as `order_table` has them.
    """
    loaded = _read(states)
    with drawing(svg, png, scale, 4.0 * len(states) + 0.6, 8.2, title) as figure:
        grid = figure.subplots(len(KINDS), len(states), squeeze=False)
        for line, kind in zip(grid, KINDS, strict=True):
            for axes, (state, embeddings) in zip(line, loaded.items(), strict=True):
                labels, means = metrics.label_means(*embeddings.of(kind))
                matrix = metrics.cosine_matrix(means)
                off = matrix[~np.eye(len(matrix), dtype=bool)]
                shown = axes.imshow(matrix, cmap="viridis", vmin=off.min(), vmax=off.max())
                figure.colorbar(shown, ax=axes, shrink=0.7)
                forward, backward = metrics.ordinality(matrix)
                correlation = metrics.distance_correlation(matrix, labels)
                _title(
                    axes,
                    f"{state}: {KINDS[kind]}",
                    f"ordinality {forward:.2f} up, {backward:.2f} down",
                    f"Spearman with distance {correlation:.2f}",
                )
                places = np.unique(np.linspace(0, len(labels) - 1, 8).round().astype(int))
                axes.set_xticks(places, [f"{labels[place]:g}" for place in places], fontsize=7)
                axes.set_yticks(places, [f"{labels[place]:g}" for place in places], fontsize=7)
                axes.grid(visible=False)


def ordinality_by_span(
    order_csv: str,
    *,
    svg: str,
    png: str,
    scale: str,
    title: str = "Ordinality by span",
) -> None:
    """Draw the share of ordered pairs by span, mean of both directions, a line a state.

    order_csv: of `order_table`.
    """
    table = sheets.read_csv(order_csv)
    with drawing(svg, png, scale, 8.6, 4.2, title) as figure:
        for axes, (kind, name) in zip(
            figure.subplots(1, len(KINDS), sharey=True), KINDS.items(), strict=True
        ):
            of_kind = table[table["kind"] == kind]
            for number, (state, rows) in enumerate(of_kind.groupby("state", sort=False)):
                share = (rows["forward"] + rows["backward"]) / 2
                _line(axes, rows["span"], share, number, state)
            expected = of_kind.drop_duplicates("span")
            axes.plot(expected["span"], expected["random"], label="random order", **DOTTED)
            axes.set_xscale("log", base=2)
            axes.set_xticks(expected["span"], expected["span"])
            axes.minorticks_off()
            axes.set_ylim(0, 1.03)
            axes.set_xlabel("span: pairs of labels less than so many places apart")
            _title(axes, name)
        figure.axes[0].set_ylabel("share of ordered pairs")
        _legend(figure)


def embedding_map(
    states: dict[str, str],
    *,
    svg: str,
    png: str,
    scale: str,
    title: str = "Images in their first two principal components",
) -> None:
    """Draw the first two principal components of the images, coloured by label, a panel a state.

    Each state has components of its own. states: as `order_table` has them.
    """
    loaded = _read(states)
    labels = np.concatenate([embeddings.labels for embeddings in loaded.values()])
    with drawing(svg, png, scale, 4.4 * len(states) + 0.8, 4.6, title) as figure:
        for axes, (state, embeddings) in zip(
            figure.subplots(1, len(states), squeeze=False).flat, loaded.items(), strict=True
        ):
            points, shares = principal_components(embeddings.images)
            shown = axes.scatter(
                *points.T, s=9, c=embeddings.labels, cmap="viridis", vmin=labels.min(),
                vmax=labels.max(), rasterized=True,
            )  # fmt: skip
            _title(axes, f"{state}, n = {len(points)}")
            for name, share in zip((axes.set_xlabel, axes.set_ylabel), shares, strict=True):
                name(f"{100 * share:.0f} % of the variance")
        figure.colorbar(shown, ax=figure.axes, label="label")


def principal_components(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two components (n, 2), and the shares of the variance that they have (2,).

    The largest weight of a component is positive, so that the signs are fixed.
    """
    centred = np.asarray(embeddings, float) - np.mean(embeddings, axis=0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))
    variances = lengths**2
    return centred @ (axes * signs)[:2].T, variances[:2] / variances.sum()
