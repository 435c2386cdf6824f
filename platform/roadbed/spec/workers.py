"""The `workers` section: how many processes train together, and what each may use."""

from __future__ import annotations

from pydantic import Field

from roadbed.spec.base import Section


class WorkersSpec(Section):
    """The Ray Train worker group."""

    num_workers: int = Field(1, ge=1, description="data-parallel processes; any number gives the same global batches")
    cpus_per_worker: int = Field(1, ge=1, description="CPU cores, and threads, of each")
    gpus_per_worker: int = Field(0, ge=0, le=1, description="1: train on GPUs over NCCL; 0: on CPUs over gloo")
    max_failures: int = Field(3, ge=0, description="times that a lost worker group is started again by itself")
