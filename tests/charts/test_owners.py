"""No object of Kubernetes is made by two: the chart, k8s/, `roadbed submit`, and controllers for their objects."""

from __future__ import annotations

import functools
import itertools
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_support import RENDERINGS, one, rendering, tool
from roadbed.kube.profile import built_in_profiles
from roadbed.kube.rayjob import rayjob
from roadbed.spec import ServeJob, load_any

ROOT = Path(__file__).parents[2]
OVERLAYS = ("cpu", "gpu", "laptop")
CLUSTER_SCOPED = {"Namespace", "PriorityClass", "ClusterQueue", "ResourceFlavor", "WorkloadPriorityClass"}
MINUTE = "29384756"  # that a CronJob ran at

Manifest = dict[str, Any]
Identity = tuple[str, str, str]


def identity(kind: str, name: str, namespace: str = "roadbed") -> Identity:
    return kind, "" if kind in CLUSTER_SCOPED else namespace, name


def made_of(obj: Manifest) -> Iterator[Identity]:
    """The object, and those of foreseeable names that controllers make of it.

    Sources: KubeRay's BuildHeadServiceForRayJob, createNewK8sJob, BuildServeService; Kubernetes' pages on CronJob and
    StatefulSet. Clusters of Ray have random letters at the end of their names.
    """
    kind, name = obj["kind"], obj["metadata"]["name"]
    namespace = obj["metadata"].get("namespace", "roadbed")
    offspring = {
        "RayJob": [("Job", name), ("Service", f"{name}-head-svc")],
        "RayService": [("Service", f"{name}-head-svc"), ("Service", f"{name}-serve-svc")],
        "CronJob": [("Job", f"{name}-{MINUTE}")],
        "StatefulSet": [("PersistentVolumeClaim", f"data-{name}-0"), ("Pod", f"{name}-0")],
    }
    for found in [(kind, name), *offspring.get(kind, [])]:
        yield identity(*found, namespace)


def all_made(objects: Iterable[Manifest]) -> list[Identity]:
    return [found for obj in objects for found in made_of(obj)]


@functools.cache
def overlay(name: str) -> tuple[Manifest, ...]:
    command = [tool("kubectl"), "kustomize", str(ROOT / "k8s" / "overlays" / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return tuple(yaml.safe_load_all(done.stdout))


@functools.cache
def submitted() -> tuple[Manifest, ...]:
    """Every job of jobs/, and the one that the chart submits by the clock."""
    profiles, manifests = built_in_profiles(), []
    scheduled = yaml.safe_load(one(rendering("eks-gpu.yaml"), "ConfigMap", "-retrain-nightly")["data"]["job.yaml"])
    for path in sorted((ROOT / "jobs").glob("*.yaml")):
        job = load_any(path)
        if not isinstance(job, ServeJob):
            profile = profiles["gpu" if job.workers.gpus_per_worker else "cpu"]
            manifests.append(rayjob(job, profile, namespace="roadbed"))
    job = load_any(ROOT / "jobs" / "camvid-quick.yaml", (f"name={scheduled['name']}-{MINUTE}",))
    assert not isinstance(job, ServeJob)
    return (*manifests, rayjob(job, profiles["cpu"], namespace="roadbed"))


@pytest.mark.parametrize("name", RENDERINGS)
def test_the_chart_makes_nothing_twice(name: str) -> None:
    found = all_made(rendering(name))
    assert len(found) == len(set(found))


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_makes_nothing_twice(name: str) -> None:
    found = all_made(overlay(name))
    assert len(found) == len(set(found))


def test_chart_kustomizations_and_submit_share_no_object() -> None:
    """Renderings are alternatives, and so are overlays; whichever are taken, with whichever jobs, they do not meet."""
    owners = {
        "the chart": set(all_made(obj for name in RENDERINGS for obj in rendering(name))),
        "k8s/": set(all_made(obj for name in OVERLAYS for obj in overlay(name))),
        "roadbed submit": set(all_made(submitted())),
    }
    assert all(len(found) > 10 for found in owners.values())
    for (first, ours), (second, theirs) in itertools.combinations(owners.items(), 2):
        assert not ours & theirs, f"{first} and {second} both make {sorted(ours & theirs)}"


def test_a_job_named_as_a_cron_job_would_be_found() -> None:
    """KubeRay could not make its submitter, for a Job of that name is there; the chart refuses such a name."""
    cron_job = one(rendering("eks-gpu.yaml"), "CronJob")
    name = f"{cron_job['metadata']['name']}-{MINUTE}"
    clashing = {"kind": "RayJob", "metadata": {"name": name, "namespace": "roadbed"}}
    assert set(made_of(cron_job)) & set(made_of(clashing)) == {("Job", "roadbed", name)}
