"""The benchmarks run, and their figures have the shape that is promised. What the figures are is no test's business."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click import ClickException
from click.testing import CliRunner

from roadbed.bench import frames
from roadbed.bench.encodings import EncodingFigures, best, chosen
from roadbed.bench.race import Result, installed, ratios
from roadbed.cli.bench import bench
from roadbed.cli.bench.encodings import _verdict
from roadbed.cli.bench.shared import refuse_inexact
from roadbed.errors import UsageError
from support import blocks_dataset

NUM_FRAMES = 19


@pytest.fixture(autouse=True)
def few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "PAINTED_FRAMES", NUM_FRAMES)
    monkeypatch.delenv("CAMVID", raising=False)


def run(*words: str) -> str:
    done = CliRunner().invoke(bench, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.s3
def test_loaders_side_by_side(s3_server: object, tmp_path: Path) -> None:
    names = ["roadbed-uint8", "roadbed-float32", "webdataset", "memory", "boto3"]
    path, plot = tmp_path / "race.json", tmp_path / "race.png"
    words = ["--copies", "2", "--rounds", "1", "--workers", "1", "--only", ",".join(names)]
    at = "s3://roadbed/test-bench/loader"
    output = run("loader", *words, "--at", at, "--json", str(path), "--plot", str(plot))
    document: dict[str, Any] = json.loads(path.read_text())
    assert document["samples"] == 2 * NUM_FRAMES
    assert document["camvid"] is False
    assert [result["name"] for result in document["results"]] == names
    for result in document["results"]:
        assert result["is_every_key_once"], result
        for figure in ("cold_per_s", "warm_per_s", "cold_cpu_s_per_1000", "warm_cpu_s_per_1000", "peak_mb"):
            assert len(result[figure]) == 1
            assert result[figure][0] > 0
    assert set(document["ratios"]["memory"]) == {"roadbed-uint8", "roadbed-float32"}
    assert len(document["parts_ms"]) == 7
    assert min(document["parts_ms"].values()) >= 0
    assert max(document["parts_ms"], key=document["parts_ms"].get) in output
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert all(name in output for name in names)
    # Another number of frames at the same place: what lies there is no use, and no obstacle.
    run("loader", "--copies", "1", "--rounds", "1", "--only", "roadbed-uint8", "--at", at, "--json", str(path))
    assert json.loads(path.read_text())["samples"] == NUM_FRAMES


@pytest.mark.s3
@pytest.mark.soak
def test_litdata_beside_ours(s3_server: object, tmp_path: Path) -> None:
    pytest.importorskip("litdata", reason="litdata is not installed: pip install litdata")
    names = ["roadbed-uint8", "litdata"]
    path = tmp_path / "race.json"
    words = ["--copies", "1", "--rounds", "1", "--workers", "1", "--only", ",".join(names)]
    output = run("loader", *words, "--at", "s3://roadbed/test-bench/litdata", "--json", str(path))
    document: dict[str, Any] = json.loads(path.read_text())
    assert [result["name"] for result in document["results"]] == names
    assert all(result["is_every_key_once"] for result in document["results"])
    assert all(result["cold_per_s"][0] > 0 and result["warm_per_s"][0] > 0 for result in document["results"])
    assert set(document["ratios"]["litdata"]) == {"roadbed-uint8"}
    assert "roadbed-uint8 against litdata: " in output


@pytest.mark.s3
@pytest.mark.soak
def test_encodings_side_by_side(s3_server: object, tmp_path: Path) -> None:
    names = ["jpeg-png", "zstd-zstd"]
    path, plot = tmp_path / "out" / "encodings.json", tmp_path / "out" / "encodings.png"
    words = ["--copies", "1", "--rounds", "2", "--threads", "1", "--only", ",".join(names)]
    files = ["--at", "s3://roadbed/test-bench/encodings", "--json", str(path), "--plot", str(plot)]
    output = run("encodings", *words, *files)
    document: dict[str, Any] = json.loads(path.read_text())
    assert document["samples"] == NUM_FRAMES
    jpeg, raw = document["encodings"]
    assert [jpeg["name"], raw["name"]] == names
    assert jpeg["image_bytes"] < raw["image_bytes"]
    for figures in (jpeg, raw):
        assert figures["is_every_sample_once"]
        assert figures["encode_ms"] > 0
        assert figures["decode_ms"] > 0
        for figure in ("images_per_s", "cpu_s_per_1000"):
            assert list(figures[figure]) == ["unshaped", "10 Gbit/s", "1 Gbit/s"]
            assert all(len(values) == 2 for values in figures[figure].values())
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "1 Gbit/s: " in output
    # Another number of frames at the same place: what lies there is no use, and no obstacle.
    run("encodings", *words, "--copies", "2", *files)
    assert json.loads(path.read_text())["samples"] == 2 * NUM_FRAMES


def test_unknown_contenders_and_encodings_are_named() -> None:
    with pytest.raises(UsageError, match="no contender is called litdatum; there are roadbed-uint8"):
        installed(["litdatum"])
    with pytest.raises(UsageError, match="no encoding is called gif-png; there are jpeg-png"):
        chosen(["jpeg-png", "gif-png"])


def test_ratios_are_those_within_a_round() -> None:
    """Three rounds on a machine that was twice as slow in the second: each contender's own median would mislead."""
    ours = Result(
        "roadbed-uint8", (300.0, 150.0, 300.0), (20.0, 5.0, 10.0), (2.0,) * 3, (1.0, 2.0, 1.0), (1.0,) * 3, True
    )
    theirs = Result("litdata", (100.0, 50.0, 100.0), (10.0, 5.0, 2.0), (3.0,) * 3, (3.0, 4.0, 3.0), (1.0,) * 3, True)
    found = ratios([ours, theirs], over="litdata")
    assert found == {"roadbed-uint8": {"cold": 3.0, "warm": 2.0, "cold_cpu": 1.5, "warm_cpu": 3.0}}
    assert ratios([ours], over="litdata") == {}


