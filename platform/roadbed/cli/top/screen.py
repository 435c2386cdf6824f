"""The live screen: one thread looks, this one draws, and goes on where the store does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from roadbed.cli.signals import stopped_by_signals
from roadbed.errors import RoadbedError
from roadbed.watching import Look

Draw = Callable[[Look, str], Text]
REDRAW_S = 0.25
_LATE_LOOKS = 3


def watch(look: Callable[[], Look], draw: Draw, *, first: Look, every_s: float, console: Console) -> None:
    """Show `first`, and what `look` gives every `every_s` seconds, on the alternate screen until Ctrl-C."""
    with stopped_by_signals() as stopped:
        looking = _Looking(look, first, every_s, stopped)
        threading.Thread(target=looking.go_on, name="looking", daemon=True).start()
        with Live(draw(first, ""), console=console, screen=True, auto_refresh=False) as live:
            while not stopped.wait(REDRAW_S):
                live.update(draw(looking.newest, looking.trouble()), refresh=True)


class _Looking:
    def __init__(self, look: Callable[[], Look], first: Look, every_s: float, stopped: threading.Event) -> None:
        self._look, self._every_s, self._stopped = look, every_s, stopped
        self._looked_at = time.monotonic()
        self._error: RoadbedError | None = None
        self.newest = first

    def go_on(self) -> None:
        """Look again and again. A store that is away is asked again."""
        while not self._stopped.wait(self._every_s):
            try:
                self.newest = self._look()
            except RoadbedError as error:
                self._error = error
            else:
                self._looked_at, self._error = time.monotonic(), None

    def trouble(self) -> str:
        """Why the newest look is old, nothing if it is not."""
        age_s = time.monotonic() - self._looked_at
        if self._error is None and age_s < _LATE_LOOKS * self._every_s + 1:
            return ""
        why = "no answer yet" if self._error is None else str(self._error)
        return f"as it was {age_s:.0f} s ago, trying again: {why}"
