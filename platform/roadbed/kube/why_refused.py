"""Why pods and clusters are not made: what the API server answered the operator, from events and conditions. Pure.

Sources of the messages: k8s.io/apiserver (admission), k8s.io/pod-security-admission, and KubeRay's event reasons
(ray-operator/controllers/ray/utils/constant.go).
"""

from __future__ import annotations

import re

from roadbed.kube.facts import SKEW_S, JobFacts, event_at, role_of, seconds_of
from roadbed.kube.reason import Reason

_MAKERS = {
    "FailedToCreateHeadPod": "head",
    "FailedToCreateWorkerPod": "worker",
    "FailedCreate": "submitter",
    "FailedToCreateRayJobSubmitter": "submitter",
    "FailedToCreateRayCluster": "cluster",
}
"""Reason of the event -> what is missing since."""

_SECURITY = re.compile(r'violates PodSecurity "(?P<level>[^":]+)[^"]*": (?P<faults>.*)')
_QUOTA = re.compile(
    r"exceeded quota: (?P<quota>[^,]+), requested: (?P<asked>.+?), used: (?P<used>.+?), limited: (?P<limit>.+)"
)
_UNSAID = re.compile(r"failed quota: (?P<quota>[^:]+): must specify (?P<what>[^;]+)")
_RANGE = re.compile(r"(?P<what>(?:maximum|minimum) \w[\w-]* usage per (?:Container|Pod) is [^\]]+)")
_ACCOUNT = re.compile(r'serviceaccount "(?P<name>[^"]+)" not found', re.IGNORECASE)
_PRIORITY = re.compile(r"no PriorityClass with name (?P<name>\S+) was found")
_DENIED = re.compile(r'admission webhook "(?P<name>[^"]+)" denied the request: (?P<why>.*)', re.DOTALL)
_POLICY = re.compile(r"ValidatingAdmissionPolicy '?(?P<name>[\w.-]+)'?.* denied request: (?P<why>.*)", re.DOTALL)
_DEAD_HOOK = re.compile(r'failed calling webhook "(?P<name>[^"]+)": (?P<why>.*)', re.DOTALL)
_RIGHTS = re.compile(r'User "(?P<user>[^"]+)" cannot (?P<verb>\w+) resource "(?P<what>[^"]+)"')


def why_refused(facts: JobFacts) -> list[Reason]:
    """Refusals of what the job still lacks. One that was followed by a success is history."""
    if facts.is_over and facts.deployment != "Failed":
        return []
    reasons = []
    for event in facts.events_of(*_MAKERS):
        what = _MAKERS[event["reason"]]
        if event_at(event) + SKEW_S >= _made_at(facts, what):
            reasons.append(explain_refusal(str(event.get("message") or ""), what))
    cluster = facts.status.get("rayClusterStatus") or {}
    for found in cluster.get("conditions") or []:
        is_head = found.get("reason") == "FailedCreateHeadPod"
        if found.get("type") == "ReplicaFailure" and found.get("status") == "True":
            reasons.append(explain_refusal(str(found.get("message") or ""), "head" if is_head else "worker"))
    return reasons


def explain_refusal(message: str, what: str) -> Reason:
    """What an answer of the API server to "make this" means; `what` was to be made."""
    if found := _SECURITY.search(message):
        return Reason(
            "pod_security",
            f'the namespace enforces Pod Security "{found["level"]}", which the {what} pod does not pass: '
            f"{found['faults']}",
            "submit it anew with this version of roadbed; if the profile or an admission webhook adds containers, they "
            "must pass it too",
        )
    if found := _QUOTA.search(message):
        return Reason(
            "namespace_quota",
            f"the namespace's quota {found['quota']} has no room for the {what} pod: it asks for {found['asked']}, "
            f"used are {found['used']} of {found['limit']}",
            "wait for other jobs to end, stop one of yours, or ask for fewer or smaller workers",
            found["quota"],
        )
    if found := _UNSAID.search(message):
        return Reason(
            "namespace_quota",
            f"the namespace's quota {found['quota']} wants every pod to state {found['what'].strip()}; the {what} pod "
            "does not",
            "ask the administrator for a LimitRange with defaults, or another quota",
            found["quota"],
        )
    if found := _RANGE.search(message):
        return Reason(
            "namespace_quota",
            f"the namespace's LimitRange refuses the {what} pod: {found['what'].strip()}",
            "take a profile with smaller pods, or ask the administrator",
        )
    return _of_something_missing(message, what) or _of_webhooks(message, what)


def _of_something_missing(message: str, what: str) -> Reason | None:
    if found := _ACCOUNT.search(message):
        return Reason(
            "missing",
            f"the {what} pod is to run as ServiceAccount {found['name']}, which is not there",
            "install the chart in this namespace, or correct service_account in the profile",
            found["name"],
        )
    if found := _PRIORITY.search(message):
        return Reason(
            "missing",
            f"there is no PriorityClass {found['name']}, which the {what} pod names",
            "see `kubectl get priorityclasses`; correct priority_class in the profile",
            found["name"],
        )
    return None


def _of_webhooks(message: str, what: str) -> Reason:
    if found := _DEAD_HOOK.search(message):
        return Reason(
            "webhook",
            f"admission webhook {found['name']} does not answer, so no {what} can be made: {found['why']}",
            "ask the administrator to look at the pods behind it (Kueue's, the operator's); then it goes on by itself",
            found["name"],
        )
    if found := _DENIED.search(message) or _POLICY.search(message):
        return Reason(
            "webhook",
            f"{found['name']} (admission) refuses the {what}: {found['why'].strip()}",
            "correct what it names in the job spec or the profile, or ask who set the rule up",
            found["name"],
        )
    if found := _RIGHTS.search(message):
        return Reason(
            "operator",
            f"the operator may not {found['verb']} {found['what']} here ({found['user']})",
            "ask the administrator: KubeRay's operator must watch this namespace",
        )
    return Reason("refused", f"the {what} cannot be made: {message}", "correct what it names and submit the job again")


def _made_at(facts: JobFacts, what: str) -> float:
    """When the newest one was made, 0.0 if there is none."""
    if what == "cluster":
        return facts.now if facts.status.get("rayClusterName") and facts.pods else 0.0
    made = [seconds_of(pod["metadata"].get("creationTimestamp")) for pod in facts.pods if role_of(pod) == what]
    return max(made, default=0.0)
