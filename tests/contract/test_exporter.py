"""`roadbed exporter` over a real S3 server: what it tells, that it is valid, what stands while the store is away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from fault_proxy import proxied
from faults import status_of
from roadbed.exporter import StateCollector, listen, parts_of
from roadbed.registry import Gates, Registry
from roadbed.runs import Run
from roadbed.runtime import local
from roadbed.storage import Store, open_store
from roadbed.telemetry import METRICS, STATE_METRICS
from state_examples import fill
from support import Clock

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def root(s3_server: local.LocalState, clock: Clock) -> Store:
    store = open_store(f"s3://roadbed/exporter/{uuid.uuid4().hex}")
    broken = Run(store, "broken", clock=clock)
    broken.claim(details={})
    broken.fail("the loss is no number", attempt=1)
    broken.close_attempt(1, cause="diverged", reason="the loss is no number", verdict="not tried again")
    fill(store, clock)
    return store


def scrape(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return str(answer.read().decode())


def samples(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(text: str, name: str, **labels: str) -> float:
    found = [one.value for one in samples(text) if one.name == name and one.labels == labels]
    assert len(found) == 1, (name, labels, found)
    return float(found[0])


@pytest.fixture(scope="module")
def address(root: Store, clock: Clock) -> Iterator[str]:
    collector = StateCollector(parts_of(root, newest=50, clock=clock), cache_s=0, timeout_s=60)
    with listen(collector, host="127.0.0.1", port=0) as url:
        yield url


def test_everything_that_lies_in_the_store_is_told(address: str, clock: Clock) -> None:
    text = scrape(address)
    assert value(text, "roadbed_runs", kind="train", state="finished") == 1
    assert value(text, "roadbed_runs", kind="train", state="running") == 0
    assert value(text, "roadbed_runs", kind="train", state="lost") == 1, "alive gave its last sign a minute ago"
    assert value(text, "roadbed_runs", kind="trial", state="finished") == 2
    assert value(text, "roadbed_run_info", run="alive", kind="train", state="lost") == 1
    assert value(text, "roadbed_run_failure_info", run="broken", cause="diverged") == 1
    assert value(text, "roadbed_run_attempts", run="town") == 2
    assert value(text, "roadbed_run_steps", run="alive") == 7
    assert value(text, "roadbed_run_planned_steps", run="alive") == 20
    assert value(text, "roadbed_run_miou_ratio", run="town", which="newest") == 0.61
    assert value(text, "roadbed_run_miou_ratio", run="town", which="best") == 0.64
    assert value(text, "roadbed_run_pixel_accuracy_ratio", run="town") == 0.9
    assert value(text, "roadbed_run_heartbeat_timestamp_seconds", run="alive") == 1100
    assert value(text, "roadbed_sweeps", state="running") == 1
    assert value(text, "roadbed_sweep_info", sweep="streets", state="running") == 1
    assert value(text, "roadbed_sweep_trials", sweep="streets", state="stopped") == 1
    assert value(text, "roadbed_sweep_trials", sweep="streets", state="running") == 1
    assert value(text, "roadbed_sweep_planned_trials", sweep="streets") == 3
    assert value(text, "roadbed_sweep_best_score", sweep="streets") == 0.6
    assert value(text, "roadbed_sweep_gpu_seconds", sweep="streets") == (80 + 40) * 2
    assert value(text, "roadbed_model_versions", model="road") == 3
    assert value(text, "roadbed_model_version_miou_ratio", model="road", version="3") == 0.7
    assert value(text, "roadbed_model_alias_version", model="road", alias="champion") == 2
    assert value(text, "roadbed_model_promotions_total", model="road", alias="champion") == 2
    assert value(text, "roadbed_model_promotion_timestamp_seconds", model="road", alias="champion") == clock.now
    assert value(text, "roadbed_champion_miou_ratio", model="road") == 0.6
    assert value(text, "roadbed_champion_class_iou_ratio", **{"model": "road", "class": "Sky"}) == 0.9
    assert value(text, "roadbed_champion_pixel_accuracy_ratio", model="road") == 0.9
    assert value(text, "roadbed_dataset_samples", dataset="blocks", split="train") == 13
    assert value(text, "roadbed_dataset_bytes", dataset="blocks") > 1000
    assert value(text, "roadbed_dataset_is_damaged", dataset="blocks") == 0
    for part in ("runs", "sweeps", "models", "datasets"):
        assert value(text, "roadbed_exporter_is_stale", part=part) == 0
        assert value(text, "roadbed_exporter_errors_total", part=part) == 0
        assert value(text, "roadbed_exporter_damaged_objects", part=part) == 0
        assert value(text, "roadbed_exporter_left_out", part=part) == 0
        assert value(text, "roadbed_exporter_read_seconds", part=part) > 0
        assert value(text, "roadbed_exporter_cache_age_seconds", part=part) >= 0


def test_every_metric_of_the_table_is_told_and_no_other(address: str) -> None:
    families = {family.name: family for family in text_string_to_metric_families(scrape(address))}
    assert set(families) == set(STATE_METRICS)
    assert not set(families) & set(METRICS)
    for name, family in families.items():
        metric = STATE_METRICS[name]
        assert (family.type, family.documentation) == (metric.kind, metric.description)
        assert {tuple(sorted(one.labels)) for one in family.samples} == {tuple(sorted(metric.labels))}


def test_promtool_has_nothing_to_say(address: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not there: `apt-get install prometheus` brings it")
    text = scrape(address)
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_are_told_for_the_newest_alone(root: Store, clock: Clock) -> None:
    with listen(
        StateCollector(parts_of(root, newest=1, clock=clock), cache_s=0, timeout_s=60), host="127.0.0.1", port=0
    ) as url:
        text = scrape(url)
    assert {one.labels["run"] for one in samples(text) if one.name == "roadbed_run_info"} == {"streets-0001"}
    versions = {one.labels["version"] for one in samples(text) if one.name == "roadbed_model_version_miou_ratio"}
    assert versions == {"3"}
    assert value(text, "roadbed_exporter_left_out", part="runs") == 4
    assert value(text, "roadbed_runs", kind="trial", state="finished") == 2, "counts are of everything"


def test_while_the_store_is_away_the_last_good_answer_stands(
    root: Store, clock: Clock, s3_server: local.LocalState, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert s3_server.store is not None
    with proxied(s3_server.store.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        parts = parts_of(open_store(root.uri), newest=50, clock=clock)
        with listen(StateCollector(parts, cache_s=0, timeout_s=60), host="127.0.0.1", port=0) as url:
            before = scrape(url)
            proxy.rule = lambda method, headers: status_of(403, "AccessDenied")
            away = scrape(url)
            proxy.heal()
            again = scrape(url)
    assert value(away, "roadbed_model_versions", model="road") == 3
    assert value(away, "roadbed_run_steps", run="alive") == 7
    for part in ("runs", "sweeps", "models", "datasets"):
        assert value(before, "roadbed_exporter_errors_total", part=part) == 0
        assert value(away, "roadbed_exporter_errors_total", part=part) == 1
        assert value(away, "roadbed_exporter_is_stale", part=part) == 1
        assert value(again, "roadbed_exporter_errors_total", part=part) == 1
        assert value(again, "roadbed_exporter_is_stale", part=part) == 0


def test_changes_show_at_the_next_scrape(s3_server: local.LocalState) -> None:
    clock = Clock()
    root = open_store(f"s3://roadbed/exporter/{uuid.uuid4().hex}")
    with listen(StateCollector(parts_of(root, newest=5, clock=clock), cache_s=0, timeout_s=60), host="127.0.0.1",
                port=0) as url:  # fmt: skip
        assert value(scrape(url), "roadbed_runs", kind="train", state="running") == 0
        attempt = Run(root, "new", clock=clock).claim(details={})
        assert value(scrape(url), "roadbed_runs", kind="train", state="running") == 1
        attempt.finish("failed", reason="the loss is no number", step=3, progress={})
        assert value(scrape(url), "roadbed_runs", kind="train", state="failed") == 1
        Run(root, "new", clock=clock).claim(details={})
        clock.now += 700
        assert value(scrape(url), "roadbed_runs", kind="train", state="failed") == 0, "it was started again"
        registry = Registry(root, clock=clock)
        registry.publish("road", {}, {"scores": {"miou": 0.5, "iou_per_class": {}}})
        registry.promote("road", 1, gates=Gates(), by="test")
        assert value(scrape(url), "roadbed_champion_miou_ratio", model="road") == 0.5


def test_the_command_listens_until_it_is_told_to_stop(root: Store, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "roadbed", "exporter", "--store", root.uri, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ), cwd=tmp_path) as process:
        assert process.stderr is not None
        told = process.stderr.readline()
        url = told.split(" is at ")[1].split("/metrics")[0]
        with urllib.request.urlopen(f"{url}/healthz", timeout=30) as answer:
            assert answer.read() == b"ok\n"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url, timeout=30)
        assert value(scrape(url), "roadbed_model_versions", model="road") == 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
