"""`roadbed submit --ray-address` against a real Ray with token authentication: the job trains and its run ends."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from roadbed.errors import RoadbedError
from roadbed.runs import Run
from roadbed.runtime.local import LocalState
from roadbed.runtime.ray_jobs import submit_to_ray
from roadbed.runtime.vacate import RayNodes
from roadbed.spec import dump_job
from roadbed.storage import open_store
from support import blocks_dataset, blocks_job

pytestmark = [pytest.mark.s3, pytest.mark.ray]

ROOT_URI = "s3://roadbed/ray-jobs"
PATIENCE_S = 240


def test_a_job_that_is_sent_to_ray_trains_its_run(
    ray_head: LocalState, tmp_path: Path, roadbed: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the Ray that was named, not to the one that the environment names."""
    from ray.job_submission import JobStatus, JobSubmissionClient

    assert ray_head.ray is not None
    blocks_dataset(f"{ROOT_URI}/blocks")
    job = blocks_job(ROOT_URI, "train.epochs=1", name="sent")
    spec = tmp_path / "job.yaml"
    spec.write_text(dump_job(job))
    address = ray_head.ray.dashboard_url
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    status, out, err = roadbed("submit", spec, "--ray-address", address)
    assert status == 0, err
    name = out.split()[2]
    assert name.startswith("sent-")
    monkeypatch.delenv("RAY_ADDRESS")
    client = JobSubmissionClient(address)
    deadline = time.monotonic() + PATIENCE_S
    while not (state := client.get_job_status(name)).is_terminal() and time.monotonic() < deadline:
        time.sleep(1)
    assert state == JobStatus.SUCCEEDED, client.get_job_logs(name)
    run = Run(open_store(job.output.store), job.name).status()
    assert run is not None
    assert run.state == "finished"


def test_a_pod_finds_the_nodes_of_its_ray(ray_head: LocalState) -> None:
    nodes = RayNodes(within_s=60)
    assert nodes.hosts() == {socket.gethostname()}
    nodes.drain({"elsewhere"})
    nodes.drain(None)  # All but the head's, which are none.
    assert nodes.hosts() == {socket.gethostname()}


def test_a_wrong_token_is_told(ray_head: LocalState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ray_head.ray is not None
    other = tmp_path / "token"
    other.write_text("0" * 64)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(other))
    assert "RAY_AUTH_TOKEN" not in os.environ
    with pytest.raises(RoadbedError, match=r"cannot be reached, or refuses: .*RAY_AUTH_TOKEN"):
        submit_to_ray(blocks_job(ROOT_URI), ray_head.ray.dashboard_url, submission="x")
