"""A real Prometheus as tests ask it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
from collections.abc import Callable
from typing import Any

from roadbed.runtime.local.processes import without_proxy

PATIENCE_S = 120.0


class Prometheus:
    """The HTTP API of the server at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: object) -> Any:
        """The data of an answer. An error of PromQL's fails with what it says."""
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
        try:
            with without_proxy().open(address, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """What it is now."""
        return list(self.get("query", query=expression)["result"])

    def over(self, expression: str, *, since: float, step_s: int = 5) -> list[dict[str, Any]]:
        """What it was from `since` (unix seconds) until now."""
        found = self.get("query_range", query=expression, start=since, end=time.time(), step=step_s)
        return list(found["result"])

    def names(self, *, since: float) -> set[str]:
        """The names of all series since then."""
        return set(self.get("label/__name__/values", start=since))

    def until(self, is_so: Callable[[], object], what: str, *, patience_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + patience_s
        while not is_so():
            assert time.monotonic() < deadline, f"waited {patience_s} s for {what}; alerts: {self.alerts()}"
            time.sleep(0.5)

    def alerts(self) -> dict[str, str]:
        """The alerts whose condition holds: pending or firing."""
        return {alert["labels"]["alertname"]: alert["state"] for alert in self.get("alerts")["alerts"]}
