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
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from roadbed.errors import NotFoundError, StoreError
from roadbed.runs import Attempt, Run
from roadbed.spec import TuneJob, parse_kind
from roadbed.storage import Store, get_json, json_bytes
from roadbed.tuning.results import Baseline, Change, SweepResult, Trial, TrialState, comparable
from roadbed.tuning.study import FEWEST_FOR_IMPORTANCE, importance

FOLDER = "sweeps"
BASELINE = -1
"""The number of the spec as it stands, which is trained besides the trials."""
REGISTERED = "registered.json"
_KIND = "trials"


@dataclass(frozen=True)
class TrialRecord:
    """What a sweep knows of a trial. `values` are those that it began with; `curve` holds (epoch, score).

    `runs` are the names of the runs that it became by its changes. `worked` are the spans of time (unix seconds, from
    and to) that it was at work, one for each start of the sweep, the last of them up to its last line.
    """

    number: int
    values: Mapping[str, Any]
    state: TrialState = "running"
    reason: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    changes: tuple[Change, ...] = ()
    runs: tuple[str, ...] = ()
    worked: tuple[tuple[float, float], ...] = ()

    @property
    def values_now(self) -> dict[str, Any]:
        """The values that it has since its last change."""
        return dict(self.changes[-1].values if self.changes else self.values)

    @property
    def is_over(self) -> bool:
        """Whether it ended for good."""
        return self.state in {"finished", "stopped", "failed"}

    def spans(self, now: float | None) -> list[tuple[float, float]]:
        """`worked`; with `now` up to then, if it is at work."""
        spans = list(self.worked)
        if now is not None and not self.is_over and spans:
            spans[-1] = spans[-1][0], max(now, spans[-1][1])
        return spans

    def run_name(self, sweep: str) -> str:
        """The name of the run that it is, since its last change."""
        return self.runs[-1] if self.runs else trial_name(sweep, self.number)


def trial_name(sweep: str, number: int, *, generation: int = 0) -> str:
    """The name of a trial's run: SWEEP-0003; SWEEP-0003-1 once it went on from another trial's weights; SWEEP-base."""
    first = f"{sweep}-base" if number == BASELINE else f"{sweep}-{number:04d}"
    return f"{first}-{generation}" if generation else first


class Sweep:
    """The sweep `name` under the root store `root`. Nothing is read until asked for."""

    def __init__(self, root: Store, name: str) -> None:
        self.root, self.name = root, name
        self.run = Run(root, name, folder=FOLDER)

    def trials(self) -> dict[int, TrialRecord]:
        """All trials that ever began, by number, as their lines tell."""
        records: dict[int, TrialRecord] = {}
        _tell(records, self.run.lines(_KIND))
        return records

    def tell_new(self, trials: dict[int, TrialRecord], seen: set[str]) -> None:
        """Bring `trials` up to what their lines tell now, by the segments alone that are not `seen`; adds those."""
        _tell(trials, self.run.new_segments(_KIND, seen))

    def run_of(self, trial: TrialRecord) -> Run:
        """The run that a trial is."""
        return Run(self.root, trial.run_name(self.name))

    def registered(self) -> str | None:
        """The version that was made of its best trial (NAME:NUMBER), None before."""
        try:
            return str(get_json(self.run.store, REGISTERED)["version"])
        except NotFoundError:
            return None

    def tell_registered(self, version: str) -> None:
        """Keep which version was made of its best trial."""
        self.run.store.put(REGISTERED, json_bytes({"version": version}))


def list_sweeps(root: Store) -> list[str]:
    """Names of the sweeps under `root`, sorted."""
    return root.list_folders(FOLDER)


class LiveSweep:
    """The side of a sweep that writes: its trials as they are, each change of them a line in the store.

    Threads may share it. Raises FencedError once another start has taken the sweep. While the store does not answer the
    lines are kept, and written with the next ones.
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

    def change(self, number: int, change: Change, *, run: str) -> TrialRecord:
        """A trial goes on from another one's weights, as another run."""
        told = {"epoch": change.epoch, "donor": change.donor, "values": dict(change.values)}
        return self._write({"trial": number, "change": told, "run": run})

    def pause(self) -> None:
        """Nobody is at work on the trials that did not end."""
        for number, trial in self.trials.items():
            if not trial.is_over:
                self._write({"trial": number})

    def check_fence(self) -> None:
        """Raises FencedError once another start has taken the sweep."""
        self._attempt.check_fence()

    def end(self, number: int, state: TrialState, reason: str = "") -> TrialRecord:
        """A trial ended, for good."""
        return self._write({"trial": number, "state": state, "reason": reason})

    def _write(self, line: dict[str, Any]) -> TrialRecord:
        line["at"] = round(self._attempt.run.clock(), 3)
        with self._lock:
            self._attempt.append(_KIND, line)
            with suppress(StoreError):
                self._attempt.flush()
            record = self._trials[line["trial"]] = _after(self._trials.get(line["trial"]), line)
        return record


