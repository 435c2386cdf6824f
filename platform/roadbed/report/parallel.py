"""Parallel coordinates: an axis per searched value and one for the score, a line per trial through all of them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from matplotlib.axes import Axes

from roadbed.report.inline import CARD, CHOICE_LETTERS, FAILED, FAINT, INK, LINE, NAME_LETTERS, WINNER, drawn_words
from roadbed.report.scales import ABSENT_AT, Scale
from roadbed.report.sweep_curves import MOST_APART, score_inks
from roadbed.report.sweep_table import metric_name, score_words, short_names
from roadbed.tuning.results import SweepResult, Trial

TITLE_LETTERS = 14
# Trials with the same value are drawn beside each other, within this share of an axis.
SPREAD = 0.05
# About the width of a letter, which keeps the words below a lying axis apart.
LETTER_PT = 7.0


@dataclass(frozen=True)
class _Axis:
    """One axis: its title, its scale, where each trial stands on it, and what it says of those with no value."""

    title: str
    scale: Scale
    places: dict[int, float]
    absent_words: str = "not set"
    is_flipped: bool = False

    @cached_property
    def shared(self) -> frozenset[int]:
        """The trials that stand where others stand too."""
        counts = Counter(self.places.values())
        return frozenset(number for number, place in self.places.items() if counts[place] > 1)

    @property
    def has_absent(self) -> bool:
        return ABSENT_AT in self.places.values()


def draw_parallel(axes: Axes, result: SweepResult, *, width_pt: float, is_turned: bool) -> None:
    """Draw it, in a figure of this width: with upright axes beside each other or, turned, with lying ones in a pile."""
    _Drawing(axes, is_turned, length_pt=0.75 * width_pt).draw(result, _described(result))


def _described(result: SweepResult) -> list[_Axis]:
    """The axes, the score's last, with its better end where the higher values of others are."""
    names = short_names(result.parameters)
    described = []
    for key in result.parameters:
        values = {trial.number: trial.last_values.get(key) for trial in result.trials}
        scale = Scale.of(list(values.values()))
        title = drawn_words(names[key], NAME_LETTERS) + (" (log)" if scale.is_log else "")
        described.append(_Axis(title, scale, {number: scale.place(value) for number, value in values.items()}))
    scores = {trial.number: result.score(trial) for trial in result.trials}
    scale = Scale.of(list(scores.values()), lambda score: score_words(result.metric, score))
    places = {number: scale.place(score) for number, score in scores.items()}
    if result.mode == "min":
        places = {number: place if place == ABSENT_AT else 1 - place for number, place in places.items()}
    return [
        *described,
        _Axis(drawn_words(metric_name(result.metric), NAME_LETTERS), scale, places, "none", result.mode == "min"),
    ]


