"""What a dashboard is made of, and how that becomes the JSON of Grafana 11 (schema version 39).

Panels stand in rows, from left to right, in a grid that is 24 wide; where each goes follows from its size. On a narrow
screen Grafana puts them below each other in this order. Source: grafana/grafana, kinds/dashboard/dashboard_kind.cue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

GRID_COLUMNS = 24
RUNBOOKS = "https://github.com/roadbed/roadbed/blob/main/docs/runbooks"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Kind = Literal["timeseries", "stat", "bargauge", "table", "state-timeline"]
Step = tuple[float | None, str]
"""A threshold: from this value on (None: from the lowest) this colour."""


def bad_above(soon: float, bad: float) -> tuple[Step, ...]:
    """Green, then orange, then red."""
    return ((None, "green"), (soon, "orange"), (bad, "red"))


def bad_below(bad: float, soon: float) -> tuple[Step, ...]:
    """Red, then orange, then green."""
    return ((None, "red"), (bad, "orange"), (soon, "green"))


@dataclass(frozen=True)
class Query:
    """A PromQL expression and what its series are called. An `is_instant` one is asked for the newest value alone."""

    expr: str
    legend: str = ""
    is_instant: bool = False


@dataclass(frozen=True)
class Panel:
    """One panel. `unit` is Grafana's name of it, `runbook` the page of an alert that looks at the same."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 7
    thresholds: tuple[Step, ...] = ()
    lowest: float | None = None
    highest: float | None = None
    is_stacked: bool = False
    is_log: bool = False
    runbook: str | None = None
    mappings: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Text and colour for a value."""
    hides: tuple[str, ...] = ()
    """Columns of a table that say nothing."""
    opens_run: bool = False
    """Whether a click on a value opens the page of the run that its label `run` names."""
    colors: Mapping[str, str] = field(default_factory=dict)
    """Colours of series that mean something, by their names; others have the next one of the palette."""


@dataclass(frozen=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a dashboard: the values of `label` in `series`."""

    name: str
    title: str
    series: str
    label: str
    takes_all: bool = True


@dataclass(frozen=True)
class Annotation:
    """Moments that are marked on all panels: whenever `expr` is there."""

    name: str
    expr: str
    text: str
    color: str


