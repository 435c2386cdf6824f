"""`python -m dashboards.draw URL --from T --to T -o FOLDER`, run in tests/: pictures of the dashboards for docs/.

Draws what Grafana would show of helm/roadbed/dashboards out of a real Prometheus, one PNG for each file: its layout,
units, thresholds, stacks, legends and annotations. Knows the kinds of panels and units that our dashboards use alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dashboards.all import FOLDER
from dashboards.answers import Prometheus, Series, Window, choices, filled
from dashboards.parts import GRID_COLUMNS
from roadbed.report.inline import CARD, FAINT, INK, LINE, drawing, drawn_words
from roadbed.report.pictures import save_figure

# Places and letters are in points, from the upper left corner; a picture is 1,600 pixels wide.
WIDTH, MARGIN, GAP = 1000, 8, 5
CELL_WIDTH, CELL_HEIGHT = (WIDTH - 2 * MARGIN) / GRID_COLUMNS, 25
HEADER_HEIGHT, TITLE_HEIGHT, LINE_HEIGHT = 52, 20, 12
SMALL, MEDIUM, LETTER_WIDTH = 8, 9.5, 5.2
DAY_S = 86_400
PAPER, FAR = "#f1f0ec", "#8a9099"
COLORS = {"green": "#2b8a3e", "orange": "#d9730d", "red": "#c92a2a", "blue": "#1f5fb0", "purple": "#8f3bb8"}
LINES = ("#1f77b4", "#e0701a", "#2a9d5c", "#c43b4e", "#8662b8", "#8c5a4b", "#d666b5", "#7a7f87", "#a59a12", "#159fb3",
         "#0b3d63", "#f2a65a")  # fmt: skip

_PREFIXES: dict[str, tuple[int, tuple[str, ...]]] = {
    "short": (1000, ("", " K", " Mil", " Bil")),
    "bytes": (1024, (" B", " KiB", " MiB", " GiB", " TiB")),
    "decmbytes": (1000, (" MB", " GB", " TB")),
    "Bps": (1000, (" B/s", " kB/s", " MB/s", " GB/s")),
    "ops": (1000, (" ops/s", " K ops/s", " Mil ops/s")),
    "reqps": (1000, (" req/s", " K req/s", " Mil req/s")),
}
_TIMES = ((DAY_S, " days"), (3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs"))


def shown(value: float, unit: str, *, digits: int = 3) -> str:
    """A value as Grafana shows one of its unit: `digits` figures, no zeros behind them."""
    if unit in ("percent", "percentunit"):
        return f"{_figures(value * (100 if unit == 'percentunit' else 1), digits)}%"
    if unit == "sci":
        return f"{value:.2e}"
    if unit.startswith("suffix:"):
        return f"{_figures(value, digits)} {unit.removeprefix('suffix:')}"
    if unit == "s":
        size, name = next((one for one in _TIMES if abs(value) >= one[0]), (1, " s"))
        return _figures(value / size, digits) + name
    base, names = _PREFIXES[unit]
    power = min(int(math.log(abs(value), base)), len(names) - 1) if abs(value) >= 1 else 0
    return _figures(value / base**power, digits) + names[power]


def _figures(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return "-"
    behind = max(0, digits - 1 - (math.floor(math.log10(abs(value))) if value else 0))
    text = f"{value:.{min(behind, 9)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True)
class Box:
    """A place on the sheet."""

    left: float
    top: float
    width: float
    height: float

    def inside(self, left: float, top: float, right: float, bottom: float) -> Box:
        """What is left of it without these edges."""
        return Box(self.left + left, self.top + top, self.width - left - right, self.height - top - bottom)


class Sheet:
    """The figure of a dashboard that is drawn, and what all its panels have in common."""

    def __init__(self, height: float, window: Window, moments: list[tuple[float, str]]) -> None:
        self.figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=115.2, facecolor=PAPER)
        self._height = height
        self._window = window
        self._moments = moments
        """Times in unix seconds that are marked, with their colours."""

    def card(self, box: Box) -> None:
        """The ground of a panel."""
        corner = (box.left / WIDTH, 1 - (box.top + box.height) / self._height)
        size = (box.width / WIDTH, box.height / self._height)
        self.figure.add_artist(Rectangle(corner, *size, facecolor=CARD, edgecolor=LINE, linewidth=0.8, zorder=-1))

    def text(self, left: float, top: float, words: str, size: float = SMALL, **style: Any) -> None:
        """Words whose upper left corner is there, unless `style` aligns them otherwise."""
        style = {"va": "top", "color": INK} | style
        self.figure.text(left / WIDTH, 1 - top / self._height, words, fontsize=size, **style)

    def axes(self, box: Box) -> Axes:
        """Axes without any frame that fill the place."""
        bottom = 1 - (box.top + box.height) / self._height
        axes = self.figure.add_axes((box.left / WIDTH, bottom, box.width / WIDTH, box.height / self._height))
        axes.patch.set_alpha(0)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=SMALL - 0.5, pad=2)
        return axes

    def time_axes(self, box: Box) -> Axes:
        """Axes over the window, with the moments marked."""
        axes = self.axes(box)
        axes.set_xlim(self._window.since / DAY_S, self._window.until / DAY_S)
        locator = AutoDateLocator(minticks=3, maxticks=max(4, int(box.width / 60)), tz=UTC)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC, show_offset=False))
        axes.grid(axis="x", color=LINE, linewidth=0.5)
        for time_s, color in self._moments:
            axes.axvline(time_s / DAY_S, color=color, linewidth=1, linestyle=(0, (3, 2)), zorder=4)
        return axes

    @property
    def days(self) -> np.ndarray:
        """Of all points, as matplotlib counts them."""
        return self._window.times / DAY_S

    def legend(self, box: Box, entries: list[tuple[str, str]]) -> None:
        """Names with their colours, in as many lines as the place has."""
        left, top = box.left, box.top
        for number, (name, color) in enumerate(entries):
            name = drawn_words(name, 36)
            width = 14 + LETTER_WIDTH * len(name)
            if left + width > box.left + box.width and left > box.left:
                left, top = box.left, top + LINE_HEIGHT
            if top + LINE_HEIGHT > box.top + box.height + 1:
                more = f"+ {len(entries) - number} more"
                self.text(box.left + box.width, top - LINE_HEIGHT, more, SMALL - 0.5, ha="right", color=FAR)
                return
            self.text(left, top + 1, "━", SMALL, color=color, weight="bold")
            self.text(left + 10, top, name, SMALL - 0.5, color=FAINT)
            left += width


def legend_lines(names: list[str], width: float) -> int:
    """Lines that a legend takes, at most three."""
    letters = sum(14 + LETTER_WIDTH * min(36, len(name)) for name in names)
    return min(3, math.ceil(1.15 * letters / width)) if names else 0


def field_of(panel: Mapping[str, Any]) -> dict[str, Any]:
    """How a panel's values are shown."""
    field: dict[str, Any] = panel["fieldConfig"]["defaults"]
    return field


