"""The door of a sweep: what `kind: tune` takes, what it refuses with which words, and what its trials are."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from roadbed.errors import UsageError
from roadbed.spec import Dimension, TuneJob, dump_job, explain, load_job, load_kind, parse_kind
from roadbed.spec.base import known_keys
from roadbed.spec.job import TrainJob
from roadbed.spec.space import draw_order, grid_points, num_points
from roadbed.spec.trials import CHANGEABLE, FIXED
from roadbed.tuning.sweep import trial_name

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "jobs" / "camvid-tune.yaml"
SPACE: dict[str, Any] = {
    "train.learning_rate": {"loguniform": [1e-4, 1e-1]},
    "train.weight_decay": {"uniform": [0, 0.1]},
    "train.ema_decay": {"quniform": [0.9, 0.99, 0.01]},
    "train.global_batch": {"int": [4, 16]},
    "model.head_channels": {"logint": [32, 256]},
    "data.crop_px": {"choice": [[240, 320], [192, 256]]},
    "model.architecture": {"choice": ["deeplabv3plus", "deeplabv3"]},
    "model.backbone": {"choice": ["efficientnet_lite0", "resnet50"]},
    "model.weights": {
        "choice": ["imagenet", "coco"],
        "when": {"model.architecture": "deeplabv3", "model.backbone": "resnet50"},
    },
    "loss.dice": {"choice": [0.0, 0.5], "when": {"model.backbone": ["efficientnet_lite0", "resnet50"]}},
}


def parsed(space: dict[str, Any] | None = None, *, text: str = "", **tune: Any) -> TuneJob:
    """A sweep of a small spec. `text` is added to it as it stands, `tune` are keys of that section."""
    section = {"trials": 2, "space": SPACE if space is None else space} | tune
    head = "kind: tune\nname: town\ndata: {uri: file:///town}\n"
    return parse_kind(TuneJob, head + text + yaml.safe_dump({"tune": section}, sort_keys=False), origin="job.yaml")


def refusal(*arguments: Any, **settings: Any) -> str:
    with pytest.raises(UsageError) as caught:
        parsed(*arguments, **settings)
    assert caught.value.exit_status == 2
    assert str(caught.value).startswith("job.yaml: ")
    return str(caught.value)


def test_a_sweep_reads_back_equal_in_the_form_it_was_written() -> None:
    job = parsed()
    assert yaml.safe_load(dump_job(job))["tune"]["space"] == SPACE
    assert parse_kind(TuneJob, dump_job(job), origin="again") == job
    assert parse_kind(TuneJob, dump_job(parse_kind(TuneJob, dump_job(job), origin="x")), origin="again") == job


@pytest.mark.parametrize(
    ("space", "written"),
    [
        ({"train.learning_rate": {"loguniform": ["1e-4", "1E-1"]}}, {"loguniform": [0.0001, 0.1]}),
        ({"train.learning_rate": {"choice": ["1e-4", 0.1]}}, {"choice": [0.0001, 0.1]}),
    ],
)
def test_numbers_that_yaml_takes_for_text_are_numbers(space: dict[str, Any], written: dict[str, Any]) -> None:
    assert yaml.safe_load(dump_job(parsed(space)))["tune"]["space"]["train.learning_rate"] == written


def test_the_example_is_a_sweep_and_no_training() -> None:
    job = load_kind(TuneJob, EXAMPLE)
    assert (job.tune.trials, job.tune.scheduler.kind, job.output.register_as) == (8, "asha", "camvid")
    with pytest.raises(UsageError, match=r"is a job of kind tune, expected train; `roadbed tune` runs it"):
        load_job(EXAMPLE)


def test_overrides_reach_sections_and_the_whole_space() -> None:
    job = load_kind(
        TuneJob,
        EXAMPLE,
        ("tune.trials=3", "tune.space={train.epochs: {int: [2, 4]}}", "tune.scheduler={kind: none}"),
    )
    assert (job.tune.trials, [*job.tune.space], job.tune.scheduler.kind) == (3, ["train.epochs"], "none")
    with pytest.raises(UsageError, match=r"did you mean tune\.trials\?"):
        load_kind(TuneJob, EXAMPLE, ("tune.trails=3",))


def test_explain_has_a_meaning_for_every_field() -> None:
    rows = {key: (default, meaning) for key, default, meaning in explain("tune")}
    assert all(meaning for _, meaning in rows.values())
    assert [key for key, (default, _) in rows.items() if default == "required"] == [
        "name",
        "data.uri",
        "tune.space",
        "tune.trials",
    ]
    assert "{choice: [...]}" in rows["tune.space"][1]
    assert rows["tune.scheduler.kind"][0] == "asha"
    assert rows["tune.scheduler.exploit_share"] == (
        "0.25",
        "of pbt: so large a share of the trials, the worst, takes the weights of the best",
    )


WAYS = "tune.space.train.learning_rate: "


@pytest.mark.parametrize(
    ("dimension", "words"),
    [
        (0.1, [WAYS + "expected how to search it, such as {loguniform: [0.001, 0.1]}", "found 0.1"]),
        ({}, [WAYS + "expected how to search it", "found {}"]),
        ({"unifrm": [0, 1]}, [WAYS + "unifrm is no way to search; there are uniform,", "did you mean uniform?"]),
        ({"wen": {}, "int": [1, 2]}, ["wen is no way to search", "did you mean when?"]),
        ({"xyzzy": 1}, ["xyzzy is no way to search; there are uniform, loguniform, quniform, int, logint, choice, f"]),
        ({"when": {"train.epochs": 1}}, [WAYS + "expected one way to search it"]),
        ({"uniform": [0.1, 1], "choice": [1]}, [WAYS + "expected one way to search it"]),
        ({"uniform": 0.1}, [WAYS + "uniform takes [low, high], found"]),
        ({"uniform": [0.1]}, [WAYS + "uniform takes [low, high], all of them numbers"]),
        ({"quniform": [0.1, 0.2]}, [WAYS + "quniform takes [low, high, step], all of them numbers"]),
        ({"uniform": [0.1, "much"]}, ["uniform takes [low, high], all of them numbers"]),
        ({"uniform": [False, True]}, ["uniform takes [low, high], all of them numbers"]),
        ({"uniform": [0.1, float("inf")]}, ["uniform takes [low, high], all of them numbers"]),
        ({"uniform": [2, 1]}, [WAYS + "uniform: the low bound 2 is not below the high bound 1; exchange them"]),
        ({"uniform": [1, 1]}, ["the low bound 1 is not below the high bound 1; for one value set it in the spec"]),
        ({"loguniform": [0, 1]}, ["loguniform: the low bound 0 has no logarithm; take one above 0, or uniform"]),
        ({"logint": [0, 9]}, ["logint: the low bound 0 has no logarithm; take one above 0, or int"]),
        ({"int": [1, 2.5]}, ["int takes whole numbers; for others there are uniform, loguniform and quniform"]),
        ({"quniform": [0, 1, 0.3]}, ["quniform: no whole number of steps of 0.3 leads from 0 to 1; change one"]),
        ({"quniform": [0, 1, 0]}, ["no whole number of steps of 0 leads from 0 to 1"]),
        ({"quniform": [0, 1, -0.1]}, ["no whole number of steps of -0.1 leads from 0 to 1"]),
        ({"quniform": [0, 1, 1e-6]}, ["quniform: 1e-06 makes more than 10,000 steps; take larger ones, or uniform"]),
        ({"choice": []}, ["choice has no value to choose from; give it some, or leave the path out of tune.space"]),
        ({"choice": [1, 2, 1]}, ["choice has 1 twice; leave one out"]),
        ({"choice": [{"a": 1}]}, ["choice takes values of one key, not keys and values such as {'a': 1}"]),
        ({"choice": "adamw"}, ["choice takes [value, value, ...]"]),
        ({"int": [1, 2], "when": "always"}, ["when takes other paths and their values, such as {model.arch"]),
        ({"int": [1, 2], "when": {}}, ["when takes other paths and their values"]),
        ({"int": [1, 2], "when": {"train.optimizer": []}}, ["when names train.optimizer without a value; give it one"]),
    ],
)
def test_a_way_to_search_that_cannot_be_meant_is_named(dimension: Any, words: list[str]) -> None:
    text = refusal({"train.learning_rate": dimension})
    for word in words:
        assert word in text


OPTIMIZER = {"train.optimizer": {"choice": ["adamw", "sgd"]}}


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, "tune.space: expected at least one path to search, such as train.learning_rate, found {}"),
        ({"train.learning_rte": {"int": [1, 2]}}, "unknown key train.learning_rte of the train spec; did you mean tra"),
        ({"learning_rate": {"int": [1, 2]}}, "unknown key learning_rate of the train spec; did you mean train.learn"),
        ({"qqq": {"int": [1, 2]}}, "unknown key qqq of the train spec; see `roadbed explain train`"),
        ({"train": {"int": [1, 2]}}, "tune.space.train: is a whole section; name its keys, such as train.epochs"),
        ({"model": {"choice": [1, 2]}}, "tune.space.model: is a whole section; name its keys, such as model.archi"),
        ({"train.learning_rate.x": {"int": [1, 2]}}, "unknown key train.learning_rate.x of the train spec"),
        ({"name": {"choice": ["a", "b"]}}, "tune.space.name: may not vary: trials are named after the sweep; set it"),
        ({"kind": {"choice": ["train", "b"]}}, "tune.space.kind: may not vary: every trial is a training run"),
        (
            {"data.uri": {"choice": ["s3://a/b", "s3://a/c"]}},
            "tune.space.data.uri: may not vary: scores on other data could not",
        ),
        ({"output.store": {"choice": ["a", "b"]}}, "tune.space.output.store: may not vary: the sweep decides where"),
        ({"workers": {"int": [1, 2]}}, "tune.space.workers: may not vary: trials are given equal machines"),
        ({"workers.num_workers": {"int": [1, 2]}}, "tune.space.workers.num_workers: may not vary: trials are given"),
        ({"workers.retries.hang": {"int": [1, 2]}}, "tune.space.workers.retries.hang: may not vary"),
        ({"train.eval_every": {"int": [1, 2]}}, "tune.space.train.eval_every: may not vary: trials must be measured"),
        ({"train.learning_rate": {"uniform": [-1, 1]}}, "train.learning_rate: no trial can take -1.0: train.learning_"),
        ({"train.learning_rate": {"choice": [0.1, -1]}}, "no trial can take -1: train.learning_rate: input should be"),
        ({"train.ema_decay": {"uniform": [0.5, 1]}}, "tune.space.train.ema_decay: no trial can take 1.0: train.ema_d"),
        ({"model.backbone": {"choice": ["resnet50", "resnet5"]}}, "no trial can take 'resnet5': model.backbone: exp"),
        ({"model.output_stride": {"int": [8, 16]}}, "tune.space.model.output_stride: no trial can take 9: model.outp"),
        ({"model.head_channels": {"uniform": [32, 64]}}, "no trial can take 44.222912: model.head_channels: input sho"),
        ({"model.head_channels": {"quniform": [32, 33, 0.5]}}, "no trial can take 32.5: model.head_channels"),
        ({"model.head_channels": {"int": [32, 1000]}}, "no trial can take 1000: model.head_channels"),
        ({"data.crop_px": {"choice": [[240, 320], [9, 9]]}}, "no trial can take [9, 9]: data.crop_px.0: input should"),
        (
            {"data.crop_area": {"choice": [[0.5, 1], [1, 0.5]]}},
            "no trial can take [1, 0.5]: data.crop_area: the smaller share",
        ),
        (
            {"model.weights": {"choice": ["imagenet", "coco"]}},
            "tune.space.model.weights: no trial can take 'coco': model.weights: coco is offered with architecture",
        ),
        (
            {path: SPACE[path] for path in ("model.architecture", "model.backbone")}
            | {"model.weights": {"choice": ["imagenet", "coco"]}},
            "tune.space: values are drawn together that no trial can take: model.weights: coco is offered with "
            "architecture deeplabv3 over mobilenet_v3_large, resnet50, resnet101, found deeplabv3plus over "
            "efficientnet_lite0; keep them apart with `when`, or leave one out",
        ),
        (
            {"train.clip_norm": {"uniform": [0, 1], "when": {"train.optimiser": "sgd"}}} | OPTIMIZER,
            "job.yaml: tune.space.train.clip_norm: when names train.optimiser, which is no path of tune.space; did y",
        ),
        (
            {"train.clip_norm": {"uniform": [0, 1], "when": {"loss.dice": 1}}} | OPTIMIZER,
            "when names loss.dice, which is no path of tune.space; those are train.clip_norm, train.optimizer",
        ),
        (
            {"train.clip_norm": {"uniform": [0, 1], "when": {"train.epochs": 1}}, "train.epochs": {"int": [1, 2]}},
            "when names train.epochs, which is drawn by int; conditions need a choice",
        ),
        (
            {"train.clip_norm": {"uniform": [0, 1], "when": {"train.optimizer": ["sgd", "adam"]}}} | OPTIMIZER,
            "when names train.optimizer adam, a value that it never takes; it takes adamw, sgd",
        ),
        (
            {"train.seed": {"choice": [1, 2], "when": {"train.seed": 1}}},
            "tune.space: conditions in a circle: train.seed when train.seed; let one of them be drawn always",
        ),
        (
            {"train.clip_norm": {"uniform": [0, 1], "when": {"train.seed": 1}}}
            | {"train.seed": {"choice": [1, 2], "when": {"loss.dice": 1}}}
            | {"loss.dice": {"choice": [0, 1], "when": {"train.seed": 2}}},
            "conditions in a circle: train.seed when loss.dice when train.seed",
        ),
        (
            OPTIMIZER
            | {"train.schedule": {"choice": ["poly", "cosine"], "when": {"train.optimizer": "sgd"}}}
            | {
                "train.poly_power": {
                    "uniform": [0, 1],
                    "when": {"train.schedule": "poly", "train.optimizer": "adamw"},
                }
            },
            "tune.space.train.poly_power: is never drawn, for its conditions never hold together; change when",
        ),
    ],
)
def test_a_space_that_no_sweep_could_search_is_refused(space: dict[str, Any], words: str) -> None:
    assert words in refusal(space, scheduler={"kind": "none"})


def test_a_value_may_need_another_path_to_be_drawn() -> None:
    """Dice may be 0 although the base minimises nothing else, for cross entropy is always drawn above 0."""
    text = "loss: {cross_entropy: 0, dice: 1}\n"
    space = {"loss.cross_entropy": {"uniform": [0.1, 1]}, "loss.dice": {"choice": [0, 1]}}
    parsed(space, text=text)
    assert "loss.dice: no trial can take 0: loss: cross_entropy, dice and lovasz are all 0" in refusal(
        {"loss.dice": space["loss.dice"]}, text=text
    )


CHOICES = {"train.optimizer": {"choice": ["adamw", "sgd"]}, "train.seed": {"int": [0, 2]}}


@pytest.mark.parametrize(
    ("tune", "words"),
    [
        (
            {"searcher": "grid"},
            "tune.searcher: grid needs values that can be counted, train.learning_rate is drawn by l",
        ),
        (
            {"searcher": "grid", "space": CHOICES, "trials": 5},
            "tune.trials: 5 is less than the number of points in the grid, 6",
        ),
        (
            {"searcher": "grid", "space": CHOICES, "trials": 7},
            "tune.trials: 7 is more than the number of points in tune",
        ),
        (
            {"space": CHOICES, "trials": 7},
            "tune.trials: 7 is more than the number of points in tune.space, 6; set it to 6",
        ),
        (
            {"searcher": "grid", "space": {"train.seed": {"int": [0, 10_000]}}},
            "tune.searcher: the grid of tune.space has more than 10,000 points; take fewer values, or set tune",
        ),
        ({"searcher": "bayes"}, "tune.searcher: input should be 'tpe', 'random' or 'grid', found 'bayes'"),
        ({"metric": "loss"}, "tune.metric: input should be 'miou', 'pixel_accuracy' or 'mean_accuracy', found 'loss'"),
        ({"mode": "min"}, "tune.mode: input should be 'max', found 'min'"),
        ({"trials": 0}, "tune.trials: input should be greater than or equal to 1, found 0"),
        ({"hours": 0}, "tune.hours: input should be greater than 0, found 0"),
        ({"gpu_hours": 2}, "tune.gpu_hours: 2.0 would never be used up, for workers.gpus_per_worker is 0; take tune.h"),
        ({"scheduler": {"knd": "asha"}}, "unknown key tune.scheduler.knd; did you mean tune.scheduler.kind?"),
        (
            {"scheduler": {"kind": "median", "reduction_factor": 4}},
            "tune.scheduler.reduction_factor is of asha, found with kind median; leave it out",
        ),
        (
            {"scheduler": {"kind": "none", "grace_epochs": 1}},
            "tune.scheduler.grace_epochs is of asha and median, found with kind none; leave it out",
        ),
        (
            {"scheduler": {"grace_epochs": 10}},
            "tune.scheduler.grace_epochs: 10 leaves nothing to decide of train.epochs 10; set it lower, or tune",
        ),
        (
            {"scheduler": {"grace_epochs": 3}, "text": "train: {eval_every: 2}\n"},
            "tune.scheduler.grace_epochs: after 3 epochs there is no score with train.eval_every 2; set train",
        ),
        (
            {"space": {"train.epochs": {"int": [5, 10]}}},
            "tune.space.train.epochs: asha compares trials of one length with each other; leave it out, or set tune",
        ),
        (
            {"scheduler": {"kind": "pbt"}},
            "tune.searcher: tpe needs values that stay for the length of a trial, and scheduler pbt changes them",
        ),
        (
            {"scheduler": {"kind": "pbt"}, "searcher": "random", "trials": 1},
            "tune.trials: pbt compares trials with each other, found 1; set it to 2 or more",
        ),
        (
            {"scheduler": {"kind": "pbt"}, "searcher": "random"},
            "tune.space.model.weights: pbt changes values alone, so none may hang on another; leave when out",
        ),
        (
            {"scheduler": {"kind": "pbt"}, "searcher": "random", "space": CHOICES},
            "tune.space.train.optimizer: cannot change while a run goes, as pbt needs; those that can are train",
        ),
        (
            {
                "scheduler": {"kind": "pbt", "perturb_every_epochs": 12},
                "searcher": "random",
                "space": {"loss.dice": {"uniform": [0, 1]}},
            },
            "tune.scheduler.perturb_every_epochs: 12 leaves nothing to decide of train.epochs 10",
        ),
    ],
)
def test_a_sweep_that_contradicts_itself_is_refused(tune: dict[str, Any], words: str) -> None:
    assert words in refusal(tune.pop("space", None), **tune)


def test_the_train_spec_itself_must_hold() -> None:
    text = "train: {global_batch: 2}\nworkers: {num_workers: 3}\n"
    assert "train.global_batch: 2 samples cannot be shared by workers.num_workers 3" in refusal(text=text)
    assert "unknown key train.epoch; did you mean train.epochs?" in refusal(text="train: {epoch: 2}\n")


def test_a_sweeps_name_leaves_room_for_the_numbers_of_its_trials() -> None:
    job = parsed().model_copy(update={"name": "a" * 31})
    assert job.trial(trial_name(job.name, 9999, generation=99), {}).name == "a" * 31 + "-9999-99"
    with pytest.raises(UsageError, match="name: string should match pattern"):
        parse_kind(TuneJob, dump_job(job.model_copy(update={"name": "a" * 32})), origin="job.yaml")


def test_only_keys_of_the_schedulers_kind_are_written() -> None:
    for kind, keys in {"asha": 2, "median": 2, "pbt": 3, "none": 0}.items():
        space = {"loss.dice": {"uniform": [0, 1]}}
        job = parsed(space, scheduler={"kind": kind}, searcher="random")
        assert len(yaml.safe_load(dump_job(job))["tune"]["scheduler"]) == 1 + keys
        assert parse_kind(TuneJob, dump_job(job), origin="again") == job


def test_a_trial_is_a_train_job_with_its_values_that_registers_nothing() -> None:
    job = parsed(text="train: {epochs: 7}\noutput: {store: file:///out, register_as: town}\n")
    trial = job.trial(trial_name(job.name, 3), {"train.learning_rate": 0.02, "data.crop_px": [192, 256]})
    assert isinstance(trial, TrainJob)
    assert (trial.name, trial.train.learning_rate, trial.data.crop_px) == ("town-0003", 0.02, (192, 256))
    assert (trial.train.epochs, trial.output.store, trial.output.register_as) == (7, "file:///out", None)
    assert parse_kind(TrainJob, dump_job(trial), origin="again") == trial
    assert job.trial("town-0003", {}).train == job.train


def test_values_that_cannot_be_trained_together_are_told_of_the_trial() -> None:
    with pytest.raises(UsageError, match=r"^trial town-0001: loss: cross_entropy, dice and lovasz are all 0"):
        parsed().trial("town-0001", {"loss.cross_entropy": 0})


def test_every_key_that_is_spoken_of_is_one_of_the_train_spec() -> None:
    known = known_keys(TrainJob)
    assert {*FIXED, *CHANGEABLE} <= {*known}
    for path in CHANGEABLE:
        assert path not in FIXED
        assert path.partition(".")[0] in ("train", "loss", "data")


def test_pbt_takes_every_key_that_may_change() -> None:
    base = TrainJob.parse({"name": "x", "data": {"uri": "file:///x"}}, origin="x").model_dump(mode="json")
    for path in CHANGEABLE:
        section, key = path.split(".")
        space = {path: {"choice": [base[section][key]]}, "train.weight_decay": {"uniform": [0, 1]}}
        parsed(space, scheduler={"kind": "pbt"}, searcher="random")


def test_a_tree_is_enumerated_whole_and_without_duplicates() -> None:
    """Two architectures; only one of them has a choice of weights, and only coco has one of its own."""
    space = {
        "model.new_classifier": Dimension.model_validate({"choice": [False, True], "when": {"model.weights": "coco"}}),
        "model.weights": Dimension.model_validate(
            {"choice": ["imagenet", "coco", "none"], "when": {"model.architecture": "deeplabv3"}}
        ),
        "model.architecture": Dimension.model_validate({"choice": ["deeplabv3plus", "deeplabv3"]}),
        "train.weight_decay": Dimension.model_validate({"quniform": [0.1, 0.3, 0.1]}),
    }
    assert draw_order(space) == ["model.architecture", "model.weights", "model.new_classifier", "train.weight_decay"]
    points = list(grid_points(space))
    assert num_points(space) == len(points) == (1 + 2 + 2) * 3
    assert max(Counter(repr(sorted(point.items())) for point in points).values()) == 1
    assert {point["train.weight_decay"] for point in points} == {0.1, 0.2, 0.3}
    assert points[0] == {"model.architecture": "deeplabv3plus", "train.weight_decay": 0.1}
    assert sum("model.new_classifier" in point for point in points) == 6


def test_steps_are_clean_and_whole_where_they_are_whole() -> None:
    def values(*arguments: float) -> list[Any]:
        return list(Dimension.model_validate({"quniform": list(arguments)}).values())

    assert values(0.1, 0.7, 0.1) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert [repr(value) for value in values(32, 96, 32)] == ["32", "64", "96"]
    assert values(-1e-5, 1e-5, 1e-5) == [-1e-5, 0.0, 1e-5]


def test_reading_specs_loads_no_optuna() -> None:
    program = "import sys, roadbed.spec; sys.exit(bool({'optuna', 'torch', 'ray'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
