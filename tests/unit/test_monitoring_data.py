"""Every query of the dashboards finds something where every series of the tables is told. Played by a real promtool.

The series are made of the tables alone, two workers each: labels that do not match, and matches that Prometheus refuses
as ambiguous, show without a cluster.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from dashboards.all import DASHBOARDS
from roadbed.runtime.local.monitor import rule_groups
from roadbed.telemetry import FOREIGN_METRICS, METRICS, RAY_PREFIX, STATE_METRICS, Metric
from rule_files import ALERTS, CHART, RECORDINGS, promtool, recorded_series, without_variables, written

AT = "70m"
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
EMPTY = {"endpoint: Confidence B": "a week ago there was nothing"}
"""Queries that rightly find nothing here, and why."""


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


def asked(expression: str, *, must_find: bool) -> dict[str, object]:
    """What promtool is asked: an error of Prometheus fails in either case."""
    plain = without_variables(expression, choice=".*")
    found = f"count({plain})" if must_find else f"count(({plain}) or vector(0))"
    return {"expr": f"{found} > bool 0", "eval_time": AT, "exp_samples": [{"labels": "{}", "value": 1}]}


def test_every_query_finds_something(tmp_path: Path) -> None:
    questions = [asked(rule, must_find=True) for rule in recorded_series()]
    questions += [asked(alert["expr"], must_find=False) for alert in ALERTS.values()]
    known = set()
    for board in DASHBOARDS:
        questions += [asked(annotation.expr, must_find=False) for annotation in board.annotations]
        for panel in (panel for row in board.rows for panel in row.panels):
            for letter, query in zip("ABCDEF", panel.queries, strict=False):
                where = f"{board.name}: {panel.title} {letter}"
                known.add(where)
                questions.append(asked(query.expr, must_find=where not in EMPTY))
    assert set(EMPTY) <= known
    written(tmp_path / "rules.yaml", rule_groups(CHART))
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "5m",
        "group_eval_order": [f"roadbed.recordings.{name}" for name in RECORDINGS],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values} for series, values in all_series().items()],
                "promql_expr_test": questions,
            }
        ],
    }
    assert "SUCCESS" in promtool("test", "rules", written(tmp_path / "tests.yaml", document))
