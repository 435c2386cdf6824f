"""The metrics sink inside Ray: its agent exposes the values to Prometheus, for any number of workers in a pod."""

from __future__ import annotations

from ray.util import metrics

from roadbed.telemetry import METRICS


class RayMetrics:
    """A `roadbed.telemetry.MetricSink` over `ray.util.metrics`; every series carries the run's name."""

    def __init__(self, run: str) -> None:
        self._tags = {"run": run}
        self._gauges = {
            name: metrics.Gauge(name, description=metric.description, tag_keys=("run",))
            for name, metric in METRICS.items()
            if metric.kind == "gauge"
        }
        self._counters = {
            name: metrics.Counter(name, description=metric.description, tag_keys=("run",))
            for name, metric in METRICS.items()
            if metric.kind == "counter"
        }

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._gauges[name].set(value, tags=self._tags)

    def add(self, name: str, value: float) -> None:
        """Add to a counter; adding nothing is left out, as Ray refuses it."""
        if value > 0:
            self._counters[name].inc(value, tags=self._tags)
