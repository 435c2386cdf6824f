"""The metrics of what lies in the store, told by `roadbed exporter` alone, without `ray_` in front."""

from __future__ import annotations

from roadbed.telemetry.metric import Metric, table

STATE_METRICS: dict[str, Metric] = table(
    Metric("roadbed_runs", "gauge", "runs in the store; kind trial: of a sweep", ("kind", "state")),
    Metric("roadbed_run_info", "gauge", "1 for each of the newest runs, with its state", ("run", "kind", "state")),
    Metric("roadbed_run_heartbeat_timestamp_seconds", "gauge", "when a run gave its last heartbeat", ("run",)),
    Metric(
        "roadbed_run_failure_info", "gauge", "1 for a run whose newest attempt failed, with the cause", ("run", "cause")
    ),
    Metric("roadbed_run_attempts", "gauge", "attempts of a run so far, the first one included", ("run",)),
    Metric("roadbed_run_steps", "gauge", "optimiser steps that a run has taken", ("run",)),
    Metric("roadbed_run_planned_steps", "gauge", "optimiser steps that a run takes to its end", ("run",)),
    Metric("roadbed_run_miou_ratio", "gauge", "mean intersection over union, 0 to 1", ("run", "which")),
    Metric("roadbed_run_pixel_accuracy_ratio", "gauge", "share of pixels right at the newest evaluation", ("run",)),
    Metric("roadbed_sweeps", "gauge", "sweeps in the store", ("state",)),
    Metric("roadbed_sweep_info", "gauge", "1 for each of the newest sweeps, with its state", ("sweep", "state")),
    Metric("roadbed_sweep_trials", "gauge", "trials of a sweep that have begun", ("sweep", "state")),
    Metric("roadbed_sweep_planned_trials", "gauge", "trials that a sweep asks for", ("sweep",)),
    Metric("roadbed_sweep_best_score", "gauge", "the best score of any trial, in the sweep's own metric", ("sweep",)),
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
    Metric("roadbed_exporter_left_out", "gauge", "runs, sweeps and so on beyond the newest that are told", ("part",)),
    Metric("roadbed_exporter_cache_age_seconds", "gauge", "age of what is told", ("part",)),
    Metric("roadbed_exporter_is_stale", "gauge", "1 while the store cannot be read and old values stand", ("part",)),
)
CHAMPION = "champion"
"""The alias whose scores the exporter tells class by class."""
