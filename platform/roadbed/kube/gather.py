"""Jobs of a namespace with what belongs to each: pods, events, Kueue's Workload, and where their runs lie.

Reads the API server by `Cluster`; what its user may not read, or the cluster does not have, is left out.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from roadbed.errors import ClusterError, NoSuchObjectError, UsageError
from roadbed.kube.client import Cluster
from roadbed.kube.facts import SKEW_S, Object, event_at, seconds_of
from roadbed.kube.names import JOB_ANNOTATION, KIND_LABEL, OUR_PODS, OURS, RUN_LABEL, selector
from roadbed.spec import OutputSpec

FOLDERS = {"train": "runs", "tune": "sweeps"}
"""Kind of a job -> where its run lies under the root of the store."""


@dataclass(frozen=True)
class Belongings:
    """What belongs to a job."""

    pods: Sequence[Object]
    events: Sequence[Object]
    workload: Object | None


@dataclass(frozen=True)
class Snapshot:
    """What lies in a namespace for jobs, all of them or one."""

    pods: Sequence[Object]
    events: Sequence[Object]
    workloads: Sequence[Object]

    @classmethod
    def take(cls, cluster: Cluster, *, run: str = "") -> Snapshot:
        """Of all jobs, or of the one of a run's name."""
        labels = selector({RUN_LABEL: run} if run else OUR_PODS)
        return cls(_readable(cluster, "pods", labels), _readable(cluster, "events"), _readable(cluster, "workloads"))

    def of(self, rayjob: Object) -> Belongings:
        """What belongs to a RayJob; nothing of an earlier one of its name."""
        metadata = rayjob["metadata"]
        name, uid = metadata["name"], metadata.get("uid")
        since = seconds_of(metadata.get("creationTimestamp")) - SKEW_S
        pods = [
            pod
            for pod in self.pods
            if pod["metadata"]["labels"].get(RUN_LABEL) == name
            and seconds_of(pod["metadata"].get("creationTimestamp")) >= since
        ]
        workload = next((one for one in self.workloads if uid in _owners(one)), None)
        names = {name, *(pod["metadata"]["name"] for pod in pods)}
        if workload is not None:
            names.add(workload["metadata"]["name"])
        clusters = _clusters(rayjob, pods)
        events = [event for event in self.events if _is_about(event, names, clusters)]
        return Belongings(pods, [event for event in events if event_at(event) >= since], workload)


def all_jobs(cluster: Cluster) -> list[dict[str, Any]]:
    """The RayJobs that roadbed made, the newest first."""
    found = cluster.list("rayjobs", labels=selector(OURS))
    return sorted(found, key=lambda one: str(one["metadata"].get("creationTimestamp")), reverse=True)


def find_job(cluster: Cluster, name: str) -> dict[str, Any]:
    """The RayJob of a name.

    Raises NoSuchObjectError that names the nearest one there is, UsageError for one that roadbed did not make.
    """
    try:
        found = cluster.get("rayjobs", name)
        if OURS.items() <= (found["metadata"].get("labels") or {}).items():
            return found
        raise UsageError(
            f"RayJob {name} in namespace {cluster.namespace}: was not made by roadbed; see `kubectl get rayjob {name}`"
        )
    except NoSuchObjectError:
        names = [one["metadata"]["name"] for one in all_jobs(cluster)]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else "see `roadbed jobs list`."
    raise NoSuchObjectError(
        f"{name}: no such job in namespace {cluster.namespace}; {hint} A job's record goes a while after its end, its "
        f"run stays: `roadbed runs show {name}`"
    )


def store_of(rayjob: Object) -> str:
    """The root of the store that a job's spec names."""
    text = (rayjob["metadata"].get("annotations") or {}).get(JOB_ANNOTATION, "")
    try:
        output = (yaml.safe_load(text) or {}).get("output") or {}
    except (yaml.YAMLError, AttributeError):
        output = {}
    return str(output.get("store") or OutputSpec().store)


def store_settings(rayjob: Object) -> dict[str, str]:
    """What leads the job's pods to the store, without keys: variables of AWS by name."""
    try:
        container = rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    except (KeyError, IndexError):
        return {}
    wanted = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")
    return {one["name"]: one["value"] for one in container.get("env") or [] if one["name"] in wanted and "value" in one}


def folder_of(rayjob: Object) -> str:
    """Where under the root the job's run lies: "runs", or "sweeps" for one of kind tune."""
    return FOLDERS.get((rayjob["metadata"].get("labels") or {}).get(KIND_LABEL, ""), "runs")


def _readable(cluster: Cluster, kind: str, labels: str = "") -> list[dict[str, Any]]:
    try:
        return cluster.list(kind, labels=labels)
    except NoSuchObjectError:
        return []  # A cluster without Kueue.
    except ClusterError:
        if kind == "pods":
            raise
        return []  # Its user may see pods, but no events or Workloads: less is explained.


def _owners(one: Object) -> set[Any]:
    return {owner.get("uid") for owner in one["metadata"].get("ownerReferences") or []} - {None}


def _clusters(rayjob: Object, pods: Sequence[Object]) -> set[str]:
    """Names of the job's Ray clusters: every try has its own."""
    current = (rayjob.get("status") or {}).get("rayClusterName")
    found = {(pod["metadata"].get("labels") or {}).get("ray.io/cluster") for pod in pods} | {current}
    return {name for name in found if name}


def _is_about(event: Object, names: set[str], clusters: set[str]) -> bool:
    """Whether an event is about one of these objects, or about a pod of these clusters that is gone."""
    name = (event.get("involvedObject") or {}).get("name") or ""
    return name in names or any(name == one or name.startswith(f"{one}-") for one in clusters)
