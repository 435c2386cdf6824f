"""Endpoints, and the phases of runs, as their processes tell them: from the text of metrics that Prometheus reads.

There is one source, whoever serves it: the text of Ray's agent, or, of all nodes of a cluster, that of a Prometheus
that collects it, which gives it on at /federate. So nothing else is needed where a Ray runs on this machine, and
what a port-forward to Prometheus brings is read by the same code. An endpoint's own port could not tell: any one of its
replicas answers there.

Ray's processes tell their agent every 10 s, so growth is measured over a minute of looks, and told as soon as they
span two of these intervals. Before that, as of a single look, it is what was counted in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from roadbed.telemetry import METRICS, RAY_PREFIX

WINDOW_S = 60.0
SETTLED_S = 20.0

_REQUESTS, _SECONDS, _WAITING, _MOST, _VERSION, _PHASES = (
    RAY_PREFIX + METRICS[name].name + ending
    for name, ending in (
        ("roadbed_serve_requests", "_total"),
        ("roadbed_serve_request_seconds", "_bucket"),
        ("roadbed_serve_waiting", ""),
        ("roadbed_serve_max_replicas", ""),
        ("roadbed_serve_model_version", ""),
        ("roadbed_train_phase_seconds", "_total"),
    )
)
SERIES = (_REQUESTS, _SECONDS, _WAITING, _MOST, _VERSION, _PHASES)
"""All that is looked at, by its name in Prometheus."""

Key = tuple[str, frozenset[tuple[str, str]]]
Values = dict[Key, float]


@dataclass(frozen=True)
class EndpointNow:
    """An endpoint that is looked at.

    `requests` by the status of their answers: per second if `is_rate`, else in all. Latencies are quantiles of the same
    requests, None without any. `versions` are those that its replicas answer with.
    """

    name: str
    requests: Mapping[str, float]
    is_rate: bool
    p50_s: float | None
    p95_s: float | None
    replicas: int
    max_replicas: int
    waiting: int
    versions: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Telling:
    """What was told in the looks of the last minute."""

    def __init__(self) -> None:
        self._looks: list[tuple[float, Values]] = []

    def add(self, text: str, *, at: float) -> None:
        """Another look. `at` are seconds that only grow. Raises ValueError for what is no text of metrics."""
        self._looks.append((at, dict(_values(text))))
        self._looks = [look for look in self._looks if look[0] >= at - WINDOW_S]

    def endpoints(self) -> list[EndpointNow]:
        """Those that have a replica, by name."""
        names = sorted({_label(key, "run") for key in self._newest if key[0] == _MOST})
        return [self._endpoint(name) for name in names]

    def shares(self) -> dict[str, dict[str, float]]:
        """The shares of the time of runs by phase, of those that spent any."""
        seconds: dict[str, dict[str, float]] = {}
        for key, value in self._growth(_PHASES):
            of_run = seconds.setdefault(_label(key, "run"), {})
            of_run[_label(key, "phase")] = of_run.get(_label(key, "phase"), 0.0) + value
        totals = {run: sum(of_run.values()) for run, of_run in seconds.items()}
        return {
            run: {phase: value / totals[run] for phase, value in of_run.items()}
            for run, of_run in seconds.items()
            if totals[run] > 0
        }

    def _endpoint(self, name: str) -> EndpointNow:
        requests: dict[str, float] = {}
        for key, value in self._growth(_REQUESTS, name):
            requests[_label(key, "code")] = requests.get(_label(key, "code"), 0.0) + value
        buckets: dict[float, float] = {}
        for key, value in self._growth(_SECONDS, name):
            bound = float(_label(key, "le"))
            buckets[bound] = buckets.get(bound, 0.0) + value
        most = self._gauge(_MOST, name)
        return EndpointNow(
            name=name,
            requests={code: value / (self._span_s or 1.0) for code, value in sorted(requests.items())},
            is_rate=self._span_s is not None,
            p50_s=quantile(buckets, 0.5),
            p95_s=quantile(buckets, 0.95),
            replicas=len(most),
            max_replicas=int(max(most)),
            waiting=int(sum(self._gauge(_WAITING, name))),
            versions=tuple(sorted({int(value) for value in self._gauge(_VERSION, name)})),
        )

    @property
    def _newest(self) -> Values:
        return self._looks[-1][1] if self._looks else {}

    @property
    def _span_s(self) -> float | None:
        """What the looks span, None as long as that is too short for a rate."""
        span_s = self._looks[-1][0] - self._looks[0][0] if self._looks else 0.0
        return span_s if span_s >= SETTLED_S else None

    def _growth(self, name: str, run: str | None = None) -> Iterator[tuple[Key, float]]:
        """How much counters grew since they were first looked at, or in all. One that fell began anew."""
        earlier = self._looks if self._span_s is not None else []
        for key, value in self._newest.items():
            if key[0] == name and run in (None, _label(key, "run")):
                before = next((values[key] for _, values in earlier if key in values), 0.0)
                yield key, value - before if value >= before else value

    def _gauge(self, name: str, run: str) -> list[float]:
        return [value for key, value in self._newest.items() if key[0] == name and _label(key, "run") == run]


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """A quantile of what cumulative `buckets` (upper bound -> count) hold, linear within a bucket; None if nothing.

    What lies beyond the last finite bound is told as that bound, as Prometheus' histogram_quantile has it.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    rank = share * total
    for lower, upper in pairwise([0.0, *bounds]):
        below = buckets.get(lower, 0.0)
        if buckets[upper] >= rank and buckets[upper] > below:
            return (
                lower if upper == float("inf") else lower + (upper - lower) * (rank - below) / (buckets[upper] - below)
            )
    return bounds[-1]


def _values(text: str) -> Iterator[tuple[Key, float]]:
    """The samples of `SERIES`. Ray's text is large, and most of it is of Ray itself."""
    lines = [line for line in text.splitlines() if line.startswith(SERIES)]
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            yield (sample.name, frozenset(sample.labels.items())), sample.value


def _label(key: Key, name: str) -> str:
    return next((value for label, value in key[1] if label == name), "")
