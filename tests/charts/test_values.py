"""Values: wrong ones are refused and named, the README tells all of them, and profiles are those that roadbed knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from chart_support import CHART, one, rendered, rendering, template
from roadbed.kube.profile import BUILT_IN, Profile, built_in_profiles, parse_profile
from values_schema import SCHEMA_PATH, spec_definitions

JOB = "retraining.n.schedule=@daily,retraining.n.job.kind=train,retraining.n.job.name=n,retraining.n.job.data.uri=s3://road/bed"
WRONG = {
    # misspelt
    "imagee.tag=1": "'imagee'",
    "image.repo=x": "'repo'",
    "store.url=s3://x": "'url'",
    "objectStore.embeded.enabled=true": "'embeded'",
    "serviceAccounts.jobs.annotations.a=b": "'jobs'",
    "rbac.submiters=x": "'submiters'",
    "ray.auth=true": "'auth'",
    "endpoint.enable=true": "'enable'",
    "endpoint.serve.modle=a@b": "'modle'",
    "endpoint.serve.replicas.maximum=3": "'maximum'",
    "endpoint.workers.memory=4Gi": "'memory'",
    "endpoint.haproxy.enable=true": "'enable'",
    "profiles.cpu.worker.gpu=1": "'gpu'",
    "profiles.cpu.store.bucket=x": "'bucket'",
    "exporter.resources.limit.cpu=1": "'limit'",
    "monitoring.podMonitor.enabled=true": "'podMonitor'",
    "networkPolicies.store.cidr=x": "'cidr'",
    "podDisruptionBudgets.minAvailable=1": "'minAvailable'",
    "ingress.hosts=x": "'hosts'",
    "httpRoute.parentRefs=x": "'parentRefs'",
    "kueue.flavors[0].name=a,kueue.flavors[0].quota.cpu=1": "'quota'",
    "retraining.nightly.cron=x": "'cron'",
    "test.image=x": "'image'",
    # wrong
    "image.pullPolicy=Sometimes": "/image/pullPolicy",
    "image.digest=sha256:abc": "/image/digest",
    "image.repository=a b": "/image/repository",
    "store.uri=file:///data": "/store/uri",
    "store.endpointUrl=seaweedfs:8333": "/store/endpointUrl",
    "objectStore.embedded.sizeGib=5Gi": "/objectStore/embedded/sizeGib",
    "rbac.submitters[0].kind=Team,rbac.submitters[0].name=x": "/rbac/submitters/0/kind",
    "ray.version=latest": "/ray/version",
    "endpoint.enabled=yes": "/endpoint/enabled",
    "endpoint.serve.engine=tensorrt": "/endpoint/serve/engine",
    "endpoint.serve.limits.waiting=0": "/endpoint/serve/limits/waiting",
    "endpoint.head.memoryGib=1": "/endpoint/head/memoryGib",
    "endpoint.workers.cpus=0.5": "/endpoint/workers/cpus",
    "endpoint.env.A=1": "/endpoint/env/A",
    "profiles.cpu.worker.cpus=four": "/profiles/cpu/worker/cpus",
    "profiles.cpu.grace_s=1": "/profiles/cpu/grace_s",
    "profiles.Big.image=x": "'Big'",
    "monitoring.podMonitors.interval=15": "/monitoring/podMonitors/interval",
    "networkPolicies.store.cidrs={10.0.0.1}": "/networkPolicies/store/cidrs/0",
    "podDisruptionBudgets.workersMaxUnavailable=50%": "/podDisruptionBudgets/workersMaxUnavailable",
    "ingress.enabled=true": "/ingress/host",
    "httpRoute.enabled=true": "/httpRoute/gateway/name",
    "kueue.flavors=null": "missing property 'flavors'",
    "exporter=null": "missing property 'exporter'",
    f"{JOB},retraining.n.schedule=daily": "/retraining/n/schedule",
    f"{JOB},retraining.n.job.kind=serve": "/retraining/n/job/kind",
    f"{JOB},retraining.n.job.train.epoch=3": "'epoch'",
    f"{JOB},retraining.n.job.name=far-too-long-for-a-number-at-its-end": "/retraining/n/job/name",
    f"{JOB},retraining.n.job.kind=tune": "missing property 'tune'",
    # secrets in plain text
    "endpoint.env.AWS_SECRET_ACCESS_KEY=x": "endpoint.env.AWS_SECRET_ACCESS_KEY: is read by whoever",
    "profiles.cpu.env.HF_TOKEN=x": "profiles.cpu.env.HF_TOKEN: is read by whoever",
    # wrong together
    "endpoint.workers.cpus=1,endpoint.serve.replicas.threads=2": "cannot hold a replica of",
    "endpoint.workers.min=3": "endpoint.workers: min 3 is more than max 2",
    "endpoint.serve.replicas.min=5": "endpoint.serve.replicas: min 5 is more than max 4",
    "endpoint.serve.replicas.max=9": "9 replicas do not fit into endpoint.workers.max 2 pods of 2 each",
    "kueue.enabled=true,kueue.flavors[0].name=a,kueue.flavors[0].quotas.cpu=1,kueue.flavors[1].name=b,"
    "kueue.flavors[1].quotas.memory=1Gi": "b has no quota of cpu",
}


@pytest.mark.parametrize("sets", WRONG)
def test_a_wrong_value_is_refused_and_named(sets: str) -> None:
    done = template("--set", sets)
    assert done.returncode != 0
    assert WRONG[sets] in done.stderr


def test_a_name_that_leaves_no_room_is_refused() -> None:
    done = template(release="roadbed-of-the-vision-team-in-berlin")
    assert done.returncode != 0
    assert "has 36 characters" in done.stderr
    assert "set fullnameOverride" in done.stderr


def test_the_schema_of_serve_and_of_profiles_is_that_of_the_spec_classes() -> None:
    written = json.loads(SCHEMA_PATH.read_text())["$defs"]
    for name, definition in json.loads(json.dumps(spec_definitions())).items():
        assert written[name] == definition, f"{name}: run `python tests/values_schema.py`"


@pytest.mark.parametrize("path", sorted((CHART.parents[1] / "jobs").glob("*.yaml")), ids=lambda path: path.name)
def test_the_schema_takes_every_job_that_can_be_scheduled(path: Path) -> None:
    job = yaml.safe_load(path.read_text())
    definitions = json.loads(SCHEMA_PATH.read_text())["$defs"]
    name = {"train": "TrainJob", "tune": "TuneJob", "serve": "ServeSpec"}[job["kind"]]
    schema = {"$ref": f"#/$defs/{name}", "$defs": definitions}
    jsonschema.Draft202012Validator(schema).validate(job["serve"] if name == "ServeSpec" else job)


def test_no_object_of_the_schema_takes_unknown_keys() -> None:
    for path, node in _nodes(json.loads(SCHEMA_PATH.read_text()), ""):
        if node.get("type") == "object" and not path.endswith(("/global", "/$defs/job")):  # a job is one of two kinds
            assert node.get("additionalProperties", True) is not True, path


def _nodes(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield path, value
        for key, item in value.items():
            yield from _nodes(item, f"{path}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nodes(item, f"{path}/{index}")


def test_every_value_has_a_default_and_a_row_in_the_readme() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads(SCHEMA_PATH.read_text())["properties"]
    assert set(schema) - {"global"} == set(values)
    told = set(re.findall(r"^\| `([^`]+)` \|", (CHART / "README.md").read_text(), re.MULTILINE))
    for key in _keys(schema, values):
        assert any(key == row or key.startswith(f"{row}.") for row in told), f"{key} has no row in the README"
    for row in told:
        assert _has(values, row), f"the README tells of {row}, which values.yaml does not have"


def _keys(properties: dict[str, Any], values: dict[str, Any]) -> Iterator[str]:
    for name, node in properties.items():
        if "properties" in node:
            assert set(node["properties"]) >= set(values[name] or {})
            yield from (f"{name}.{key}" for key in _keys(node["properties"], values[name]))
        elif name != "global":
            assert name in values, name
            yield name


def _has(values: Any, row: str) -> bool:
    for part in row.split("."):
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


class TestProfiles:
    @staticmethod
    def of(name: str) -> dict[str, Profile]:
        made = one(rendering(name), "ConfigMap", "-profiles")
        assert made["metadata"]["labels"]["roadbed.dev/profiles"] == "true"
        texts = made["data"].items()
        return {key.removesuffix(".yaml"): parse_profile(text, origin=key) for key, text in texts}

    def test_by_default_they_are_the_built_in_ones_with_account_and_store(self) -> None:
        built_in = built_in_profiles()
        profiles = self.of("defaults")
        assert set(profiles) == set(BUILT_IN)
        for name, profile in profiles.items():
            assert profile.service_account == "roadbed-job"
            assert profile.store.model_dump() == {
                "uri": "s3://roadbed",
                "endpoint_url": "",
                "region": "us-east-1",
                "secret": "",
            }
            update = {"service_account": "", "store": built_in[name].store}
            assert profile.model_copy(update=update) == built_in[name]

    def test_they_have_what_the_chart_knows(self) -> None:
        cpu = self.of("cpu.yaml")["cpu"]
        assert cpu.image == "registry.example.com/vision/roadbed:0.1.0"
        assert cpu.image_pull_secrets == ("registry-example-com",)
        assert (cpu.store.endpoint_url, cpu.store.secret) == (
            "http://seaweedfs-s3.storage.svc:8333",
            "roadbed-store",
        )
        assert self.of("kind.yaml")["cpu"].store.endpoint_url == "http://roadbed-store.roadbed.svc:8333"
        assert {profile.queue for profile in self.of("eks-gpu.yaml").values()} == {"roadbed-jobs"}
        assert self.of("eks-gpu.yaml")["gpu-8"].image.endswith("roadbed:0.1.0-cuda")

    def test_a_profile_of_null_is_taken_away(self) -> None:
        assert set(self.of("kind.yaml")) == {"cpu"}

    def test_what_a_profile_says_itself_counts(self) -> None:
        sets = "profiles.cpu.token_auth=false,profiles.cpu.image=mine:1,profiles.cpu.store.uri=s3://other,profiles.cpu.queue="
        made = one(rendered((), sets), "ConfigMap", "-profiles")
        cpu = parse_profile(made["data"]["cpu.yaml"], origin="cpu.yaml")
        assert (cpu.token_auth, cpu.image, cpu.store.uri, cpu.store.region) == (
            False,
            "mine:1",
            "s3://other",
            "us-east-1",
        )
