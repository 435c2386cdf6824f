"""What `roadbed bench tune` makes of three passes, and which sweeps it refuses. That it runs is a soak's business."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from roadbed.bench.tune_race import Figures, Pass, race
from roadbed.errors import UsageError
from roadbed.spec import TuneJob, parse_kind
from support import blocks_job


def job(workers: dict[str, Any] | None = None, **tune: Any) -> TuneJob:
    usual: dict[str, Any] = {"space": {"train.learning_rate": {"uniform": [0.001, 0.1]}}, "trials": 2}
    spec = blocks_job("s3://roadbed/nowhere").model_dump(mode="json") | {"kind": "tune", "tune": usual | tune}
    spec["train"]["epochs"] = 3
    spec["workers"] |= workers or {}
    return parse_kind(TuneJob, yaml.safe_dump(spec), origin="test")


def test_what_the_passes_say() -> None:
    passes = (Pass("scheduled", 60.0, 10.0, 0.61), Pass("whole", 120.0, 24.0, 0.62), Pass("bare", 100.0, 24.0, 0.62))
    figures = Figures(trials=8, at_once=2, passes=passes)
    assert figures.epoch_share == pytest.approx(10 / 24)
    assert figures.overhead == pytest.approx(1.2)
    assert figures.overhead_s == pytest.approx(5.0)
    document = figures.to_json()
    assert document["overhead"] == figures.overhead
    assert [one["name"] for one in document["passes"]] == ["scheduled", "whole", "bare"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"workers": {"num_workers": 2}}, "workers: the benchmark trains with one worker on CPUs, found num_workers 2"),
        ({"scheduler": {"kind": "none"}}, "tune.scheduler.kind: none ends no trial early; take asha or median"),
    ],
)
def test_sweeps_that_cannot_be_compared_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        race(job(**given), tell=lambda _: None)