def color_of(name: str) -> str:
    """A colour of Grafana's on our ground."""
    return COLORS.get(name, name)


def threshold_color(value: float, panel: Mapping[str, Any]) -> str:
    """The colour of the highest step that a value reaches, or of its mapping."""
    mapped = mapping_of(value, panel)
    if mapped is not None:
        return color_of(mapped["color"])
    steps = field_of(panel)["thresholds"]["steps"]
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return color_of(reached[-1])


def mapping_of(value: float, panel: Mapping[str, Any]) -> dict[str, str] | None:
    """Text and colour that stand for a value."""
    found: dict[str, dict[str, str]] = {}
    for mapping in field_of(panel).get("mappings", []):
        found |= mapping["options"]
    return found.get(f"{value:g}")


def worded(value: float, panel: Mapping[str, Any]) -> str:
    """A value of a panel in words."""
    mapped = mapping_of(value, panel)
    return mapped["text"] if mapped else shown(value, field_of(panel)["unit"])


def line_colors(panel: Mapping[str, Any], series: list[Series]) -> list[str]:
    """One colour for each series: its own where the panel gives it one, else the next."""
    own = {
        override["matcher"]["options"]: override["properties"][0]["value"]["fixedColor"]
        for override in panel["fieldConfig"]["overrides"]
    }
    return [color_of(own.get(one.name, LINES[number % len(LINES)])) for number, one in enumerate(series)]


