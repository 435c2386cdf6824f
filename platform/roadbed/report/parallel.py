"""Parallel coordinates: an axis per searched value and one for the score, a line per trial through all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from matplotlib.axes import Axes

from roadbed.report.inline import CARD, FAILED, FAINT, INK, LINE, WINNER
from roadbed.report.scales import ABSENT_AT, Scale
from roadbed.report.sweep_curves import score_inks
from roadbed.report.sweep_table import metric_name, score_words, short_names
from roadbed.tuning.results import SweepResult, Trial

TITLE_LETTERS = 14
CHOICE_LETTERS = 16
# Trials with the same choice are drawn beside each other, within this share of an axis.
SPREAD = 0.05


@dataclass(frozen=True)
class _Axis:
    """One axis: its title, its scale, where each trial stands on it, and what it says of those with no value."""

    title: str
    scale: Scale
    places: dict[int, float]
    absent_words: str = "not set"
    is_flipped: bool = False

    @property
    def has_absent(self) -> bool:
        return ABSENT_AT in self.places.values()


def draw_parallel(axes: Axes, result: SweepResult, *, is_turned: bool = False) -> None:
    """Draw it with upright axes beside each other or, turned, with lying ones below each other (for narrow screens)."""
    described = _described(result)
    _Drawing(axes, is_turned).draw(result, described)


def _described(result: SweepResult) -> list[_Axis]:
    """The axes, the score's last, with its better end where the higher values of others are."""
    names = short_names(result.parameters)
    described = []
    for key in result.parameters:
        values = {trial.number: trial.last_values.get(key) for trial in result.trials}
        scale = Scale.of(list(values.values()))
        title = names[key] + (" (log)" if scale.is_log else "")
        described.append(_Axis(title, scale, {number: scale.place(value) for number, value in values.items()}))
    scores = {trial.number: result.score(trial) for trial in result.trials}
    scale = Scale.of(list(scores.values()), lambda score: score_words(result.metric, score))
    places = {number: scale.place(score) for number, score in scores.items()}
    if result.mode == "min":
        places = {number: place if place == ABSENT_AT else 1 - place for number, place in places.items()}
    return [*described, _Axis(metric_name(result.metric), scale, places, "none", result.mode == "min")]


@dataclass(frozen=True)
class _Drawing:
    """What is drawn at (number of an axis, place along it), upright or turned."""

    axes: Axes
    is_turned: bool

    def draw(self, result: SweepResult, described: list[_Axis]) -> None:
        """Lines first, what is written over them."""
        self.axes.set_axis_off()
        self._set_limits(len(described), any(axis.has_absent for axis in described))
        inks = score_inks(result)
        ranked = [trial for trial in reversed(result.ranked()) if trial is not result.winner]
        offsets = {trial.number: SPREAD * (rank / max(1, len(ranked) - 1) - 0.5) for rank, trial in enumerate(ranked)}
        for trial in ranked:
            is_crowd = len(ranked) > 40
            width, alpha = (1.0, 0.7) if is_crowd else (1.6, 1.0)
            color = FAILED if trial.state == "failed" else inks.get(trial.number, LINE)
            style = (0, (4, 2)) if trial.state == "failed" else "-"
            points = self._points(trial, described, offsets[trial.number])
            self.axes.plot(*points, color=color, linewidth=width, alpha=alpha, linestyle=style)
        if result.winner is not None:
            points = self._points(result.winner, described, 0.0)
            self.axes.plot(*points, color=WINNER, linewidth=3, marker="o", markersize=6, zorder=3)
        for number, axis in enumerate(described):
            self._draw_axis(number, axis)

    def _points(self, trial: Trial, described: list[_Axis], offset: float) -> tuple[list[float], list[float]]:
        """The trial's way; where an axis has choices, or no value of it, trials are spread a little."""
        places = [
            axis.places[trial.number]
            + (offset if axis.scale.ends is None or axis.places[trial.number] == ABSENT_AT else 0.0)
            for axis in described
        ]
        numbers = [float(number) for number in range(len(described))]
        return ([*places], [-number for number in numbers]) if self.is_turned else (numbers, places)

    def _draw_axis(self, number: int, axis: _Axis) -> None:
        (x0, y0), (x1, y1) = self._at(number, 0.0), self._at(number, 1.0)
        self.axes.plot([x0, x1], [y0, y1], color=FAINT, linewidth=1.2, zorder=4)
        for place, words in axis.scale.ticks:
            words = words if len(words) <= CHOICE_LETTERS else f"{words[: CHOICE_LETTERS - 1]}…"
            self._write(number, 1 - place if axis.is_flipped else place, words, INK)
        if axis.has_absent:
            self._write(number, ABSENT_AT, axis.absent_words, FAINT)
        self._write_title(number, axis.title)

    def _at(self, number: int, place: float) -> tuple[float, float]:
        return (place, -number) if self.is_turned else (number, place)

    def _write(self, number: int, place: float, words: str, color: str) -> None:
        """A tick with its words: to the left of an upright axis, below a lying one."""
        x, y = self._at(number, place)
        shift = (0, -5) if self.is_turned else (-6, 0)
        alignment = {"ha": "center", "va": "top"} if self.is_turned else {"ha": "right", "va": "center"}
        box = {"facecolor": CARD, "edgecolor": "none", "alpha": 0.75, "pad": 1}
        marker = "|" if self.is_turned else "_"
        self.axes.plot([x], [y], color=FAINT, marker=marker, markersize=8, zorder=4)
        self.axes.annotate(
            words, (x, y), xytext=shift, textcoords="offset points", color=color, bbox=box, zorder=5, **alignment
        )

    def _write_title(self, number: int, title: str) -> None:
        x, y = self._at(number, 0.0 if self.is_turned else 1.0)
        shift = (0, 6) if self.is_turned else (0, 16)
        words = title if self.is_turned else _broken(title)
        alignment = {"ha": "left" if self.is_turned else "center", "va": "bottom"}
        box = {"facecolor": CARD, "edgecolor": "none", "alpha": 0.75, "pad": 1}
        self.axes.annotate(
            words, (x, y), xytext=shift, textcoords="offset points", weight="bold", bbox=box, zorder=5, **alignment
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
