"""Why pods wait or ended: their conditions, the states of their containers, and the events about them. Pure.

Sources of reasons and messages: kubernetes/pkg/kubelet (images, container, eviction), and for the nodes why_nodes.py.
"""

from __future__ import annotations

import re

from roadbed.kube.facts import JobFacts, Object, condition, containers_of, phase_of, pod_name, role_of
from roadbed.kube.reason import Reason
from roadbed.kube.why_image import IMAGE_STATES, why_image
from roadbed.kube.why_nodes import why_no_node

_MISSING = re.compile(r'(?P<kind>secret|configmap|persistentvolumeclaim)s? "(?P<name>[^"]+)" not found', re.IGNORECASE)
_KEY = re.compile(r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) (?P<name>\S+)")
_NO_KEY = re.compile(r"references non-existent (?P<kind>secret|config) key: (?P<key>\S+)")
_ROOT = re.compile(r"runAsNonRoot and image (will run as root|has non-numeric user)")
_NO_COMMAND = re.compile(r'exec: "(?P<command>[^"]+)": (executable file not found|stat \S+: no such file)')
_START_STATES = {"CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun", "PreStartHookError"}
_MEMORY_FIELD = {"head": "head.memory_gib", "worker": "worker.memory_gib", "submitter": "its memory limit"}


def why_pods(facts: JobFacts) -> list[Reason]:
    """Reasons of all pods, none for those that do well."""
    return [reason for pod in facts.pods for reason in _why_pod(facts, pod)] + _gone(facts)


def _why_pod(facts: JobFacts, pod: Object) -> list[Reason]:
    taken = _taken_away(pod)
    if taken is not None:
        return [taken]
    if phase_of(pod) == "Pending" and condition(pod, "PodScheduled").get("status") != "True":
        return why_no_node(facts, pod)
    reasons = [
        reason for container in containers_of(pod) if (reason := _why_container(facts, pod, container)) is not None
    ]
    return reasons or (_not_mounted(facts, pod) if phase_of(pod) == "Pending" else [])


def _taken_away(pod: Object) -> Reason | None:
    """A pod that somebody else ended: the kubelet, a node that went, or a more important pod."""
    status = pod.get("status") or {}
    name = pod["metadata"]["name"]
    said = condition(pod, "DisruptionTarget")
    cause = str(said.get("reason", "")) if said.get("status") == "True" else ""
    text = str(status.get("message") or said.get("message") or "")
    if status.get("reason") == "Evicted" or cause == "TerminationByKubelet":
        return Reason(
            "evicted",
            f"{pod_name(pod)} was evicted: {text}",
            "raise what ran short (memory, ephemeral storage) in the profile; the run goes on from its last checkpoint",
            name,
        )
    if cause == "PreemptionByScheduler":
        return Reason(
            "preempted",
            f"{pod_name(pod)} made room for a more important one: {text}",
            "wait until there is room again, or submit it with a higher priority; the run goes on from its last "
            "checkpoint",
            name,
        )
    if cause or status.get("reason") in {"NodeLost", "NodeShutdown", "Terminated", "Shutdown"}:
        return Reason(
            "node_lost",
            f"{pod_name(pod)} went with its node ({cause or status['reason']}): {text}",
            "nothing, where nodes come and go: the run goes on from its last checkpoint; else look at the node",
            name,
        )
    return None


def _why_container(facts: JobFacts, pod: Object, container: Object) -> Reason | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    said = str(waiting.get("message") or "")
    if waiting.get("reason") in IMAGE_STATES:
        return why_image(facts, pod, container)
    if waiting.get("reason") == "CreateContainerConfigError":
        return _missing(pod, said) or _not_startable(pod, said)
    if waiting.get("reason") in _START_STATES:
        return _not_startable(pod, said)
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    return _ended(pod, container, ended) if ended.get("exitCode") else None


