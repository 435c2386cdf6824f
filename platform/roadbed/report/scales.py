"""Axes for values of any kind: numbers on a linear or logarithmic scale, choices at even distances.

A place is 0..1 along an axis; what a trial has no value for is placed at ABSENT_AT, below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import LogLocator, MaxNLocator

from roadbed.report.sweep_table import value_words

ABSENT_AT = -0.16
# Positive numbers that span more than this factor are spread logarithmically, as a search space would have them.
LOG_FACTOR = 20.0
MOST_TICKS = 5
NEAREST_TICKS = 0.12
MOST_CHOICES = 9


@dataclass(frozen=True)
class Scale:
    """An axis: its kind, its ends if it has numbers, and the places of its choices if not."""

    is_log: bool
    ends: tuple[float, float] | None
    choices: Mapping[str, float]
    ticks: tuple[tuple[float, str], ...]

    @classmethod
    def of(cls, values: Sequence[Any], words: Callable[[float], str] | None = None) -> Scale:
        """The axis for these values; `words` tells its numbers. None and what is no finite number count as absent."""
        present = [value for value in values if not _is_absent(value)]
        if not present or not all(_is_number(value) for value in present):
            return cls._of_choices(sorted({value_words(value) for value in present}))
        low, high = float(min(present)), float(max(present))
        is_log = low > 0 and high / low >= LOG_FACTOR
        bare = cls(is_log, (low, high), {}, ())
        return cls(is_log, (low, high), {}, bare._number_ticks(sorted(set(present)), words or _tick_words))

    @classmethod
    def _of_choices(cls, choices: list[str]) -> Scale:
        places = {choice: _share(number, 0, len(choices) - 1) for number, choice in enumerate(choices)}
        every = -(-len(choices) // MOST_CHOICES)
        ticks = tuple((place, choice) for number, (choice, place) in enumerate(places.items()) if number % every == 0)
        return cls(False, None, places, ticks)

    def place(self, value: Any) -> float:
        """Where a value stands."""
        if _is_absent(value):
            return ABSENT_AT
        if self.ends is None:
            return self.choices.get(value_words(value), ABSENT_AT)
        low, high = self.ends
        return _share(math.log(value), math.log(low), math.log(high)) if self.is_log else _share(value, low, high)

    def _number_ticks(self, numbers: list[float], words: Callable[[float], str]) -> tuple[tuple[float, str], ...]:
        """The numbers themselves if they are few; else the ends, and round numbers between them."""
        low, high = numbers[0], numbers[-1]
        inner = numbers[1:-1]
        if len(numbers) > MOST_TICKS:
            decades = math.log10(high / low) if self.is_log else 0
            subs = (1.0,) if decades > 3 else (1.0, 3.0)
            locator = LogLocator(subs=subs) if self.is_log else MaxNLocator(MOST_TICKS)
            inner = [float(mark) for mark in locator.tick_values(low, high) if low < mark < high]
        ticks: list[tuple[float, str]] = []
        for mark in (low, high, *inner):
            place = self.place(mark)
            if all(abs(place - taken) >= NEAREST_TICKS for taken, _ in ticks):
                ticks.append((place, words(mark)))
        return tuple(sorted(ticks))


def _tick_words(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.3g}"


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others; in the middle if these are one."""
    return (value - low) / (high - low) if high > low else 0.5
