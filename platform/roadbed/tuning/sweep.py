"""A sweep in the store: kept as a run is, below "sweeps", with lines that tell what became of its trials.

    ROOT/sweeps/NAME/spec.yaml                    the spec of kind tune
                     attempts/0001/trials/...     lines: a trial begins, is scored, changes, ends
                     status.json                  who brings the sweep to its end, and whether it lives
    ROOT/runs/NAME-0001/...                       every trial is a run like any other

Whoever starts the sweep again by its name knows from these lines which trials ended, and goes on with the others; the
same fence that keeps stale attempts off a run keeps them off a sweep.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from roadbed.runs import Attempt, Run
from roadbed.spec import TuneJob
from roadbed.storage import Store
from roadbed.tuning.results import Change, State, SweepResult, Trial

FOLDER = "sweeps"
_KIND = "trials"


@dataclass(frozen=True)
class TrialRecord:
    """What a sweep knows of a trial. `values` are those that it has now; `curve` holds (epoch, score).

    `seconds` is how long it was at work, until its last line at `last_at` (unix seconds).
    """

    number: int
    values: Mapping[str, Any]
    state: State = "running"
    reason: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    changes: tuple[Change, ...] = ()
    seconds: float = 0.0
    last_at: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it ended for good."""
        return self.state in {"finished", "stopped", "failed"}

    def run_name(self, sweep: str) -> str:
        """The name of the run that it is, since its last change."""
        return trial_name(sweep, self.number, generation=len(self.changes))


def trial_name(sweep: str, number: int, *, generation: int = 0) -> str:
    """The name of a trial's run: SWEEP-0003; SWEEP-0003-1 once it went on from another trial's weights."""
    return f"{sweep}-{number:04d}" + (f"-{generation}" if generation else "")


class Sweep:
    """The sweep `name` under the root store `root`. Nothing is read until asked for."""

    def __init__(self, root: Store, name: str) -> None:
        self.root, self.name = root, name
        self.run = Run(root, name, folder=FOLDER)

    def trials(self) -> dict[int, TrialRecord]:
        """All trials that ever began, by number, as their lines tell."""
        records: dict[int, TrialRecord] = {}
        for line in self.run.lines(_KIND):
            records[line["trial"]] = _after(records.get(line["trial"]), line)
        return records

    def run_of(self, trial: TrialRecord) -> Run:
        """The run that a trial is."""
        return Run(self.root, trial.run_name(self.name))


def list_sweeps(root: Store) -> list[str]:
    """Names of the sweeps under `root`, sorted."""
    return root.list_folders(FOLDER)


class LiveSweep:
    """The side of a sweep that writes: its trials as they are, each change of them a line in the store.

    Threads may share it. Raises FencedError once another start has taken the sweep.
    """

    def __init__(self, attempt: Attempt, trials: Mapping[int, TrialRecord]) -> None:
        self._trials = dict(trials)
        self._attempt = attempt
        self._lock = threading.Lock()

    @property
    def trials(self) -> dict[int, TrialRecord]:
        """All trials as they are now, by number."""
        with self._lock:
            return dict(self._trials)

    def begin(self, number: int, values: Mapping[str, Any]) -> TrialRecord:
        """A trial begins, or goes on in this start of the sweep."""
        return self._write({"trial": number, "values": dict(values)})

    def score(self, number: int, *, epoch: float, value: float) -> TrialRecord:
        """A trial was evaluated."""
        return self._write({"trial": number, "epoch": epoch, "value": value})

    def change(self, number: int, change: Change) -> TrialRecord:
        """A trial goes on from another one's weights."""
        told = {"epoch": change.epoch, "donor": change.donor, "values": dict(change.values)}
        return self._write({"trial": number, "change": told})

    def end(self, number: int, state: State, reason: str = "") -> TrialRecord:
        """A trial ended, for good."""
        return self._write({"trial": number, "state": state, "reason": reason})

    def _write(self, line: dict[str, Any]) -> TrialRecord:
        line["at"] = round(self._attempt.run.clock(), 3)
        with self._lock:
            self._attempt.append(_KIND, line)
            self._attempt.flush()
            record = self._trials[line["trial"]] = _after(self._trials.get(line["trial"]), line)
        return record


def result_of(
    job: TuneJob,
    trials: Mapping[int, TrialRecord],
    *,
    wall_s: float,
    now: float | None = None,
    importance: Mapping[str, float] | None = None,
    registered: str | None = None,
) -> SweepResult:
    """How a sweep stands. With `now` (unix seconds) trials that are at work cost until then."""
    return SweepResult(
        name=job.name,
        metric=job.tune.metric,
        mode=job.tune.mode,
        trials=tuple(_trial(job, trials[number], now) for number in sorted(trials)),
        wall_s=wall_s,
        importance=importance or {},
        registered=registered,
    )


def _trial(job: TuneJob, record: TrialRecord, now: float | None) -> Trial:
    seconds = record.seconds
    if now is not None and not record.is_over:
        seconds += max(0.0, now - record.last_at)
    worker_s = seconds * job.workers.num_workers.max
    return Trial(
        number=record.number,
        run=record.run_name(job.name),
        values=record.values,
        state=record.state,
        reason=record.reason,
        curve=record.curve,
        epochs=record.curve[-1][0] if record.curve else 0.0,
        epochs_planned=job.trial("trial", record.values).train.epochs,
        worker_s=worker_s,
        gpu_s=worker_s * job.workers.gpus_per_worker,
        changes=record.changes,
    )


def _after(before: TrialRecord | None, line: Mapping[str, Any]) -> TrialRecord:
    """A trial after what a line tells of it."""
    if before is None:
        return TrialRecord(line["trial"], line["values"], last_at=line["at"])
    if "values" in line:  # it goes on in another start: the time between costs nothing
        return replace(before, last_at=line["at"])
    told = replace(before, seconds=before.seconds + max(0.0, line["at"] - before.last_at), last_at=line["at"])
    if "value" in line:
        earlier = tuple(point for point in before.curve if point[0] < line["epoch"])
        return replace(told, curve=(*earlier, (line["epoch"], line["value"])))
    if "change" in line:
        change = Change(**line["change"])
        return replace(told, values=change.values, changes=(*before.changes, change))
    return replace(told, state=line["state"], reason=line["reason"])
