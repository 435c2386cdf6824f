"""Losses that explode are told from losses that vary, and no checkpoint is left of weights that made them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from roadbed.errors import UsageError
from roadbed.runs import Run
from roadbed.spec import TrainJob
from roadbed.storage import open_store
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.checkpoint import read_checkpoint
from roadbed.training.divergence import FIRST_STEPS, PATIENCE_STEPS, LossWatch
from roadbed.training.group import Group
from roadbed.training.loop import Training
from roadbed.training.step import GradientStep
from support import blocks_dataset, blocks_job


def warmed(factor: float = 10.0) -> LossWatch:
    watch = LossWatch(factor=factor)
    assert {watch.judge(1.0) for _ in range(FIRST_STEPS)} == {"sound"}
    return watch


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_has_exploded_from_the_first_step_on(loss: float) -> None:
    assert LossWatch(factor=0).judge(loss) == "exploded"
    assert LossWatch(factor=10).judge(loss) == "exploded"


def test_a_loss_far_above_the_median_has_exploded_when_it_stays_there() -> None:
    watch = warmed()
    verdicts = [watch.judge(10.1) for _ in range(PATIENCE_STEPS)]
    assert verdicts == ["suspicious"] * (PATIENCE_STEPS - 1) + ["exploded"]
    assert watch.measure == 1.0


def test_a_hard_batch_now_and_then_is_none() -> None:
    watch = warmed()
    for _ in range(20):
        assert [watch.judge(50.0) for _ in range(PATIENCE_STEPS - 1)] == ["suspicious"] * (PATIENCE_STEPS - 1)
        assert watch.judge(1.0) == "sound"


def test_the_first_steps_and_a_factor_of_zero_measure_nothing() -> None:
    early = LossWatch(factor=10)
    assert {early.judge(loss) for loss in (1e-3, 1e3, 1e3, 1e3, 1e3, 1e3)} == {"sound"}
    assert {warmed(factor=0).judge(1e9) for _ in range(10)} == {"sound"}


def test_where_nothing_is_left_to_learn_many_times_almost_nothing_is_still_sound() -> None:
    watch = LossWatch(factor=10)
    assert {watch.judge(1e-4) for _ in range(FIRST_STEPS)} == {"sound"}
    assert watch.judge(0.9) == "sound"


def test_losses_as_real_recipes_have_them_never_look_like_an_explosion() -> None:
    """Falling from 2 to 0.05 with a spread of half its size, and a batch of five times that now and then."""
    rng = np.random.default_rng(0)
    watch = LossWatch(factor=10)
    for step in range(5_000):
        level = 0.05 + 2 * math.exp(-step / 400)
        loss = level * math.exp(rng.normal(0, 0.5)) * (5 if rng.random() < 0.02 else 1)
        assert watch.judge(loss) != "exploded"


def test_a_factor_that_would_meet_every_run_is_refused_at_the_door() -> None:
    with pytest.raises(UsageError, match=r"train\.explode_factor: expected 0, or 2 and more.*found 1\.5"):
        blocks_job("/tmp", "train.explode_factor=1.5")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    torch.set_num_threads(1)
    blocks_dataset(f"file://{tmp_path}/blocks", train=40)
    return tmp_path


def run_of(job: TrainJob) -> Run:
    return Run(open_store(job.output.store), job.name)


def spoil(monkeypatch: pytest.MonkeyPatch, *, after_step: int, by: float) -> None:
    """Let an optimiser step multiply all weights of the classifier, as an exploding step does."""
    whole_step = Training._step

    def step(self: Training, *arguments: Any) -> None:
        whole_step(self, *arguments)
        if self.position.step == after_step:
            with torch.no_grad():
                [*self.learner.model.parameters()][-2].mul_(by)

    monkeypatch.setattr(Training, "_step", step)


def test_what_measures_goes_on_with_the_run() -> None:
    watch = LossWatch(factor=10, sound=warmed().sound)
    assert (watch.measure, watch.judge(11.0)) == (1.0, "suspicious")


@pytest.mark.parametrize(("after_step", "kept"), [(18, 15), (20, 18)])
def test_an_explosion_leaves_the_last_checkpoint_from_before_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, after_step: int, kept: int
) -> None:
    """Checkpoints after each third and tenth step: of the spoilt weights too, whose own step had a sound loss."""
    spoil(monkeypatch, after_step=after_step, by=1e8)
    job = blocks_job(root, "train.epochs=3", "output.checkpoint_steps=3", "train.learning_rate=1e-4")
    outcome = run_attempt(job, Group())
    assert (outcome.state, outcome.error) == ("failed", "DivergedError")
    assert outcome.reason is not None
    for word in (f"the loss of step {after_step + PATIENCE_STEPS}", "train.explode_factor", "samples train_", "rate"):
        assert word in outcome.reason
    latest = run_of(job).pointer().latest
    assert latest is not None
    assert latest.step == kept
    spoilt = [line["text"] for line in run_of(job).lines("log") if "checkpoint withheld" in line["text"]]
    assert len(spoilt) == 2


def test_a_spike_that_passes_lets_the_checkpoint_go_that_waited(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = GradientStep.__call__
    num_steps = [0]

    def spiking(self: GradientStep, *arguments: Any, **settings: Any) -> torch.Tensor:
        num_steps[0] += 1
        return gradients(self, *arguments, **settings) * (1000 if num_steps[0] == 27 else 1)

    monkeypatch.setattr(GradientStep, "__call__", spiking)
    job = blocks_job(root, "train.epochs=3", "output.checkpoint_steps=13", "output.keep_last=9")
    assert run_attempt(job, Group()) == Outcome("finished")
    assert [ref.step for ref in run_of(job).pointer().checkpoints] == [30, 26, 20, 13, 10]


def test_gradients_that_are_no_numbers_are_named_by_their_own_step(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = GradientStep.__call__

    def overflowing(self: GradientStep, *arguments: Any, **settings: Any) -> torch.Tensor:
        loss = gradients(self, *arguments, **settings)
        next(parameter for parameter in self._model.parameters() if parameter.grad is not None).grad[0] = math.inf
        return loss

    monkeypatch.setattr(GradientStep, "__call__", overflowing)
    outcome = run_attempt(blocks_job(root, "train.clip_norm=1"), Group())
    assert outcome.error == "DivergedError"
    assert "the loss of step 1 is 1." in str(outcome.reason)
    assert "the norm of its gradients inf" in str(outcome.reason)


def test_weights_that_are_no_numbers_are_never_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of all has no next one whose loss would tell."""
    spoil(monkeypatch, after_step=20, by=math.nan)
    job = blocks_job(root, "train.ema_decay=0")
    outcome = run_attempt(job, Group())
    assert outcome.error == "DivergedError"
    assert "after step 20 " in str(outcome.reason)
    latest = run_of(job).pointer().latest
    assert latest is not None
    assert latest.step < 20
    checkpoint = read_checkpoint(run_of(job), latest)
    assert len(checkpoint.state["sound_losses"]) == latest.step
    assert all(bool(tensor.isfinite().all()) for tensor in checkpoint.files["model.safetensors"].values())
