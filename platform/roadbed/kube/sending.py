"""Sending a RayJob to its cluster, in place of one of its name that has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from roadbed.errors import ClusterError, NoSuchObjectError, ObjectExistsError, UsageError
from roadbed.kube.client import Cluster
from roadbed.kube.names import OURS

ENDED = ("Complete", "Failed", "ValidationFailed")
GONE_TIMEOUT_S, POLL_S = 120.0, 1.0


def send(
    cluster: Cluster,
    manifest: dict[str, Any],
    *,
    notify: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Create the RayJob; as it is then. One of that name that has ended makes room: its run in the store goes on.

    Raises UsageError where one of that name has not ended, or was not made by roadbed.
    """
    try:
        return cluster.create("rayjobs", manifest)
    except ObjectExistsError:
        name = manifest["metadata"]["name"]
        _make_room(cluster, name, notify=notify, clock=clock, sleep=sleep)
    return cluster.create("rayjobs", manifest)


def _make_room(
    cluster: Cluster,
    name: str,
    *,
    notify: Callable[[str], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    try:
        there = cluster.get("rayjobs", name)
    except NoSuchObjectError:
        return
    where = f"RayJob {name} in namespace {cluster.namespace}"
    labels = there["metadata"].get("labels") or {}
    if labels.get("app.kubernetes.io/managed-by") != OURS["app.kubernetes.io/managed-by"]:
        raise UsageError(f"{where}: was not made by roadbed; give the job another name with --set name=...")
    state = (there.get("status") or {}).get("jobDeploymentStatus") or "New"
    if state not in ENDED:
        raise UsageError(
            f"{where}: is there and has not ended ({state}); look at it with `roadbed jobs show {name}`, end it with "
            f"`roadbed jobs stop {name}`, or give this one another name with --set name=..."
        )
    notify(f"{where}: has ended ({state}) and is replaced")
    cluster.delete("rayjobs", name)
    _wait_until_gone(cluster, name, where, clock=clock, sleep=sleep)


def _wait_until_gone(
    cluster: Cluster, name: str, where: str, *, clock: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    deadline = clock() + GONE_TIMEOUT_S
    while clock() < deadline:
        try:
            cluster.get("rayjobs", name)
        except NoSuchObjectError:
            return
        sleep(POLL_S)
    raise ClusterError(
        f"{where}: was deleted {GONE_TIMEOUT_S:.0f} s ago and is still there; look whether the KubeRay operator runs, "
        f"and at its finalizers with `kubectl get rayjob {name} -o yaml`"
    )
