"""A node that is about to go: the checkpoint in time, once per notice, and what becomes of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from drivers import ids_of
from roadbed.data.loader import Batch
from roadbed.errors import DamagedError, FencedError, StoreError
from roadbed.runs import Attempt, Run
from roadbed.storage import open_store
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.checkpoint import CheckpointWriter, _scratch, delete_checkpoint, newest_whole_checkpoint
from roadbed.training.group import Group
from roadbed.training.loop import Training
from roadbed.training.notices import Notices
from support import Clock, blocks_dataset, blocks_job

STEPS_PER_EPOCH = 4
AT_EVERY_STEP = "workers.notice_s=0.000001"


class Killed(BaseException):
    """As good as SIGKILL."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    blocks_dataset(f"file://{tmp_path}/blocks")
    return tmp_path


def job(root: Path, *more: str, name: str = "blocks") -> Any:
    overrides = (AT_EVERY_STEP, "output.checkpoint_steps=100", "model.backbone=timm:test_efficientnet", *more)
    return blocks_job(root, *overrides, name=name)


def run_of(made: Any) -> Run:
    return Run(open_store(made.output.store), made.name)


def from_step(step: int) -> Callable[[], str | None]:
    """What is told when it is asked after every step."""
    asked = [0]

    def ask() -> str | None:
        asked[0] += 1
        return "node 1f goes soon" if asked[0] >= step else None

    return ask


def test_a_notice_is_asked_for_now_and_then_and_told_until_it_is_heeded() -> None:
    clock, told = Clock(), ["a goes"]
    notices = Notices(lambda: told[0], interval_s=5.0, clock=clock)
    assert not notices.is_due()
    clock.sleep(5.0)
    assert notices.is_due()
    assert notices.ask() == "a goes"
    assert not notices.is_due()
    assert not notices.is_heeded("a goes")
    notices.heed("a goes")
    assert notices.ask() == "a goes"
    assert notices.is_heeded("a goes")
    told[0] = "a and b go"
    assert notices.ask() == "a and b go"
    assert not notices.is_heeded("a and b go")
    assert not Notices(None, interval_s=0.0, clock=clock).is_due()


def test_what_was_done_is_whole_in_the_store_before_training_goes_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, roadbed: Callable[..., tuple[int, str, str]]
) -> None:
    made, step = job(root), Training._step

    def step_unless_noticed(self: Training, *arguments: Any) -> None:
        if "notices" in self.journal.progress:
            raise Killed
        step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_step", step_unless_noticed)
        with pytest.raises(Killed):
            run_attempt(made, Group(), notice=from_step(3))
    latest = run_of(made).pointer().latest
    assert latest is not None
    assert latest.step == 3

    assert run_attempt(made, Group()) == Outcome("finished")
    claims = dict(run_of(made).attempts())
    assert (claims[2]["resumed_step"], claims[2]["lost_steps"]) == (3, 0)
    status = run_of(made).status()
    assert status is not None
    assert status.progress["notices"] == 1, "it is counted over all attempts"
    told = [line for line in run_of(made).lines("metrics") if "notice" in line]
    assert told == [{"step": 3, "epoch": 0, "notice": "node 1f goes soon"}]
    _, out, _ = roadbed("runs", "show", "blocks", "--store", f"file://{root}")
    assert "notice: step 3, node 1f goes soon" in out
    assert "attempt 2: from step 3, 1 worker on " in out


def test_a_notice_is_heeded_once_and_while_it_stands_there_are_more_checkpoints(root: Path) -> None:
    made = job(root)
    assert run_attempt(made, Group(), notice=from_step(2)) == Outcome("finished")
    steps = [ref.step for ref in run_of(made).pointer().checkpoints]
    assert steps == [8, 7], "though output.checkpoint_steps is 100"
    log = [line["text"] for line in run_of(made).lines("log")]
    assert len([text for text in log if "saved in time: step=2" in text]) == 1
    assert not [text for text in log if "saved in time: step=3" in text]


