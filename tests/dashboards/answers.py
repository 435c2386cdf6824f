"""What a Prometheus answers the queries of a dashboard's file, asked as Grafana asks. Draws nothing, writes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import urllib3

MOST_POINTS = 600


@dataclass(frozen=True)
class Window:
    """The time that is shown, in unix seconds, and how often Prometheus scrapes, as Grafana's data source says it."""

    since: float
    until: float
    scrape_s: int = 15

    @property
    def step_s(self) -> int:
        """Seconds from one point to the next."""
        return max(self.scrape_s, int((self.until - self.since) / MOST_POINTS))

    @property
    def times(self) -> np.ndarray:
        """Of all points, in unix seconds."""
        return np.arange(self.since, self.until + 1e-3, self.step_s)

    @property
    def words(self) -> dict[str, str]:
        """Grafana's own variables. Source: grafana.com/docs/grafana/latest/datasources/prometheus/template-variables."""
        rate_s = max(self.step_s + self.scrape_s, 4 * self.scrape_s)
        shown_s = int(self.until - self.since)
        return {"__interval": f"{self.step_s}s", "__rate_interval": f"{rate_s}s", "__range": f"{shown_s}s"}


@dataclass(frozen=True)
class Series:
    """One series: what the legend calls it, its labels, and its values at the window's times, NaN where there is none.

    The answer to an instant query has one value, the newest.
    """

    name: str
    labels: dict[str, str]
    values: np.ndarray

    @property
    def is_lonely(self) -> bool:
        """A point without neighbours, which no line shows."""
        return int(np.isfinite(self.values).sum()) == 1

    @property
    def last(self) -> float:
        """The newest value that there is: Grafana's lastNotNull. There is one."""
        there = self.values[np.isfinite(self.values)]
        return float(there[-1])


class Prometheus:
    """The HTTP API of a Prometheus. Source: prometheus.io/docs/prometheus/latest/querying/api."""

    def __init__(self, url: str, window: Window) -> None:
        self._url = url.rstrip("/")
        self.window = window

    def label_values(self, series: str, label: str) -> list[str]:
        """The values of a label in the window, in order."""
        found: list[str] = self._asked(
            f"label/{label}/values", {"match[]": series, "start": self.window.since, "end": self.window.until}
        )
        return sorted(found)

    def query(self, expression: str, legend: str = "__auto", *, is_instant: bool = False) -> list[Series]:
        """All series of an expression. Raises click.ClickException if Prometheus refuses it."""
        window = self.window
        if is_instant:
            found = self._asked("query", {"query": expression, "time": window.until})["result"]
        else:
            fields = {"start": window.since, "end": window.times[-1], "step": window.step_s}
            found = self._asked("query_range", {"query": expression, **fields})["result"]
        return [self._series(one, legend) for one in found]

    def _series(self, found: Mapping[str, Any], legend: str) -> Series:
        labels = dict(found["metric"])
        if "value" in found:
            values = np.array([float(found["value"][1])])
        else:
            values = np.full(len(self.window.times), np.nan)
            for time_s, value in found["values"]:
                values[round((time_s - self.window.since) / self.window.step_s)] = float(value)
        values[np.isinf(values)] = np.nan
        return Series(_name(labels, legend), labels, values)

    def _asked(self, what: str, fields: Mapping[str, Any]) -> Any:
        reply = urllib3.request("GET", f"{self._url}/api/v1/{what}", fields=dict(fields), timeout=60, retries=False)
        if reply.status != 200:
            raise click.ClickException(f"Prometheus refuses {fields.get('query', what)}: {reply.data.decode()}")
        return reply.json()["data"]


def _name(labels: Mapping[str, str], legend: str) -> str:
    if legend != "__auto":
        return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), legend).strip()
    return ", ".join(value for label, value in labels.items() if label != "__name__")


def filled(expression: str, words: Mapping[str, str]) -> str:
    """The expression with its variables replaced. Raises KeyError if one is not among `words`."""
    return re.sub(r"\$(?:\{(\w+)\}|([a-z_]\w*))", lambda found: words[found[1] or found[2]], expression)


def variables_of(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The variables that a person chooses values of."""
    return [one for one in board["templating"]["list"] if one["type"] == "query"]


def choices(
    board: Mapping[str, Any], prometheus: Prometheus, chosen: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Of each variable of a board: the regular expression that stands for it in queries, and words for people.

    What is not chosen is all there is.
    """
    patterns, said = {}, {}
    for variable in variables_of(board):
        name = variable["name"]
        if name in chosen:
            # As Grafana does it: a backslash is one of the expression, and doubled as a letter of PromQL's string.
            patterns[name], said[name] = re.escape(chosen[name]).replace("\\", "\\\\"), chosen[name]
        else:
            series, label = re.findall(r"label_values\((.+), (\w+)\)", variable["definition"])[0]
            patterns[name] = variable["allValue"]
            said[name] = f"all ({', '.join(prometheus.label_values(series, label)) or 'none'})"
    return patterns, said
