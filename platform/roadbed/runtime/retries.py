"""How often a start goes on by itself after failures: budgets per cause that a newer checkpoint makes full again.

Pure; the clock and the sleeping are the driver's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import shorten

from roadbed.runs.causes import Cause
from roadbed.runtime.failures import Failure
from roadbed.spec import WorkersSpec

LONGEST_PAUSE_S = 300.0


@dataclass(frozen=True)
class Decision:
    """What follows from a failure. `verdict` says it in words; `pause_s` is None where nothing is tried again."""

    verdict: str
    pause_s: float | None = None


class Retries:
    """The budgets of one start of a run.

    Without a newer checkpoint the retries of a cause are used up, and the pause before each doubles; with one a run of
    weeks on machines that come and go never dies of having lost too many of them.
    """

    def __init__(self, workers: WorkersSpec, *, step: int) -> None:
        """`step` is that of the newest checkpoint at the start, 0 without one."""
        retries = workers.retries
        self._budgets: dict[Cause, int] = {
            "lost_worker": retries.lost_worker,
            "preemption": retries.lost_worker,
            "memory": retries.memory,
            "store": retries.store,
            "hang": retries.hang,
        }
        self._pause_s = retries.pause_s
        self._pattern = workers.no_retry_pattern
        self._spent: Counter[Cause] = Counter()
        self._step = step

    def decide(self, failure: Failure, *, step: int | None, log: Iterable[str] = ()) -> Decision:
        """Whether to try again after `failure`, the newest checkpoint being that of `step` (None: not to be known).

        `log` are the lines of the attempt that failed.
        """
        if step is not None and step > self._step:
            self._step = step
            self._spent.clear()
        if failure.cause not in self._budgets:
            return Decision(f"not retried: {failure.cause} would come again")
        budget = self._budgets[failure.cause]
        found = self._found(failure, log)
        if found is not None:
            return Decision(f"not retried: workers.no_retry_pattern was found in {shorten(found, 200)!r}")
        if self._spent[failure.cause] >= budget:
            return Decision(f"not retried: the budget for {failure.cause} is {budget} without a newer checkpoint")
        pause_s = min(self._pause_s * 2 ** self._spent.total(), LONGEST_PAUSE_S)
        self._spent[failure.cause] += 1
        number = self._spent[failure.cause]
        return Decision(f"retry {number} of {budget} for {failure.cause} in {pause_s:.0f} s", pause_s)

    def _found(self, failure: Failure, log: Iterable[str]) -> str | None:
        """The line in which the pattern is found that ends retries."""
        if not self._pattern:
            return None
        lines = (line for text in (failure.reason, failure.text, *log) for line in text.splitlines())
        return next((line for line in lines if re.search(self._pattern, line)), None)
