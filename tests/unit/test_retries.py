"""Failures are sorted by what ended the workers, and budgets say how often each is tried again."""

from __future__ import annotations

import pickle
import re

import pytest
import ray.exceptions
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from roadbed.errors import DataError, FencedError, UsageError
from roadbed.runtime.failures import ADVICE, Failure, sort_exception, sort_outcome
from roadbed.runtime.retries import LONGEST_PAUSE_S, Retries
from roadbed.spec import WorkersSpec
from roadbed.training.watchdog import Verdict
from support import blocks_job

RAYS_WORDS = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: RayTrainWorker\n\tactor_id: 01ab\n\tpid: 77"
    "\n\tnamespace: 05cd\n\tip: 10.0.0.7\nThe actor is dead because its worker process has died. Worker exit type: "
    "SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file. Some "
    "common causes include: (1) the process was killed by the OOM killer due to high memory usage, (2) ray stop "
    "--force was called, or (3) the worker crashed unexpectedly due to SIGSEGV or another unexpected error."
)
GLOO = RuntimeError("[/pytorch/third_party/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4711")


def died(words: str = RAYS_WORDS, *, preempted: bool = False) -> Exception:
    error = ray.exceptions.ActorDiedError()
    error.error_msg, error._preempted = words, preempted
    return WorkerHealthCheckFailedError("A worker health check failed.", failure=error)


def lost(**by_rank: Exception) -> WorkerGroupError:
    failures = {int(rank.removeprefix("w")): error for rank, error in by_rank.items()}
    error = WorkerGroupError("what workers said", failures)
    again: WorkerGroupError = pickle.loads(pickle.dumps(error))
    return again


@pytest.mark.parametrize(
    ("error", "cause", "said"),
    [
        (lost(w0=GLOO, w1=died()), "lost_worker", "worker 1 was lost \\(10.0.0.7, pid 77\\): Worker .* End of file.$"),
        (lost(w0=GLOO), "lost_worker", "a worker was lost; what another one was told: .*closed by peer"),
        (lost(w0=RuntimeError("connect [10.0.0.7]:1: Connection refused")), "lost_worker", "a worker was lost"),
        (lost(w1=RuntimeError("The client socket has timed out after 60000ms")), "lost_worker", "a worker was lost"),
        (lost(w0=GLOO, w1=MemoryError()), "memory", "worker 1 ended by MemoryError"),
        (lost(w0=RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")), "memory", "worker 0 ended by Runtime"),
        (lost(w0=RuntimeError("DefaultCPUAllocator: can't allocate memory")), "memory", "worker 0"),
        (lost(w1=ray.exceptions.OutOfMemoryError("Task was killed")), "memory", "worker 1"),
        (lost(w0=GLOO, w1=died("killed due to the node running low on memory")), "memory", "worker 1"),
        (lost(w0=died(preempted=True), w1=GLOO), "preemption", "worker 0 was lost"),
        (lost(w0=GLOO, w1=ValueError("no such thing")), "defect", "worker 1 ended by ValueError: no such thing"),
        (lost(w1=WorkerHealthCheckTimeoutError("hanging for 600 s")), "hang", "worker 1 does not answer Ray"),
        (lost(w0=UsageError("data.uri: wrong")), "usage", "data.uri: wrong"),
        (lost(w0=DataError("x.png: broken")), "data", "x.png: broken"),
        (ControllerError(RuntimeError("no placement")), "defect", "Ray ended by RuntimeError: no placement"),
        (
            ControllerError(
                ray.exceptions.RayTaskError("f", "No module named 'x'", ModuleNotFoundError("No module 'x'"))
            ),
            "defect",
            "Ray ended by ModuleNotFoundError: No module 'x'",
        ),
        (ControllerError(WorkerGroupStartupTimeoutError(2)), "lost_worker", "Ray ended by WorkerGroupStartupTimeout"),
        (ray.exceptions.NodeDiedError("the head is gone"), "lost_worker", "Ray ended by NodeDiedError"),
    ],
)
def test_what_ended_the_workers_is_sorted(error: Exception, cause: str, said: str) -> None:
    failure = sort_exception(error)
    assert (failure.cause, failure.origin) == (cause, error)
    assert re.search(said, failure.reason), failure.reason


def test_a_verdict_of_the_watchdog_outweighs_what_ray_saw_of_it() -> None:
    failure = sort_exception(lost(w0=died(), w1=GLOO), verdict=Verdict((1,), "worker 1 gives no sign"))
    assert (failure.cause, failure.reason) == ("hang", "worker 1 gives no sign")
    assert "closed by peer" in failure.text


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("UsageError", "usage"),
        ("TrainingError", "usage"),
        ("DataError", "data"),
        ("DamagedError", "data"),
        ("NotFoundError", "data"),
        ("DivergedError", "diverged"),
        ("StoreError", "store"),
        ("ConflictError", "store"),
        ("FencedError", "fenced"),
    ],
)
def test_errors_that_workers_agreed_on_are_sorted_by_their_class(error: str, cause: str) -> None:
    failure = sort_outcome({"state": "failed", "error": error, "reason": "why"})
    assert (failure.cause, failure.reason, failure.error.__name__, failure.advice) == (cause, "why", error, "")


