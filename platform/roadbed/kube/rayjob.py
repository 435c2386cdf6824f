"""The RayJob of a job spec: a pure function of spec and profile. Nothing is sent from here.

Source of the fields, and of what excludes what: the CRDs and validations of KubeRay 1.7, and Kueue 0.19's page on
RayJobs.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from roadbed.errors import UsageError
from roadbed.kube.names import (
    ELASTIC_ANNOTATION,
    JOB_ANNOTATION,
    OURS,
    QUEUE_LABEL,
    QUEUE_PRIORITY_LABEL,
    SPEC_FILE,
    SUBMISSION_ANNOTATION,
    job_labels,
)
from roadbed.kube.pods import (
    CONTAINER_SECURITY,
    SCRATCH_MOUNTS,
    head_template,
    object_store_bytes,
    submitter_template,
    worker_template,
)
from roadbed.kube.profile import Profile
from roadbed.kube.sizes import ClusterJob, Size, promised, size_of
from roadbed.spec import dump_job

MOST_LETTERS = 47
WORKERS = "workers"
# So soon go the pods of a job that ended. With a queue any job's: Kueue gives their place to others.
ENDED_TTL_S = 60
# The submitter only follows the driver's log; a lost connection or node ends it, and the last of these ends the job.
# A driver that fails is none of them.
SUBMITTER_RETRIES = 5
# An attempt of the run that was there before: how long its driver may pause before it tries again, and then be lost.
LONGEST_SILENCE_S = 360

_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def rayjob(job: ClusterJob, profile: Profile, *, namespace: str, submission: str = "") -> dict[str, Any]:
    """The manifest. `submission` tells retries of this RayJob from a later one; by default the digest of the spec.

    The spec is taken as it stands: `rooted` puts the profile's store into it. Raises UsageError if no pod holds a
    worker, or the name is none for a RayJob.
    """
    _check_name(job.name)
    size = size_of(job, profile.worker)
    text = dump_job(job)
    labels = job_labels(job.name, job.kind, text)
    submission = submission or hashlib.sha256(text.encode()).hexdigest()[:16]
    queue = queue_of(job, profile)
    metadata = {
        "name": job.name,
        "namespace": namespace,
        "labels": {**OURS, **labels, **_queue_labels(job, queue)},
        "annotations": {
            SUBMISSION_ANNOTATION: submission,
            **({ELASTIC_ANNOTATION: "true"} if queue and size.is_elastic else {}),
            JOB_ANNOTATION: text,
        },
    }
    spec = {
        "submissionMode": "K8sJobMode",
        "entrypoint": entrypoint(job, profile, submission=submission),
        "metadata": {"run": job.name, "kind": job.kind},
        "backoffLimit": job.cluster.retries,
        **_deadlines(job),
        **(_with_queue() if queue else _without_queue(job)),
        "submitterConfig": {"backoffLimit": SUBMITTER_RETRIES},
        "submitterPodTemplate": submitter_template(profile, labels=labels),
        "rayClusterSpec": _cluster(job, profile, size, labels=labels, text=text),
    }
    for template in _templates(spec):
        _give_priority(template, job, profile, queue=queue)
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata, "spec": spec}


def entrypoint(job: ClusterJob, profile: Profile, *, submission: str) -> str:
    """What Ray runs in the head. An attempt that was there before has time to end; one that failed for good ends it."""
    wait_s = profile.grace_s + LONGEST_SILENCE_S
    return f"roadbed {job.kind} {SPEC_FILE} --submission {submission} --wait-s {wait_s}"


def queue_of(job: ClusterJob, profile: Profile) -> str:
    """The job's LocalQueue; "" for none."""
    return profile.queue if job.cluster.queue is None else job.cluster.queue


def _check_name(name: str) -> None:
    """Clusters, services and labels are named after a RayJob. Source: KubeRay's ValidateRayJobMetadata."""
    if len(name) > MOST_LETTERS or not _DNS_1035.fullmatch(name):
        raise UsageError(
            f"name: {name} cannot name a RayJob, which takes a letter, then up to {MOST_LETTERS - 1} lower-case "
            "letters, digits and dashes; rename it with --set name=..."
        )


