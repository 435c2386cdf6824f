"""How each kind of panel is drawn: a panel of a dashboard's file, and the series that Prometheus answered it with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from dashboards.answers import Series
from dashboards.sheet import (
    FAR,
    LETTER_WIDTH,
    LINE_HEIGHT,
    MEDIUM,
    PAPER,
    SMALL,
    TITLE_HEIGHT,
    Box,
    Sheet,
    color_of,
    shown,
)
from roadbed.report.inline import CARD, FAINT, LINE, drawn_words

Panel = Mapping[str, Any]


def draw_panel(sheet: Sheet, box: Box, panel: Panel, series: list[Series]) -> None:
    """A panel on its card: the title, and what its kind draws; in grey that there is no data."""
    sheet.card(box)
    sheet.text(box.left + 8, box.top + 5, panel["title"], MEDIUM, weight="bold")
    if series:
        _DRAWN[panel["type"]](sheet, box.inside(4, TITLE_HEIGHT, 4, 4), panel, series)
    else:
        sheet.text(box.left + box.width / 2, box.top + box.height / 2, "no data", MEDIUM + 1, ha="center", color=FAR)


def _look(value: float, panel: Panel) -> tuple[str, str]:
    """A value in words and in colour: those of its mapping, else of its unit and the highest step that it reaches."""
    field = panel["fieldConfig"]["defaults"]
    for mapping in field.get("mappings", []):
        if f"{value:g}" in mapping["options"]:
            mapped = mapping["options"][f"{value:g}"]
            return mapped["text"], color_of(mapped["color"])
    reached = [
        step["color"] for step in field["thresholds"]["steps"] if step["value"] is None or value >= step["value"]
    ]
    return shown(value, field["unit"]), color_of(reached[-1])


def _own_colors(panel: Panel) -> dict[str, str]:
    """The colours that a panel gives to series, by their names."""
    return {
        override["matcher"]["options"]: color_of(override["properties"][0]["value"]["fixedColor"])
        for override in panel["fieldConfig"]["overrides"]
    }


def _draw_lines(sheet: Sheet, box: Box, panel: Panel, series: list[Series]) -> None:
    field, own = panel["fieldConfig"]["defaults"], _own_colors(panel)
    custom = field["custom"]
    is_stacked = custom["stacking"]["mode"] != "none"
    entries = [(one.name, own.get(one.name) or sheet.color(one.name)) for one in series]
    legend_height = LINE_HEIGHT * sheet.legend_lines(box, entries)
    plot = box.inside(6, 2, 6, 16 + legend_height)
    axes = sheet.time_axes(plot)
    ground = np.zeros(len(sheet.days))
    is_there = np.any([np.isfinite(one.values) for one in series], axis=0)
    for one, (_, color) in zip(series, entries, strict=True):
        top = ground + np.where(is_there, np.nan_to_num(one.values), np.nan) if is_stacked else one.values
        axes.plot(
            sheet.days, top, color=color, linewidth=1.2 * custom["lineWidth"], marker="." if one.is_lonely else ""
        )
        if is_stacked:
            axes.fill_between(sheet.days, ground, top, color=color, alpha=custom["fillOpacity"] / 100, linewidth=0)
            ground = top
    _scale(axes, panel, series, plot.height)
    unit = field["unit"]
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, unit, digits=5))
    widest = max(len(shown(tick, unit, digits=5)) for tick in axes.get_yticks())
    sheet.move(axes, plot.inside(LETTER_WIDTH * widest, 0, 0, 0))
    sheet.legend(box.inside(4, box.height - legend_height, 4, 0), entries)


def _scale(axes: Axes, panel: Panel, series: list[Series], height: float) -> None:
    """The range and ticks of what the lines stand for, and its thresholds."""
    field = panel["fieldConfig"]["defaults"]
    if field["custom"]["scaleDistribution"]["type"] == "log":
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(max(3, int(height / 22)), steps=[1, 2, 2.5, 5, 10]))
        is_nothing = all(np.nanmax(np.abs(one.values)) == 0 for one in series)
        axes.set_ylim(field.get("min"), field.get("max", 1 if is_nothing else None))
    axes.grid(axis="y", color=LINE, linewidth=0.5)
    lowest, highest = axes.get_ylim()
    for step in field["thresholds"]["steps"][1:]:
        if lowest <= step["value"] <= highest:
            axes.axhline(step["value"], color=color_of(step["color"]), linewidth=1, linestyle=(0, (5, 3)))


def _draw_figures(sheet: Sheet, box: Box, panel: Panel, series: list[Series]) -> None:
    if len(series) > 1:
        _draw_list(sheet, box, panel, series)
        return
    (one,) = series
    words, color = _look(one.last, panel)
    if one.values.size > 1:
        axes = sheet.axes(box.inside(0, 0.65 * box.height, 0, 0))
        axes.set_axis_off()
        axes.plot(sheet.days, one.values, color=color, linewidth=1)
        axes.fill_between(sheet.days, np.nanmin(one.values), one.values, color=color, alpha=0.15, linewidth=0)
    size = min(24.0, 1.5 * box.width / len(words))
    middle = (box.left + box.width / 2, box.top + 0.35 * box.height)
    sheet.text(*middle, words, size, ha="center", va="center", color=color, weight="bold")


def _draw_list(sheet: Sheet, box: Box, panel: Panel, series: list[Series]) -> None:
    height = min(26, max(14, box.height / len(series)))
    size = min(15, 0.6 * height)
    for one, middle in _lines(sheet, box, series, height):
        words, color = _look(one.last, panel)
        room = int((box.width - 10 - len(words) * 0.7 * size) / LETTER_WIDTH)
        sheet.text(box.left + 4, middle, drawn_words(one.name, max(6, room)), SMALL, va="center", color=FAINT)
        sheet.text(box.left + box.width - 4, middle, words, size, ha="right", va="center", color=color, weight="bold")


def _draw_bars(sheet: Sheet, box: Box, panel: Panel, series: list[Series]) -> None:
    field, own = panel["fieldConfig"]["defaults"], _own_colors(panel)
    name_width = min(0.45 * box.width, 10 + LETTER_WIDTH * max(len(one.name) for one in series))
    lowest = field.get("min", min(0.0, *(one.last for one in series)))
    highest = field.get("max", max(1e-9, *(one.last for one in series)))
    height = min(26, max(12, box.height / len(series)))
    for one, middle in _lines(sheet, box, series, height):
        words, color = _look(one.last, panel)
        color = own.get(one.name, color)
        room = Box(box.left + name_width, middle - 0.36 * height, box.width - name_width - 50, 0.72 * height)
        filled = room.width * min(1, max(0, (one.last - lowest) / (highest - lowest)))
        sheet.card(room, PAPER)
        sheet.card(room.inside(0, 0, room.width - filled, 0), color)
        name = drawn_words(one.name, int(name_width / LETTER_WIDTH))
        sheet.text(room.left - 5, middle, name, SMALL, ha="right", va="center", color=FAINT)
        sheet.text(room.left + room.width + 5, middle, words, SMALL, va="center", color=color, weight="bold")


def _lines(sheet: Sheet, box: Box, series: list[Series], height: float) -> Iterator[tuple[Series, float]]:
    """As many series as there is room for, each with the middle of its line; says how many more there are."""
    most = int(box.height / height + 1e-6)
    if len(series) > most:
        most -= 1
        sheet.text(box.left + 4, box.top + most * height, f"+ {len(series) - most} more", SMALL, color=FAR)
    for number, one in enumerate(series[:most]):
        yield one, box.top + (number + 0.5) * height


def _draw_table(sheet: Sheet, box: Box, panel: Panel, series: list[Series]) -> None:
    (organized,) = panel["transformations"]
    hidden = organized["options"]["excludeByName"]
    columns = [column for column in (*series[0].labels, "Value") if not hidden.get(column)]
    width = box.width / len(columns)
    for number, column in enumerate(columns):
        sheet.text(box.left + 4 + number * width, box.top, column, SMALL, weight="bold")
    for one, middle in _lines(sheet, box.inside(0, 14, 0, 0), series, 14):
        row = one.labels | {"Value": _look(one.last, panel)[0]}
        for number, column in enumerate(columns):
            words = drawn_words(row[column], int(width / LETTER_WIDTH))
            sheet.text(box.left + 4 + number * width, middle, words, SMALL, va="center", color=FAINT)


def _draw_states(sheet: Sheet, box: Box, panel: Panel, series: list[Series]) -> None:
    name_width = min(0.4 * box.width, 10 + LETTER_WIDTH * max(len(one.name) for one in series))
    plot = box.inside(name_width, 2, 6, 16)
    axes = sheet.time_axes(plot)
    axes.set_yticks([])
    axes.set_ylim(len(series) - 0.5, -0.5)
    step = sheet.days[1] - sheet.days[0]
    for number, one in enumerate(series):
        for first, last in _stretches(one.values):
            words, color = _look(float(one.values[first]), panel)
            left, width = sheet.days[first], step * (last - first + 1)
            axes.barh(number, width, left=left, height=0.6, color=color, alpha=0.75, align="center")
            if width > 0.1 * step * len(sheet.days):
                axes.text(left + width / 2, number, words, color=CARD, ha="center", va="center", fontsize=MEDIUM)
        middle = plot.top + (number + 0.5) * plot.height / len(series)
        name = drawn_words(one.name, int(name_width / LETTER_WIDTH))
        sheet.text(plot.left - 5, middle, name, SMALL, ha="right", va="center", color=FAINT)


def _stretches(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last place of each stretch of one value; where there is none is in no stretch."""
    first = 0
    for place in range(1, len(values) + 1):
        if place == len(values) or values[place] != values[first]:
            if np.isfinite(values[first]):
                yield first, place - 1
            first = place


_DRAWN: dict[str, Callable[[Sheet, Box, Panel, list[Series]], None]] = {
    "timeseries": _draw_lines,
    "stat": _draw_figures,
    "bargauge": _draw_bars,
    "table": _draw_table,
    "state-timeline": _draw_states,
}
