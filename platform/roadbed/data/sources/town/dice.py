"""Random numbers of one frame: a numpy generator, drawn from in blocks, as single draws are slow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

BLOCK = 1024
SCALE = 1 / 2**32
ItemT = TypeVar("ItemT")


class Dice:
    """Draws that depend on the seed and the calls before, on nothing else."""

    def __init__(self, seed: Sequence[int]) -> None:
        self.generator = np.random.default_rng(seed)
        self._numbers: list[int] = []

    def between(self, low: float, high: float) -> float:
        """A number within low..high."""
        if not self._numbers:
            self._numbers = self.generator.integers(2**32, size=BLOCK, dtype=np.uint32).tolist()
        return low + (high - low) * self._numbers.pop() * SCALE

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return min(int(self.between(low, high + 1)), high)

    def chance(self, probability: float) -> bool:
        """True so often."""
        return self.between(0, 1) < probability

    def choice(self, items: Sequence[ItemT]) -> ItemT:
        """One of the items."""
        return items[self.integer(0, len(items) - 1)]
