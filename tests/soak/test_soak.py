"""Kills in a row at random moments: a worker, the driver, the whole Ray head. What comes out is an unbroken run.

The long one is opt-in (`make test-all`); SOAK_SEED=NUMBER draws the kinds, worker counts and moments of an earlier one.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from drivers import PATIENCE_S, Driver, driving, ids_of, losses_of
from roadbed.errors import StoreError
from roadbed.runs import Run
from roadbed.runtime import local
from roadbed.runtime.local.process_table import members_of
from roadbed.runtime.local.state import read_state
from roadbed.spec import TrainJob
from roadbed.storage import open_store
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.checkpoint import newest_whole_checkpoint
from roadbed.training.group import Group
from support import blocks_dataset, blocks_job

pytestmark = [pytest.mark.s3, pytest.mark.ray]

KINDS = {"worker": 5, "driver": 4, "head": 2}
"""How often each is killed, one with another; of the first kills each is one."""
TRAIN, VAL = 62, 11
STEPS_PER_EPOCH = 16
LONGEST_EARLY_S, LONGEST_WHILE_S = 6.0, 2.0
CHECKPOINT_STEPS = 2
MOST_LOST_STEPS = 3 * CHECKPOINT_STEPS + 2
"""One checkpoint may be on its way and another be due, so that training waits for the former; and each waits for the
loss of the step after it.
"""
LOSS_TOLERANCE, SCORE_TOLERANCE = 1e-5, 1e-4


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A store and a Ray head of the test's own, as it kills the latter."""
    folder = tmp_path / "local"
    state = local.up(folder, num_cpus=2)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (local.environment(state) | {"ROADBED_LOCAL_DIR": str(folder)}).items():
            patch.setenv(name, value)
        try:
            yield folder
        finally:
            local.down(folder)


class Soak:
    """One run that is killed again and again. Only processes of its own are: by the ids that were recorded of them."""

    def __init__(self, name: str, place: Path, *, num_epochs: int, seed: int) -> None:
        self.name, self.place = name, place
        self.num_epochs = num_epochs
        self.num_steps = num_epochs * STEPS_PER_EPOCH
        self.rng = random.Random(seed)
        self.first_kinds = self.rng.sample([*KINDS], len(KINDS))
        self.kills: list[str] = []
        self.run = Run(open_store("s3://roadbed/soak"), name)

    def job(self, num_workers: int) -> TrainJob:
        return job(self.name, f"train.epochs={self.num_epochs}", f"workers.num_workers={num_workers}")

    def kill(self, num_kills: int) -> None:
        """That many kills; between them the run goes on as somebody starts it again or Ray does."""
        for _ in range(2 * num_kills + 5):
            if len(self.kills) < num_kills:
                self.kill_one_start(num_kills)

    def kill_one_start(self, num_kills: int) -> None:
        """Start the run and kill workers of it until the driver or the head was killed, or the driver gave up."""
        num_workers = self.rng.choice((1, 2))
        with driving(self.job(num_workers), self.place, takeover=True) as driver:
            num_seen = driver.num_attempts_before
            while len(self.kills) < num_kills:
                kind = self.draw_kind()
                is_early = kind != "worker" and self.rng.random() < 0.2
                if is_early:
                    time.sleep(self.rng.uniform(0, LONGEST_EARLY_S))
                elif not self.await_attempt(driver, num_seen + 1):
                    return
                num_seen = len(self.run.attempts())
                self.kills.append(f"{kind}{' early' if is_early else ''} at step {self.step()}")
                if kind == "worker":
                    with suppress(ProcessLookupError):
                        os.kill(self.rng.choice(driver.workers()), signal.SIGKILL)
                    continue
                driver.kill()
                if kind == "head":
                    self.replace_head()
                return

    def draw_kind(self) -> str:
        if len(self.kills) < len(self.first_kinds):
            return self.first_kinds[len(self.kills)]
        return self.rng.choices([*KINDS], weights=[*KINDS.values()])[0]

    def await_attempt(self, driver: Driver, number: int) -> bool:
        """Wait for an attempt, mostly for its first steps, and a random while more; False if the driver ended first."""
        waits_for_steps = self.rng.random() < 0.7
        while_s = self.rng.uniform(0, LONGEST_WHILE_S)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if driver.process.poll() is not None:
                return False
            with suppress(StoreError):
                status = self.run.status()
                if status is not None and status.attempt >= number:
                    if self.num_steps - status.step < 2 * STEPS_PER_EPOCH:
                        return True  # Kills come before the end, however fast the run is.
                    if not waits_for_steps or "loss" in status.progress:
                        time.sleep(while_s)
                        return driver.process.poll() is None
            time.sleep(0.1)
        raise AssertionError(f"attempt {number} never began: {driver.said()}")

    def step(self) -> int:
        status = self.run.status()
        return status.step if status else 0

    def replace_head(self) -> None:
        """SIGKILL the head's session as it was recorded, and start another head in its place."""
        state = read_state(self.place)
        assert state is not None
        assert state.ray is not None
        while members := members_of(state.ray.process.pid):
            for member in members:
                with suppress(ProcessLookupError):
                    os.kill(member.pid, signal.SIGKILL)
            time.sleep(0.05)
        for name, value in local.environment(local.up(self.place, num_cpus=2)).items():
            os.environ[name] = value

    def finish(self) -> TrainJob:
        """Let the run come to its end."""
        with driving(self.job(2), self.place, takeover=True) as driver:
            assert driver.wait() == 0, driver.said()
        return self.job(2)


