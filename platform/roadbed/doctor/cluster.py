"""The Kubernetes cluster of the kubeconfig: whether it answers, and whether it has KubeRay and Kueue."""

from __future__ import annotations

import os
from collections.abc import Iterator

from roadbed.doctor.check import Finding
from roadbed.errors import ClusterError
from roadbed.kube.client import NAMESPACED, Cluster, find_kubeconfig

LEAST_KUBERAY = (1, 7)
_OPERATOR = "app.kubernetes.io/name=kuberay-operator"
_INSTALL = "install KubeRay's operator (1.7 or newer): docs/cluster.md has the commands"


def look_at_cluster(_store: str) -> Iterator[Finding]:
    """What `roadbed submit` and `roadbed jobs` would find."""
    where, is_there = find_kubeconfig()
    if not is_there and not os.environ.get("KUBERNETES_SERVICE_HOST"):
        yield Finding("note", f"no kubeconfig ({where}): jobs run here, none can be submitted", "set KUBECONFIG to one")
        return
    cluster = Cluster.connect()
    version = cluster.version()
    yield Finding("ok", f"Kubernetes {version} at {cluster.server}, namespace {cluster.namespace}")
    if "rayjobs" not in cluster.serves(NAMESPACED["rayjobs"]):
        yield Finding("problem", "the cluster has no RayJobs", _INSTALL)
        return
    jobs = cluster.list("rayjobs")
    yield _kuberay(_images(cluster), f"{len(jobs)} RayJobs in {cluster.namespace}")
    if "workloads" not in cluster.serves(NAMESPACED["workloads"]):
        yield Finding("ok", f"no Kueue ({NAMESPACED['workloads']}), which only jobs with a queue need")


def _images(cluster: Cluster) -> list[str]:
    try:
        return cluster.images(_OPERATOR)
    except ClusterError:
        return []  # Who submits jobs need not be allowed to see the operator.


def _kuberay(images: list[str], jobs: str) -> Finding:
    versions = [image.rpartition(":")[2].removeprefix("v") for image in images if ":" in image.rpartition("/")[2]]
    if not versions:
        return Finding("ok", f"KubeRay, whose version is not told here; {jobs}")
    for version in versions:
        numbers = version.split(".")[:2]
        if all(number.isdecimal() for number in numbers) and tuple(map(int, numbers)) < LEAST_KUBERAY:
            return Finding("problem", f"KubeRay {version} is too old", _INSTALL)
    return Finding("ok", f"KubeRay {', '.join(versions)}; {jobs}")
