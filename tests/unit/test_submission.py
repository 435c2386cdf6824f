"""Starts that a cluster repeats by itself: which failures end all of them, and how long they wait for one another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from roadbed.errors import (
    DataError,
    DivergedError,
    FencedError,
    NotFoundError,
    RoadbedError,
    StoppedError,
    StoreError,
    TrainingError,
    UsageError,
)
from roadbed.runs import HEARTBEAT_S, Run
from roadbed.runs.submission import read_verdict
from roadbed.runtime.failures import Failure
from roadbed.runtime.judgement import Start
from roadbed.runtime.session import grown
from roadbed.runtime.submission import is_final, submitted
from roadbed.spec import TrainJob
from roadbed.storage import open_store
from support import Clock, blocks_dataset, blocks_job


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def job(tmp_path: Path) -> TrainJob:
    return blocks_job(tmp_path)


@pytest.fixture
def run(job: TrainJob, clock: Clock) -> Run:
    return Run(open_store(job.output.store), job.name, clock=clock)


def fail_with(run: Run, error: RoadbedError, submission: str = "first") -> None:
    with pytest.raises(type(error)), submitted(run, submission):
        raise error


@pytest.mark.parametrize(
    "error", [UsageError("x"), DataError("x"), DivergedError("x"), FencedError("x"), NotFoundError("x")]
)
def test_what_would_come_again_ends_every_later_start_of_the_submission(run: Run, error: RoadbedError) -> None:
    fail_with(run, error)
    with (
        pytest.raises(RoadbedError, match=r"run blocks: this submission has failed for good.*: x\ncorrect it, then"),
        submitted(run, "first"),
    ):
        pytest.fail("it must not start")
    with submitted(run, "second"):
        pass
    with submitted(run, None):
        pass


@pytest.mark.parametrize("error", [StoreError("x"), StoppedError("x"), RoadbedError("x"), TrainingError("x")])
def test_what_may_pass_is_tried_again(run: Run, error: RoadbedError) -> None:
    fail_with(run, error)
    with submitted(run, "first"):
        pass


@pytest.mark.parametrize(
    ("cause", "is_for_good"),
    [("memory", True), ("defect", True), ("lost_worker", False), ("preemption", False), ("hang", False)],
)
def test_the_cause_that_the_run_was_told_says_whether_it_is_for_good(
    job: TrainJob, run: Run, cause: str, is_for_good: bool
) -> None:
    start = Start(job, run, start_id="ours")
    for _ in range(4):
        run.claim(details={"start_id": "ours"})
        start.judge(Failure(cause, "why", "why"))  # type: ignore[arg-type]
    assert is_final(TrainingError("why"), run) is is_for_good


def test_a_failure_that_is_about_to_be_retried_is_not_for_good(job: TrainJob, run: Run) -> None:
    run.claim(details={"start_id": "ours"})
    Start(job, run, start_id="ours").judge(Failure("memory", "why", "why"))
    assert not is_final(TrainingError("why"), run)


def test_a_pattern_that_forbids_retries_forbids_the_clusters_too(tmp_path: Path) -> None:
    job = blocks_job(tmp_path, "workers.no_retry_pattern='Xid 79'")
    run = Run(open_store(job.output.store), job.name)
    run.claim(details={"start_id": "ours"})
    Start(job, run, start_id="ours").judge(Failure("lost_worker", "Xid 79", "Xid 79"))
    assert is_final(TrainingError("Xid 79"), run)


def test_what_fails_after_all_was_done_would_fail_again(run: Run) -> None:
    run.claim(details={}).finish("finished", step=1, progress={})
    assert is_final(RoadbedError("all 8 trials failed"), run)


def test_a_store_that_does_not_answer_says_nothing_final(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise StoreError("away")

    monkeypatch.setattr(run, "status", away)
    assert not is_final(TrainingError("x"), run)
    monkeypatch.setattr(run.store, "put", away)
    fail_with(run, UsageError("x"))
    assert read_verdict(run, "first") is None


def test_a_submission_on_the_command_line_does_not_start_again(
    job: TrainJob, tmp_path: Path, roadbed: Callable[..., tuple[int, str, str]]
) -> None:
    spec = tmp_path / "job.yaml"
    blocks_dataset(job.data.uri)
    text = f"kind: train\nname: blocks\ndata: {{uri: '{job.data.uri}', train_split: none}}\n"
    spec.write_text(text + f"output: {{store: '{job.output.store}'}}\nworkers: {{num_workers: 1}}\n")
    words = ("train", spec, "--submission", "first", "--wait-s", "5")
    status, _, err = roadbed(*words)
    assert (status, "failed for good" in err) == (2, False)
    status, _, err = roadbed(*words)
    assert (status, "failed for good and is not tried again" in err) == (1, True)
    assert roadbed("train", spec, "--submission", "second")[0] == 2


def test_a_start_waits_for_another_as_long_as_it_may(run: Run, clock: Clock) -> None:
    attempt = run.claim(details={})

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now < 1_100:
            attempt.beat(12, {})

    run.wait_until_free(wait_s=400, sleep=sleep)
    assert 1_100 < clock.now < 1_100 + 8 * HEARTBEAT_S, "once it is silent, it is taken long before it counts as lost"


def test_a_start_gives_up_on_one_that_lives_on(run: Run, clock: Clock) -> None:
    attempt = run.claim(details={})

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        attempt.beat(12, {})

    with pytest.raises(RoadbedError, match="is being trained"):
        run.wait_until_free(wait_s=60, sleep=sleep)
    assert clock.now >= 1_060


def test_a_driver_that_was_lost_before_its_retry_is_waited_for(job: TrainJob, run: Run, clock: Clock) -> None:
    run.claim(details={"start_id": "ours"})
    Start(job, run, start_id="ours").judge(Failure("lost_worker", "why", "why"))
    run.wait_until_free(wait_s=400, sleep=clock.sleep)
    assert 1_070 < clock.now < 1_080


def test_a_cluster_that_grows_holds_what_it_may_grow_to() -> None:
    told = {"ROADBED_CLUSTER_CPUS": "8", "ROADBED_CLUSTER_GPUS": "2"}
    assert grown({"CPU": 2.0, "memory": 1.0}, told) == {"CPU": 8.0, "GPU": 2.0, "memory": 1.0}
    assert grown({"CPU": 16.0}, {"ROADBED_CLUSTER_CPUS": "8"}) == {"CPU": 16.0}
    assert grown({"CPU": 2.0}, {}) == {"CPU": 2.0}
