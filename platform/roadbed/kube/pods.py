"""The pods of a job: head, workers and submitter, as dicts of Kubernetes. Pure.

All of them pass the Pod Security Standard "restricted": nobody's root, no capabilities, a root file system that is
read-only, and places to write in emptyDirs. Source: kubernetes.io, "Pod Security Standards".
"""

from __future__ import annotations

from typing import Any

from roadbed.kube.names import JOB_ANNOTATION, PORTS, SPEC_FILE, SPEC_FOLDER
from roadbed.kube.profile import HeadProfile, Profile, Toleration, WorkerProfile

HOME = "/home/roadbed"
USER = 1000
GIB = 1024**3
HEAD_SHM_GIB = 1
# A driver that Ray is asked to stop has so long to let its workers save (runtime/judgement.py); by itself Ray gives 3.
STOP_S = 30
# Of its grace a pod's hook leaves so many seconds, for Ray to end by SIGTERM. The hook has drained the node before: of
# the 30 s for which Ray drains it once more, these are enough.
AFTER_HOOK_S, DRAIN_S = 15, 10

POD_SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
# What Ray, its autoscaler and libraries write to.
SCRATCH: tuple[tuple[str, str], ...] = (("tmp", "/tmp"), ("home", HOME))
SCRATCH_MOUNTS = [{"name": name, "mountPath": path} for name, path in SCRATCH]


def head_template(
    profile: Profile, *, labels: dict[str, str], job_text: str, has_autoscaler: bool, promised: tuple[int, int]
) -> dict[str, Any]:
    """The pod of Ray's head, where the job's driver runs; `promised` are the CPUs and GPUs that workers may grow to."""
    head = profile.head
    cpus, gpus = promised
    env = [
        _env("ROADBED_CLUSTER_CPUS", str(cpus)),
        _env("ROADBED_CLUSTER_GPUS", str(gpus)),
        _env("RAY_JOB_STOP_WAIT_TIME_S", str(STOP_S)),
    ]
    container = _ray_container(profile, "ray-head", _resources(head.cpus, head.memory_gib), env=env)
    container["lifecycle"]["preStop"]["exec"]["command"].append("--head")
    container["ports"] = [{"name": name, "containerPort": port} for name, port in PORTS.items()]
    return _template(profile, container, head, labels=labels, job_text=job_text, has_token=has_autoscaler)


def worker_template(profile: Profile, *, labels: dict[str, str], job_text: str) -> dict[str, Any]:
    """A pod of training workers."""
    worker = profile.worker
    resources = _resources(worker.cpus, worker.memory_gib)
    if worker.gpus:
        for amounts in resources.values():
            amounts[worker.gpu_resource] = str(worker.gpus)
    container = _ray_container(profile, "ray-worker", resources, env=[])
    container["ports"] = [{"name": "metrics", "containerPort": PORTS["metrics"]}]
    return _template(profile, container, worker, labels=labels, job_text=job_text, has_token=False)


def submitter_template(profile: Profile, *, labels: dict[str, str]) -> dict[str, Any]:
    """The pod that hands the entrypoint to Ray and prints its log; KubeRay writes its command."""
    container = {
        "name": "ray-job-submitter",
        "image": profile.image,
        "imagePullPolicy": profile.image_pull_policy,
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": SCRATCH_MOUNTS,
    }
    spec = {
        **_spec(profile, profile.head, has_token=False),
        "containers": [container],
        "volumes": [{"name": name, "emptyDir": {}} for name, _ in SCRATCH],
    }
    return {"metadata": _metadata(profile, labels), "spec": spec}


def shm_gib(pod: HeadProfile | WorkerProfile) -> float:
    """Size of the pod's /dev/shm, a part of its memory."""
    return pod.shm_gib if isinstance(pod, WorkerProfile) else HEAD_SHM_GIB


