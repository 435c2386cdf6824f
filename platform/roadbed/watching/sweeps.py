"""Sweeps as they are now: their trials by state, the best score, and the hours that they cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from roadbed.errors import DamagedError, NotFoundError, UsageError
from roadbed.runs import LIVE, Run, RunStatus, Statuses
from roadbed.spec import TuneJob, parse_kind
from roadbed.storage import Store
from roadbed.tuning.sweep import BASELINE, FOLDER, Sweep, TrialRecord, list_sweeps

_MOST_AGAIN = 4


@dataclass(frozen=True)
class SweepNow:
    """A sweep that is looked at. `trials` counts by state those that began; hours are summed over CPUs and GPUs.

    Of a sweep whose spec this version does not understand only state and `planned` are known.
    """

    name: str
    state: str
    planned: int | None
    trials: Mapping[str, int]
    metric: str = ""
    best: float | None = None
    cpu_hours: float | None = None
    gpu_hours: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Sweeps:
    """The sweeps under `root`, looked at again and again."""

    def __init__(self, root: Store, clock: Callable[[], float]) -> None:
        self._root, self._clock = root, clock
        self._statuses = Statuses(partial(Run, root, folder=FOLDER, clock=clock), clock=clock, most_again=_MOST_AGAIN)
        self._trials: dict[str, _Trials] = {}

    def look(self, *, most: int) -> tuple[list[SweepNow], int]:
        """Those that live, then what gave a sign last, `most` of them; and the number of all."""
        found, _ = self._statuses.read(list_sweeps(self._root))
        statuses = [status for status in found.values() if status is not None]
        statuses.sort(key=lambda status: (status.state not in LIVE, -status.heartbeat_at, status.name))
        shown = statuses[:most]
        self._trials = {one.name: self._trials.get(one.name) or _Trials(Sweep(self._root, one.name)) for one in shown}
        return [self._trials[one.name].now(one, self._clock()) for one in shown], len(statuses)


class _Trials:
    """What the lines of one sweep tell, each segment read once."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._job: TuneJob | None = None
        self._records: dict[int, TrialRecord] = {}
        self._seen: set[str] = set()
        self._known: RunStatus | None = None

    def now(self, status: RunStatus, now: float) -> SweepNow:
        """Read what came since the last time, and what it comes to."""
        try:
            self._read(status)
        except (DamagedError, NotFoundError, UsageError):
            self._job = None
        if self._job is None:
            return SweepNow(status.name, status.state, status.progress.get("trials"), {})
        trials = [trial for number, trial in self._records.items() if number != BASELINE]
        scores = [value for trial in trials for _, value in trial.curve if math.isfinite(value)]
        until = now if status.state == "running" else None
        spans = [span for trial in trials for span in trial.spans(until)]
        workers = self._job.workers
        hours = sum(end - begin for begin, end in spans) * workers.num_workers.max / 3600
        return SweepNow(
            name=status.name,
            state=status.state,
            planned=self._job.tune.trials,
            trials=dict(Counter(trial.state for trial in trials)),
            metric=self._job.tune.metric,
            best=max(scores, default=None),
            cpu_hours=hours * workers.cpus_per_worker,
            gpu_hours=hours * workers.gpus_per_worker if workers.gpus_per_worker else None,
        )

    def _read(self, status: RunStatus) -> None:
        """Raises UsageError for a spec that this version does not understand."""
        if self._job is None:
            run = self._sweep.run
            self._job = parse_kind(TuneJob, run.spec() or "", origin=f"{run.uri}/spec.yaml")
        if status != self._known:
            self._sweep.tell_new(self._records, self._seen)
            self._known = status
