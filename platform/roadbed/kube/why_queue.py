"""Why a job waits in Kueue: from the Workload that Kueue made of the RayJob. Pure.

Source of conditions and messages: Kueue v0.19, apis/kueue/v1beta2/workload_types.go, pkg/scheduler/flavorassigner.
"""

from __future__ import annotations

import re

from roadbed.kube.facts import JobFacts, condition, condition_of
from roadbed.kube.reason import Kind, Reason

NO_WORKLOAD_S = 30.0
"""After so long without a Workload, Kueue is not coming."""

_LACKS = re.compile(
    r"insufficient unused quota for (?P<resource>\S+) in flavor (?P<flavor>\S+?), (?P<amount>\S+) more needed"
)
_TOO_MUCH = re.compile(
    r"insufficient quota for (?P<resource>\S+) in flavor (?P<flavor>[^\s,]+).*?"
    r"(?:maximum capacity \((?P<most>[^)]+)\)|\((?P<asked>\S+) > (?P<limit>\S+)\))"
)
_NO_FLAVOR = re.compile(
    r"(untolerated taint.*? in flavor \S+|flavor \S+ doesn't match node affinity|flavor \S+ not found)"
)
_NO_RESOURCE = re.compile(r"resource (?P<resource>\S+) unavailable in ClusterQueue")
_ABSENT = re.compile(r"(?P<kind>LocalQueue|ClusterQueue) (?P<name>\S*) doesn't exist")
_INACTIVE = re.compile(r"(?P<kind>LocalQueue|ClusterQueue) (?P<name>\S+) is (inactive|stopped)")


def why_queued(facts: JobFacts) -> list[Reason]:
    """Why Kueue does not let the job start; nothing where it was sent to no queue, or has its place."""
    if not facts.is_waiting_for_queue:
        return []
    if facts.workload is None:
        return [_without_workload(facts)]
    if (facts.workload.get("spec") or {}).get("active") is False:
        return [_deactivated(facts)]
    checks = _unmet_checks(facts)
    if condition_of(facts.workload, "QuotaReserved") == "True":
        return checks or [
            Reason("queue", f"queue {facts.queue} has room for it and is about to start it", "wait a moment")
        ]
    return checks + _evicted(facts) + _without_quota(facts)


def _without_workload(facts: JobFacts) -> Reason:
    if facts.age_s < NO_WORKLOAD_S:
        return Reason("queue", f"queue {facts.queue}: Kueue has not seen the job yet", "wait a moment")
    return Reason(
        "queue_absent",
        f"queue {facts.queue}: Kueue has made no Workload of the job for {facts.age_s:.0f} s: it is not installed, or "
        'does not look after RayJobs ("ray.io/rayjob" in its integrations)',
        "ask the administrator for Kueue, or submit it without --queue",
        facts.queue,
    )


def _deactivated(facts: JobFacts) -> Reason:
    said = condition(facts.workload, "Evicted")
    why = f": {said['message']}" if said.get("message") else ""
    return Reason(
        "queue_stopped",
        f"queue {facts.queue}: the job was taken out of it ({said.get('reason', 'Deactivated')}{why})",
        f"when the cause is gone, `roadbed jobs resume {facts.name}` queues it anew; the run goes on from its last "
        "checkpoint",
        facts.queue,
    )


def _unmet_checks(facts: JobFacts) -> list[Reason]:
    """Admission checks, such as Kueue asking an autoscaler for nodes first."""
    checks = ((facts.workload or {}).get("status") or {}).get("admissionChecks") or []
    return [
        Reason(
            "queue_check",
            f"queue {facts.queue}: admission check {check['name']} is {check['state']}"
            + (f": {check['message']}" if check.get("message") else ""),
            "nodes that are being ordered take some minutes; for a check that was rejected ask the queue's "
            "administrator",
            check["name"],
        )
        for check in checks
        if check.get("state") != "Ready"
    ]


def _evicted(facts: JobFacts) -> list[Reason]:
    """Kueue had let it start and took its place away again."""
    said = condition(facts.workload, "Evicted")
    if said.get("status") != "True":
        return []
    again = "nothing: it is queued again, and the run goes on from its last checkpoint"
    if said.get("reason") == "PodsReadyTimeout":
        return [
            Reason(
                "queue_lost",
                f"queue {facts.queue}: its pods were not all ready in time, so Kueue took its place away "
                f"({said.get('message', '')})",
                "look why pods do not become ready (image, nodes), then wait: it is queued again",
                facts.queue,
            )
        ]
    kind: Kind = "preempted" if said.get("reason") == "Preempted" else "queue_lost"
    what = (
        "made room for a job that goes before it" if kind == "preempted" else f"lost its place ({said.get('reason')})"
    )
    return [Reason(kind, f"queue {facts.queue}: the job {what}: {said.get('message', '')}", again, facts.queue)]


def _without_quota(facts: JobFacts) -> list[Reason]:
    """What the condition QuotaReserved says in Kueue's words, in ours."""
    said = condition(facts.workload, "QuotaReserved")
    message = str(said.get("message") or "")
    if message and message == condition(facts.workload, "Evicted").get("message"):
        return []  # Told already: nothing has been tried since.
    queue = facts.queue
    if found := _ABSENT.search(message):
        what = "queue" if found["kind"] == "LocalQueue" else "ClusterQueue behind it"
        name = found["name"] or queue
        return [
            Reason(
                "queue_absent",
                f"queue {queue}: there is no {what} named {name}",
                "see `kubectl get localqueues` for the queues there are and submit it with --queue, or ask the "
                "administrator",
                name,
            )
        ]
    if found := _INACTIVE.search(message):
        return [
            Reason(
                "queue_stopped",
                f"queue {queue}: {found['kind']} {found['name']} is stopped",
                "ask the administrator of the queue; it starts by itself once the queue does",
                found["name"],
            )
        ]
    if found := _NO_RESOURCE.search(message):
        return [
            Reason(
                "queue_flavor",
                f"queue {queue} hands out no {found['resource']}",
                "take another queue or a profile without it",
                found["resource"],
            )
        ]
    return _amounts(queue, message) or [_as_told(queue, message)]


def _amounts(queue: str, message: str) -> list[Reason]:
    """Quotas that are used up, quotas that are too small for the job at all, and flavours that do not suit it."""
    reasons = [
        Reason(
            "queue_quota",
            f"queue {queue} is full: {found['amount']} more {found['resource']} (flavour {found['flavor']}) are needed",
            "wait for other jobs to end, ask for fewer workers, or take another queue or a higher priority",
            found["resource"],
        )
        for found in _LACKS.finditer(message)
    ]
    reasons += [
        Reason(
            "queue_quota",
            f"queue {queue} will never hold it: it asks for more {found['resource']} than flavour {found['flavor']} "
            f"has in all ({found['most'] or found['limit']})",
            "ask for fewer workers, a smaller profile, another queue, or a larger quota",
            found["resource"],
        )
        for found in _TOO_MUCH.finditer(message)
    ]
    reasons += [
        Reason(
            "queue_flavor",
            f"queue {queue}: {found[1]}: the profile's pods do not suit it",
            "take a profile whose node selector and tolerations suit the queue's flavours",
            queue,
        )
        for found in _NO_FLAVOR.finditer(message)
    ]
    return reasons


def _as_told(queue: str, message: str) -> Reason:
    if not message:
        return Reason("queue", f"queue {queue}: waits for its turn", "wait for other jobs to end", queue)
    return Reason(
        "queue", f"queue {queue}: waits: {message}", "wait for other jobs to end, or ask the administrator", queue
    )
