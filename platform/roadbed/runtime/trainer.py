"""One worker group on Ray Train V2: what Ray is asked for, and what each worker runs. Judges nothing.

Ray starts a group anew by itself in two cases only: a machine of it was drained, or the cluster has room for another
number of workers. Any other end is the driver's to judge (train.py).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from roadbed.runtime.failures import PASSING
from roadbed.runtime.session import worker_environment
from roadbed.spec import TrainJob, WorkersSpec, dump_job, parse_job

if TYPE_CHECKING:
    from ray.train import UserCallback
    from ray.train.torch import TorchTrainer

LEAST_HEALTH_CHECK_S = 60.0
ELASTIC_START_TIMEOUT_S = "25"
# Source: ray/train/v2/_internal/constants.py; the driver's values reach the controller.
HEALTH_CHECK_TIMEOUT = "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"
START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"


def build_trainer(
    job: TrainJob, start_id: str, scratch: str, *, callbacks: Sequence[UserCallback] = ()
) -> TorchTrainer:
    """A trainer of the job's worker group, for one start of its run."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    workers = job.workers
    return TorchTrainer(
        train_worker,
        train_loop_config={"spec": dump_job(job), "start_id": start_id},
        torch_config=TorchConfig(backend="nccl" if workers.gpus_per_worker else "gloo"),
        scaling_config=ScalingConfig(**_scaling(workers)),
        run_config=RunConfig(
            name=job.name,
            storage_path=scratch,
            failure_config=FailureConfig(
                max_failures=0, controller_failure_limit=_most_false_starts(workers), max_preemption_failures=-1
            ),
            worker_runtime_env={"env_vars": worker_environment()},
            callbacks=[*callbacks],
        ),
    )


def settings_of_ray(workers: WorkersSpec) -> dict[str, str | None]:
    """Environment variables that Ray Train's controller takes over from the driver, unless the user has set them.

    Ray gives up workers that do not answer it for longer than watchdogs take to judge: a lone worker whose process is
    frozen has no other one that would notice. And what Ray Train knows of the cluster's nodes is up to 20 s old, so a
    group may wait for a place on one that is gone; Ray waits 60 s for it by itself.
    """
    wanted: dict[str, str | None] = {}
    if workers.stall_timeout_s:
        wanted[HEALTH_CHECK_TIMEOUT] = str(max(2 * workers.stall_timeout_s, LEAST_HEALTH_CHECK_S))
    if workers.num_workers.is_elastic:
        wanted[START_TIMEOUT] = ELASTIC_START_TIMEOUT_S
    return {name: value for name, value in wanted.items() if name not in os.environ}


def _scaling(workers: WorkersSpec) -> dict[str, Any]:
    """How many workers Ray Train starts, and where: the arguments of its ScalingConfig."""
    number = workers.num_workers
    return {
        "num_workers": (number.min, number.max) if number.is_elastic else number.min,
        "use_gpu": workers.gpus_per_worker > 0,
        "resources_per_worker": {"CPU": workers.cpus_per_worker, "GPU": workers.gpus_per_worker},
        "elastic_resize_monitor_interval_s": workers.resize_s,
    }


def _most_false_starts(workers: WorkersSpec) -> int:
    """How often a group may find no place: with a range of workers, each node that goes may cost one."""
    return 100 if workers.num_workers.is_elastic else 3


def train_worker(config: dict[str, Any]) -> dict[str, Any]:
    """What Ray runs in each worker process. Returns the attempt's outcome, the same on every worker."""
    import ray.train
    import ray.train.torch
    import torch

    from roadbed.runtime.metrics import RayMetrics
    from roadbed.runtime.preemption import preemption_notice
    from roadbed.training.attempt import run_attempt
    from roadbed.training.group import Group
    from roadbed.training.heap import keep_freed_memory

    context = ray.train.get_context()
    job = parse_job(config["spec"], origin="the job's spec")
    torch.set_num_threads(job.workers.cpus_per_worker)
    keep_freed_memory()
    logging.basicConfig(level=logging.WARNING)
    group = Group(
        rank=context.get_world_rank(), num_workers=context.get_world_size(), device=ray.train.torch.get_device()
    )
    with closing(RayMetrics(job.name)) as sink:
        outcome = run_attempt(
            job,
            group,
            start_id=config["start_id"],
            passing=PASSING,
            sink=sink,
            num_threads=job.workers.cpus_per_worker,
            on_epoch=ray.train.report,
            notice=preemption_notice,
        )
    return asdict(outcome)