def draw_lines(sheet: Sheet, box: Box, panel: Mapping[str, Any], series: list[Series]) -> None:
    field, colors = field_of(panel), line_colors(panel, series)
    custom = field["custom"]
    num_lines = legend_lines([one.name for one in series], box.width)
    plot = box.inside(38, 2, 4, 14 + num_lines * LINE_HEIGHT)
    axes = sheet.time_axes(plot)
    is_stacked, opacity = custom["stacking"]["mode"] != "none", custom["fillOpacity"] / 100
    is_log = custom["scaleDistribution"]["type"] == "log"
    ground = np.zeros(len(sheet.days))
    for one, color in zip(series, colors, strict=True):
        values = np.where(np.isfinite(one.values), one.values, np.nan)
        top = ground + values if is_stacked else values
        axes.plot(sheet.days, top, color=color, linewidth=1.2, marker="." if _is_dotted(values) else "")
        if not is_log:
            axes.fill_between(sheet.days, ground, top, color=color, alpha=opacity, linewidth=0)
        if is_stacked:
            ground = ground + np.nan_to_num(values)
    if is_log:
        axes.set_yscale("log")
    axes.set_ylim(field.get("min"), field.get("max"))
    if field["custom"]["thresholdsStyle"]["mode"] != "off":
        lowest, highest = axes.get_ylim()
        for step in field["thresholds"]["steps"][1:]:
            if lowest <= step["value"] <= highest:
                axes.axhline(step["value"], color=color_of(step["color"]), linewidth=1, linestyle=(0, (5, 3)))
    if not is_log:
        axes.yaxis.get_major_locator().set_params(nbins=max(3, int(plot.height / 22)), steps=[1, 2, 2.5, 5, 10])
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, field["unit"], digits=5))
    axes.grid(axis="y", color=LINE, linewidth=0.5)
    legend = Box(box.left + 4, box.top + box.height - num_lines * LINE_HEIGHT, box.width - 8, num_lines * LINE_HEIGHT)
    sheet.legend(legend, [(one.name, color) for one, color in zip(series, colors, strict=True)])


def _is_dotted(values: np.ndarray) -> bool:
    """A point without neighbours, which no line shows."""
    return int(np.isfinite(values).sum()) == 1


def draw_figures(sheet: Sheet, box: Box, panel: Mapping[str, Any], series: list[Series]) -> None:
    most = max(1, int(box.height / 14))
    if len(series) == 1:
        (one,) = series
        if one.values.size > 1:
            _sparkline(sheet, box, one, threshold_color(one.last, panel))
        words = worded(one.last, panel)
        size = min(24.0, 1.5 * box.width / max(1, len(words)))
        middle = (box.left + box.width / 2, box.top + 0.42 * box.height)
        sheet.text(*middle, words, size, ha="center", va="center", color=threshold_color(one.last, panel), weight="bold")
        return
    _listed(sheet, box, panel, series[:most], len(series) - most)


def _sparkline(sheet: Sheet, box: Box, one: Series, color: str) -> None:
    axes = sheet.axes(box.inside(0, 0.62 * box.height, 0, 0))
    axes.set_axis_off()
    values = np.where(np.isfinite(one.values), one.values, np.nan)
    axes.plot(sheet.days, values, color=color, linewidth=1)
    axes.fill_between(sheet.days, np.nanmin(values), values, color=color, alpha=0.15, linewidth=0)


def _listed(sheet: Sheet, box: Box, panel: Mapping[str, Any], series: list[Series], num_more: int) -> None:
    height = min(26, box.height / (len(series) + (num_more > 0)))
    size = min(15, 0.6 * height)
    top = box.top
    for one in series:
        words = worded(one.last, panel)
        room = int((box.width - 10) / (0.62 * SMALL) - len(words) * size / SMALL)
        sheet.text(box.left + 4, top + height / 2, drawn_words(one.name, max(6, room)), SMALL, va="center", color=FAINT)
        sheet.text(box.left + box.width - 4, top + height / 2, words, size, ha="right", va="center",
                   color=threshold_color(one.last, panel), weight="bold")  # fmt: skip
        top += height
    if num_more > 0:
        sheet.text(box.left + 4, top, f"+ {num_more} more", SMALL - 0.5, color=FAR)


