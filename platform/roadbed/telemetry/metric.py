"""What a metric is, and what code that tells values needs of a metrics library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["gauge", "counter", "histogram"]

RAY_PREFIX = "ray_"
"""What Ray's agent puts before the name of whatever processes inside Ray tell."""

SHORT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets for what takes milliseconds."""
LONG_S = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Buckets for what takes seconds."""

_ENDINGS: dict[Kind, tuple[str, ...]] = {
    "gauge": ("",),
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
}


@dataclass(frozen=True)
class Metric:
    """A gauge that is set, a counter that is added to, or a histogram that observes: one for each mix of its labels.

    A histogram's `buckets` are upper bounds. Inside Ray its agent rebuilds observations from the middles of buckets, so
    `_sum` is near the truth only: what needs an exact mean is two counters.
    """

    name: str
    kind: Kind
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """What Prometheus calls it, without what Ray puts in front."""
        return tuple(f"{self.name}{ending}" for ending in _ENDINGS[self.kind])


def table(*metrics: Metric) -> dict[str, Metric]:
    """The metrics by name."""
    return {metric.name: metric for metric in metrics}


class MetricSink(Protocol):
    """Takes values of the metrics in `METRICS`, by name, with one value for each of their labels.

    An unknown name raises KeyError.
    """

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add to a counter; of what happens seldom also 0 at the beginning, for an increase needs a value before."""

    def observe(self, name: str, values: Iterable[float], *labels: str) -> None:
        """Put values into a histogram."""


def check(metric: Metric, kind: Kind, labels: Sequence[str]) -> None:
    """That a value is told of it as the table has it."""
    assert metric.kind == kind, f"{metric.name} is a {metric.kind}"
    assert len(labels) == len(metric.labels), f"{metric.name} has the labels {metric.labels}, told: {labels}"
