"""How a sweep meets Ray Tune: what Tune is given to do, what becomes of it, the budget, and the schedulers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Self

from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from roadbed.runs import RunFigures
from roadbed.runtime.tune_trial import CHANGE, EPOCH, NUMBER, RUN, SCORE
from roadbed.spec import Dimension, TuneJob
from roadbed.tuning.results import Change, TrialState
from roadbed.tuning.study import Study
from roadbed.tuning.sweep import BASELINE, LiveSweep, Sweep, TrialRecord


class _OfThisStart:
    """Part of one start of a sweep. Tune pickles all that it is given, for a restore that nobody asks it for."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (f"the {type(self).__name__} of another start",)


class Asker(_OfThisStart, Searcher):  # type: ignore[misc]
    """Gives Tune what is to do, as `ask` says for an id of Tune's; None of it ends the sweep."""

    def __init__(self, ask: Callable[[str], dict[str, Any] | None]) -> None:
        super().__init__(metric=SCORE, mode="max")
        self._ask = ask

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """As Ray has it."""
        return self._ask(trial_id) or Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The recorder tells the study."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing of a sweep is kept in Tune's files."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing of a sweep is read from Tune's files."""


class Recorder(_OfThisStart, tune.Callback):  # type: ignore[misc]
    """Writes what becomes of the trials into the sweep, and tells the study.

    Tune calls nothing for trials that end because all of them do.
    """

    def __init__(self, job: TuneJob, sweep: Sweep, live: LiveSweep, study: Study) -> None:
        self._job, self._sweep, self._live, self._study = job, sweep, live, study

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        """A trial was evaluated."""
        if SCORE not in result:
            return  # it ended without
        number = result[NUMBER]
        record = self._live.trials[number]
        if result[RUN] != record.run_name(self._sweep.name):
            self._live.change(number, Change(**result[CHANGE]), run=result[RUN])
            self._sweep.run_of(record).fail(f"goes on as {result[RUN]}", state="stopped")
        self._live.score(number, epoch=result[EPOCH], value=result[SCORE])
        self._study.report(number, result[EPOCH], result[SCORE])

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """A trial's process ended: its run is finished or has failed, or Tune stopped it."""
        self._live.check_fence()
        record = self._live.trials[trial.config[NUMBER]]
        run = self._sweep.run_of(record)
        status = run.status()
        if status is not None and status.state in ("finished", "failed"):
            self._catch_up(record, RunFigures.of(run, status))
            self._end(record, "finished" if status.state == "finished" else "failed", status.reason or "")
        else:
            when = f"epoch {record.curve[-1][0]:g}" if record.curve else "its start"
            why = f"stopped by {self._job.tune.scheduler.kind} after {when}"
            run.fail(why, state="stopped")
            self._end(record, "stopped", why)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """A trial's process broke, again and again."""
        self._live.check_fence()
        record = self._live.trials[trial.config[NUMBER]]
        run = self._sweep.run_of(record)
        status = run.status()
        if status is not None and status.state == "finished":
            self._catch_up(record, RunFigures.of(run, status))
            self._end(record, "finished", "")
            return
        lines = str(trial.get_error() or "").strip().splitlines()
        reason = lines[-1] if lines else "its process ended"
        run.fail(reason)
        self._end(record, "failed", reason)

    def _catch_up(self, record: TrialRecord, figures: RunFigures) -> None:
        """Write the scores that nobody reported: those of the baseline, and of a start that was killed."""
        scores = [(line["epoch"], line[self._job.tune.metric]) for line in figures.evaluations]
        missing = [epoch for epoch, _ in scores if epoch not in dict(record.curve)]
        for epoch, value in scores:
            if missing and epoch >= missing[0]:
                self._live.score(record.number, epoch=epoch, value=value)
                if record.number != BASELINE:
                    self._study.report(record.number, epoch, value)

    def _end(self, record: TrialRecord, state: TrialState, reason: str) -> None:
        self._live.end(record.number, state, reason)
        if record.number != BASELINE:
            tell(self._study, self._live.trials[record.number])


def tell(study: Study, trial: TrialRecord) -> None:
    """Tell a study of a trial that is over; it has the reports already."""
    best = max((value for _, value in trial.curve), default=None)
    study.tell(trial.number, None if trial.state == "failed" else best, is_stopped=trial.state == "stopped")


class Silent(TrialProgressCallback):  # type: ignore[misc]
    """In place of what Tune prints."""

    def _print(self, msg: str) -> None:
        pass


