"""The loader against a real store that fails: the very batches of a clean run, or an error that names the object."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fault_proxy import Proxy, proxied
from faults import byte_flipped, stalled, status_of
from roadbed.data import loader as loader_module
from roadbed.data.augment import Augmenter, training_transforms
from roadbed.data.cache import ShardCache
from roadbed.data.dataset import Dataset
from roadbed.data.loader import Batch, Loader
from roadbed.data.memory import ShardMemory
from roadbed.errors import DamagedError, StoreError
from roadbed.runtime import local
from roadbed.spec import DataSpec
from roadbed.storage import open_store
from roadbed.storage.s3 import S3Store
from roadbed.storage.s3_connection import Connection, Patience
from support import blocks_dataset

pytestmark = pytest.mark.s3

NUM_SAMPLES, NUM_SHARDS = 61, 16
FOLDER = f"loader-{uuid.uuid4().hex}"
URI = f"s3://roadbed/{FOLDER}"
SPEC = DataSpec(uri=URI, crop_px=(48, 64), window_shards=2)


@pytest.fixture(scope="module")
def dataset(s3_server: local.LocalState) -> Dataset:
    """61 samples in 16 shards, in the real store."""
    return blocks_dataset(URI, train=NUM_SAMPLES)


@pytest.fixture
def proxy(dataset: Dataset, s3_server: local.LocalState, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What leads to the store from now on."""
    assert s3_server.store is not None
    with proxied(s3_server.store.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


def epochs(dataset: Dataset, *numbers: int, spec: DataSpec = SPEC, **settings: Any) -> list[Batch]:
    split = dataset.split("train")
    defaults = {"rank": 0, "num_ranks": 1, "num_threads": 2}
    with Loader(split, digest=dataset.digest, spec=spec, **(defaults | settings)) as loading:
        return [batch for number in numbers for batch in epoch_of(loading, number)]


def epoch_of(loading: Loader, number: int) -> Iterator[Batch]:
    augment = Augmenter(training_transforms(SPEC))
    return loading.training_batches(augment, epoch=number, first_batch=0, seed=5, global_batch=4)


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert [batch.samples for batch in found] == [batch.samples for batch in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.images_BHW3, other.images_BHW3)
        np.testing.assert_array_equal(one.masks_BHW, other.masks_BHW)


def impatient(**seconds: float) -> Dataset:
    """The dataset through a store that gives up sooner."""
    return Dataset.load(S3Store(Connection(URI, Patience(**seconds)), "roadbed", FOLDER))


def by_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sample by a request of its own, so that there are many."""
    monkeypatch.setattr(loader_module, "RANGES_BELOW", 1e9)


def test_memory_cache_and_ranges_give_the_same_batches(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = epochs(dataset, 0)
    assert sorted(sample for batch in expected for sample in batch.samples) == list(range(NUM_SAMPLES))
    assert_same(epochs(dataset, 0, cache=ShardCache(tmp_path / "cache", max_bytes=10**9)), expected)
    largest = max(shard.num_bytes for shard in dataset.split("train").shards)
    for folder, max_bytes in (("cache", 10**9), ("small", largest)):
        cache = ShardCache(tmp_path / folder, max_bytes=max_bytes)
        assert_same(epochs(dataset, 0, memory=ShardMemory(largest), cache=cache), expected)
    by_ranges(monkeypatch)
    assert_same(epochs(dataset, 0), expected)


TWO_LANES = SPEC.model_copy(update={"crop_px": (32, 32)})
"""Two lanes, windows of two shards, each with the next one: eight of the sixteen shards are open at a time."""


def two_epochs(reading: Dataset, *, memory: ShardMemory, cache: ShardCache | None) -> Iterator[Batch]:
    augment = Augmenter(training_transforms(TWO_LANES))
    settings = {"rank": 0, "num_ranks": 1, "num_threads": 2, "cache": cache, "memory": memory}
    with Loader(reading.split("train"), digest=reading.digest, spec=TWO_LANES, **settings) as loading:  # type: ignore[arg-type]
        for epoch in range(2):
            yield from loading.training_batches(augment, epoch=epoch, first_batch=0, seed=5, global_batch=2)


@pytest.fixture(scope="module")
def clean_epochs(dataset: Dataset) -> list[Batch]:
    return [*two_epochs(dataset, memory=ShardMemory(10**9), cache=None)]


def promised_fetches(reading: Dataset) -> Counter[str]:
    """How often shards are fetched where two epochs find no room for all: once per epoch and lane that has any."""
    split = reading.split("train")
    promised: Counter[str] = Counter()
    with Loader(split, digest=reading.digest, spec=TWO_LANES, rank=0, num_ranks=1, num_threads=1) as loading:
        for epoch in range(2):
            order = loading.order(epoch, seed=5, global_batch=2)
            for lane in range(2):
                samples = [n for i in range(order.num_batches) for n in order.batch(i, range(lane, lane + 1)).tolist()]
                shards = {split.index.shard_of(sample) for sample in samples}
                promised.update(f"roadbed/{FOLDER}/{split.shards[shard].key}" for shard in shards)
    return promised


@pytest.mark.parametrize("cached_shards", [0, 1, 12, NUM_SHARDS])
@pytest.mark.parametrize("kept_shards", [0, 1, 2, 8, 12, NUM_SHARDS])
def test_more_data_than_memory_and_cache_hold_is_fetched_as_often_as_promised(
    proxy: Proxy,
    clean_epochs: list[Batch],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kept_shards: int,
    cached_shards: int,
) -> None:
    reading = Dataset.open(URI)
    promised = promised_fetches(reading)
    largest = max(shard.num_bytes for shard in reading.split("train").shards)
    memory = ShardMemory(kept_shards * largest + 1)
    cache = ShardCache(tmp_path, max_bytes=cached_shards * largest) if cached_shards else None
    proxy.counts.clear()
    found = []
    for batch in two_epochs(reading, memory=memory, cache=cache):
        found.append(batch)
        assert memory.held_bytes <= memory.max_bytes
        assert cache is None or cache.used_bytes <= cache.max_bytes
    assert_same(found, clean_epochs)
    counts = {key: count for (_, key), count in proxy.counts.items() if key.endswith(".tar")}
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    room = max(kept_shards, cached_shards)
    if room < 8:
        assert sum(counts.values()) == 2 * NUM_SAMPLES, "each sample once in each epoch"
        assert len(warnings) == 1
        assert f"memory_mb={memory.max_bytes / 1e6:.1f}" in warnings[0]
    else:
        assert counts.keys() == promised.keys()
        for key, count in counts.items():
            assert count <= (1 if room == NUM_SHARDS else promised[key]), key
        assert warnings == []


@pytest.mark.parametrize("is_ranged", [False, True])
def test_three_epochs_with_one_request_in_twenty_failing_are_those_of_a_clean_run(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ranged: bool
) -> None:
    expected = epochs(Dataset.open(URI), 0, 1, 2)
    proxy.spoil_share("GET", 0.05, seed=3)
    if is_ranged:
        by_ranges(monkeypatch)
        found = epochs(Dataset.open(URI), 0, 1, 2)
    else:
        found = []
        for number in range(3):  # a cold cache each time, so that there is something to fail
            cache = ShardCache(tmp_path / f"cache-{number}", max_bytes=10**9)
            found += epochs(Dataset.open(URI), number, cache=cache)
    assert proxy.num_spoilt >= 2
    assert_same(found, expected)


@pytest.mark.parametrize("is_ranged", [False, True])
def test_a_flipped_byte_on_the_way_is_fetched_again(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, is_ranged: bool
) -> None:
    expected = epochs(Dataset.open(URI), 0)
    reading = Dataset.open(URI)
    assert reading.split("train").index.num_samples == NUM_SAMPLES
    if is_ranged:
        by_ranges(monkeypatch)
    proxy.spoil("GET", byte_flipped)
    assert_same(epochs(reading, 0), expected)
    assert proxy.num_spoilt == 1


def test_a_byte_that_is_flipped_each_time_is_damage_that_names_the_shard(proxy: Proxy) -> None:
    reading = Dataset.open(URI)
    assert reading.split("train").index.num_samples == NUM_SAMPLES
    proxy.spoil("GET", byte_flipped, times=1000)
    with pytest.raises(DamagedError, match=rf"{URI}/.*train-\d+\.tar.*sha256"):
        epochs(reading, 0)


def test_a_read_that_stalls_is_noticed_and_repeated(proxy: Proxy) -> None:
    expected = epochs(Dataset.open(URI), 0)
    reading = impatient(silence_s=0.5)
    assert reading.split("train").index.num_samples == NUM_SAMPLES
    proxy.spoil("GET", stalled, times=3)
    assert_same(epochs(reading, 0), expected)
    assert proxy.num_spoilt == 3


def test_a_store_that_fails_for_too_long_is_an_error_that_names_shard_and_endpoint(proxy: Proxy) -> None:
    reading = impatient(budget_s=0.5, longest_pause_s=0.1)
    assert reading.split("train").index.num_samples == NUM_SAMPLES
    proxy.spoil("GET", status_of(503, "SlowDown"), times=10_000)
    with pytest.raises(StoreError, match=rf"{URI}/.*train-\d+\.tar.*{proxy.url}.*SlowDown"):
        epochs(reading, 0)


def test_credentials_that_expire_in_mid_epoch_and_are_renewed_are_taken_up(
    dataset: Dataset, s3_server: local.LocalState, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = epochs(dataset, 0)
    assert s3_server.store is not None
    file = tmp_path / "credentials"
    text = "[default]\naws_access_key_id = {}\naws_secret_access_key = secret\naws_session_token = x\n"
    file.write_text(text.format("OLD"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    by_ranges(monkeypatch)
    with proxied(s3_server.store.endpoint, keys=(s3_server.store.access_key, s3_server.store.secret_key)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        reading = impatient(renewal_s=0.1, longest_pause_s=0.2)
        split = reading.split("train")
        with Loader(split, digest=reading.digest, spec=SPEC, rank=0, num_ranks=1, num_threads=2) as loading:
            coming = epoch_of(loading, 0)
            found = [next(coming)]
            refusal = status_of(400, "ExpiredToken")
            proxy.rule = lambda _, headers: refusal if "Credential=OLD/" in headers["Authorization"] else None
            renewal = threading.Timer(0.5, file.write_text, (text.format("NEW"),))
            renewal.start()
            found += coming
            renewal.join()
        assert proxy.num_spoilt > 0
    assert_same(found, expected)


def test_a_store_that_is_killed_in_mid_epoch_and_starts_again_is_waited_for(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = epochs(dataset, 0)
    folder = tmp_path / "local"
    state = local.up(folder, with_ray=False)
    assert state.store is not None
    try:
        for name, value in local.environment(state).items():
            monkeypatch.setenv(name, value)
        with proxied(state.store.endpoint) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
            by_ranges(monkeypatch)
            store = open_store(blocks_dataset(URI, train=NUM_SAMPLES).uri)
            reading = Dataset.load(store)
            split = reading.split("train")
            with Loader(split, digest=reading.digest, spec=SPEC, rank=0, num_ranks=1, num_threads=2) as loading:
                coming = epoch_of(loading, 0)
                found = [next(coming)]
                os.kill(state.store.process.pid, signal.SIGKILL)
                restart = threading.Timer(1.0, lambda: local.up(folder, with_ray=False))
                restart.start()
                found += coming
                restart.join()
        assert store.stats.num_retries > 0
        assert_same(found, expected)
    finally:
        local.down(folder)


RANK = """
import json, sys
from pathlib import Path
from roadbed.data.augment import Augmenter, training_transforms
from roadbed.data.cache import ShardCache
from roadbed.data.dataset import Dataset
from roadbed.data.loader import Loader
from roadbed.spec import DataSpec

uri, folder, rank = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
spec = DataSpec(uri=uri, crop_px=(48, 64), window_shards=2)
dataset = Dataset.open(uri)
cache = ShardCache(folder, max_bytes=10**9)
with Loader(
    dataset.split("train"), digest=dataset.digest, spec=spec, rank=rank, num_ranks=2, num_threads=1, cache=cache
) as loader:
    for epoch in range(3):
        for batch in loader.training_batches(
            Augmenter(training_transforms(spec)), epoch=epoch, first_batch=0, seed=5, global_batch=4
        ):
            print(json.dumps(batch.samples), flush=True)
"""


def rank_process(folder: Path, rank: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", RANK, URI, str(folder), str(rank)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_ranks_on_a_machine_fetch_each_shard_once(proxy: Proxy, tmp_path: Path) -> None:
    processes = [rank_process(tmp_path / "cache", rank) for rank in range(2)]
    seen: list[int] = []
    for process in processes:
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        seen += [sample for line in out.splitlines() for sample in json.loads(line)]
    assert sorted(seen) == sorted(3 * list(range(NUM_SAMPLES)))
    shards = {key: count for (_, key), count in proxy.counts.items() if "/train-" in key and key.endswith(".tar")}
    assert len(shards) == NUM_SHARDS
    assert set(shards.values()) == {1}


def test_a_killed_loader_leaves_no_files_after_the_next_start_and_no_shared_memory(
    proxy: Proxy, tmp_path: Path
) -> None:
    folder, shared_memory = tmp_path / "cache", Path("/dev/shm")
    before = set(shared_memory.iterdir()) if shared_memory.is_dir() else set()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    proxy.rule = lambda method, _: stalled if proxy.num_requests("GET", ".tar") > NUM_SHARDS // 2 else None
    process = rank_process(folder, 0)
    try:
        assert process.stdout is not None
        process.stdout.readline()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert list(folder.glob("*.part")), "it was killed while it wrote"
    assert not (set(shared_memory.iterdir()) if shared_memory.is_dir() else set()) - before
    proxy.heal()
    cache = ShardCache(folder, max_bytes=10**9)
    assert not list(folder.glob("*.part"))
    assert_same(epochs(Dataset.open(URI), 0, cache=cache), epochs(Dataset.open(URI), 0))