def test_killed_while_an_epoch_is_evaluated_it_goes_on_with_the_evaluation(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, made = job(root, name="unbroken"), job(root)
    assert run_attempt(unbroken, Group()) == Outcome("finished")
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_evaluate", lambda self: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            run_attempt(made, Group(), notice=from_step(STEPS_PER_EPOCH))
    latest = run_of(made).pointer().latest
    assert latest is not None
    assert latest.key.endswith("00000004-unscored")
    assert run_attempt(made, Group()) == Outcome("finished")
    assert ids_of(made) == ids_of(unbroken)
    left, right = newest_whole_checkpoint(run_of(made)), newest_whole_checkpoint(run_of(unbroken))
    assert left is not None
    assert right is not None
    assert left[1].state["scores"] == right[1].state["scores"]


def test_a_checkpoint_that_the_store_did_not_take_is_tried_again_while_the_notice_stands(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, write, failures = job(root), CheckpointWriter._write, [2]

    def failing_write(self: CheckpointWriter, *arguments: Any) -> None:
        if failures[0]:
            failures[0] -= 1
            raise StoreError("the store is away")
        write(self, *arguments)

    monkeypatch.setattr(CheckpointWriter, "_write", failing_write)
    assert run_attempt(made, Group(), notice=from_step(1)) == Outcome("finished")
    log = [line["text"] for line in run_of(made).lines("log")]
    assert [text.split()[3] for text in log if "saved in time" in text] == ["step=3"]
    assert len([text for text in log if text.startswith("notice:")]) == 1


def test_steps_that_an_attempt_takes_again_are_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch, roadbed: Callable[..., tuple[int, str, str]]
) -> None:
    made, step = job(root), Training._step

    def step_then_die(self: Training, *arguments: Any) -> None:
        step(self, *arguments)
        if self.position.step == 3:
            attempts[0].beat(3, {})
            raise Killed

    attempts: list[Attempt] = []
    claim = Run.claim
    with monkeypatch.context() as patch:
        patch.setattr(Run, "claim", lambda self, **details: attempts.append(claim(self, **details)) or attempts[-1])
        patch.setattr(Training, "_step", step_then_die)
        with pytest.raises(Killed):
            run_attempt(made, Group())
    assert run_attempt(made, Group()) == Outcome("finished")
    assert dict(run_of(made).attempts())[2]["lost_steps"] == 3
    status = run_of(made).status()
    assert status is not None
    assert status.progress["lost_steps"] == 3
    _, out, _ = roadbed("runs", "show", "blocks", "--store", f"file://{root}")
    assert "attempt 2: from the start" in out
    assert ", 3 steps of the attempt before were lost" in out


def test_without_a_folder_for_temporary_files_it_is_told_likewise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(StoreError, match=r"Not a directory.*set TMPDIR"), _scratch():
        pass


SMALL_DISK = """
import sys, torch
from pathlib import Path
from roadbed.errors import FencedError, StoreError
from roadbed.training.checkpoint import _save
try:
    _save({"weights": torch.zeros(1_000_000)}, Path(sys.argv[1]) / "model.safetensors")
except StoreError as error:
    print(error)
"""


def test_a_disk_without_room_is_told_with_what_to_do(tmp_path: Path) -> None:
    """A real one, of 1 MB, in a mount namespace of its own."""
    mounted = f"mount -t tmpfs -o size=1m none {tmp_path} && exec {sys.executable} -c '{SMALL_DISK}' {tmp_path}"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", mounted], capture_output=True, text=True, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no namespaces for users here: {done.stderr}")
    assert "No space left on device" in done.stdout, done.stderr
    assert "make room, or set TMPDIR" in done.stdout


