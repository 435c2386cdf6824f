"""What Ray knows of nodes that are about to be taken away, in the words that the training loop wants."""

from __future__ import annotations

from datetime import UTC, datetime


def preemption_notice() -> str | None:
    """The notice that stands for nodes of this worker group, or None. A barrier: every worker must call it.

    Ray looks for drained nodes every 5 s (RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S). Who drains them: KubeRay's autoscaler,
    a cloud's handler of spot notices, or an administrator.
    """
    import ray.train

    info = ray.train.get_preemption_info()
    if info is None:
        return None
    nodes = ", ".join(node_id[:12] for node_id in info.preempted_node_ids)
    return f"node {nodes} with ranks {info.preempted_ranks} goes {_when(info.deadline_ms)}"


def _when(deadline_ms: int | None) -> str:
    if deadline_ms is None:
        return "soon"
    return f"at {datetime.fromtimestamp(deadline_ms / 1000, UTC):%H:%M:%S} UTC"
