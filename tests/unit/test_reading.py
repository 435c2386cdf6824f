"""What a reader keeps and asks for ahead, over shards in a folder that are read as if they came from afar."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadbed.data.dataset import Split
from roadbed.data.memory import ShardMemory
from roadbed.data.reading import SampleReader
from support import blocks_dataset

NUM_SHARDS = 8


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """32 samples in 8 shards."""
    return blocks_dataset(str(tmp_path / "blocks"), train=4 * NUM_SHARDS).split("train")


def shard_bytes(split: Split, count: int) -> int:
    return sum(sorted((shard.num_bytes for shard in split.shards), reverse=True)[:count])


@pytest.fixture
def reader(split: Split) -> Iterator[SampleReader]:
    """Of memory for six shards, of which two are said to be open."""
    reader = SampleReader(split, cache=None, memory=ShardMemory(shard_bytes(split, 6)))
    reader.begin_epoch(needed_bytes=shard_bytes(split, 2))
    yield reader
    reader.close()


def first_of(split: Split, shard: int) -> int:
    return split.index.first_sample(shard)


def test_read_ahead_stops_at_half_of_the_memory_until_something_is_read(split: Split, reader: SampleReader) -> None:
    for shard in range(3):
        assert reader.may_read_ahead([shard])
        reader.request(shard)
    assert not reader.may_read_ahead([3])
    assert reader.may_read_ahead([2]), "it was asked for already"
    reader.read(first_of(split, 1))
    assert reader.may_read_ahead([3])


def test_read_ahead_leaves_what_is_open_its_room(split: Split, reader: SampleReader) -> None:
    reader.begin_epoch(needed_bytes=shard_bytes(split, 5))
    assert reader.may_read_ahead([0])
    assert not reader.may_read_ahead([0, 1])


def test_what_was_asked_for_is_there_when_it_is_read(split: Split, reader: SampleReader) -> None:
    for shard in (0, 1):
        reader.request(shard)
    while reader.outstanding_bytes:
        time.sleep(0.01)
    for shard in (2, 3, 4, 5, 6, 7, 2, 3, 4):
        reader.read(first_of(split, shard))
    before = reader.stats.shards_fetched
    for shard in (0, 1):
        reader.read(first_of(split, shard))
    assert reader.stats.shards_fetched == before


def test_a_shard_that_was_read_lately_stays(split: Split, reader: SampleReader) -> None:
    for shard in range(6):
        reader.read(first_of(split, shard))
    reader.read(first_of(split, 0) + 1)
    reader.read(first_of(split, 6))
    assert reader.stats.shards_fetched == 7
    reader.read(first_of(split, 0) + 2)
    assert reader.stats.shards_fetched == 7, "shard 1 made room"
    assert reader.memory.held_bytes <= reader.memory.max_bytes


def test_readers_of_two_splits_share_one_memory(split: Split, tmp_path: Path) -> None:
    other = blocks_dataset(str(tmp_path / "other"), train=4, val=16).split("val")
    memory = ShardMemory(shard_bytes(split, 4))
    readers = [SampleReader(one, cache=None, memory=memory) for one in (split, other)]
    for shard in (0, 1, 2, 3):
        for one, reader in zip((split, other), readers, strict=True):
            sample = first_of(one, shard)
            assert one.is_intact(sample, reader.read(sample))
            assert memory.held_bytes <= memory.max_bytes
    for reader in readers:
        reader.close()


def test_shards_that_find_no_room_are_read_by_ranges_and_told_once(
    split: Split, caplog: pytest.LogCaptureFixture
) -> None:
    reader = SampleReader(split, cache=None, memory=ShardMemory(shard_bytes(split, 2)))
    for _ in range(2):
        reader.begin_epoch(needed_bytes=shard_bytes(split, 3))
        reader.request(0)
        assert split.is_intact(5, reader.read(5))
    assert (reader.stats.shards_fetched, reader.stats.samples_by_range) == (0, 2)
    assert len(caplog.records) == 1
    for words in (
        "split=train",
        "open_mb=0.1",
        "memory_mb=0.1",
        "cache_mb=0.0",
        "data.memory_mb",
        "data.window_shards",
    ):
        assert words in caplog.text
    reader.begin_epoch(needed_bytes=shard_bytes(split, 2))
    reader.read(5)
    assert reader.stats.shards_fetched == 1
    reader.close()
