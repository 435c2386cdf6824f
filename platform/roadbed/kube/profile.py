"""A profile: what a cluster's administrator decides for jobs: image, store, sizes of pods, where they may run.

The chart keeps profiles in a ConfigMap, a YAML file each; two are built in. Reads and writes nothing but those two.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Literal

import yaml
from pydantic import Field, field_validator, model_validator

from roadbed.errors import UsageError
from roadbed.kube.names import DOMAIN, OURS
from roadbed.spec.base import Section

BUILT_IN = ("cpu", "gpu")
_SECRET = re.compile(r"(SECRET|PASSWORD|TOKEN|ACCESS_KEY|API_KEY|CREDENTIALS?)(_ID|_KEY)?$")
# Labels by which KubeRay and the chart's policies find pods.
_LABELS_OF_OTHERS = ("app.kubernetes.io/created-by", *OURS)


class StoreProfile(Section):
    """The object store that jobs use."""

    uri: str = Field(
        "", description="root used where a job spec keeps s3://roadbed, for data too: s3://BUCKET or s3://BUCKET/PREFIX"
    )
    endpoint_url: str = Field("", description="https://... of an S3 server that is not AWS's own")
    region: str = Field("", description="region of the bucket, such as eu-central-1")
    secret: str = Field(
        "",
        description="name of a Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; none needed where the "
        "service account has a role (IRSA, workload identity)",
    )

    @model_validator(mode="after")
    def _has_uris(self) -> StoreProfile:
        if self.uri and not self.uri.startswith("s3://"):
            raise ValueError(f"store.uri: expected s3://BUCKET or s3://BUCKET/PREFIX, found {self.uri!r}")
        if self.endpoint_url and not self.endpoint_url.startswith(("http://", "https://")):
            raise ValueError(f"store.endpoint_url: expected https://HOST or http://HOST, found {self.endpoint_url!r}")
        return self


class Toleration(Section):
    """A taint of nodes that pods put up with, in Kubernetes' own words."""

    key: str = Field("", description="key of the taint; empty with operator Exists: every taint")
    operator: Literal["Exists", "Equal"] = Field("Exists", description="Equal compares the value too")
    value: str = Field("", description="value of the taint, for operator Equal")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field("", description="empty: every effect")


class _Pod(Section):
    """What the pods of the head and of the workers have in common."""

    cpus: int = Field(ge=1, description="CPU cores of the pod, requested and at most")
    memory_gib: float = Field(
        gt=0, description="memory of the pod in GiB, requested and at most; /dev/shm is part of it"
    )
    node_selector: dict[str, str] = Field({}, description="labels of the nodes that it may run on")
    tolerations: tuple[Toleration, ...] = Field((), description="taints of nodes that it puts up with")


class HeadProfile(_Pod):
    """The pod of Ray's head, in which the job's driver runs, and no training."""

    cpus: int = Field(2, ge=1, description="CPU cores of the pod, requested and at most")
    memory_gib: float = Field(
        8, ge=2, description="memory of the pod in GiB, requested and at most; Ray advises 5 and more"
    )


class WorkerProfile(_Pod):
    """A pod of training workers; it may hold several."""

    cpus: int = Field(4, ge=1, description="CPU cores of the pod, requested and at most")
    memory_gib: float = Field(
        16, gt=0, description="memory of the pod in GiB, requested and at most; /dev/shm is part of it"
    )
    gpus: int = Field(0, ge=0, description="GPUs of the pod")
    gpu_resource: str = Field("nvidia.com/gpu", min_length=1, description="name by which the cluster counts GPUs")
    shm_gib: float = Field(4, gt=0, description="size of /dev/shm in GiB: Ray's objects, and NCCL's buffers")
    max_pods: int = Field(
        8, ge=1, description="most pods of a sweep that does not say tune.max_concurrent; it grows as trials need them"
    )

    @model_validator(mode="after")
    def _memory_holds_shm(self) -> WorkerProfile:
        if self.shm_gib >= self.memory_gib:
            raise ValueError(
                f"worker.shm_gib: {self.shm_gib:g} GiB are part of worker.memory_gib, {self.memory_gib:g}; give the "
                "pod more memory, or less of it to /dev/shm"
            )
        return self


class Profile(Section):
    """What pods of jobs are made of on one cluster."""

    image: str = Field(min_length=1, description="image with roadbed in it, for head, workers and submitter")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="when nodes ask the registry for the image"
    )
    image_pull_secrets: tuple[str, ...] = Field((), description="names of Secrets for the image's registry")
    ray_version: str = Field("2.60.0", pattern=r"^\d+\.\d+\.\d+$", description="version of Ray in the image")
    service_account: str = Field("", description="ServiceAccount of the pods; empty: the namespace's default")
    store: StoreProfile = StoreProfile()
    head: HeadProfile = HeadProfile()
    worker: WorkerProfile = WorkerProfile()
    env: dict[str, str] = Field({}, description="environment variables of the pods; never secrets")
    labels: dict[str, str] = Field({}, description="further labels of the pods")
    annotations: dict[str, str] = Field({}, description="further annotations of the pods")
    priority_class: str = Field("", description="PriorityClass of the pods")
    queue: str = Field("", description="Kueue's LocalQueue for jobs that name none; empty: none")
    grace_s: int = Field(
        120, ge=30, le=3600, description="seconds that a pod that is taken away has to save a checkpoint"
    )
    token_auth: bool = Field(True, description="protect Ray's dashboard and job API by a token")

    @field_validator("env")
    @classmethod
    def _holds_no_secrets(cls, env: dict[str, str]) -> dict[str, str]:
        for name in env:
            if _SECRET.search(name):
                raise ValueError(
                    f"env.{name}: is read by whoever reads the profile; keep it in the Secret store.secret"
                )
        return env

    @field_validator("labels")
    @classmethod
    def _leaves_labels_of_others(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if name in _LABELS_OF_OTHERS or name.startswith(("ray.io/", f"{DOMAIN}/")):
                raise ValueError(f"labels.{name}: by it KubeRay or roadbed find their pods; take a name of your own")
        return labels


def parse_profile(text: str, *, origin: str) -> Profile:
    """The profile of a YAML text; `origin` names it in errors. Raises UsageError that lists every fault."""
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{origin}: not YAML: {error}") from None
    return Profile.parse(values, origin=origin)


def built_in_profiles() -> dict[str, Profile]:
    """The profiles that come with roadbed, by name."""
    folder = resources.files("roadbed.kube") / "profiles"
    return {
        name: parse_profile((folder / f"{name}.yaml").read_text(encoding="utf-8"), origin=f"built-in profile {name}")
        for name in BUILT_IN
    }
