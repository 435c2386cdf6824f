"""What is known of a job on a cluster, as the API server and the store tell it. Pure: reads nothing by itself.

Objects are dicts, as Kubernetes writes them in JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from roadbed.kube.names import QUEUE_LABEL
from roadbed.runs import RunStatus

Object = Mapping[str, Any]

SKEW_S = 5.0
"""By so much clocks of machines may differ."""


@dataclass(frozen=True)
class JobFacts:
    """A RayJob and what belongs to it.

    `pods` are those of its cluster and of its submitter, `events` those about any of its objects, gone ones too;
    `workload` is Kueue's. `run_status` is that of the run or sweep in the store as a reader should believe it, None
    before its first attempt; `run_end` the end.json of its attempt; `store_error` why the store did not tell. `now` is
    in unix seconds.
    """

    rayjob: Object
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    workload: Object | None = None
    run_status: RunStatus | None = None
    now: float = 0.0
    run_end: Object | None = None
    store_error: str = ""

    @property
    def name(self) -> str:
        """The name of the job, and of its run."""
        return str(self.rayjob["metadata"]["name"])

    @property
    def status(self) -> Object:
        """The RayJob's status, empty before the operator has seen it."""
        return self.rayjob.get("status") or {}

    @property
    def deployment(self) -> str:
        """KubeRay's jobDeploymentStatus: "", "Initializing", "Running", "Complete", "Failed", "Suspended", ..."""
        return str(self.status.get("jobDeploymentStatus") or "")

    @property
    def message(self) -> str:
        """What KubeRay says of the job; the tail of its driver's log where the program failed."""
        return str(self.status.get("message") or "")

    @property
    def queue(self) -> str:
        """The Kueue queue that it was sent to, "" without one."""
        return str((self.rayjob["metadata"].get("labels") or {}).get(QUEUE_LABEL, ""))

    @property
    def age_s(self) -> float:
        """For how long the RayJob has been there."""
        return max(0.0, self.now - seconds_of(self.rayjob["metadata"].get("creationTimestamp")))

    @property
    def running_s(self) -> float:
        """For how long its program runs; its cluster or itself, where KubeRay does not say."""
        info = self.status.get("rayJobInfo") or {}
        since = info.get("startTime") or self.status.get("startTime")
        return max(0.0, self.now - seconds_of(since)) if since else self.age_s

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of this RayJob."""
        return self.deployment in {"Complete", "Failed", "ValidationFailed"}

    @property
    def is_waiting_for_queue(self) -> bool:
        """Whether Kueue holds it back: without a place, or told to make room."""
        is_suspended = self.deployment in {"", "Suspended", "Suspending"}
        return bool(self.queue) and is_suspended and condition_of(self.workload, "Admitted") != "True"

    @property
    def own_run_status(self) -> RunStatus | None:
        """The run's status if it moved since the RayJob was made: that of an earlier job of its name is history."""
        created_at = seconds_of(self.rayjob["metadata"].get("creationTimestamp"))
        if self.run_status is None or self.run_status.heartbeat_at < created_at - SKEW_S:
            return None
        return self.run_status

    def events_of(self, *reasons: str) -> list[Object]:
        """The events with one of these reasons, newest first."""
        found = [event for event in self.events if event.get("reason") in reasons]
        return sorted(found, key=event_at, reverse=True)

    def pod_events(self, pod: Object, *reasons: str) -> list[Object]:
        """The events about a pod, newest first."""
        name = pod["metadata"]["name"]
        return [event for event in self.events_of(*reasons) if (event.get("involvedObject") or {}).get("name") == name]


def seconds_of(timestamp: str | None) -> float:
    """A timestamp of Kubernetes ("2026-11-26T15:54:17Z") in unix seconds; 0.0 of None."""
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0


def event_at(event: Object) -> float:
    """When an event last happened."""
    series = event.get("series") or {}
    stamp = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return seconds_of(stamp or event["metadata"].get("creationTimestamp"))


def condition(one: Object | None, kind: str) -> Object:
    """A condition of an object's status, empty if it has none of that type."""
    conditions = ((one or {}).get("status") or {}).get("conditions") or []
    return next((found for found in conditions if found.get("type") == kind), {})


def condition_of(one: Object | None, kind: str) -> str:
    """ "True", "False", "Unknown"; "" if the object has no such condition."""
    return str(condition(one, kind).get("status", ""))


def role_of(pod: Object) -> str:
    """ "head", "worker" or "submitter"."""
    return str((pod["metadata"].get("labels") or {}).get("ray.io/node-type") or "submitter")


def pod_name(pod: Object) -> str:
    """What a sentence calls a pod."""
    return f"{role_of(pod)} pod {pod['metadata']['name']}"


def phase_of(pod: Object) -> str:
    """ "Pending", "Running", "Succeeded", "Failed", "Unknown"."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def is_ready(pod: Object) -> bool:
    """Whether all that is in the pod works, or it did its work."""
    return phase_of(pod) == "Succeeded" or condition_of(pod, "Ready") == "True"


def containers_of(pod: Object) -> Iterator[Object]:
    """The statuses of a pod's containers, those that prepare it first."""
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []


def newest(pods: Sequence[Object], role: str) -> Object | None:
    """The pod of a role that was made last."""
    found = [pod for pod in pods if role_of(pod) == role]
    return max(found, key=lambda pod: seconds_of(pod["metadata"].get("creationTimestamp")), default=None)
