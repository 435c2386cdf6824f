"""What the tests on a real cluster use, with the real kubectl against an API server of ours."""

from __future__ import annotations

import os

import pytest

from cluster_tools import RealCluster, wait_until
from kube_examples import NAME, pod, rayjob
from kube_server import KubeServer


@pytest.fixture
def cluster(kube_server: KubeServer) -> RealCluster:
    kube_server.needs_token = False
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    for name, status in (("one", ready), ("two", {})):
        kube_server.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status})
    kube_server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "roadbed"}})
    kube_server.put(rayjob())
    kube_server.put(pod())
    return RealCluster(os.environ["KUBECONFIG"], "roadbed", "roadbed:0.1.0")


def test_a_cluster_is_looked_at(cluster: RealCluster) -> None:
    assert cluster.num_ready_nodes == 1
    assert {"RayJob", "Pod", "Workload"} <= cluster.kinds
    assert cluster.names("rayjobs.ray.io") == [f"rayjob.ray.io/{NAME}"]
    assert cluster.names("pods", "-l", "roadbed.dev/run=other") == []
    assert cluster.names("widgets") == []
    assert cluster.get("rayjob", NAME)["spec"]["entrypoint"].startswith("roadbed train")


def test_a_namespace_goes_with_all_that_is_in_it(cluster: RealCluster, kube_server: KubeServer) -> None:
    cluster.remove_namespace()
    assert {key[1] for key in kube_server.objects} == {"nodes"}


def test_what_fails_says_what_it_was(cluster: RealCluster) -> None:
    with pytest.raises(AssertionError, match=r"get rayjob none.*not found"):
        cluster.get("rayjob", "none")
    with pytest.raises(AssertionError, match="in vain until it snows"):
        wait_until(lambda: False, 0.0, "it snows")
