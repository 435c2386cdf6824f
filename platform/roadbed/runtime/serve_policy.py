"""How many replicas there should be: by the requests that wait for an engine, or are at work in one.

Ray's own policy counts all requests that a replica holds, also those whose bodies come slowly and cost nothing. The
delays and bounds of the deployment are applied to what is returned here. Runs in Serve's controller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

WAITING = "waiting"


def replicas_for_waiting(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """The wanted number of replicas, and no state. Without any report yet, what there is."""
    waiting = (context.aggregated_metrics or {}).get(WAITING)
    if not waiting:
        return context.target_num_replicas, {}
    return sum(waiting.values()) / context.config.get_target_ongoing_requests(), {}
