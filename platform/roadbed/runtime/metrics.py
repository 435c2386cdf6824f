"""The metrics sink inside Ray: its agent exposes the values to Prometheus, for any number of workers in a pod."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ray.util import metrics

from roadbed.telemetry import METRICS

_RUN = "run"


class RayMetrics:
    """A `roadbed.telemetry.MetricSink` over `ray.util.metrics`; every series carries the run's name.

    A value costs some microseconds: Ray hands it to its own threads, which tell the node's agent every ten seconds.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._made: dict[str, Any] = {}

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._of(name).set(value, tags=self._tags(name, labels))

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add to a counter; adding nothing is left out, as Ray refuses it."""
        if value > 0:
            self._of(name).inc(value, tags=self._tags(name, labels))

    def observe(self, name: str, values: Iterable[float], *labels: str) -> None:
        """Put values into a histogram."""
        histogram, tags = self._of(name), self._tags(name, labels)
        for value in values:
            histogram.observe(value, tags=tags)

    def _tags(self, name: str, labels: tuple[str, ...]) -> dict[str, str]:
        return {_RUN: self._run, **dict(zip(METRICS[name].labels, labels, strict=True))}

    def _of(self, name: str) -> Any:
        """Ray's object for a metric of the table. Raises KeyError for another name."""
        if name not in self._made:
            metric = METRICS[name]
            keys = (_RUN, *metric.labels)
            if metric.kind == "histogram":
                self._made[name] = metrics.Histogram(name, metric.description, [*metric.buckets], keys)
            else:
                make = metrics.Gauge if metric.kind == "gauge" else metrics.Counter
                self._made[name] = make(name, metric.description, keys)
        return self._made[name]
