#!/usr/bin/env python3
"""Draws the plots of tables that bench/run.py has measured: bench/run.py calls this, with matplotlib on PYTHONPATH.

    bench/plots.py FOLDER TABLE...    reads FOLDER/TABLE.csv, writes FOLDER/TABLE.svg, and prints the names of the files

The same numbers give the same file, byte for byte.
"""
from __future__ import annotations

import math
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot, ticker  # noqa: E402

from harness import Plot, Row, Table, divisor  # noqa: E402
from report import FIGURES, unit_name  # noqa: E402
from results import Interval, Results  # noqa: E402
from run import all_tables  # noqa: E402

# Told apart by who confuses colours, too (Okabe and Ito); the first is poise's.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#a6761d")
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "poise",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e4e4e4",
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "path.simplify": True,
    }
)
NUMBERS = ticker.FuncFormatter(lambda value, _: f"{value:,.6g}")

Point = tuple[float, Interval]  # x; y, its interval (in units of the plot)


def number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def lines_of(results: Results, plot: Plot, host: str, rows: list[Row]) -> dict[str, list[Point]]:
    """For each peer, its medians or the ratios to it."""
    table = results.table
    figure = plot.figure or table.figure
    scale = 1.0 if plot.ratio else divisor(table.unit, figure)
    lines: dict[str, list[Point]] = {}
    for peer in table.peers:
        subject = results.subject(peer)
        if (plot.labels and peer.label not in plot.labels) or (plot.ratio and subject is None):
            continue
        points = []
        for row in rows:
            found = results.median(host, row, peer.label, figure)
            if plot.ratio:
                found = results.ratio(host, row, subject, peer.label, figure)
            x = number(row[plot.x])
            if x is not None and found is not None:
                points.append((x, Interval(found.median / scale, found.lower / scale, found.upper / scale, found.n)))
        if points:
            lines[peer.label] = sorted(points, key=lambda point: point[0])
    return lines


def panels_of(results: Results, plot: Plot) -> list[tuple[str, dict[str, list[Point]]]]:
    """A panel for each host and each value of plot.panels: its title, and its lines."""
    panels = []
    for host in results.hosts():
        rows = [row for row in results.rows(host) if plot.rows(row)]
        for value in dict.fromkeys(row.get(plot.panels) for row in rows):
            mine = [row for row in rows if row.get(plot.panels) == value]
            words = [host] if host and len(results.hosts()) > 1 else []
            words += (
                [f"{plot.panels} = {value:,}" if isinstance(value, int) else f"{plot.panels}: {value}"]
                if plot.panels
                else []
            )
            lines = lines_of(results, plot, host, mine)
            if lines:
                panels.append((", ".join(words), lines))
    return panels


def spread(wanted: list[float], gap: float) -> list[float]:
    """Places near the wanted ones, each at least a gap from the next: for labels that would cover one another."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places = [wanted[i] for i in order]
    for _ in range(200):
        moved = False
        for i in range(len(places) - 1):
            short = gap - (places[i + 1] - places[i])
            if short > 1e-6:
                places[i] -= short / 2
                places[i + 1] += short / 2
                moved = True
        if not moved:
            break
    found = [0.0] * len(wanted)
    for place, i in zip(places, order):
        found[i] = place
    return found


def label(axes, lines: dict[str, list[Point]], colours: dict[str, str]) -> None:
    """Each line's name stands at its end."""
    axes.figure.canvas.draw()  # fixes the scales
    ends = {name: axes.transData.transform((points[-1][0], points[-1][1].median)) for name, points in lines.items()}
    names = list(ends)
    right = max(end[0] for end in ends.values())
    for name, y in zip(names, spread([ends[name][1] for name in names], 11.5)):
        at = axes.transData.inverted().transform((right + 6, y))
        axes.text(
            at[0],
            at[1],
            name,
            color=colours[name],
            va="center",
            ha="left",
            fontsize=8,
            clip_on=False,
            fontweight="bold" if colours[name] == COLOURS[0] else "normal",
        )