class Budget(_OfThisStart, Stopper):  # type: ignore[misc]
    """Stops all trials once the sweep has taken its hours, or its GPU-hours. `spent` gives the seconds of both."""

    def __init__(self, job: TuneJob, spent: Callable[[], tuple[float, float]]) -> None:
        self._tune, self._spent = job.tune, spent
        self.why = ""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial is stopped alone."""
        return False

    def stop_all(self) -> bool:
        """As Ray has it; it asks at every event."""
        wall_s, gpu_s = self._spent()
        if self._tune.hours is not None and wall_s > self._tune.hours * 3600:
            self.why = f"the sweep has taken its {self._tune.hours:g} hours (tune.hours)"
        elif self._tune.gpu_hours is not None and gpu_s > self._tune.gpu_hours * 3600:
            self.why = f"the sweep has taken its {self._tune.gpu_hours:g} GPU-hours (tune.gpu_hours)"
        return bool(self.why)


def make_scheduler(job: TuneJob) -> TrialScheduler:
    """Tune's scheduler of a sweep. Time is counted in epochs of a run, whichever start of it they were trained in."""
    spec, epochs = job.tune.scheduler, job.train.epochs
    common: dict[str, Any] = {"time_attr": EPOCH, "metric": SCORE, "mode": job.tune.mode}
    if spec.kind == "asha":
        settings = {"grace_period": spec.grace_epochs, "reduction_factor": spec.reduction_factor}
        return ASHAScheduler(**common, max_t=epochs, **settings)
    if spec.kind == "median":
        settings = {"grace_period": spec.grace_epochs, "min_samples_required": spec.min_trials}
        return _Median(**common, **settings)
    if spec.kind == "pbt":
        return _Population(
            **common,
            space=job.tune.space,
            perturbation_interval=spec.perturb_every_epochs,
            quantile_fraction=spec.exploit_share,
            resample_probability=spec.resample_probability,
        )
    return FIFOScheduler()


def remind(scheduler: TrialScheduler, trial_id: str, trial: TrialRecord) -> None:
    """Tell a scheduler how a trial was scored in earlier starts of the sweep, so that it judges others by it too."""
    if trial.number != BASELINE and isinstance(scheduler, (ASHAScheduler, MedianStoppingRule)):
        earlier: Any = _Earlier(trial_id)
        scheduler.on_trial_add(None, earlier)
        for epoch, score in trial.curve:
            scheduler.on_trial_result(None, earlier, {EPOCH: epoch, SCORE: score})


@dataclass(frozen=True)
class _Earlier:
    """As much of Tune's trial as schedulers look at that are reminded of one."""

    trial_id: str


class _Median(MedianStoppingRule):  # type: ignore[misc]
    """Ray's rule breaks on trials that end without a score, and lets one wait while there are too few to compare."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """As Ray has it. A trial that goes on has what it was scored before."""
        super().on_trial_add(tune_controller, trial)
        earlier = self._results.pop(_Earlier(trial.trial_id), None)
        if earlier and not isinstance(trial, _Earlier):
            self._results[trial] = earlier

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """As Ray has it."""
        if SCORE in result:
            super().on_trial_complete(tune_controller, trial, result)

    def _on_insufficient_samples(self, tune_controller: Any, trial: Any, time: float) -> str:
        return str(TrialScheduler.CONTINUE)


class _Population(PopulationBasedTraining):  # type: ignore[misc]
    """Ray's scheduler gives the worse trial all that the better one has, its number too, and leaves the bounds."""

    def __init__(self, *, space: Mapping[str, Dimension], **settings: Any) -> None:
        super().__init__(hyperparam_mutations={path: domain(one) for path, one in space.items()}, **settings)
        self._space = space

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """As Ray has it, which refuses every searcher, for many cannot bear values that change; our asker can."""
        super().on_trial_add(SimpleNamespace(search_alg=None), trial)

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        new, operations = super()._get_new_config(trial, trial_to_clone)
        own = {key: trial.config[key] for key in (NUMBER, RUN)}
        return new | own | {path: within(one, new[path]) for path, one in self._space.items()}, operations


def domain(dimension: Dimension) -> Any:
    """A dimension as Tune draws from it."""
    if dimension.form == "loguniform":
        return tune.loguniform(dimension.low, dimension.high)
    if dimension.form == "uniform":
        return tune.uniform(dimension.low, dimension.high)
    return list(dimension.values())


def within(dimension: Dimension, value: Any) -> Any:
    """A value that was moved, back inside the bounds, with six digits."""
    if not dimension.is_continuous:
        return value
    return min(max(float(f"{value:.6g}"), dimension.low), dimension.high)
