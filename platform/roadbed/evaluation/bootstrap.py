"""How sure a figure is: the frames drawn anew with repetition, many times, and what the figure comes to each time.

Frames are drawn as if each were a throw of its own. Those of one drive resemble each other, so where a split is one
drive the intervals are too narrow for another; they tell how much hangs on which of its frames were labelled.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 13 (percentile intervals).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from roadbed.evaluation.tallies import Figures, Tallies, joined
from roadbed.scores import CountArray

COVERAGE = 0.95
BLOCK_DRAWS = 100

Interval = tuple[float, float]


@dataclass(frozen=True)
class Bootstrap:
    """`num_draws` draws of all frames. The same seed and number of frames give the same draws."""

    num_draws: int = 2000
    seed: int = 0

    def figures(self, tallies: Tallies) -> Figures:
        """The figures of every draw."""
        return joined([tallies.figures_of_draws(times_RN) for times_RN in self._draws(len(tallies))])

    def _draws(self, num_frames: int) -> Iterator[CountArray]:
        """How often each frame comes in each draw, (R, N), in blocks: all at once would be too much for many frames.

        Raw words of PCG64, as in `data/order.py`: no numpy of later days draws otherwise.
        """
        source = np.random.PCG64(self.seed)
        for first in range(0, self.num_draws, BLOCK_DRAWS):
            num_rows = min(BLOCK_DRAWS, self.num_draws - first)
            frames_RN = source.random_raw((num_rows, num_frames)) % np.uint64(num_frames)
            places_RN = frames_RN.astype(np.int64) + num_frames * np.arange(num_rows)[:, None]
            yield np.bincount(places_RN.ravel(), minlength=num_rows * num_frames).reshape(num_rows, num_frames)


def interval(values_R: np.ndarray[Any, Any]) -> Interval | None:
    """The middle `COVERAGE` of the draws in which the figure is there; None if it is in none."""
    there = values_R[np.isfinite(values_R)]
    if not len(there):
        return None
    low, high = np.percentile(there, [50 * (1 - COVERAGE), 50 * (1 + COVERAGE)])
    return float(low), float(high)
