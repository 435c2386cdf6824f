"""Every metric of roadbed in one table, and the sink that code writes them to.

A metric is `roadbed_<noun>_<unit>`. Inside Ray its agent adds `ray_` in front and, for counters, `_total` behind
(docs/architecture.md, "Metrics"). What code needs of a metrics library is this protocol; the runtime hands one in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Metric:
    """One series: a gauge that is set, or a counter that is added to."""

    name: str
    kind: Literal["gauge", "counter"]
    description: str


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
