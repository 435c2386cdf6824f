"""`make test-cluster KUBECONFIG=...` runs these tests against any cluster, in a namespace of their own.

ROADBED_TEST_IMAGE names the image (roadbed:0.1.0) where nodes find it: `kind load docker-image roadbed:0.1.0`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from cluster_tools import RealCluster

# Read now: the fixtures of all tests take such variables away.
KUBECONFIG = os.environ.get("KUBECONFIG", "")
IMAGE = os.environ.get("ROADBED_TEST_IMAGE", "roadbed:0.1.0")


@pytest.fixture(scope="session")
def cluster(own_surroundings: None, session_patch: pytest.MonkeyPatch) -> Iterator[RealCluster]:
    """A new namespace of the cluster that KUBECONFIG leads to; it goes, whatever happens to the tests."""
    assert KUBECONFIG, "set KUBECONFIG to the cluster to test on: make test-cluster KUBECONFIG=FILE"
    session_patch.setenv("KUBECONFIG", KUBECONFIG)
    found = RealCluster(KUBECONFIG, f"roadbed-test-{secrets.token_hex(4)}", IMAGE)
    assert "RayJob" in found.kinds, "the cluster has no KubeRay; install its operator first (docs/cluster.md)"
    try:
        found.make_namespace()
        yield found
    finally:
        found.remove_namespace()


@pytest.fixture
def nodes(cluster: RealCluster) -> int:
    """The number of nodes that run pods."""
    if not cluster.num_ready_nodes:
        pytest.skip("no node of the cluster runs pods: take kind or a real cluster for this test")
    return cluster.num_ready_nodes