@dataclass(frozen=True)
class _Drawing:
    """What is drawn at (number of an axis, place along it), upright or turned; a lying axis is `length_pt` long."""

    axes: Axes
    is_turned: bool
    length_pt: float

    def draw(self, result: SweepResult, described: list[_Axis]) -> None:
        """Lines first, what is written over them."""
        self.axes.set_axis_off()
        self._set_limits(len(described), any(axis.has_absent for axis in described))
        inks = score_inks(result)
        ranked = [trial for trial in reversed(result.ranked()) if trial is not result.winner]
        offsets = {trial.number: SPREAD * (rank / max(1, len(ranked) - 1) - 0.5) for rank, trial in enumerate(ranked)}
        for trial in ranked:
            is_crowd = len(ranked) > MOST_APART
            width, alpha = (1.0, 0.7) if is_crowd else (1.6, 1.0)
            color = FAILED if trial.state == "failed" else inks.get(trial.number, LINE)
            style = (0, (4, 2)) if trial.state == "failed" else "-"
            points = self._points(trial, described, offsets[trial.number])
            self.axes.plot(*points, color=color, linewidth=width, alpha=alpha, linestyle=style, in_layout=False)
        if result.winner is not None:
            points = self._points(result.winner, described, 0.0)
            self.axes.plot(*points, color=WINNER, linewidth=3, marker="o", markersize=6, zorder=3)
        for number, axis in enumerate(described):
            self._draw_axis(number, axis)

    def _points(self, trial: Trial, described: list[_Axis], offset: float) -> tuple[list[float], list[float]]:
        """The trial's way; where others have the same value, it passes beside them."""
        places = [axis.places[trial.number] + offset * (trial.number in axis.shared) for axis in described]
        numbers = [float(number) for number in range(len(described))]
        return ([*places], [-number for number in numbers]) if self.is_turned else (numbers, places)

    def _draw_axis(self, number: int, axis: _Axis) -> None:
        (x0, y0), (x1, y1) = self._at(number, 0.0), self._at(number, 1.0)
        self.axes.plot([x0, x1], [y0, y1], color=FAINT, linewidth=1.2, zorder=4)
        for place, words in self._ticks(axis):
            self._write(number, 1 - place if axis.is_flipped else place, words, INK)
        if axis.has_absent:
            self._write(number, ABSENT_AT, axis.absent_words, FAINT)
        self._write_title(number, axis.title)

    def _ticks(self, axis: _Axis) -> list[tuple[float, str]]:
        """The axis's ticks with short words; below a lying axis those that have room beside its ends."""
        ticks = [(place, drawn_words(words, CHOICE_LETTERS)) for place, words in axis.scale.ticks]
        if not self.is_turned:
            return ticks
        taken = [(ABSENT_AT, axis.absent_words)] if axis.has_absent else []
        fitting: list[tuple[float, str]] = []
        for place, words in [*ticks[:1], *ticks[:0:-1]]:
            needed = [(len(words) + len(other) + 2) / 2 * LETTER_PT / self.length_pt for _, other in [*taken, *fitting]]
            places = [abs(place - other) for other, _ in [*taken, *fitting]]
            if all(apart >= need for apart, need in zip(places, needed, strict=True)):
                fitting.append((place, words))
        return fitting

    def _at(self, number: int, place: float) -> tuple[float, float]:
        return (place, -number) if self.is_turned else (number, place)

    def _write(self, number: int, place: float, words: str, color: str) -> None:
        """A tick with its words: to the left of an upright axis, below a lying one."""
        spot = self._at(number, place)
        self.axes.plot(*zip(spot), color=FAINT, marker="|" if self.is_turned else "_", markersize=8, zorder=4)
        shift, across, along = ((0, -5), "center", "top") if self.is_turned else ((-6, 0), "right", "center")
        self._annotate(words, spot, shift, ha=across, va=along, color=color)

    def _write_title(self, number: int, title: str) -> None:
        """The title: over the middle of an upright axis, over the beginning of a lying one."""
        if self.is_turned:
            self._annotate(title, self._at(number, 0.0), (0, 6), ha="left", va="bottom", weight="bold")
        else:
            self._annotate(_broken(title), self._at(number, 1.0), (0, 16), ha="center", va="bottom", weight="bold")

    def _annotate(
        self,
        words: str,
        spot: tuple[float, float],
        shift_pt: tuple[float, float],
        *,
        ha: str,
        va: str,
        color: str = INK,
        weight: str = "normal",
    ) -> None:
        """Words beside a spot, on a ground that keeps them readable over lines."""
        box = {"facecolor": CARD, "edgecolor": "none", "alpha": 0.75, "pad": 1}
        self.axes.annotate(
            words,
            spot,
            xytext=shift_pt,
            textcoords="offset points",
            ha=ha,
            va=va,
            color=color,
            weight=weight,
            bbox=box,
            zorder=5,
        )

    def _set_limits(self, num_axes: int, has_absent: bool) -> None:
        low = ABSENT_AT - 0.06 if has_absent else -0.06
        if self.is_turned:
            self.axes.set_xlim(low - 0.04, 1.1)
            self.axes.set_ylim(-num_axes + 0.5, 0.5)
        else:
            self.axes.set_xlim(-0.6, num_axes - 0.8)
            self.axes.set_ylim(low, 1.06)


def _broken(title: str) -> str:
    """A title in lines of at most TITLE_LETTERS letters, broken after dots and underscores and before brackets."""
    lines = [""]
    for part in re.findall(r"[^._ ]*[._ ]?", title):
        if lines[-1] and len(lines[-1] + part.strip()) > TITLE_LETTERS:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines)
