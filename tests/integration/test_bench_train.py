"""`roadbed bench train` runs, and its figures have the shape that is promised. What they are is no test's business."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from roadbed.bench import frames
from roadbed.bench.train_phases import PHASES
from roadbed.bench.train_race import Ratio, Result, chosen, interval, ratios
from roadbed.cli.bench import bench
from roadbed.errors import RoadbedError, UsageError
from roadbed.storage import open_store

NUM_FRAMES = 12
AT = "s3://roadbed/test-bench/train"


@pytest.fixture(autouse=True)
def few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "PAINTED_FRAMES", NUM_FRAMES)
    monkeypatch.delenv("CAMVID", raising=False)


def run(*words: str) -> str:
    done = CliRunner().invoke(bench, ["train", "--copies", "1", "--at", AT, *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.s3
def test_a_step_alone_the_loop_and_a_recipe_in_turns(s3_server: object, tmp_path: Path) -> None:
    path, plot = tmp_path / "train.json", tmp_path / "train.png"
    words = ["--batch", "4", "--crop", "64", "96", "--steps", "2", "--rounds", "2", "--precision", "fp32"]
    output = run(*words, "--workers", "2", "--json", str(path), "--plot", str(plot))
    document: dict[str, Any] = json.loads(path.read_text())
    assert document["samples"] == NUM_FRAMES
    assert document["plan"]["crop_px"] == [64, 96]
    assert [(result["name"], result["num_workers"]) for result in document["results"]] == [
        ("bare", 2),
        ("roadbed", 2),
        ("reference", 2),
    ]
    for result in document["results"]:
        assert len(result["images_per_s"]) == 2
        assert min(result["images_per_s"]) > 0
        if result["name"] != "reference":
            assert set(result["phases"]) == set(PHASES)
            assert sum(result["phases"].values()) == pytest.approx(1)
    assert [(ratio["over"], ratio["num_workers"]) for ratio in document["ratios"]] == [("bare", 2), ("reference", 2)]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "roadbed against bare, workers=2: " in output
    assert not list(open_store(AT).list("runs/")), "the runs of a benchmark are nobody's afterwards"


@pytest.mark.s3
def test_a_contender_that_fails_says_why(s3_server: object) -> None:
    with pytest.raises(RoadbedError, match=r"roadbed: its process failed:\n(.|\n)*crop_px"):
        run("--crop", "8", "8", "--only", "roadbed", "--workers", "1")


def test_unknown_contenders_and_uneven_shares_are_refused() -> None:
    with pytest.raises(UsageError, match="no contender is called naked; there are bare, roadbed, reference"):
        chosen(["naked"])
    with pytest.raises(UsageError, match="--batch 3 is no multiple of 2 workers"):
        run("--batch", "3")


def test_ratios_are_those_within_a_round() -> None:
    """A machine that was twice as slow in the second round; a contender with other workers is not compared."""
    ours, bare = Result("roadbed", 1, (9.0, 4.5, 9.0)), Result("bare", 1, (10.0, 5.0, 10.0))
    assert ratios([bare, ours, Result("bare", 2, (1.0, 1.0, 1.0))]) == [Ratio("bare", 1, 0.9, 0.9, 0.9)]


def test_an_interval_narrows_with_the_rounds() -> None:
    few, many = [0.9, 1.0, 1.1], [0.9, 1.0, 1.1] * 30
    assert interval(few)[0] == interval(many)[0] == 1.0
    assert interval(few)[1] == 0.9
    assert interval(many)[2] - interval(many)[1] < interval(few)[2] - interval(few)[1]
