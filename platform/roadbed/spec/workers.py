"""The `workers` section: how many processes train together, what each may use, and what happens when they fail."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from roadbed.spec.base import Section


class RetriesSpec(Section):
    """How often a start goes on by itself after each cause of failure; a newer checkpoint makes all budgets full."""

    lost_worker: int = Field(3, ge=0, description="after a worker process or its machine was lost")
    memory: int = Field(1, ge=0, description="after a worker ran out of memory")
    store: int = Field(3, ge=0, description="after the object store failed for longer than a request is repeated")
    hang: int = Field(1, ge=0, description="after the watchdog ended workers that stood still")
    pause_s: float = Field(
        10.0, ge=0, le=600, description="seconds before a retry; doubled with each that brings no newer checkpoint"
    )


class WorkersSpec(Section):
    """The Ray Train worker group."""

    num_workers: int = Field(1, ge=1, description="data-parallel processes; any number gives the same global batches")
    cpus_per_worker: int = Field(1, ge=1, description="CPU cores, and threads, of each")
    gpus_per_worker: int = Field(0, ge=0, le=1, description="1: train on GPUs over NCCL; 0: on CPUs over gloo")
    retries: RetriesSpec = RetriesSpec()
    no_retry_pattern: str = Field(
        "",
        description="a regular expression: no retry where it is found in the failure's text or the attempt's log",
    )
    stall_timeout_s: float = Field(
        600.0,
        ge=0,
        description="seconds in which something must move, else the watchdog names who hangs and ends the workers; "
        "0: no watchdog",
    )

    @field_validator("no_retry_pattern")
    @classmethod
    def _is_a_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"expected a regular expression, but {error}; in doubt put a backslash before ()[]*+?."
            ) from None
        return pattern

    @field_validator("stall_timeout_s")
    @classmethod
    def _longer_than_a_step(cls, timeout_s: float) -> float:
        if 0 < timeout_s < 5:
            raise ValueError("expected 0, or 5 and more: the watchdog looks ten times in it")
        return timeout_s
