"""The RayService, what it hands to Ray Serve, and the pod of `helm test`."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml

from chart_support import CHART, one, rendered, rendering
from roadbed.errors import UsageError
from roadbed.registry import Registry
from roadbed.runtime.serve import KEYS_VARIABLE, application
from roadbed.runtime.serve_variables import SERVE_VARIABLES
from roadbed.serving.app import make_app
from roadbed.spec import ServeJob
from roadbed.storage import open_store
from serving_support import made, promote, publish


def cluster_of(name: str) -> dict[str, Any]:
    cluster: dict[str, Any] = one(rendering(name), "RayService")["spec"]["rayClusterConfig"]
    return cluster


def config_of(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(one(rendering(name), "RayService")["spec"]["serveConfigV2"])
    return config


def containers_of(cluster: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    groups = (cluster["headGroupSpec"], cluster["workerGroupSpecs"][0])
    head, worker = (group["template"]["spec"]["containers"][0] for group in groups)
    return head, worker


class TestCluster:
    def test_the_head_has_no_work_and_workers_come_and_go(self) -> None:
        cluster = cluster_of("cpu.yaml")
        assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        assert cluster["enableInTreeAutoscaling"] is True
        assert cluster["autoscalerOptions"]["version"] == "v2"
        (workers,) = cluster["workerGroupSpecs"]
        assert (workers["minReplicas"], workers["maxReplicas"]) == (2, 4)
        for group in (cluster["headGroupSpec"], workers):
            assert group["template"]["spec"]["restartPolicy"] == "Never"  # else KubeRay refuses autoscaler v2

    def test_an_upgrade_makes_a_second_cluster(self) -> None:
        spec = one(rendering("defaults"), "RayService")["spec"]
        assert spec["upgradeStrategy"] == {"type": "NewCluster"}
        assert spec["excludeHeadPodFromServeSvc"] is True

    def test_the_head_answers_where_there_may_be_no_worker(self) -> None:
        objects = rendered((), "endpoint.workers.min=0,endpoint.serve.replicas.min=0")
        assert one(objects, "RayService")["spec"]["excludeHeadPodFromServeSvc"] is False

    def test_a_token_is_asked_for(self) -> None:
        assert cluster_of("defaults")["authOptions"] == {"mode": "token"}
        assert cluster_of("whole")["authOptions"] == {"mode": "token", "secretName": "token"}

    def test_services_get_their_ports_from_the_head(self) -> None:
        head, worker = containers_of(cluster_of("defaults"))
        assert {port["name"]: port["containerPort"] for port in head["ports"]} == {
            "gcs-server": 6379,
            "dashboard": 8265,
            "client": 10001,
            "serve": 8000,
            "metrics": 8080,
            "as-metrics": 44217,
            "dash-metrics": 44227,
        }
        assert {"serve", "metrics"} == {port["name"] for port in worker["ports"]}

    def test_labels_by_which_kuberay_finds_the_head_are_its_own(self) -> None:
        """A RayService's Service looks for app.kubernetes.io/name: kuberay, whatever the template says."""
        for group in (cluster_of("defaults")["headGroupSpec"], *cluster_of("defaults")["workerGroupSpecs"]):
            labels = group["template"]["metadata"]["labels"]
            assert not {"app.kubernetes.io/name", "app.kubernetes.io/created-by"} & set(labels)

    @pytest.mark.parametrize("name", ["defaults", "eks-gpu.yaml"])
    def test_shared_memory_holds_rays_objects(self, name: str) -> None:
        cluster = cluster_of(name)
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            (shm,) = [volume for volume in group["template"]["spec"]["volumes"] if volume["name"] == "shm"]
            assert shm["emptyDir"]["medium"] == "Memory"
            size_bytes = int(shm["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 2**30
            assert int(group["rayStartParams"]["object-store-memory"]) * 2 == size_bytes

    def test_head_and_workers_have_the_variables_of_serve_and_store(self) -> None:
        for container in containers_of(cluster_of("cpu.yaml")):
            variables = {env["name"]: env.get("value") for env in container["env"]}
            assert variables.items() >= SERVE_VARIABLES.items()
            assert variables["AWS_ENDPOINT_URL"] == "http://seaweedfs-s3.storage.svc:8333"
            assert KEYS_VARIABLE in variables

    @pytest.mark.parametrize("grace_s", [20, 60, 600])
    def test_ray_drains_a_worker_for_as_long_as_its_pod_may_take(self, grace_s: int) -> None:
        """By itself it does for 30 s, and kills what its replicas had begun, however long the pod's grace is."""
        cluster = one(rendered((), f"endpoint.workers.graceS={grace_s}"), "RayService")["spec"]["rayClusterConfig"]
        (group,) = cluster["workerGroupSpecs"]
        (container,) = group["template"]["spec"]["containers"]
        (before_s,) = container["lifecycle"]["preStop"]["exec"]["command"][1:]
        env = {one["name"]: one.get("value") for one in container["env"]}
        assert group["template"]["spec"]["terminationGracePeriodSeconds"] == grace_s
        assert int(before_s) + int(env["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]) == grace_s - 5

    def test_a_variable_of_the_values_stands_once(self, tmp_path: Path) -> None:
        values = tmp_path / "values.yaml"
        values.write_text('endpoint: {env: {RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S: "7"}}')
        _, worker = containers_of(one(rendered((str(values),)), "RayService")["spec"]["rayClusterConfig"])
        found = [env["value"] for env in worker["env"] if env["name"] == "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]
        assert found == ["7"]

    def test_haproxy_is_off_unless_asked_for(self) -> None:
        def is_on(name: str) -> bool:
            return any(env["name"] == "RAY_SERVE_ENABLE_HA_PROXY" for env in containers_of(cluster_of(name))[0]["env"])

        assert (is_on("defaults"), is_on("whole")) == (False, True)


class TestServeConfig:
    @pytest.mark.parametrize("name", ["defaults", "whole", "cpu.yaml"])
    def test_ray_serve_takes_it(self, name: str) -> None:
        from ray.serve.schema import ServeDeploySchema

        config = ServeDeploySchema.model_validate(config_of(name))
        assert config.applications[0].import_path == "roadbed.runtime.serve:application"
        assert (config.http_options.host, config.http_options.port) == ("0.0.0.0", 8000)

    def test_the_application_is_made_of_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Credentials of the pod that makes it are no part of it: the dashboard shows what replicas are given."""
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
        args = config_of("cpu.yaml")["applications"][0]["args"]
        bound = application(args)._bound_deployment
        assert bound._deployment_config.autoscaling_config.max_replicas == 8
        assert bound.ray_actor_options["runtime_env"]["env_vars"] == {"OMP_NUM_THREADS": "2"}
        assert "hidden" not in repr(bound.ray_actor_options)
        assert ServeJob.parse(yaml.safe_load(bound.init_args[0]), origin="test") == ServeJob.parse(
            args["job"], origin="test"
        )

    def test_keys_come_from_the_environment_of_the_pod(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(KEYS_VARIABLE, "ab" * 32)
        assert application(config_of("defaults")["applications"][0]["args"])._bound_deployment.init_args[1] == [
            "ab" * 32
        ]

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            ({}, "args.job: expected keys and values, found NoneType"),
            ({"job": {"serve": {"modle": "a@b"}}}, "unknown key serve.modle; did you mean serve.model?"),
            ({"job": {"serve": {"model": "a@b"}}, "jobs": 1}, "args: unknown key jobs"),
        ],
    )
    def test_wrong_arguments_are_refused(self, args: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError, match=message.replace("?", r"\?")):
            application(args)


@contextmanager
def answering(tmp_path: Path, *, with_model: bool, **settings: Any) -> Iterator[str]:
    """The endpoint's application behind a real port."""
    registry = Registry(open_store(str(tmp_path)))
    if with_model:
        promote(registry, publish(registry))
    service = made(registry)
    service.follower.look()
    server = uvicorn.Server(
        uvicorn.Config(make_app(service, **settings), ws="none", lifespan="off", log_level="warning")
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.02)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            service.stop()


class TestPicture:
    """What `helm test` runs, as it stands in the pod."""

    @staticmethod
    def run(url: str, **variables: str) -> subprocess.CompletedProcess[str]:
        (container,) = one(rendering("defaults"), "Pod", "-test")["spec"]["containers"]
        script = container["args"][2]
        assert script.strip() == (CHART / "files" / "segment.py").read_text().strip()
        return subprocess.run(
            [sys.executable, *container["args"][1:]],
            env=dict(os.environ, URL=url, **variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_it_is_segmented(self, tmp_path: Path) -> None:
        key = "open sesame"
        with answering(tmp_path, with_model=True, key_hashes=[hashlib.sha256(key.encode()).hexdigest()]) as url:
            done = self.run(url, API_KEY=key)
            refused = self.run(url)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("road:1 segmented a picture: ")
        assert refused.returncode == 1
        assert "401" in refused.stderr

    def test_without_a_model_it_says_how_there_will_be_one(self, tmp_path: Path) -> None:
        with answering(tmp_path, with_model=False) as url:
            done = self.run(url)
        assert done.returncode == 1
        assert "503" in done.stderr
        assert "promote" in done.stderr
        assert "Traceback" not in done.stderr
