"""Every series that the tables of metrics name, made of the tables alone: two workers and two runs, for promtool."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from roadbed.telemetry import FOREIGN_METRICS, METRICS, RAY_PREFIX, STATE_METRICS, Metric

LABELS = {
    "run": ("night", "streets-0001"), "WorkerId": ("a", "b"), "phase": ("data", "backward"), "class": ("Road", "Sky"),
    "place": ("dataset",), "source": ("cache", "store"), "code": ("200", "429"), "stage": ("infer",),
    "cause": ("diverged",), "kind": ("train", "trial"), "state": ("running", "failed"), "which": ("newest", "best"),
    "sweep": ("streets",), "model": ("road",), "version": ("1", "2"), "alias": ("champion",), "dataset": ("blocks",),
    "split": ("train",), "part": ("runs",), "job": ("roadbed-exporter",), "instance": ("one",), "ip": ("10.0.0.1",),
    "alertname": ("RoadbedDrift",), "alertstate": ("firing",), "GpuIndex": ("0",), "gpu": ("0",), "Hostname": ("n1",),
    "NodeType": ("head",), "ray_io_cluster": ("c1",), "route": ("/",), "method": ("POST",),
    "application": ("roadbed",), "status_code": ("200", "500"), "deployment": ("segment",),
    "name": ("roadbed-endpoint",),
    "namespace": ("roadbed",), "deployment_status": ("Initializing",), "condition": ("true", "false"),
    "cronjob": ("roadbed-nightly",), "job_name": ("roadbed-nightly-1",), "reason": ("BackoffLimitExceeded",),
    "owner_kind": ("CronJob",), "owner_name": ("roadbed-nightly",),
}  # fmt: skip


def of_table(prefix: str, metric: Metric, *also: str) -> Iterator[tuple[str, str]]:
    labels = (*also, *metric.labels)
    for series in metric.series:
        if not series.endswith("_bucket"):
            yield from with_labels(prefix + series, labels, is_growing=metric.kind != "gauge")
            continue
        for bound in (*metric.buckets, "+Inf"):
            for name, values in with_labels(prefix + series, labels, is_growing=True):
                yield f'{name[:-1]}, le="{bound}"}}', values


def with_labels(series: str, labels: tuple[str, ...], *, is_growing: bool) -> Iterator[tuple[str, str]]:
    for mix in itertools.product(*(LABELS[label] for label in labels)):
        told = ", ".join(f'{label}="{value}"' for label, value in zip(labels, mix, strict=True))
        yield f"{series}{{{told}}}", "1+60x80" if is_growing else "1x80"


def all_series() -> dict[str, str]:
    made = dict(pair for metric in METRICS.values() for pair in of_table(RAY_PREFIX, metric, "run", "WorkerId"))
    made |= dict(pair for metric in STATE_METRICS.values() for pair in of_table("", metric))
    for foreign in FOREIGN_METRICS.values():
        cluster = ("ray_io_cluster",) if "Ray" in foreign.exporter else ()
        is_growing = foreign.name.endswith("_total")
        made |= dict(with_labels(foreign.name, (*foreign.labels, *cluster), is_growing=is_growing))
    return made
