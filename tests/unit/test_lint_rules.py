"""Every rule of `roadbed lint`: a good object with one thing changed has that fault and no other, and its path is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube_objects import REMOVED, changed, good_objects
from roadbed.kube.lint import RULES, faults

HEAD = "spec.rayClusterSpec.headGroupSpec"
GROUP = "spec.rayClusterSpec.workerGroupSpecs[0]"
HEAD_POD = f"{HEAD}.template.spec"
POD = f"{GROUP}.template.spec"
RAY = f"{POD}.containers[0]"
SUBMITTER = "spec.submitterPodTemplate.spec"
DEPLOYED = "spec.template.spec"
JOB, QUEUED, SELECTING = "RayJob/train-one", "RayJob/queued", "RayJob/selecting"
CLUSTER, SERVICE, CRON = "RayCluster/shared", "RayService/endpoint", "RayCronJob/nightly"
EXPORTER, BUDGET, POLICY = "Deployment/exporter", "PodDisruptionBudget/heads", "NetworkPolicy/store-client"
RULE_0 = "spec.deletionStrategy.deletionRules[0]"
UPGRADE = "spec.upgradeStrategy.clusterUpgradeOptions"
QUEUE = "kueue.x-k8s.io/queue-name"
GPU = "nvidia.com/gpu"


@dataclass(frozen=True)
class Planted:
    """A change of a good object, the rule that finds it, and the path that it names (that of the change if None)."""

    rule: str
    obj: str
    path: str
    value: Any
    at: str | None = None


def config(**application: Any) -> str:
    values = {"name": "a", "import_path": "roadbed.serving.app:build", **application}
    return f"applications: [{values!r}]".replace("None", "null").replace("True", "true")


def env(name: str, value: str = "1") -> list[dict[str, str]]:
    return [{"name": name, "value": value}]


def groups(number: int) -> list[dict[str, Any]]:
    group = good_objects()[JOB]["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    return [{**group, "groupName": f"workers-{index}"} for index in range(number)]


def resources(more: dict[str, int] | None = None) -> dict[str, Any]:
    amounts = {"cpu": 2, "memory": "8Gi", **(more or {})}
    return {"requests": amounts, "limits": amounts}


def worker(*, resources: dict[str, Any], mounts: list[str]) -> dict[str, Any]:
    container = groups(1)[0]["template"]["spec"]["containers"][0]
    return {
        **container,
        "resources": resources,
        "volumeMounts": [mount for mount in container["volumeMounts"] if mount["name"] in mounts],
    }


def staying() -> dict[str, Any]:
    """The spec of a queued job whose cluster stays when it is done."""
    kept = ("submissionMode", "entrypoint", "rayClusterSpec")
    return {name: value for name, value in good_objects()[QUEUED]["spec"].items() if name in kept}


def fixed() -> dict[str, Any]:
    """A cluster without an autoscaler and without minReplicas."""
    cluster = good_objects()[JOB]["spec"]["rayClusterSpec"]
    bare = {name: value for name, value in cluster.items() if not name.lower().startswith(("enable", "autoscaler"))}
    return changed(bare, "workerGroupSpecs[0].minReplicas", REMOVED)


PLANTED = [
    # Any object.
    Planted("identity", EXPORTER, "kind", REMOVED),
    Planted("identity", JOB, "apiVersion", "ray.io/v1alpha1"),
    Planted("identity", BUDGET, "apiVersion", "policy/v1beta1"),
    Planted("name", JOB, "metadata.name", "a" * 48),
    Planted("name", SERVICE, "metadata.name", "a" * 48),
    Planted("name", CLUSTER, "metadata.name", "a" * 54),
    Planted("name", CRON, "metadata.name", "a" * 37),
    Planted("name", JOB, "metadata.name", "1-train"),
    Planted("name", JOB, "metadata.name", REMOVED),
    Planted("name", "ConfigMap/settings", "metadata.name", "Settings_1"),
    Planted("name", "ConfigMap/settings", "metadata.namespace", "the team"),
    Planted("labels", JOB, "metadata.labels", {"roadbed.dev/run": "a run"}, "metadata.labels[roadbed.dev/run]"),
    Planted("labels", JOB, "metadata.labels", {"roadbed.dev/run": "a" * 64}, "metadata.labels[roadbed.dev/run]"),
    Planted("labels", JOB, "metadata.labels", {"-": "x"}, "metadata.labels.-"),
    Planted("labels", JOB, "metadata.annotations", {"spot": True}, "metadata.annotations.spot"),
    Planted("pod-labels", JOB, f"{HEAD}.template.metadata.labels", {"run": 1}, f"{HEAD}.template.metadata.labels.run"),
    Planted("head-name", JOB, f"{HEAD}.template.metadata.labels", {"app.kubernetes.io/name": "mine"}, f"{HEAD}.template.metadata.labels[app.kubernetes.io/name]"),
    Planted("selector", EXPORTER, "spec.template.metadata.labels", {"app": "other"}, "spec.selector.matchLabels.app"),
    Planted("scaler", "HorizontalPodAutoscaler/exporter", "spec.scaleTargetRef.kind", "RayService"),
    Planted("scaler", "HorizontalPodAutoscaler/exporter", "spec.minReplicas", 4),
    Planted("budget", BUDGET, "spec.minAvailable", "50%"),
    Planted("budget", BUDGET, "spec.maxUnavailable", 1, "spec"),
    Planted("budget", BUDGET, "spec.minAvailable", REMOVED, "spec"),
    Planted("budget", BUDGET, "spec", {"minAvailable": "100%", "selector": {"matchLabels": {"a": "b"}}}, "spec.minAvailable"),
    Planted("budget", BUDGET, "spec", {"maxUnavailable": 1, "selector": {"matchLabels": {"ray.io/group": "a"}}}, "spec.maxUnavailable"),
    # KubeRay's RayJob.
    Planted("job-suspend", JOB, "spec.suspend", True, "spec.shutdownAfterJobFinishes"),
    Planted("job-cluster", SELECTING, "spec.clusterSelector", REMOVED, "spec.rayClusterSpec"),
    Planted("job-cluster", SELECTING, "spec.clusterSelector", {"ray.io/cluster": ""}, "spec.clusterSelector[ray.io/cluster]"),
    Planted("job-retries", SELECTING, "spec.backoffLimit", 1),
    Planted("job-retries", JOB, "spec.backoffLimit", -1),
    Planted("job-retries", JOB, "spec.submissionMode", "InteractiveMode", "spec.backoffLimit"),
    Planted("job-sidecar", JOB, "spec.submissionMode", "SidecarMode", "spec.submitterPodTemplate"),
    Planted("job-sidecar", SELECTING, "spec.submissionMode", "SidecarMode", "spec.clusterSelector"),
    Planted("job-ttl", JOB, "spec.ttlSecondsAfterFinished", 60),
    Planted("job-ttl", QUEUED, "spec.ttlSecondsAfterFinished", -1),
    Planted("job-deadline", JOB, "spec.activeDeadlineSeconds", 0),
    Planted("job-deadline", JOB, "spec.activeDeadlineSeconds", 600, "spec.preRunningDeadlineSeconds"),
    Planted("job-deletion", JOB, "spec.shutdownAfterJobFinishes", True, "spec.deletionStrategy.deletionRules"),
    Planted("job-deletion", JOB, "spec.deletionStrategy.onSuccess", {"policy": "DeleteCluster"}),
    Planted("job-deletion", JOB, "spec.deletionStrategy", {}),
    Planted("job-deletion", JOB, "spec.deletionStrategy", {"onFailure": {"policy": "DeleteSelf"}}),
    Planted("job-deletion-policy", JOB, f"{RULE_0}.policy", "DeleteWorkers"),
    Planted("job-deletion-policy", SELECTING, "spec.deletionStrategy", {"deletionRules": [{"policy": "DeleteCluster"}]}, f"{RULE_0}.policy"),
    Planted("job-deletion-order", JOB, f"{RULE_0}.condition.jobStatus", "FAILED", "spec.deletionStrategy.deletionRules[1]"),
    Planted("job-deletion-order", JOB, "spec.deletionStrategy.deletionRules[2].condition.ttlSeconds", 60),
    Planted("job-entrypoint", JOB, "spec.entrypoint", ""),
    Planted("job-entrypoint", SELECTING, "spec.submissionMode", "JobMode"),
    Planted("job-entrypoint", JOB, "spec.runtimeEnvYAML", "env_vars: {A: 1"),
    Planted("managed-by", JOB, "spec.managedBy", "me"),
    Planted("schedule", CRON, "spec.schedule", "0 3 * *"),
    Planted("schedule", "CronJob/retrain", "spec.schedule", "every day at three o'clock"),
    # KubeRay's RayService, Ray Serve.
    Planted("serve-config", SERVICE, "spec.serveConfigV2", "applications: ["),
    Planted("serve-config", SERVICE, "spec.serveConfigV2", "applications: []", "spec.serveConfigV2.applications"),
    Planted("serve-config", SERVICE, "spec.serveConfigV2", config(import_path=None), "spec.serveConfigV2.applications[0].import_path"),
    Planted(
        "serve-config",
        SERVICE,
        "spec.serveConfigV2",
        config(deployments=[{"name": "b", "autoscaling_config": {"min_replicas": 3, "max_replicas": 2}}]),
        "spec.serveConfigV2.applications[0].deployments[0].autoscaling_config.min_replicas",
    ),
    Planted(
        "serve-config",
        SERVICE,
        "spec.serveConfigV2",
        config(deployments=[{"name": "b", "num_replicas": 2, "autoscaling_config": {}}]),
        "spec.serveConfigV2.applications[0].deployments[0].num_replicas",
    ),
    Planted(
        "serve-config",
        SERVICE,
        "spec.serveConfigV2",
        "applications: [{import_path: a:b}, {name: c, import_path: a:d}]",
        "spec.serveConfigV2.applications[1].route_prefix",
    ),
    Planted("service-settings", SERVICE, "spec.rayClusterDeletionDelaySeconds", -1),
    Planted("service-settings", SERVICE, "metadata.annotations[ray.io/initializing-timeout]", "soon"),
    Planted("service-settings", SERVICE, "spec.rayClusterConfig.headGroupSpec.headService", {"metadata": {"name": "x"}}, "spec.rayClusterConfig.headGroupSpec.headService.metadata.name"),
    Planted("service-settings", SERVICE, "spec.rayClusterConfig.headGroupSpec.template.spec.containers[0].ports[2].name", "http", "spec.rayClusterConfig.headGroupSpec.template.spec.containers[0].ports"),
    Planted("service-upgrade", SERVICE, "spec.upgradeStrategy.type", "Rolling"),
    Planted("service-upgrade", SERVICE, "spec.rayClusterConfig.enableInTreeAutoscaling", False),
    Planted("service-upgrade", SERVICE, f"{UPGRADE}.stepSizePercent", 60),
    Planted("service-upgrade", SERVICE, f"{UPGRADE}.gatewayClassName", REMOVED),
    Planted("service-upgrade", SERVICE, f"{UPGRADE}.intervalSeconds", 0),
    # Ray clusters.
    Planted("group-containers", JOB, f"{POD}.containers", []),
    Planted("resources-twice", JOB, f"{HEAD}.resources", {"CPU": "0"}, f"{HEAD}.rayStartParams.num-cpus"),
    Planted("start-params", JOB, f"{GROUP}.rayStartParams", {"labels": "a=b"}, f"{GROUP}.rayStartParams.labels"),
    Planted("start-params", JOB, f"{HEAD}.rayStartParams.num-cpus", 0),
    Planted("replicas-order", JOB, f"{GROUP}.maxReplicas", 0, f"{GROUP}.minReplicas"),
    Planted("replicas-order", JOB, f"{GROUP}.replicas", 5),
    Planted("replicas-order", JOB, f"{GROUP}.replicas", 0),
    Planted("replicas-missing", JOB, f"{GROUP}.maxReplicas", REMOVED),
    Planted("replicas-missing", SELECTING, "spec.rayClusterSpec", fixed(), f"{GROUP}.minReplicas"),
    Planted("group-name", JOB, f"{GROUP}.groupName", "headgroup"),
    Planted("group-name", JOB, f"{GROUP}.groupName", "GPU workers"),
    Planted("group-suspend", JOB, f"{GROUP}.suspend", True),
    Planted("autoscaler-version", JOB, f"{HEAD_POD}.containers[0].env", env("RAY_enable_autoscaler_v2"), f"{HEAD_POD}.containers[0].env[0].name"),
    Planted("autoscaler-restart", JOB, f"{HEAD_POD}.restartPolicy", "Always"),
    Planted("autoscaler-restart", JOB, f"{POD}.restartPolicy", "OnFailure"),
    Planted("autoscaler-token", JOB, f"{HEAD_POD}.automountServiceAccountToken", False),
    Planted("gcs-redis", JOB, f"{HEAD}.rayStartParams.redis-username", "me"),
    Planted("gcs-redis", JOB, f"{HEAD_POD}.containers[0].env", env("RAY_REDIS_ADDRESS"), f"{HEAD_POD}.containers[0].env[0].name"),
    Planted("auth-version", JOB, "spec.rayClusterSpec.rayVersion", REMOVED),
    Planted("auth-version", JOB, "spec.rayClusterSpec.authOptions.enableK8sTokenAuth", True),
    Planted("upgrade-owned", JOB, "spec.rayClusterSpec.upgradeStrategy", {"type": "Recreate"}),
    Planted("head-works", JOB, f"{HEAD}.rayStartParams", {}, f"{HEAD}.rayStartParams.num-cpus"),
    Planted("head-gpus", JOB, f"{HEAD_POD}.containers[0].resources", resources({GPU: 1}), f"{HEAD_POD}.containers[0].resources.limits[{GPU}]"),
    Planted("head-memory", JOB, f"{HEAD_POD}.containers[0].resources", {"requests": {"cpu": 1, "memory": "2Gi"}, "limits": {"memory": "2Gi"}}, f"{HEAD_POD}.containers[0].resources.limits.memory"),
    Planted("num-gpus", JOB, f"{GROUP}.rayStartParams", {"num-gpus": "4"}, f"{GROUP}.rayStartParams.num-gpus"),
    Planted("ray-version", JOB, f"{HEAD_POD}.containers[0].image", "rayproject/ray:2.59.0-gpu"),
    Planted("gate-off", JOB, "spec.rayClusterSpec.tlsOptions", {"enabled": True}),
    Planted("ray-limits", JOB, f"{HEAD_POD}.containers[0].resources.limits.memory", REMOVED),
    # Kueue.
    Planted("kueue-job", QUEUED, "spec", staying(), "spec.shutdownAfterJobFinishes"),
    Planted("kueue-job", QUEUED, "spec.rayClusterSpec.workerGroupSpecs", groups(18)),
    Planted("kueue-job", SELECTING, "metadata.labels", {QUEUE: "training"}, "spec.clusterSelector"),
    Planted("kueue-elastic", QUEUED, "metadata.annotations", {}, "metadata.annotations[kueue.x-k8s.io/elastic-job]"),
    Planted("kueue-elastic", QUEUED, "spec.rayClusterSpec.enableInTreeAutoscaling", False),
    Planted("kueue-labels", QUEUED, "metadata.labels[kueue.x-k8s.io/max-exec-time-seconds]", "1h"),
    Planted("kueue-labels", JOB, "metadata.annotations", {QUEUE: "training"}, f"metadata.annotations[{QUEUE}]"),
    Planted("kueue-labels", JOB, f"{HEAD}.template.metadata.labels", {QUEUE: "a"}, f"{HEAD}.template.metadata.labels[{QUEUE}]"),
    Planted("kueue-missing", QUEUED, f"metadata.labels[{QUEUE}]", "trainings"),
    Planted("kueue-missing", "LocalQueue/training", "spec.clusterQueue", "gpu"),
    Planted("kueue-missing", "ClusterQueue/gpus", "spec.resourceGroups[0].flavors[0].name", "spots"),
    # Networks.
    Planted("policy-dns", POLICY, "spec.podSelector", {"matchLabels": {"app": "other"}}, "spec.egress"),
    Planted("policy-dns", POLICY, "spec.podSelector", {}, "spec.egress"),
    # Pods.
    Planted("image-missing", JOB, f"{RAY}.image", REMOVED),
    Planted("image-latest", JOB, f"{RAY}.image", "roadbed:latest"),
    Planted("image-latest", JOB, f"{RAY}.image", "registry:5000/roadbed"),
    Planted("quantity", JOB, f"{RAY}.resources.limits.cpu", "8 cores"),
    Planted("request-over-limit", JOB, f"{RAY}.resources.requests.cpu", 9),
    Planted("gpu-requests", JOB, f"{RAY}.resources.requests[{GPU}]", REMOVED),
    Planted("gpu-requests", JOB, f"{RAY}.resources.requests[{GPU}]", 1),
    Planted("gpu-requests", JOB, f"{RAY}.resources.limits[{GPU}]", REMOVED),
    Planted("resources-missing", EXPORTER, f"{DEPLOYED}.containers[0].resources", {"requests": {"cpu": 1}}, f"{DEPLOYED}.containers[0].resources.requests.memory"),
    Planted("shm-gpu", JOB, f"{RAY}.volumeMounts[0].mountPath", "/shm", f"{RAY}.volumeMounts"),
    Planted("shm-worker", JOB, f"{RAY}", worker(resources=resources(), mounts=["tmp"]), f"{RAY}.volumeMounts"),
    Planted("shm-gpu", JOB, f"{POD}.volumes[0].emptyDir.medium", ""),
    Planted("shm-gpu", JOB, f"{POD}.volumes[0].emptyDir.sizeLimit", "32Gi"),
    Planted("port-name", JOB, f"{HEAD_POD}.containers[0].ports[0].name", "global-control-store"),
    Planted("port-name", JOB, f"{HEAD_POD}.containers[0].ports[0].name", "dashboard", f"{HEAD_POD}.containers[0].ports[1].name"),
    Planted("port-name", JOB, f"{HEAD_POD}.containers[0].ports[0].containerPort", 66379),
    Planted("pod-names", EXPORTER, f"{DEPLOYED}.volumes", [{"name": "a"}, {"name": "a"}], f"{DEPLOYED}.volumes[1].name"),
    Planted("pod-names", JOB, f"{RAY}.name", "Ray worker"),
    Planted("pod-names", EXPORTER, f"{DEPLOYED}.containers[0].env", env("A") + env("A"), f"{DEPLOYED}.containers[0].env[1].name"),
    Planted("mount-volume", JOB, f"{POD}.volumes[1].name", "scratch", f"{RAY}.volumeMounts[1].name"),
    Planted("prestop-grace", JOB, f"{HEAD_POD}.terminationGracePeriodSeconds", 10),
    Planted("prestop-grace", JOB, f"{RAY}.lifecycle", {"preStop": {"sleep": {"seconds": 60}}}, f"{POD}.terminationGracePeriodSeconds"),
    Planted("restart-policy", JOB, f"{SUBMITTER}.restartPolicy", "Always"),
    Planted("restart-policy", EXPORTER, f"{DEPLOYED}.restartPolicy", "Never"),
    Planted("restart-policy", "CronJob/retrain", "spec.jobTemplate.spec.template.spec.restartPolicy", REMOVED),
    Planted("secret-unnamed", JOB, f"{RAY}.env[1].valueFrom.secretKeyRef.name", ""),
    Planted("store-credentials", JOB, f"{RAY}.env", env("AWS_ENDPOINT_URL", "https://store.example.org")),
    Planted("store-credentials", JOB, f"{RAY}.env[2].name", "AWS_REGION", f"{RAY}.env[1].name"),
    Planted("read-only-tmp", JOB, f"{RAY}.volumeMounts[1].mountPath", "/scratch", f"{RAY}.securityContext.readOnlyRootFilesystem"),
    # What pods may do.
    Planted("pss-root", JOB, f"{RAY}.securityContext.runAsNonRoot", REMOVED, f"{POD}.securityContext.runAsNonRoot"),
    Planted("pss-root", JOB, f"{RAY}.securityContext.runAsUser", 0),
    Planted("pss-escalation", JOB, f"{RAY}.securityContext.allowPrivilegeEscalation", REMOVED),
    Planted("pss-escalation", JOB, f"{RAY}.securityContext.privileged", True),
    Planted("pss-capabilities", JOB, f"{RAY}.securityContext.capabilities.drop", ["NET_RAW"]),
    Planted("pss-capabilities", JOB, f"{RAY}.securityContext.capabilities.add", ["SYS_ADMIN"], f"{RAY}.securityContext.capabilities.add[0]"),
    Planted("pss-seccomp", JOB, f"{RAY}.securityContext.seccompProfile.type", "Unconfined"),
    Planted("pss-host", JOB, f"{POD}.hostNetwork", True),
    Planted("pss-host", JOB, f"{HEAD_POD}.containers[0].ports[0].hostPort", 6379),
    Planted("pss-volumes", JOB, f"{POD}.volumes[1]", {"name": "tmp", "hostPath": {"path": "/tmp"}}, f"{POD}.volumes[1].hostPath"),
    Planted("pss-autoscaler", JOB, "spec.rayClusterSpec.autoscalerOptions.securityContext", REMOVED),
    Planted("pss-submitter", QUEUED, "spec.submissionMode", REMOVED, "spec.submitterPodTemplate"),
    Planted("secret-plain", JOB, f"{RAY}.env[2]", {"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}, f"{RAY}.env[2].value"),
    Planted("secret-config", "ConfigMap/settings", "data.AWS_SECRET_ACCESS_KEY", "x"),
    Planted("rbac-all", "Role/roadbed:submitter", "rules[0].verbs", ["*"], "rules[0].verbs[0]"),
]  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: f"{planted.rule}-{planted.path[-30:]}")
def test_a_planted_fault_is_found_by_its_rule_alone_and_its_path_is_named(planted: Planted) -> None:
    objects = good_objects()
    objects[planted.obj] = changed(objects[planted.obj], planted.path, planted.value)
    found = faults(list(objects.values()))
    assert {fault.rule for fault in found} == {planted.rule}, [str(fault) for fault in found]
    assert (planted.at or planted.path) in [fault.path for fault in found], [str(fault) for fault in found]
    assert all(fault.problem and fault.fix for fault in found)


def test_good_objects_have_no_fault() -> None:
    assert faults(list(good_objects().values())) == []
    assert faults(list(good_objects().values()), secrets=["store", "registry"]) == []


def test_two_objects_of_one_name_are_told() -> None:
    job = good_objects()[JOB]
    assert [(fault.rule, fault.path, fault.number) for fault in faults([job, job])] == [("twice", "metadata.name", 1)]
    elsewhere = changed(job, "metadata.namespace", "other")
    assert faults([job, elsewhere]) == []


def test_a_secret_that_is_not_there_is_told_where_it_is_known_which_there_are() -> None:
    job = good_objects()[JOB]
    found = faults([job], secrets=["stores"])
    assert {(fault.rule, fault.path) for fault in found} == {
        ("secret-missing", f"{RAY}.env[1].valueFrom.secretKeyRef.name"),
        ("secret-missing", f"{RAY}.env[2].valueFrom.secretKeyRef.name"),
    }
    assert "no secret store" in found[0].problem
    assert "stores" in found[0].fix
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store", "namespace": "roadbed"}}
    assert faults([job, secret], secrets=[]) == []
    optional = changed(job, f"{RAY}.env[1].valueFrom.secretKeyRef.optional", True)
    assert len(faults([optional], secrets=[])) == 1


def test_a_network_policy_of_the_cluster_that_forgets_dns_is_told() -> None:
    path = "spec.rayClusterSpec.networkPolicy"
    found = faults([changed(good_objects()[JOB], path, {"mode": "DenyAll"})])
    assert {fault.rule for fault in found} == {"cluster-dns", "gate-off"}
    assert f"{path}.head.egressRules" in [fault.path for fault in found]
    dns = {"egressRules": [{"ports": [{"port": 53}]}]}
    policy = {"mode": "DenyAll", "head": dns, "worker": dns}
    assert {fault.rule for fault in faults([changed(good_objects()[JOB], path, policy)])} == {"gate-off"}


def test_gcs_fault_tolerance_has_one_place_for_the_settings_of_redis() -> None:
    job = changed(good_objects()[JOB], "spec.rayClusterSpec.gcsFaultToleranceOptions", {"redisAddress": "redis:6379"})
    assert faults([job]) == []
    for path, value, at in (
        ("metadata.annotations", {"ray.io/ft-enabled": "true"}, "metadata.annotations[ray.io/ft-enabled]"),
        (f"{HEAD}.rayStartParams.redis-password", "x", f"{HEAD}.rayStartParams.redis-password"),
        (f"{HEAD_POD}.containers[0].env", env("RAY_REDIS_ADDRESS"), f"{HEAD_POD}.containers[0].env[0].name"),
    ):
        found = faults([changed(job, path, value)])
        assert [(fault.rule, fault.path) for fault in found] == [("gcs-redis", at)]


def test_pods_of_a_namespace_that_is_declared_privileged_need_not_be_restricted() -> None:
    exporter = changed(good_objects()[EXPORTER], f"{DEPLOYED}.hostNetwork", True)
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "roadbed", "labels": labels}}
    assert [fault.rule for fault in faults([exporter])] == ["pss-host"]
    assert faults([exporter, namespace]) == []


def test_a_plain_secret_is_not_repeated() -> None:
    found = faults([changed(good_objects()[JOB], f"{RAY}.env[2]", {"name": "S3_PASSWORD", "value": "hunter2"})])
    assert found
    assert not any("hunter2" in str(fault) for fault in found)


def test_every_rule_is_planted_and_has_one_name() -> None:
    names = [rule.id for rule in RULES]
    assert len(names) == len(set(names))
    assert set(names) - {planted.rule for planted in PLANTED} == {"twice", "secret-missing", "cluster-dns"}


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["1e99", "-1"])
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
OBJECTS = sorted(good_objects())


def paths(value: Any, path: str = "") -> list[str]:
    """The paths of everything within an object."""
    if isinstance(value, dict):
        return [p for name in value for p in (f"{path}[{name}]", *paths(value[name], f"{path}[{name}]"))]
    if isinstance(value, list):
        return [
            p for index in range(len(value)) for p in (f"{path}[{index}]", *paths(value[index], f"{path}[{index}]"))
        ]
    return []


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_rule_fails_on_anything_anywhere(data: st.DataObject) -> None:
    objects = good_objects()
    name = data.draw(st.sampled_from(OBJECTS))
    path = data.draw(st.sampled_from(paths(objects[name])))
    damaged = changed(objects[name], path, data.draw(ANYTHING))
    found = faults([damaged, data.draw(ANYTHING)], secrets=[])
    assert all(str(fault) for fault in found)
