"""What a start makes of its failures, and what the run in the store says of them meanwhile and afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from roadbed.errors import ConflictError, FencedError, RoadbedError, StoreError, UsageError
from roadbed.runs import Attempt, CheckpointRef, Pointer, Run, RunStatus
from roadbed.runtime.failures import PASSING, Failure
from roadbed.runtime.judgement import Start, last_words
from roadbed.runtime.train import begin_run
from roadbed.spec import TrainJob
from roadbed.storage import open_store
from roadbed.storage.s3_errors import ConcurrentWriteError
from roadbed.training.attempt import run_attempt
from roadbed.training.group import Group
from roadbed.training.loop import Training
from support import Clock, blocks_dataset, blocks_job

LOST = Failure("lost_worker", "worker 1 was lost", "worker 1 was lost")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def job(tmp_path: Path) -> TrainJob:
    return blocks_job(tmp_path)


@pytest.fixture
def run(job: TrainJob, clock: Clock) -> Run:
    return Run(open_store(job.output.store), job.name, clock=clock)


def claim(run: Run, start_id: str = "ours") -> Attempt:
    return run.claim(details={"start_id": start_id, "num_workers": 2, "host": "here"})


def status_of(run: Run) -> RunStatus:
    status = run.status()
    assert status is not None
    return status


def test_while_a_retry_is_coming_the_run_says_so_and_not_that_it_failed(job: TrainJob, run: Run, clock: Clock) -> None:
    start = Start(job, run, start_id="ours")
    claim(run)
    assert start.judge(LOST).pause_s == 10
    status = status_of(run)
    assert (status.state, status.reason) == (
        "retrying",
        "worker 1 was lost; retry 1 of 3 for lost_worker in 10 s",
    )
    clock.now += 69
    assert status_of(run).state == "retrying"
    clock.now += 2
    assert status_of(run).state == "lost", "its driver must be gone: the retry was due a minute ago"
    claim(run)
    assert status_of(run).state == "running"


def test_when_the_budget_is_used_up_the_run_has_failed(job: TrainJob, run: Run) -> None:
    start = Start(job, run, start_id="ours")
    for attempt in range(1, 5):
        claim(run)
        decision = start.judge(LOST)
        end = run.end_of(attempt)
        assert end is not None
        assert (end["cause"], end["reason"], end["verdict"]) == ("lost_worker", LOST.reason, decision.verdict)
    assert decision.pause_s is None
    assert (status_of(run).state, status_of(run).reason) == ("failed", f"{LOST.reason}; {LOST.advice}")
    assert [line["text"] for line in run.lines("log")][-1] == f"ended: lost_worker: {LOST.reason}; {decision.verdict}"


def test_a_newer_checkpoint_between_failures_makes_the_budget_full(job: TrainJob, run: Run) -> None:
    start = Start(job, run, start_id="ours")
    for step in range(1, 10):
        attempt = claim(run)
        attempt.move_pointer(Pointer(checkpoints=(CheckpointRef(f"{attempt.folder}/checkpoints/x", 1, step),)))
        assert start.judge(LOST).verdict == "retry 1 of 3 for lost_worker in 10 s"


def test_a_try_that_never_came_to_an_attempt_does_not_speak_for_the_one_before(job: TrainJob, run: Run) -> None:
    start = Start(job, run, start_id="ours")
    claim(run)
    run.store.put("attempts/0001/stalls/verdict.json", b'{"ranks": [1], "text": "worker 1 hangs"}')
    assert start.verdict() is not None
    start.judge(Failure("hang", "worker 1 hangs", ""))
    assert start.verdict() is None
    start.judge(LOST)
    end = run.end_of(1)
    assert end is not None
    assert end["cause"] == "hang"
    assert status_of(run).state == "retrying"


def test_the_log_of_the_attempt_that_failed_is_what_a_pattern_is_looked_for_in(tmp_path: Path, clock: Clock) -> None:
    job = blocks_job(tmp_path, "workers.no_retry_pattern='Xid 79'")
    run = Run(open_store(job.output.store), job.name, clock=clock)
    start = Start(job, run, start_id="ours")
    attempt = claim(run)
    attempt.append("log", {"at": 1, "level": "ERROR", "text": "Xid 79: fallen off the bus"})
    attempt.flush()
    decision = start.judge(LOST)
    assert decision.pause_s is None
    assert "Xid 79: fallen" in decision.verdict


def test_a_pattern_is_looked_for_in_what_the_user_is_told(tmp_path: Path) -> None:
    job = blocks_job(tmp_path, "workers.no_retry_pattern='does not answer'")
    start = Start(job, Run(open_store(job.output.store), job.name), start_id="ours")
    decision = start.judge(Failure("hang", "worker 0 does not answer Ray any more", "a health check has been hanging"))
    assert decision.pause_s is None
    assert "'worker 0 does not answer Ray any more'" in decision.verdict


def test_attempts_of_others_are_left_alone(job: TrainJob, run: Run) -> None:
    start = Start(job, run, start_id="ours")
    claim(run)
    claim(run, "theirs")
    assert start.judge(Failure("fenced", "taken", "taken", FencedError)).pause_s is None
    start.judge(LOST)
    start.stop(may_save=False)
    assert (status_of(run).state, run.end_of(1), run.end_of(2)) == ("running", None, None)


def test_a_start_that_is_stopped_between_two_tries_says_so(job: TrainJob, run: Run) -> None:
    start = Start(job, run, start_id="ours")
    claim(run)
    start.judge(LOST)
    start.stop(may_save=False)
    assert (status_of(run).state, status_of(run).reason) == ("stopped", "stopped by its user")


def test_a_stop_reaches_the_group_that_ray_is_just_putting_in_the_place_of_another(
    job: TrainJob, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Start(job, run, start_id="ours")
    claim(run)
    asked = []
    ask_to_stop = Run.ask_to_stop

    def replaced_when_asked(self: Run, *, attempt: int) -> bool:
        asked.append(attempt)
        is_asked = ask_to_stop(self, attempt=attempt)
        if attempt == 1:
            claim(run)
        else:
            run.fail("saved", attempt=attempt, state="stopped")
        return is_asked

    monkeypatch.setattr(Run, "ask_to_stop", replaced_when_asked)
    start.stop(may_save=True)
    assert asked == [1, 2]
    assert (status_of(run).attempt, status_of(run).state) == (2, "stopped")


def test_without_a_store_a_failure_is_judged_by_what_is_known(
    job: TrainJob, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Start(job, run, start_id="ours")
    claim(run)

    def away(*_: object) -> None:
        raise StoreError("away")

    for name in ("attempts", "pointer", "log_of"):
        monkeypatch.setattr(run, name, away)
    failure = Failure("store", "the store is away", "", StoreError)
    decisions = [start.judge(failure) for _ in range(4)]
    assert [decision.pause_s for decision in decisions] == [10, 20, 40, None]
    assert start.verdict() is None
    start.stop(may_save=False)
    assert last_words(job, failure, decisions[-1]) == (
        "the store is away (not retried: the budget for store is 3 without a newer checkpoint)"
    )


def test_the_last_words_name_cause_verdict_advice_and_where_the_log_is(job: TrainJob, run: Run) -> None:
    decision = Start(job, run, start_id="ours").judge(Failure("defect", "worker 0 ended by ValueError: x", ""))
    words = last_words(job, Failure("defect", "worker 0 ended by ValueError: x", ""), decision)
    assert words == (
        "run blocks: worker 0 ended by ValueError: x (not retried: defect would come again); the program broke: its "
        "log has the traceback; report it if it is not your own code. Its log: `roadbed runs logs blocks`"
    )


def test_who_starts_a_run_that_is_about_to_be_retried_is_told(job: TrainJob, run: Run, clock: Clock) -> None:
    claim(run)
    Start(job, run, start_id="ours").judge(LOST)
    with pytest.raises(RoadbedError, match=r"is about to try again \(worker 1 was lost; retry 1 of 3.*--takeover"):
        run.wait_until_free(sleep=clock.sleep)
    clock.now += 100
    run.wait_until_free(sleep=clock.sleep)


def test_an_error_that_may_pass_leaves_the_status_to_whoever_tries_again(
    job: TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks_dataset(job.data.uri)

    def away(self: Training) -> None:
        raise StoreError("away")

    monkeypatch.setattr(Training, "run", away)
    for passing, state in (((), "failed"), (PASSING, "running")):
        outcome = run_attempt(job, Group(), start_id="ours", passing=passing)
        assert (outcome.state, outcome.error, outcome.reason) == ("failed", "StoreError", "away")
        assert status_of(Run(open_store(job.output.store), job.name)).state == state


def test_a_run_goes_on_with_what_its_failures_advise_to_change(job: TrainJob, run: Run) -> None:
    begin_run(job, run)
    attempt = claim(run)
    attempt.move_pointer(Pointer(checkpoints=(CheckpointRef("attempts/0001/checkpoints/x", 1, 4),)))
    train = job.train.model_copy(update={"explode_factor": 0.0})
    data = job.data.model_copy(update={"memory_mb": 64, "cache_mb": 0, "prefetch_batches": 1, "on_damaged": "skip"})
    begin_run(job.model_copy(update={"train": train, "data": data}), run)
    with pytest.raises(UsageError, match=r"was begun with another data\.window_shards"):
        begin_run(job.model_copy(update={"data": data.model_copy(update={"window_shards": 1})}), run)


def test_the_end_of_each_attempt_is_shown(
    job: TrainJob, run: Run, roadbed: Callable[..., tuple[int, str, str]]
) -> None:
    claim(run)
    Start(job, run, start_id="ours").judge(LOST)
    claim(run)
    status, out, _ = roadbed("runs", "show", job.name, "--store", job.output.store)
    assert status == 0
    lines = out.splitlines()
    assert lines[2:5] == [
        "attempt 1: from the start, 2 workers on here",
        "  ended: lost_worker: worker 1 was lost; retry 1 of 3 for lost_worker in 10 s",
        "attempt 2: from the start, 2 workers on here",
    ]


def test_an_error_that_only_a_store_knows_is_told_by_the_nearest_class_that_all_know() -> None:
    with pytest.raises(ConflictError, match="busy") as told:
        Group().raise_together(ConcurrentWriteError("busy"))
    assert type(told.value) is ConflictError
