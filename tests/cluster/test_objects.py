"""As far as a cluster without nodes goes: the API server takes all objects, and the operator acts on a job."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cluster_tools import CHART, ROOT, RealCluster, wait_until
from roadbed.kube.profile import built_in_profiles

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

Command = Callable[..., tuple[int, str, str]]

SUBMITTED = [
    path
    for path in sorted((ROOT / "jobs").glob("*.yaml"))
    if yaml.safe_load(path.read_text(encoding="utf-8"))["kind"] in ("train", "tune")
]
OPERATOR_S = 60.0


@pytest.mark.parametrize("example", sorted((CHART / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_api_server_takes_what_the_chart_renders(cluster: RealCluster, example: Path) -> None:
    """All but kinds that the cluster does not have, such as those of Kueue and of kube-prometheus-stack."""
    rendered = cluster.helm("template", "roadbed", str(CHART), "--values", str(example), "--skip-tests")
    objects = [one for one in yaml.safe_load_all(rendered) if one]
    known = [one for one in objects if one["kind"] in cluster.kinds]
    assert {"RayService", "ConfigMap", "ServiceAccount", "Role"} <= {one["kind"] for one in known}
    text = yaml.safe_dump_all(known)
    cluster.kubectl("apply", "--server-side", "--dry-run=server", "--filename", "-", stdin=text)


@pytest.mark.parametrize("spec", SUBMITTED, ids=lambda path: path.stem)
def test_the_api_server_takes_every_job(cluster: RealCluster, roadbed: Command, spec: Path) -> None:
    status, manifest, err = roadbed("submit", spec, "--dry-run", "--namespace", cluster.namespace)
    assert status == 0, err
    made = cluster.kubectl(
        "create", "--dry-run=server", "--validate=strict", "--output", "json", "--filename", "-", stdin=manifest
    )
    assert json.loads(made)["metadata"]["uid"]


def test_the_operator_takes_a_job_up_and_lets_it_go(cluster: RealCluster, roadbed: Command, tmp_path: Path) -> None:
    """Its pods need not run for that: with an image that is nowhere they never do."""
    profile = built_in_profiles()["cpu"].model_copy(update={"image": "roadbed.invalid/none:0"})
    profiles = tmp_path / "profiles.yaml"
    profiles.write_text(yaml.safe_dump({"cpu": profile.model_dump(mode="json")}))
    here = ("--namespace", cluster.namespace)
    job = (ROOT / "jobs" / "camvid-quick.yaml", "--profiles", profiles, "--set", "name=taken-up", *here)
    status, _, err = roadbed("submit", *job)
    assert status == 0, err
    assert roadbed("submit", *job)[0] == 2, "a job that has not ended is not sent twice"
    wait_until(lambda: bool(cluster.names("rayclusters.ray.io")), OPERATOR_S, "KubeRay makes the job's cluster")
    wait_until(lambda: bool(cluster.names("pods", "-l", "roadbed.dev/run=taken-up")), OPERATOR_S, "KubeRay makes pods")
    status, out, err = roadbed("jobs", "why", "taken-up", "--json", *here)
    assert status == 0, err
    told = json.loads(out)
    assert (told["state"], bool(told["reasons"])) == ("starting", True)
    assert "bad_spec" not in {reason["kind"] for reason in told["reasons"]}
    assert json.loads(roadbed("jobs", "list", "--json", *here)[1])[0]["name"] == "taken-up"
    status, out, err = roadbed("jobs", "stop", "taken-up", *here)
    assert status == 0, err
    wait_until(lambda: not cluster.names("rayjobs.ray.io"), OPERATOR_S, "the RayJob goes")


def test_a_job_that_the_operator_refuses_says_why(cluster: RealCluster, roadbed: Command) -> None:
    """Suspended without shutdownAfterJobFinishes: the API server takes it, KubeRay's validation does not."""
    here = ("--namespace", cluster.namespace)
    status, text, err = roadbed(
        "submit", ROOT / "jobs" / "camvid-quick.yaml", "--dry-run", "--set", "name=refused", *here
    )
    assert status == 0, err
    manifest = yaml.safe_load(text)
    manifest["spec"] |= {"suspend": True}
    cluster.kubectl("create", "--filename", "-", stdin=yaml.safe_dump(manifest))

    def kinds() -> set[str]:
        told = json.loads(roadbed("jobs", "why", "refused", "--json", *here)[1])
        return {reason["kind"] for reason in told["reasons"]}

    wait_until(lambda: "bad_spec" in kinds(), OPERATOR_S, "`roadbed jobs why` says that KubeRay refuses the job")
    assert roadbed("jobs", "stop", "refused", *here)[0] == 0
