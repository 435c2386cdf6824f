"""The `cluster` section: how a job waits, retries and ends on a Kubernetes cluster. On a laptop it plays no part."""

from __future__ import annotations

from pydantic import Field, model_validator

from roadbed.spec.base import Section

DNS_NAME = r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$"


class ClusterSpec(Section):
    """What `roadbed submit` asks of the cluster; the sizes of pods and the image are the profile's."""

    profile: str | None = Field(
        None, pattern=DNS_NAME, description="profile of the pods; null: gpu for workers with GPUs, else cpu"
    )
    queue: str | None = Field(
        None, pattern=rf"^$|{DNS_NAME}", description="Kueue's LocalQueue; null: the profile's; empty: none"
    )
    priority: str | None = Field(
        None,
        pattern=DNS_NAME,
        description="with a queue Kueue's WorkloadPriorityClass, else the pods' PriorityClass; null: the profile's",
    )
    retries: int = Field(
        2,
        ge=0,
        le=20,
        description="how often a new Ray cluster is made where one was lost or failed; a failure that would come again "
        "ends the job at once",
    )
    deadline_h: float | None = Field(
        None, gt=0, description="hours of a start after which the job is ended, and not tried again; null: none"
    )
    start_deadline_h: float | None = Field(
        None, gt=0, description="hours within which its pods must have started; null: it waits as long as need be"
    )
    keep_failed_h: float = Field(
        1.0,
        ge=0,
        le=720,
        description="hours for which the pods of a failed job stay, to look at; with a queue, where others wait, and "
        "with a deadline they go after a minute",
    )
    keep_record_h: float = Field(
        168.0,
        gt=0,
        le=8760,
        description="hours for which an ended job is listed; with a queue until somebody submits another after them. "
        "Its run stays in the store",
    )

    @model_validator(mode="after")
    def _starts_before_its_end(self) -> ClusterSpec:
        if (
            self.deadline_h is not None
            and self.start_deadline_h is not None
            and self.start_deadline_h >= self.deadline_h
        ):
            raise ValueError(
                f"cluster.start_deadline_h: {self.start_deadline_h:g} is not before cluster.deadline_h, "
                f"{self.deadline_h:g}; lower it"
            )
        return self
