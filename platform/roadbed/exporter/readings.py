"""What is told of the store: values of `telemetry.STATE_METRICS`, part by part.

Counts are of everything, series with a name in their labels of the newest only: `newest` of each kind. What cannot be
read for being damaged is passed over and counted. Whatever came to its end is not read anew at every reading.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

from roadbed.data.catalog import list_datasets
from roadbed.errors import DamagedError, NotFoundError, UsageError
from roadbed.registry import Registry
from roadbed.runs import Run, RunStatus, Statuses, list_runs
from roadbed.runs.state import State
from roadbed.spec import TuneJob, parse_kind
from roadbed.storage import Store
from roadbed.telemetry import CHAMPION, STATE_METRICS
from roadbed.tuning.results import TrialState
from roadbed.tuning.sweep import BASELINE, FOLDER, Sweep, TrialRecord, list_sweeps

_UNSTARTED = "unstarted"
_RUN_STATES = (*get_args(State), _UNSTARTED)
_TRIAL_NAME = r"(base|[0-9]{4,})(-[0-9]+)?"

Read = Callable[[], "Reading"]


@dataclass
class Reading:
    """Values by metric and labels, and what is not among them."""

    values: dict[str, dict[tuple[str, ...], float]] = field(default_factory=dict)
    num_damaged: int = 0
    num_left_out: int = 0

    def tell(self, name: str, value: float | None, *labels: str) -> None:
        """Add a value; None, which is no figure, is left away. Raises KeyError for a name that is in no table."""
        assert len(labels) == len(STATE_METRICS[name].labels), name
        if value is not None:
            self.values.setdefault(name, {})[labels] = value


def parts_of(root: Store, *, newest: int, clock: Callable[[], float] = time.time) -> dict[str, Read]:
    """How to read the parts of the store under `root`, by name. Each raises StoreError while the store is away."""
    return {
        "runs": _Runs(root, newest, clock).read,
        "sweeps": _Sweeps(root, newest, clock).read,
        "models": _Models(root, newest).read,
        "datasets": partial(_read_datasets, root, newest),
    }


class _Runs:
    def __init__(self, root: Store, newest: int, clock: Callable[[], float]) -> None:
        self._root, self._newest = root, newest
        self._open = partial(Run, root, clock=clock)
        self._statuses = Statuses(self._open, clock=clock)
        self._causes: dict[tuple[str, int], str] = {}

    def read(self) -> Reading:
        reading = Reading()
        statuses, reading.num_damaged = self._statuses.read(list_runs(self._root))
        kind_of = _kinds(statuses, list_sweeps(self._root))
        counts = Counter((kind_of[name], status.state if status else _UNSTARTED) for name, status in statuses.items())
        for kind in ("train", "trial"):
            for state in _RUN_STATES:
                reading.tell("roadbed_runs", counts[kind, state], kind, state)
        for status in _newest(statuses, self._newest, reading):
            self._tell_run(reading, status, kind_of[status.name])
        return reading

    def _tell_run(self, reading: Reading, status: RunStatus, kind: str) -> None:
        run, told = status.name, status.progress
        reading.tell("roadbed_run_info", 1, run, kind, status.state)
        reading.tell("roadbed_run_heartbeat_timestamp_seconds", status.heartbeat_at, run)
        reading.tell("roadbed_run_attempts", status.attempt, run)
        reading.tell("roadbed_run_steps", status.step, run)
        reading.tell("roadbed_run_planned_steps", told.get("num_steps"), run)
        reading.tell("roadbed_run_miou_ratio", told.get("miou"), run, "newest")
        reading.tell("roadbed_run_pixel_accuracy_ratio", told.get("pixel_accuracy"), run)
        try:
            if status.state in ("failed", "retrying"):
                reading.tell("roadbed_run_failure_info", 1, run, self._cause(run, status.attempt))
            best = self._open(run).pointer().best
        except DamagedError:
            reading.num_damaged += 1
            return
        reading.tell("roadbed_run_miou_ratio", best.score if best else None, run, "best")

    def _cause(self, run: str, attempt: int) -> str:
        """The word for what ended an attempt, which never changes; "unknown" where nobody has told it yet."""
        if (run, attempt) not in self._causes:
            end = self._open(run).end_of(attempt)
            if end is None:
                return "unknown"
            self._causes[run, attempt] = str(end["cause"])
        return self._causes[run, attempt]


class _Sweeps:
    def __init__(self, root: Store, newest: int, clock: Callable[[], float]) -> None:
        self._root, self._newest, self._clock = root, newest, clock
        self._statuses = Statuses(partial(Run, root, folder=FOLDER, clock=clock), clock=clock)
        self._ended: dict[str, tuple[RunStatus, Mapping[int, TrialRecord]]] = {}

    def read(self) -> Reading:
        reading = Reading()
        statuses, reading.num_damaged = self._statuses.read(list_sweeps(self._root))
        counts = Counter(status.state if status else _UNSTARTED for status in statuses.values())
        for state in _RUN_STATES:
            reading.tell("roadbed_sweeps", counts[state], state)
        for status in _newest(statuses, self._newest, reading):
            reading.tell("roadbed_sweep_info", 1, status.name, status.state)
            try:
                self._tell_trials(reading, status)
            except (DamagedError, NotFoundError, UsageError):
                reading.num_damaged += 1
        return reading

    def _tell_trials(self, reading: Reading, status: RunStatus) -> None:
        """Raises UsageError for a spec that this version does not understand."""
        name, sweep = status.name, Sweep(self._root, status.name)
        job = parse_kind(TuneJob, sweep.run.spec() or "", origin=f"{sweep.run.uri}/spec.yaml")
        trials = {number: trial for number, trial in self._trials(sweep, status).items() if number != BASELINE}
        counts = Counter(trial.state for trial in trials.values())
        for state in get_args(TrialState):
            reading.tell("roadbed_sweep_trials", counts[state], name, state)
        reading.tell("roadbed_sweep_planned_trials", job.tune.trials, name)
        scores = [value for trial in trials.values() for _, value in trial.curve]
        reading.tell("roadbed_sweep_best_score", max(scores, default=None), name)
        now = self._clock() if status.state == "running" else None
        seconds = sum(end - begin for trial in trials.values() for begin, end in trial.spans(now))
        gpus = job.workers.num_workers.max * job.workers.gpus_per_worker
        reading.tell("roadbed_sweep_gpu_seconds", seconds * gpus, name)

    def _trials(self, sweep: Sweep, status: RunStatus) -> Mapping[int, TrialRecord]:
        """The trials; those of a sweep whose status is still the same are read once."""
        known = self._ended.get(sweep.name)
        if known is not None and known[0] == status:
            return known[1]
        trials = sweep.trials()
        self._ended[sweep.name] = status, trials
        return trials


class _Models:
    def __init__(self, root: Store, newest: int) -> None:
        self._registry, self._newest = Registry(root), newest
        self._cards: dict[str, dict[str, Any]] = {}

    def read(self) -> Reading:
        reading = Reading()
        names = self._registry.names()
        reading.num_left_out = max(0, len(names) - self._newest)
        for name in names[: self._newest]:
            try:
                self._tell_model(reading, name)
            except (DamagedError, NotFoundError, KeyError):
                reading.num_damaged += 1
        return reading

    def _tell_model(self, reading: Reading, name: str) -> None:
        numbers = self._registry.versions(name)
        reading.tell("roadbed_model_versions", len(numbers), name)
        for alias, number in sorted(self._registry.aliases(name).items()):
            moves = self._registry.alias_history(name, alias)
            reading.tell("roadbed_model_alias_version", number, name, alias)
            reading.tell("roadbed_model_promotions", len(moves), name, alias)
            reading.tell("roadbed_model_promotion_timestamp_seconds", moves[-1]["at"], name, alias)
            if alias == CHAMPION:
                self._tell_champion(reading, name, self._card(name, number)["scores"])
        for number in numbers[-self._newest :]:
            miou = self._card(name, number)["scores"]["miou"]
            reading.tell("roadbed_model_version_miou_ratio", miou, name, str(number))

    def _tell_champion(self, reading: Reading, name: str, scores: Mapping[str, Any]) -> None:
        reading.tell("roadbed_champion_miou_ratio", scores["miou"], name)
        reading.tell("roadbed_champion_pixel_accuracy_ratio", scores.get("pixel_accuracy"), name)
        for class_name, iou in scores["iou_per_class"].items():
            reading.tell("roadbed_champion_class_iou_ratio", iou, name, class_name)

    def _card(self, name: str, number: int) -> dict[str, Any]:
        """The card of a version, which never changes."""
        reference = f"{name}:{number}"
        if reference not in self._cards:
            self._cards[reference] = self._registry.resolve(reference).card()
        return self._cards[reference]


def _read_datasets(root: Store, newest: int) -> Reading:
    reading = Reading()
    place = root.child("datasets")
    entries = list_datasets(place)
    reading.num_left_out = max(0, len(entries) - newest)
    for entry in entries[:newest]:
        name = entry.uri.removeprefix(place.uri).strip("/")
        reading.tell("roadbed_dataset_is_damaged", float(entry.problem is not None), name)
        if entry.problem is not None:
            reading.num_damaged += 1
            continue
        reading.tell("roadbed_dataset_bytes", entry.num_bytes, name)
        for split, num_samples in entry.splits.items():
            reading.tell("roadbed_dataset_samples", num_samples, name, split)
    return reading


def _kinds(runs: Iterable[str], sweeps: list[str]) -> dict[str, str]:
    """ "trial" for runs that have the name of a sweep's trial, "train" for the others."""
    names = "|".join(re.escape(name) for name in sweeps)
    pattern = re.compile(rf"({names})-{_TRIAL_NAME}" if sweeps else r"(?!)")
    return {run: "trial" if pattern.fullmatch(run) else "train" for run in runs}


def _newest(statuses: Mapping[str, RunStatus | None], number: int, reading: Reading) -> list[RunStatus]:
    """Those that gave a sign last, the newest first; how many are left out is kept in the reading."""
    started = [status for status in statuses.values() if status is not None]
    started.sort(key=lambda status: (-status.heartbeat_at, status.name))
    reading.num_left_out = max(0, len(started) - number)
    return started[:number]
