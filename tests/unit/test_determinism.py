"""The same spec, seed and number of workers give the same weights, bit for bit; another number, nearly the same."""

from __future__ import annotations

import torch

from roadbed.runs import Run
from roadbed.spec import TrainJob
from roadbed.storage import open_store
from roadbed.training.checkpoint import Checkpoint, newest_whole_checkpoint

# Dropout is drawn per worker and live batch norm sees its own share, so runs of several numbers of workers go without.
SGD = ("train.optimizer=sgd", "train.learning_rate=0.05", "train.ema_decay=0")


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
    """The length of the difference of all weights over the length of the way that they went."""
    left, right = (last_checkpoint(job).files["model.safetensors"] for job in (ours, theirs))
    apart = torch.cat([(left[name] - right[name]).float().flatten() for name in left])
    whole = torch.cat([left[name].float().flatten() for name in left])
    return float(apart.norm() / whole.norm())
