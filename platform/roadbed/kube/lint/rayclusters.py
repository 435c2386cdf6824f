"""Rules on Ray clusters, alone or within a RayJob or RayService: what KubeRay 1.7's operator refuses, what fails.

The operator refuses a cluster by an event alone: no pod ever starts. Source: its `ValidateRayClusterSpec`, and Ray's
documentation of KubeRay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from roadbed.kube.lint.fields import Field
from roadbed.kube.lint.rule import Cluster, Finding, Pod, Rule, clusters, is_gpu, pods

_V2_ENV = "RAY_enable_autoscaler_v2"
_FT_ANNOTATION = "ray.io/ft-enabled"
_STORAGE_ANNOTATION = "ray.io/external-storage-namespace"
_RESOURCE_PARAMS = ("num-cpus", "num-gpus", "memory", "resources")
_LEAST_HEAD_MEMORY = 5 * 1024**3


def _groups(cluster: Cluster) -> list[Field]:
    return [cluster.head, *cluster.groups]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,9}", text)[:3])


def _containers(cluster: Cluster) -> Iterator[Finding]:
    for group in _groups(cluster):
        containers = group["template"]["spec"]["containers"]
        if not containers.items():
            yield Finding(containers, "the group has no container", "give the Ray container, as the first")


def _resources_twice(cluster: Cluster) -> Iterator[Finding]:
    for group in _groups(cluster):
        params = group["rayStartParams"]
        for name in _RESOURCE_PARAMS:
            if params[name] and group["resources"]:
                text = f"{name} stands in rayStartParams, and resources are given too"
                yield Finding(params[name], text, "keep one of the two")


def _start_params(cluster: Cluster) -> Iterator[Finding]:
    for group in _groups(cluster):
        for name, value in group["rayStartParams"].fields().items():
            if name == "labels":
                yield Finding(value, "labels are refused here", "write them in the group's field labels")
            elif not isinstance(value.value, str):
                yield Finding(value, f"{value.value!r} is no text", f'write it in quotes: "{value.value}"')


def _replicas(cluster: Cluster) -> Iterator[Finding]:
    for group in cluster.groups:
        least, number, most = (group[name] for name in ("minReplicas", "replicas", "maxReplicas"))
        for field in (least, number, most):
            if field.whole is not None and field.whole < 0:
                yield Finding(field, f"{field.whole} is less than no pod", "write 0 or more")
        if least.whole is not None and most.whole is not None and least.whole > most.whole:
            yield Finding(least, f"minReplicas {least.whole} > maxReplicas {most.whole}", "write min <= max")
        elif number.whole is not None and most.whole is not None and number.whole > most.whole:
            yield Finding(number, f"replicas {number.whole} > maxReplicas {most.whole}", "write min <= replicas <= max")
        elif number.whole is not None and least.whole is not None and number.whole < least.whole:
            yield Finding(
                number, f"replicas {number.whole} < minReplicas {least.whole}", "write min <= replicas <= max"
            )


def _replicas_missing(cluster: Cluster) -> Iterator[Finding]:
    names = ("maxReplicas",) if cluster.autoscales else ("minReplicas", "maxReplicas")
    for group in cluster.groups:
        for name in names:
            if not group[name].is_set:
                text = "is missing: the operator wants both without an autoscaler, and with one it has no bound"
                yield Finding(group[name], text, "write minReplicas and maxReplicas")


def _group_names(cluster: Cluster) -> Iterator[Finding]:
    seen = {"headgroup"}
    for group in cluster.groups:
        name = group["groupName"]
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name.text):
            fix = "lower-case letters, digits and dashes, a letter first"
            yield Finding(name, f"{name.value!r} is no name of a group", fix)
        elif name.text in seen:
            yield Finding(name, f"{name.text} is the name of another group", "give every group its own")
        seen.add(name.text)


def _suspended_groups(cluster: Cluster) -> Iterator[Finding]:
    for group in cluster.groups:
        if group["suspend"] and cluster.autoscales:
            yield Finding(group["suspend"], "a group cannot be suspended under the autoscaler", "take it out")


def _autoscaler_version(cluster: Cluster) -> Iterator[Finding]:
    env, version = cluster.head_env(_V2_ENV), cluster.spec["autoscalerOptions"]["version"]
    if env is None:
        return
    if version.is_set and cluster.autoscales:
        yield Finding(env["name"], f"{_V2_ENV} and autoscalerOptions.version are both set", "keep the latter")
    elif not cluster.autoscales and env["value"].text in ("1", "true"):
        text = f"{_V2_ENV} is {env['value'].text} where no autoscaler runs"
        yield Finding(env["name"], text, "take it out, or write enableInTreeAutoscaling: true")


def _autoscaler_restarts(cluster: Cluster) -> Iterator[Finding]:
    if not _is_v2(cluster):
        return
    for group in _groups(cluster):
        policy = group["template"]["spec"]["restartPolicy"]
        if policy.is_set and policy.text not in ("", "Never"):
            yield Finding(policy, f"{policy.value} is refused with autoscaler v2", "write Never")


def _is_v2(cluster: Cluster) -> bool:
    """Autoscaler v2 is asked for, or the default of this version of Ray (2.47 and later)."""
    version, env = cluster.spec["autoscalerOptions"]["version"].text, cluster.head_env(_V2_ENV)
    if version or not cluster.autoscales:
        return cluster.autoscales and version == "v2"
    if env is not None:
        return env["value"].text in ("1", "true")
    return _version(cluster.spec["rayVersion"].text) >= (2, 47)


def _autoscaler_token(cluster: Cluster) -> Iterator[Finding]:
    setting = cluster.head["template"]["spec"]["automountServiceAccountToken"]
    if cluster.autoscales and setting.value is False:
        text = "the autoscaler in the head's pod cannot talk to the API server"
        yield Finding(setting, text, "write true for the head, or enableInTreeAutoscaling: false")


def _fault_tolerance(cluster: Cluster) -> Iterator[Finding]:
    options, annotations = cluster.spec["gcsFaultToleranceOptions"], cluster.obj["metadata"]["annotations"]
    params = cluster.head["rayStartParams"]
    user = cluster.head_env("REDIS_USERNAME")
    for field in (params["redis-username"], user["name"] if user else Field(None)):
        if field:
            yield Finding(field, "is refused", "write gcsFaultToleranceOptions.redisUsername")
    if not options.is_set:
        address = cluster.head_env("RAY_REDIS_ADDRESS")
        if address and annotations[_FT_ANNOTATION].text.lower() != "true":
            text = "asks for fault tolerance without gcsFaultToleranceOptions"
            yield Finding(address["name"], text, "write gcsFaultToleranceOptions.redisAddress")
        return
    for name in (_FT_ANNOTATION, _STORAGE_ANNOTATION):
        if annotations[name]:
            yield Finding(annotations[name], "is refused beside gcsFaultToleranceOptions", "take it out")
    if params["redis-password"]:
        yield Finding(params["redis-password"], "is refused here", "write gcsFaultToleranceOptions.redisPassword")
    for name, instead in (("REDIS_PASSWORD", "redisPassword"), ("RAY_REDIS_ADDRESS", "redisAddress")):
        env = cluster.head_env(name)
        if env:
            yield Finding(env["name"], f"{name} is refused here", f"write gcsFaultToleranceOptions.{instead}")


def _authentication(cluster: Cluster) -> Iterator[Finding]:
    options, version = cluster.spec["authOptions"], cluster.spec["rayVersion"]
    if not options.is_set or options["mode"].text == "disabled":
        return
    least = (2, 55) if options["enableK8sTokenAuth"].value is True else (2, 52)
    if _version(version.text) < least:
        text = f"rayVersion is {version.text or 'missing'}, authOptions want {'.'.join(map(str, least))} or later"
        yield Finding(version, text, "write the version of the image, such as 2.60.0")
    if options["enableK8sTokenAuth"].value is True and cluster.obj["kind"].text != "RayCluster":
        kind = cluster.obj["kind"].text
        yield Finding(options["enableK8sTokenAuth"], f"is refused in a {kind}", "take it out: mode: token remains")


def _upgrade_of_owned(cluster: Cluster) -> Iterator[Finding]:
    if cluster.spec["upgradeStrategy"].is_set and cluster.obj["kind"].text != "RayCluster":
        kind = cluster.obj["kind"].text
        yield Finding(cluster.spec["upgradeStrategy"], f"is refused for the cluster of a {kind}", "take it out")


def _head_works(cluster: Cluster) -> Iterator[Finding]:
    cpus = cluster.head["rayStartParams"]["num-cpus"]
    own = cluster.head["resources"].fields().get("CPU")
    if cluster.groups and str(cpus.value) != "0" and (own is None or str(own.value) != "0"):
        text = "the head works: tasks there can starve what keeps the cluster alive"
        yield Finding(cpus, text, 'write rayStartParams: {num-cpus: "0"}')


def _head_gpus(cluster: Cluster) -> Iterator[Finding]:
    if not cluster.groups:
        return
    for container in cluster.head["template"]["spec"]["containers"].items():
        for kind in ("limits", "requests"):
            for name, amount in container["resources"][kind].fields().items():
                if is_gpu(name) and amount.quantity:
                    yield Finding(amount, f"the head holds {amount.value} {name} and leaves them idle", "take it out")


def _head_memory(cluster: Cluster) -> Iterator[Finding]:
    containers = cluster.head["template"]["spec"]["containers"].items()
    for container in containers[:1]:
        memory = container["resources"]["limits"]["memory"]
        if memory.quantity is not None and memory.quantity < _LEAST_HEAD_MEMORY:
            text = f"{memory.value} is little for a head: the control store, the dashboard and the autoscaler share it"
            yield Finding(memory, text, "write 5Gi or more")


def _ray_limits(pod: Pod) -> Iterator[Finding]:
    if pod.role not in ("head", "worker"):
        return
    for container in pod.spec["containers"].items()[:1]:
        limits = container["resources"]["limits"]
        if not limits["memory"].is_set:
            text = "without a limit Ray takes the memory of the whole node for its own"
            yield Finding(limits["memory"], text, "write the memory that the pod may use")


def _claimed_gpus(cluster: Cluster) -> Iterator[Finding]:
    for group in _groups(cluster):
        claimed = group["rayStartParams"]["num-gpus"]
        held = Pod(cluster.obj, group["template"]).gpus
        if (claimed.quantity or 0.0) > held:
            text = f"Ray is told of {claimed.value} GPUs, the pod holds {held:g}"
            yield Finding(claimed, text, "take it out: Ray counts the limits of the container")


def _versions_unlike(cluster: Cluster) -> Iterator[Finding]:
    wanted = cluster.spec["rayVersion"]
    for group in _groups(cluster):
        for container in group["template"]["spec"]["containers"].items()[:1]:
            image = container["image"].text
            found = re.search(r"/ray(?:-ml)?:(\d+\.\d+\.\d+)", image)
            if found and wanted.text and found[1] != wanted.text:
                text = f"holds Ray {found[1]}, and rayVersion is {wanted.text}"
                yield Finding(container["image"], text, "write the same version in both")


def _gates(cluster: Cluster) -> Iterator[Finding]:
    """Fields of alpha features are dropped or refused by an operator that was not started with their gate."""
    gated = {
        "RayClusterNetworkPolicy": cluster.spec["networkPolicy"],
        "RayClusterMTLS": cluster.spec["tlsOptions"],
        "RayClusterHistoryServer": cluster.spec["historyServerOptions"],
    }
    options = cluster.spec["gcsFaultToleranceOptions"]
    if options["backend"].text == "rocksdb":
        gated["GCSFaultToleranceEmbeddedStorage"] = options["backend"]
    for gate, field in gated.items():
        if field.is_set:
            text = f"needs the operator's feature gate {gate}, which is off by default"
            yield Finding(field, text, f"install KubeRay with featureGates {gate}=true, or take it out")


def _policy_without_dns(cluster: Cluster) -> Iterator[Finding]:
    policy = cluster.spec["networkPolicy"]
    if not policy.is_set or policy["mode"].text == "DenyAllIngress":
        return
    for role in ("head", "worker"):
        ports = [port for rule in policy[role]["egressRules"].items() for port in rule["ports"].items()]
        if not any(port["port"].value in (53, "53", "dns") for port in ports):
            text = "egress is denied and DNS is not let through: no name can be resolved"
            yield Finding(policy[role]["egressRules"], text, "allow UDP and TCP 53 to kube-system")


def _cluster(name: str, refuses: str, check: Callable[[Cluster], Iterator[Finding]], *, warns: bool = False) -> Rule:
    return Rule(name, "warning" if warns else "error", "Ray clusters", refuses, clusters, check)


RULES = (
    _cluster("group-containers", "groups without a container", _containers),
    _cluster("resources-twice", "resources in rayStartParams and in the group's resources", _resources_twice),
    _cluster("start-params", "labels in rayStartParams; values that are no text", _start_params),
    _cluster("replicas-order", "not 0 <= minReplicas <= replicas <= maxReplicas", _replicas),
    _cluster(
        "replicas-missing", "groups without maxReplicas, or without both where no autoscaler runs", _replicas_missing
    ),
    _cluster("group-name", "groups of one name, or of the head's; names that are none", _group_names),
    _cluster("group-suspend", "suspended groups under the autoscaler", _suspended_groups),
    _cluster("autoscaler-version", f"{_V2_ENV} beside the version, or without autoscaler", _autoscaler_version),
    _cluster("autoscaler-restart", "restartPolicy other than Never with autoscaler v2", _autoscaler_restarts),
    _cluster("autoscaler-token", "an autoscaler without the token of its account", _autoscaler_token),
    _cluster("gcs-redis", "settings of Redis beside gcsFaultToleranceOptions, or without", _fault_tolerance),
    _cluster("auth-version", "authOptions with a Ray that has none, or of a kind that is refused", _authentication),
    _cluster("upgrade-owned", "upgradeStrategy of a cluster that a RayJob or RayService owns", _upgrade_of_owned),
    _cluster("head-works", "a head that takes tasks where there are workers", _head_works, warns=True),
    _cluster("head-gpus", "a head that holds GPUs where there are workers", _head_gpus),
    _cluster("head-memory", "a head with less than 5 GiB", _head_memory, warns=True),
    _cluster("num-gpus", "more GPUs in rayStartParams than the pod holds", _claimed_gpus),
    _cluster("ray-version", "an image of another Ray than rayVersion says", _versions_unlike),
    _cluster("gate-off", "fields of features that are off by default", _gates, warns=True),
    _cluster("cluster-dns", "the cluster's network policy without DNS", _policy_without_dns),
    Rule("ray-limits", "warning", "Ray pods", "Ray containers without a limit of memory", pods, _ray_limits),
)
