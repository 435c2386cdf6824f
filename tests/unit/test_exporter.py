"""When the exporter reads, and what it tells of what is slow or damaged. Over S3: contract/test_exporter.py."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from roadbed.errors import StoreError
from roadbed.exporter import Part, Reading, StateCollector, parts_of
from roadbed.registry import Registry
from roadbed.runs import Run
from roadbed.storage import Store, open_store
from roadbed.telemetry import STATE_METRICS
from state_examples import card, fill
from support import Clock


@pytest.fixture
def root(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def reading(value: float) -> Reading:
    told = Reading()
    told.tell("roadbed_model_versions", value, "road")
    return told


def values(collector: StateCollector) -> dict[str, float]:
    """What is told of the model and of the part, by metric."""
    return {one.name: one.value for family in collector.collect() for one in family.samples}


def test_what_was_read_is_told_until_it_is_old() -> None:
    clock, numbers = Clock(), iter(range(1, 10))
    part = Part("models", lambda: reading(next(numbers)), cache_s=30, clock=clock)

    def ask() -> dict[str, float]:
        part.refresh()
        part.wait(10)
        told = Reading()
        part.tell_into(told)
        return {name: value for name, by_label in told.values.items() for value in by_label.values()}

    assert ask()["roadbed_model_versions"] == 1
    clock.now += 29
    assert ask() == ask()
    assert ask()["roadbed_exporter_cache_age_seconds"] == 29
    clock.now += 1
    assert ask()["roadbed_model_versions"] == 2
    assert ask()["roadbed_exporter_is_stale"] == 0


def test_a_store_that_hangs_holds_up_no_scrape_and_is_asked_once_at_a_time() -> None:
    answers, begun = threading.Event(), []

    def read() -> Reading:
        begun.append(1)
        assert answers.wait(30)
        return reading(3)

    collector = StateCollector({"models": read}, cache_s=60, timeout_s=0.05)
    first, second = values(collector), values(collector)
    assert "roadbed_model_versions" not in first
    assert first["roadbed_exporter_is_stale"] == second["roadbed_exporter_is_stale"] == 1
    assert len(begun) == 1
    answers.set()
    while values(collector)["roadbed_exporter_is_stale"]:
        pass
    assert values(collector)["roadbed_model_versions"] == 3
    assert len(begun) == 1


@pytest.mark.parametrize("error", [StoreError("the store is away"), ZeroDivisionError()])
def test_a_reading_that_fails_is_counted_and_leaves_the_last_one(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[Exception | None] = [None, error, error]

    def read() -> Reading:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return reading(3)

    collector = StateCollector({"models": read}, cache_s=0, timeout_s=10)
    for num_errors in (0, 1, 2):
        told = values(collector)
        assert told["roadbed_exporter_errors_total"] == num_errors
        assert told["roadbed_model_versions"] == 3
        assert told["roadbed_exporter_is_stale"] == float(num_errors > 0)
    assert "part=models" in caplog.text


def test_what_is_damaged_is_passed_over_and_counted(root: Store) -> None:
    clock = Clock()
    fill(root, clock)
    for key in ("runs/torn/status.json", "runs/town/latest.json", "sweeps/torn/status.json"):
        root.put(key, b"{")
    root.put("sweeps/streets/spec.yaml", b"kind: train\n")
    root.put("models/road/versions/3/card.json", b"{}")
    root.put("datasets/torn/dataset.json", b"{}")
    root.put("runs/not a name/status.json", b"{}")
    parts = {name: read() for name, read in parts_of(root, newest=50, clock=clock).items()}
    assert {name: part.num_damaged for name, part in parts.items()} == {
        "runs": 3,
        "sweeps": 2,
        "models": 1,
        "datasets": 1,
    }
    assert parts["datasets"].values["roadbed_dataset_is_damaged"] == {("blocks",): 0, ("torn",): 1}
    assert parts["runs"].values["roadbed_run_steps"]["town",] == 10
    assert parts["runs"].values["roadbed_runs"]["train", "lost"] == 1


def test_models_and_datasets_beyond_the_newest_are_left_out_and_counted(root: Store) -> None:
    for name in ("road", "town"):
        Registry(root).publish(name, {}, card(0.5))
        root.put(f"datasets/{name}/dataset.json", b"{}")
    parts = {name: read() for name, read in parts_of(root, newest=1).items()}
    assert set(parts["models"].values["roadbed_model_versions"]) == {("road",)}
    assert set(parts["datasets"].values["roadbed_dataset_is_damaged"]) == {("road",)}
    assert parts["models"].num_left_out == parts["datasets"].num_left_out == 1


def test_runs_and_sweeps_are_told_of_the_newest(root: Store) -> None:
    fill(root, Clock())
    runs = parts_of(root, newest=2)["runs"]()
    assert set(runs.values["roadbed_run_steps"]) == {("alive",), ("streets-0001",)}
    assert runs.num_left_out == 2


def test_an_empty_store_has_counts_of_nothing(root: Store) -> None:
    told = {name: read().values for name, read in parts_of(root, newest=50).items()}
    assert set(told["runs"]) == {"roadbed_runs"}
    assert set(told["runs"]["roadbed_runs"].values()) == {0}
    assert set(told["sweeps"]["roadbed_sweeps"].values()) == {0}
    assert told["models"] == told["datasets"] == {}


def test_a_run_that_has_a_spec_alone_is_counted(root: Store) -> None:
    Run(root, "planned").begin("kind: train\n")
    told = parts_of(root, newest=50)["runs"]().values
    assert told["roadbed_runs"]["train", "unstarted"] == 1
    assert "roadbed_run_info" not in told


def test_ended_runs_are_not_read_at_every_scrape(root: Store) -> None:
    clock = Clock()
    fill(root, clock)
    read = parts_of(root, newest=1, clock=clock)["runs"]
    read()
    before = root.stats.num_requests
    read()
    assert root.stats.num_requests - before < 4 + 2, "one status, one pointer, no more than it has runs"


def test_the_names_are_those_of_prometheus_style() -> None:
    for name, metric in STATE_METRICS.items():
        assert name.startswith("roadbed_")
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_info_info"))
        assert metric.description
        assert not {"le", "quantile", "job", "instance"} & set(metric.labels)
    with pytest.raises(KeyError):
        Reading().tell("roadbed_nothing", 1)


def test_it_loads_neither_torch_nor_ray() -> None:
    program = (
        "import sys, roadbed.exporter, roadbed.cli.exporter\n"
        "heavy = {'torch', 'ray', 'albumentations'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