@dataclass(frozen=True)
class Dashboard:
    """`name` is the file's and the address's."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    since: str = "now-6h"

    def to_json(self) -> dict[str, Any]:
        """The dashboard as Grafana reads it from a file."""
        return {
            "uid": f"roadbed-{self.name}",
            "title": f"roadbed / {self.title}",
            "description": self.description,
            "tags": ["roadbed"],
            "schemaVersion": 39,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": self.since, "to": "now"},
            "timezone": "browser",
            "links": [_link("roadbed", "dashboards", tags=("roadbed",))],
            "templating": {"list": [_SOURCES, *map(_variable, self.variables)]},
            "annotations": {"list": [_GRAFANAS_OWN, *map(_annotation, self.annotations)]},
            "panels": _laid_out(self.rows),
        }


def _link(
    title: str, kind: str, *, url: str = "", tags: tuple[str, ...] = (), target_blank: bool = False
) -> dict[str, Any]:
    return {
        "title": title,
        "type": kind,
        "url": url,
        "tags": [*tags],
        "asDropdown": kind == "dashboards",
        "includeVars": kind == "dashboards",
        "keepTime": kind == "dashboards",
        "targetBlank": target_blank,
        "icon": "external link",
        "tooltip": title,
    }


_SOURCES = {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "refresh": 1,
    "regex": "",
    "skipUrlSync": False,
    "options": [],
    "current": {},
}
_GRAFANAS_OWN = {
    "name": "Annotations & Alerts",
    "type": "dashboard",
    "builtIn": 1,
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "enable": True,
    "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)",
}


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.series}, {variable.label})"
    made: dict[str, Any] = {
        "name": variable.name,
        "label": variable.title,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": f"variable-{variable.name}"},
        "definition": query,
        "hide": 0,
        "includeAll": variable.takes_all,
        "multi": variable.takes_all,
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "skipUrlSync": False,
        "options": [],
        "current": {},
    }
    if variable.takes_all:
        made |= {"allValue": ".*", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}}
    return made


def _annotation(annotation: Annotation) -> dict[str, Any]:
    return {
        "name": annotation.name,
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": annotation.color,
        "expr": annotation.expr,
        "titleFormat": annotation.name,
        "textFormat": annotation.text,
        "step": "60s",
        "useValueForTime": False,
    }


def _laid_out(rows: tuple[Row, ...]) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        place = {"h": 1, "w": GRID_COLUMNS, "x": 0, "y": top}
        panels.append({"id": len(panels) + 1, "type": "row", "title": row.title, "collapsed": False, "gridPos": place}
                      | {"panels": []})  # fmt: skip
        top += 1
        left = line_height = 0
        for panel in row.panels:
            if left + panel.width > GRID_COLUMNS:
                top, left, line_height = top + line_height, 0, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            panels.append({"id": len(panels) + 1, "gridPos": place} | _panel(panel))
            left, line_height = left + panel.width, max(line_height, panel.height)
        top += line_height
    return panels


def _panel(panel: Panel) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "targets": [_target(query, f"{chr(ord('A') + number)}", panel) for number, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": [*map(_colored, panel.colors.items())]},
        "options": _OPTIONS[panel.kind],
    }
    if panel.runbook is not None:
        url = f"{RUNBOOKS}/{panel.runbook}.md"
        made["links"] = [_link("what to do", "link", url=url, target_blank=True)]
    if panel.kind == "table":
        hidden = {"Time": True, "__name__": True} | dict.fromkeys(panel.hides, True)
        made["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return made


def _target(query: Query, reference: str, panel: Panel) -> dict[str, Any]:
    is_instant = query.is_instant or panel.kind in ("bargauge", "table")
    return {
        "refId": reference,
        "datasource": SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": is_instant,
        "range": not is_instant,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _colored(named: tuple[str, str]) -> dict[str, Any]:
    name, color = named
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps = panel.thresholds or ((None, "blue" if panel.kind in ("stat", "bargauge") else "green"),)
    made: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]},
        "color": {"mode": "palette-classic-by-name" if panel.kind == "timeseries" else "thresholds"},
    }
    if panel.lowest is not None:
        made["min"] = panel.lowest
    if panel.highest is not None:
        made["max"] = panel.highest
    if panel.opens_run:
        made["links"] = [_run_link("__data.fields" if panel.kind == "table" else "__field.labels")]
    if panel.mappings:
        options = {value: {"text": text, "color": color} for value, (text, color) in panel.mappings.items()}
        made["mappings"] = [{"type": "value", "options": options}]
    if panel.kind == "timeseries":
        made["custom"] = {
            "drawStyle": "line",
            "lineWidth": 0 if panel.is_stacked else 1,
            "fillOpacity": 70 if panel.is_stacked else 0,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
            "scaleDistribution": {"type": "log", "log": 10} if panel.is_log else {"type": "linear"},
            "thresholdsStyle": {"mode": "dashed" if panel.thresholds else "off"},
        }
    return made


def _run_link(labels: str) -> dict[str, Any]:
    """Source: grafana.com/docs/grafana/latest/panels-visualizations/configure-data-links."""
    return {"title": "the run", "url": f"/d/roadbed-training?var-run=${{{labels}.run}}&${{__url_time_range}}"}


_REDUCED = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: dict[Kind, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": _REDUCED,
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
    },
    "bargauge": {
        "reduceOptions": _REDUCED,
        "displayMode": "gradient",
        "orientation": "horizontal",
        "showUnfilled": True,
        "valueMode": "color",
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
    "state-timeline": {"mergeValues": True, "showValue": "auto", "rowHeight": 0.8, "alignValue": "left"},
}
