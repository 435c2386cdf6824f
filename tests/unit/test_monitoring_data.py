"""Every query of the dashboards finds something where every series of the tables is told. Played by a real promtool.

The series are made of the tables alone, two workers each: labels that do not match, and matches that Prometheus refuses
as ambiguous, show without a cluster.
"""

from __future__ import annotations

from pathlib import Path

from dashboards.all import DASHBOARDS
from roadbed.runtime.local.monitor import rule_groups
from rule_files import ALERTS, CHART, RECORDINGS, promtool, recorded_series, without_variables, written
from table_series import all_series

AT = "70m"
EMPTY = {"endpoint: Confidence B": "a week ago there was nothing"}
"""Queries that rightly find nothing here, and why."""


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
