"""`roadbed jobs ...` against an API server with a job in it, and its run in a store."""

from __future__ import annotations

import importlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kube_examples import CLUSTER, NAME, event, pod, rayjob, stamp, workload
from kube_server import KubeServer
from roadbed.kube.client import Cluster
from roadbed.runs import Attempt, Run
from roadbed.spec import TrainJob, dump_job, parse_job
from roadbed.storage import open_store

Command = Callable[..., tuple[int, str, str]]


def job_spec(root: Path) -> TrainJob:
    """A job whose run lies below a folder; pods would refuse the uri, the commands about jobs do not."""
    text = (
        f"kind: train\nname: {NAME}\ndata: {{uri: 's3://roadbed/datasets/town'}}\noutput: {{store: 'file://{root}'}}\n"
    )
    return parse_job(text, origin="test")


def job(root: Path, deployment: str = "Running", *, job: str = "RUNNING", age_s: float = 100.0, **more: Any) -> Any:
    """A RayJob that was sent `age_s` ago by this machine's clock."""
    made = rayjob(deployment, job=job, **more)
    made["metadata"]["creationTimestamp"] = stamp(time.time() - age_s)
    made["metadata"]["annotations"] = {
        "roadbed.dev/job": dump_job(job_spec(root)),
        "roadbed.dev/submission": "before",
    }
    return made


def now(one: dict[str, Any], age_s: float = 90.0) -> dict[str, Any]:
    """An object of the examples, made `age_s` ago by this machine's clock."""
    one["metadata"]["creationTimestamp"] = stamp(time.time() - age_s)
    if "lastTimestamp" in one:
        one["lastTimestamp"] = stamp(time.time())
    return one


def begun(root: Path) -> tuple[Run, Attempt]:
    """The job's run, with an attempt at step 7 of 10."""
    run = Run(open_store(f"file://{root}"), NAME)
    run.begin(dump_job(job_spec(root)))
    attempt = run.claim(details={"num_workers": 2, "host": "node"})
    attempt.append("log", {"at": 1000.0, "level": "INFO", "text": "from the store"})
    attempt.flush()
    attempt.beat(7, {"num_steps": 10, "miou": 0.25})
    return run, attempt


@contextmanager
def once_asked(server: KubeServer, part: str, then: Callable[[], object], *, times: int = 1) -> Iterator[None]:
    """While the block runs, `then` is done as soon as the server was asked for paths with `part` in them so often."""

    def wait() -> None:
        while sum(part in request for request in server.requests) < times:
            time.sleep(0.02)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    yield
    thread.join()


@pytest.fixture
def running(kube_server: KubeServer, tmp_path: Path) -> KubeServer:
    """A job that trains: head, two workers, and a submitter that prints."""
    begun(tmp_path)
    kube_server.put(job(tmp_path))
    for one in (pod("head", phase="Running"), pod(number=1, phase="Running"), pod(number=2, phase="Running")):
        kube_server.put(now(one))
    kube_server.put(now(pod("submitter", phase="Running")))
    kube_server.log(f"{NAME}-1", "ray-job-submitter", "step 6", "step 7")
    return kube_server


def test_list_joins_cluster_and_run(running: KubeServer, roadbed: Command) -> None:
    status, out, _ = roadbed("jobs", "list")
    assert status == 0
    for words in (NAME, "train", "running", "3/3", "7/10", "25.0 %"):
        assert words in out
    status, out, _ = roadbed("jobs", "list", "--json")
    (view,) = json.loads(out)
    assert (view["name"], view["state"], view["gpus"], view["run_state"]) == (NAME, "running", 2, "running")


def test_an_empty_namespace_says_how_to_begin(kube_server: KubeServer, roadbed: Command) -> None:
    status, out, _ = roadbed("jobs", "list")
    assert (status, json.loads(roadbed("jobs", "list", "--json")[1])) == (0, [])
    assert "no jobs in namespace roadbed yet; send one with `roadbed submit" in out


def test_jobs_of_others_are_not_listed(kube_server: KubeServer, roadbed: Command, tmp_path: Path) -> None:
    theirs = job(tmp_path)
    theirs["metadata"]["labels"] = {}
    kube_server.put(theirs)
    assert "no jobs" in roadbed("jobs", "list")[1]