def test_a_run_that_is_asked_to_stop_saves_what_it_did_and_ends(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, step = job(root), Training._step

    def step_then_asked(self: Training, *arguments: Any) -> None:
        step(self, *arguments)
        if self.position.step == 3:
            assert run_of(made).ask_to_stop(attempt=1)
            attempts[0].beat(3, {})

    attempts: list[Attempt] = []
    claim = Run.claim
    with monkeypatch.context() as patch:
        patch.setattr(Run, "claim", lambda self, **details: attempts.append(claim(self, **details)) or attempts[-1])
        patch.setattr(Training, "_step", step_then_asked)
        outcome = run_attempt(made, Group())
    assert (outcome.state, outcome.error) == ("stopped", "StoppedError")
    assert outcome.reason == "run blocks was stopped at step 3, which is saved; start it again to go on"
    status = run_of(made).status()
    assert status is not None
    assert (status.state, status.step) == ("stopped", 3)
    assert not run_of(made).ask_to_stop(attempt=1)
    assert run_attempt(made, Group()) == Outcome("finished")
    assert dict(run_of(made).attempts())[2]["resumed_step"] == 3


@pytest.mark.parametrize("is_notice", [False, True])
def test_what_is_withheld_is_not_called_saved(root: Path, monkeypatch: pytest.MonkeyPatch, is_notice: bool) -> None:
    """The weights are spoilt by step 20, and step 21 is the first whose loss tells."""
    made = job(root, "train.epochs=8", "train.learning_rate=1e-5")
    step = Training._step

    def spoiling_step(self: Training, *arguments: Any) -> None:
        step(self, *arguments)
        if self.position.step == 20:
            with torch.no_grad():
                [*self.learner.model.parameters()][-2].mul_(1e8)
        self._is_asked_to_stop = lambda: not is_notice and self.position.step == 22

    monkeypatch.setattr(Training, "_step", spoiling_step)
    outcome = run_attempt(made, Group(), notice=from_step(22) if is_notice else None)
    told = [line["text"] for line in run_of(made).lines("log")]
    assert any("checkpoint withheld: step=22" in text for text in told)
    assert not any("saved in time" in text for text in told)
    assert (outcome.state, "which is saved" in str(outcome.reason)) == ("failed" if is_notice else "stopped", False)
    latest = run_of(made).pointer().latest
    assert latest is not None
    assert latest.step <= 20


def test_an_end_for_other_reasons_lets_the_checkpoint_go_that_is_held(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, following = job(root), Training._next

    def next_that_fails(self: Training, batches: Iterator[Batch]) -> Batch:
        def damaged() -> Iterator[Batch]:
            raise DamagedError("a shard is damaged")
            yield

        return following(self, damaged() if self.position.epoch == 1 else batches)

    monkeypatch.setattr(Training, "_next", next_that_fails)
    outcome = run_attempt(made, Group())
    assert (outcome.error, outcome.reason) == ("DamagedError", "a shard is damaged")
    pointer = run_of(made).pointer()
    assert pointer.best is not None
    assert pointer.best.score is not None


def test_a_checkpoint_that_is_named_already_is_not_written_again(root: Path) -> None:
    made = job(root)
    assert run_attempt(made, Group()) == Outcome("finished")
    found = newest_whole_checkpoint(run_of(made))
    assert found is not None
    attempt = run_of(made).claim(details={})
    writer = CheckpointWriter(attempt, keep_last=2)
    for _ in range(2):
        writer.save(found[1], score=None)
        assert writer.wait()
    writer.close()
    keys = [info.key for info in run_of(made).store.list(f"{attempt.folder}/checkpoints/")]
    assert len(keys) == 5


def test_a_replaced_attempt_removes_no_old_checkpoint(root: Path) -> None:
    made = job(root)
    assert run_attempt(made, Group()) == Outcome("finished")
    run = run_of(made)
    stale = run.claim(details={})
    run.claim(details={})
    before = sorted(info.key for info in run.store.list())
    with pytest.raises(FencedError, match="was replaced by attempt 3"):
        delete_checkpoint(stale, run.pointer().checkpoints[1])
    assert sorted(info.key for info in run.store.list()) == before
