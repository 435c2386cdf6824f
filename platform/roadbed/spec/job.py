"""A whole job spec. One file is one run; the same file runs on a laptop and on a cluster."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from roadbed.spec.base import Section
from roadbed.spec.data import DataSpec
from roadbed.spec.loss import LossSpec
from roadbed.spec.model import ModelSpec
from roadbed.spec.output import OutputSpec
from roadbed.spec.serve import ServeSpec
from roadbed.spec.train import TrainSpec
from roadbed.spec.workers import WorkersSpec

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"


class TrainJob(Section):
    """Train one model on one dataset."""

    kind: Literal["train"] = Field("train", description="what the job does")
    name: str = Field(
        pattern=NAME_PATTERN,
        description="name of the run: lower-case letters, digits and dashes; started again, a run goes on",
    )
    data: DataSpec
    model: ModelSpec = ModelSpec()
    loss: LossSpec = LossSpec()
    train: TrainSpec = TrainSpec()
    workers: WorkersSpec = WorkersSpec()
    output: OutputSpec = OutputSpec()

    @model_validator(mode="after")
    def _every_worker_has_a_lane(self) -> TrainJob:
        most = self.workers.num_workers.max
        if self.train.global_batch < most:
            raise ValueError(
                f"train.global_batch: {self.train.global_batch} samples cannot be shared by workers.num_workers "
                f"{most}; give every worker at least one"
            )
        return self

    @model_validator(mode="after")
    def _statistics_can_be_shared(self) -> TrainJob:
        workers = self.workers
        if self.model.batch_norm == "sync" and workers.num_workers.max > 1 and not workers.gpus_per_worker:
            raise ValueError(
                f"model.batch_norm: sync is for GPUs, found workers.num_workers {workers.num_workers} without; set "
                "workers.gpus_per_worker to 1, or take live, or frozen for weights that are trained already"
            )
        return self


class ServeJob(Section):
    """Answer over HTTP with one model, on a laptop; on a cluster the chart's RayService takes the same section."""

    kind: Literal["serve"] = Field("serve", description="what the job does")
    name: str = Field("serve", pattern=NAME_PATTERN, description="name of the endpoint in metrics and logs")
    serve: ServeSpec
    output: OutputSpec = OutputSpec()


Job = TrainJob | ServeJob
KINDS: dict[str, type[Job]] = {"train": TrainJob, "serve": ServeJob}
