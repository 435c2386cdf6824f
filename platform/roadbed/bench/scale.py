"""How the data plane behaves at 1,000,000 samples in 4,000 shards: start, memory, partition, cost per batch.

The dataset is synthetic: a real index and a real dataset.json whose shards do not exist, for none of them is read.
Writes only below the store it is given, and deletes what it wrote.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import numpy as np

from roadbed.data.labels import LabelClass, LabelSpace
from roadbed.data.manifest import (
    MANIFEST_KEY,
    IndexInfo,
    Manifest,
    PrepareOptions,
    ShardInfo,
    SourceInfo,
    SplitInfo,
)
from roadbed.data.order import EpochOrder, lanes_of_rank
from roadbed.data.shards import MAGIC, RECORD, TAR_BLOCK_BYTES
from roadbed.errors import RoadbedError
from roadbed.storage import Store, open_store

SHARD_SAMPLES = 250
IMAGE_BYTES, MASK_BYTES = 80_000, 5_000
SEQUENCE_FRAMES = 300
LABELS = LabelSpace("synthetic", (LabelClass("Road", (128, 64, 128)),))
DIGEST = hashlib.sha256(b"synthetic").hexdigest()
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
MAX_BATCHES = 1_000
NUM_ROUNDS = 3


@dataclass(frozen=True)
class BatchCost:
    """What the order of a dataset of `num_samples` costs a rank of 8 lanes: its start, and then each batch."""

    num_samples: int
    num_shards: int
    order_ms: float
    batch_us: float


@dataclass(frozen=True)
class Partition:
    """An epoch shared out to many ranks: seconds for one rank's first batch, and for all batches of all ranks."""

    num_ranks: int
    global_batch: int
    num_batches: int
    first_batch_s: float
    all_ranks_s: float
    is_every_sample_once: bool


@dataclass(frozen=True)
class ScaleFigures:
    """All that `roadbed bench scale` prints. `start` is what startup.py measured in a process of its own."""

    num_samples: int
    num_shards: int
    index_mb: float
    start: dict[str, float]
    partition: Partition
    batches: tuple[BatchCost, ...]


def measure_scale(
    uri: str, *, num_samples: int = 1_000_000, num_ranks: int = 1_024, sizes: Sequence[int] = SIZES
) -> ScaleFigures:
    """Measure with a synthetic dataset at `uri`, which is deleted afterwards.

    Raises RoadbedError if something lies at `uri` already or the measuring process fails.
    """
    with synthetic_dataset(open_store(uri), num_samples=num_samples) as manifest:
        start = _start_in_a_process(uri, num_ranks=num_ranks)
    split = manifest.splits["train"]
    return ScaleFigures(
        num_samples,
        len(split.shards),
        split.index.num_bytes / 1e6,
        start,
        _measure_partition([shard.num_samples for shard in split.shards], num_ranks=num_ranks),
        tuple(_measure_batches(size) for size in sizes),
    )


@contextmanager
def synthetic_dataset(store: Store, *, num_samples: int) -> Iterator[Manifest]:
    """An index and a dataset.json at the root of `store` for the time of a block. Raises RoadbedError if in the way."""
    in_the_way = next(iter(store.list()), None)
    if in_the_way is not None:
        raise RoadbedError(f"{store.uri}: {in_the_way.key} lies here; name an empty prefix for the synthetic dataset")
    index = synthetic_index(num_samples)
    manifest = _manifest(num_samples, index)
    keys = (manifest.splits["train"].index.key, MANIFEST_KEY)
    try:
        for key, data in zip(keys, (index, manifest.to_bytes()), strict=True):
            store.put(key, data)
        yield manifest
    finally:
        for key in keys:
            store.delete(key)


