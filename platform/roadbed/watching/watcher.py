"""One look at everything: the store's runs and sweeps, and what endpoints tell."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from roadbed.storage import Store
from roadbed.watching.endpoints import EndpointNow, Telling
from roadbed.watching.runs import RunNow, Runs
from roadbed.watching.sweeps import SweepNow, Sweeps

Get = Callable[[str], tuple[int, bytes]]
"""Status and body of a GET; raises OSError where nobody answers."""


@dataclass(frozen=True)
class Look:
    """What was seen `at` (unix seconds). `num_runs` counts all runs by state, `num_sweeps` all sweeps.

    `is_ready` is what the endpoint's own port says, None where it does not answer, and `said` what or why in words.
    `problems` are of metrics that could not be read.
    """

    at: float
    runs: Sequence[RunNow] = ()
    num_runs: Mapping[str, int] = field(default_factory=dict)
    sweeps: Sequence[SweepNow] = ()
    num_sweeps: int = 0
    endpoints: Sequence[EndpointNow] = ()
    is_ready: bool | None = None
    said: str = ""
    problems: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "at": self.at,
            "runs": [one.to_json() for one in self.runs],
            "num_runs": dict(self.num_runs),
            "sweeps": [one.to_json() for one in self.sweeps],
            "num_sweeps": self.num_sweeps,
            "endpoints": [one.to_json() for one in self.endpoints],
            "is_ready": self.is_ready,
            "said": self.said,
            "problems": list(self.problems),
        }


class Watcher:
    """Looks at the store `root`, at the endpoint at `url`, and at the texts of metrics at `metrics_urls`.

    `clock` gives unix seconds, `seconds` seconds that only grow.
    """

    def __init__(
        self,
        root: Store,
        *,
        url: str,
        metrics_urls: Callable[[], Sequence[str]],
        get: Get,
        clock: Callable[[], float] = time.time,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runs, self._sweeps = Runs(root, clock), Sweeps(root, clock)
        self._url, self._metrics_urls, self._get = url, metrics_urls, get
        self._clock, self._seconds = clock, seconds
        self._telling = Telling()

    def look(self, *, most_runs: int, most_sweeps: int) -> Look:
        """Look now. Raises StoreError while the store is away."""
        is_ready, said = self._ask()
        problems = self._hear()
        runs, num_runs = self._runs.look(most=most_runs, shares=self._telling.shares())
        sweeps, num_sweeps = self._sweeps.look(most=most_sweeps)
        return Look(
            at=self._clock(),
            runs=runs,
            num_runs=num_runs,
            sweeps=sweeps,
            num_sweeps=num_sweeps,
            endpoints=self._telling.endpoints(),
            is_ready=is_ready,
            said=said,
            problems=problems,
        )

    def _ask(self) -> tuple[bool | None, str]:
        """Whether the endpoint is ready, and with which version; None if nobody answers."""
        try:
            status, body = self._get(f"{self._url}/readyz")
            answer = json.loads(body)
            said = f"ready, {answer['model']}" if status == 200 else str(answer["error"]["message"])
        except OSError as error:
            return None, _reason(error)
        except (ValueError, KeyError, TypeError):
            return None, "no endpoint of roadbed"
        return status == 200, said

    def _hear(self) -> list[str]:
        """Read the texts of metrics; why those could not be read that could not."""
        texts, problems = [], []
        for url in self._metrics_urls():
            try:
                status, body = self._get(url)
                if status == 200:
                    texts.append(body.decode())
                else:
                    problems.append(f"{url.partition('?')[0]}: status {status}")
            except OSError as error:
                problems.append(f"{url.partition('?')[0]}: {_reason(error)}")
            except UnicodeDecodeError:
                problems.append(f"{url.partition('?')[0]}: is no text of metrics")
        try:
            self._telling.add("\n".join(texts), at=self._seconds())
        except ValueError as error:
            problems.append(f"no text of metrics: {error}")
        return problems


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason)
