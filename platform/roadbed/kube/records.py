"""The records of jobs that ended in a queue.

Kueue's jobs have no deletion rules, and neither KubeRay nor Kueue takes their RayJobs away: a quota of the namespace
would fill up. Whoever submits the next job does it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import yaml

from roadbed.errors import ClusterError
from roadbed.kube.client import Cluster
from roadbed.kube.facts import Object, seconds_of
from roadbed.kube.names import JOB_ANNOTATION, OURS, QUEUE_LABEL, selector
from roadbed.kube.sending import ENDED
from roadbed.spec import ClusterSpec


def remove_old_records(
    cluster: Cluster, *, notify: Callable[[str], None], clock: Callable[[], float] = time.time
) -> None:
    """Delete the RayJobs of queues that ended longer ago than their `cluster.keep_record_h`; what fails is told."""
    try:
        for name in old_records(cluster.list("rayjobs", labels=selector(OURS)), now=clock()):
            cluster.delete("rayjobs", name)
            notify(f"the record of RayJob {name}, which ended in its queue, has gone; its run stays")
    except ClusterError as error:
        notify(f"records of ended jobs were not looked through: {error}")


def old_records(rayjobs: Iterable[Object], *, now: float) -> list[str]:
    """The names of those whose time is over. A RayJob without a queue goes by its own deletion rules."""
    return [str(one["metadata"]["name"]) for one in rayjobs if _is_old(one, now)]


def _is_old(rayjob: Object, now: float) -> bool:
    status: Object = rayjob.get("status") or {}
    if QUEUE_LABEL not in (rayjob["metadata"].get("labels") or {}) or status.get("jobDeploymentStatus") not in ENDED:
        return False
    ended_at = seconds_of(status.get("endTime") or rayjob["metadata"].get("creationTimestamp"))
    return now - ended_at > _kept_h(rayjob) * 3600


def _kept_h(rayjob: Object) -> float:
    """Of the spec that the RayJob carries; the default where it carries none that can be read."""
    text = (rayjob["metadata"].get("annotations") or {}).get(JOB_ANNOTATION, "")
    try:
        hours: Any = yaml.safe_load(text)["cluster"]["keep_record_h"]
    except (yaml.YAMLError, KeyError, TypeError):
        hours = None
    return float(hours) if isinstance(hours, int | float) else ClusterSpec().keep_record_h
