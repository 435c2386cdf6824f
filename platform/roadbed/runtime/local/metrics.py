"""Where the processes of a local Ray tell their metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from roadbed.runtime.local.folder import local_folder
from roadbed.runtime.local.lifecycle import look

_DISCOVERY_FILE = "prom_metrics_service_discovery.json"
"""Ray's head writes the addresses into it for Prometheus. Source: ray 2.60, ray/_private/ray_constants.py."""


def metrics_urls(folder: Path | str | None = None) -> Sequence[str]:
    """The addresses of the local Ray's texts of metrics, none as long as there is no such Ray."""
    state = look(local_folder(folder))
    if state is None or state.ray is None:
        return ()
    session_folder = Path(state.ray.scratch) if state.ray.scratch else state.folder / "ray"
    with suppress(OSError, ValueError):
        groups = json.loads((session_folder / _DISCOVERY_FILE).read_text())
        return [f"http://{target}/metrics" for group in groups for target in group["targets"]]
    return ()
