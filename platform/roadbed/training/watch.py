"""What one worker is doing, kept where its watchdog can see it. Costs an assignment or two per move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Phase = Literal["starting", "loading data", "computing", "evaluating", "saving", "waiting for the others"]

WAITING: Phase = "waiting for the others"


class Watch:
    """What one worker is doing, for its watchdog to look at. Only the training's own thread writes it."""

    def __init__(self) -> None:
        self.phase: Phase = "starting"
        self.step = 0
        self.num_moves = 0
        self.num_meetings = 0

    def move(self, phase: Phase | None = None, *, step: int | None = None) -> None:
        """Something was done, or another phase begins."""
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