def job(name: str, *overrides: str) -> TrainJob:
    settings = ("train.learning_rate=0.01", "train.ema_decay=0.9", "model.backbone=timm:test_efficientnet")
    return blocks_job(
        "s3://roadbed/soak", *settings, f"output.checkpoint_steps={CHECKPOINT_STEPS}", *overrides, name=name
    )


def soak(place: Path, *, num_kills: int, num_epochs: int) -> None:
    seed = int(os.environ.get("SOAK_SEED", secrets.randbelow(1_000_000)))
    print(f"SOAK_SEED={seed}")
    torch.set_num_threads(1)
    blocks_dataset("s3://roadbed/soak/blocks", train=TRAIN, val=VAL)
    unbroken = job("unbroken", f"train.epochs={num_epochs}", "output.checkpoint_steps=100")
    assert run_attempt(unbroken, Group()) == Outcome("finished")
    killed = Soak("killed", place, num_epochs=num_epochs, seed=seed)
    began = time.monotonic()
    killed.kill(num_kills)
    made = killed.finish()
    tell(killed, time.monotonic() - began)
    assert len(killed.kills) == num_kills
    assert all(claim["lost_steps"] <= MOST_LOST_STEPS for _, claim in killed.run.attempts())
    assert ids_of(made) == ids_of(unbroken)
    compare(made, unbroken)


def tell(killed: Soak, seconds: float) -> None:
    claims = [claim for _, claim in killed.run.attempts()]
    kinds = Counter(kill.split()[0] for kill in killed.kills)
    lost = sum(claim["lost_steps"] for claim in claims)
    print(f"{dict(kinds)} in {seconds:.0f} s, {len(claims)} attempts, {lost} steps taken again on the way to step")
    print(f"{killed.num_steps}, {num_torn(killed.run)} torn checkpoints")
    print("\n".join(killed.kills))


def num_torn(run: Run) -> int:
    """Checkpoints whose upload a kill has cut: they have no manifest, and nothing ever chose them."""
    keys = [info.key for info in run.store.list("attempts/") if "/checkpoints/" in info.key]
    folders = {key.rpartition("/")[0] for key in keys}
    return len([folder for folder in folders if f"{folder}/manifest.json" not in keys])


def compare(made: TrainJob, unbroken: TrainJob) -> None:
    left, right = (newest_whole_checkpoint(Run(open_store(one.output.store), one.name)) for one in (made, unbroken))
    assert left is not None
    assert right is not None
    scores = [found[1].state["scores"] for found in (left, right)]
    losses = [losses_of(made), losses_of(unbroken)]
    far = max(abs(a - b) for a, b in zip(*losses, strict=True))
    print(f"largest difference of a loss {far:.2g}; mIoU {scores[0]['miou']:.6f}, unbroken {scores[1]['miou']:.6f}")
    assert far < LOSS_TOLERANCE
    for key in ("miou", "pixel_accuracy"):
        assert scores[0][key] == pytest.approx(scores[1][key], abs=SCORE_TOLERANCE)


def test_a_few_kills_at_random_moments(place: Path) -> None:
    soak(place, num_kills=3, num_epochs=6)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_thirty_kills_in_a_row_at_random_moments(place: Path) -> None:
    soak(place, num_kills=30, num_epochs=50)
