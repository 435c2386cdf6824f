"""Rules on RayJobs and RayCronJobs: what KubeRay 1.7's operator refuses.

A RayJob that it refuses ends as ValidationFailed. Source: its `ValidateRayJobSpec`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from roadbed.kube.lint.fields import Field, parsed
from roadbed.kube.lint.rule import Finding, Rule, of_kind, rayjobs

_MANAGERS = ("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue")

Job = tuple[Field, Field]


def _suspended(job: Job) -> Iterator[Finding]:
    spec = job[1]
    if spec["suspend"].value is True and spec["shutdownAfterJobFinishes"].value is not True:
        where = spec["shutdownAfterJobFinishes"]
        yield Finding(where, "a suspended RayJob must shut down its cluster", "write shutdownAfterJobFinishes: true")
    if spec["suspend"].value is True and spec["clusterSelector"]:
        yield Finding(spec["suspend"], "is refused with clusterSelector", "give the job a rayClusterSpec of its own")


def _cluster_of_job(job: Job) -> Iterator[Finding]:
    spec, selector = job[1], job[1]["clusterSelector"]
    if not spec["rayClusterSpec"] and not selector:
        yield Finding(spec["rayClusterSpec"], "the job has no cluster", "give a rayClusterSpec, or a clusterSelector")
    if selector and not selector["ray.io/cluster"].text:
        yield Finding(selector["ray.io/cluster"], "names no cluster", "write ray.io/cluster: NAME")


def _retries(job: Job) -> Iterator[Finding]:
    spec, retries = job[1], job[1]["backoffLimit"]
    if retries.whole is not None and retries.whole < 0:
        yield Finding(retries, f"{retries.whole} is less than none", "write 0 or more")
    if not retries.whole or retries.whole < 0:
        return
    if spec["clusterSelector"]:
        yield Finding(retries, "is refused with clusterSelector", "write 0, or give a rayClusterSpec")
    if spec["submissionMode"].text == "InteractiveMode":
        yield Finding(retries, "is refused in InteractiveMode", "write 0")


def _sidecar(job: Job) -> Iterator[Finding]:
    spec = job[1]
    if spec["submissionMode"].text != "SidecarMode":
        return
    for name in ("clusterSelector", "submitterPodTemplate", "submitterConfig"):
        if spec[name].is_set:
            yield Finding(spec[name], "is refused in SidecarMode", "take it out, or write K8sJobMode")
    policy = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["restartPolicy"]
    if policy.text not in ("", "Never"):
        yield Finding(policy, f"{policy.text} is refused in SidecarMode", "write Never")


def _lifetime(job: Job) -> Iterator[Finding]:
    spec, ttl = job[1], job[1]["ttlSecondsAfterFinished"]
    if ttl.whole is not None and ttl.whole < 0:
        yield Finding(ttl, f"{ttl.whole} is less than no time", "write 0 or more")
    elif ttl.whole and spec["shutdownAfterJobFinishes"].value is not True:
        fix = "write shutdownAfterJobFinishes: true, or a deletion rule with ttlSeconds"
        yield Finding(ttl, "is refused without shutdownAfterJobFinishes", fix)


def _deadlines(job: Job) -> Iterator[Finding]:
    spec = job[1]
    whole, start = spec["activeDeadlineSeconds"], spec["preRunningDeadlineSeconds"]
    for field in (whole, start):
        if field.whole is not None and field.whole <= 0:
            yield Finding(field, f"{field.whole} is no time to wait", "write 1 or more, or take it out")
    if whole.whole and start.whole and 0 < whole.whole <= start.whole:
        text = f"waits {start.whole} s for a start, and the job ends after {whole.whole} s"
        yield Finding(start, text, "write less than activeDeadlineSeconds")


def _deletion(job: Job) -> Iterator[Finding]:
    spec, strategy = job[1], job[1]["deletionStrategy"]
    if not strategy.is_set:
        return
    rules = strategy["deletionRules"]
    legacy = [strategy[name] for name in ("onSuccess", "onFailure") if strategy[name].is_set]
    if rules.items() and spec["shutdownAfterJobFinishes"].value is True:
        yield Finding(rules, "is refused with shutdownAfterJobFinishes", "keep one of the two")
    if rules.items() and legacy:
        yield Finding(legacy[0], "is refused beside deletionRules", "keep deletionRules")
    if not rules.items() and len(legacy) != 2:
        yield Finding(strategy, "has neither deletionRules nor both onSuccess and onFailure", "write deletionRules")
    for field in legacy:
        if field["policy"].text == "DeleteNone" and spec["shutdownAfterJobFinishes"].value is True:
            yield Finding(field["policy"], "DeleteNone is refused with shutdownAfterJobFinishes", "keep one of the two")


def _deletion_policies(job: Job) -> Iterator[Finding]:
    spec, strategy = job[1], job[1]["deletionStrategy"]
    policies = [rule["policy"] for rule in strategy["deletionRules"].items()]
    policies += [strategy[name]["policy"] for name in ("onSuccess", "onFailure")]
    autoscales = spec["rayClusterSpec"]["enableInTreeAutoscaling"].value is True
    for policy in policies:
        if policy.text == "DeleteWorkers" and autoscales:
            yield Finding(policy, "DeleteWorkers is refused under the autoscaler", "write DeleteCluster")
        elif policy.text in ("DeleteWorkers", "DeleteCluster") and spec["clusterSelector"]:
            yield Finding(policy, f"{policy.text} is refused with clusterSelector", "write DeleteSelf or DeleteNone")


def _deletion_order(job: Job) -> Iterator[Finding]:
    seen: dict[tuple[str, str], int] = {}
    for rule in job[1]["deletionStrategy"]["deletionRules"].items():
        condition, policy = rule["condition"], rule["policy"].text
        state = condition["jobStatus"].text or condition["jobDeploymentStatus"].text
        after_s = condition["ttlSeconds"].whole or 0
        if after_s < 0:
            yield Finding(condition["ttlSeconds"], f"{after_s} is less than no time", "write 0 or more")
        if (state, policy) in seen:
            yield Finding(rule, f"is the second rule for {policy} after {state}", "take one out")
        seen[state, policy] = after_s
        order = ["DeleteWorkers", "DeleteCluster", "DeleteSelf"]
        for other in order:
            if policy in order and (state, other) in seen and _is_unordered(order, seen, state, policy, other):
                text = f"{policy} after {after_s} s and {other} after {seen[state, other]} s come in the wrong order"
                yield Finding(condition["ttlSeconds"], text, "workers go first, then the cluster, then the job")


def _is_unordered(order: list[str], seen: dict[tuple[str, str], int], state: str, policy: str, other: str) -> bool:
    first, last = sorted((policy, other), key=order.index)
    return seen[state, first] > seen[state, last]


def _entrypoint(job: Job) -> Iterator[Finding]:
    spec, mode = job[1], job[1]["submissionMode"]
    if not spec["entrypoint"].text.strip() and mode.text != "InteractiveMode":
        yield Finding(spec["entrypoint"], "the job has no entrypoint", "write the command that the job runs")
    if mode.text not in ("", "K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"):
        fix = "write K8sJobMode, HTTPMode, InteractiveMode or SidecarMode"
        yield Finding(mode, f"{mode.text!r} is no way of submission", fix)
    environment = spec["runtimeEnvYAML"]
    if environment.text and not isinstance(parsed(environment.text), dict):
        yield Finding(environment, "is no YAML of keys and values", "write such as `env_vars: {NAME: value}`")


def _managed_by(obj: Field) -> Iterator[Finding]:
    manager = obj["spec"]["managedBy"]
    if manager.is_set and manager.text not in _MANAGERS:
        yield Finding(manager, f"{manager.value} manages no Ray", f"write {' or '.join(_MANAGERS)}")


def _cron(cron: Field) -> Iterator[Finding]:
    schedule = cron["spec"]["schedule"]
    if not re.fullmatch(
        r"@(yearly|annually|monthly|weekly|daily|midnight|hourly|every \S+)|\S+( +\S+){4}", schedule.text
    ) or (not schedule.text.startswith("@") and not re.fullmatch(r"[\d*/,\- A-Za-z?]+", schedule.text)):
        yield Finding(schedule, f"{schedule.value!r} is no schedule", 'write five fields, such as "0 3 * * 1"')


def _job(name: str, refuses: str, check: Callable[[Job], Iterator[Finding]]) -> Rule:
    return Rule(name, "error", "RayJob", refuses, rayjobs, check)


RULES = (
    _job("job-suspend", "suspend without shutdownAfterJobFinishes, or with clusterSelector", _suspended),
    _job("job-cluster", "neither rayClusterSpec nor clusterSelector; a selector without a name", _cluster_of_job),
    _job("job-retries", "backoffLimit with clusterSelector or InteractiveMode, or below 0", _retries),
    _job("job-sidecar", "what SidecarMode excludes", _sidecar),
    _job("job-ttl", "ttlSecondsAfterFinished without shutdownAfterJobFinishes, or below 0", _lifetime),
    _job("job-deadline", "deadlines that are none, or in the wrong order", _deadlines),
    _job("job-deletion", "deletion rules with shutdownAfterJobFinishes or the old policies; none", _deletion),
    _job(
        "job-deletion-policy", "DeleteWorkers under the autoscaler; deletion of a selected cluster", _deletion_policies
    ),
    _job("job-deletion-order", "deletion rules that stand twice, or come in the wrong order", _deletion_order),
    _job("job-entrypoint", "no entrypoint, unknown submissionMode, runtimeEnvYAML that is no YAML", _entrypoint),
    Rule(
        "managed-by",
        "error",
        "Ray kinds",
        "managers that are none",
        of_kind("RayJob", "RayCluster", "RayService"),
        _managed_by,
    ),
    Rule(
        "schedule", "error", "RayCronJob, CronJob", "schedules that are none", of_kind("RayCronJob", "CronJob"), _cron
    ),
)
