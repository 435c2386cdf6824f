"""A sweep's study: what it asks is reproducible, complete, without duplicates, and the same after a restart."""

from __future__ import annotations

import logging
import math
import random
import subprocess
import sys
from typing import Any

import pytest

from roadbed.errors import UsageError
from roadbed.spec import TuneSpec
from roadbed.spec.space import grid_points
from roadbed.tuning.study import Study, importance

MIXED: dict[str, Any] = {
    "train.learning_rate": {"loguniform": [1e-4, 1e-1]},
    "train.optimizer": {"choice": ["adamw", "sgd"]},
    "train.clip_norm": {"uniform": [0.5, 2.0], "when": {"train.optimizer": "sgd"}},
    "train.ema_decay": {"quniform": [0.9, 0.99, 0.01]},
    "train.global_batch": {"int": [4, 16]},
    "model.head_channels": {"logint": [32, 256]},
    "data.crop_px": {"choice": [[240, 320], [192, 256]]},
}
FINITE: dict[str, Any] = {
    "model.architecture": {"choice": ["deeplabv3plus", "deeplabv3"]},
    "model.auxiliary_head": {"choice": [False, True], "when": {"model.architecture": "deeplabv3"}},
    "loss.auxiliary": {"quniform": [0.2, 0.6, 0.2], "when": {"model.auxiliary_head": True}},
    "train.epochs": {"int": [1, 3]},
}
NUM_FINITE = (1 + 1 + 3) * 3


def spec(space: dict[str, Any] | None = None, **settings: Any) -> TuneSpec:
    return TuneSpec.model_validate({"space": MIXED if space is None else space, "trials": 15} | settings)


def score(values: dict[str, Any]) -> float:
    """Best at a learning rate of 10 ** -2.5, a little better with sgd."""
    return 1 - (math.log10(values["train.learning_rate"]) + 2.5) ** 2 / 4 + 0.05 * (values["train.optimizer"] == "sgd")


def swept(study: Study, numbers: range) -> list[dict[str, Any]]:
    """Ask and tell one trial after the other, with a failed and a stopped one among them."""
    asked = []
    for number in numbers:
        values = study.ask(number)
        asked.append(values)
        conclude(study, number, values)
    return asked


def conclude(study: Study, number: int, values: dict[str, Any]) -> None:
    if number % 5 == 3:
        study.tell(number, None)
        return
    study.report(number, 1, score(values) / 2)
    is_stopped = number % 5 == 1
    study.tell(number, score(values) / 2 if is_stopped else score(values), is_stopped=is_stopped)


@pytest.mark.parametrize("searcher", ["random", "tpe"])
def test_values_lie_within_the_space_and_its_conditions(searcher: str) -> None:
    asked = swept(Study(spec(searcher=searcher, trials=30)), range(30))
    for values in asked:
        assert set(values) == set(MIXED) - ({"train.clip_norm"} if values["train.optimizer"] == "adamw" else set())
        assert 1e-4 <= values["train.learning_rate"] <= 1e-1
        assert float(f"{values['train.learning_rate']:.6g}") == values["train.learning_rate"]
        assert values["train.ema_decay"] in [0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99]
        assert type(values["train.global_batch"]) is int
        assert 4 <= values["train.global_batch"] <= 16
        assert 32 <= values["model.head_channels"] <= 256
        assert values["data.crop_px"] in ([240, 320], [192, 256])
    assert {values["train.optimizer"] for values in asked} == {"adamw", "sgd"}


@pytest.mark.parametrize("searcher", ["random", "tpe"])
def test_the_same_seed_asks_the_same_and_another_one_does_not(searcher: str) -> None:
    first, again, other = (swept(Study(spec(searcher=searcher, seed=seed)), range(15)) for seed in (1, 1, 2))
    assert first == again
    assert all(ours != theirs for ours, theirs in zip(first, other, strict=True))


