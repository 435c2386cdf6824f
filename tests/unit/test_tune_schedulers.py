"""Tune's schedulers, as a sweep makes and reminds them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from roadbed.runtime.tune_search import make_scheduler, remind, within
from roadbed.runtime.tune_trial import EPOCH, NUMBER, RUN, SCORE
from roadbed.spec import Dimension, TuneJob, parse_kind
from roadbed.tuning.sweep import BASELINE, TrialRecord

STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE


def job(kind: str, **scheduler: Any) -> TuneJob:
    searcher = "random" if kind == "pbt" else "tpe"
    spec = (
        "{kind: tune, name: streets, data: {uri: 's3://roadbed/datasets/town'}, train: {epochs: 9}, "
        f"tune: {{trials: 6, searcher: {searcher}, space: {{train.learning_rate: {{loguniform: [0.001, 0.1]}}}}}}}}"
    )
    overrides = [f"tune.scheduler.kind={kind}", *(f"tune.scheduler.{key}={value}" for key, value in scheduler.items())]
    return parse_kind(TuneJob, spec, origin="test", overrides=tuple(overrides))


def record(number: int, *scores: float) -> TrialRecord:
    return TrialRecord(number, {}, curve=tuple((epoch, score) for epoch, score in enumerate(scores, start=1)))


class Trial:
    """As much of Tune's as schedulers look at."""

    def __init__(self, trial_id: str, **config: Any) -> None:
        self.trial_id, self.config, self.evaluated_params, self.experiment_tag = trial_id, config, {}, ""


def judged(scheduler: Any, trial: Trial, epoch: int, score: float) -> str:
    controller = SimpleNamespace(get_live_trials=lambda: [], search_alg=None)
    return str(scheduler.on_trial_result(controller, trial, {EPOCH: epoch, SCORE: score}))


def test_asha_judges_by_trials_of_earlier_starts_too() -> None:
    scheduler: Any = make_scheduler(job("asha", grace_epochs=1, reduction_factor=3))
    assert isinstance(scheduler, ASHAScheduler)
    for number, score in enumerate((0.5, 0.6, 0.7)):
        remind(scheduler, f"earlier-{number}", record(number, score))
    remind(scheduler, "earlier-base", record(BASELINE, 0.99))
    for name, score, verdict in (("bad", 0.55, STOP), ("good", 0.8, CONTINUE)):
        trial = Trial(name)
        scheduler.on_trial_add(None, trial)
        assert judged(scheduler, trial, 1, score) == verdict


def test_asha_does_not_judge_a_trial_twice_at_the_same_rung() -> None:
    scheduler: Any = make_scheduler(job("asha", grace_epochs=1, reduction_factor=3))
    for number in range(3):
        remind(scheduler, f"earlier-{number}", record(number, 0.9))
    trial = Trial("goes-on")
    remind(scheduler, trial.trial_id, record(4, 0.1))
    scheduler.on_trial_add(None, trial)
    assert judged(scheduler, trial, 2, 0.1) == CONTINUE


def test_the_median_of_earlier_trials_and_a_trials_own_past_count() -> None:
    scheduler: Any = make_scheduler(job("median", grace_epochs=1, min_trials=2))
    for number in range(3):
        remind(scheduler, f"earlier-{number}", record(number, 0.5, 0.6))
    was_good, is_bad = Trial("was-good"), Trial("is-bad")
    remind(scheduler, was_good.trial_id, record(4, 0.9))
    for trial in (was_good, is_bad):
        scheduler.on_trial_add(None, trial)
    assert judged(scheduler, was_good, 2, 0.2) == CONTINUE
    assert judged(scheduler, is_bad, 2, 0.2) == STOP
    scheduler.on_trial_complete(None, is_bad, {})  # it ended without a score


def test_too_few_trials_for_a_median_pause_nobody() -> None:
    scheduler: Any = make_scheduler(job("median", grace_epochs=1, min_trials=3))
    trial = Trial("alone")
    scheduler.on_trial_add(None, trial)
    assert judged(scheduler, trial, 3, 0.1) == CONTINUE


def test_a_population_keeps_its_numbers_and_bounds() -> None:
    scheduler: Any = make_scheduler(job("pbt", perturb_every_epochs=2, resample_probability=0))
    controller: Any = SimpleNamespace(search_alg=None)
    trials = []
    for number in range(2):
        trial: Any = Trial(f"t{number}", **{"train.learning_rate": 0.1, NUMBER: number, RUN: f"streets-000{number}"})
        trial.run_metadata = SimpleNamespace(
            checkpoint_manager=SimpleNamespace(checkpoint_config=SimpleNamespace(num_to_keep=None))
        )
        scheduler.on_trial_add(controller, trial)
        trials.append(trial)
    for _ in range(20):
        config, _ = scheduler._get_new_config(trials[0], trials[1])
        assert (config[NUMBER], config[RUN]) == (0, "streets-0000")
        assert 0.001 <= config["train.learning_rate"] <= 0.1
    remind(scheduler, "earlier", record(3, 0.5))


def test_no_scheduler() -> None:
    assert isinstance(make_scheduler(job("none")), FIFOScheduler)


@pytest.mark.parametrize(("value", "inside"), [(0.5, 0.1), (1e-9, 0.001), (0.01234567, 0.0123457)])
def test_values_stay_within_their_bounds(value: float, inside: float) -> None:
    assert within(Dimension.model_validate({"loguniform": [0.001, 0.1]}), value) == inside
