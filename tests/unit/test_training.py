"""The training loop without Ray: one worker, a folder as the store."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from roadbed.data.dataset import Dataset
from roadbed.data.prepare import PrepareOptions, prepare
from roadbed.errors import StoreError, UsageError
from roadbed.registry import Registry
from roadbed.runs import Attempt, Run
from roadbed.runtime.train import begin_run
from roadbed.spec import TrainJob, parse_job
from roadbed.storage import open_store
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.checkpoint import newest_whole_checkpoint, read_checkpoint
from roadbed.training.group import Group
from roadbed.training.loop import Training
from roadbed.training.precision import choose_precision
from roadbed.training.publish import WEIGHTS, publish_best
from sinks import Counted
from support import SMALL_MODEL, BlocksSource, blocks_dataset, blocks_job


class Killed(BaseException):
    """Stands for a process that is gone: nothing may catch it and tidy up."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    torch.set_num_threads(1)
    blocks_dataset(f"file://{tmp_path}/blocks")
    return tmp_path


def run_of(job: TrainJob) -> Run:
    return Run(open_store(job.output.store), job.name)


def sample_keys(job: TrainJob) -> list[list[str]]:
    return [line["keys"] for line in run_of(job).lines("samples")]


def run_killed_at(job: TrainJob, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a job that dies right before it takes the gradients of step `step` + 1."""
    whole_step = Training._step

    def dying_step(self: Training, *arguments: Any) -> None:
        if self.position.step == step:
            raise Killed
        whole_step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_step", dying_step)
        with pytest.raises(Killed):
            run_attempt(job, Group())


def test_it_learns_and_leaves_a_whole_run(root: Path) -> None:
    job = blocks_job(root, "train.epochs=10", "model.batch_norm=live", "train.micro_batch=4")
    assert run_attempt(job, Group()) == Outcome("finished")
    run = run_of(job)
    status = run.status()
    assert status is not None
    assert (status.state, status.step) == ("finished", 40)
    losses = [line["loss"] for line in run.lines("metrics") if "loss" in line]
    assert len(losses) == 40
    assert losses[-1] < 0.8 * losses[0]
    evaluations = [line for line in run.lines("metrics") if "miou" in line]
    assert [line["epoch"] for line in evaluations] == list(range(1, 11))
    assert evaluations[-1]["miou"] > 0.5
    assert run.lines("log")
    pointer = run.pointer()
    assert [ref.step for ref in pointer.checkpoints] == [40, 38]
    assert pointer.best is not None
    assert pointer.best.score == max(line["miou"] for line in evaluations)


def test_it_is_published_once_beside_versions_of_which_less_is_known(root: Path) -> None:
    job = blocks_job(root, SMALL_MODEL)
    run_attempt(job, Group())
    run, registry = run_of(job), Registry(open_store(job.output.store))
    dataset = Dataset.open(f"{root}/blocks")
    registry.publish("blocks", {"notes.txt": b"by hand"}, {})
    version, is_new = publish_best(job, run, dataset, registry, name="blocks")
    assert (version.number, is_new) == (2, True)
    registry.publish("blocks", {WEIGHTS: version.get(WEIGHTS)}, {})
    version, is_new = publish_best(job, run, dataset, registry, name="blocks")
    assert (version.number, is_new) == (2, False)


@pytest.mark.parametrize("step", [1, 3, 4, 5])
def test_killed_at_any_step_it_goes_on_to_the_very_same_weights(
    root: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    unbroken, broken = blocks_job(root, name="unbroken"), blocks_job(root, name="broken")
    run_attempt(unbroken, Group())
    run_killed_at(broken, step, monkeypatch)
    assert run_attempt(broken, Group()) == Outcome("finished")
    assert sample_keys(broken) == sample_keys(unbroken)
    ours, theirs = (newest_whole_checkpoint(run_of(job)) for job in (broken, unbroken))
    assert ours is not None
    assert theirs is not None
    for name, tensors in theirs[1].files.items():
        for key, tensor in tensors.items():
            assert torch.equal(tensor, ours[1].files[name][key]), f"{name} {key}"


def test_every_epoch_holds_every_sample_once(root: Path) -> None:
    job = blocks_job(root)
    run_attempt(job, Group())
    keys = sample_keys(job)
    for epoch in (keys[:4], keys[4:]):
        assert sorted(key for batch in epoch for key in batch) == [f"train_{number:03d}" for number in range(13)]
    assert keys[:4] != keys[4:]


def test_accumulation_changes_nothing_with_frozen_statistics(root: Path) -> None:
    jobs = [blocks_job(root, f"train.micro_batch={size}", name=f"micro-{size}") for size in (1, 4)]
    losses = []
    for job in jobs:
        run_attempt(job, Group())
        losses.append([line["loss"] for line in run_of(job).lines("metrics") if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_all_losses_and_views_resume_as_they_were(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (
        "loss.dice=0.5",
        "loss.lovasz=1",
        "loss.hardest_share=0.5",
        "loss.label_smoothing=0.1",
        "train.schedule=cosine",
        "train.first_layer_rate_factor=0.1",
        "train.eval_flip=true",
        "train.eval_scales=[0.75, 1.0]",
        "model.auxiliary_head=true",
    )
    whole, broken = (blocks_job(root, *settings, name=name) for name in ("whole", "broken"))
    assert run_attempt(whole, Group()) == Outcome("finished")
    run_killed_at(broken, 5, monkeypatch)
    assert run_attempt(broken, Group()) == Outcome("finished")
    weights = [
        read_checkpoint(run_of(job), run_of(job).pointer().checkpoints[0]).files["model.safetensors"]
        for job in (whole, broken)
    ]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=0, atol=0, msg=name)
    scores = [[line["miou"] for line in run_of(job).lines("metrics") if "miou" in line] for job in (whole, broken)]
    assert scores[0] == scores[1]


def test_a_finished_run_has_nothing_to_do(root: Path) -> None:
    job = blocks_job(root)
    run_attempt(job, Group())
    before = run_of(job).pointer().checkpoints
    assert run_attempt(job, Group()) == Outcome("finished")
    assert run_of(job).pointer().checkpoints == before


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_checkpoint(root: Path) -> None:
    job = blocks_job(root, "train.optimizer=sgd", "train.learning_rate=1e30", "train.warmup_share=0.9")
    outcome = run_attempt(job, Group())
    assert (outcome.state, outcome.error) == ("failed", "DivergedError")
    assert outcome.reason is not None
    for word in ("run blocks", "step", "learning rate", "train.clip_norm"):
        assert word in outcome.reason
    named = re.search(r"\(samples (.*?);", outcome.reason)
    assert named is not None
    split = Dataset.open(job.data.uri).split("train")
    known = {split.key(sample) for sample in range(split.num_samples)}
    assert len(known.intersection(named[1].split(", "))) == job.train.global_batch
    status = run_of(job).status()
    assert status is not None
    assert (status.state, status.reason) == ("failed", outcome.reason)


def test_a_damaged_shard_is_named_and_nothing_is_retried(root: Path) -> None:
    shard = next((root / "blocks").glob("*/train-*2.tar"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    outcome = run_attempt(blocks_job(root), Group())
    assert (outcome.state, outcome.error) == ("failed", "DamagedError")
    assert outcome.reason is not None
    assert shard.name in outcome.reason
    assert "sample train_010 is not what the index says" in outcome.reason


def flip_byte(root: Path, split_name: str, sample: int) -> str:
    """Damage a sample in its shard. Its key."""
    split = Dataset.open(f"file://{root}/blocks").split(split_name)
    path = root / "blocks" / split.shards[split.index.shard_of(sample)].key
    data = bytearray(path.read_bytes())
    data[split.range_of(sample)[0] + 40] ^= 1
    path.write_bytes(data)
    return split.key(sample)


def test_skipped_samples_are_named_and_are_not_counted_as_trained(root: Path) -> None:
    flip_byte(root, "train", 5)
    lost = [flip_byte(root, "val", sample) for sample in range(2, 4)]
    job, sums = blocks_job(root, "data.on_damaged=skip", "train.eval_batch=2"), Counted()
    assert run_attempt(job, Group(), sink=sums) == Outcome("finished")
    assert sums.values["roadbed_train_images"] == 2 * (13 - 1)
    assert sums.values["roadbed_data_skipped_samples"] == 2
    log = [line["text"] for line in run_of(job).lines("log")]
    told = f"evaluated without damaged samples: split=val number=2 keys={','.join(lost)}"
    assert [line for line in log if "evaluated without" in line] == [told] * 2


def test_no_more_than_twenty_skipped_samples_of_an_evaluation_are_named(root: Path) -> None:
    prepare(BlocksSource(val=24), open_store(f"file://{root}/blocks"), replace=True)
    lost = [flip_byte(root, "val", sample) for sample in range(22)]
    job = blocks_job(root, "data.on_damaged=skip", "train.epochs=1")
    assert run_attempt(job, Group()) == Outcome("finished")
    log = [line["text"] for line in run_of(job).lines("log")]
    assert any(line.endswith(f"number=22 keys={','.join(lost[:20])},...") for line in log)


def test_skipped_samples_are_counted_over_all_attempts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flip_byte(root, "train", 5)
    job = blocks_job(root, "data.on_damaged=skip")
    run_killed_at(job, 5, monkeypatch)
    assert run_attempt(job, Group()) == Outcome("finished")
    status = run_of(job).status()
    assert status is not None
    assert status.progress["skipped_samples"] == 2, "one in each of two epochs"


def test_train_and_evaluation_share_one_memory(root: Path) -> None:
    job = blocks_job(root, "data.memory_mb=16")
    training = Training(job, Dataset.open(job.data.uri), Group())
    memory = training.train_loader.reader.memory
    assert memory is training.eval_loader.reader.memory
    assert memory.max_bytes == 16_000_000


@pytest.mark.parametrize("num_images", [0, 2])
def test_a_precision_is_chosen_by_frames_though_the_first_share_has_none(
    monkeypatch: pytest.MonkeyPatch, num_images: int
) -> None:
    timed: list[int] = []

    class Model(torch.nn.Conv2d):
        def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
            timed.append(len(images_B3HW))
            return super().forward(images_B3HW.float())

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    images_B3HW = torch.zeros((num_images, 3, 32, 32), dtype=torch.uint8)
    chosen, seconds = choose_precision("auto", Model(3, 2, 3), images_B3HW)  # type: ignore[arg-type]
    assert chosen == min(seconds, key=lambda name: seconds[name])
    assert set(timed) == {max(num_images, 1)}


def test_a_changed_dataset_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = blocks_job(root)
    run_killed_at(job, 4, monkeypatch)
    prepare(BlocksSource(train=9), open_store(job.data.uri), options=PrepareOptions(samples_per_shard=4), replace=True)
    outcome = run_attempt(job, Group())
    assert outcome.state == "failed"
    assert "has changed since the run began" in str(outcome.reason)


def test_a_torn_or_damaged_checkpoint_is_passed_over(root: Path) -> None:
    job = blocks_job(root)
    run_attempt(job, Group())
    run = run_of(job)
    newest, older = run.pointer().checkpoints
    weights = root / "runs" / "blocks" / newest.key / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    found = newest_whole_checkpoint(run)
    assert found is not None
    assert found[0] == older
    (root / "runs" / "blocks" / older.key / "manifest.json").unlink()
    with pytest.raises(Exception, match="none of its 2 checkpoints is whole"):
        newest_whole_checkpoint(run)


def test_a_replaced_attempt_ends_and_writes_nothing_more(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer attempt takes the run between two checkpoints of the older one."""
    job = blocks_job(root, "train.epochs=3")
    whole_step = Training._step
    newer: list[Attempt] = []

    def step_then_replaced(self: Training, *arguments: Any) -> None:
        whole_step(self, *arguments)
        if self.position.step == 5 and not newer:
            assert self.saving.writer is not None
            self.saving.writer.wait()  # what is on its way is no test of what comes after
            newer.append(run_of(job).claim(details={"num_workers": 1}))
            before.extend(sorted(path for path in (root / "runs").rglob("*") if path.is_file()))

    before: list[Path] = []
    monkeypatch.setattr(Training, "_step", step_then_replaced)
    outcome = run_attempt(job, Group())
    assert outcome.state == "fenced"
    assert sorted(path for path in (root / "runs").rglob("*") if path.is_file()) == before
    status = run_of(job).status()
    assert status is not None
    assert (status.attempt, status.state) == (newer[0].number, "running")


def test_a_group_that_is_started_again_after_the_run_was_taken_ends(root: Path) -> None:
    job = blocks_job(root)
    run = run_of(job)
    run.claim(details={"start_id": "ours", "num_workers": 1})
    newer = run.claim(details={"start_id": "theirs", "num_workers": 1})
    assert run_attempt(job, Group(), start_id="ours").state == "fenced"
    assert [number for number, _ in run.attempts()] == [1, 2]
    newer.beat(1, {})


def test_replaced_between_its_last_checkpoint_and_its_end_it_is_fenced(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = blocks_job(root)
    finish = Attempt.finish

    def replaced_then_finish(self: Attempt, *arguments: Any, **settings: Any) -> None:
        run_of(job).claim(details={"start_id": "theirs"})
        finish(self, *arguments, **settings)

    monkeypatch.setattr(Attempt, "finish", replaced_then_finish)
    assert run_attempt(job, Group()).state == "fenced"


def test_a_run_that_was_killed_after_its_last_checkpoint_still_tells_its_scores(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = blocks_job(root)
    with monkeypatch.context() as patch:
        patch.setattr(Attempt, "finish", lambda *_, **__: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            run_attempt(job, Group())
    assert run_attempt(job, Group()) == Outcome("finished")
    status = run_of(job).status()
    assert status is not None
    assert status.progress["miou"] == pytest.approx(run_of(job).pointer().checkpoints[0].score)


def test_a_store_that_fails_for_a_while_does_not_end_the_training(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = blocks_job(root)
    upload = Attempt.upload
    failures = [2]

    def failing_upload(self: Attempt, *arguments: Any, **settings: Any) -> None:
        if failures[0]:
            failures[0] -= 1
            raise StoreError("the store is away")
        upload(self, *arguments, **settings)

    monkeypatch.setattr(Attempt, "upload", failing_upload)
    assert run_attempt(job, Group()) == Outcome("finished")
    run = run_of(job)
    assert failures == [0]
    assert run.pointer().checkpoints[0].step == 8
    assert any("checkpoint not written" in line["text"] for line in run.lines("log"))


def test_a_checkpoint_says_where_it_is(root: Path) -> None:
    job = blocks_job(root)
    run_attempt(job, Group())
    run = run_of(job)
    checkpoint = read_checkpoint(run, run.pointer().checkpoints[1])
    dataset = Dataset.open(job.data.uri)
    assert {key: checkpoint.state[key] for key in ("step", "epoch", "batch", "dataset_digest")} == {
        "step": 6,
        "epoch": 1,
        "batch": 2,
        "dataset_digest": dataset.digest,
    }


def test_an_outcome_is_plain_data() -> None:
    assert dataclasses.asdict(Outcome("failed", "DataError", "why")) == {
        "state": "failed",
        "error": "DataError",
        "reason": "why",
    }


def test_a_run_without_a_checkpoint_takes_a_corrected_spec_and_one_with_it_does_not(root: Path) -> None:
    wrong = blocks_job(root, "model.weights=nowhere.pth")
    begin_run(wrong, run_of(wrong))
    assert run_attempt(wrong, Group()).state == "failed"
    corrected = blocks_job(root)
    begin_run(corrected, run_of(corrected))
    assert parse_job(run_of(corrected).begin("unread"), origin="there") == corrected
    assert run_attempt(corrected, Group()) == Outcome("finished")
    with pytest.raises(UsageError, match=r"model\.weights"):
        begin_run(wrong, run_of(wrong))
