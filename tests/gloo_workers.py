"""Several workers as plain processes over gloo: what Ray would start, in a fraction of its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from roadbed.spec import TrainJob
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.group import Group
from roadbed.training.loop import Training


class Killed(BaseException):
    """Stands for a process that is gone: nothing may catch it and tidy up."""


@dataclass(frozen=True)
class Start:
    """One start of a job on `num_workers` processes, all of which are gone before they take step `dies_at` + 1."""

    job: TrainJob
    num_workers: int
    dies_at: int | None = None


def train_in_turn(starts: Sequence[Start], folder: Path) -> None:
    """Each start after the one before, in processes that are begun once. `folder` is for their meeting points."""
    most = max(start.num_workers for start in starts)
    mp.spawn(_worker, args=(list(starts), folder), nprocs=most, join=True)  # type: ignore[attr-defined]


def _worker(rank: int, starts: list[Start], folder: Path) -> None:
    torch.set_num_threads(1)
    for number, start in enumerate(starts):
        if rank >= start.num_workers:
            continue
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/meeting-{number}",
            rank=rank,
            world_size=start.num_workers,
            timeout=timedelta(seconds=120),
        )
        _run(start, rank)
        dist.destroy_process_group()


def _run(start: Start, rank: int) -> None:
    group = Group(rank=rank, num_workers=start.num_workers)
    if start.dies_at is None:
        assert run_attempt(start.job, group) == Outcome("finished")
        return
    whole_step = Training._step

    def dying_step(self: Training, *arguments: Any) -> None:
        if self.position.step == start.dies_at:
            if self.saving.writer is not None:
                self.saving.writer.wait()  # it is no part of these tests whether the last checkpoint came through
            raise Killed
        whole_step(self, *arguments)

    Training._step = dying_step  # type: ignore[method-assign]
    try:
        run_attempt(start.job, group)
    except Killed:
        return
    finally:
        Training._step = whole_step  # type: ignore[method-assign]
    raise AssertionError(f"step {start.dies_at} was never reached")
