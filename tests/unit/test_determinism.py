"""The same spec, seed and number of workers give the same weights, bit for bit; another number, nearly the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gloo_workers import Start, train_in_turn
from roadbed.data.dataset import Dataset
from roadbed.runs import Run
from roadbed.spec import TrainJob
from roadbed.storage import open_store
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.checkpoint import Checkpoint, newest_whole_checkpoint
from roadbed.training.group import Group
from roadbed.training.loop import Training
from support import blocks_dataset, blocks_job

# Two epochs of 13 samples by 4: eight steps, of which the fourth and the last have one sample for all workers.
DIES_AT, MID_EPOCH = 7, 6  # The last checkpoint waits for the loss of the step after it.
# How far the weights of two and three workers may be from those of one, over the way that they went from their start.
# Measured: SGD 1.2e-7, AdamW 2.0e-3, for it divides by the size of gradients that may be next to nothing.
FARTHEST = {"sgd": 2e-6, "adamw": 2e-2}
# With the share of each that another CPU may be off: about three times what weights that are off by 1e-6 make of it.
# A learning rate that is 5 % off makes 2e-3 of the second, 8e-3 of the third and 2e-2 of the last.
GOLDEN_LOSSES = (
    (1.0804972648620605, 1e-5),
    (1.0336552858352661, 1e-3),
    (0.9879277348518372, 3e-3),
    (1.0865072011947632, 1e-3),
    (0.9128352999687195, 1e-2),
)


def job_of(root: Path, optimizer: str, name: str, *overrides: str) -> TrainJob:
    """Without dropout and with frozen batch norm, for both depend on the number of workers."""
    rate = "train.learning_rate=0.05" if optimizer == "sgd" else "train.learning_rate=0.01"
    return blocks_job(root, f"train.optimizer={optimizer}", rate, "train.micro_batch=4", *overrides, name=name)


def last_checkpoint(job: TrainJob) -> Checkpoint:
    found = newest_whole_checkpoint(Run(open_store(job.output.store), job.name))
    assert found is not None
    return found[1]


def losses(job: TrainJob) -> list[float]:
    return [line["loss"] for line in Run(open_store(job.output.store), job.name).lines("metrics") if "loss" in line]


def differing(ours: TrainJob, theirs: TrainJob) -> list[str]:
    """Names of the tensors, of weights and optimiser, that are not the very same."""
    left, right = last_checkpoint(ours), last_checkpoint(theirs)
    assert left.step == right.step
    assert left.files.keys() == right.files.keys()
    return [
        f"{file}: {name}"
        for file, tensors in left.files.items()
        for name, tensor in tensors.items()
        if not torch.equal(tensor, right.files[file][name])
    ]


def distance(ours: TrainJob, theirs: TrainJob) -> float:
    """The length of the difference of all weights over the length of the way that they went from their start."""
    start = Training(theirs, Dataset.open(theirs.data.uri), Group()).learner.model.state_dict()
    left, right = (last_checkpoint(job).files["model.safetensors"] for job in (ours, theirs))
    apart, way = (
        torch.cat([(one[name] - other[name]).double().flatten() for name in start]).norm()
        for one, other in ((left, right), (right, start))
    )
    return float(apart / way)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one, two and three workers: whole, whole again, and broken in mid-epoch and resumed."""
    folder = tmp_path_factory.mktemp("determinism")
    blocks_dataset(f"file://{folder}/blocks")
    starts = []
    for optimizer, numbers in (("sgd", (1, 2, 3)), ("adamw", (1, 2, 3))):
        starts += [Start(job_of(folder, optimizer, f"{optimizer}-{number}"), number) for number in numbers]
    for number in (2, 3):
        broken = job_of(folder, "adamw", f"broken-{number}", "output.checkpoint_steps=1")
        starts += [Start(broken, number, dies_at=DIES_AT), Start(broken, number)]
    starts.append(Start(job_of(folder, "adamw", "again-2"), 2))
    train_in_turn(starts, folder)
    return folder


def test_two_workers_give_the_same_weights_again(root: Path) -> None:
    assert differing(job_of(root, "adamw", "again-2"), job_of(root, "adamw", "adamw-2")) == []


@pytest.mark.parametrize("num_workers", [2, 3])
def test_resumed_in_mid_epoch_workers_come_to_the_same_weights(root: Path, num_workers: int) -> None:
    broken = job_of(root, "adamw", f"broken-{num_workers}")
    attempts = Run(open_store(broken.output.store), broken.name).attempts()
    assert [claim["resumed_step"] for _, claim in attempts] == [0, MID_EPOCH]
    assert differing(broken, job_of(root, "adamw", f"adamw-{num_workers}")) == []


@pytest.mark.parametrize("num_workers", [2, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_another_number_of_workers_comes_to_nearly_the_same_weights(
    root: Path, optimizer: str, num_workers: int
) -> None:
    ours, one = job_of(root, optimizer, f"{optimizer}-{num_workers}"), job_of(root, optimizer, f"{optimizer}-1")
    assert distance(ours, one) < FARTHEST[optimizer]
    assert losses(ours)[0] == pytest.approx(losses(one)[0], rel=1e-6)
    assert losses(ours) == pytest.approx(losses(one), rel=1e-4)


def test_a_worker_of_two_threads_gives_the_same_weights_again(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: torch.set_num_threads(1))
    torch.set_num_threads(2)
    blocks_dataset(f"file://{tmp_path}/blocks")
    everything = (
        "train.epochs=1",
        "model.batch_norm=live",
        "model.dropout=0.2",
        "model.auxiliary_head=true",
        "loss.lovasz=1",
    )
    jobs = [job_of(tmp_path, "adamw", name, *everything) for name in ("once", "twice")]
    for job in jobs:
        assert run_attempt(job, Group(), num_threads=2) == Outcome("finished")
    assert differing(*jobs) == []
    assert losses(jobs[0]) == losses(jobs[1])


def test_five_golden_losses(tmp_path: Path) -> None:
    """Order, crops, colours, first weights, loss, optimiser or schedule changed if these did: say so in CHANGELOG.md.

    By a network with live batch norm, for one of random weights under frozen statistics learns next to nothing.
    """
    torch.set_num_threads(1)
    blocks_dataset(f"file://{tmp_path}/blocks")
    job = job_of(tmp_path, "adamw", "golden", "model.backbone=mobilenet_v3_large", "model.batch_norm=live")
    assert run_attempt(job, Group()) == Outcome("finished")
    for loss, (golden, share_off) in zip(losses(job)[:5], GOLDEN_LOSSES, strict=True):
        assert loss == pytest.approx(golden, rel=share_off)