def synthetic_index(num_samples: int) -> bytes:
    """The bytes of an index (see shards.py) of samples that all have the same size, in shards of 250."""
    image_block, mask_block = (_in_tar(num_bytes) for num_bytes in (IMAGE_BYTES, MASK_BYTES))
    blob = b"".join(
        f"synthetic/town_{number // SEQUENCE_FRAMES:06d}_{number % SEQUENCE_FRAMES:06d}".encode()
        for number in range(num_samples)
    )
    places = np.arange(num_samples)
    table = np.zeros(num_samples, RECORD)
    table["image_offset"] = (places % SHARD_SAMPLES) * (image_block + mask_block) + TAR_BLOCK_BYTES
    table["mask_offset"] = table["image_offset"] + image_block
    table["key_end"] = (places + 1) * (len(blob) // num_samples)
    table["image_bytes"], table["mask_bytes"] = IMAGE_BYTES, MASK_BYTES
    table["height_px"], table["width_px"] = 360, 480
    table["checksum"] = np.random.default_rng(0).integers(0, 256, table["checksum"].shape, np.uint8)
    return MAGIC + num_samples.to_bytes(8, "little") + len(blob).to_bytes(8, "little") + table.tobytes() + blob


def _manifest(num_samples: int, index: bytes) -> Manifest:
    shard_bytes = SHARD_SAMPLES * (_in_tar(IMAGE_BYTES) + _in_tar(MASK_BYTES)) + 2 * TAR_BLOCK_BYTES
    shards = tuple(
        ShardInfo(f"train-{number:06d}.tar", shard_bytes, hashlib.sha256(f"{number}".encode()).hexdigest(), size)
        for number, size in enumerate(_shard_sizes(num_samples))
    )
    split = SplitInfo(
        num_samples, (0,), 0, shards, IndexInfo("train.index", len(index), hashlib.sha256(index).hexdigest())
    )
    grey = (0.5, 0.5, 0.5)
    options = PrepareOptions(samples_per_shard=SHARD_SAMPLES)
    return Manifest(SourceInfo("synthetic", DIGEST), options, LABELS, grey, grey, {"train": split})


def _in_tar(num_bytes: int) -> int:
    return TAR_BLOCK_BYTES + -(-num_bytes // TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES


def _shard_sizes(num_samples: int) -> list[int]:
    return [min(SHARD_SAMPLES, num_samples - first) for first in range(0, num_samples, SHARD_SAMPLES)]


def _start_in_a_process(uri: str, *, num_ranks: int) -> dict[str, float]:
    words = [uri, str(num_ranks // 2), str(num_ranks), str(8 * num_ranks)]
    done = subprocess.run(
        [sys.executable, "-m", "roadbed.bench.startup", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RoadbedError(f"{uri}: the process that measures the start failed:\n{done.stderr.strip()}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _measure_partition(shard_sizes: Sequence[int], *, num_ranks: int) -> Partition:
    global_batch = 8 * num_ranks
    counts = np.zeros(sum(shard_sizes), np.int64)
    begun = time.perf_counter()
    first_batch_s = 0.0
    for rank in range(num_ranks):
        order = _order(shard_sizes, global_batch=global_batch)
        lanes = lanes_of_rank(rank, num_ranks=num_ranks, num_lanes=global_batch)
        for number in range(order.num_batches):
            np.add.at(counts, order.batch(number, lanes), 1)
            first_batch_s = first_batch_s or time.perf_counter() - begun
    all_ranks_s = time.perf_counter() - begun
    return Partition(num_ranks, global_batch, order.num_batches, first_batch_s, all_ranks_s, bool((counts == 1).all()))


def _measure_batches(num_samples: int) -> BatchCost:
    shard_sizes = _shard_sizes(num_samples)
    lanes = lanes_of_rank(3, num_ranks=8, num_lanes=64)
    order_s, batch_s = [], []
    for _ in range(NUM_ROUNDS):
        begun = time.perf_counter()
        order = _order(shard_sizes, global_batch=64)
        ordered = time.perf_counter()
        num_batches = min(order.num_batches, MAX_BATCHES)
        for number in range(num_batches):
            order.batch(number, lanes)
        order_s.append(ordered - begun)
        batch_s.append((time.perf_counter() - ordered) / num_batches)
    return BatchCost(num_samples, len(shard_sizes), 1e3 * median(order_s), 1e6 * median(batch_s))


def _order(shard_sizes: Sequence[int], *, global_batch: int) -> EpochOrder:
    return EpochOrder(shard_sizes, digest=DIGEST, seed=0, epoch=0, global_batch=global_batch, window_shards=4)