@pytest.mark.parametrize("searcher", ["random", "tpe", "grid"])
@pytest.mark.parametrize("broken_at", [0, 1, 7, 14])
def test_a_sweep_that_was_interrupted_goes_on_as_one_that_was_not(searcher: str, broken_at: int) -> None:
    space = FINITE if searcher == "grid" else MIXED
    tune = spec(space, searcher=searcher, trials=NUM_FINITE)

    def conclude_any(study: Study, number: int, values: dict[str, Any]) -> None:
        conclude(study, number, {"train.learning_rate": 0.1, "train.optimizer": "sgd"} | values)

    unbroken, asked = Study(tune), []
    for number in range(NUM_FINITE):
        asked.append(unbroken.ask(number))
        conclude_any(unbroken, number, asked[-1])
    rebuilt = Study(tune)
    for number in reversed(range(broken_at)):  # As a store may list them.
        rebuilt.add(number, asked[number])
        conclude_any(rebuilt, number, asked[number])
    for number in range(NUM_FINITE):
        assert rebuilt.ask(number) == asked[number]
        if number >= broken_at:
            conclude_any(rebuilt, number, asked[number])


def test_trials_that_were_running_when_a_sweep_broke_are_taken_up() -> None:
    tune = spec(trials=20)
    unbroken = Study(tune)
    begun = [*swept(unbroken, range(8)), unbroken.ask(8), unbroken.ask(9)]
    rebuilt = Study(tune)
    for number, values in enumerate(begun):
        rebuilt.add(number, values)
        if number < 8:
            conclude(rebuilt, number, values)
    for study in (unbroken, rebuilt):
        study.tell(9, score(begun[9]))
    assert rebuilt.ask(10) == unbroken.ask(10)
    for study in (unbroken, rebuilt):
        study.tell(8, None)
    assert rebuilt.ask(11) == unbroken.ask(11)


def test_results_may_be_given_with_the_values() -> None:
    one, two = Study(spec()), Study(spec())
    for number in range(8):
        values = one.ask(number)
        one.tell(number, score(values))
        two.add(number, values, score(values))
    assert one.ask(8) == two.ask(8)


def test_random_values_follow_from_their_number_alone() -> None:
    """So they are the same however many trials run at a time, in which order they end, and what is known of others."""
    in_order = [Study(spec(searcher="random")).ask(number) for number in range(8)]
    study = Study(spec(searcher="random"))
    study.ask(7)
    study.tell(7, 0.5)
    assert [study.ask(number) for number in range(8)] == in_order


def test_what_was_asked_is_asked_again_with_the_same_answer() -> None:
    study = Study(spec())
    first = study.ask(0)
    first["train.learning_rate"] = 9.0
    swept(study, range(1, 8))
    assert study.ask(0) == Study(spec()).ask(0)


@pytest.mark.parametrize("searcher", ["random", "tpe", "grid"])
def test_a_finite_space_is_gone_through_without_duplicates(searcher: str) -> None:
    """Also by chance: the last points that are left are found."""
    tune = spec(FINITE, searcher=searcher, trials=NUM_FINITE)
    study = Study(tune)
    asked = []
    for number in range(NUM_FINITE):
        asked.append(study.ask(number))
        study.tell(number, random.Random(number).random())
    for values in asked:
        assert asked.count(values) == 1
        assert ("model.auxiliary_head" in values) == (values["model.architecture"] == "deeplabv3")
        assert ("loss.auxiliary" in values) == (values.get("model.auxiliary_head") is True)
    points = list(grid_points(tune.space))
    assert all(point in asked for point in points)
    assert len(points) == NUM_FINITE
    if searcher == "grid":
        assert asked == points


def test_a_branch_without_values_of_its_own_is_tried_once() -> None:
    space = {
        "train.schedule": {"choice": ["cosine", "poly"]},
        "train.poly_power": {"uniform": [0.5, 1.5], "when": {"train.schedule": "poly"}},
    }
    asked = [Study(spec(space, searcher="random")).ask(number) for number in range(12)]
    assert [values for values in asked if values["train.schedule"] == "cosine"] == [{"train.schedule": "cosine"}]


def test_tpe_learns_and_random_does_not() -> None:
    """The mean distance of the last ten of thirty trials from the best learning rate, in powers of ten."""

    def distance(searcher: str, seed: int) -> float:
        study = Study(spec(searcher=searcher, trials=30, seed=seed))
        for number in range(30):
            study.tell(number, score(study.ask(number)))
        return sum(abs(math.log10(study.ask(number)["train.learning_rate"]) + 2.5) for number in range(20, 30)) / 10

    learned, drawn = (sum(distance(searcher, seed) for seed in range(4)) / 4 for searcher in ("tpe", "random"))
    assert learned < 0.6 * drawn


