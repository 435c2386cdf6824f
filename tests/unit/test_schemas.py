"""Objects against schemas: those of the real CRDs, CEL rules included, and small ones for what those do not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kube_objects import REMOVED, changed, crds_folder, good_objects
from roadbed.errors import UsageError
from roadbed.kube.lint import faults
from roadbed.kube.schemas import Schemas, has_cel, schema_faults, with_defaults

HEAD = "spec.rayClusterSpec.headGroupSpec"
GROUP = "spec.rayClusterSpec.workerGroupSpecs[0]"
RAY = f"{GROUP}.template.spec.containers[0]"
JOB, QUEUE = "RayJob/train-one", "ClusterQueue/gpus"
CONDITION = "spec.deletionStrategy.deletionRules[0].condition"
FLAVOUR = "ResourceFlavor/spot"


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    return Schemas(crds_folder())


def test_the_good_objects_keep_their_schemas(schemas: Schemas) -> None:
    objects = list(good_objects().values())
    assert [fault for obj in objects for fault in schemas.faults(obj)] == []
    assert schemas.unknown(objects) == []
    assert schemas.unknown([{"apiVersion": "example.org/v1", "kind": "Road"}, 3]) == ["example.org/Road"]


@pytest.mark.parametrize(
    ("name", "path", "value", "at", "said"),
    [
        (JOB, "spec.shutDownAfterJobFinishes", True, None, "did you mean shutdownAfterJobFinishes?"),
        (JOB, f"{HEAD}.rayStartParms", {}, None, "did you mean rayStartParams?"),
        (JOB, f"{HEAD}.template.metadata", {"generation": 1}, f"{HEAD}.template.metadata.generation", "annotations"),
        (JOB, f"{HEAD}.rayStartParams.num-cpus", 0, None, 'write it in quotes: "0"'),
        (JOB, f"{GROUP}.replicas", "1", None, "integer"),
        (JOB, f"{GROUP}.groupName", REMOVED, None, "is missing"),
        (JOB, f"{GROUP}.template.spec.containers", None, None, "is null"),
        (JOB, f"{RAY}.resources.limits.cpu", 1.5, None, "neither a whole number nor text"),
        (JOB, f"{RAY}.resources.limits.memory", "32Gib", None, "breaks pattern"),
        (JOB, "spec.rayClusterSpec.authOptions.mode", "tokens", None, "did you mean token?"),
        (JOB, "spec.rayClusterSpec.authOptions.mode", "x509", None, "disabled, token"),
        (JOB, "spec.preRunningDeadlineSeconds", 0, None, "minimum 1"),
        (JOB, f"{RAY}.env[1].name", "AWS_ENDPOINT_URL", f"{RAY}.env[1]", "twice"),
        (JOB, "apiVersion", "ray.io/v2", None, "ray.io/v1"),
        ("LocalQueue/training", "spec.clusterQueue", "GPUs", None, "breaks pattern"),
    ],
)
def test_what_the_api_server_refuses_is_found_with_its_path(
    schemas: Schemas, name: str, path: str, value: Any, at: str | None, said: str
) -> None:
    (fault,) = schemas.faults(changed(good_objects()[name], path, value))
    assert fault.path == (at or path)
    assert said in f"{fault.problem}; {fault.fix}"


@pytest.mark.skipif(not has_cel(), reason="no CEL library: pip install common-expression-language")
@pytest.mark.parametrize(
    ("name", "path", "value", "at", "said"),
    [
        (JOB, f"{CONDITION}.jobDeploymentStatus", "Failed", CONDITION, "cannot be used together"),
        (JOB, f"{CONDITION}.jobStatus", REMOVED, CONDITION, "requires either"),
        (JOB, "spec.deletionStrategy", {}, None, "BOTH onSuccess and onFailure"),
        (JOB, "spec.managedBy", "me", None, "'kueue.x-k8s.io/multikueue'"),
        (FLAVOUR, "spec.nodeTaints", [{"key": "spot", "effect": "Never"}], None, "NoSchedule"),
        (FLAVOUR, "spec.tolerations", [{"key": "a", "operator": "Exists", "value": "b"}], None, "must be empty"),
        (FLAVOUR, "spec.topologyName", "racks", "spec", "nodeLabel"),
        (QUEUE, "spec.resourceGroups[0].coveredResources", ["cpu", "memory"], "spec.resourceGroups[0]", "same number"),
        (QUEUE, "spec.resourceGroups[0].flavors[0].resources[0].borrowingLimit", 1, "spec", "must be nil"),
    ],
)
def test_rules_in_cel_are_evaluated(
    schemas: Schemas, name: str, path: str, value: Any, at: str | None, said: str
) -> None:
    found = schemas.faults(changed(good_objects()[name], path, value))
    assert (at or path) in [fault.path for fault in found]
    assert any(said in fault.problem for fault in found), found


def test_the_schema_is_silent_where_a_rule_has_said_why(schemas: Schemas) -> None:
    job = changed(good_objects()[JOB], f"{HEAD}.rayStartParams.num-cpus", 0)
    assert [fault.rule for fault in faults([job], schemas=schemas)] == ["start-params"]
    job = changed(good_objects()[JOB], "spec.entrypiont", "x")
    assert [(fault.rule, fault.severity) for fault in faults([job], schemas=schemas)] == [("schema", "error")]


def test_defaults_are_filled_in_before_rules_are_evaluated() -> None:
    schema = {
        "type": "object",
        "properties": {
            "kept": {"type": "string", "nullable": True, "default": "b"},
            "mode": {"type": "string", "default": "a"},
            "parts": {"type": "array", "items": {"type": "object", "properties": {"n": {"default": 1}}}},
        },
        "x-kubernetes-validations": [{"rule": "self.mode == 'a'", "message": "only a"}],
    }
    assert with_defaults({"parts": [{}], "kept": None, "mode": None}, schema) == {
        "parts": [{"n": 1}],
        "kept": None,
        "mode": "a",
    }
    assert schema_faults({}, schema) == []
    if has_cel():
        assert [fault.problem for fault in schema_faults({"mode": "b"}, schema)] == ["only a"]


def test_fields_may_be_unknown_where_the_schema_preserves_them() -> None:
    schema = {
        "type": "object",
        "properties": {
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "embedded": {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {}}},
            "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "share": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        },
    }
    good = {"free": {"a": {"b": 1}}, "embedded": {"kind": "A", "spec": 1}, "port": "http", "share": 0.5, "kind": "B"}
    assert schema_faults(good, schema) == []
    bad = {"embedded": {"status": 1}, "port": True, "share": 0, "a.b/c": 1}
    found = schema_faults(bad, schema)
    assert sorted(fault.path for fault in found) == ["[a.b/c]", "embedded.status", "port", "share"]


def test_rules_that_only_an_api_server_can_evaluate_are_left_out() -> None:
    rules = [{"rule": "quantity(self.a).isInteger()"}, {"rule": "self.a == oldSelf.a"}]
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-validations": rules}
    assert schema_faults({"a": "x"}, schema) == []
    if has_cel():
        missing = {**schema, "x-kubernetes-validations": [{"rule": "self.a == 'x'"}]}
        assert "no field 'a'" in schema_faults({}, missing)[0].problem


def test_crds_may_be_a_list_as_kubectl_prints_it(tmp_path: Path) -> None:
    crd = {
        "kind": "CustomResourceDefinition",
        "spec": {
            "group": "example.org",
            "names": {"kind": "Road"},
            "versions": [
                {"name": "v1", "schema": {"openAPIV3Schema": {"properties": {"spec": {"type": "object"}}}}},
                {"name": "v0", "served": False, "schema": {"openAPIV3Schema": {}}},
            ],
        },
    }
    (tmp_path / "crds.yaml").write_text(yaml.safe_dump({"kind": "List", "items": [crd]}))
    schemas = Schemas(tmp_path)
    road = {"apiVersion": "example.org/v1", "kind": "Road", "spec": {"lanes": 2}}
    assert [fault.path for fault in schemas.faults(road)] == ["spec.lanes"]
    assert "has no version 'v0'" in schemas.faults({**road, "apiVersion": "example.org/v0"})[0].problem
    assert schemas.faults({**road, "kind": "River"}) == []


def test_a_folder_without_schemas_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no CRD schemas"):
        Schemas(tmp_path)
    (tmp_path / "a.yaml").write_text("kind: Road\ngroup: example.org\na: [")
    with pytest.raises(UsageError, match=r"a\.yaml: not YAML"):
        Schemas(tmp_path).faults({"apiVersion": "example.org/v1", "kind": "Road"})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@settings(max_examples=50, deadline=None)
@given(spec=ANYTHING, key=st.sampled_from(["spec", "metadata", "status"]))
def test_no_schema_fails_on_anything(spec: Any, key: str) -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "required": ["a"], "properties": {"a": {"enum": ["x"]}}}},
    }
    schema_faults({"apiVersion": "example.org/v1", "kind": "Road", key: spec}, schema)
