"""Training on a real Ray with two worker processes, over a real S3 server, with real kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from roadbed.data.dataset import Dataset
from roadbed.data.loader import Loader
from roadbed.errors import DamagedError, UsageError
from roadbed.models import build_model
from roadbed.runs import Run
from roadbed.runtime.train import complete, train
from roadbed.spec import TrainJob, dump_job
from roadbed.storage import open_store
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.checkpoint import read_checkpoint
from roadbed.training.evaluate import evaluate
from roadbed.training.group import Group
from support import BLOCKS, SMALL_MODEL, blocks_dataset, blocks_job

pytestmark = [pytest.mark.s3, pytest.mark.ray]

ROOT_URI = "s3://roadbed/integration"
EPOCHS, TRAIN, VAL, GLOBAL_BATCH = 3, 118, 11, 4
STEPS_PER_EPOCH = -(-TRAIN // GLOBAL_BATCH)


@pytest.fixture(scope="module")
def dataset(s3_server: object, ray_head: object) -> Dataset:
    return blocks_dataset(f"{ROOT_URI}/blocks", train=TRAIN, val=VAL)


def job(name: str, *overrides: str) -> TrainJob:
    return blocks_job(ROOT_URI, f"train.epochs={EPOCHS}", "workers.num_workers=2", *overrides, name=name)


def run_of(made: TrainJob) -> Run:
    return Run(open_store(made.output.store), made.name)


def ids_of(made: TrainJob) -> list[list[str]]:
    return [line["keys"] for line in run_of(made).lines("samples")]


@pytest.fixture(scope="module")
def unbroken(dataset: Dataset, ray_head: object) -> TrainJob:
    made = job("unbroken", "output.register_as=blocks")
    trained = complete(made)
    assert trained.status.state == "finished"
    assert trained.version is not None
    return made


def test_two_workers_draw_every_sample_once_per_epoch(unbroken: TrainJob) -> None:
    ids = ids_of(unbroken)
    assert len(ids) == EPOCHS * STEPS_PER_EPOCH
    for epoch in range(EPOCHS):
        drawn = [key for batch in ids[epoch * STEPS_PER_EPOCH : (epoch + 1) * STEPS_PER_EPOCH] for key in batch]
        assert sorted(drawn) == [f"train_{number:03d}" for number in range(TRAIN)]


def test_the_score_of_two_workers_is_that_of_one_process_to_the_last_count(
    unbroken: TrainJob, dataset: Dataset
) -> None:
    run = run_of(unbroken)
    best = run.pointer().best
    assert best is not None
    checkpoint = read_checkpoint(run, best)
    model = build_model(
        unbroken.model, num_classes=3, channel_mean=dataset.channel_mean, channel_std=dataset.channel_std
    )
    model.load_state_dict(checkpoint.files["ema.safetensors"])
    torch.set_num_threads(unbroken.workers.cpus_per_worker)
    split = dataset.split("val")
    loader = Loader(split, digest=dataset.digest, spec=unbroken.data, rank=0, num_ranks=1, num_threads=1)
    with loader:
        counts_KK = evaluate(
            model,
            loader,
            labels=BLOCKS,
            batch_size=unbroken.train.eval_batch,
            group=Group(),
            precision=checkpoint.state["precision"],
        )
    assert counts_KK.sum() == split.class_pixels.sum()
    assert checkpoint.state["scores"]["pixel_accuracy"] == np.diag(counts_KK).sum() / counts_KK.sum()


def test_two_workers_descend_as_one_process_does(unbroken: TrainJob) -> None:
    """Uneven shares, ignored pixels and class weights included; to float rounding, with frozen batch norm."""
    single = job("single", "train.epochs=1", "workers.num_workers=1")
    assert run_attempt(single, Group()) == Outcome("finished")
    ours, theirs = (
        [line["loss"] for line in run_of(made).lines("metrics") if "loss" in line] for made in (unbroken, single)
    )
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert ours[: STEPS_PER_EPOCH // 2] == pytest.approx(theirs[: STEPS_PER_EPOCH // 2], rel=1e-2)


def test_killed_in_mid_epoch_and_resumed_by_one_worker_it_draws_the_very_same_samples(
    unbroken: TrainJob, tmp_path: Path
) -> None:
    broken = job("broken", SMALL_MODEL)
    killed_at = start_and_kill(broken, tmp_path, at_step=STEPS_PER_EPOCH + 5)
    before = run_of(broken).pointer().latest
    assert before is not None
    assert before.step <= killed_at + 2
    assert run_of(broken).attempts()[0][1]["num_workers"] == 2

    resumed = job("broken", SMALL_MODEL, "workers.num_workers=1")
    trained = complete(resumed, takeover=True)
    assert trained.status.state == "finished"
    attempts = trained.run.attempts()
    assert [(number, claim["num_workers"]) for number, claim in attempts] == [(1, 2), (2, 1)]
    resumed_step = attempts[1][1]["resumed_step"]
    assert 0 < resumed_step < EPOCHS * STEPS_PER_EPOCH
    assert ids_of(resumed) == ids_of(unbroken)
    folder = tmp_path / "ids"
    folder.mkdir()
    for made in (resumed, unbroken):
        lines = [f"step {step} {' '.join(keys)}" for step, keys in enumerate(ids_of(made), start=1)]
        (folder / f"{made.name}.txt").write_text("\n".join(lines))


def start_and_kill(made: TrainJob, folder: Path, *, at_step: int) -> int:
    """Start a run as a user would, and SIGKILL its driver once it has come to a step. Returns the step seen last."""
    spec = folder / "job.yaml"
    spec.write_text(dump_job(made))
    with (folder / "driver.log").open("w") as log:
        driver = subprocess.Popen(
            [sys.executable, "-m", "roadbed", "train", str(spec)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )
    try:
        run = run_of(made)
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            status = run.status()
            assert driver.poll() is None, (folder / "driver.log").read_text()
            if status is not None and status.step >= at_step:
                return status.step
            time.sleep(0.2)
        raise AssertionError(f"step {at_step} was never reached: {(folder / 'driver.log').read_text()}")
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()


def test_a_damaged_frame_that_one_worker_meets_ends_both_with_its_name(s3_server: object, ray_head: object) -> None:
    """The last evaluation batch is the second worker's alone."""
    uri = f"{ROOT_URI}/damaged"
    blocks_dataset(uri, train=4, val=VAL)
    store = open_store(uri)
    split = Dataset.open(uri).split("val")
    shard, last = split.shards[-1].key, split.num_samples - 1
    data = bytearray(store.get(shard))
    data[split.range_of(last)[0] + 40] ^= 1
    store.put(shard, bytes(data))
    damaged = job(
        "damaged", SMALL_MODEL, f"data.uri={uri}", "data.cache_mb=0"
    )  # this machine's cache has the shard as it was
    with pytest.raises(DamagedError, match=rf"{shard}: .*on worker 1 of 2"):
        complete(damaged)
    status = run_of(damaged).status()
    assert status is not None
    assert (status.state, len(run_of(damaged).attempts())) == ("failed", 1)


def test_a_started_run_of_another_spec_is_refused_with_the_keys(unbroken: TrainJob) -> None:
    with pytest.raises(UsageError, match=r"train\.learning_rate"):
        complete(job("unbroken", "train.learning_rate=0.5"))


def test_a_finished_run_is_not_trained_again_nor_published_twice(unbroken: TrainJob) -> None:
    again = complete(unbroken)
    assert not again.is_new
    assert again.version is not None
    assert again.version.number == 1


def test_more_workers_than_the_cluster_has_are_refused_with_the_arithmetic(
    unbroken: TrainJob, ray_head: object
) -> None:
    greedy = job("greedy", "workers.num_workers=4", "workers.cpus_per_worker=100")
    with pytest.raises(UsageError, match=r"4 workers x 100 CPU = 400 CPU, but this Ray cluster has"):
        train(greedy, run_of(greedy))