def test_show_has_pods_events_and_the_run(running: KubeServer, roadbed: Command, tmp_path: Path) -> None:
    running.put(now(event("Unhealthy", "Readiness probe failed", kind="Pod", name=f"{CLUSTER}-head-1")))
    status, out, _ = roadbed("jobs", "show", NAME)
    assert status == 0
    for words in (
        "town: running, train",
        "(KubeRay: Running/RUNNING)",
        f"run: file://{tmp_path}/runs/town: running, attempt 1, step 7/10, mIoU 25.0 %",
        f"{CLUSTER}-worker-2",
        f"event: {CLUSTER}-head-1: Unhealthy: Readiness probe failed",
    ):
        assert words in out
    shown = json.loads(roadbed("jobs", "show", NAME, "--json")[1])
    assert [one["role"] for one in shown["pod_list"]] == ["submitter", "head", "worker", "worker"]
    assert shown["events"][0]["reason"] == "Unhealthy"


def test_why_says_what_to_do(kube_server: KubeServer, roadbed: Command, tmp_path: Path) -> None:
    said = (
        "couldn't assign flavors to pod set workers: insufficient unused quota for cpu in flavor default, 8 more needed"
    )
    kube_server.put(job(tmp_path, "Suspended", job="", queue="team-a"))
    kube_server.put(workload(said))
    status, out, _ = roadbed("jobs", "why", NAME)
    assert status == 0
    assert out.startswith("town: queued, 1 min 4")
    assert "1. queue team-a is full: 8 more cpu" in out
    assert "   next: wait for other jobs" in out
    told = json.loads(roadbed("jobs", "why", NAME, "--json")[1])
    assert (told["state"], told["reasons"][0]["kind"]) == ("queued", "queue_quota")


def test_why_of_a_job_that_does_well(running: KubeServer, roadbed: Command) -> None:
    assert "nothing is wrong with it" in roadbed("jobs", "why", NAME)[1]


def test_a_cluster_without_kueue_and_without_events_explains_less(
    running: KubeServer, roadbed: Command, tmp_path: Path
) -> None:
    running.absent_groups.add("kueue.x-k8s.io")
    running.forbidden.add(("list", "events"))
    assert roadbed("jobs", "show", NAME)[0] == 0
    running.forbidden.add(("list", "pods"))
    status, _, err = roadbed("jobs", "show", NAME)
    assert status == 1
    assert "you may not read" in err


def test_a_run_that_cannot_be_read_leaves_the_rest(kube_server: KubeServer, roadbed: Command, tmp_path: Path) -> None:
    kube_server.put(job(tmp_path))
    run, _ = begun(tmp_path)
    run.store.put("status.json", b"{}")
    status, out, _ = roadbed("jobs", "show", NAME)
    assert status == 0
    assert "not known here: " in out


