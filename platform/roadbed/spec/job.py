"""A whole job spec. One file is one run; the same file runs on a laptop and on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from roadbed.errors import UsageError
from roadbed.spec.base import Section, describe_faults
from roadbed.spec.cluster import ClusterSpec
from roadbed.spec.data import DataSpec
from roadbed.spec.loss import LossSpec
from roadbed.spec.model import ModelSpec
from roadbed.spec.output import OutputSpec
from roadbed.spec.serve import ServeSpec
from roadbed.spec.train import TrainSpec
from roadbed.spec.trials import check_trials, with_values
from roadbed.spec.tune import TuneSpec
from roadbed.spec.workers import WorkersSpec

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"
SWEEP_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?$"


class _Training(Section):
    """What a training job has, and the trials of a sweep share."""

    kind: str
    name: str
    data: DataSpec
    model: ModelSpec = ModelSpec()
    loss: LossSpec = LossSpec()
    train: TrainSpec = TrainSpec()
    workers: WorkersSpec = WorkersSpec()
    output: OutputSpec = OutputSpec()
    cluster: ClusterSpec = ClusterSpec()


class TrainJob(_Training):
    """Train one model on one dataset."""

    kind: Literal["train"] = Field("train", description="what the job does")
    name: str = Field(
        pattern=NAME_PATTERN,
        description="name of the run: lower-case letters, digits and dashes; started again, a run goes on",
    )

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


class TuneJob(_Training):
    """Train one model many times, with other values each time, and register the best."""

    kind: Literal["tune"] = Field("tune", description="what the job does")
    name: str = Field(
        pattern=SWEEP_PATTERN,
        description="name of the sweep, up to 31 lower-case letters, digits and dashes; trials are named NAME-NUMBER",
    )
    tune: TuneSpec

    @model_validator(mode="after")
    def _trials_can_be_trained(self) -> TuneJob:
        try:
            base = self._base(self.name)
        except ValidationError as error:
            raise ValueError(describe_faults(error, TrainJob)[0]) from None
        check_trials(base, self.tune, epochs=self.train.epochs, eval_every=self.train.eval_every)
        return self

    @model_validator(mode="after")
    def _gpus_are_counted_where_there_are_some(self) -> TuneJob:
        if self.tune.gpu_hours is not None and not self.workers.gpus_per_worker:
            raise ValueError(
                f"tune.gpu_hours: {self.tune.gpu_hours} would never be used up, for workers.gpus_per_worker is 0; "
                "take tune.hours"
            )
        return self

    def trial(self, name: str, values: Mapping[str, Any]) -> TrainJob:
        """The train job `name` of a trial with these values of dotted keys. It registers nothing.

        Raises UsageError if the values cannot be trained together.
        """
        try:
            return with_values(self._base(name), values)
        except ValidationError as error:
            raise UsageError(f"trial {name}: {describe_faults(error, TrainJob)[0]}") from None

    def _base(self, name: str) -> TrainJob:
        """The train job that a trial without values would be."""
        return TrainJob(
            name=name,
            **{key: getattr(self, key) for key in _Training.model_fields if key not in ("kind", "name", "output")},
            output=self.output.model_copy(update={"register_as": None}),
        )


class ServeJob(Section):
    """Answer over HTTP with one model, on a laptop; on a cluster the chart's RayService takes the same section."""

    kind: Literal["serve"] = Field("serve", description="what the job does")
    name: str = Field("serve", pattern=NAME_PATTERN, description="name of the endpoint in metrics and logs")
    serve: ServeSpec
    output: OutputSpec = OutputSpec()


Job = TrainJob | TuneJob | ServeJob
KINDS: dict[str, type[Job]] = {"train": TrainJob, "tune": TuneJob, "serve": ServeJob}
