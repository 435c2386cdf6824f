"""The metrics sink inside Ray: its agent exposes the values to Prometheus, for any number of workers in a pod."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterable
from typing import Any

from ray.util import metrics

from roadbed.telemetry import METRICS

REPEAT_S = 5.0
"""Ray's agent forgets a gauge that no process has set for 20 s (two of its intervals), so all are set again so often.

Source: ray 2.60, ray/_private/telemetry/open_telemetry_metric_recorder.py, `_resolve_gauge_ttl_seconds`.
"""
_RUN = "run"


class RayMetrics:
    """A `roadbed.telemetry.MetricSink` over `ray.util.metrics`; every series carries the run's name.

    A value costs some microseconds: Ray hands it to its own threads, which tell the node's agent every ten seconds.
    Gauges are told until `close`, or as long as the process lives.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._made: dict[str, Any] = {}
        self._gauges: dict[tuple[str, tuple[str, ...]], float] = {}
        self._counters: set[tuple[str, tuple[str, ...]]] = set()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="roadbed-gauges", daemon=True)
        atexit.register(self._done.set)

    def close(self) -> None:
        """Repeat no gauge any more."""
        self._done.set()
        atexit.unregister(self._done.set)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            if not self._gauges:
                self._thread.start()
            self._gauges[name, labels] = value
            self._of(name).set(value, tags=self._tags(name, labels))

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add to a counter; adding nothing to one that is not told yet tells it as 0.

        Prometheus sees no increase in a counter that begins with 1. Ray's public `inc` refuses 0; what is below takes
        it.
        """
        with self._lock:
            if value > 0:
                self._of(name).inc(value, tags=self._tags(name, labels))
            elif (name, labels) not in self._counters:
                self._of(name)._record(0.0, self._tags(name, labels))
            self._counters.add((name, labels))

    def observe(self, name: str, values: Iterable[float], *labels: str) -> None:
        """Put values into a histogram."""
        with self._lock:
            histogram, tags = self._of(name), self._tags(name, labels)
            for value in values:
                histogram.observe(value, tags=tags)

    def _repeat(self) -> None:
        while not self._done.wait(REPEAT_S):
            with self._lock:
                for (name, labels), value in self._gauges.items():
                    self._of(name).set(value, tags=self._tags(name, labels))

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
