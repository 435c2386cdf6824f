"""What pods do before they go, with a real run in a folder and a Ray that only notes what it is told."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from roadbed.errors import StoreError
from roadbed.runs import Attempt, CheckpointRef, Pointer, Run
from roadbed.runtime.local.processes import free_ports
from roadbed.runtime.vacate import RayNodes, vacate
from roadbed.spec import TrainJob, TuneJob, parse_kind
from roadbed.storage import open_store
from roadbed.tuning.sweep import LiveSweep, Sweep
from support import Clock, blocks_job

Step = Callable[[], None]


class Pod:
    """A pod called `host`, whose waiting is `then`, second by second."""

    def __init__(self, job: TrainJob | TuneJob, host: str, *, cluster: Collection[str] | None = None) -> None:
        self.job, self.host, self.cluster = job, host, cluster
        self.clock = Clock()
        self.drained: list[Collection[str] | None] = []

    def vacate(self, *then: Step, within_s: float = 30) -> bool:
        steps = iter(then)

        def sleep(seconds: float) -> None:
            self.clock.sleep(seconds)
            next(steps, lambda: None)()

        return vacate(
            self.job,
            host=self.host,
            cluster_hosts=self.cluster,
            drain=self.drained.append,
            within_s=within_s,
            clock=self.clock,
            sleep=sleep,
        )


@pytest.fixture
def job(tmp_path: Path) -> TrainJob:
    return blocks_job(tmp_path)


@pytest.fixture
def run(job: TrainJob) -> Run:
    return Run(open_store(job.output.store), job.name)


def claim(run: Run, *hosts: str) -> Attempt:
    return run.claim(details={"workers": [f"{host}, pid 7" for host in hosts]})


def save(attempt: Attempt, step: int) -> None:
    ref = CheckpointRef(f"{attempt.folder}/checkpoints/{step}", attempt.number, step)
    attempt.move_pointer(Pointer(checkpoints=(ref,)))


def test_a_workers_pod_drains_its_node_and_waits_for_a_newer_checkpoint(job: TrainJob, run: Run) -> None:
    attempt = claim(run, "worker-a", "worker-b")
    save(attempt, 4)
    pod = Pod(job, "worker-b")
    assert pod.vacate(lambda: None, lambda: save(attempt, 9))
    assert (pod.drained, pod.clock.now) == ([{"worker-b"}], 1_002)
    assert not attempt.asked_to_stop.is_set()


def test_a_pod_without_workers_goes_at_once(job: TrainJob, run: Run) -> None:
    assert Pod(job, "worker-a").vacate()
    claim(run, "worker-a").finish("finished", step=1, progress={})
    pods = [Pod(job, "worker-a"), Pod(job, "head", cluster={"head", "worker-a"})]
    claim(run, "another")
    pods += [Pod(job, "worker-a"), Pod(job, "head", cluster={"head", "worker-a"})]
    for pod in pods:
        assert pod.vacate()
        assert (pod.drained, pod.clock.now) == ([], 1_000)


def test_a_head_asks_its_run_to_stop_and_waits_until_it_has(job: TrainJob, run: Run) -> None:
    attempt = claim(run, "worker-a")
    pod = Pod(job, "head", cluster={"head", "worker-a"})

    def stop() -> None:
        attempt.beat(5, {})
        assert attempt.asked_to_stop.is_set()
        attempt.finish("stopped", step=5, progress={})

    assert pod.vacate(stop)
    assert (pod.drained, pod.clock.now) == ([], 1_001)


def test_a_run_that_goes_on_elsewhere_is_no_reason_to_stay(job: TrainJob, run: Run) -> None:
    claim(run, "worker-a")
    assert Pod(job, "worker-a").vacate(lambda: None, lambda: claim(run, "worker-b") and None)


def test_time_runs_out(job: TrainJob, run: Run) -> None:
    claim(run, "worker-a")
    pod = Pod(job, "worker-a")
    assert not pod.vacate(within_s=12)
    assert pod.clock.now == 1_012


def test_a_store_that_is_away_for_a_while_is_asked_again(
    job: TrainJob, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = claim(run, "worker-a")
    status = Run.status

    def away(self: Run) -> None:
        raise StoreError("away")

    def leave() -> None:
        monkeypatch.setattr(Run, "status", away)

    def come_back() -> None:
        monkeypatch.setattr(Run, "status", status)
        save(attempt, 3)

    assert Pod(job, "worker-a").vacate(leave, come_back)


def test_a_sweeps_head_drains_all_nodes_for_trials_would_end_by_a_stop(job: TrainJob) -> None:
    text = (
        f"kind: tune\nname: sweep\ndata: {{uri: '{job.data.uri}'}}\noutput: {{store: '{job.output.store}'}}\n"
        "train: {epochs: 4}\ntune: {trials: 3, space: {train.learning_rate: {uniform: [0.1, 0.2]}}}\n"
    )
    tune = parse_kind(TuneJob, text, origin="spec")
    root = open_store(job.output.store)
    sweep = Sweep(root, "sweep")
    live = LiveSweep(sweep.run.claim(details={}), {})
    attempts = []
    for number in range(3):
        record = live.begin(number, {})
        attempts.append(claim(sweep.run_of(record), "worker-a"))
    live.end(0, "finished")
    pod = Pod(tune, "head", cluster={"head", "worker-a"})
    assert pod.vacate(lambda: save(attempts[1], 3), lambda: save(attempts[2], 3))
    assert (pod.drained, pod.clock.now) == ([None], 1_002)
    assert not any(attempt.asked_to_stop.is_set() for attempt in attempts)


@pytest.mark.parametrize("host", ["127.0.0.1", "head-svc.invalid"])
def test_a_ray_that_is_gone_is_not_asked(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RayNodes, "_gcs", lambda _: pytest.fail("Ray itself would try for long"))
    monkeypatch.setenv("RAY_ADDRESS", f"{host}:{free_ports(1)[0]}")
    nodes = RayNodes(within_s=1)
    nodes.drain(None)
    assert nodes.hosts() == set()


def test_a_ray_that_does_not_answer_has_no_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: RayNodes) -> None:
        raise OSError("gone")

    monkeypatch.setattr(RayNodes, "_gcs", gone)
    nodes = RayNodes(within_s=1)
    nodes.drain(None)
    assert nodes.hosts() == set()


def test_a_ray_that_ends_while_it_is_told_keeps_no_pod_from_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def ends(_: RayNodes, node_id: str) -> None:
        raise OSError(f"gone before {node_id}")

    monkeypatch.setattr(RayNodes, "_alive", lambda _: [("a0", "worker-a", False), ("b1", "head", True)])
    monkeypatch.setattr(RayNodes, "_drain", ends)
    RayNodes(within_s=1).drain(None)
    assert [record.getMessage() for record in caplog.records] == ["Ray does not drain node=worker-a: gone before a0"]


def test_an_endpoint_has_nothing_to_save(tmp_path: Path, roadbed: Callable[..., tuple[int, str, str]]) -> None:
    spec = tmp_path / "serve.yaml"
    spec.write_text("kind: serve\nserve: {model: town@champion}\n")
    status, _, err = roadbed("vacate", spec, "--within-s", "1")
    assert (status, "serve has no checkpoints to save" in err) == (2, True)


def test_a_pod_whose_run_is_over_is_told_so(
    job: TrainJob, tmp_path: Path, roadbed: Callable[..., tuple[int, str, str]]
) -> None:
    spec = tmp_path / "job.yaml"
    spec.write_text(
        f"kind: train\nname: blocks\ndata: {{uri: '{job.data.uri}'}}\noutput: {{store: '{job.output.store}'}}\n"
    )
    assert roadbed("vacate", spec, "--within-s", "1") == (0, "", "saved, or nothing to save\n")