def draw_bars(sheet: Sheet, box: Box, panel: Mapping[str, Any], series: list[Series]) -> None:
    field, colors = field_of(panel), line_colors(panel, series)
    series = series[: max(1, int(box.height / 11))]
    longest = max(len(one.name) for one in series)
    name_width = min(0.45 * box.width, 8 + LETTER_WIDTH * longest)
    lowest = field.get("min", min(0.0, *(one.last for one in series)))
    highest = field.get("max", max(1e-9, *(one.last for one in series)))
    height = min(26, box.height / len(series))
    axes = sheet.axes(box.inside(name_width, 0, 46, box.height - height * len(series)))
    axes.set_axis_off()
    axes.set_xlim(lowest, highest)
    axes.set_ylim(len(series) - 0.5, -0.5)
    for number, (one, color) in enumerate(zip(series, colors, strict=False)):
        color = threshold_color(one.last, panel) if color in LINES else color
        axes.barh(number, highest - lowest, left=lowest, height=0.72, color=PAPER)
        axes.barh(number, min(one.last, highest) - lowest, left=lowest, height=0.72, color=color)
        middle = box.top + (number + 0.5) * height
        name = drawn_words(one.name, int(name_width / LETTER_WIDTH))
        sheet.text(box.left + name_width - 5, middle, name, SMALL, ha="right", va="center", color=FAINT)
        sheet.text(box.left + box.width - 42, middle, worded(one.last, panel), SMALL, va="center", color=color,
                   weight="bold")  # fmt: skip


def draw_table(sheet: Sheet, box: Box, panel: Mapping[str, Any], series: list[Series]) -> None:
    (organized,) = panel["transformations"]
    hidden = organized["options"]["excludeByName"]
    rows = [one.labels | {"Value": worded(one.last, panel)} for one in series]
    columns = [column for column in rows[0] if not hidden.get(column)]
    most = int(box.height / 14) - 1
    for number, column in enumerate(columns):
        left = box.left + 4 + number * box.width / len(columns)
        room = int(box.width / len(columns) / LETTER_WIDTH)
        sheet.text(left, box.top, column, SMALL, weight="bold")
        for line, row in enumerate(rows[:most], 1):
            sheet.text(left, box.top + 14 * line, drawn_words(row[column], room), SMALL, color=FAINT)
    if len(rows) > most:
        sheet.text(box.left + box.width, box.top, f"{most} of {len(rows)}", SMALL - 0.5, ha="right", color=FAR)


def draw_states(sheet: Sheet, box: Box, panel: Mapping[str, Any], series: list[Series]) -> None:
    name_width = min(0.4 * box.width, 8 + LETTER_WIDTH * max(len(one.name) for one in series))
    plot = box.inside(name_width, 2, 4, 16)
    axes = sheet.time_axes(plot)
    axes.set_yticks([])
    axes.set_ylim(len(series) - 0.5, -0.5)
    step = sheet.days[1] - sheet.days[0]
    for number, one in enumerate(series):
        for first, last in stretches(one.values):
            color = threshold_color(float(one.values[first]), panel)
            left, width = sheet.days[first], step * (last - first + 1)
            axes.barh(number, width, left=left, height=0.6, color=color, alpha=0.75, align="center")
            if width > 0.1 * step * len(sheet.days):
                axes.text(left + width / 2, number, worded(float(one.values[first]), panel), color=CARD, ha="center",
                          va="center", fontsize=MEDIUM)  # fmt: skip
        middle = plot.top + (number + 0.5) * plot.height / len(series)
        name = drawn_words(one.name, int(name_width / LETTER_WIDTH))
        sheet.text(plot.left - 5, middle, name, SMALL, ha="right", va="center", color=FAINT)