def test_every_cause_but_those_that_say_it_themselves_has_advice() -> None:
    for cause in ADVICE:
        advice = Failure(cause, "why", "why").advice
        assert advice == ("" if cause == "usage" else ADVICE[cause])


def failure(cause: str = "lost_worker", text: str = "gone") -> Failure:
    return Failure(cause, text, text)  # type: ignore[arg-type]


def test_a_budget_is_used_up_and_the_pauses_double() -> None:
    retries = Retries(WorkersSpec(), step=0)
    decisions = [retries.decide(failure(), step=0) for _ in range(4)]
    assert [decision.pause_s for decision in decisions] == [10, 20, 40, None]
    assert decisions[0].verdict == "retry 1 of 3 for lost_worker in 10 s"
    assert decisions[3].verdict == "not retried: the budget for lost_worker is 3 without a newer checkpoint"
    assert retries.decide(failure("store"), step=0).pause_s == 80, "each cause has its own, the pauses are shared"


def test_a_newer_checkpoint_makes_all_budgets_full() -> None:
    retries = Retries(WorkersSpec(), step=0)
    for step in range(1, 50):
        assert retries.decide(failure("hang"), step=step).pause_s == 10
    assert retries.decide(failure("hang"), step=49).pause_s is None
    assert retries.decide(failure("hang"), step=None).pause_s is None, "what is not known is no progress"


def test_no_pause_is_longer_than_five_minutes() -> None:
    workers = WorkersSpec.parse({"retries": {"lost_worker": 30, "pause_s": 100}}, origin="test")
    retries = Retries(workers, step=0)
    assert [retries.decide(failure(), step=0).pause_s for _ in range(30)][1:3] == [200, LONGEST_PAUSE_S]


@pytest.mark.parametrize("cause", ["usage", "data", "diverged", "defect", "fenced"])
def test_what_would_come_again_is_not_retried(cause: str) -> None:
    decision = Retries(WorkersSpec(), step=0).decide(failure(cause), step=100)
    assert (decision.pause_s, decision.verdict) == (None, f"not retried: {cause} would come again")


@pytest.mark.parametrize(("text", "log"), [("Xid 79: GPU gone", []), ("gone", ["fine", "then Xid 79"])])
def test_a_pattern_in_text_or_log_forbids_a_retry(text: str, log: list[str]) -> None:
    workers = WorkersSpec.parse({"no_retry_pattern": r"Xid \d+"}, origin="test")
    decision = Retries(workers, step=0).decide(failure(text=text), step=0, log=log)
    assert decision.pause_s is None
    assert "no_retry_pattern was found in" in decision.verdict
    assert "Xid 79" in decision.verdict
    assert Retries(workers, step=0).decide(failure(), step=0, log=["fine"]).pause_s == 10


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("workers.no_retry_pattern='('", r"workers\.no_retry_pattern: expected a regular expression.*found '\('"),
        ("workers.stall_timeout_s=1", r"workers\.stall_timeout_s: expected 0, or 5 and more.*found 1"),
        ("workers.retries.hang=-1", r"workers\.retries\.hang"),
        ("workers.max_failures=3", r"unknown key workers\.max_failures"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_at_the_door(override: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        blocks_job("/tmp", override)


def test_an_outcome_that_was_fenced_keeps_its_class() -> None:
    assert sort_outcome({"state": "fenced", "error": "FencedError", "reason": "taken"}).error is FencedError
