"""Objects as a cluster with KubeRay and Kueue holds them, for the tests of jobs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from roadbed.kube.facts import JobFacts
from roadbed.kube.names import OUR_PODS, OURS
from roadbed.runs import RunStatus

NOW = 1_790_000_000.0
NAME, CLUSTER = "town", "town-x7k2p"
IMAGE = "registry.example.com/roadbed:0.1.0"
LABELS = {"roadbed.dev/run": NAME, "roadbed.dev/kind": "train"}
SPEC_TEXT = "kind: train\nname: town\ndata: {uri: 's3://roadbed/datasets/town'}\n"


def stamp(at: float) -> str:
    """Unix seconds as Kubernetes writes them."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rayjob(
    deployment: str = "Initializing",
    *,
    job: str = "",
    reason: str = "",
    message: str = "",
    queue: str = "",
    age_s: float = 600.0,
    spec: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The RayJob of a run; `deployment` and `job` are its two statuses, "" for one that nobody has looked at."""
    labels = {**OURS, **LABELS}
    if queue:
        labels["kueue.x-k8s.io/queue-name"] = queue
    status = {"jobDeploymentStatus": deployment, "jobStatus": job, "reason": reason, "message": message, **more}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": NAME,
            "namespace": "roadbed",
            "uid": "4d0c6e5f-7a0a-4f0e-9d4e-000000000001",
            "creationTimestamp": stamp(NOW - age_s),
            "labels": labels,
            "annotations": {"roadbed.dev/job": SPEC_TEXT},
        },
        "spec": {"entrypoint": "roadbed train /etc/roadbed/job.yaml", "backoffLimit": 2, **(spec or {})},
        "status": {"rayClusterName": CLUSTER, **{key: value for key, value in status.items() if value}}
        if deployment
        else {},
    }


def pod(
    role: str = "worker",
    number: int = 1,
    *,
    phase: str = "Pending",
    reason: str = "",
    message: str = "",
    conditions: list[dict[str, Any]] | None = None,
    waiting: tuple[str, str] | None = None,
    ended: dict[str, Any] | None = None,
    age_s: float = 300.0,
) -> dict[str, Any]:
    """A pod of the job; `waiting` and `ended` are the state of its container, which has its node by then."""
    name = f"{NAME}-{number}" if role == "submitter" else f"{CLUSTER}-{role}-{number}"
    container = {"head": "ray-head", "worker": "ray-worker", "submitter": "ray-job-submitter"}[role]
    state: dict[str, Any] = {}
    if waiting:
        state = {"waiting": {"reason": waiting[0], "message": waiting[1]}}
    elif ended:
        state = {"terminated": ended}
    elif phase == "Running":
        state = {"running": {"startedAt": stamp(NOW - age_s)}}
    statuses = [{"name": container, "image": IMAGE, "state": state, "ready": phase == "Running"}] if state else []
    has_node = bool(state) or phase != "Pending"
    found = list(conditions or [])
    if has_node and not any(one["type"] == "PodScheduled" for one in found):
        found.append({"type": "PodScheduled", "status": "True"})
    if phase == "Running":
        found.append({"type": "Ready", "status": "True"})
    labels = {**OUR_PODS, **LABELS}
    if role != "submitter":
        labels |= {"ray.io/cluster": CLUSTER, "ray.io/node-type": role}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "roadbed",
            "labels": labels,
            "creationTimestamp": stamp(NOW - age_s),
        },
        "spec": {
            "containers": [{"name": container, "image": IMAGE, "resources": {"limits": {"nvidia.com/gpu": "1"}}}]
            if role == "worker"
            else [{"name": container, "image": IMAGE}]
        },
        "status": {
            "phase": phase,
            **({"reason": reason} if reason else {}),
            **({"message": message} if message else {}),
            "conditions": found,
            "containerStatuses": statuses,
        },
    }


def unschedulable(message: str, role: str = "worker", number: int = 1) -> dict[str, Any]:
    """A pod that the scheduler found no node for."""
    said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(role, number, conditions=[said])


def event(
    reason: str,
    message: str,
    *,
    kind: str = "RayCluster",
    name: str = CLUSTER,
    source: str = "raycluster-controller",
    age_s: float = 20.0,
    number: int = 1,
) -> dict[str, Any]:
    """A warning about one of the job's objects."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{name}.{reason.lower()}.{number}",
            "namespace": "roadbed",
            "creationTimestamp": stamp(NOW - age_s),
        },
        "involvedObject": {"kind": kind, "namespace": "roadbed", "name": name},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "source": {"component": source},
        "lastTimestamp": stamp(NOW - age_s),
    }


def workload(
    message: str = "", *, reason: str = "Pending", admitted: bool = False, active: bool = True, **more: Any
) -> dict[str, Any]:
    """Kueue's Workload of the job; `message` is why it has no quota, `more` goes into its status."""
    is_reserved = "True" if admitted or not message else "False"
    conditions = [{"type": "QuotaReserved", "status": is_reserved, "reason": reason, "message": message}]
    if admitted:
        conditions.append({"type": "Admitted", "status": "True", "reason": "Admitted", "message": "admitted"})
    conditions += more.pop("conditions", [])
    owner = {"apiVersion": "ray.io/v1", "kind": "RayJob", "name": NAME, "uid": rayjob()["metadata"]["uid"]}
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {"name": f"rayjob-{NAME}-0a1b2", "namespace": "roadbed", "ownerReferences": [owner]},
        "spec": {"queueName": "team-a", "active": active},
        "status": {"conditions": conditions, **more},
    }


def run_status(
    state: Any = "running", *, reason: str | None = None, heartbeat_age_s: float = 1.0, step: int = 120
) -> RunStatus:
    """The run's status as a reader believes it."""
    progress = {"num_steps": 400, "miou": 0.5}
    return RunStatus(NAME, state, 1, step, reason, NOW - heartbeat_age_s, 7, progress)


def facts(job: dict[str, Any], *pods: dict[str, Any], **more: Any) -> JobFacts:
    """All that is known of a job."""
    return JobFacts(job, pods, now=NOW, **more)


RUNNING = (pod("head", phase="Running"), pod(number=1, phase="Running"), pod(number=2, phase="Running"))
