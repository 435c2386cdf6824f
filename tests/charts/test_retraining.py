"""Training by the clock: a pod that submits a job, under a name of its own each time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from chart_support import CHART, one, pods_of, rendering, template
from roadbed.spec import TrainJob


def pod() -> dict[str, Any]:
    ((_, spec),) = pods_of(one(rendering("eks-gpu.yaml"), "CronJob"))
    return spec


def test_the_job_is_one() -> None:
    text = one(rendering("eks-gpu.yaml"), "ConfigMap", "-retrain-nightly")["data"]["job.yaml"]
    job = TrainJob.parse(yaml.safe_load(text), origin="job.yaml")
    assert (job.name, job.workers.num_workers.max, job.output.register_as) == ("nightly", 2, "camvid")
    (volume,) = [volume for volume in pod()["volumes"] if volume["name"] == "job"]
    assert volume["configMap"]["name"] == "roadbed-retrain-nightly"


def test_every_time_has_a_name_that_its_retries_share(tmp_path: Path) -> None:
    """The command as it stands, but for the program: what it is called with is printed."""
    (tmp_path / "roadbed").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "roadbed").chmod(0o755)
    (container,) = pod()["containers"]
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        container["args"],
        env={"PATH": path, "JOB": "roadbed-nightly-29384756"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.split("\n") == [
        "submit",
        "/etc/roadbed/job.yaml",
        "--set",
        "name=nightly-29384756",
        "--namespace=roadbed",
        "--profile=gpu",
        "",
    ]


def test_it_may_submit_and_no_more() -> None:
    objects = rendering("eks-gpu.yaml")
    binding = one(objects, "RoleBinding", "-retraining")
    assert binding["roleRef"]["name"] == "roadbed-submitter"
    assert [subject["name"] for subject in binding["subjects"]] == [pod()["serviceAccountName"]]
    assert one(objects, "CronJob")["spec"]["concurrencyPolicy"] == "Forbid"


def test_it_has_no_keys_of_the_store() -> None:
    """The job that it submits has them; to submit it the API server alone is asked."""
    ((_, spec),) = pods_of(one(rendering("whole"), "CronJob"))
    assert [variable["name"] for container in spec["containers"] for variable in container["env"]] == ["JOB"]


def test_jobs_of_the_cron_job_and_submitters_of_kuberay_have_names_of_their_own() -> None:
    """Both are Jobs: the one is named as the CronJob and a minute, the other as its RayJob: the job and that minute."""
    values = ["--values", str(CHART / "examples" / "eks-gpu.yaml")]
    done = template(*values, "--set", "retraining.nightly.job.name=roadbed-nightly")
    assert done.returncode != 0
    assert "retraining.nightly.job.name: roadbed-nightly is the name of the CronJob" in done.stderr
