"""Reads the store when Prometheus asks, at most every so many seconds, and never makes it wait for long.

Each part of the store is read in a thread of its own. While one cannot be read, or takes longer than a scrape may, what
it told last stands, and `roadbed_exporter_is_stale` says so.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from roadbed.errors import RoadbedError
from roadbed.exporter.readings import Read, Reading
from roadbed.telemetry import STATE_METRICS, Metric

log = logging.getLogger(__name__)

Family = CounterMetricFamily | GaugeMetricFamily


class Part:
    """One part of the store, and what was read of it last. `clock` gives seconds that only grow."""

    def __init__(self, name: str, read: Read, *, cache_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._read, self._cache_s, self._clock = read, cache_s, clock
        self._lock = threading.Lock()
        self._reading: Reading | None = None
        self._read_at = self._seconds = 0.0
        self._num_errors = 0
        self._has_failed = False
        self._thread: threading.Thread | None = None

    def refresh(self) -> None:
        """Begin to read, unless what is there is new enough or a reading is under way."""
        with self._lock:
            if not self._is_busy() and not self._is_fresh():
                self._thread = threading.Thread(target=self._read_now, name=f"reading-{self.name}", daemon=True)
                self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Wait until the reading under way, if there is one, has ended, but no longer than `timeout_s`."""
        if self._thread is not None:
            self._thread.join(max(0.0, timeout_s))

    def tell_into(self, told: Reading) -> None:
        """Add the values that were read last, and how that went."""
        with self._lock:
            told.tell("roadbed_exporter_read_seconds", self._seconds, self.name)
            told.tell("roadbed_exporter_errors", self._num_errors, self.name)
            told.tell("roadbed_exporter_is_stale", float(self._is_stale()), self.name)
            if self._reading is None:
                return
            told.tell("roadbed_exporter_cache_age_seconds", self._clock() - self._read_at, self.name)
            told.tell("roadbed_exporter_damaged_objects", self._reading.num_damaged, self.name)
            told.tell("roadbed_exporter_left_out", self._reading.num_left_out, self.name)
            told.values |= self._reading.values

    def _is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _is_stale(self) -> bool:
        """Whether newer values were asked for in vain: the last reading failed, or takes longer than was waited."""
        return self._reading is None or self._has_failed or (self._is_busy() and not self._is_fresh())

    def _is_fresh(self) -> bool:
        return self._reading is not None and self._clock() - self._read_at < self._cache_s

    def _read_now(self) -> None:
        began = self._clock()
        try:
            reading = self._read()
        except Exception as error:
            if not isinstance(error, RoadbedError):
                log.exception("reading failed by a defect of roadbed: part=%s", self.name)
            else:
                log.warning("reading failed: part=%s reason=%s", self.name, error)
            with self._lock:
                self._num_errors += 1
                self._has_failed = True
                self._seconds = self._clock() - began
            return
        with self._lock:
            self._reading, self._read_at = reading, self._clock()
            self._seconds = self._read_at - began
            self._has_failed = False


class StateCollector(Collector):
    """A collector of prometheus-client over the parts of the store. `timeout_s` is all that a scrape waits."""

    def __init__(self, parts: Mapping[str, Read], *, cache_s: float, timeout_s: float) -> None:
        self._parts = [Part(name, read, cache_s=cache_s) for name, read in parts.items()]
        self._timeout_s = timeout_s

    def describe(self) -> Iterator[Family]:
        """The metrics without values, so that registering reads nothing."""
        for metric in STATE_METRICS.values():
            yield _family(metric, {})

    def collect(self) -> Iterator[Family]:
        """All metrics in the order of their table; those without a value are left out."""
        ends_at = time.monotonic() + self._timeout_s
        for part in self._parts:
            part.refresh()
        told = Reading()
        for part in self._parts:
            part.wait(ends_at - time.monotonic())
            part.tell_into(told)
        for name, metric in STATE_METRICS.items():
            if name in told.values:
                yield _family(metric, told.values[name])


def _family(metric: Metric, values: Mapping[tuple[str, ...], float]) -> Family:
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family: Family = make(metric.name, metric.description, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