def test_a_store_that_does_not_answer_is_asked_once_where_the_pods_have_it(
    kube_server: KubeServer, roadbed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    env = [{"name": "AWS_ENDPOINT_URL", "value": "http://127.0.0.1:1"}, {"name": "AWS_REGION", "value": "eu-west-1"}]
    head = {"template": {"spec": {"containers": [{"name": "ray-head", "env": env}]}}}
    for name in (NAME, "city"):
        made = job(tmp_path, spec={"rayClusterSpec": {"headGroupSpec": head}})
        made["metadata"]["name"] = made["metadata"]["labels"]["roadbed.dev/run"] = name
        made["metadata"]["annotations"]["roadbed.dev/job"] = f"{{kind: train, name: {name}}}"
        kube_server.put(made)
    errors = [view["reasons"][-1] for view in json.loads(roadbed("jobs", "list", "--json")[1])]
    assert [error["kind"] for error in errors] == ["store", "store"]
    assert "http://127.0.0.1:1" in errors[0]["text"]
    assert errors[0]["text"] == errors[1]["text"], "runs/city was not asked for"


@pytest.mark.parametrize("command", ["show", "why", "logs", "stop", "resume"])
def test_a_misspelt_name_is_met_with_the_nearest(
    running: KubeServer, roadbed: Command, tmp_path: Path, command: str
) -> None:
    status, _, err = roadbed("jobs", command, "twon", "--store", f"file://{tmp_path}")
    assert status == 1
    assert "twon: no such job in namespace roadbed; did you mean town?" in err


def test_logs_are_those_of_the_driver(running: KubeServer, roadbed: Command) -> None:
    assert roadbed("jobs", "logs", NAME) == (0, "step 6\nstep 7\n", "")
    assert roadbed("jobs", "logs", NAME, "--tail", "1")[1] == "step 7\n"
    first = roadbed("jobs", "logs", NAME, "--json")[1].splitlines()[0]
    assert json.loads(first).items() >= {"pod": f"{NAME}-1", "text": "step 6"}.items()


def test_logs_of_a_pod_by_its_name(running: KubeServer, roadbed: Command) -> None:
    running.log(f"{CLUSTER}-head-1", "ray-head", "Ray runtime started.")
    assert roadbed("jobs", "logs", NAME, "--pod", f"{CLUSTER}-head-1")[1] == "Ray runtime started.\n"
    status, _, err = roadbed("jobs", "logs", NAME, "--pod", "none")
    assert status == 1
    assert "not there" in err


def test_logs_come_from_the_store_when_the_pods_are_gone(
    kube_server: KubeServer, roadbed: Command, tmp_path: Path
) -> None:
    begun(tmp_path)
    kube_server.put(job(tmp_path, "Complete", job="SUCCEEDED"))
    assert roadbed("jobs", "logs", NAME)[1] == "1970-01-01 00:16:40 INFO    from the store\n"
    assert json.loads(roadbed("jobs", "logs", NAME, "--json", "-f")[1])["text"] == "from the store"


def test_a_job_without_any_log_says_so(kube_server: KubeServer, roadbed: Command, tmp_path: Path) -> None:
    kube_server.put(job(tmp_path))
    status, _, err = roadbed("jobs", "logs", NAME)
    assert status == 1
    assert "has no log yet" in err
    assert "roadbed jobs why town" in err


def test_logs_are_followed_over_tries(
    running: KubeServer, roadbed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("roadbed.cli.jobs.logs"), "POLL_S", 0.05)
    running.log(f"{NAME}-1", "ray-job-submitter", is_open=True)

    def go_on() -> None:
        running.put(now(pod("submitter", 2, phase="Running"), age_s=1.0))
        running.log(f"{NAME}-2", "ray-job-submitter", "step 8, of another try")
        running.log(f"{NAME}-1", "ray-job-submitter", "the last of the first")
        running.put(job(tmp_path, "Complete", job="SUCCEEDED"))

    with once_asked(running, f"{NAME}-1/log", go_on):
        status, out, _ = roadbed("jobs", "logs", NAME, "--follow")
    assert (status, out) == (0, "step 6\nstep 7\nthe last of the first\nstep 8, of another try\n")


def test_following_ends_when_the_job_is_taken_away(
    running: KubeServer, roadbed: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("roadbed.cli.jobs.logs"), "POLL_S", 0.05)
    with once_asked(running, f"{NAME}-1/log", lambda: Cluster.connect().delete("rayjobs", NAME)):
        status, out, _ = roadbed("jobs", "logs", NAME, "--follow")
    assert (status, out) == (0, "step 6\nstep 7\n")


def test_stop_lets_the_run_save(
    running: KubeServer, roadbed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("roadbed.cli.jobs.stop"), "POLL_S", 0.05)
    run = Run(open_store(f"file://{tmp_path}"), NAME)

    def save() -> None:
        while not (status := run.status()) or not status.is_asked_to_stop:
            time.sleep(0.02)
        run.fail("stopped by its user", attempt=1, state="stopped")

    thread = threading.Thread(target=save)
    thread.start()
    status, out, err = roadbed("jobs", "stop", NAME, "--grace-s", "20")
    thread.join()
    assert status == 0
    assert out == "town: stopped (it was running), its run saved what it did\nnext: roadbed jobs resume town\n"
    assert "asked attempt 1 to save" in err
    assert running.get("rayjobs", NAME) is None


def test_a_follower_goes_on_where_its_connection_broke(
    running: KubeServer, roadbed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log ends, as a connection does, while the pod is still running; then it has more lines."""
    monkeypatch.setattr(importlib.import_module("roadbed.cli.jobs.logs"), "POLL_S", 0.1)

    def go_on() -> None:
        running.log(f"{NAME}-1", "ray-job-submitter", "step 8")
        running.put(job(tmp_path, "Complete", job="SUCCEEDED"))

    with once_asked(running, f"{NAME}-1/log", go_on, times=2):
        status, out, _ = roadbed("jobs", "logs", NAME, "--follow", "--tail", "1")
    assert (status, out) == (0, "step 7\nstep 8\n")


def test_following_tells_why_there_is_nothing_yet(
    kube_server: KubeServer, roadbed: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("roadbed.cli.jobs.logs"), "POLL_S", 0.05)
    begun(tmp_path)
    kube_server.put(job(tmp_path, "Suspended", job="", queue="team-a"))
    ended = job(tmp_path, "Complete", job="SUCCEEDED")
    with once_asked(kube_server, f"rayjobs/{NAME}", lambda: kube_server.put(ended), times=4):
        status, out, err = roadbed("jobs", "logs", NAME, "--follow")
    assert (status, out) == (0, "1970-01-01 00:16:40 INFO    from the store\n")
    assert err.startswith("town: queued: queue team-a: ")
    assert "Kueue has made no Workload" in err


def test_a_job_that_has_ended_is_taken_away(kube_server: KubeServer, roadbed: Command, tmp_path: Path) -> None:
    kube_server.put(job(tmp_path, "Failed", job="FAILED"))
    assert roadbed("jobs", "stop", NAME)[1] == "town: taken away (it was failed)\n"


def test_stop_does_not_wait_for_ever(running: KubeServer, roadbed: Command) -> None:
    status, out, _ = roadbed("jobs", "stop", NAME, "--grace-s", "0", "--json")
    assert (status, json.loads(out)) == (0, {"name": NAME, "was": "running", "is_saved": False})
    assert running.get("rayjobs", NAME) is None


def test_a_job_that_waits_is_stopped_at_once(kube_server: KubeServer, roadbed: Command, tmp_path: Path) -> None:
    kube_server.put(job(tmp_path, "Suspended", job="", queue="team-a"))
    assert roadbed("jobs", "stop", NAME)[1] == "town: stopped (it was queued)\n"


def test_resume_sends_the_job_anew(kube_server: KubeServer, roadbed: Command, tmp_path: Path) -> None:
    run, _ = begun(tmp_path)
    run.fail("worker 1 was lost")
    kube_server.put(job(tmp_path, "Failed", job="FAILED", reason="AppFailed", message="exit code 1"))
    status, out, err = roadbed("jobs", "resume", NAME)
    assert status == 0, err
    assert "town: sent anew; its run goes on from its last checkpoint" in out
    sent = kube_server.get("rayjobs", NAME)
    assert sent is not None
    assert "status" not in sent
    annotations = sent["metadata"]["annotations"]
    assert annotations["roadbed.dev/job"] == dump_job(job_spec(tmp_path))
    assert annotations["roadbed.dev/submission"] != "before"


def test_resume_finds_a_job_that_is_gone_by_its_run(kube_server: KubeServer, roadbed: Command, tmp_path: Path) -> None:
    begun(tmp_path)
    status, out, err = roadbed("jobs", "resume", NAME, "--store", f"file://{tmp_path}", "--json")
    assert (status, json.loads(out)["how"]) == (0, "sent anew"), err
    assert f"the spec is that of file://{tmp_path}/runs/town" in err
    assert kube_server.get("rayjobs", NAME) is not None


def test_resume_wakes_a_job_that_was_suspended(kube_server: KubeServer, roadbed: Command, tmp_path: Path) -> None:
    kube_server.put(job(tmp_path, "Suspended", job="", spec={"suspend": True}))
    assert "town: woken" in roadbed("jobs", "resume", NAME)[1]
    found = kube_server.get("rayjobs", NAME)
    assert found is not None
    assert found["spec"]["suspend"] is False


def test_what_goes_on_or_is_finished_is_not_resumed(kube_server: KubeServer, roadbed: Command, tmp_path: Path) -> None:
    kube_server.put(job(tmp_path))
    status, _, err = roadbed("jobs", "resume", NAME)
    assert (status, "has not ended (Running)" in err) == (2, True)
    _, attempt = begun(tmp_path)
    attempt.finish("finished", step=10, progress={})
    kube_server.put(job(tmp_path, "Complete", job="SUCCEEDED"))
    status, _, err = roadbed("jobs", "resume", NAME)
    assert (status, "its run is finished (step 10)" in err) == (2, True)


def test_a_rayjob_without_a_spec_is_not_resumed(kube_server: KubeServer, roadbed: Command, tmp_path: Path) -> None:
    theirs = job(tmp_path, "Failed", job="FAILED")
    del theirs["metadata"]["annotations"]
    kube_server.put(theirs)
    status, _, err = roadbed("jobs", "resume", NAME, "--store", f"file://{tmp_path}")
    assert (status, "was not made by `roadbed submit`" in err) == (2, True)


@pytest.mark.parametrize("command", ["show", "why", "logs", "stop", "resume"])
def test_jobs_of_others_are_left_alone(kube_server: KubeServer, roadbed: Command, tmp_path: Path, command: str) -> None:
    theirs = job(tmp_path)
    theirs["metadata"]["labels"] = {"roadbed.dev/run": NAME}
    kube_server.put(theirs)
    status, _, err = roadbed("jobs", command, NAME)
    assert (status, "was not made by roadbed" in err) == (2, True)
    assert kube_server.get("rayjobs", NAME) is not None


def test_an_operator_that_is_not_installed_is_named(kube_server: KubeServer, roadbed: Command) -> None:
    kube_server.absent_groups.add("ray.io")
    status, _, err = roadbed("jobs", "list")
    assert (status, "the KubeRay operator is not installed" in err) == (1, True)