def _queue_labels(job: ClusterJob, queue: str) -> dict[str, str]:
    if not queue:
        return {}
    return {QUEUE_LABEL: queue, **({QUEUE_PRIORITY_LABEL: job.cluster.priority} if job.cluster.priority else {})}


def _deadlines(job: ClusterJob) -> dict[str, int]:
    hours = {
        "activeDeadlineSeconds": job.cluster.deadline_h,
        "preRunningDeadlineSeconds": job.cluster.start_deadline_h,
    }
    return {name: _seconds(value) for name, value in hours.items() if value is not None}


def _with_queue() -> dict[str, Any]:
    """Kueue starts the job, and wants its cluster shut down, which excludes deletion rules."""
    return {"suspend": True, "shutdownAfterJobFinishes": True, "ttlSecondsAfterFinished": ENDED_TTL_S}


def _without_queue(job: ClusterJob) -> dict[str, Any]:
    """Pods of a failed job stay for a while, to look at; the record of any job stays longer, and goes too.

    Not so with a deadline: the operator gives up a job by it, but training ends with its pods alone.
    """
    record_s = _seconds(job.cluster.keep_record_h)
    failed_s = ENDED_TTL_S if _deadlines(job) else _seconds(job.cluster.keep_failed_h)
    rules = []
    for condition, cluster_s in (
        ({"jobStatus": "SUCCEEDED"}, ENDED_TTL_S),
        ({"jobStatus": "FAILED"}, failed_s),
        ({"jobDeploymentStatus": "Failed"}, failed_s),
    ):
        for policy, ttl_s in (("DeleteCluster", cluster_s), ("DeleteSelf", max(record_s, cluster_s))):
            rules.append({"policy": policy, "condition": {**condition, "ttlSeconds": ttl_s}})
    return {"deletionStrategy": {"deletionRules": rules}}


def _cluster(job: ClusterJob, profile: Profile, size: Size, *, labels: dict[str, str], text: str) -> dict[str, Any]:
    head = head_template(
        profile, labels=labels, job_text=text, has_autoscaler=size.is_elastic, promised=promised(job, size)
    )
    return {
        "rayVersion": profile.ray_version,
        "authOptions": {"mode": "token" if profile.token_auth else "disabled"},
        **(_autoscaler(profile) if size.is_elastic else {}),
        "headGroupSpec": {
            "rayStartParams": {
                "num-cpus": "0",
                "dashboard-host": "0.0.0.0",
                "object-store-memory": str(object_store_bytes(profile.head)),
            },
            "template": head,
        },
        "workerGroupSpecs": [
            {
                "groupName": WORKERS,
                "replicas": size.min_pods,
                "minReplicas": size.min_pods,
                "maxReplicas": size.max_pods,
                "rayStartParams": {
                    "object-store-memory": str(object_store_bytes(profile.worker)),
                    **({"num-gpus": str(profile.worker.gpus)} if profile.worker.gpus else {}),
                },
                "template": worker_template(profile, labels=labels, job_text=text),
            }
        ],
    }


def _autoscaler(profile: Profile) -> dict[str, Any]:
    return {
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "idleTimeoutSeconds": 60,
            "imagePullPolicy": profile.image_pull_policy,
            "resources": {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"cpu": "500m", "memory": "1Gi"}},
            "securityContext": CONTAINER_SECURITY,
            "volumeMounts": SCRATCH_MOUNTS,
        },
    }


def _templates(spec: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = spec["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [spec["submitterPodTemplate"], *(group["template"] for group in groups)]


def _give_priority(template: dict[str, Any], job: ClusterJob, profile: Profile, *, queue: str) -> None:
    """With a queue the spec's priority is Kueue's; the pods have the profile's."""
    name = profile.priority_class if queue else job.cluster.priority or profile.priority_class
    if name:
        template["spec"]["priorityClassName"] = name


def _seconds(hours: float) -> int:
    return max(1, round(hours * 3600)) if hours else 0
