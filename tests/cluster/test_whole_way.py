"""The whole way on a cluster whose nodes run pods: install, data, submit, logs, promote, serve, upgrade, uninstall.

One test in stages, for each rests on the one before. Every command is one that docs/cluster.md tells its readers.
"""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster_tools import CHART, ROOT, RealCluster, wait_until
from roadbed.data.encoding import encode_image
from roadbed.data.sources.painted import PaintedSource

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(5400)]

Command = Callable[..., tuple[int, str, str]]

RELEASE, JOB, MODEL = "roadbed", "whole-way", "painted"
STORE = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=store"
# A new image, a Ray cluster and two epochs; a cluster upgrade makes the endpoint's Ray cluster anew.
TRAIN_S, READY_S = 1800.0, 900.0
SMALL = (
    f"name={JOB}", "data.uri=s3://roadbed/datasets/town", "data.crop_px=[96, 128]", "model.weights=none",
    "train.epochs=2", "train.eval_every=1", "workers.num_workers=1", f"output.register_as={MODEL}",
)  # fmt: skip


def values(cluster: RealCluster, *more: str) -> list[str]:
    """The chart's values for a laptop, with this image and this model."""
    repository, _, tag = cluster.image.rpartition(":")
    own = (f"image.repository={repository}", f"endpoint.serve.model={MODEL}@champion", f"image.tag={tag}", *more)
    settings = [word for setting in own for word in ("--set-string", setting)]
    return ["--values", str(CHART / "examples" / "kind.yaml"), *settings]


@contextmanager
def store(cluster: RealCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The release's own store, for the commands of this machine."""
    (secret,) = (one["data"] for one in cluster.get("secret", "-l", STORE)["items"])
    with cluster.forwarded(f"{RELEASE}-store", 8333) as port, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_REGION", "us-east-1")
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(key, base64.b64decode(secret[key]).decode())
        yield


def is_served(cluster: RealCluster) -> bool:
    """Whether the endpoint's pods answer and have a model."""
    try:
        with (
            cluster.forwarded(f"{RELEASE}-endpoint-serve-svc", 8000) as port,
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer,
        ):
            return bool(answer.status == 200)
    except (OSError, AssertionError):
        return False


def segment(cluster: RealCluster) -> object:
    """What the endpoint says of a painted street."""
    source = PaintedSource({"val": 1}, size_px=(120, 160))
    image_HW3, _ = source.read(source.splits["val"][0])
    with cluster.forwarded(f"{RELEASE}-endpoint-serve-svc", 8000) as port:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/segment",
            data=encode_image(image_HW3, encoding="png"),
            headers={"Accept": "application/json", "Content-Type": "image/png"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["classes"]


def test_the_whole_way(
    cluster: RealCluster, nodes: int, roadbed: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = ("--namespace", cluster.namespace)

    def do(*words: object) -> str:
        status, out, err = roadbed(*words)
        assert status == 0, f"roadbed {' '.join(map(str, words))}: {err}"
        return out

    def job_state() -> str:
        return str(json.loads(do("jobs", "show", JOB, "--json", *here))["state"])

    # Install.
    cluster.helm("install", RELEASE, str(CHART), *values(cluster))
    cluster.kubectl("rollout", "status", f"statefulset/{RELEASE}-store", "--timeout=600s")
    with store(cluster, monkeypatch):
        # Data, a job, its end, its logs.
        do(
            "data",
            "prepare",
            "painted",
            "s3://roadbed/datasets/town",
            "--train",
            "16",
            "--val",
            "4",
            "--size",
            "160x120",
        )
        settings = [word for setting in SMALL for word in ("--set", setting)]
        do("submit", ROOT / "jobs" / "camvid-quick.yaml", "--profile", "cpu", *settings, *here)
        wait_until(lambda: job_state() in ("finished", "failed"), TRAIN_S, "the job ends")
        assert job_state() == "finished", do("jobs", "why", JOB, *here)
        assert do("jobs", "logs", JOB, *here).strip()
        assert do("runs", "logs", JOB).strip()
        # The champion, which the endpoint takes up by itself.
        do("models", "promote", f"{MODEL}:1", "--force")
    wait_until(lambda: is_served(cluster), READY_S, "the endpoint has taken the champion up")
    classes = segment(cluster)
    assert classes
    cluster.helm("test", RELEASE, "--timeout", "300s")
    # Upgrade: another Ray cluster takes over, and answers the same.
    cluster.helm("upgrade", RELEASE, str(CHART), *values(cluster, "endpoint.env.ROADBED_TEST=upgraded"))
    wait_until(lambda: is_served(cluster), READY_S, "the endpoint answers after the upgrade")
    assert segment(cluster) == classes
    # Uninstall: what is left is what the chart says that it keeps, and goes with the namespace.
    do("jobs", "stop", JOB, *here)
    cluster.helm("uninstall", RELEASE, "--wait", "--timeout", "600s")
    wait_until(lambda: not cluster.names("pods"), READY_S, "all pods are gone")
    assert cluster.names("rayservices.ray.io") == cluster.names("rayjobs.ray.io") == []
