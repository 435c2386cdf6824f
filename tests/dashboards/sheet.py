"""What pictures of dashboards are made of: places, a sheet to draw on, and values as Grafana writes them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dashboards.answers import Window
from roadbed.report.inline import CARD, FAINT, INK, LINE, drawn_words

# Places and letters are in points, from the upper left corner; a picture is 1,600 pixels wide.
WIDTH, MARGIN, TITLE_HEIGHT, LINE_HEIGHT = 1000, 8, 20, 12
SMALL, MEDIUM, LETTER_WIDTH = 8, 9.5, 5.2
DAY_S = 86_400
PAPER, FAR = "#f1f0ec", "#8a9099"
COLORS = {"green": "#2b8a3e", "orange": "#d9730d", "red": "#c92a2a", "blue": "#1f5fb0", "purple": "#8f3bb8",
          "light-green": "#74c476", "yellow": "#d9b310"}  # fmt: skip
LINES = ("#1f77b4", "#e0701a", "#2a9d5c", "#c43b4e", "#8662b8", "#8c5a4b", "#d666b5", "#7a7f87", "#a59a12", "#159fb3",
         "#0b3d63", "#f2a65a")  # fmt: skip

_PREFIXES: dict[str, tuple[int, tuple[str, ...]]] = {
    "short": (1000, ("", " K", " Mil", " Bil")),
    "bytes": (1024, (" B", " KiB", " MiB", " GiB", " TiB")),
    "decmbytes": (1000, (" MB", " GB", " TB")),
    "Bps": (1000, (" B/s", " kB/s", " MB/s", " GB/s")),
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
        self._colors: dict[str, str] = {}

    def card(self, box: Box, color: str = CARD) -> None:
        """A ground of one colour, below all else."""
        left, bottom, *size = self._place(box)
        edge = LINE if color == CARD else "none"
        self.figure.add_artist(
            Rectangle((left, bottom), *size, facecolor=color, edgecolor=edge, linewidth=0.8, zorder=-1)
        )

    def color(self, name: str) -> str:
        """The colour of a series: one name has the same in all panels, as Grafana's palette by name has it."""
        return self._colors.setdefault(name, LINES[len(self._colors) % len(LINES)])

    def text(self, left: float, top: float, words: str, size: float = SMALL, **style: Any) -> None:
        """Words whose upper left corner is there, unless `style` aligns them otherwise."""
        style = {"va": "top", "color": INK} | style
        self.figure.text(left / WIDTH, 1 - top / self._height, words, fontsize=size, **style)

    def axes(self, box: Box) -> Axes:
        """Axes without any frame that fill the place."""
        axes = self.figure.add_axes(self._place(box))
        axes.patch.set_alpha(0)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=SMALL - 0.5, pad=2)
        return axes

    def move(self, axes: Axes, box: Box) -> None:
        """Let axes fill another place."""
        axes.set_position(self._place(box))

    def _place(self, box: Box) -> tuple[float, float, float, float]:
        height = self._height
        return box.left / WIDTH, 1 - (box.top + box.height) / height, box.width / WIDTH, box.height / height

    def time_axes(self, box: Box) -> Axes:
        """Axes over the window, with the moments marked."""
        axes = self.axes(box)
        axes.set_xlim(self._window.since / DAY_S, self._window.until / DAY_S)
        locator = AutoDateLocator(minticks=3, maxticks=max(4, int(box.width / 60)), tz=UTC)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC, show_offset=False))
        axes.tick_params(axis="x", pad=4)
        axes.grid(axis="x", color=LINE, linewidth=0.5)
        for time_s, color in self._moments:
            axes.axvline(time_s / DAY_S, color=color, linewidth=1, linestyle=(0, (3, 2)), zorder=4)
        return axes

    @property
    def days(self) -> np.ndarray:
        """Of all points, as matplotlib counts them."""
        return self._window.times / DAY_S

    def legend_lines(self, box: Box, entries: list[tuple[str, str]]) -> int:
        """Lines that a legend needs, at most three."""
        return min(3, 1 + max(line for line, *_ in _flowed(box.width - 8, entries)))

    def legend(self, box: Box, entries: list[tuple[str, str]]) -> None:
        """Names with their colours, in as many lines as the place has; says how many more there are."""
        placed = [one for one in _flowed(box.width, entries) if one[0] < round(box.height / LINE_HEIGHT)]
        if len(placed) < len(entries):
            line, left, *_ = placed.pop()
            more = f"+ {len(entries) - len(placed)} more"
            self.text(box.left + left, box.top + line * LINE_HEIGHT, more, SMALL - 0.5, color=FAR)
        for line, left, name, color in placed:
            top = box.top + line * LINE_HEIGHT
            self.text(box.left + left, top + 1, "━", SMALL, color=color, weight="bold")
            self.text(box.left + left + 10, top, name, SMALL - 0.5, color=FAINT)


def _flowed(width: float, entries: list[tuple[str, str]]) -> Iterator[tuple[int, float, str, str]]:
    """Entries of a legend with the line and the place in it that each has."""
    line, left = 0, 0.0
    for name, color in entries:
        name = drawn_words(name, 36)
        needed = 16 + LETTER_WIDTH * len(name)
        if left > 0 and left + needed > width:
            line, left = line + 1, 0.0
        yield line, left, name, color
        left += needed


def color_of(name: str) -> str:
    """A colour of Grafana's, as it is told apart on our ground."""
    return COLORS.get(name, name)
