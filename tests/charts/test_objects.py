"""Every object that the chart renders, by default, whole, and of every example: valid, unlike any other, and safe."""

from __future__ import annotations

import base64
import functools
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from chart_support import (
    CHART,
    CRDS_PATH,
    EXAMPLES,
    RENDERINGS,
    helm,
    one,
    pods_of,
    rendered,
    rendering,
    template,
    texts_of,
    tool,
)
from roadbed.errors import ConflictError, NotFoundError
from roadbed.kube.client import NAMESPACED
from roadbed.kube.schemas import Schemas
from roadbed.runtime.local.processes import free_ports
from roadbed.storage import Store, open_store

# Kinds that no schema at hand describes: HTTPRoute is the Gateway API's.
UNKNOWN = {"HTTPRoute"}
SECRET_WORDS = ("KEY", "SECRET", "TOKEN", "PASSWORD", "HASHES")


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    if not list(CRDS_PATH.glob("*.yaml")):
        pytest.skip(
            f"no CRDs in {CRDS_PATH}: set ROADBED_CRDS to a folder with those of KubeRay, Kueue and the Prometheus "
            "operator (`kubectl get crd -o yaml` on a cluster that has them, or their releases)"
        )
    return Schemas(CRDS_PATH)


@pytest.fixture(params=RENDERINGS)
def objects(request: pytest.FixtureRequest) -> tuple[dict[str, Any], ...]:
    return rendering(request.param)


@pytest.mark.parametrize("example", ["", *EXAMPLES])
def test_lint_finds_nothing(example: str) -> None:
    done = helm("lint", "--strict", str(CHART), *(["--values", str(CHART / "examples" / example)] if example else []))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


