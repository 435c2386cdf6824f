"""What a run survives, on real Ray over a real S3 server, with real kills: workers, driver, store, disk, a takeover."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

import pytest
import torch

from drivers import driving, ids_of
from fault_proxy import proxied
from roadbed.data.dataset import Dataset
from roadbed.runs import Run
from roadbed.runtime import local
from roadbed.spec import TrainJob
from roadbed.storage import open_store
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.checkpoint import Checkpoint, newest_whole_checkpoint
from roadbed.training.group import Group
from support import blocks_dataset, blocks_job

pytestmark = [pytest.mark.s3, pytest.mark.ray]

ROOT_URI = "s3://roadbed/survival"
EPOCHS, TRAIN, GLOBAL_BATCH = 8, 62, 4
STEPS_PER_EPOCH = -(-TRAIN // GLOBAL_BATCH)
CHECKPOINT_STEPS = 4


@pytest.fixture(scope="module")
def dataset(s3_server: object) -> Dataset:
    return blocks_dataset(f"{ROOT_URI}/blocks", train=TRAIN, val=11)


def job(name: str, *overrides: str, root: str = ROOT_URI) -> TrainJob:
    settings = (
        f"train.epochs={EPOCHS}",
        "model.backbone=timm:test_efficientnet",
        "train.learning_rate=0.01",
        "train.ema_decay=0.9",
    )
    return blocks_job(root, *settings, f"output.checkpoint_steps={CHECKPOINT_STEPS}", *overrides, name=name)


def run_of(made: TrainJob) -> Run:
    return Run(open_store(made.output.store), made.name)


def last_of(made: TrainJob) -> Checkpoint:
    found = newest_whole_checkpoint(run_of(made))
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def unbroken(dataset: Dataset) -> TrainJob:
    """By one process, without Ray: its batches and scores are those of any number of workers."""
    made = job("unbroken")
    torch.set_num_threads(1)
    assert run_attempt(made, Group()) == Outcome("finished")
    return made


def test_a_full_disk_ends_no_run_and_a_stale_start_that_wakes_up_writes_nothing_more(
    unbroken: TrainJob, ray_head: object, tmp_path: Path
) -> None:
    """For a while the worker may write no file of more than 50 kB: the kernel refuses what a full disk refuses.

    Then driver and worker sleep while another start takes the run to its end.
    """
    stale = job("stale")
    with driving(stale, tmp_path) as driver:
        driver.until_step(1)
        (worker,) = driver.workers()
        _, hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (50_000, hard))
        told = driver.until(lambda status: "not_saved" in status.progress, "a checkpoint that was not written")
        assert "make room, or set TMPDIR" in told.progress["not_saved"]
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (hard, hard))
        driver.until(lambda status: "not_saved" not in status.progress, "one that was")

        asleep = [driver.process.pid, worker]
        for pid in asleep:
            os.kill(pid, signal.SIGSTOP)
        try:
            assert run_attempt(stale, Group(), start_id="another") == Outcome("finished")
            before = listing(stale)
        finally:
            for pid in asleep:
                os.kill(pid, signal.SIGCONT)
        assert driver.wait() == 1
        words = ("attempt 1 was replaced by attempt 2", "a newer attempt has taken over")
        assert any(word in driver.said() for word in words)
    after = listing(stale)
    changed = [key for key in before | after if before.get(key) != after.get(key)]
    # One request may have been on its way when the process fell asleep: a file of a checkpoint that no pointer names,
    # or lines of steps that were done again, which nobody counts.
    assert len(changed) <= 1
    assert all(key.startswith("attempts/0001/") for key in changed), changed
    assert len(run_of(stale).attempts()) == 2
    assert ids_of(stale) == ids_of(unbroken)
    assert_same_weights(stale, unbroken)


@pytest.mark.soak
def test_a_store_that_is_slow_busy_cut_off_and_killed_is_sat_out(ray_head: object, tmp_path: Path) -> None:
    """All uploads go through a proxy that breaks them, to a server of the test's own that is killed for 20 s."""
    folder = tmp_path / "local"
    state = local.up(folder, with_ray=False)
    try:
        assert state.store is not None
        with proxied(state.store.endpoint) as proxy, pytest.MonkeyPatch.context() as patch:
            for name, value in (local.environment(state) | {"AWS_ENDPOINT_URL": proxy.url}).items():
                patch.setenv(name, value)
            root = f"{ROOT_URI}-away"
            blocks_dataset(f"{root}/blocks", train=TRAIN, val=11)
            patch.setenv("ROADBED_LOCAL_DIR", str(folder))
            # Large enough for uploads in parts.
            made = job("away", "model.backbone=efficientnet_lite0", "train.epochs=3", root=root)
            with driving(made, tmp_path) as driver:
                driver.until_step(2)
                for method in ("GET", "PUT", "POST"):
                    proxy.spoil_share(method, 0.2, seed=1)
                proxy.num_cuts_left = 5
                driver.until_step(STEPS_PER_EPOCH)
                assert state.store is not None
                os.kill(state.store.process.pid, signal.SIGKILL)
                time.sleep(20)
                state = local.up(folder, with_ray=False)
                assert driver.wait() == 0, driver.said()
            assert proxy.num_cuts_left == 0
            assert proxy.num_spoilt > 20
            assert len(run_of(made).attempts()) == 1
            assert [len(keys) for keys in ids_of(made)] == 3 * ([4] * (STEPS_PER_EPOCH - 1) + [2])
            assert last_of(made).step == 3 * STEPS_PER_EPOCH
    finally:
        local.down(folder)


def listing(made: TrainJob) -> dict[str, str]:
    """Every object of a run with its checksum."""
    store = run_of(made).store
    return {info.key: store.get_with_etag(info.key)[1] for info in store.list()}


def assert_same_weights(made: TrainJob, other: TrainJob) -> None:
    """To the last bit, averaged weights and optimiser's state included; and hence the same scores."""
    left, right = last_of(made), last_of(other)
    assert left.state["scores"] == right.state["scores"]
    for name, tensors in left.files.items():
        assert tensors.keys() == right.files[name].keys()
        for key, tensor in tensors.items():
            assert torch.equal(tensor, right.files[name][key]), f"{name}: {key}"


def test_a_driver_that_is_told_to_end_lets_its_workers_save(
    unbroken: TrainJob, ray_head: object, tmp_path: Path
) -> None:
    told = job("sigterm", "output.checkpoint_steps=1000")
    with driving(told, tmp_path) as driver:
        driver.until_step(3)
        driver.process.send_signal(signal.SIGTERM)
        assert driver.wait() == 130, driver.said()
        assert "run sigterm was stopped" in driver.said()
    status = run_of(told).status()
    assert status is not None
    assert status.state == "stopped"
    latest = run_of(told).pointer().latest
    assert latest is not None
    assert latest.step == status.step >= 3
    assert run_attempt(told, Group()) == Outcome("finished")
    assert dict(run_of(told).attempts())[2]["lost_steps"] == 0
    assert ids_of(told) == ids_of(unbroken)
    assert_same_weights(told, unbroken)
