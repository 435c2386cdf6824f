"""What a pod does before it goes: let the runs on it save a checkpoint, and wait until that is whole in the store.

Kubernetes runs this as the preStop hook, for SIGTERM would end Ray at once. A head that goes takes its Ray with it, so
its training run is asked to stop, as by Ctrl-C; a sweep, whose trials would end by that, and the run of a worker's pod
hear that nodes go, save, and go on where there is room.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from roadbed.errors import RoadbedError
from roadbed.runs import LIVE, CheckpointRef, Run
from roadbed.runtime.session import probe
from roadbed.spec import TrainJob, TuneJob
from roadbed.storage import Store, open_store
from roadbed.tuning.sweep import Sweep

POLL_S = 1.0
GCS_TIMEOUT_S = 10.0

log = logging.getLogger(__name__)

Drain = Callable[[Collection[str] | None], None]
"""Tells Ray that the nodes of these host names go; None: all but the head's."""


@dataclass(frozen=True)
class Held:
    """A run that this pod takes part in, as it was when the pod was told to go."""

    run: Run
    attempt: int
    latest: CheckpointRef | None

    def is_safe(self) -> bool:
        """Whether it has a newer checkpoint, has ended, or goes on elsewhere."""
        status = self.run.status()
        if status is None or status.state not in LIVE or status.attempt != self.attempt:
            return True
        return self.run.pointer().latest != self.latest


def vacate(
    job: TrainJob | TuneJob,
    *,
    host: str,
    cluster_hosts: Collection[str] | None,
    drain: Drain,
    within_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Let the runs on this pod save what they did; whether all of them did so in time, or none had to.

    `host` is this pod's name; in the head's pod, `cluster_hosts` are the names of all pods of its Ray, else None.
    """
    deadline = clock() + within_s
    is_head = cluster_hosts is not None
    held = list(_held(job, cluster_hosts if cluster_hosts is not None else {host}))
    if not held:
        return True
    if is_head and isinstance(job, TrainJob):
        for one in held:
            one.run.ask_to_stop(attempt=one.attempt)
    else:
        drain(None if is_head else {host})
    while held and clock() < deadline:
        held = [one for one in held if not _is_safe(one)]
        if held:
            sleep(POLL_S)
    return not held


def _is_safe(held: Held) -> bool:
    try:
        return held.is_safe()
    except RoadbedError as error:
        log.warning("asked again: %s", error)
        return False


def _held(job: TrainJob | TuneJob, hosts: Collection[str]) -> Iterator[Held]:
    """The runs of the job that are at work on pods of these names."""
    root = open_store(job.output.store)
    for run in _runs(job, root):
        status = run.status()
        if status is None or status.state not in LIVE:
            continue
        claim = dict(run.attempts()).get(status.attempt, {})
        places = [str(place).partition(",")[0] for place in claim.get("workers", [])]
        if set(places) & set(hosts):
            yield Held(run, status.attempt, run.pointer().latest)


def _runs(job: TrainJob | TuneJob, root: Store) -> list[Run]:
    if isinstance(job, TrainJob):
        return [Run(root, job.name)]
    sweep = Sweep(root, job.name)
    return [sweep.run_of(trial) for trial in sweep.trials().values() if not trial.is_over]


class RayNodes:
    """The nodes of the Ray that RAY_ADDRESS names, asked of its control store. Without an answer, none are known.

    A head whose name is gone, as when its whole cluster is deleted, is not asked: Ray would try for 40 s.

    Ray has no public call to drain a node; its own is the hidden command `ray drain-node`, which does the same.
    Source: ray/scripts/scripts.py, drain_node.
    """

    def __init__(self, *, within_s: float) -> None:
        self._deadline_ms = int((time.time() + within_s) * 1000)
        self._address = os.environ.get("RAY_ADDRESS", "127.0.0.1:6379")

    def hosts(self) -> set[str]:
        """The host names of all nodes that live, that is of the pods."""
        return {host for _, host, _ in self._alive()}

    def drain(self, hosts: Collection[str] | None) -> None:
        """As `Drain` has it. What Ray refuses, or does not hear for it is ending itself, keeps nobody from waiting."""
        for node_id, host, is_head in self._alive():
            if host in hosts if hosts is not None else not is_head:
                try:
                    is_accepted, why = self._drain(node_id)
                except Exception as error:
                    is_accepted, why = False, str(error)
                if not is_accepted:
                    log.warning("Ray does not drain node=%s: %s", host, why)

    def _drain(self, node_id: str) -> tuple[bool, str]:
        from ray.core.generated import autoscaler_pb2

        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        answer = self._gcs().drain_node(node_id, reason, "its pod is taken away", self._deadline_ms)
        return bool(answer[0]), str(answer[1])

    def _alive(self) -> list[tuple[str, str, bool]]:
        """Id, host name, and whether it is the head's, of every node that lives."""
        from ray.core.generated import gcs_pb2

        try:
            probe(self._address)
            nodes = self._gcs().get_all_node_info(timeout=GCS_TIMEOUT_S)
        except Exception as error:
            log.warning("Ray does not tell its nodes: %s", error)
            return []
        return [
            (node_id.hex(), node.node_manager_hostname, bool(node.is_head_node))
            for node_id, node in nodes.items()
            if node.state == gcs_pb2.GcsNodeInfo.ALIVE
        ]

    def _gcs(self) -> Any:
        from ray._raylet import GcsClient  # type: ignore[attr-defined]

        return GcsClient(address=self._address)
