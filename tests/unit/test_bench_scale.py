"""`roadbed bench scale` on a small dataset: its figures are whole, its index is real, and it leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from roadbed.bench.scale import SHARD_SAMPLES, measure_scale, synthetic_dataset
from roadbed.cli.bench.scale import scale
from roadbed.data.dataset import Dataset
from roadbed.errors import RoadbedError
from roadbed.storage import open_store


def test_the_synthetic_dataset_opens_and_goes(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    with synthetic_dataset(store, num_samples=1_100):
        index = Dataset.open(str(tmp_path)).split("train").index
        assert index.shard_sizes == (SHARD_SAMPLES,) * 4 + (100,)
        assert (index.key(0), index.key(1_099)) == ("synthetic/town_000000_000000", "synthetic/town_000003_000199")
        first, second = index.record(0), index.record(1)
        assert first.image_offset == 512
        assert second.image_offset >= first.mask_offset + first.mask_bytes + 512
        assert index.record(SHARD_SAMPLES).image_offset == 512
    assert list(store.list()) == []


def test_nothing_that_lies_there_is_overwritten(tmp_path: Path) -> None:
    open_store(str(tmp_path)).put("dataset.json", b"mine")
    with pytest.raises(RoadbedError, match=r"dataset\.json lies here; name an empty prefix"):
        measure_scale(str(tmp_path), num_samples=1_000, sizes=(1_000,))
    assert (tmp_path / "dataset.json").read_bytes() == b"mine"


def test_a_measuring_process_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadbed.bench.scale.sys.executable", "/bin/false")
    with pytest.raises(RoadbedError, match="the process that measures the start failed"):
        measure_scale(str(tmp_path), num_samples=1_000, sizes=(1_000,))
    assert list(open_store(str(tmp_path)).list()) == []


def test_the_command_prints_and_writes_its_figures(tmp_path: Path) -> None:
    figures_path, plot = tmp_path / "out" / "scale.json", tmp_path / "out" / "scale.png"
    words = ["--samples", "5000", "--ranks", "12", "--json", str(figures_path), "--plot", str(plot)]
    result = CliRunner().invoke(scale, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert "every sample once: yes" in result.output
    figures = json.loads(figures_path.read_text())
    assert (figures["num_samples"], figures["num_shards"]) == (5_000, 20)
    assert figures["partition"]["global_batch"] == 96
    assert figures["partition"]["is_every_sample_once"] is True
    assert figures["start"]["num_records"] == 8
    assert 0 < figures["start"]["bare_mb"] < figures["start"]["imported_mb"] <= figures["start"]["peak_mb"]
    assert [cost["num_samples"] for cost in figures["batches"]] == [10_000, 100_000, 1_000_000, 10_000_000]
    with Image.open(plot) as picture:
        assert picture.width > 500
