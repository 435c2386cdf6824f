"""k8s/: every overlay rendered by kubectl, valid for the API server and for Kueue, and no object that others make."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ["cpu", "gpu", "laptop", "plain"]
CLUSTER_SCOPED = {"Namespace", "PriorityClass", "ClusterQueue", "ResourceFlavor", "WorkloadPriorityClass"}
# Read before the tests' own surroundings take it away.
CRDS = Path(os.environ.get("ROADBED_CRDS", ROOT.parent / "shared" / "k8s" / "crds"))
Manifest = dict[str, Any]


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.prefix, "bin")))
    if found is None:
        pytest.fail(f"{name} is not there; run `make install`")
    return found


@functools.cache
def rendered(overlay: str) -> list[Manifest]:
    """The objects of an overlay; kubectl's complaint fails the test."""
    command = [program("kubectl"), "kustomize", str(ROOT / "k8s" / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    return list(yaml.safe_load_all(done.stdout))


def all_rendered() -> list[Manifest]:
    return [one for overlay in OVERLAYS for one in rendered(overlay)]


def called(objects: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def identity(one: Manifest) -> tuple[str, str, str, str]:
    group = one["apiVersion"].rpartition("/")[0]
    return group, one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


def crd_schema(one: Manifest) -> dict[str, Any]:
    """The schema of an object's CRD, with fields that it does not know refused."""
    group, _, version = one["apiVersion"].partition("/")
    if not CRDS.is_dir():
        pytest.skip(f"no CRDs in {CRDS}: set ROADBED_CRDS to a folder of `kubectl get crd NAME -o yaml`, one file each")
    for path in CRDS.glob(f"{group}_*.yaml"):
        definition = load_crd(path)["spec"]
        if definition["names"]["kind"] == one["kind"]:
            found = next(entry for entry in definition["versions"] if entry["name"] == version)
            assert found["served"]
            schema: dict[str, Any] = strict(found["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            return schema
    raise AssertionError(f"no CRD of {one['kind']} in {CRDS}")


@functools.cache
def load_crd(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader=yaml.CSafeLoader)


def strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: strict(value) for key, value in schema.items()}
    if isinstance(inner.get("properties"), dict) and not inner.get("x-kubernetes-preserve-unknown-fields"):
        inner.setdefault("additionalProperties", False)
    if inner.pop("x-kubernetes-int-or-string", False):
        inner.pop("type", None)
    return inner


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_core_objects_are_valid_for_the_api_server(overlay: str) -> None:
    core = [one for one in rendered(overlay) if "kueue" not in one["apiVersion"]]
    assert len(core) >= 6
    for one in core:
        kubernetes_validate.validate(one, "1.34", strict=True)


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_queues_are_valid_for_kueue(overlay: str) -> None:
    queues = [one for one in rendered(overlay) if "kueue" in one["apiVersion"]]
    assert {one["kind"] for one in queues} == {"ClusterQueue", "LocalQueue", "ResourceFlavor", "WorkloadPriorityClass"}
    for one in queues:
        jsonschema.validate(one, crd_schema(one))


def test_a_misspelt_field_of_a_queue_would_be_seen() -> None:
    queue = called(rendered("cpu"), "LocalQueue")["jobs"]
    with pytest.raises(jsonschema.ValidationError, match="clusterQeue"):
        jsonschema.validate({**queue, "spec": {"clusterQeue": "segmentation"}}, crd_schema(queue))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_namespaces_stand_where_they_belong_and_labels_say_whose_it_is(overlay: str) -> None:
    for one in rendered(overlay):
        namespace = one["metadata"].get("namespace")
        assert namespace == (None if one["kind"] in CLUSTER_SCOPED else "roadbed"), one["metadata"]
        assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "roadbed"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_namespace_enforces_the_restricted_standard(overlay: str) -> None:
    labels = called(rendered(overlay), "Namespace")["roadbed"]["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"restricted"}


def test_every_reference_between_the_objects_is_met() -> None:
    for overlay in ("cpu", "gpu"):
        objects = rendered(overlay)
        queue = called(objects, "ClusterQueue")["segmentation"]["spec"]
        assert called(objects, "LocalQueue")["jobs"]["spec"]["clusterQueue"] == "segmentation"
        flavors = [entry for group in queue["resourceGroups"] for entry in group["flavors"]]
        assert {entry["name"] for entry in flavors} == set(called(objects, "ResourceFlavor"))
        for group in queue["resourceGroups"]:
            for entry in group["flavors"]:  # Kueue wants the same resources in the same order.
                assert [one["name"] for one in entry["resources"]] == group["coveredResources"]
        selector = queue["namespaceSelector"]["matchLabels"]
        assert selector == {"kubernetes.io/metadata.name": called(objects, "Namespace")["roadbed"]["metadata"]["name"]}


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_what_the_queue_admits_fits_into_the_quota(overlay: str) -> None:
    quota = called(rendered(overlay), "ResourceQuota")["namespace"]["spec"]["hard"]
    groups = called(rendered(overlay), "ClusterQueue")["segmentation"]["spec"]["resourceGroups"]
    admitted: dict[str, int] = {}
    for entry in (entry for group in groups for flavor in group["flavors"] for entry in flavor["resources"]):
        admitted[entry["name"]] = admitted.get(entry["name"], 0) + int(entry["nominalQuota"].removesuffix("Gi"))
    for name, amount in admitted.items():
        assert amount < int(quota[f"requests.{name}"].removesuffix("Gi")), name


def test_the_store_for_trials_passes_the_restricted_standard_and_is_reached() -> None:
    objects = rendered("laptop")
    pod = called(objects, "Deployment")["dev-store"]["spec"]["template"]
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert not container["image"].endswith(":latest")
    assert "limits" in container["resources"]
    (port,) = called(objects, "Service")["dev-store"]["spec"]["ports"]
    assert (port["targetPort"], port["port"]) == ("s3", container["ports"][0]["containerPort"])
    for kind, path in (("Service", ["selector"]), ("NetworkPolicy", ["podSelector", "matchLabels"])):
        selector = functools.reduce(lambda value, key: value[key], path, called(objects, kind)["dev-store"]["spec"])
        assert selector.items() <= pod["metadata"]["labels"].items()
    claims = [one["persistentVolumeClaim"]["claimName"] for one in spec["volumes"] if "persistentVolumeClaim" in one]
    assert set(claims) == set(called(objects, "PersistentVolumeClaim"))


def test_no_secret_is_written_down() -> None:
    assert called(all_rendered(), "Secret") == {}


def test_the_cluster_for_trials_is_one_of_kind() -> None:
    cluster = yaml.safe_load((ROOT / "k8s" / "kind" / "cluster.yaml").read_text())
    assert (cluster["apiVersion"], cluster["kind"]) == ("kind.x-k8s.io/v1alpha4", "Cluster")
    assert [node["role"] for node in cluster["nodes"]] == ["control-plane", "worker", "worker"]


def charts() -> list[str]:
    """The values files that the chart is rendered with, "" for its own."""
    chart = ROOT / "helm" / "roadbed"
    if not (chart / "Chart.yaml").is_file():
        return []
    return ["", *sorted(str(path.relative_to(ROOT)) for path in chart.glob("examples/*.yaml"))]


@pytest.mark.parametrize("values", charts())
def test_the_chart_makes_none_of_these_objects(values: str) -> None:
    words = ["--values", str(ROOT / values)] if values else []
    command = [program("helm"), "template", "roadbed", str(ROOT / "helm" / "roadbed"), "--namespace", "roadbed", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = [one for one in yaml.safe_load_all(done.stdout) if one]
    here = {identity(one) for one in all_rendered()}
    for one in made:
        group, kind, namespace, name = identity(one)
        owned = (group, kind, "" if kind in CLUSTER_SCOPED else namespace or "roadbed", name)
        assert owned not in here, f"{kind} {name} is made by the chart ({values or 'values.yaml'}) and by k8s/"
