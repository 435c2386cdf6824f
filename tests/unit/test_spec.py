"""The job spec's door: what it takes, what it refuses, and with which words."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from roadbed.errors import UsageError
from roadbed.spec import dump_job, explain, load_job, load_kind, parse_job, parse_kind
from roadbed.spec.load import differing_keys, job_class

ROOT = Path(__file__).resolve().parents[2]
MINIMAL = "kind: train\nname: town\ndata: {uri: file:///town}\n"


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_job_is_valid_and_reads_back_equal(path: Path) -> None:
    kind = job_class(yaml.safe_load(path.read_text())["kind"], origin=path.name)
    job = load_kind(kind, path)
    assert parse_kind(kind, dump_job(job), origin="again") == job


def test_a_job_of_another_kind_names_the_command_that_runs_it() -> None:
    with pytest.raises(
        UsageError, match=r"camvid-serve\.yaml: is a job of kind serve, expected train; `roadbed serve`"
    ):
        load_job(ROOT / "jobs" / "camvid-serve.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MINIMAL + "train: {learning_rte: 1}", ["job.yaml", "train.learning_rte", "did you mean train.learning_rate?"]),
        (MINIMAL + "learning_rate: 1", ["unknown key learning_rate", "did you mean train.learning_rate?"]),
        (MINIMAL + "trian: {epochs: 3}", ["unknown key trian", "did you mean train?"]),
        (MINIMAL + "train: {epochs: 0}", ["train.epochs", "found 0"]),
        (MINIMAL + "train: {optimizer: adam}", ["train.optimizer", "'adamw' or 'sgd'", "found 'adam'"]),
        (MINIMAL + "model: {backbone: resnet5}", ["model.backbone", "did you mean resnet50", "found 'resnet5'"]),
        (MINIMAL + "train: {global_batch: 2}\nworkers: {num_workers: 3}", ["train.global_batch", "2", "3"]),
        (MINIMAL + "workers: {num_workers: {min: 1, max: 9}}", ["train.global_batch", "8 samples", "num_workers 9"]),
        (MINIMAL + "workers: {num_workers: {min: 3, max: 2}}", ["workers.num_workers", "min 3 is more than max 2"]),
        (MINIMAL + "workers: {num_workers: {min: 3}}", ["workers.num_workers.max is missing"]),
        (MINIMAL + "workers: {num_workers: {least: 3, max: 4}}", ["unknown key workers.num_workers.least"]),
        (MINIMAL + "workers: {num_workers: two}", ["workers.num_workers", "a range such as {min: 1, max: 4}", "'two'"]),
        (MINIMAL + "workers: {num_workers: 0}", ["workers.num_workers", "a number from 1 on", "found 0"]),
        (MINIMAL + "loss: {cross_entropy: 0}", ["job.yaml: loss: cross_entropy, dice and lovasz are all 0"]),
        ("kind: train\nname: town\ndata: {uri: town}", ["data.uri", "file:///FOLDER", "found 'town'"]),
        ("kind: train\nname: town\ndata: {uri: 's3://KEY:SECRET@bed/town'}", ["data.uri", "the bucket of letters"]),
        ('kind: train\nname: town\ndata: {uri: "s3://road/a\\nb"}', ["data.uri", "in one line"]),
        ("kind: train\nname: Town!\ndata: {uri: x}", ["name", "Town!"]),
        ("kind: train\nname: town", ["data is missing"]),
        ("kind: tarin\nname: town", ["'tarin'", "did you mean train?"]),
        ("name: town", ["kind is missing"]),
        ("- a list", ["keys and values"]),
        ("a: [", ["not YAML"]),
        ("name: 2021-99-99", ["not YAML", "month"]),
    ],
)
def test_what_is_wrong_is_named_with_a_remedy(text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_job(text, origin="job.yaml")
    assert caught.value.exit_status == 2
    for word in ["job.yaml", *words]:
        assert word in str(caught.value)


def test_workers_are_a_number_or_a_range() -> None:
    for text, least, most, told in (
        ("2", 2, 2, "2"),
        ("{min: 1, max: 4}", 1, 4, "1 to 4"),
        ("{min: 3, max: 3}", 3, 3, "3"),
    ):
        job = parse_job(MINIMAL, origin="x", overrides=(f"workers.num_workers={text}",))
        workers = job.workers.num_workers
        assert (workers.min, workers.max, str(workers), workers.is_elastic) == (least, most, told, least < most)
        assert parse_job(dump_job(job), origin="again") == job
    assert "num_workers: 2\n" in dump_job(parse_job(MINIMAL, origin="x", overrides=("workers.num_workers=2",)))


def test_overrides_are_yaml_values_of_dotted_keys() -> None:
    job = parse_job(MINIMAL, origin="x", overrides=("train.epochs=3", "data.crop_px=[64, 96]", "name=other"))
    assert (job.train.epochs, job.data.crop_px, job.name) == (3, (64, 96), "other")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epoch=3", "did you mean train.epochs?"),
        ("train.epochs", "KEY=VALUE"),
        ("name=[", "not YAML"),
        ("name=2021-99-99", "not YAML"),
    ],
)
def test_overrides_that_cannot_be_meant(override: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        parse_job(MINIMAL, origin="x", overrides=(override,))


def test_a_missing_file_says_where_examples_lie(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="jobs/"):
        load_job(tmp_path / "none.yaml")


def test_a_spec_is_frozen() -> None:
    job = parse_job(MINIMAL, origin="x")
    with pytest.raises(ValidationError):
        job.name = "other"  # type: ignore[misc]


def test_explain_has_a_meaning_for_every_field() -> None:
    rows = explain("train")
    assert [key for key, default, _ in rows if default == "required"] == ["name", "data.uri"]
    assert all(meaning for _, _, meaning in rows)
    assert ("train.epochs", "10", "passes over the training split") in rows
    assert [default for key, default, _ in rows if key == "data.uri"] == ["required"]


def test_differing_keys_leave_sections_out() -> None:
    ours = parse_job(MINIMAL, origin="x")
    theirs = parse_job(MINIMAL, origin="x", overrides=("train.epochs=3", "workers.num_workers=2"))
    assert differing_keys(ours, theirs, ignore=("workers",)) == ["train.epochs"]
