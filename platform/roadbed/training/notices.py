"""Notices that a part of the cluster is about to go: when to ask for one, and which of them was heeded already.

Who knows of notices is handed in as a function, which every worker of the group must call at the same step (it may be a
barrier). Hence the first worker's clock alone says when: its word travels with the sums of a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Ask = Callable[[], str | None]
"""The notice that stands, in words that differ from those of any other, or None. The same on every worker."""


class Notices:
    """Asks now and then, and remembers which notice was heeded."""

    def __init__(self, ask: Ask | None, *, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._interval_s = interval_s
        self._clock = clock
        self._asked_at = clock()
        self._heeded: str | None = None

    def is_due(self) -> bool:
        """Whether it is time to ask again, by this worker's clock; never where nobody gives notices."""
        return self._ask is not None and self._clock() - self._asked_at >= self._interval_s

    def ask(self) -> str | None:
        """The notice that stands, heeded or not."""
        notice = self._ask() if self._ask is not None else None
        self._asked_at = self._clock()
        return notice

    def is_heeded(self, notice: str) -> bool:
        """Whether what this notice asks for was done."""
        return notice == self._heeded

    def heed(self, notice: str) -> None:
        """What a notice asks for is done."""
        self._heeded = notice
