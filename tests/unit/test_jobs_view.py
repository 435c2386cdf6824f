"""The one state of a job, joined from what KubeRay, Kueue, pods and the run say."""

from __future__ import annotations

from typing import Any

import pytest

from kube_examples import NOW, RUNNING, facts, pod, rayjob, run_status, stamp, workload
from roadbed.kube.facts import JobFacts
from roadbed.kube.gather import Snapshot, store_of, store_settings
from roadbed.kube.jobs import job_view, state_of


def deleted() -> dict[str, Any]:
    job = rayjob("Running", job="RUNNING")
    job["metadata"]["deletionTimestamp"] = stamp(NOW - 5)
    return job


STATES: dict[str, tuple[JobFacts, str]] = {
    "nobody has looked": (facts(rayjob("")), "starting"),
    "pods are made": (facts(rayjob()), "starting"),
    "held back by Kueue": (facts(rayjob("Suspended", queue="a"), workload=workload("no room")), "queued"),
    "let in by Kueue": (facts(rayjob("Suspended", queue="a"), workload=workload(admitted=True)), "starting"),
    "suspended by hand": (facts(rayjob("Suspended")), "suspended"),
    "no heartbeat yet": (facts(rayjob("Running", job="RUNNING"), *RUNNING), "starting"),
    "trains": (facts(rayjob("Running", job="RUNNING"), run_status=run_status()), "running"),
    "silent": (facts(rayjob("Running"), run_status=run_status("lost", heartbeat_age_s=99)), "lost"),
    "tries again by itself": (facts(rayjob("Running"), run_status=run_status("retrying")), "retrying"),
    "tried again by KubeRay": (facts(rayjob("Retrying"), run_status=run_status("failed")), "retrying"),
    "trained by an earlier job": (
        facts(rayjob("Running", age_s=50.0), run_status=run_status(heartbeat_age_s=90.0)),
        "starting",
    ),
    "has just finished": (facts(rayjob("Running"), run_status=run_status("finished")), "running"),
    "finished": (facts(rayjob("Complete", job="SUCCEEDED"), run_status=run_status("finished")), "finished"),
    "failed": (facts(rayjob("Failed", job="FAILED"), run_status=run_status("failed")), "failed"),
    "ended in peace, and failed": (facts(rayjob("Complete"), run_status=run_status("failed")), "failed"),
    "stopped through the store": (facts(rayjob("Failed"), run_status=run_status("stopped")), "stopped"),
    "stopped through Ray": (facts(rayjob("Complete", job="STOPPED")), "stopped"),
    "refused": (facts(rayjob("ValidationFailed")), "failed"),
    "being deleted": (facts(deleted(), run_status=run_status()), "stopping"),
}


@pytest.mark.parametrize(("known", "state"), STATES.values(), ids=STATES)
def test_one_word_for_how_a_job_stands(known: JobFacts, state: str) -> None:
    assert state_of(known) == state


def test_a_view_counts_pods_and_gpus() -> None:
    pods = (*RUNNING, pod(number=3), pod("submitter", phase="Running"))
    view = job_view(rayjob("Running", job="RUNNING"), pods, (), None, run_status(), NOW)
    assert (view.pods, view.ready_pods, view.gpus) == (4, 3, 3)
    assert (view.step, view.num_steps, view.miou, view.ray) == (120, 400, 0.5, "Running/RUNNING")
    assert view.to_json()["age_s"] == 600.0


def test_the_age_of_a_job_ends_with_it() -> None:
    ended = rayjob("Complete", job="SUCCEEDED", startTime=stamp(NOW - 590), endTime=stamp(NOW - 100))
    assert job_view(ended, (), (), None, None, NOW).age_s == 500.0


def test_pods_and_workloads_of_an_earlier_job_of_the_name_are_not_its_own() -> None:
    old = pod("head", phase="Running", age_s=2000.0)
    foreign = workload("no room")
    foreign["metadata"]["ownerReferences"] = [{"uid": "of another"}]
    found = Snapshot([old, pod("head")], [], [foreign]).of(rayjob())
    assert ([one["metadata"]["creationTimestamp"] for one in found.pods], found.workload) == ([stamp(NOW - 300)], None)


def test_where_the_run_of_a_job_lies() -> None:
    job = rayjob(spec={"rayClusterSpec": {"headGroupSpec": {"template": {"spec": {"containers": [{"env": []}]}}}}})
    assert (store_of(job), store_settings(job)) == ("s3://roadbed", {})
    env = [
        {"name": "AWS_ENDPOINT_URL", "value": "http://store:8333"},
        {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "store", "key": "k"}}},
    ]
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"] = env
    assert store_settings(job) == {"AWS_ENDPOINT_URL": "http://store:8333"}
    job["metadata"]["annotations"]["roadbed.dev/job"] = "not: [yaml"
    assert store_of(job) == "s3://roadbed"
    assert store_settings(rayjob()) == {}
