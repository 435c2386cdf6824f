"""The chart as the real helm renders it, and what can be asked of the objects."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[1] / "helm" / "roadbed"
EXAMPLES = sorted(path.name for path in (CHART / "examples").glob("*.yaml"))
# Everything at once: what an example leaves out is rendered here.
WHOLE = (
    "objectStore.embedded.enabled=true,endpoint.haproxy.enabled=true,endpoint.apiKeys.secret=keys,test.keySecret=key,"
    "ray.tokenSecret=token,endpoint.priorityClass=first,networkPolicies.store.cidrs={10.0.0.0/8},"
    "kueue.enabled=true,kueue.cohort=all,endpoint.env.A=b,ingress.enabled=true,ingress.host=a.b,"
    "httpRoute.enabled=true,httpRoute.gateway.name=g,networkPolicies.metadataServer=true,"
    "rbac.submitters[0].kind=User,rbac.submitters[0].name=ann,image.pullSecrets={registry},"
    "retraining.nightly.schedule=0 2 * * *,retraining.nightly.job.kind=train,retraining.nightly.job.name=nightly,"
    "retraining.nightly.job.data.uri=s3://roadbed/datasets/camvid"
)
RENDERINGS = {"defaults": ((), ""), "whole": ((), WHOLE)} | {
    name: ((str(CHART / "examples" / name),), "") for name in EXAMPLES
}
# The variable is taken away from tests, as all that begin so, but not before this line.
CRDS_PATH = Path(os.environ.get("ROADBED_CRDS", Path(__file__).parents[2] / "shared" / "k8s" / "crds"))


def tool(name: str) -> str:
    """The path of helm or kubectl, which `make install` puts beside Python."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.prefix) / "bin"))
    return found or pytest.fail(f"{name} is neither on PATH nor in {sys.prefix}/bin; run `make install`")


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("helm"), *words], capture_output=True, text=True, timeout=60, check=False)


def template(*words: str, chart: Path = CHART, release: str = "roadbed") -> subprocess.CompletedProcess[str]:
    return helm("template", release, str(chart), "--namespace", "roadbed", *words)


@functools.cache
def rendered(values: tuple[str, ...] = (), sets: str = "", release: str = "roadbed") -> tuple[dict[str, Any], ...]:
    """All objects, in order. `values` are paths of files, `sets` is what helm's --set takes."""
    words = [word for path in values for word in ("--values", path)]
    done = template(*words, *(["--set", sets] if sets else []), release=release)
    assert done.returncode == 0, done.stderr
    return tuple(obj for obj in yaml.load_all(done.stdout, yaml.CSafeLoader) if obj)


def rendering(name: str) -> tuple[dict[str, Any], ...]:
    return rendered(*RENDERINGS[name])


def one(objects: tuple[dict[str, Any], ...], kind: str, name: str = "") -> dict[str, Any]:
    """The only object of a kind, of those whose name ends so."""
    found = [obj for obj in objects if obj["kind"] == kind and obj["metadata"]["name"].endswith(name)]
    assert len(found) == 1, [obj["metadata"]["name"] for obj in found]
    return found[0]


def pods_of(obj: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Labels and spec of every pod that an object makes."""
    spec = obj.get("spec", {})
    if obj["kind"] == "Pod":
        yield obj["metadata"]["labels"], spec
    elif obj["kind"] == "RayService":
        cluster = spec["rayClusterConfig"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            yield group["template"]["metadata"]["labels"], group["template"]["spec"]
    else:
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield spec["template"]["metadata"]["labels"], spec["template"]["spec"]


def texts_of(value: Any) -> Iterator[str]:
    """Every text in an object, keys too."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from texts_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)
    else:
        yield str(value)
