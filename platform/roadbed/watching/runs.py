"""Runs as they are now: those that live first, then what ended last; of each the last steps and evaluations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from roadbed.data.parallel import in_threads
from roadbed.errors import DamagedError, NotFoundError
from roadbed.runs import LIVE, Pointer, Run, RunStatus, Statuses, list_runs
from roadbed.runs.figures import mean_over_time
from roadbed.storage import Store

STALLED_AFTER_S = 60.0
"""So long a run may take no step before it is marked, or ten times what its steps take, if that is longer."""
_READING_THREADS = 8
_MOST_AGAIN = 16
_MOST_SEGMENTS = 16
_MOST_STEPS = 400
_PACE_STEPS = 100

Point = tuple[float, float]


@dataclass(frozen=True)
class RunNow:
    """A run that is looked at.

    `losses` and `mious` are (step, value) of the last steps and evaluations. `data_share` is the share of time waiting
    for data, and `phase` what else took most of it, with its share, where the run's processes tell that.
    `silent_s` is the age of the last heartbeat, `still_s` that of the last step of a running attempt.
    """

    status: RunStatus
    losses: tuple[Point, ...] = ()
    mious: tuple[Point, ...] = ()
    best_miou: float | None = None
    images_per_s: float | None = None
    data_share: float | None = None
    phase: tuple[str, float] | None = None
    seconds_left: float | None = None
    silent_s: float = 0.0
    still_s: float | None = None
    is_stalled: bool = False

    @property
    def is_live(self) -> bool:
        """Whether somebody brings it to its end."""
        return self.status.state in LIVE

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON, without the curves."""
        told, status = self.status.progress, self.status
        return {
            "name": status.name,
            "state": status.state,
            "reason": status.reason,
            "step": status.step,
            "num_steps": told.get("num_steps"),
            "seconds_left": self.seconds_left,
            "loss": self.losses[-1][1] if self.losses else None,
            "miou": told.get("miou"),
            "best_miou": self.best_miou,
            "images_per_s": self.images_per_s,
            "data_share": self.data_share,
            "phase": self.phase,
            "attempts": status.attempt,
            "heartbeat_at": status.heartbeat_at,
            "heartbeat_age_s": self.silent_s,
            "step_age_s": self.still_s,
            "is_stalled": self.is_stalled,
        }


class Runs:
    """The runs under `root`, looked at again and again."""

    def __init__(self, root: Store, clock: Callable[[], float]) -> None:
        self._root, self._clock = root, clock
        self._open = partial(Run, root, clock=clock)
        self._statuses = Statuses(self._open, clock=clock, most_again=_MOST_AGAIN)
        self._tails: dict[str, _Tail] = {}

    def look(self, *, most: int, shares: Mapping[str, Mapping[str, float]]) -> tuple[list[RunNow], dict[str, int]]:
        """The first `most` runs, and the number of all by state. `shares`: of the time by phase, by run."""
        found, _ = self._statuses.read(list_runs(self._root))
        statuses = sorted((status for status in found.values() if status is not None), key=_order)
        counts: dict[str, int] = {}
        for status in statuses:
            counts[status.state] = counts.get(status.state, 0) + 1
        shown = statuses[:most]
        self._tails = {one.name: self._tails.get(one.name) or _Tail(self._open(one.name)) for one in shown}
        in_threads(lambda status: self._tails[status.name].update(status), shown, _READING_THREADS)
        return [self._tails[one.name].now(one, self._clock(), shares.get(one.name, {})) for one in shown], counts


class _Tail:
    """The last steps and evaluations of one run, each segment read once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._steps: list[dict[str, Any]] = []
        self._evaluations: list[dict[str, Any]] = []
        self._pointer = Pointer()
        self._known: tuple[Any, ...] | None = None
        self._seen: set[str] = set()

    def update(self, status: RunStatus) -> None:
        """Read what came since the last time. Whatever is damaged or gone is passed over."""
        is_live = status.state in LIVE
        try:
            if is_live or self._known is None or self._known[:2] != (status.attempt, status.state):
                self._pointer = self._run.pointer()
            # Segments are written before the pointer moves, and before an attempt ends.
            known = (status.attempt, status.state, self._pointer)
            if known != self._known:
                for line in self._run.newest_lines("metrics", self._seen, attempt=status.attempt, most=_MOST_SEGMENTS):
                    self._add(line)
                self._known = known
        except (DamagedError, NotFoundError):
            return
        if is_live:
            self._add(status.progress | {"attempt": status.attempt, "miou": None})

    def _add(self, line: dict[str, Any]) -> None:
        """A line of the journal; what was told before of its step and later ones was done again."""
        for lines, key in ((self._steps, "loss"), (self._evaluations, "miou")):
            if line.get(key) is not None and "step" in line:
                while lines and lines[-1]["step"] >= line["step"]:
                    lines.pop()
                lines.append(line)
                del lines[:-_MOST_STEPS]

    def now(self, status: RunStatus, now: float, shares: Mapping[str, float]) -> RunNow:
        """What it comes to."""
        recent = self._steps[-_PACE_STEPS:]
        others = {phase: share for phase, share in shares.items() if phase != "data"}
        step_s = self._step_s(status.attempt)
        still_s = self._still_s(status.attempt, now) if status.state == "running" else None
        is_due = still_s is not None and still_s > max(STALLED_AFTER_S, 10 * (step_s or 0.0))
        is_stalled = is_due and "evaluating" not in status.progress
        is_moving = still_s is not None and not is_stalled
        num_left = int(status.progress.get("num_steps", status.step)) - status.step
        best = self._pointer.best
        return RunNow(
            status=status,
            losses=tuple((line["step"], line["loss"]) for line in self._steps),
            mious=tuple((line["step"], line["miou"]) for line in self._evaluations),
            best_miou=best.score if best else None,
            images_per_s=mean_over_time(recent, "images_per_s"),
            data_share=shares.get("data", mean_over_time(recent, "data_wait_share")),
            phase=max(others.items(), key=lambda item: item[1], default=None),
            seconds_left=num_left * step_s if step_s is not None and is_moving and num_left else None,
            silent_s=max(0.0, now - status.heartbeat_at),
            still_s=still_s,
            is_stalled=is_stalled,
        )

    def _step_s(self, attempt: int) -> float | None:
        """What a step took lately, evaluations included, by the steps of one attempt; None of fewer than two."""
        lines = self._lines_of(attempt)
        if len(lines) < 2:
            return None
        seconds = float(lines[-1]["at"] - lines[0]["at"])
        return max(0.0, seconds) / int(lines[-1]["step"] - lines[0]["step"])

    def _still_s(self, attempt: int, now: float) -> float | None:
        """The age of the last step of an attempt, None before its first: it is starting."""
        lines = self._lines_of(attempt)
        return max(0.0, now - lines[-1]["at"]) if lines else None

    def _lines_of(self, attempt: int) -> list[dict[str, Any]]:
        return [line for line in self._steps if line["attempt"] == attempt and "at" in line]


def _order(status: RunStatus) -> tuple[bool, float, str]:
    """What lives by name, so that it stays where it is on a screen; then what gave a sign last."""
    is_live = status.state in LIVE
    return not is_live, 0.0 if is_live else -status.heartbeat_at, status.name
