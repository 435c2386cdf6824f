"""What the chart takes in place of a job of kind serve: the endpoint's values."""

from __future__ import annotations

from typing import Any

from roadbed.kube.manifest import as_yaml
from roadbed.spec import ServeJob


def serve_values(job: ServeJob) -> str:
    """The chart's values, as YAML, by which the endpoint of the job runs on a cluster."""
    values: dict[str, Any] = {
        "store": {"uri": job.output.store},
        "endpoint": {"enabled": True, "name": job.name, "serve": job.serve.model_dump(mode="json", exclude_unset=True)},
    }
    return as_yaml(values)
