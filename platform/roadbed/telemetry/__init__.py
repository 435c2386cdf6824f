"""Every metric of roadbed in two tables, those of others that we look at in a third, and the sink that code writes to.

A metric is `roadbed_<noun>_<unit>`. `METRICS` are events of processes inside Ray, whose agent adds `ray_` in front and,
for counters, `_total` behind (docs/architecture.md, "Metrics"). What code needs of a metrics library for them is the
protocol `MetricSink`; the runtime hands one in. `STATE_METRICS` are what lies in the store, told by `roadbed exporter`
alone, without `ray_`. `FOREIGN_METRICS` are series of Ray, KubeRay, Kubernetes and GPUs that
dashboards and alerts name.
"""

from __future__ import annotations

from roadbed.telemetry.events import METRICS, NoMetrics
from roadbed.telemetry.foreign import FOREIGN_METRICS, Foreign
from roadbed.telemetry.metric import RAY_PREFIX, Metric, MetricSink
from roadbed.telemetry.state import CHAMPION, STATE_METRICS

__all__ = [
    "CHAMPION",
    "FOREIGN_METRICS",
    "METRICS",
    "RAY_PREFIX",
    "STATE_METRICS",
    "Foreign",
    "Metric",
    "MetricSink",
    "NoMetrics",
]
