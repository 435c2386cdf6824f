"""The sink over Ray's metrics: what Ray is told, without a Ray that runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from ray.util import metrics

from roadbed.runtime.metrics import RayMetrics
from roadbed.telemetry import METRICS

Told = tuple[str, float, dict[str, str]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    """What comes to Ray's own objects, which are made as ever."""
    found: list[Told] = []

    def record(self: Any, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == set(self.info["tag_keys"])
        found.append((self.info["name"], value, dict(tags)))

    monkeypatch.setattr(metrics.Metric, "_record", record)
    monkeypatch.setattr("roadbed.runtime.metrics.REPEAT_S", 0.01)
    return found


@pytest.fixture
def sink(told: list[Told]) -> Iterator[RayMetrics]:
    with closing(RayMetrics("night")) as made:
        yield made


def test_every_metric_of_the_table_can_be_told(told: list[Told], sink: RayMetrics) -> None:
    for name, metric in METRICS.items():
        labels = ["x"] * len(metric.labels)
        if metric.kind == "gauge":
            sink.set(name, 1.0, *labels)
        elif metric.kind == "counter":
            sink.add(name, 1.0, *labels)
        else:
            sink.observe(name, [0.1, 0.2], *labels)
    assert {name for name, _, _ in told} == set(METRICS)
    assert all(tags["run"] == "night" for _, _, tags in told)


def test_a_counter_begins_with_nothing_once(told: list[Told], sink: RayMetrics) -> None:
    for value in (0, 0, 2, 0):
        sink.add("roadbed_store_retries", value, "dataset")
    sink.add("roadbed_store_retries", 0, "run")
    sink.add("roadbed_train_images", 4)
    sink.add("roadbed_train_images", 0)
    assert [(name, value) for name, value, _ in told] == [
        ("roadbed_store_retries", 0),
        ("roadbed_store_retries", 2),
        ("roadbed_store_retries", 0),
        ("roadbed_train_images", 4),
    ]


def test_gauges_are_told_again_and_again_with_their_newest_value(told: list[Told], sink: RayMetrics) -> None:
    sink.set("roadbed_eval_class_iou", 0.5, "Road")
    sink.set("roadbed_eval_class_iou", 0.6, "Road")
    sink.add("roadbed_train_images", 4)
    until = time.monotonic() + 30
    while len(told) < 6 and time.monotonic() < until:
        time.sleep(0.01)
    repeated = told[3:6]
    assert repeated == [("roadbed_eval_class_iou", 0.6, {"run": "night", "class": "Road"})] * 3


def test_what_the_table_does_not_have_is_refused(sink: RayMetrics) -> None:
    with pytest.raises(KeyError):
        sink.add("roadbed_train_joy", 1)
    with pytest.raises(ValueError, match="zip"):
        sink.add("roadbed_serve_requests", 1)
