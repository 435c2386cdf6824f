"""What breaks under a real Ray is named, and tried again where it may pass: frozen and killed workers, a loss that
explodes, a pattern that forbids retries.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

import pytest
import torch

from roadbed.errors import DivergedError, TrainingError
from roadbed.runs import Run, RunStatus
from roadbed.runtime.train import begin_run, train
from roadbed.runtime.trainer import HEALTH_CHECK_TIMEOUT
from roadbed.spec import TrainJob
from roadbed.storage import get_json, open_store
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.checkpoint import read_checkpoint
from roadbed.training.group import Group
from support import SMALL_MODEL, blocks_dataset, blocks_job

pytestmark = [pytest.mark.s3, pytest.mark.ray]

ROOT_URI = "s3://roadbed/failures"
STEPS_PER_EPOCH = 20


@pytest.fixture(scope="module", autouse=True)
def dataset(s3_server: object, ray_head: object) -> None:
    blocks_dataset(f"{ROOT_URI}/blocks", train=4 * STEPS_PER_EPOCH, val=3)


def job(name: str, *overrides: str) -> TrainJob:
    common = (SMALL_MODEL, "train.epochs=3", "workers.retries.pause_s=0", "workers.stall_timeout_s=6")
    return blocks_job(ROOT_URI, *common, *overrides, name=name)


def run_of(made: TrainJob) -> Run:
    run = Run(open_store(made.output.store), made.name)
    begin_run(made, run)
    return run


def signal_worker(run: Run, *, attempt: int, rank: int, number: signal.Signals) -> None:
    """Send a signal to a worker of an attempt, whose claim says where it runs."""
    place = dict(run.attempts())[attempt]["workers"][rank]
    os.kill(int(place.rpartition("pid ")[2]), number)


def at_step(step: int, *, attempt: int, do: Callable[[], None]) -> Callable[[RunStatus], None]:
    """What to follow a run with, so that `do` is called once when an attempt has come to a step, or began beyond it."""
    done: list[bool] = []

    def follow(status: RunStatus) -> None:
        if not done and (status.attempt, status.state) == (attempt, "running") and status.step >= step:
            done.append(True)
            do()

    return follow


def test_a_frozen_worker_is_named_and_a_killed_one_too_and_the_run_goes_on_to_its_end() -> None:
    torch.set_num_threads(1)
    whole = job("whole")
    assert run_attempt(whole, Group()) == Outcome("finished")
    broken = job("broken", "workers.num_workers=2")
    run, told = run_of(broken), []
    freeze = at_step(1, attempt=1, do=lambda: signal_worker(run, attempt=1, rank=0, number=signal.SIGSTOP))
    kill = at_step(1, attempt=2, do=lambda: signal_worker(run, attempt=2, rank=1, number=signal.SIGKILL))

    def follow(status: RunStatus) -> None:
        freeze(status)
        kill(status)

    train(broken, run, notify=told.append, follow=follow)
    status = run.status()
    assert status is not None
    assert (status.state, status.attempt) == ("finished", 3)
    assert [line["keys"] for line in run.lines("samples")] == [line["keys"] for line in run_of(whole).lines("samples")]
    assert re.search(r"hang: worker 0 of 2 \(.*, pid \d+\) gives no sign: a frozen .*retry 1 of 1 for hang", told[0])
    assert re.search(r"lost_worker: .*retry 1 of 3 for lost_worker", told[1])
    ends = [run.end_of(attempt) for attempt in (1, 2, 3)]
    assert [end and end["cause"] for end in ends] == ["hang", "lost_worker", None]
    report = get_json(run.store, "attempts/0001/stalls/0001.json")
    assert (report["rank"], report["is_stalled"]) == (1, True)
    assert any("ended: hang: worker 0" in line["text"] for line in run.lines("log"))


def test_a_loss_that_explodes_ends_the_run_at_once_and_leaves_the_last_good_checkpoint() -> None:
    exploding = job("exploding", "train.optimizer=sgd", "train.learning_rate=3000", "train.warmup_share=0.9")
    run, told = run_of(exploding), []
    with pytest.raises(DivergedError, match=r"the loss of step \d+ is .* at learning rate .*\(samples train_") as ended:
        train(exploding, run, notify=told.append)
    status = run.status()
    assert status is not None
    assert (status.state, status.reason, status.attempt) == ("failed", str(ended.value), 1)
    reason = str(ended.value).removeprefix("run exploding: ")
    assert told == [f"run exploding: diverged: {reason}; not retried: diverged would come again"]
    latest = run.pointer().latest
    assert latest is not None
    assert latest.step < int(re.findall(r"of step (\d+)", str(ended.value))[0])
    for tensors in read_checkpoint(run, latest).files.values():
        assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


@pytest.mark.soak
def test_a_lone_worker_that_is_frozen_is_noticed_by_ray_and_a_pattern_forbids_its_retry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(HEALTH_CHECK_TIMEOUT, "8")
    lone = job("lone", "workers.no_retry_pattern='does not answer'")
    run, told = run_of(lone), []
    freeze = at_step(1, attempt=1, do=lambda: signal_worker(run, attempt=1, rank=0, number=signal.SIGSTOP))
    with pytest.raises(TrainingError, match=r"worker 0 does not answer Ray .*no_retry_pattern was found"):
        train(lone, run, notify=told.append, follow=freeze)
    status = run.status()
    assert status is not None
    assert (status.state, status.attempt) == ("failed", 1)
    assert told[0].startswith("run lone: hang: worker 0 does not answer Ray")
