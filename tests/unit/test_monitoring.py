"""Dashboards, alerts and recording rules of the chart: that they read, hold together, and fire when they should.

Against a real promtool. What a real Prometheus answers them while something runs is an integration test's.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dashboards.all import DASHBOARDS, FOLDER, texts
from dashboards.parts import GRID_COLUMNS
from roadbed.runtime.local.monitor import rule_groups
from roadbed.telemetry import FOREIGN_METRICS, METRICS, RAY_PREFIX, STATE_METRICS
from rule_files import (
    ALERTS,
    CHART,
    RECORDINGS,
    promtool,
    recorded_series,
    series_of,
    without_variables,
    written,
)

ROOT = Path(__file__).parents[2]
CASES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "tests" / "alerts").glob("*.yaml"))}
FILES = {name: json.loads(text) for name, text in texts().items()}
PANELS = [(name, panel) for name, board in FILES.items() for panel in board["panels"] if panel["type"] != "row"]


def titles(value: Any) -> str:
    return f"{value[0]}: {value[1]['title']}" if isinstance(value, tuple) else str(value)


def expressions() -> dict[str, str]:
    """Every query of panels and annotations, by where it stands."""
    found = {
        f"{name}: {panel['title']} {target['refId']}": target["expr"] for name, panel in PANELS
        for target in panel["targets"]
    }  # fmt: skip
    for name, board in FILES.items():
        for annotation in board["annotations"]["list"]:
            if "expr" in annotation:
                found[f"{name}: annotation {annotation['name']}"] = annotation["expr"]
    return found


def used_series() -> set[str]:
    """What dashboards, alerts and recording rules name."""
    rules = [alert["expr"] for alert in ALERTS.values()] + [*recorded_series().values()]
    used = set().union(*(series_of(without_variables(one)) for one in [*expressions().values(), *rules]))
    return used | {variable.series for board in DASHBOARDS for variable in board.variables}


def test_the_files_are_what_the_code_says() -> None:
    found = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert found == texts(), "run `python -m dashboards` in tests/"


@pytest.mark.parametrize("name", FILES)
def test_grafana_can_read_it(name: str) -> None:
    schema = json.loads((ROOT / "tests" / "grafana_dashboard.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(FILES[name])


@pytest.mark.parametrize("panel", PANELS, ids=titles)
def test_every_panel_says_what_it_shows_and_in_what(panel: tuple[str, dict[str, Any]]) -> None:
    _, made = panel
    assert made["description"].endswith(".")
    assert made["fieldConfig"]["defaults"]["unit"]
    assert made["targets"]
    assert len({target["refId"] for target in made["targets"]}) == len(made["targets"])
    steps = [step["value"] for step in made["fieldConfig"]["defaults"]["thresholds"]["steps"]]
    assert steps[0] is None, "the lowest step has no value"
    assert steps[1:] == sorted(steps[1:])
    for link in made.get("links", []):
        assert (ROOT / link["url"].partition("/blob/main/")[2]).is_file(), link["url"]


@pytest.mark.parametrize("name", FILES)
def test_nothing_overlaps_and_ids_are_of_one_panel_each(name: str) -> None:
    board = FILES[name]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    headings = [panel["title"] for panel in board["panels"] if panel["type"] != "row"]
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= GRID_COLUMNS
        for cell in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        ):
            assert cell not in taken, f"{panel['title']} lies over {taken[cell]}"
            taken[cell] = panel["title"]
    assert len(headings) >= 8


def test_dashboards_have_addresses_of_their_own_and_use_their_variables() -> None:
    assert len({board["uid"] for board in FILES.values()}) == len(FILES)
    for name, board in FILES.items():
        assert len(board["uid"]) <= 40
        text = json.dumps(board["panels"]) + json.dumps(board["annotations"])
        declared = {variable["name"] for variable in board["templating"]["list"]}
        used = set(re.findall(r"\$\{?([a-z]+)\b", text))
        assert declared == used, name
        for uid, variable in re.findall(r"/d/([\w-]+)\?var-(\w+)=", text):
            aim = next(one for one in FILES.values() if one["uid"] == uid)
            assert variable in {one["name"] for one in aim["templating"]["list"]}


def test_every_expression_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": without_variables(expression)}
        for number, expression in enumerate(expressions().values())
    ]
    told = promtool("check", "rules", written(tmp_path / "queries.yaml", {"groups": [{"name": "q", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in told
    told = promtool("check", "rules", written(tmp_path / "rules.yaml", rule_groups(CHART)))
    assert f"SUCCESS: {len(ALERTS) + len(recorded_series())} rules found" in told


def test_names_of_series_are_found_in_expressions() -> None:
    found = series_of(
        'sum by (le, run) (rate(one_bucket{run=~"a|two"}[5m] offset 1h)) / on (x) group_left three:four_5m'
    )
    assert found == {"one_bucket", "three:four_5m"}
    assert series_of("time() - max(one) > 0.5e3 and on (run) two or vector(0)") == {"one", "two"}


def test_every_series_is_in_a_table_and_every_table_is_used() -> None:
    own = {f"{RAY_PREFIX}{series}": name for name, metric in METRICS.items() for series in metric.series}
    own |= {series: name for name, metric in STATE_METRICS.items() for series in metric.series}
    recorded, used = set(recorded_series()), used_series()
    assert used - set(own) - recorded - set(FOREIGN_METRICS) == set(), "in no table"
    assert {*METRICS, *STATE_METRICS} - {own[series] for series in used if series in own} == set(), "nobody looks at it"
    assert recorded - used == set(), "recorded for nobody"
    assert set(FOREIGN_METRICS) - used == set(), "nobody looks at it"


def labels_by_series() -> dict[str, set[str]]:
    """The labels of every series of the tables, and of those that are recorded."""
    labels = {series: {*metric.labels} for metric in STATE_METRICS.values() for series in metric.series}
    for metric in METRICS.values():
        labels |= {f"{RAY_PREFIX}{series}": {"run", "WorkerId", "le", *metric.labels} for series in metric.series}
    labels |= {foreign.name: {"ray_io_cluster", *foreign.labels} for foreign in FOREIGN_METRICS.values()}
    return labels | {series: grouped(expression) for series, expression in recorded_series().items()}


def grouped(expression: str) -> set[str]:
    """The labels that an expression groups or matches by."""
    found = re.findall(r"\b(?:by|on|ignoring)\s*\(([^)]*)\)", expression)
    return {label.strip() for labels in found for label in labels.split(",") if label.strip()}


def test_labels_of_expressions_are_those_of_the_tables() -> None:
    labels = labels_by_series()
    rules = {name: alert["expr"] for name, alert in ALERTS.items()} | recorded_series()
    for where, expression in (expressions() | rules).items():
        plain = without_variables(expression)
        for series, selector in re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", plain):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', selector)))
            assert asked <= labels[series], f"{where}: {series}"
        assert grouped(plain) <= set().union(*(labels[series] for series in series_of(plain))), where


def test_legends_and_words_speak_of_labels_that_are_there() -> None:
    labels = labels_by_series()
    told = [(target["expr"], target["legendFormat"]) for _, panel in PANELS for target in panel["targets"]]
    for board in FILES.values():
        told += [(one["expr"], one["textFormat"]) for one in board["annotations"]["list"] if "expr" in one]
    for expression, legend in told:
        there = set().union(*(labels[one] for one in series_of(without_variables(expression))))
        left = grouped(expression) if " by (" in expression else there
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= left, (expression, legend)


def test_foreign_series_say_where_they_are_documented() -> None:
    for foreign in FOREIGN_METRICS.values():
        assert foreign.source.startswith(("https://", "ray 2.60, ray/")), foreign.name
        assert foreign.description


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_a_runbook_that_names_it_and_cases(name: str) -> None:
    alert = ALERTS[name]
    assert alert["alert"] == "Roadbed" + name.title().replace("-", "")
    page = ROOT / alert["annotations"]["runbook_url"].partition("/blob/main/")[2]
    assert alert["alert"] in page.read_text().partition("\n")[0]
    assert f"[{alert['alert']}](runbooks/{page.name})" in (ROOT / "docs" / "monitoring.md").read_text()
    assert CASES[name]["fires"]
    assert CASES[name]["quiet"]
    wanted = set(re.findall(r"\{\{ \$labels\.(\w+)", str(alert["annotations"])))
    for case in CASES[name]["fires"]:
        assert wanted <= set(case["labels"]), "the annotations speak of labels that it does not have"


def test_every_case_and_every_runbook_is_of_an_alert() -> None:
    assert set(CASES) == set(ALERTS)
    urls = "".join(alert["annotations"]["runbook_url"] for alert in ALERTS.values())
    for page in (ROOT / "docs" / "runbooks").glob("*.md"):
        assert f"/{page.name}" in urls


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    written(tmp_path / "rules.yaml", rule_groups(CHART))
    tests = [
        promtool_case(name, case, fires=kind == "fires")
        for name, cases in CASES.items() for kind in ("fires", "quiet") for case in cases[kind]
    ]  # fmt: skip
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "group_eval_order": [f"roadbed.recordings.{name}" for name in RECORDINGS],
        "tests": tests,
    }
    assert "SUCCESS" in promtool("test", "rules", written(tmp_path / "tests.yaml", document))


def promtool_case(name: str, case: dict[str, Any], *, fires: bool) -> dict[str, Any]:
    """As promtool's tests are written. Which alert fires is asked of the series ALERTS."""
    assert all(isinstance(values, str) for values in case["series"].values()), f"{name}: 0x5 is a number to YAML"
    alert = ALERTS[name]
    labels = {"alertname": alert["alert"], "alertstate": "firing", **alert["labels"], **case.get("labels", {})}
    told = ", ".join(f'{label}="{value}"' for label, value in labels.items())
    return {
        "name": f"{name}: {case['about']}",
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in case["series"].items()],
        "promql_expr_test": [
            {
                "expr": f'ALERTS{{alertname="{alert["alert"]}", alertstate="firing"}}',
                "eval_time": case["at"],
                "exp_samples": [{"labels": f"ALERTS{{{told}}}", "value": 1}] if fires else [],
            }
        ],
    }


def test_a_run_makes_few_series() -> None:
    """1,000 steps change nothing about it: no label counts anything. Ten workers, 19 classes as Cityscapes has."""
    sizes = {"class": 19, "phase": 8, "cause": 10, "place": 2, "source": 2}
    first, others = 0, 0
    for name, metric in METRICS.items():
        if not name.startswith("roadbed_serve"):
            number = len(metric.buckets) + 3 if metric.buckets else 1
            for label in metric.labels:
                number *= sizes[label]
            first += number
            others += number if name.startswith(("roadbed_store", "roadbed_data")) else 0
    assert first + 9 * others < 600


def test_labels_are_few() -> None:
    for metric in [*METRICS.values(), *STATE_METRICS.values()]:
        assert len(metric.labels) <= 3, metric.name
        assert not {"step", "epoch", "key", "sample", "uri", "message"} & set(metric.labels)
    assert CHART.is_dir()