def test_objects_are_what_the_api_server_takes(schemas: Schemas, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of all renderings, and those that are the same in several of them once."""
    for owner, name in ((kubernetes_validate.utils, "schema_contents"), (schemas, "versions")):
        monkeypatch.setattr(owner, name, functools.cache(getattr(owner, name)))  # megabytes for every object
    for obj in {json.dumps(obj): obj for name in RENDERINGS for obj in rendering(name)}.values():
        group = obj["apiVersion"].rpartition("/")[0]
        if group and schemas.versions(group, obj["kind"]):
            assert schemas.faults(obj) == [], obj["metadata"]["name"]
        elif obj["kind"] not in UNKNOWN:
            kubernetes_validate.validate(obj, "1.36", strict=True)


@pytest.mark.parametrize("name", sorted(set(RENDERINGS) - {"whole", "kind.yaml"}))
def test_rendered_again_the_chart_is_the_same(name: str) -> None:
    """An upgrade without a change changes nothing: a RayService would make a second cluster for nothing."""
    assert rendered.__wrapped__(*RENDERINGS[name]) == rendering(name)


@pytest.mark.parametrize("name", ["whole", "kind.yaml"])
def test_rendered_again_without_a_cluster_the_keys_of_the_store_alone_are_others(name: str) -> None:
    again = rendered.__wrapped__(*RENDERINGS[name])
    changed = [one for one, other in zip(rendering(name), again, strict=True) if one != other]
    assert [(obj["kind"], obj["metadata"]["name"]) for obj in changed] == [("Secret", "roadbed-store-generated")]


def test_no_two_objects_are_the_same(objects: tuple[dict[str, Any], ...]) -> None:
    names = [(obj["apiVersion"], obj["kind"], obj["metadata"]["name"]) for obj in objects]
    assert len(set(names)) == len(names)


def test_objects_are_in_the_namespace_of_the_release(objects: tuple[dict[str, Any], ...]) -> None:
    clusters_own = {"ResourceFlavor", "ClusterQueue"}
    for obj in objects:
        assert obj["metadata"].get("namespace") == (None if obj["kind"] in clusters_own else "roadbed")
        assert obj["metadata"]["labels"]["app.kubernetes.io/part-of"] == "roadbed"


def test_two_releases_share_no_name() -> None:
    first, second = (
        {(obj["kind"], obj["metadata"]["name"]) for obj in rendered((), "kueue.enabled=true", release)}
        for release in ("roadbed", "second")
    )
    assert not first & second


def test_every_pod_is_restricted(objects: tuple[dict[str, Any], ...]) -> None:
    """As the Pod Security Standard of that name has it, and more: no root file system is written, all have limits."""
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret", "downwardAPI"}
    pods = [pod for obj in objects for pod in pods_of(obj)]
    assert len(pods) >= 3
    for _, spec in pods:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert "automountServiceAccountToken" in spec
        assert all(set(volume) - {"name"} <= allowed for volume in spec["volumes"])
        for container in (*spec["containers"], *spec.get("initContainers", [])):
            assert_restricted(container)


def test_the_autoscaler_is_restricted(objects: tuple[dict[str, Any], ...]) -> None:
    """KubeRay adds it to the head, and gives it what autoscalerOptions say and nothing of the head's."""
    assert_restricted(one(objects, "RayService")["spec"]["rayClusterConfig"]["autoscalerOptions"])


def assert_restricted(container: dict[str, Any]) -> None:
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["runAsNonRoot"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {"/tmp", "/home/roadbed"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
    for bound in ("requests", "limits"):
        assert {"cpu", "memory"} <= set(container["resources"][bound])


def test_secrets_come_by_reference(objects: tuple[dict[str, Any], ...]) -> None:
    for _, spec in (pod for obj in objects for pod in pods_of(obj)):
        for variable in (env for container in spec["containers"] for env in container.get("env", [])):
            if any(word in variable["name"] for word in SECRET_WORDS):
                assert "secretKeyRef" in variable["valueFrom"], variable


@pytest.mark.parametrize("name", sorted(set(RENDERINGS) - {"whole", "kind.yaml"}))
def test_the_chart_makes_no_secret(name: str) -> None:
    assert not [obj for obj in rendering(name) if obj["kind"] == "Secret"]


def test_the_store_for_trials_has_random_keys_which_stand_in_its_secret_alone() -> None:
    objects = rendering("kind.yaml")
    secret = one(objects, "Secret")
    values = [*secret["data"].values(), *(base64.b64decode(text).decode() for text in secret["data"].values())]
    others = [text for obj in objects if obj is not secret for text in texts_of(obj)]
    assert not [value for value in values if any(value in text for text in others)]
    again = one(rendered(((str(CHART / "examples" / "kind.yaml")),), "nameOverride="), "Secret")
    assert again["data"] != secret["data"]


def test_a_secret_of_ones_own_takes_its_place() -> None:
    objects = rendered((), "objectStore.embedded.enabled=true,objectStore.embedded.existingSecret=mine")
    assert not [obj for obj in objects if obj["kind"] == "Secret"]
    assert "mine" in set(texts_of(one(objects, "StatefulSet")))


@pytest.mark.s3
def test_the_store_for_trials_starts_as_its_pod_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the bucket, with conditional PUTs, for nobody without its keys. Ports and folder alone are the test's."""
    (_, spec), *_ = pods_of(one(rendering("kind.yaml"), "StatefulSet"))
    parts = ("s3", "master", "volume", "filer", "admin")
    names = [f"{part}.port{kind}" for part in parts for kind in ("", ".grpc")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    own = [f"-dir={tmp_path}", "-ip.bind=127.0.0.1", *(f"-{name}={port}" for name, port in ports.items())]
    for name, value in {"AWS_ACCESS_KEY_ID": "trial", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{ports['s3.port']}")
    weed, *words = spec["containers"][0]["args"]
    server = subprocess.Popen([tool(weed), *words, *own], stderr=subprocess.DEVNULL, cwd=tmp_path)
    try:
        wait_for(f"http://127.0.0.1:{ports['s3.port']}{spec['containers'][0]['readinessProbe']['httpGet']['path']}")
        store = open_store("s3://roadbed")
        etag = first_written(store)
        store.put_if("status.json", b"2", etag=etag)
        with pytest.raises(ConflictError):
            store.put_if("status.json", b"3", etag=etag)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"http://127.0.0.1:{ports['s3.port']}/roadbed/status.json")
    finally:
        server.terminate()
        server.wait()


def first_written(store: Store) -> str:
    """The etag of status.json once the bucket is there, which is made a moment after the server answers."""
    for _ in range(600):
        try:
            return store.put_if("status.json", b"1", etag=None)
        except NotFoundError:
            time.sleep(0.1)
    pytest.fail("the bucket was never made")


def wait_for(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{url} does not answer")


def test_rights_are_named_one_by_one(objects: tuple[dict[str, Any], ...]) -> None:
    assert not [obj for obj in objects if obj["kind"].startswith("Cluster") and obj["kind"] != "ClusterQueue"]
    for rule in (rule for obj in objects if obj["kind"] == "Role" for rule in obj["rules"]):
        assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])
        assert not {"secrets", "pods/exec", "serviceaccounts/token"} & set(rule["resources"])
        if set(rule["verbs"]) & {"create", "update", "patch", "delete"}:
            assert rule["resources"] == ["rayjobs"]


def test_submitters_may_do_what_the_commands_ask() -> None:
    rules = one(rendering("defaults"), "Role", "-submitter")["rules"]
    for kind, version in NAMESPACED.items():
        group = version.rpartition("/")[0]
        verbs = {
            verb for rule in rules if group in rule["apiGroups"] and kind in rule["resources"] for verb in rule["verbs"]
        }
        assert verbs == {"get", "list"} | ({"create", "patch", "delete"} if kind == "rayjobs" else set()), kind
    assert any("pods/log" in rule["resources"] for rule in rules)


def test_dashboards_become_config_maps_and_alerts_rules(tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / "roadbed")
    text = json.dumps({"title": "Training", "panels": [{"legend": "{{ run }}"}]}, indent=2)
    (chart / "dashboards").mkdir(exist_ok=True)
    (chart / "dashboards" / "training.json").write_text(text)
    done = template(chart=chart)
    assert done.returncode == 0, done.stderr
    made = tuple(yaml.safe_load_all(done.stdout))
    dashboard = one(made, "ConfigMap", "-dashboard-training")
    assert dashboard["data"] == {"training.json": text}
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    names = {obj["metadata"]["name"] for obj in made if obj["kind"] == "PrometheusRule"}
    recordings = {f"roadbed-recordings-{path.stem}" for path in (CHART / "recordings").glob("*.yaml")}
    assert names == {f"roadbed-{path.stem}" for path in (CHART / "alerts").glob("*.yaml")} | recordings


def test_alerts_say_what_to_do() -> None:
    rules = [obj for obj in rendering("defaults") if obj["kind"] == "PrometheusRule"]
    assert rules
    made = [rule for obj in rules for group in obj["spec"]["groups"] for rule in group["rules"]]
    assert all("record" in rule or "alert" in rule for rule in made)
    for alert in (rule for rule in made if "alert" in rule):
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description", "runbook_url"} <= set(alert["annotations"])
        page = alert["annotations"]["runbook_url"].partition("/blob/main/")[2]
        assert (CHART.parents[1] / page).is_file(), page
