"""The records of ended jobs that nobody else takes away.

Kueue's jobs have no deletion rules, and those of other jobs are for success and failure, not for what was stopped or
refused. A quota of the namespace would fill up. Whoever submits the next job takes them away.
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
    """Delete the RayJobs that ended longer ago than their `cluster.keep_record_h` and are there; what fails is told."""
    try:
        for name in old_records(cluster.list("rayjobs", labels=selector(OURS)), now=clock()):
            cluster.delete("rayjobs", name)
            notify(f"the record of RayJob {name}, which ended long ago, is taken away; its run stays")
    except ClusterError as error:
        notify(f"records of ended jobs were not looked through: {error}")


def old_records(rayjobs: Iterable[Object], *, now: float) -> list[str]:
    """The names of those whose time is over, and which do not go by deletion rules of their own."""
    return [str(one["metadata"]["name"]) for one in rayjobs if _is_old(one, now)]


def _is_old(rayjob: Object, now: float) -> bool:
    status: Object = rayjob.get("status") or {}
    if status.get("jobDeploymentStatus") not in ENDED or _goes_by_itself(rayjob, status):
        return False
    ended_at = seconds_of(status.get("endTime") or rayjob["metadata"].get("creationTimestamp"))
    return now - ended_at > _kept_h(rayjob) * 3600


def _goes_by_itself(rayjob: Object, status: Object) -> bool:
    has_rules = QUEUE_LABEL not in (rayjob["metadata"].get("labels") or {})
    is_met = status.get("jobStatus") in ("SUCCEEDED", "FAILED") or status.get("jobDeploymentStatus") == "Failed"
    return has_rules and is_met


def _kept_h(rayjob: Object) -> float:
    """Of the spec that the RayJob carries; the default where it carries none that can be read."""
    text = (rayjob["metadata"].get("annotations") or {}).get(JOB_ANNOTATION, "")
    try:
        hours: Any = yaml.safe_load(text)["cluster"]["keep_record_h"]
    except (yaml.YAMLError, KeyError, TypeError):
        hours = None
    return float(hours) if isinstance(hours, int | float) else ClusterSpec().keep_record_h