def object_store_bytes(pod: HeadProfile | WorkerProfile) -> int:
    """What Ray keeps objects in, of /dev/shm: half, for NCCL needs some too, and nothing large passes through Ray."""
    return max(100_000_000, int(shm_gib(pod) * GIB) // 2)


def _template(
    profile: Profile,
    container: dict[str, Any],
    pod: HeadProfile | WorkerProfile,
    *,
    labels: dict[str, str],
    job_text: str,
    has_token: bool,
) -> dict[str, Any]:
    metadata = _metadata(profile, labels)
    metadata["annotations"] = {**metadata["annotations"], JOB_ANNOTATION: job_text}
    spec = _spec(profile, pod, has_token=has_token)
    spec["terminationGracePeriodSeconds"] = profile.grace_s
    return {"metadata": metadata, "spec": {**spec, "containers": [container], "volumes": _volumes(pod)}}


def _metadata(profile: Profile, labels: dict[str, str]) -> dict[str, Any]:
    return {"labels": {**profile.labels, **labels}, "annotations": dict(profile.annotations)}


def _spec(profile: Profile, pod: HeadProfile | WorkerProfile, *, has_token: bool) -> dict[str, Any]:
    """What all pods have. KubeRay's autoscaler alone needs the token of the API server.

    Services of the namespace are kept out of the environment: one called "roadbed" would set ROADBED_... there.
    """
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": has_token,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
    }
    if profile.service_account:
        spec["serviceAccountName"] = profile.service_account
    if profile.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in profile.image_pull_secrets]
    if pod.node_selector:
        spec["nodeSelector"] = dict(pod.node_selector)
    if pod.tolerations:
        spec["tolerations"] = [_toleration(one) for one in pod.tolerations]
    return spec


def _toleration(toleration: Toleration) -> dict[str, str]:
    return {key: text for key, text in toleration.model_dump().items() if text}


def _ray_container(
    profile: Profile, name: str, resources: dict[str, dict[str, str]], *, env: list[dict[str, Any]]
) -> dict[str, Any]:
    hook = ["roadbed", "vacate", SPEC_FILE, "--within-s", str(profile.grace_s - AFTER_HOOK_S)]
    return {
        "name": name,
        "image": profile.image,
        "imagePullPolicy": profile.image_pull_policy,
        "env": [
            *_store_env(profile),
            _env("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", str(DRAIN_S)),
            *env,
            *(_env(key, text) for key, text in profile.env.items()),
        ],
        "resources": resources,
        "securityContext": CONTAINER_SECURITY,
        "lifecycle": {"preStop": {"exec": {"command": hook}}},
        "volumeMounts": [
            *SCRATCH_MOUNTS,
            {"name": "shared-mem", "mountPath": "/dev/shm"},
            {"name": "job", "mountPath": SPEC_FOLDER, "readOnly": True},
        ],
    }


def _volumes(pod: HeadProfile | WorkerProfile) -> list[dict[str, Any]]:
    """KubeRay makes a volume "shared-mem" where a pod has none."""
    reference = {"fieldRef": {"fieldPath": f"metadata.annotations['{JOB_ANNOTATION}']"}}
    return [
        *({"name": name, "emptyDir": {}} for name, _ in SCRATCH),
        {"name": "shared-mem", "emptyDir": {"medium": "Memory", "sizeLimit": _memory(shm_gib(pod))}},
        {"name": "job", "downwardAPI": {"items": [{"path": SPEC_FILE.rpartition("/")[2], **reference}]}},
    ]


def _store_env(profile: Profile) -> list[dict[str, Any]]:
    """What leads boto3 to the store. Keys come from the administrator's Secret, or from the account's role."""
    store = profile.store
    env = [_env("AWS_ENDPOINT_URL", store.endpoint_url)] if store.endpoint_url else []
    if store.region:
        env += [_env("AWS_REGION", store.region), _env("AWS_DEFAULT_REGION", store.region)]
    if store.secret:
        env += [
            {"name": key, "valueFrom": {"secretKeyRef": {"name": store.secret, "key": key}}}
            for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        ]
    return env


def _env(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "value": text}


def _resources(cpus: int, memory_gib: float) -> dict[str, dict[str, str]]:
    """Requests are the limits: what Ray is told that it has, it has."""
    amounts = {"cpu": str(cpus), "memory": _memory(memory_gib)}
    return {"requests": dict(amounts), "limits": dict(amounts)}


def _memory(gib: float) -> str:
    return f"{gib:g}Gi" if gib == int(gib) else f"{round(gib * 1024)}Mi"
