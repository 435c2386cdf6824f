"""The values of a sweep's next trial, drawn by optuna from what is known of the others; and what mattered.

A study is its records (values, reports and results by trial number) and nothing else. For every question an optuna
study is built from them in the order of their numbers, and the draw is seeded by (seed, number). So what is asked
follows from the spec, the number and the records: a study that is built again from a sweep's runs goes on as one that
was never interrupted, and no pickle of a sampler is kept.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from roadbed.errors import UsageError
from roadbed.spec import Dimension, TuneSpec
from roadbed.spec.space import Space, draw_order, grid_points, num_points

FEWEST_FOR_IMPORTANCE = 8
_REDRAWS = 50
_DIGITS = 6


@dataclass
class _Record:
    """A trial that was asked for. `reports` are scores by epoch."""

    values: dict[str, Any]
    state: Literal["running", "finished", "stopped", "failed"] = "running"
    reports: dict[int, float] = field(default_factory=dict)
    value: float | None = None


class Study:
    """Proposes values for trials 0, 1, ... of a sweep and is told what came of them; higher results are better.

    To go on with a sweep, `add` every trial that there was, then `report` and `tell` what is known of it.
    """

    def __init__(self, tune: TuneSpec) -> None:
        self._tune = tune
        self._records: dict[int, _Record] = {}
        self._drawn_at_random: list[dict[str, Any]] = []

    def ask(self, number: int) -> dict[str, Any]:
        """The values of trial `number`, by path; the same again if it was asked for or added before.

        Paths whose conditions do not hold are left out. No two trials get equal values, as long as there are others.
        With searchers random and grid the values follow from the spec and the number alone.
        """
        if number not in self._records:
            draw = {"grid": self._of_grid, "random": self._at_random, "tpe": self._by_tpe}[self._tune.searcher]
            self._records[number] = _Record(draw(number))
        return dict(self._records[number].values)

    def add(self, number: int, values: Mapping[str, Any], value: float | None = None) -> None:
        """Trial `number` was asked for before, with these values; it is running unless its result is given too.

        Raises UsageError if the space does not have the values.
        """
        for path, drawn in values.items():
            if path not in self._tune.space or not _has(self._tune.space[path], drawn):
                raise UsageError(
                    f"trial {number} has {path}={drawn!r}, which tune.space does not have now; go on with the spec "
                    "that the sweep was begun with, or give the sweep another name"
                )
        self._records[number] = _Record(dict(values))
        if value is not None:
            self.tell(number, value)

    def report(self, number: int, epoch: int, value: float) -> None:
        """The score of a running trial after `epoch` epochs. It counts once the trial was stopped."""
        self._records[number].reports[epoch] = value

    def tell(self, number: int, value: float | None, *, is_stopped: bool = False) -> None:
        """The result of a trial that is over; None (or no number) if it failed.

        `is_stopped`: the scheduler ended it early. Such a trial ranks below those that came further, by its reports,
        and one that failed below all others.
        """
        record = self._records[number]
        record.value = value
        if value is None or not math.isfinite(value):
            record.state = "failed"
        else:
            record.state = "stopped" if is_stopped else "finished"

    def _of_grid(self, number: int) -> dict[str, Any]:
        points = list(grid_points(self._tune.space))
        assert number < len(points), f"trial {number} of a grid of {len(points)}"
        return points[number]

    def _at_random(self, number: int) -> dict[str, Any]:
        while len(self._drawn_at_random) <= number:
            study = _study_of(self._tune.space, {})
            drawn = self._draw_new(study, RandomSampler, len(self._drawn_at_random), self._drawn_at_random)
            self._drawn_at_random.append(drawn)
        return self._drawn_at_random[number]

    def _by_tpe(self, number: int) -> dict[str, Any]:
        """By a Parzen estimator of all paths jointly, once some trials (a quarter; 4 to 10) are over; at random before.

        Sources: Bergstra et al., NIPS 2011; Falkner et al., arXiv:1807.01774, section 3.2, for the joint estimator.
        """
        num_random = min(max(4, self._tune.trials // 4), 10)

        def sampler(seed: int) -> BaseSampler:
            return TPESampler(seed=seed, n_startup_trials=num_random)

        study = _study_of(self._tune.space, self._records)
        return self._draw_new(study, sampler, number, [record.values for record in self._records.values()])

    def _draw_new(self, study: optuna.Study, sampler: Any, number: int, taken: list[dict[str, Any]]) -> dict[str, Any]:
        """Draw until the values are none of those `taken`; after many tries the first point that is left, if any is."""
        for attempt in range(_REDRAWS):
            study.sampler = sampler(seed=_seed(self._tune.seed, number, attempt))
            trial = study.ask()
            values = _draw(trial, self._tune.space)
            if values not in taken:
                return values
            study.tell(trial, state=TrialState.FAIL)
        if num_points(self._tune.space) is None:
            return values
        return next((point for point in grid_points(self._tune.space) if point not in taken), values)


def importance(tune: TuneSpec, trials: Iterable[tuple[Mapping[str, Any], float]]) -> dict[str, float]:
    """How much each path had to do with being among the better half of the trials: shares that sum to 1, largest first.

    `trials` are the values and results of trials after as many epochs each: else they could not be compared. Empty
    for fewer than `FEWEST_FOR_IMPORTANCE`, or where no path made a difference. Each path is looked at alone, by how
    much the density of its values among the better half differs from that among all (PED-ANOVA, arXiv:2304.10255; for
    conditions arXiv:2601.20800). It says what mattered among the values tried, not which value is right.
    """
    records = {
        number: _Record(dict(values), "finished", value=value)
        for number, (values, value) in enumerate(trials)
        if math.isfinite(value)
    }
    if len(records) < FEWEST_FOR_IMPORTANCE:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # A condition that held in one trial, all results equal: shares of 0.
        from optuna.importance import PedAnovaImportanceEvaluator  # It loads scikit-learn where that is installed.

        found = PedAnovaImportanceEvaluator(target_quantile=0.5).evaluate(_study_of(tune.space, records))
    total = sum(found.values())
    if not total:
        return {}
    shares = {path: found.get(path, 0.0) / total for path in tune.space}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _study_of(space: Space, records: Mapping[int, _Record]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    study.add_trials(_frozen(space, record) for _, record in sorted(records.items()))
    return study


def _frozen(space: Space, record: _Record) -> FrozenTrial:
    """The record as optuna has it. A failed trial is one pruned before its first report: the worst there is."""
    states = {"running": TrialState.RUNNING, "finished": TrialState.COMPLETE}
    return create_trial(
        state=states.get(record.state, TrialState.PRUNED),
        params={path: _encode(space[path], value) for path, value in record.values.items()},
        distributions={path: _distribution(space[path]) for path in record.values},
        value=record.value if record.state == "finished" else None,
        intermediate_values=dict(record.reports) if record.state == "stopped" else None,
    )


def _seed(seed: int, number: int, attempt: int) -> int:
    return int(np.random.SeedSequence((seed, number, attempt)).generate_state(1)[0])


def _draw(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    drawn: dict[str, Any] = {}
    for path in draw_order(space):
        if space[path].is_drawn(drawn):
            drawn[path] = _decode(space[path], _suggest(trial, path, _distribution(space[path])))
    return drawn


def _suggest(trial: optuna.Trial, path: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case FloatDistribution():
            return trial.suggest_float(path, distribution.low, distribution.high, log=distribution.log)
        case IntDistribution():
            return trial.suggest_int(path, distribution.low, distribution.high, log=distribution.log)
        case CategoricalDistribution():
            return trial.suggest_categorical(path, distribution.choices)
    raise AssertionError(distribution)


def _distribution(dimension: Dimension) -> BaseDistribution:
    """What optuna draws from: steps and choices by their number, so that any value may be a choice."""
    if dimension.is_continuous:
        return FloatDistribution(dimension.low, dimension.high, log=dimension.is_log)
    if dimension.form == "choice":
        return CategoricalDistribution(range(len(dimension.values())))
    if dimension.form == "quniform":
        return IntDistribution(0, len(dimension.values()) - 1)
    return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.is_log)


def _decode(dimension: Dimension, drawn: Any) -> Any:
    """The value of what optuna drew. Continuous values have six digits, and stay within their bounds."""
    if dimension.is_continuous:
        return min(max(float(f"{drawn:.{_DIGITS}g}"), dimension.low), dimension.high)
    return dimension.values()[drawn] if dimension.form in ("choice", "quniform") else drawn


def _encode(dimension: Dimension, value: Any) -> Any:
    return dimension.values().index(value) if dimension.form in ("choice", "quniform") else value


def _has(dimension: Dimension, value: Any) -> bool:
    if not dimension.is_continuous:
        return value in dimension.values()
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and dimension.low <= value <= dimension.high