def result_of(
    job: TuneJob, trials: Mapping[int, TrialRecord], *, now: float | None = None, registered: str | None = None
) -> SweepResult:
    """How a sweep stands. With `now` (unix seconds) trials that are at work cost until then."""
    made = {number: _trial(job, trials[number], now) for number in sorted(trials)}
    base = made.pop(BASELINE, None)
    score = base.best(job.tune.mode) if base is not None else None
    epoch, compared = comparable(made.values(), fewest=FEWEST_FOR_IMPORTANCE)
    scores = [(trial.values, trial.best_until(epoch or 0.0, job.tune.mode) or 0.0) for trial in compared]
    return SweepResult(
        name=job.name,
        metric=job.tune.metric,
        mode=job.tune.mode,
        trials=tuple(made.values()),
        wall_s=wall_s(trials, now),
        importance=importance(job.tune, scores),
        importance_epoch=epoch,
        registered=registered,
        baseline=None if base is None or score is None else Baseline(base.run, score),
    )


def read_result(sweep: Sweep) -> SweepResult:
    """How a sweep stands, by what lies in the store. Raises NotFoundError if there is no such sweep."""
    text = sweep.run.spec()
    if text is None:
        raise NotFoundError(f"{sweep.run.uri}: no such sweep; see `roadbed sweeps list`")
    job = parse_kind(TuneJob, text, origin=f"{sweep.run.uri}/spec.yaml")
    return result_of(job, sweep.trials(), registered=sweep.registered())


def wall_s(trials: Mapping[int, TrialRecord], now: float | None) -> float:
    """Seconds in which any trial was at work; with `now` (unix seconds) up to then."""
    spans = sorted(span for trial in trials.values() for span in trial.spans(now))
    total, reached = 0.0, 0.0
    for begin, end in spans:
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _trial(job: TuneJob, record: TrialRecord, now: float | None) -> Trial:
    seconds = sum(end - begin for begin, end in record.spans(now))
    worker_s = seconds * job.workers.num_workers.max
    return Trial(
        number=record.number,
        run=record.run_name(job.name),
        values=record.values,
        state=record.state,
        reason=record.reason,
        curve=record.curve,
        epochs=record.curve[-1][0] if record.curve else 0.0,
        epochs_planned=int(record.values.get("train.epochs", job.train.epochs)),
        worker_s=worker_s,
        gpu_s=worker_s * job.workers.gpus_per_worker,
        changes=record.changes,
    )


def _tell(records: dict[int, TrialRecord], lines: Iterable[Mapping[str, Any]]) -> None:
    for line in lines:
        records[line["trial"]] = _after(records.get(line["trial"]), line)


def _after(before: TrialRecord | None, line: Mapping[str, Any]) -> TrialRecord:
    """A trial after what a line tells of it."""
    at = line["at"]
    if before is None:
        return TrialRecord(line["trial"], line["values"], worked=((at, at),))
    if "values" in line:  # it goes on in another start
        return replace(before, worked=(*before.worked, (at, at)))
    *earlier_spans, (begin, _) = before.worked
    told = replace(before, worked=(*earlier_spans, (begin, max(begin, at))))
    if "value" in line:
        earlier = tuple(point for point in before.curve if point[0] < line["epoch"])
        return replace(told, curve=(*earlier, (line["epoch"], line["value"])))
    if "change" in line:
        # What it was scored after that epoch, it was scored with weights that it has no more.
        kept = tuple(point for point in before.curve if point[0] <= line["change"]["epoch"])
        changes = (*before.changes, Change(**line["change"]))
        return replace(told, curve=kept, changes=changes, runs=(*before.runs, line["run"]))
    if "state" in line:
        return replace(told, state=line["state"], reason=line["reason"])
    return told
