"""Every metric of roadbed in two tables, and the sink that code writes those of the first to.

A metric is `roadbed_<noun>_<unit>`. `METRICS` are events of processes inside Ray, whose agent adds `ray_` in front and,
for counters, `_total` behind (docs/architecture.md, "Metrics"). What code needs of a metrics library for them is the
protocol here; the runtime hands one in. `STATE_METRICS` are what lies in the store, told by `roadbed exporter` alone,
without `ray_`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Metric:
    """A gauge that is set, or a counter that is added to: one series, or one for each combination of its labels."""

    name: str
    kind: Literal["gauge", "counter"]
    description: str
    labels: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("roadbed_train_loss", "gauge", "training loss of the last step, mean over labelled pixels"),
        Metric("roadbed_train_learning_rate", "gauge", "learning rate of the head"),
        Metric("roadbed_train_step", "gauge", "optimiser steps taken"),
        Metric("roadbed_train_images", "counter", "frames trained on"),
        Metric("roadbed_train_data_wait_seconds", "counter", "time in which the first worker waited for data"),
        Metric("roadbed_train_lost_steps", "counter", "steps that an attempt before had taken and this one took again"),
        Metric("roadbed_train_notices", "counter", "notices that a node of the run was about to be taken away"),
        Metric("roadbed_checkpoint_failures", "counter", "checkpoints that could not be written"),
        Metric("roadbed_data_skipped_samples", "counter", "damaged samples that training went without"),
        Metric("roadbed_eval_miou", "gauge", "mean intersection over union of the last evaluation, 0 to 1"),
        Metric("roadbed_eval_pixel_accuracy", "gauge", "share of labelled pixels that are right, 0 to 1"),
        Metric("roadbed_serve_model_version", "gauge", "number of the version that a replica answers with"),
        Metric("roadbed_serve_swaps", "counter", "versions that a replica put in the place of the one before"),
        Metric("roadbed_serve_swap_failures", "counter", "attempts to take up a version that left the old one serving"),
    )
}


STATE_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("roadbed_runs", "gauge", "runs in the store; kind trial: of a sweep", ("kind", "state")),
        Metric("roadbed_run_info", "gauge", "1 for each of the newest runs, with its state", ("run", "kind", "state")),
        Metric("roadbed_run_heartbeat_timestamp_seconds", "gauge", "when a run gave its last heartbeat", ("run",)),
        Metric("roadbed_run_attempts", "gauge", "attempts of a run so far, the first one included", ("run",)),
        Metric("roadbed_run_steps", "gauge", "optimiser steps that a run has taken", ("run",)),
        Metric("roadbed_run_planned_steps", "gauge", "optimiser steps that a run takes to its end", ("run",)),
        Metric("roadbed_run_miou_ratio", "gauge", "mean intersection over union, 0 to 1", ("run", "which")),
        Metric("roadbed_run_pixel_accuracy_ratio", "gauge", "share of pixels right at the newest evaluation", ("run",)),
        Metric("roadbed_sweeps", "gauge", "sweeps in the store", ("state",)),
        Metric("roadbed_sweep_info", "gauge", "1 for each of the newest sweeps, with its state", ("sweep", "state")),
        Metric("roadbed_sweep_trials", "gauge", "trials of a sweep that have begun", ("sweep", "state")),
        Metric("roadbed_sweep_planned_trials", "gauge", "trials that a sweep asks for", ("sweep",)),
        Metric(
            "roadbed_sweep_best_score", "gauge", "the best score of any trial, in the sweep's own metric", ("sweep",)
        ),
        Metric("roadbed_sweep_gpu_seconds", "gauge", "GPU time that trials have had, all GPUs added up", ("sweep",)),
        Metric("roadbed_model_versions", "gauge", "whole versions of a model", ("model",)),
        Metric("roadbed_model_version_miou_ratio", "gauge", "mIoU of the newest versions", ("model", "version")),
        Metric("roadbed_model_alias_version", "gauge", "number of the version that an alias names", ("model", "alias")),
        Metric("roadbed_model_promotions", "counter", "moves of an alias so far", ("model", "alias")),
        Metric("roadbed_model_promotion_timestamp_seconds", "gauge", "when an alias moved last", ("model", "alias")),
        Metric("roadbed_champion_miou_ratio", "gauge", "mIoU of the version that champion names", ("model",)),
        Metric("roadbed_champion_pixel_accuracy_ratio", "gauge", "pixel accuracy of the champion", ("model",)),
        Metric("roadbed_champion_class_iou_ratio", "gauge", "IoU of a class of the champion", ("model", "class")),
        Metric("roadbed_dataset_samples", "gauge", "samples of a split", ("dataset", "split")),
        Metric("roadbed_dataset_bytes", "gauge", "size of a dataset's shards and indexes", ("dataset",)),
        Metric("roadbed_dataset_is_damaged", "gauge", "1 if its dataset.json cannot be used", ("dataset",)),
        Metric("roadbed_exporter_read_seconds", "gauge", "how long the last reading of the store took", ("part",)),
        Metric("roadbed_exporter_errors", "counter", "readings of the store that failed", ("part",)),
        Metric("roadbed_exporter_damaged_objects", "gauge", "what the last reading had to pass over", ("part",)),
        Metric(
            "roadbed_exporter_left_out", "gauge", "runs, sweeps and so on beyond the newest that are told", ("part",)
        ),
        Metric("roadbed_exporter_cache_age_seconds", "gauge", "age of what is told", ("part",)),
        Metric(
            "roadbed_exporter_is_stale", "gauge", "1 while the store cannot be read and old values stand", ("part",)
        ),
    )
}
CHAMPION = "champion"
"""The alias whose scores the exporter tells class by class."""


class MetricSink(Protocol):
    """Takes values of the metrics in `METRICS`, by name. An unknown name raises KeyError."""

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""

    def add(self, name: str, value: float) -> None:
        """Add to a counter."""


class NoMetrics:
    """A sink that keeps nothing but still refuses unknown names."""

    def set(self, name: str, value: float) -> None:
        """Check the name."""
        METRICS[name]

    def add(self, name: str, value: float) -> None:
        """Check the name."""
        METRICS[name]
