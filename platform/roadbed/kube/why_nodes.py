"""Why no node takes a pod: the scheduler's sentence, and what an autoscaler of nodes says, sorted. Pure.

Sources: kubernetes/pkg/scheduler/framework (the messages of its plugins), cluster-autoscaler and Karpenter (events).
"""

from __future__ import annotations

import re

from roadbed.kube.facts import JobFacts, Object, condition, event_at, pod_name, seconds_of
from roadbed.kube.reason import Kind, Reason

_COUNTED = re.compile(r"(?P<num>\d+) (?P<what>.+)")
_ASIDES = re.compile(r"[.,]?\s*(preemption:|no new claims)")
_TOTAL = re.compile(r"0/(?P<num>\d+) nodes are available")
_CLAIM = re.compile(r'persistentvolumeclaim "(?P<name>[^"]+)" not found')
_COMING = ("TriggeredScaleUp", "Nominated")
_NOT_COMING = ("NotTriggerScaleUp", "FailedScaleUp", "FailedScheduling")
_FROM_AUTOSCALERS = ("cluster-autoscaler", "karpenter")
_NEXT = {
    "gpu": "wait for GPUs to get free, ask for fewer (workers.num_workers, or a profile with fewer per pod), or for "
    "GPU nodes; `kubectl describe nodes` shows what is allocatable: 0 means that the device plugin does not run",
    "cpu": "wait for other jobs to end, ask for fewer workers, or take a profile with smaller pods: one pod must fit "
    "on one node",
    "memory": "wait for other jobs to end, ask for fewer workers, or take a profile with less memory: one pod must fit "
    "on one node",
    "taint": "add the taint to tolerations in the profile if these nodes are meant for it",
    "selector": "correct node_selector in the profile: `kubectl get nodes --show-labels` shows what there is",
    "volume": "make the PersistentVolumeClaim, or correct it, in the zone of the nodes",
    "other": "ask the administrator of the nodes",
}


def why_no_node(facts: JobFacts, pod: Object) -> list[Reason]:
    """The reasons of a pod that has no node."""
    said = condition(pod, "PodScheduled")
    if said.get("reason") == "SchedulingGated":
        return [_reason("queue", pod, "is held back by a gate (Kueue's)", "wait for its place in the queue")]
    coming = facts.pod_events(pod, *_COMING)
    refused = [event for event in facts.pod_events(pod, *_NOT_COMING) if _is_of_autoscaler(event)]
    if coming and (not refused or event_at(coming[0]) >= event_at(refused[0])):
        return [_reason("nodes_coming", pod, f"waits for a node that is being added: {coming[0].get('message', '')}",
                        "wait some minutes")]  # fmt: skip
    events = [event for event in facts.pod_events(pod, "FailedScheduling") if not _is_of_autoscaler(event)]
    message = str(said.get("message") or (events[0].get("message") if events else "") or "")
    if not message:
        return _unseen(facts, pod)
    reason = _explained(pod, message)
    if refused:
        more = f"; no node is added for it: {refused[0].get('message', '')}"
        reason = Reason(reason.kind, reason.text + more, reason.next_step, reason.about)
    return [reason]


def _explained(pod: Object, message: str) -> Reason:
    if claim := _CLAIM.search(message):
        return _reason(
            "missing", pod, f"needs PersistentVolumeClaim {claim['name']}, which is not there", _NEXT["volume"]
        )
    if "no nodes available to schedule pods" in message:
        return _reason("no_node", pod, "has no node: the cluster has none at all", _NEXT["other"])
    if "unbound immediate PersistentVolumeClaims" in message:
        return _reason("volume", pod, f"waits for a volume: {message}", _NEXT["volume"])
    counted = _counted(message)
    if not counted:
        return _reason("no_node", pod, f"finds no node: {message}", _NEXT["other"])
    total = _TOTAL.search(message)
    lacks = ", ".join(f"{num} {_in_words(what)}" for num, what in counted)
    kinds = dict.fromkeys(_kind(what) for num, what in sorted(counted, reverse=True))
    # That nodes for other purposes keep it away is no news as long as others only lack room.
    kinds = {kind: None for kind in kinds if kind in ("gpu", "cpu", "memory")} or kinds
    next_step = "; ".join(_NEXT[kind] for kind in kinds)
    return _reason("no_node", pod, f"fits on none of {total['num'] if total else 'the'} nodes: {lacks}", next_step)


def _counted(message: str) -> list[tuple[int, str]]:
    """How many nodes are out for which reason, in the scheduler's words."""
    body = _ASIDES.split(message)[0].partition("nodes are available:")[2].strip(" .")
    found = [_COUNTED.fullmatch(part) for part in re.split(r",\s+(?=\d)", body)]
    return [(int(one["num"]), one["what"].strip(" .")) for one in found if one is not None]


def _kind(what: str) -> str:
    """Which of the next steps belongs to one part of the scheduler's sentence."""
    for kind, pattern in (
        ("cpu", r"Insufficient cpu"),
        ("memory", r"Insufficient memory"),
        ("gpu", r"Insufficient [\w.-]+/"),
        ("taint", r"untolerated taint"),
        ("selector", r"node affinity/selector|node selector"),
        ("volume", r"volume|persistentvolumeclaim"),
    ):
        if re.search(pattern, what):
            return kind
    return "other"


def _in_words(what: str) -> str:
    """A part of the scheduler's sentence as something that nodes do."""
    if found := re.fullmatch(r"Insufficient (\S+)", what):
        return f"lack {found[1]}"
    if what.startswith("Too many"):
        return "hold as many pods as they may"
    what = what.removeprefix("node(s) ").removeprefix("had ")
    if found := re.search(r"untolerated taint(?:\(s\))? ?(\{.*\})?", what):
        return f"have a taint that it does not tolerate{f' {found[1]}' if found[1] else ''}"
    if "affinity/selector" in what or "node selector" in what:
        return "are not of its node_selector"
    return {"were unschedulable": "are closed (cordoned)"}.get(what, what)


def _unseen(facts: JobFacts, pod: Object) -> list[Reason]:
    """A pod that no scheduler has said anything about."""
    waiting_s = facts.now - seconds_of(pod["metadata"].get("creationTimestamp"))
    if waiting_s < 60:
        return []
    scheduler = (pod.get("spec") or {}).get("schedulerName") or "default-scheduler"
    return [
        _reason(
            "no_node",
            pod,
            f"waits for a node; {scheduler} has said nothing of it for {waiting_s:.0f} s",
            _NEXT["other"],
        )
    ]


def _is_of_autoscaler(event: Object) -> bool:
    source = (event.get("source") or {}).get("component") or event.get("reportingComponent") or ""
    return source in _FROM_AUTOSCALERS or event.get("reason") in ("NotTriggerScaleUp", "FailedScaleUp")


def _reason(kind: Kind, pod: Object, said: str, next_step: str) -> Reason:
    return Reason(kind, f"{pod_name(pod)} {said}", next_step, pod["metadata"]["name"])
