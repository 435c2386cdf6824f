"""`roadbed submit` from the command line: what it prints, sends and refuses. The API server is ours, over real HTTP."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube_server import KubeServer
from roadbed.errors import ClusterError, NoSuchObjectError, UsageError
from roadbed.kube.client import Cluster
from roadbed.kube.profile import built_in_profiles
from roadbed.kube.rayjob import rayjob
from roadbed.kube.records import old_records
from roadbed.kube.sending import GONE_TIMEOUT_S, send
from roadbed.spec import load_job
from support import Clock

ROOT = Path(__file__).resolve().parents[2]
QUICK = ROOT / "jobs" / "camvid-quick.yaml"
PROFILES = ROOT / "tests" / "golden" / "profiles.yaml"

Roadbed = Callable[..., tuple[int, str, str]]


def manifest() -> dict[str, Any]:
    return rayjob(load_job(QUICK), built_in_profiles()["cpu"], namespace="roadbed")


def test_a_dry_run_without_a_cluster_prints_the_manifest_and_nothing_else(roadbed: Roadbed) -> None:
    status, out, err = roadbed("submit", QUICK, "--dry-run")
    assert status == 0
    assert yaml.safe_load(out) == manifest()
    assert "the built-in profiles are taken" in err
    assert "1 worker pod of 4 CPU" in err


def test_options_are_written_into_the_spec(roadbed: Roadbed) -> None:
    words = ("--profile", "gpu", "--queue", "vision", "--profiles", PROFILES, "-n", "team", "--set", "name=other")
    status, out, err = roadbed("submit", QUICK, "--dry-run", *words)
    assert (status, "built-in" in err) == (0, False)
    made = yaml.safe_load(out)
    job = yaml.safe_load(made["metadata"]["annotations"]["roadbed.dev/job"])
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("other", "team")
    assert (job["cluster"]["profile"], job["cluster"]["queue"]) == ("gpu", "vision")
    assert job["output"]["store"] == "s3://street-scenes"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([ROOT / "jobs" / "camvid-serve.yaml"], "serve:\n    model: camvid@champion"),
        ([QUICK, "--profiles", PROFILES, "--profile", "gpus"], "no profile gpus; did you mean gpu?"),
        ([QUICK, "--queue", "No Queue"], "cluster.queue"),
        ([QUICK, "--dry-run", "--namespace", "../team"], "--namespace '../team': is no name of a namespace"),
        ([QUICK, "--set", "cluster.deadline=3"], "did you mean cluster.deadline_h"),
        ([QUICK, "--ray-address", "head:8265"], "--ray-address head:8265: expected the address of Ray's dashboard"),
        ([QUICK, "--ray-address", "http://head:8265", "--queue", "x"], "--queue is for Kubernetes"),
        ([QUICK, "--ray-address", "http://head:8265", "--dry-run"], "--dry-run is for Kubernetes"),
        ([ROOT / "jobs" / "cityscapes-r50.yaml", "--profile", "cpu", "--dry-run"], "no worker fits a pod"),
    ],
)
def test_what_cannot_be_meant_is_refused(roadbed: Roadbed, words: list[object], expected: str) -> None:
    status, out, err = roadbed("submit", *words)
    assert (status, out) == (2, "")
    assert expected in err


def test_what_lint_finds_is_refused_or_told(roadbed: Roadbed, tmp_path: Path) -> None:
    profiles = tmp_path / "profiles.yaml"
    profiles.write_text("cpu: {image: roadbed, labels: {team: 'street & scenes'}}")
    status, out, err = roadbed("submit", QUICK, "--dry-run", "--profiles", profiles)
    assert (status, out, "a cluster would refuse this" in err, "street & scenes" in err) == (2, "", True, True)
    profiles.write_text("cpu: {image: roadbed}")
    status, _, err = roadbed("submit", QUICK, "--dry-run", "--profiles", profiles)
    assert (status, "warning: " in err, "image-latest" in err) == (0, True, True)


def test_without_a_kubeconfig_nothing_is_sent(
    roadbed: Roadbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, err = roadbed("submit", QUICK)
    assert (status, "no kubeconfig; set KUBECONFIG" in err) == (1, True)
    broken = tmp_path / "broken"
    broken.write_text("kind: Config\n")
    monkeypatch.setenv("KUBECONFIG", str(broken))
    status, _, err = roadbed("submit", QUICK)
    assert (status, "cannot be used" in err, "kubectl config get-contexts" in err) == (1, True, True)


def test_a_job_is_sent_with_the_profiles_of_its_namespace(roadbed: Roadbed, kube_server: KubeServer) -> None:
    profiles = {f"{name}.yaml": yaml.safe_dump(values) for name, values in yaml.safe_load(PROFILES.read_text()).items()}
    labels = {"roadbed.dev/profiles": "true"}
    metadata = {"name": "roadbed-profiles", "namespace": "roadbed", "labels": labels}
    kube_server.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": profiles})
    status, out, err = roadbed("submit", QUICK)
    assert (status, "RayJob camvid-quick is in namespace roadbed" in out) == (0, True), err
    sent = kube_server.get("rayjobs", "camvid-quick")
    assert sent is not None
    head = sent["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert head["image"] == "registry.example.org/roadbed:0.1.0"
    submission = sent["metadata"]["annotations"]["roadbed.dev/submission"]
    assert f"--submission {submission} " in sent["spec"]["entrypoint"]
    metadata = {**metadata, "name": "second"}
    kube_server.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": profiles})
    assert "stands in another ConfigMap too" in roadbed("submit", QUICK)[2]


def test_json_tells_what_was_sent_and_the_manifest_of_a_dry_run(roadbed: Roadbed, kube_server: KubeServer) -> None:
    status, out, _ = roadbed("submit", QUICK, "--profiles", PROFILES, "--json")
    told = json.loads(out)
    sent = kube_server.get("rayjobs", "camvid-quick")
    assert sent is not None
    assert (status, told["name"], told["namespace"]) == (0, "camvid-quick", "roadbed")
    assert told["submission"] == sent["metadata"]["annotations"]["roadbed.dev/submission"]
    _, out, err = roadbed("submit", QUICK, "--profiles", PROFILES, "--dry-run", "--json", "--quiet")
    assert (json.loads(out)["kind"], err) == ("RayJob", "")


def test_a_namespace_without_profiles_is_told(roadbed: Roadbed, kube_server: KubeServer) -> None:
    assert "namespace roadbed has no profiles" in roadbed("submit", QUICK)[2]
    assert kube_server.get("rayjobs", "camvid-quick") is not None


def test_a_job_that_has_not_ended_is_left_alone_and_one_that_has_is_replaced(kube_server: KubeServer) -> None:
    cluster, said = Cluster.connect(), list[str]()
    first = send(cluster, manifest(), notify=said.append)
    with pytest.raises(UsageError, match=r"has not ended \(New\).*roadbed jobs stop camvid-quick.*--set name="):
        send(cluster, manifest())
    kube_server.put({**first, "status": {"jobDeploymentStatus": "Running"}})
    with pytest.raises(UsageError, match=r"has not ended \(Running\)"):
        send(cluster, manifest())
    kube_server.put({**first, "status": {"jobDeploymentStatus": "Failed"}})
    second = send(cluster, manifest(), notify=said.append)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert said == ["RayJob camvid-quick in namespace roadbed: has ended (Failed) and is replaced"]


def test_records_of_ended_jobs_that_no_rule_takes_away_go_when_the_next_is_submitted(
    roadbed: Roadbed, kube_server: KubeServer
) -> None:
    def put(name: str, queue: str, *, kept_h: float = 1.0, **status: str) -> None:
        job = load_job(QUICK, (f"name={name}", f'cluster.queue="{queue}"', f"cluster.keep_record_h={kept_h}"))
        kube_server.put({**rayjob(job, built_in_profiles()["cpu"], namespace="roadbed"), "status": status})

    ended = {"jobDeploymentStatus": "Complete", "endTime": "2020-01-01T00:00:00Z"}
    put("old", "vision", **ended)
    put("refused", "vision", jobDeploymentStatus="ValidationFailed", endTime="2020-01-01T00:00:00Z")
    put("kept", "vision", kept_h=8760.0, **{**ended, "endTime": datetime.now(UTC).isoformat()})
    put("running", "vision", **{**ended, "jobDeploymentStatus": "Running"})
    put("free", "", jobStatus="SUCCEEDED", **ended)
    put("stopped", "", jobStatus="STOPPED", **ended)
    put("never-begun", "", **{**ended, "jobDeploymentStatus": "ValidationFailed"})
    status, _, err = roadbed("submit", QUICK)
    assert (status, "RayJob old, which ended long ago, is taken away" in err) == (0, True)
    names = {one["metadata"]["name"] for one in Cluster.connect().list("rayjobs")}
    assert names == {"kept", "running", "free", "camvid-quick"}


def test_a_spec_that_cannot_be_read_is_kept_for_as_long_as_by_default() -> None:
    made = rayjob(load_job(QUICK, ("cluster.queue=vision",)), built_in_profiles()["cpu"], namespace="roadbed")
    made |= {"status": {"jobDeploymentStatus": "Failed", "endTime": "2020-01-01T00:00:00Z"}}
    ended_at, week_s = datetime(2020, 1, 1, tzinfo=UTC).timestamp(), 168 * 3600
    for text in ("kind: train", "- ", "{"):
        made["metadata"]["annotations"]["roadbed.dev/job"] = text
        assert old_records([made], now=ended_at + week_s - 1) == []
        assert old_records([made], now=ended_at + week_s + 1) == ["camvid-quick"]


def test_who_may_not_look_through_records_submits_nevertheless(roadbed: Roadbed, kube_server: KubeServer) -> None:
    kube_server.forbidden.add(("list", "rayjobs"))
    status, _, err = roadbed("submit", QUICK)
    assert (status, "records of ended jobs were not looked through" in err) == (0, True)
    assert kube_server.get("rayjobs", "camvid-quick") is not None


def test_a_job_of_somebody_else_is_never_replaced(kube_server: KubeServer) -> None:
    made = manifest()
    made["metadata"]["labels"] = {}
    kube_server.put({**made, "status": {"jobDeploymentStatus": "Complete"}})
    with pytest.raises(UsageError, match="was not made by roadbed"):
        send(Cluster.connect(), manifest())


def test_a_job_that_does_not_go_is_told(kube_server: KubeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    kube_server.put({**manifest(), "status": {"jobDeploymentStatus": "Complete"}})
    monkeypatch.setattr(Cluster, "delete", lambda *_: None)
    clock = Clock()
    with pytest.raises(ClusterError, match="is still there; look whether the KubeRay operator runs"):
        send(Cluster.connect(), manifest(), clock=clock, sleep=clock.sleep)
    assert clock.now >= 1_000 + GONE_TIMEOUT_S


def test_what_the_api_server_refuses_comes_with_a_remedy(kube_server: KubeServer) -> None:
    cluster = Cluster.connect()
    for name in ("none", "../configmaps/none"):
        with pytest.raises(NoSuchObjectError, match=r"rayjobs/.*none in namespace roadbed: not there .*--namespace"):
            cluster.get("rayjobs", name)
    kube_server.forbidden.add(("create", "rayjobs"))
    with pytest.raises(
        ClusterError, match=r"rayjobs/camvid-quick .*you may not create it: .*Role of roadbed's submitters"
    ):
        cluster.create("rayjobs", manifest())
    kube_server.absent_groups.add("ray.io")
    with pytest.raises(NoSuchObjectError, match="no such kind: the KubeRay operator is not installed"):
        cluster.list("rayjobs")
    kube_server.absent_groups.add("kueue.x-k8s.io")
    with pytest.raises(NoSuchObjectError, match="no such kind: Kueue is not installed"):
        cluster.list("workloads")
    with pytest.raises(ClusterError, match="the API server refuses it"):
        cluster.create("configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "No"}})


def test_a_token_that_is_not_known_is_told(
    kube_server: KubeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kube_server.write_kubeconfig(tmp_path / "other", token=secrets.token_hex(4))
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(ClusterError, match=r"does not know who you are: .*--context"):
        Cluster.connect().list("pods")


def test_an_api_server_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with KubeServer().running() as server:
        path = server.write_kubeconfig(tmp_path / "kubeconfig", namespace="team")
    monkeypatch.setenv("KUBECONFIG", str(path))
    cluster = Cluster.connect()
    assert (cluster.namespace, Cluster.connect(namespace="mine").namespace) == ("team", "mine")
    with pytest.raises(ClusterError, match=r"cannot be reached: .*refused.*kubectl cluster-info"):
        cluster.list("rayjobs")
    with pytest.raises(ClusterError, match=r"cannot be used: .*nowhere"):
        Cluster.connect(context="nowhere")


class Strange(BaseHTTPRequestHandler):
    """What is no API server: it answers 200 with a page, and breaks off within a log."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "500" if self.path.endswith("/log") else "6")
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def strange_server(kube_server: KubeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Strange) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        values = yaml.safe_load(kube_server.write_kubeconfig(tmp_path / "strange").read_text())
        values["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{server.server_port}"
        (tmp_path / "strange").write_text(yaml.safe_dump(values))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "strange"))
        yield
        server.shutdown()
        thread.join()


