"""The `workers` section: how many processes train together, what each may use, and what happens when they fail."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, SerializationInfo, field_validator, model_serializer, model_validator

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


class NumWorkers(Section):
    """How many workers: a number, or a range. Written in a spec as `2` or as `{min: 1, max: 4}`."""

    min: int = Field(ge=1, description="fewest workers that training starts with")
    max: int = Field(ge=1, description="most workers; with a range a run grows and shrinks with its cluster")

    @model_validator(mode="before")
    @classmethod
    def _of_a_number(cls, value: Any) -> Any:
        if isinstance(value, (dict, NumWorkers)):
            return value
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError("expected a number from 1 on, or a range such as {min: 1, max: 4}")
        return {"min": value, "max": value}

    @model_validator(mode="after")
    def _is_a_range(self) -> NumWorkers:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}; exchange them")
        return self

    @model_serializer
    def _as_written(self, _: SerializationInfo) -> int | dict[str, int]:
        return {"min": self.min, "max": self.max} if self.is_elastic else self.min

    @property
    def is_elastic(self) -> bool:
        """Whether the number may change while the run goes."""
        return self.min < self.max

    def __str__(self) -> str:
        return f"{self.min} to {self.max}" if self.is_elastic else str(self.min)


class WorkersSpec(Section):
    """The Ray Train worker group."""

    num_workers: NumWorkers = Field(
        NumWorkers(min=1, max=1),
        description="data-parallel processes; any number gives the same global batches; {min: 1, max: 4}: as many as "
        "the cluster has room for",
    )
    cpus_per_worker: int = Field(1, ge=1, description="CPU cores, and threads, of each")
    gpus_per_worker: int = Field(0, ge=0, le=1, description="1: train on GPUs over NCCL; 0: on CPUs over gloo")
    resize_s: float = Field(
        60.0, gt=0, description="with a range: seconds between two looks whether the cluster has room for more or fewer"
    )
    notice_s: float = Field(
        5.0, gt=0, description="seconds between two questions whether a node of the run is about to be taken away"
    )
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