def panel(axes, plot: Plot, title: str, lines: dict[str, list[Point]], colours: dict[str, str]) -> None:
    if plot.ratio:
        axes.axhline(1.0, color="#999999", linewidth=0.8)
    for name, points in reversed(lines.items()):  # the first one above the others
        first = colours[name] == COLOURS[0]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        axes.plot(
            xs, [y.median for y in ys], color=colours[name], marker="o", markersize=3, linewidth=2.2 if first else 1.2
        )
        if plot.ratio:
            axes.vlines(xs, [y.lower for y in ys], [y.upper for y in ys], color=colours[name], linewidth=0.8)
    axes.set_title(title, loc="left")
    if plot.log_x:
        axes.set_xscale("log")
    if plot.log_y:
        axes.set_yscale("log")
    if not plot.log_y:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(plot.x_label or plot.x)


def numbered(axis, logarithmic: bool) -> None:
    """Ticks with whole numbers, once the view is known."""
    axis.set_major_formatter(NUMBERS)
    if logarithmic:
        low, high = axis.get_view_interval()
        decades = math.log10(high / low)  # over a few, powers of ten alone would leave it almost without numbers
        axis.set_major_locator(
            ticker.LogLocator(subs=(1, 2, 3, 5) if decades < 1.2 else (1, 2, 5) if decades < 2.2 else (1,))
        )
        axis.set_minor_locator(ticker.NullLocator())


def draw(results: Results, plot: Plot, path: Path) -> bool:
    table: Table = results.table
    panels = panels_of(results, plot)
    if not panels:
        return False
    labels = [peer.label for peer in table.peers if any(peer.label in lines for _, lines in panels)]
    colours = {peer.label: COLOURS[i % len(COLOURS)] for i, peer in enumerate(table.peers)}
    columns = min(len(panels), 2)
    down = -(-len(panels) // columns)
    room = 0.062 * max(len(name) for name in labels) + 0.35  # inches for the names beside each panel
    wide = 3.0 if columns > 1 else 4.6
    figure, grid = pyplot.subplots(
        down, columns, squeeze=False, figsize=((wide + room) * columns + 0.75, 2.5 * down + 0.6), sharey=True
    )
    every = [axes for line in grid for axes in line]
    for axes, (title, lines) in zip(every, panels):
        panel(axes, plot, title, lines, colours)
        axes.tick_params(labelleft=True)
    for axes in every[: len(panels)]:
        axes.xaxis.set_major_formatter(NUMBERS)
        axes.xaxis.set_major_locator(
            ticker.FixedLocator(sorted({x for _, lines in panels for points in lines.values() for x, _ in points}))
        )
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        numbered(axes.yaxis, plot.log_y)
    for axes in every[len(panels) :]:
        axes.set_visible(False)
    name = plot.figure or table.figure
    unit = unit_name(table, name)
    y_label = f"{FIGURES.get(name, name)}{',' if unit else ''}{unit}"
    if plot.ratio:
        y_label = f"{table.peers[0].label} / peer"
    for line in grid:
        line[0].set_ylabel(y_label)
    figure.suptitle(plot.title or table.title, x=0.01, ha="left", fontsize=11)
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=0.8 / width,
        right=1 - room / width,
        top=1 - 0.62 / height,
        bottom=0.5 / height,
        wspace=(room + 0.65) / wide,
        hspace=0.36,
    )
    for axes, (_, lines) in zip(every, panels):
        label(axes, lines, colours)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    return True


def main(arguments: list[str]) -> int:
    if len(arguments) < 2 or arguments[0].startswith("-"):
        sys.exit(__doc__)
    folder = Path(arguments[0])
    tables = {table.name: table for table in all_tables()}
    for name in arguments[1:]:
        results = Results.read(tables[name], folder / f"{name}.csv")
        for plot in tables[name].plots:
            path = folder / f"{name}{'.' + plot.name if plot.name else ''}.svg"
            if draw(results, plot, path):
                print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