def _missing(pod: Object, said: str) -> Reason | None:
    """A secret, a configmap, or a key in one, that a pod needs."""
    name = pod["metadata"]["name"]
    if found := _MISSING.search(said):
        kind = {"secret": "Secret", "configmap": "ConfigMap"}.get(found["kind"].lower(), "PersistentVolumeClaim")
        return Reason(
            "missing",
            f"{pod_name(pod)} needs {kind} {found['name']}, which is not there",
            "make it in this namespace (for the store's keys see docs/cluster.md), or correct the profile; the pod "
            "then starts by itself",
            name,
        )
    if found := _KEY.search(said) or _NO_KEY.search(said):
        where = found.groupdict().get("name") or "it names"
        return Reason(
            "missing",
            f"{pod_name(pod)} needs the key {found['key']} in the {found['kind']} {where}, which has none",
            "add the key; the store's Secret has AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            name,
        )
    return None


def _not_startable(pod: Object, said: str) -> Reason:
    name = pod["metadata"]["name"]
    if _ROOT.search(said):
        return Reason(
            "start",
            f"{pod_name(pod)} may not run as root, and its image does: {said}",
            "take an image built by this project's Dockerfile, which runs as user 1000",
            name,
        )
    if found := _NO_COMMAND.search(said):
        return Reason(
            "start",
            f"{pod_name(pod)}: the image has no {found['command']}",
            "correct image in the profile: one built by this project's Dockerfile has roadbed and ray",
            name,
        )
    return Reason("start", f"{pod_name(pod)} cannot be started: {said}", "correct what it names in the profile", name)


def _ended(pod: Object, container: Object, ended: Object) -> Reason | None:
    """A container that ended in another way than well."""
    name, role = pod["metadata"]["name"], role_of(pod)
    if ended.get("reason") == "OOMKilled" or (ended.get("exitCode") == 137 and role == "worker"):
        surely = "was killed for using more memory than it may" if ended.get("reason") == "OOMKilled" else "was killed"
        return Reason(
            "memory",
            f"{pod_name(pod)} {surely} (container {container['name']}, exit status {ended['exitCode']})",
            f"raise {_MEMORY_FIELD[role]} in the profile"
            + (", or lower data.memory_mb and data.prefetch_batches in the job spec" if role == "worker" else "")
            + "; the run goes on from its last checkpoint",
            name,
        )
    if role == "submitter":
        return None  # Its end is told by the RayJob's own status.
    last = str(ended.get("message") or "").strip().splitlines()
    return Reason(
        "crashed",
        f"{pod_name(pod)} ended with exit status {ended['exitCode']}" + (f": {last[-1]}" if last else ""),
        f"read `roadbed jobs logs {(pod['metadata'].get('labels') or {}).get('roadbed.dev/run', 'NAME')}`",
        name,
    )


def _not_mounted(facts: JobFacts, pod: Object) -> list[Reason]:
    """What a pod waits for that has its node and no container yet."""
    name = pod["metadata"]["name"]
    for event in facts.pod_events(pod, "FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"):
        said = str(event.get("message") or "")
        if event["reason"] == "FailedCreatePodSandBox":
            return [
                Reason(
                    "network",
                    f"{pod_name(pod)} gets no network on its node: {said}",
                    "ask the administrator to look at the node's network plugin; it is tried again",
                    name,
                )
            ]
        volume = Reason("volume", f"{pod_name(pod)} waits for a volume: {said}", "correct the volume it names", name)
        return [_missing(pod, said) or volume]
    return []


def _gone(facts: JobFacts) -> list[Reason]:
    """What events tell of pods that are not there any more."""
    present = {pod["metadata"]["name"] for pod in facts.pods}
    reasons = []
    for event in facts.events_of("Preempted", "Evicted", "TaintManagerEviction", "NodeNotReady"):
        about = event.get("involvedObject") or {}
        if about.get("kind") != "Pod" or about.get("name") in present:
            continue
        kind = {"Preempted": "preempted", "Evicted": "evicted"}.get(event["reason"], "node_lost")
        reasons.append(
            Reason(
                kind,  # type: ignore[arg-type]
                f"pod {about['name']} is gone ({event['reason']}): {event.get('message', '')}",
                "the run goes on from its last checkpoint; for memory or storage that ran short raise the profile's",
                about["name"],
            )
        )
    return reasons
