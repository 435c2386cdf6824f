"""A real Prometheus beside a training, a sweep and an endpoint: every panel, rule and alert is asked, and answers.

Much goes wrong meanwhile, so that there is something to see: a worker is killed, a sample is damaged, a trial explodes,
a version cannot be taken up. What has no answer must be on the lists below, which say why it rightly has none.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml

from damage import SHARD
from dashboards.all import DASHBOARDS
from drivers import driving
from prometheus_api import PATIENCE_S, Prometheus
from roadbed.registry import Registry
from roadbed.runtime import local
from roadbed.runtime.local.processes import free_ports, without_proxy
from roadbed.runtime.local.state import read_state
from roadbed.storage import open_store
from roadbed.telemetry import FOREIGN_METRICS, METRICS, RAY_PREFIX, STATE_METRICS
from rule_files import ALERTS, recorded_series, series_of, without_variables
from serving_support import SCORES, pixels, promote, publish, replicas_below, saved
from support import SMALL_MODEL, blocks_dataset, blocks_job

pytestmark = [pytest.mark.s3, pytest.mark.ray]

ROOT = "s3://roadbed/watched"
DATA = f"{ROOT}/datasets/blocks"
SMALL = (
    f"data.uri={DATA}",
    SMALL_MODEL,
    "data.on_damaged=skip",
    "output.checkpoint_steps=8",
    "workers.retries.pause_s=1",
)
SHARES = {"Sky": 0.2, "Building": 0.3, "Road": 0.3, "Tree": 0.2}

NO_CLUSTER = "there is no Kubernetes here"
NO_GPU = "there is no GPU here"
UNTOLD_SERIES = {
    "ray_node_gpus_utilization": NO_GPU,
    "ray_node_gram_used": NO_GPU,
    "DCGM_FI_DEV_GPU_UTIL": NO_GPU,
    "DCGM_FI_DEV_FB_USED": NO_GPU,
    "DCGM_FI_DEV_XID_ERRORS": NO_GPU,
    "kuberay_job_deployment_status": NO_CLUSTER,
    "kuberay_service_condition_ready": NO_CLUSTER,
    "kube_cronjob_next_schedule_time": NO_CLUSTER,
    "kube_cronjob_status_last_schedule_time": NO_CLUSTER,
    "kube_cronjob_spec_suspend": NO_CLUSTER,
    "kube_job_status_failed": NO_CLUSTER,
    "kube_job_owner": NO_CLUSTER,
}
"""Series that are not told in this test, and why."""
UNANSWERED = {
    "endpoint: Confidence 2": "a week ago nobody asked",
    "training: annotation preemption": "no node was about to go",
}
"""Queries without an answer, of series that are told."""


@dataclass(frozen=True)
class Watched:
    """What the test looks at: since when, and by which Prometheus."""

    prometheus: Prometheus
    since: float
    head_pid: int
    store_pid: int


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A store, a Ray and `roadbed local monitor` of the test's own, for it kills parts of them."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not there: `apt-get install prometheus` brings it")
    folder = tmp_path_factory.mktemp("watched") / "local"
    since = time.time()
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        # Other tests may have the same shards in their cache, whole.
        patch.setenv("ROADBED_CACHE_DIR", str(folder / "cache"))
        state = local.up(folder, num_cpus=4)
        stack.callback(local.down, folder)
        for name, value in (local.environment(state) | {"ROADBED_LOCAL_DIR": str(folder)}).items():
            patch.setenv(name, value)
        url = stack.enter_context(monitoring())
        yield Watched(Prometheus(url), since, state.ray.process.pid, state.store.process.pid)


@contextmanager
def monitoring() -> Iterator[str]:
    """`roadbed local monitor` as a user runs it: the address that it prints; ended as by Ctrl-C."""
    command = [sys.executable, "-m", "roadbed", "local", "monitor", "--port", "0", "--store", ROOT]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stderr.readline()
            found = re.match(r"Prometheus is at (http://127\.0\.0\.1:\d+) ", said)
            assert found, said + process.stderr.read()
            yield found[1]
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 0, err
    state = read_state(Path(os.environ["ROADBED_LOCAL_DIR"]))
    assert state is None or state.monitor is None


@contextmanager
def endpoint() -> Iterator[str]:
    """An endpoint that follows road@champion."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    words = ["serve", "road@champion", "--store", ROOT, "--port", url.rpartition(":")[2]]
    settings = ["serve.engine=torch", "serve.follow_s=0.5", "serve.replicas.max=1"]
    command = [sys.executable, "-m", "roadbed", *words, *(word for one in settings for word in ("--set", one))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert "serving road:1" in process.stdout.readline()
            yield url
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()


@contextmanager
def meanwhile(do: Callable[[], object], *, every_s: float) -> Iterator[None]:
    """Do something again and again for the time of the block."""
    stopped = threading.Event()

    def keep_doing() -> None:
        while not stopped.wait(every_s):
            do()

    thread = threading.Thread(target=keep_doing)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def ask(url: str) -> None:
    """For the mask of a picture, and of what is none."""
    for body in (saved(pixels(120, 160)), b"no picture"):
        post(f"{url}/v1/segment", body)


def post(url: str, body: bytes) -> int:
    try:
        with without_proxy().open(urllib.request.Request(url, body), timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def damage_a_sample() -> None:
    """One shard of the training split gets a wrong byte in its first frame."""
    store = open_store(DATA)
    (key,) = (found.key for found in store.list() if found.key.endswith(SHARD))
    data = bytearray(store.get(key))
    data[700] ^= 1
    store.put(key, bytes(data))


def train_and_lose_a_worker(folder: Path) -> None:
    """A run whose first worker dies once; one sample of every epoch is skipped."""
    with driving(blocks_job(ROOT, *SMALL, "train.epochs=10", "train.clip_norm=1.0", name="street"), folder) as driver:
        driver.until_step(25)
        os.kill(driver.workers()[0], signal.SIGKILL)
        assert driver.wait() == 0, driver.said()


def sweep(folder: Path) -> None:
    """Two trials, one of which explodes."""
    base = blocks_job(ROOT, *SMALL, "train.epochs=4", name="rates").model_dump(mode="json")
    tune = {"space": {"train.learning_rate": {"choice": [1e6, 0.02]}}, "trials": 2, "searcher": "grid"}
    spec = folder / "rates.yaml"
    spec.write_text(yaml.safe_dump(base | {"kind": "tune", "tune": tune | {"baseline": False}}))
    done = subprocess.run([sys.executable, "-m", "roadbed", "tune", spec], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def lived(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Prometheus once all of it has happened."""
    folder = tmp_path_factory.mktemp("lived")
    blocks_dataset(DATA, train=31)
    damage_a_sample()
    registry = Registry(open_store(ROOT))
    card = {"dataset": {"uri": ROOT, "digest": "0" * 64, "split": "val", "class_shares": SHARES}}
    scores = SCORES | {"iou_per_class": {"Sky": 0.9}}
    promote(registry, publish(registry, scores=scores, **card))
    with endpoint() as url, meanwhile(partial(ask, url), every_s=0.2):
        train_and_lose_a_worker(folder)
        promote(registry, publish(registry, seed=1, scores=scores, **card))
        sweep(folder)
        broken = registry.publish("road", {"weights.safetensors": b"none"}, registry.resolve("road:2").card()).number
        promote(registry, broken)
        asked = watched.prometheus
        asked.until(lambda: "RoadbedSwapFailed" in asked.alerts(), "the alert of a failed swap")
        asked.until(lambda: asked.ask("roadbed:serve_drift:distance_1h"), "the rules")
        asked.until(lambda: asked.ask('roadbed_sweep_info{state="finished"}'), "the end of the sweep")
    return watched


def queries() -> dict[str, str]:
    """What panels and annotations ask, everything chosen of each variable."""
    found = {}
    for board in DASHBOARDS:
        for panel in (panel for row in board.rows for panel in row.panels):
            for number, query in enumerate(panel.queries, start=1):
                found[f"{board.name}: {panel.title} {number}"] = query.expr
        for annotation in board.annotations:
            found[f"{board.name}: annotation {annotation.name}"] = annotation.expr
    return {where: without_variables(expression, choice=".*") for where, expression in found.items()}


def test_every_query_has_an_answer(lived: Watched) -> None:
    asked = lived.prometheus
    silent = {
        where: expression
        for where, expression in queries().items()
        if where not in UNANSWERED and not asked.over(expression, since=lived.since)
    }
    unexpected = {where: one for where, one in silent.items() if not series_of(one) & set(UNTOLD_SERIES)}
    assert unexpected == {}
    for where in UNANSWERED:
        assert asked.over(queries()[where], since=lived.since) == []


def test_every_rule_and_alert_can_be_asked(lived: Watched) -> None:
    asked = lived.prometheus
    for name, expression in recorded_series().items():
        assert asked.over(name, since=lived.since), name
        assert asked.over(expression, since=lived.since), name
    for alert in ALERTS.values():
        asked.over(alert["expr"], since=lived.since)
    rules = [rule for group in asked.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(ALERTS) + len(recorded_series())
    assert {rule["health"] for rule in rules} == {"ok"}


def test_every_series_is_told(lived: Watched) -> None:
    """Both tables of our own, and what we ask of others: under these very names, with these labels."""
    told = lived.prometheus.names(since=lived.since)
    expected = {f"{RAY_PREFIX}{series}": metric.labels for metric in METRICS.values() for series in metric.series}
    expected |= {series: metric.labels for metric in STATE_METRICS.values() for series in metric.series}
    expected |= {foreign.name: foreign.labels for foreign in FOREIGN_METRICS.values()}
    assert set(expected) - told == set(UNTOLD_SERIES)
    for name in sorted(set(expected) & told):
        found = lived.prometheus.get("series", **{"match[]": name}, start=lived.since)
        lacking = set(expected[name]) - set().union(*(series.keys() for series in found))
        assert lacking == set(), name


def test_what_went_wrong_is_seen(lived: Watched) -> None:
    asked = lived.prometheus

    def ever(expression: str) -> float:
        found = asked.over(expression, since=lived.since)
        return max(float(value) for series in found for _, value in series["values"])

    assert ever('max(roadbed_run_attempts{run="street"})') == 2
    assert ever('sum(ray_roadbed_train_failures_total{run="street", cause="lost_worker"})') == 1
    assert ever('sum(ray_roadbed_train_resumes_total{run="street"})') == 1
    assert ever('sum(ray_roadbed_data_skipped_samples_total{run="street"})') > 0
    assert ever('sum(roadbed_sweep_trials{sweep="rates", state="failed"})') == 1
    assert ever('sum(roadbed_sweep_trials{sweep="rates", state="finished"})') == 1
    assert ever("max(ray_roadbed_serve_model_version)") == 2
    assert ever('max(roadbed_model_alias_version{model="road", alias="champion"})') == 3
    shares = asked.over("sum by (run) (roadbed:train_phase:share_5m)", since=lived.since)
    for series in shares:
        assert all(abs(float(value) - 1) < 1e-6 for _, value in series["values"] if value != "NaN")


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_kills_raise_the_alerts_of_their_runbooks(lived: Watched, tmp_path: Path) -> None:
    """A worker killed three times, replicas as soon as they come, and a store that is frozen: all three alerts fire."""
    asked = lived.prometheus
    job = blocks_job(ROOT, *SMALL, "train.epochs=200", name="haunted")
    promote(Registry(open_store(ROOT)), 1)
    with endpoint() as url, driving(job, tmp_path) as driver:
        for attempt in range(1, 4):
            driver.until(lambda status, attempt=attempt: status.attempt == attempt and status.step > 0, f"{attempt}")
            os.kill(driver.workers()[0], signal.SIGKILL)
        asked.until(lambda: asked.alerts().get("RoadbedRunRestarts") == "firing", "the alert of restarts")
        driver.kill()
        with meanwhile(partial(kill_replicas, lived.head_pid), every_s=1), frozen(lived.store_pid):
            for alert in ("RoadbedStoreErrors", "RoadbedEndpointReplicas"):
                asked.until(lambda alert=alert: asked.alerts().get(alert) == "pending", alert)
                asked.until(lambda alert=alert: asked.alerts().get(alert) == "firing", alert, patience_s=420)
        asked.until(lambda: post(f"{url}/v1/segment", saved(pixels())) == 200, "an answer again")
        asked.until(lambda: "RoadbedStoreErrors" not in asked.alerts(), "the store to be well again")


def kill_replicas(head_pid: int) -> None:
    """Of our own Ray."""
    for pid in replicas_below(head_pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
