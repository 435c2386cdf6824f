"""What one worker is doing, where its watchdog can see it, and for how long. Costs a microsecond per move."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Phase = Literal["starting", "loading data", "computing", "evaluating", "saving", "waiting for the others"]

WAITING: Phase = "waiting for the others"

Passes = Callable[[], tuple[float, float]]
"""Seconds of going forward and backward through the network, known once the device has done it."""
Spent = Literal["start", "data", "forward", "backward", "sync", "checkpoint", "evaluate", "other"]
_SPENT: dict[Phase, Spent] = {
    "starting": "start",
    "loading data": "data",
    "computing": "other",
    "evaluating": "evaluate",
    "saving": "checkpoint",
    WAITING: "sync",
}


class Watch:
    """What one worker is doing, for its watchdog to look at, and what it spent its time with.

    Only the training's own thread writes it. `clock` gives seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._since = clock()
        self._spent: dict[Spent, float] = {}
        self._passes: list[Passes] = []
        self._instead: Spent | None = None
        self.phase: Phase = "starting"
        self.step = 0
        self.num_moves = 0
        self.num_meetings = 0

    def move(self, phase: Phase | None = None, *, step: int | None = None) -> None:
        """Something was done, or another phase begins."""
        self._account()
        self.phase = phase or self.phase
        self.step = self.step if step is None else step
        self.num_moves += 1

    @contextmanager
    def meeting(self) -> Iterator[None]:
        """While something is done that all workers must come to."""
        before = self.phase
        self.move(WAITING)
        yield
        self.move(before)
        self.num_meetings += 1

    @contextmanager
    def counted_as(self, spent: Spent) -> Iterator[None]:
        """Time within counts as `spent`, whatever the phase is called."""
        self._account()
        self._instead = spent
        yield
        self._account()
        self._instead = None

    def passed(self, passes: Passes) -> None:
        """The network was gone through; `passes` is asked for how long when all of that is done, by `take_spent`."""
        self._passes.append(passes)

    def take_spent(self) -> dict[Spent, float]:
        """Seconds by what they were spent with, of all the time since this was asked last."""
        self._account()
        taken, self._spent = self._spent, {}
        seconds = [passes() for passes in self._passes]
        self._passes.clear()
        if seconds:
            forward_s, backward_s = (sum(column) for column in zip(*seconds, strict=True))
            around: Spent = max(("other", "start"), key=lambda spent: taken.get(spent, 0.0))
            taken[around] = max(0.0, taken[around] - forward_s - backward_s)
            taken |= {"forward": forward_s, "backward": backward_s}
        return taken

    def _account(self) -> None:
        now, spent = self._clock(), self._instead or _SPENT[self.phase]
        self._spent[spent] = self._spent.get(spent, 0.0) + now - self._since
        self._since = now