def figures_of(name: str, *per_s: float) -> EncodingFigures:
    return EncodingFigures(name, 1.0, 1.0, 1.0, 1.0, 1.0, {"unshaped": per_s}, {"unshaped": per_s}, True)


def test_only_who_wins_every_round_beats_the_default() -> None:
    default = figures_of("jpeg-png", 10, 20)
    clear, lucky, slow = figures_of("zstd-png", 20, 40), figures_of("png-png", 90, 19), figures_of("png-png", 1, 2)
    assert _verdict(*best([default, clear], "unshaped")).startswith("zstd-png is the fastest, 2.00 x the default")
    assert _verdict(*best([default, lucky], "unshaped")) == "nothing beats jpeg-png, the default, for sure"
    assert _verdict(*best([default, slow], "unshaped")) == "jpeg-png, the default, is the fastest"
    assert _verdict(*best([clear], "unshaped")) == "zstd-png is the fastest of those measured"


def test_an_epoch_that_is_not_exact_fails_the_benchmark() -> None:
    with pytest.raises(ClickException, match="png-png: an epoch did not hold every sample exactly once"):
        refuse_inexact({"jpeg-png": True, "png-png": False})


def test_order_of_a_dataset(tmp_path: Path) -> None:
    blocks_dataset(str(tmp_path / "blocks"))
    path, plot = tmp_path / "order.json", tmp_path / "order.png"
    output = run("order", str(tmp_path / "blocks"), "--batch", "4", "--json", str(path), "--plot", str(plot))
    rows = json.loads(path.read_text())
    assert [(row["window_shards"], row["is_full"]) for row in rows] == [(1, False), (4, True)]
    assert "all 4" in output
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_an_order_of_too_few_samples_is_refused(tmp_path: Path) -> None:
    blocks_dataset(str(tmp_path / "blocks"))
    with pytest.raises(UsageError, match="--batch 7: there are 13 samples; take at most half of them"):
        run("order", str(tmp_path / "blocks"), "--batch", "7")
