"""Profiles: what is wrong with one, where they come from, and which a job takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadbed.errors import ClusterError, UsageError
from roadbed.kube.client import Cluster
from roadbed.kube.find_profile import choose, known_profiles, profile_name, profiles_of_file
from roadbed.kube.profile import built_in_profiles, parse_profile
from roadbed.spec import ClusterSpec, TrainJob, parse_job

CPU = "image: roadbed:1\n"


def job(extra: str = "") -> TrainJob:
    return parse_job(f"kind: train\nname: town\ndata: {{uri: 's3://b/d'}}\n{extra}", origin="spec")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "image is missing"),
        ("image: ''", "image: string should have at least 1 character"),
        ("image: x\nimagePullPolicy: Always", "unknown key imagePullPolicy"),
        ("image: x\nworker: {cpu: 4}", "did you mean worker.cpus"),
        ("image: x\nworker: {shm_gib: 16}", "16 GiB are part of worker.memory_gib, 16; give the pod more memory"),
        ("image: x\nstore: {uri: /data}", "store.uri: expected s3://BUCKET or s3://BUCKET/PREFIX, found '/data'"),
        ("image: x\nstore: {endpoint_url: minio}", "store.endpoint_url: expected https://HOST"),
        ("image: x\nenv: {WANDB_API_KEY: abc}", "env.WANDB_API_KEY: is read by whoever reads the profile"),
        ("image: x\nenv: {AWS_SECRET_ACCESS_KEY: abc}", "env.AWS_SECRET_ACCESS_KEY"),
        ("image: x\nlabels: {app.kubernetes.io/name: vision}", "labels.app.kubernetes.io/name: by it KubeRay"),
        ("image: x\nlabels: {ray.io/cluster: mine}", "labels.ray.io/cluster: by it KubeRay or roadbed find"),
        ("image: x\ngrace_s: 5", "grace_s: input should be greater than or equal to 30"),
        ("- image", "expected keys and values, found list"),
        ("image: [", "not YAML"),
    ],
)
def test_a_profile_that_cannot_be_meant_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as told:
        parse_profile(text, origin="here")
    assert words in str(told.value)
    assert str(told.value).startswith("here: ")


def test_the_profile_follows_from_option_spec_and_gpus() -> None:
    assert profile_name(job(), None) == "cpu"
    assert profile_name(job("workers: {gpus_per_worker: 1}"), None) == "gpu"
    assert profile_name(job("cluster: {profile: big}"), None) == "big"
    assert profile_name(job("cluster: {profile: big}"), "small") == "small"


def test_an_unknown_profile_names_the_nearest_or_all() -> None:
    profiles = built_in_profiles()
    with pytest.raises(UsageError, match=r"namespace x: no profile gpus; did you mean gpu\?"):
        choose(profiles, "gpus", origin="namespace x")
    with pytest.raises(UsageError, match="no profile large; there are: cpu, gpu"):
        choose(profiles, "large", origin="namespace x")
    with pytest.raises(UsageError, match="there are: none"):
        choose({}, "large", origin="namespace x")


def test_a_file_holds_profiles_by_name_or_is_the_config_map(tmp_path: Path) -> None:
    plain, config_map = tmp_path / "plain.yaml", tmp_path / "map.yaml"
    plain.write_text("small: {image: 'roadbed:1'}")
    config_map.write_text("kind: ConfigMap\ndata: {small.yaml: 'image: roadbed:1', README: text}")
    assert profiles_of_file(plain) == profiles_of_file(config_map)
    for text, words in (
        ("- x", "expected profiles by name"),
        ("a: [", "cannot be read as YAML"),
        ("a: {}", "a: image"),
    ):
        plain.write_text(text)
        with pytest.raises(UsageError, match=words):
            profiles_of_file(plain)
    with pytest.raises(UsageError, match="no such file of profiles"):
        profiles_of_file(tmp_path / "none.yaml")


def test_without_a_cluster_a_dry_run_takes_the_built_in_profiles_and_says_so() -> None:
    def connect() -> Cluster:
        raise ClusterError("no kubeconfig")

    said: list[str] = []
    profiles, origin = known_profiles(None, connect, notify=said.append, may_be_offline=True)
    assert (profiles, origin) == (built_in_profiles(), "built-in profiles")
    assert said == ["no cluster was asked, the built-in profiles are taken: no kubeconfig"]
    with pytest.raises(ClusterError, match="no kubeconfig"):
        known_profiles(None, connect, notify=said.append, may_be_offline=False)


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ("{start_deadline_h: 3, deadline_h: 2}", "cluster.start_deadline_h: 3 is not before cluster.deadline_h, 2"),
        ("{queue: No_Queue}", "cluster.queue"),
        ("{retries: 99}", "cluster.retries"),
        ("{deadline: 2}", "did you mean cluster.deadline_h"),
    ],
)
def test_a_cluster_section_that_cannot_be_meant_is_refused(cluster: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        job(f"cluster: {cluster}")


def test_a_cluster_section_may_be_left_out() -> None:
    assert job().cluster == ClusterSpec()
    assert job('cluster: {queue: ""}').cluster.queue == ""
