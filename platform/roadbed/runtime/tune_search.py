"""How a sweep meets Ray Tune: what it is asked for, what it tells, what it stops for, and its schedulers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, PopulationBasedTraining, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from roadbed.errors import RoadbedError
from roadbed.runs import Run
from roadbed.runtime.tune_trial import DONOR, EPOCH, NUMBER, RUN, SCORE
from roadbed.spec import TuneJob
from roadbed.storage import Store
from roadbed.tuning.results import Change
from roadbed.tuning.study import Study
from roadbed.tuning.sweep import LiveSweep, TrialRecord

# A trial before any of this start: its number, its values, and the record that it goes on from.
Asked = tuple[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Earlier:
    """A trial of the sweep as a scheduler knows it that is told of it before it begins."""

    trial_id: str


class Asker(Searcher):
    """Gives Tune the trials that are still to do: first those that were begun, then new ones of the study."""

    def __init__(self, ask: Callable[[str], dict[str, Any] | None]) -> None:
        super().__init__(metric=SCORE, mode="max")
        self._ask = ask

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """As Ray has it."""
        return self._ask(trial_id) or Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The recorder tells the study."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing is kept in Tune's files."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing is read from Tune's files."""


class Recorder(tune.Callback):
    """Writes what becomes of the trials into the sweep, and tells the study."""

    def __init__(self, job: TuneJob, root: Store, live: LiveSweep, study: Study, why_stopped: Callable[[], str]) -> None:
        self._job, self._root, self._live, self._study = job, root, live, study
        self._why_stopped = why_stopped

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        """A trial was evaluated."""
        record = self._live.trials[result[NUMBER]]
        if result[RUN] != record.run_name(self._job.name):
            values = {path: trial.config[path] for path in self._job.tune.space if path in trial.config}
            epoch = record.curve[-1][0] if record.curve else 0.0
            self._live.change(record.number, Change(epoch, result[DONOR], values))
        self._live.score(record.number, epoch=result[EPOCH], value=result[SCORE])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process ended: its run is finished or has failed, or Tune stopped it."""
        record = self._live.trials[trial.config[NUMBER]]
        run = Run(self._root, record.run_name(self._job.name))
        status = run.status()
        if status is not None and status.state == "finished":
            self._end(record, "finished", "")
        elif status is not None and status.state == "failed":
            self._end(record, "failed", status.reason or "")
        elif why := self._why_stopped():
            run.fail(why, state="stopped")  # for another day: the sweep goes on with it when it is started again
        else:
            epochs = f"{record.curve[-1][0]:g} epochs" if record.curve else "its start"
            why = f"stopped by {self._job.tune.scheduler.kind} after {epochs}"
            run.fail(why, state="stopped")
            self._end(record, "stopped", why)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process broke."""
        record = self._live.trials[trial.config[NUMBER]]
        lines = str(trial.get_error() or "its process ended").strip().splitlines()
        reason = lines[-1] if lines else "its process ended"
        Run(self._root, record.run_name(self._job.name)).fail(reason)
        self._end(record, "failed", reason)

    def _end(self, record: TrialRecord, state: Any, reason: str) -> None:
        self._live.end(record.number, state, reason)
        score = max((value for _, value in record.curve), default=None)
        self._study.tell(record.number, None if state == "failed" else score)


class Budget(Stopper):
    """Stops all trials once the sweep has taken its time or its GPU-hours."""

    def __init__(self, job: TuneJob, spent: Callable[[], tuple[float, float]]) -> None:
        self._hours, self._gpu_hours, self._spent = job.tune.hours, job.tune.gpu_hours, spent
        self.why = ""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """As Ray has it."""
        wall_s, gpu_s = self._spent()
        if self._hours is not None and wall_s > self._hours * 3600:
            self.why = f"the sweep's budget of {self._hours:g} hours is spent"
        elif self._gpu_hours is not None and gpu_s > self._gpu_hours * 3600:
            self.why = f"the sweep's budget of {self._gpu_hours:g} GPU-hours is spent"
        return bool(self.why)


def make_scheduler(job: TuneJob) -> TrialScheduler:
    """Tune's scheduler of a sweep. Time is counted in epochs of a run, whichever start of it they were trained in."""
    spec, epochs = job.tune.scheduler, job.train.epochs
    common = {"time_attr": EPOCH, "metric": SCORE, "mode": "max"}
    if spec.kind == "asha":
        return ASHAScheduler(
            **common,
            max_t=epochs,
            grace_period=min(spec.grace_epochs, epochs),
            reduction_factor=spec.reduction_factor,
        )
    if spec.kind == "median":
        return MedianStoppingRule(**common, grace_period=spec.grace_epochs, min_time_slice=10**9)
    return FIFOScheduler()


def remind(scheduler: TrialScheduler, trial_id: str, trial: TrialRecord) -> None:
    """Tell a scheduler of what a trial of an earlier start was scored, so that it judges others by it too."""
    if isinstance(scheduler, ASHAScheduler | MedianStoppingRule):
        earlier: Any = Earlier(trial_id)
        scheduler.on_trial_add(None, earlier)
        for epoch, score in trial.curve:
            scheduler.on_trial_result(None, earlier, {EPOCH: epoch, SCORE: score})