def rates_after(results: str) -> float:
    """The mean power of ten of the learning rates asked after twenty trials, of which the large rates had `results`."""
    space = {"train.learning_rate": {"loguniform": [1e-4, 1e-1]}}
    powers = []
    for seed in range(8):
        study = Study(spec(space, trials=30, seed=seed))
        for number in range(20):
            rate = 10 ** (-4 + 3 * number / 19)
            study.add(number, {"train.learning_rate": rate})
            if number < 10 or results == "finished":
                study.tell(number, 0.5 if number < 10 else 0.6)
            elif results == "failed":
                study.tell(number, None)
            elif results == "no number":
                study.tell(number, math.nan)
            else:
                study.report(number, 1, 0.6)
                study.tell(number, 0.6, is_stopped=True)
        powers.append(math.log10(study.ask(20)["train.learning_rate"]))
    return sum(powers) / len(powers)


def test_what_failed_or_was_stopped_is_kept_away_from() -> None:
    """A stopped trial had the better score after fewer epochs, and still ranks below those that came to the end."""
    for results in ("failed", "no number", "stopped"):
        assert rates_after(results) < -2.5, results
    assert rates_after("finished") > -2.5


def test_running_trials_keep_others_away() -> None:
    """Asked at once after the same records, trials do not all go to the same place."""
    study = Study(spec(trials=40))
    swept(study, range(12))
    together = [study.ask(number)["train.learning_rate"] for number in range(12, 18)]
    assert len(set(together)) == len(together)
    alone = Study(spec(trials=40))
    swept(alone, range(12))
    assert alone.ask(17) != study.ask(17)


@pytest.mark.parametrize(
    "values",
    [
        {"train.seed": 3},
        {"train.optimizer": "adam"},
        {"train.learning_rate": 1.0},
        {"train.learning_rate": "much"},
        {"train.learning_rate": True},
        {"train.ema_decay": 0.905},
        {"train.global_batch": 17},
    ],
)
def test_values_of_another_space_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        Study(spec()).add(3, values)
    ((path, value),) = values.items()
    assert f"trial 3 has {path}={value!r}, which tune.space does not have now; go on with the spec" in str(caught.value)


def trials_of(study: Study, count: int) -> list[tuple[dict[str, Any], float]]:
    return [(study.ask(number), score(study.ask(number))) for number in range(count)]


def test_importance_names_what_mattered() -> None:
    tune = spec(searcher="random", trials=60)
    shares = importance(tune, trials_of(Study(tune), 60))
    assert next(iter(shares)) == "train.learning_rate"
    assert shares["train.learning_rate"] > 0.4
    assert set(shares) == set(MIXED)
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert importance(tune, trials_of(Study(tune), 60)) == shares


def test_importance_needs_trials_that_tell_something() -> None:
    tune = spec(searcher="random", trials=60)
    trials = trials_of(Study(tune), 10)
    assert importance(tune, trials)
    assert importance(tune, trials[:7]) == {}
    assert importance(tune, [*trials[:7], (trials[7][0], math.nan)]) == {}
    assert importance(tune, [(values, 0.5) for values, _ in trials]) == {}


def test_a_condition_that_held_once_does_not_disturb_importance() -> None:
    tune = spec(searcher="random", trials=60)
    adam = [trial for trial in trials_of(Study(tune), 60) if "train.clip_norm" not in trial[0]][:15]
    other = next(trial for trial in trials_of(Study(tune), 60) if "train.clip_norm" in trial[0])
    shares = importance(tune, [*adam, other])
    assert shares["train.clip_norm"] < shares["train.learning_rate"]
    assert importance(tune, adam)["train.clip_norm"] == 0


def test_optuna_says_nothing(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG):
        swept(Study(spec()), range(15))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_a_study_needs_neither_ray_nor_torch_and_no_hash_seed() -> None:
    """Another process draws the same, whatever seed its hashes have."""
    program = (
        "import sys, math; from roadbed.spec import TuneSpec; from roadbed.tuning.study import Study\n"
        "study = Study(TuneSpec.model_validate(eval(sys.argv[1])))\n"
        "for number in range(9):\n    study.tell(number, -math.log(study.ask(number)['train.learning_rate']))\n"
        "print(study.ask(9))\n"
        "sys.exit(bool({'torch', 'ray'} & set(sys.modules)))"
    )
    text = repr({"space": MIXED, "trials": 15})
    said = [
        subprocess.run(
            [sys.executable, "-c", program, text],
            env={"PYTHONHASHSEED": seed} | path(),
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert b"train.learning_rate" in said[0]


def path() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(entry for entry in sys.path if entry)}