def stretches(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last place of each stretch of one value; where there is none is in no stretch."""
    first = 0
    for place in range(1, len(values) + 1):
        if place == len(values) or values[place] != values[first]:
            if np.isfinite(values[first]):
                yield first, place - 1
            first = place


DRAWN: dict[str, Callable[[Sheet, Box, Mapping[str, Any], list[Series]], None]] = {
    "timeseries": draw_lines,
    "stat": draw_figures,
    "bargauge": draw_bars,
    "table": draw_table,
    "state-timeline": draw_states,
}


def draw_panel(sheet: Sheet, box: Box, panel: Mapping[str, Any], series: list[Series]) -> None:
    """A panel on its card: the title, and what its kind draws; in grey that there is no data."""
    sheet.card(box)
    sheet.text(box.left + 8, box.top + 5, panel["title"], MEDIUM, weight="bold")
    if series:
        DRAWN[panel["type"]](sheet, box.inside(4, TITLE_HEIGHT, 4, 4), panel, series)
    else:
        sheet.text(box.left + box.width / 2, box.top + box.height / 2, "no data", MEDIUM + 1, ha="center", color=FAR)


def answers_of(panel: Mapping[str, Any], prometheus: Prometheus, words: Mapping[str, str]) -> list[Series]:
    """All series of a panel with a value. Raises click.ClickException, with the panel's title, for a refused query."""
    found = []
    for target in panel["targets"]:
        try:
            found += prometheus.query(
                filled(target["expr"], words), target["legendFormat"], is_instant=target["instant"]
            )
        except click.ClickException as error:
            raise click.ClickException(f"panel {panel['title']!r}: {error.message}") from error
    return [one for one in found if np.isfinite(one.values).any()]


def moments_of(
    board: Mapping[str, Any], prometheus: Prometheus, words: Mapping[str, str]
) -> dict[str, tuple[str, list[float]]]:
    """The colour of each annotation of a board, and when it begins to hold, in unix seconds."""
    made = {}
    for annotation in (one for one in board["annotations"]["list"] if "expr" in one):
        times = set()
        for one in prometheus.query(filled(annotation["expr"], words)):
            there = np.isfinite(one.values)
            times |= {*prometheus.window.times[there & ~np.concatenate(([False], there[:-1]))]}
        made[annotation["name"]] = (color_of(annotation["iconColor"]), sorted(times))
    return made


def draw(board: Mapping[str, Any], prometheus: Prometheus, chosen: Mapping[str, str]) -> Figure:
    """The picture of a dashboard. `chosen` are values of its variables."""
    made = choices(board, prometheus, chosen)
    words = prometheus.window.words | {name: pattern for name, (pattern, _) in made.items()}
    moments = moments_of(board, prometheus, words)
    places = [panel["gridPos"] for panel in board["panels"]]
    height = HEADER_HEIGHT + CELL_HEIGHT * max(place["y"] + place["h"] for place in places) + MARGIN
    marks = [(time_s, color) for color, times in moments.values() for time_s in times]
    with drawing():
        sheet = Sheet(height, prometheus.window, marks)
        _head(sheet, board, prometheus.window, {name: said for name, (_, said) in made.items()}, moments)
        for panel in board["panels"]:
            box = _box(panel["gridPos"])
            if panel["type"] == "row":
                sheet.text(box.left, box.top + 5, panel["title"], MEDIUM + 1.5, weight="bold")
            else:
                draw_panel(sheet, box, panel, answers_of(panel, prometheus, words))
    return sheet.figure


def _box(place: Mapping[str, int]) -> Box:
    left, top = MARGIN + place["x"] * CELL_WIDTH, HEADER_HEIGHT + place["y"] * CELL_HEIGHT
    return Box(left, top, place["w"] * CELL_WIDTH - GAP, place["h"] * CELL_HEIGHT - GAP)


def _head(
    sheet: Sheet,
    board: Mapping[str, Any],
    window: Window,
    said: Mapping[str, str],
    moments: Mapping[str, tuple[str, list[float]]],
) -> None:
    since, until = (datetime.fromtimestamp(time_s, UTC) for time_s in (window.since, window.until))
    sheet.text(MARGIN, 8, board["title"], 14, weight="bold")
    sheet.text(WIDTH - MARGIN, 10, f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC", MEDIUM, ha="right")
    variables = "    ".join(f"{name}: {value}" for name, value in said.items())
    sheet.text(MARGIN, 32, drawn_words(variables, 130), SMALL + 0.5, color=FAINT)
    left = WIDTH - MARGIN
    for name, (color, times) in moments.items():
        words = f"┆ {name} ({len(times)})"
        sheet.text(left, 32, words, SMALL + 0.5, color=color, ha="right", weight="bold")
        left -= 14 + 1.2 * LETTER_WIDTH * len(words)


def _seconds(_: click.Context, __: click.Parameter, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return datetime.fromisoformat(value).timestamp()


@click.command()
@click.argument("url")
@click.option("--from", "since", required=True, callback=_seconds, help="unix seconds, or 2026-11-26T19:00:00Z")
@click.option("--to", "until", required=True, callback=_seconds)
@click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="choose a value of a variable, as run=night")
@click.option("--scrape", "scrape_s", default=15, show_default=True, help="seconds between Prometheus' scrapes")
@click.option("-o", "--output", "folder", required=True, type=click.Path(file_okay=False, path_type=Path))
def main(url: str, since: float, until: float, sets: tuple[str, ...], scrape_s: int, folder: Path) -> None:
    """Draw all dashboards out of the Prometheus at URL into FOLDER."""
    prometheus = Prometheus(url, Window(since, until, scrape_s))
    chosen = dict(one.split("=", 1) for one in sets)
    boards = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
    for name, board in boards.items():
        save_figure(draw(board, prometheus, chosen), folder / f"{name}.png")


if __name__ == "__main__":
    main()
