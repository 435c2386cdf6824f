"""What the tests on a real cluster use: kubectl and helm as programs, and a namespace that leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm" / "roadbed"
GONE_S = 180.0
# What may have finalizers, or pods that must go before their namespace does; owners first.
OURS_FIRST = (
    "rayjobs.ray.io",
    "rayservices.ray.io",
    "rayclusters.ray.io",
    "jobs",
    "statefulsets",
    "deployments",
    "pods",
)


def tool(name: str) -> str:
    """The path of helm or kubectl: on PATH, else where `make install` puts it."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.prefix) / "bin"))
    assert found is not None, f"no {name} on PATH or in {sys.prefix}/bin; run `make install`"
    return found


@dataclass(frozen=True)
class RealCluster:
    """A namespace of a cluster, by the kubeconfig at `kubeconfig`. `image` is roadbed's, where its nodes find it."""

    kubeconfig: str
    namespace: str
    image: str

    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl in the namespace; its stdout."""
        return self._run([tool("kubectl"), "--namespace", self.namespace, *words], stdin=stdin, check=check)

    def helm(self, *words: str) -> str:
        """Run helm in the namespace; its stdout."""
        return self._run([tool("helm"), "--namespace", self.namespace, *words])

    def get(self, *words: str) -> Any:
        """What `kubectl get ... -o json` says."""
        return json.loads(self.kubectl("get", *words, "--output", "json"))

    def names(self, kind: str, *words: str) -> list[str]:
        """Objects of a kind as KIND/NAME; none where the cluster has no such kind."""
        return self.kubectl("get", kind, "--output", "name", *words, check=False).split()

    @property
    def num_ready_nodes(self) -> int:
        """Nodes that can run pods; 0 on an API server alone."""
        nodes = self.get("nodes")["items"]
        return sum(
            any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", []))
            for node in nodes
        )

    @property
    def kinds(self) -> set[str]:
        """Kinds that the API server knows."""
        return {line.split()[-1] for line in self.kubectl("api-resources", "--no-headers").splitlines()}

    @contextmanager
    def forwarded(self, service: str, port: int) -> Iterator[int]:
        """A port of loopback that leads to a service, while the block runs."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            local: int = free.getsockname()[1]
        command = [tool("kubectl"), "-n", self.namespace, "port-forward", f"service/{service}", f"{local}:{port}"]
        with subprocess.Popen(command, env=self._env, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert "Forwarding from" in process.stdout.readline(), f"no way to service {service}"
                yield local
            finally:
                process.terminate()

    def make_namespace(self) -> None:
        """Make the namespace, with the Pod Security level that this project's own has."""
        labels = {"roadbed.dev/test": "true", "pod-security.kubernetes.io/enforce": "restricted"}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        self.kubectl("create", "--filename", "-", stdin=json.dumps(manifest))

    def remove_namespace(self) -> None:
        """Take the namespace away with all that is in it, also where no controller cleans up: on a bare API server."""
        for kind in OURS_FIRST:
            self.kubectl("delete", kind, "--all", "--ignore-not-found", "--wait=false", check=False)
        wait_until(lambda: not self.names("rayjobs.ray.io"), GONE_S, "RayJobs go; is the KubeRay operator running?")
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--wait=false")
        if not _becomes_true(lambda: not self._has_namespace(), GONE_S):
            self._finalize()
        wait_until(lambda: not self._has_namespace(), GONE_S, f"namespace {self.namespace} goes")

    def _has_namespace(self) -> bool:
        return bool(self.names("namespace", self.namespace, "--ignore-not-found"))

    def _finalize(self) -> None:
        """What the namespace controller does at last, where there is none. Its objects were deleted before."""
        document = self.get("namespace", self.namespace)
        document["spec"] = {"finalizers": []}
        path = f"/api/v1/namespaces/{self.namespace}/finalize"
        self.kubectl("replace", "--raw", path, "--filename", "-", stdin=json.dumps(document))

    @property
    def _env(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": self.kubeconfig}

    def _run(self, command: list[str], *, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(command, env=self._env, input=stdin, capture_output=True, text=True, timeout=900)
        if check:
            assert done.returncode == 0, f"{' '.join(command[1:])}: {done.stderr or done.stdout}"
        return done.stdout


def wait_until(is_true: Callable[[], bool], within_s: float, what: str) -> None:
    """Return once it is true. Fails with what was waited for."""
    assert _becomes_true(is_true, within_s), f"waited {within_s:.0f} s in vain until {what}"


def _becomes_true(is_true: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(2.0)
    return True