def test_what_is_no_api_server_is_told(strange_server: None) -> None:
    with pytest.raises(ClusterError, match=r"is no API server of Kubernetes, it answers '<html>'; .*--context"):
        Cluster.connect().list("rayjobs")
    with pytest.raises(ClusterError, match="cannot be reached"):
        list(Cluster.connect().log("pod"))


def test_objects_are_changed_listed_and_their_logs_read(kube_server: KubeServer) -> None:
    cluster = Cluster.connect()
    cluster.create("rayjobs", manifest(), dry_run=True)
    assert cluster.list("rayjobs") == []
    cluster.create("rayjobs", manifest())
    changed = cluster.patch("rayjobs", "camvid-quick", {"spec": {"suspend": True}})
    assert changed["spec"]["suspend"] is True
    assert [one["spec"]["suspend"] for one in cluster.list("rayjobs", labels="roadbed.dev/run=camvid-quick")] == [True]
    assert cluster.list("rayjobs", labels="roadbed.dev/run=other") == []
    cluster.delete("rayjobs", "camvid-quick")
    with pytest.raises(NoSuchObjectError):
        cluster.delete("rayjobs", "camvid-quick")
    pod = {"metadata": {"name": "head", "namespace": "roadbed"}, "spec": {"containers": [{"name": "ray-head"}]}}
    kube_server.put({"apiVersion": "v1", "kind": "Pod", **pod})
    kube_server.log("head", "ray-head", "first", "second", "third")
    assert list(cluster.log("head", container="ray-head", tail_lines=2)) == ["second", "third"]
