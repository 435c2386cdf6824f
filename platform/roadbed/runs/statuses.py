"""status.json of all runs, read again and again: those that have ended are remembered for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from roadbed.errors import DamagedError, UsageError
from roadbed.runs.run import Run
from roadbed.runs.state import LIVE, RunStatus

_READING_THREADS = 16
_FINAL_S = 120.0
"""A run that has ended may be started again by its name: so long it is taken to be as it was."""

Found = RunStatus | DamagedError | UsageError | None


class Statuses:
    """The statuses of the runs that `open_run` opens.

    `most_again` bounds how many of those that have ended one reading reads again, those read longest ago; None: all
    that are due.
    """

    def __init__(
        self,
        open_run: Callable[[str], Run],
        *,
        clock: Callable[[], float] = time.time,
        most_again: int | None = None,
    ) -> None:
        self._open_run, self._clock, self._most_again = open_run, clock, most_again
        self._ended: dict[str, tuple[float, RunStatus]] = {}

    def read(self, names: Iterable[str]) -> tuple[dict[str, RunStatus | None], int]:
        """The statuses by name, None of what has begun no attempt yet; and how many are damaged, which are left out."""
        names = list(names)
        known = self._still_known(names)
        asked = [name for name in names if name not in known]
        with ThreadPoolExecutor(_READING_THREADS) as pool:
            read = dict(zip(asked, pool.map(self._read_one, asked), strict=True))
        found: dict[str, Found] = {name: known.get(name) or read[name] for name in names}
        sound = {name: one for name, one in found.items() if one is None or isinstance(one, RunStatus)}
        return sound, len(found) - len(sound)

    def _still_known(self, names: list[str]) -> dict[str, RunStatus]:
        """Those that are not read this time."""
        kept = {name: self._ended[name] for name in names if name in self._ended}
        due = sorted((at, name) for name, (at, _) in kept.items() if self._clock() - at >= _FINAL_S)
        again = {name for _, name in due[: self._most_again]}
        return {name: status for name, (_, status) in kept.items() if name not in again}

    def _read_one(self, name: str) -> Found:
        """The status, or why there is none to be had of what lies there."""
        try:
            status = self._open_run(name).status()
        except (DamagedError, UsageError) as error:
            return error
        self._ended.pop(name, None)
        if status is not None and self._is_over(status):
            self._ended[name] = self._clock(), status
        return status

    def _is_over(self, status: RunStatus) -> bool:
        """Whether it has ended, or has been lost for so long that nobody waits for it."""
        if status.state == "lost":
            return self._clock() - status.heartbeat_at >= _FINAL_S
        return status.state not in LIVE
