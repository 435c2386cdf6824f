"""The RayJob of a job spec: golden files, what Kubernetes says of its pods, arithmetic, and what is refused.

The golden files are made anew by `RENEW_GOLDEN=1 python -m pytest tests/unit/test_rayjob.py`; read the difference
before it is committed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from roadbed.errors import UsageError
from roadbed.kube.find_profile import profiles_of_file
from roadbed.kube.manifest import as_yaml
from roadbed.kube.names import JOB_ANNOTATION, QUEUE_LABEL
from roadbed.kube.profile import Profile, built_in_profiles
from roadbed.kube.rayjob import rayjob
from roadbed.kube.rooted import rooted
from roadbed.kube.sizes import ClusterJob, estimate, size_of
from roadbed.spec import ServeJob, dump_job, load_any, parse_any

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
PROFILES = profiles_of_file(GOLDEN / "profiles.yaml")
KUBERNETES = "1.33.0"


def load(name: str, *overrides: str) -> ClusterJob:
    job = load_any(ROOT / "jobs" / f"{name}.yaml", overrides)
    assert not isinstance(job, ServeJob)
    return job


def made(name: str, profile: str = "cpu", *overrides: str) -> dict[str, Any]:
    job = rooted(load(name, *overrides), PROFILES[profile])
    return rayjob(job, PROFILES[profile], namespace="vision")


def head_of(manifest: dict[str, Any]) -> dict[str, Any]:
    template: dict[str, Any] = manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    return template


def group_of(manifest: dict[str, Any]) -> dict[str, Any]:
    (group,) = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    return dict(group)


def templates_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [manifest["spec"]["submitterPodTemplate"], head_of(manifest), group_of(manifest)["template"]]


# Every job of jobs/ that a profile's pods can hold.
ON_CPUS = ("camvid-best", "camvid-quick", "camvid-tune")
ON_GPUS = (*ON_CPUS, "cityscapes-mobilenet", "cityscapes-r50", "cityscapes-r101")
CASES = [
    (name, profile, queue)
    for profile, names in (("cpu", ON_CPUS), ("gpu", ON_GPUS))
    for name in names
    for queue in ("", "vision")
]


def test_every_job_that_can_be_submitted_is_among_the_golden_files() -> None:
    kinds = {path.stem: yaml.safe_load(path.read_text())["kind"] for path in (ROOT / "jobs").glob("*.yaml")}
    assert {name for name, kind in kinds.items() if kind != "serve"} == set(ON_GPUS)


@pytest.mark.parametrize(("name", "profile", "queue"), CASES)
def test_manifests_are_those_of_the_golden_files(name: str, profile: str, queue: str) -> None:
    text = as_yaml(made(name, profile, f'cluster.queue="{queue}"'))
    path = GOLDEN / f"{name}-{profile}{'-queue' if queue else ''}.yaml"
    if os.environ.get("RENEW_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize(("name", "profile", "queue"), CASES)
def test_kubernetes_takes_the_pods(name: str, profile: str, queue: str) -> None:
    for template in templates_of(made(name, profile, f'cluster.queue="{queue}"')):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", **template["metadata"]}}
        kubernetes_validate.validate({**pod, "spec": template["spec"]}, KUBERNETES, strict=True)


def test_the_spec_is_read_back_from_the_annotation_that_the_pods_see() -> None:
    manifest = made("camvid-tune")
    text = manifest["metadata"]["annotations"][JOB_ANNOTATION]
    for template in (head_of(manifest), group_of(manifest)["template"]):
        assert template["metadata"]["annotations"][JOB_ANNOTATION] == text
    job = parse_any(text, origin="annotation")
    assert job == rooted(load("camvid-tune"), PROFILES["cpu"])
    assert dump_job(job) == text


def test_no_secret_is_in_it_but_the_name_of_one() -> None:
    env = {one["name"]: one for one in head_of(made("camvid-quick"))["spec"]["containers"][0]["env"]}
    key = {"name": "roadbed-store", "key": "AWS_SECRET_ACCESS_KEY"}
    assert env["AWS_SECRET_ACCESS_KEY"] == {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": key}}
    assert env["AWS_ENDPOINT_URL"]["value"] == "http://seaweedfs.storage:8333"


def test_a_queue_and_deletion_rules_exclude_each_other() -> None:
    queued, free = made("camvid-tune", "cpu", "cluster.queue=vision"), made("camvid-tune")
    assert queued["metadata"]["labels"][QUEUE_LABEL] == "vision"
    assert queued["metadata"]["annotations"]["kueue.x-k8s.io/elastic-job"] == "true"
    assert (queued["spec"]["suspend"], queued["spec"]["shutdownAfterJobFinishes"]) == (True, True)
    assert "deletionStrategy" not in queued["spec"]
    assert not {"suspend", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"} & set(free["spec"])
    assert QUEUE_LABEL not in free["metadata"]["labels"]


def test_the_queue_of_a_profile_is_taken_unless_the_job_wants_none() -> None:
    profile = PROFILES["cpu"].model_copy(update={"queue": "vision"})
    assert QUEUE_LABEL in rayjob(load("camvid-quick"), profile, namespace="x")["metadata"]["labels"]
    job = load("camvid-quick", 'cluster.queue=""')
    assert QUEUE_LABEL not in rayjob(job, profile, namespace="x")["metadata"]["labels"]


@pytest.mark.parametrize(
    ("overrides", "label", "pods"),
    [
        ((), None, "training"),
        (("cluster.priority=urgent",), None, "urgent"),
        (("cluster.queue=vision", "cluster.priority=urgent"), "urgent", "training"),
    ],
)
def test_priority_is_kueues_with_a_queue_and_else_the_pods(
    overrides: tuple[str, ...], label: str | None, pods: str
) -> None:
    manifest = made("cityscapes-r50", "gpu", *overrides)
    assert manifest["metadata"]["labels"].get("kueue.x-k8s.io/priority-class") == label
    assert {template["spec"]["priorityClassName"] for template in templates_of(manifest)} == {pods}


def test_deadlines_and_what_is_kept_are_the_specs() -> None:
    hours = ("cluster.keep_failed_h=2", "cluster.retries=5")
    spec = made("camvid-quick", "cpu", *hours)["spec"]
    assert spec["backoffLimit"] == 5
    assert not {"activeDeadlineSeconds", "preRunningDeadlineSeconds"} & set(spec)
    rules = {(rule["policy"], *rule["condition"].values()) for rule in spec["deletionStrategy"]["deletionRules"]}
    assert {("DeleteCluster", "FAILED", 7200), ("DeleteCluster", "Failed", 7200)} <= rules
    assert ("DeleteSelf", "FAILED", 604800) in rules


def test_with_a_deadline_pods_go_soon_for_training_ends_with_them_alone() -> None:
    hours = ("cluster.deadline_h=10", "cluster.start_deadline_h=0.5", "cluster.keep_failed_h=2")
    spec = made("camvid-quick", "cpu", *hours)["spec"]
    assert (spec["activeDeadlineSeconds"], spec["preRunningDeadlineSeconds"]) == (36000, 1800)
    rules = spec["deletionStrategy"]["deletionRules"]
    assert {rule["condition"]["ttlSeconds"] for rule in rules if rule["policy"] == "DeleteCluster"} == {60}


def test_failed_pods_never_outlive_their_record() -> None:
    spec = made("camvid-quick", "cpu", "cluster.keep_failed_h=5", "cluster.keep_record_h=1")["spec"]
    failed = [
        rule["condition"]["ttlSeconds"]
        for rule in spec["deletionStrategy"]["deletionRules"]
        if rule["condition"].get("jobStatus") == "FAILED"
    ]
    assert failed == [18000, 18000]


@pytest.mark.parametrize(
    ("name", "profile", "overrides", "pods"),
    [
        ("camvid-quick", "cpu", (), (1, 1)),
        ("camvid-quick", "cpu", ("workers.num_workers=5",), (2, 2)),
        ("camvid-quick", "cpu", ("workers.num_workers={min: 1, max: 4}",), (1, 1)),
        ("camvid-quick", "cpu", ("workers.num_workers={min: 1, max: 8}",), (1, 2)),
        ("camvid-quick", "cpu", ("workers.num_workers=3", "workers.cpus_per_worker=3"), (3, 3)),
        ("cityscapes-r50", "gpu", (), (4, 4)),
        ("camvid-tune", "cpu", (), (1, 2)),  # 8 trials and the baseline would take three pods, the profile has two
        ("camvid-tune", "cpu", ("tune.max_concurrent=3",), (1, 1)),
        ("camvid-tune", "cpu", ("workers.num_workers=2", "tune.max_concurrent=6"), (1, 3)),
    ],
)
def test_pods_follow_from_workers_and_what_a_pod_holds(
    name: str, profile: str, overrides: tuple[str, ...], pods: tuple[int, int]
) -> None:
    manifest = made(name, profile, *overrides)
    group = group_of(manifest)
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (pods[0], *pods)
    cluster = manifest["spec"]["rayClusterSpec"]
    is_elastic = pods[0] < pods[1]
    assert cluster.get("enableInTreeAutoscaling", False) is is_elastic
    assert head_of(manifest)["spec"]["automountServiceAccountToken"] is is_elastic
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_labels_and_ports_by_which_kuberay_finds_the_head_are_its_own() -> None:
    """The Service that it makes for a RayJob, NAME-head-svc, looks for app.kubernetes.io/name: kuberay.

    It heeds no other in the template.
    """
    manifest = made("camvid-tune")
    for template in templates_of(manifest):
        assert not {"app.kubernetes.io/name", "app.kubernetes.io/created-by"} & set(template["metadata"]["labels"])
    assert manifest["metadata"]["labels"]["app.kubernetes.io/name"] == "roadbed"
    ports = {port["name"]: port["containerPort"] for port in head_of(manifest)["spec"]["containers"][0]["ports"]}
    assert {"gcs-server": 6379, "dashboard": 8265, "metrics": 8080}.items() <= ports.items()


def test_lost_submitters_are_made_anew_and_failed_drivers_are_no_lost_submitters() -> None:
    assert made("camvid-quick")["spec"]["submitterConfig"] == {"backoffLimit": 5}


def test_what_a_cluster_may_grow_to_counts_what_workers_can_use() -> None:
    overrides = ("workers.num_workers={min: 1, max: 3}", "workers.cpus_per_worker=3")
    env = {
        one["name"]: one.get("value")
        for one in head_of(made("camvid-quick", "cpu", *overrides))["spec"]["containers"][0]["env"]
    }
    assert (env["ROADBED_CLUSTER_CPUS"], env["ROADBED_CLUSTER_GPUS"]) == ("9", "0")


def test_hooks_leave_time_before_the_pod_is_killed() -> None:
    profile = PROFILES["cpu"].model_copy(update={"grace_s": 60})
    manifest = rayjob(load("camvid-quick"), profile, namespace="x")
    commands = [
        template["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        for template in (head_of(manifest), group_of(manifest)["template"])
    ]
    assert commands[1] == ["roadbed", "vacate", "/etc/roadbed/job.yaml", "--within-s", "45"]
    assert commands[0] == [*commands[1], "--head"]
    for template in (head_of(manifest), group_of(manifest)["template"]):
        assert template["spec"]["terminationGracePeriodSeconds"] == 60
        env = {one["name"]: one.get("value") for one in template["spec"]["containers"][0]["env"]}
        assert 0 < int(env["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]) < 60 - 45


def test_a_worker_that_fits_no_pod_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(UsageError, match=r"takes 8 CPU and 1 GPU, the pod has 4 CPU and 0 GPU; .*--profile"):
        made("cityscapes-r50", "cpu")
    with pytest.raises(UsageError, match=r"takes 9 CPU and 0 GPU, the pod has 4 CPU and 0 GPU"):
        made("camvid-quick", "cpu", "workers.cpus_per_worker=9")


def test_a_trial_that_fits_no_profile_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(UsageError, match=r"9 workers at 4 a pod need 3 pods, the profile's worker\.max_pods is 2"):
        made("camvid-tune", "cpu", "workers.num_workers=9", "train.global_batch=16")


@pytest.mark.parametrize("name", ["7-days", "a" * 48])
def test_a_name_that_no_rayjob_can_have_is_refused(name: str) -> None:
    job = load("camvid-quick").model_copy(update={"name": name})
    with pytest.raises(UsageError, match=f"name: {name} cannot name a RayJob.*--set name="):
        rayjob(job, PROFILES["cpu"], namespace="x")


def test_what_lies_in_the_default_bucket_is_meant_in_the_profiles() -> None:
    job = rooted(load("camvid-quick", "model.weights=s3://roadbed/weights/x.pth"), PROFILES["cpu"])
    root = "s3://street-scenes/roadbed"
    assert (job.output.store, job.data.uri, job.model.weights) == (
        root,
        f"{root}/datasets/camvid",
        f"{root}/weights/x.pth",
    )
    other = rooted(load("camvid-quick", "data.uri=s3://roadbed-else/camvid"), PROFILES["cpu"])
    assert (other.data.uri, other.model.weights) == ("s3://roadbed-else/camvid", "imagenet")
    assert rooted(load("camvid-quick"), built_in_profiles()["cpu"]) == load("camvid-quick")


@pytest.mark.parametrize("key", ["output.store", "data.uri", "model.weights"])
def test_what_lies_on_this_machine_is_refused(key: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("weights")
    uri = f"{tmp_path}/x" if key == "model.weights" else f"file://{tmp_path}/x"
    with pytest.raises(UsageError, match=rf"{key}: {uri} lies on this machine.*--set {key}=s3://"):
        rooted(load("camvid-quick", f"{key}={uri}"), PROFILES["cpu"])


@pytest.mark.parametrize(
    ("name", "profile", "overrides", "words"),
    [
        ("camvid-quick", "cpu", (), "1 worker pod of 4 CPU, 16 GiB for 2 workers of 1 CPU; a head of 2 CPU, 8 GiB\n"
         "at most 6 CPU-hours in every hour; no deadline (cluster.deadline_h sets one)"),
        ("cityscapes-r50", "gpu", ("cluster.deadline_h=48",), "4 worker pods of 8 CPU, 1 GPU, 64 GiB for 4 workers of "
         "8 CPU and 1 GPU; a head of 2 CPU, 8 GiB\n"
         "at most 192 GPU-hours and 1632 CPU-hours at its deadline of 48 h, which each of 2 retries has anew"),
        ("cityscapes-r50", "gpu", (), "4 GPU-hours and 34 CPU-hours in every hour"),
        ("camvid-tune", "cpu", (), "8 trials at once; a head of 2 CPU, 8 GiB\n"
         "at most 20 CPU-hours at its deadline of 2 h"),
    ],
)  # fmt: skip
def test_the_estimate(name: str, profile: str, overrides: tuple[str, ...], words: str) -> None:
    job = load(name, *overrides)
    assert words in estimate(job, PROFILES[profile], size_of(job, PROFILES[profile].worker))


def test_other_profiles_make_other_pods() -> None:
    profile = Profile.parse(
        {
            "image": "roadbed:1",
            "labels": {"team": "vision"},
            "annotations": {"a": "b"},
            "token_auth": False,
            "worker": {"gpus": 2, "gpu_resource": "nvidia.com/mig-3g.20gb", "memory_gib": 10.5},
        },
        origin="profile",
    )
    manifest = rayjob(load("camvid-quick", "workers.gpus_per_worker=1"), profile, namespace="x")
    group = group_of(manifest)
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "4", "memory": "10752Mi", "nvidia.com/mig-3g.20gb": "2"}
    assert group["rayStartParams"]["num-gpus"] == "2"
    assert group["template"]["metadata"]["labels"]["team"] == "vision"
    assert manifest["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "disabled"}
    assert "serviceAccountName" not in group["template"]["spec"]


def test_what_a_spec_holds_is_text_and_never_yaml_or_shell() -> None:
    """Ends of documents, quotes and commands stay in the annotation, from which pods read the very same spec."""
    hostile = json.dumps("a'\"\\\\\n---\nkind: Secret\n$(id) `id` ${HOME} \u2028 #x: y")
    job = load("camvid-quick", f"model.weights={hostile}", f"workers.no_retry_pattern={hostile}")
    (manifest,) = yaml.safe_load_all(as_yaml(rayjob(job, PROFILES["cpu"], namespace="vision")))
    for template in (head_of(manifest), group_of(manifest)["template"]):
        text = template["metadata"]["annotations"].pop(JOB_ANNOTATION)
        assert parse_any(text, origin="annotation") == job
    del manifest["metadata"]["annotations"][JOB_ANNOTATION]
    assert "$(id)" not in as_yaml(manifest)
