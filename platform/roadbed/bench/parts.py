"""What an image of a cold epoch costs, part by part: milliseconds of one core, each part by itself and in one thread.

Together they are the least that a cold epoch of this loader can take: what comes on top in `roadbed bench loader` is
the store's own work (if it runs on the same machine), threads that wait, and caches of the processor that are shared.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from roadbed.data.augment import Augmenter, training_transforms
from roadbed.data.cache import ShardCache
from roadbed.data.dataset import Dataset
from roadbed.data.jpeg_parts import Box
from roadbed.spec import DataSpec
from roadbed.storage import open_store

MOST_SAMPLES = 256
_ROUNDS = 3


def measure_parts(dataset: Dataset) -> dict[str, float]:
    """Milliseconds of one core per image of the train split, by part, in the order in which an image meets them.

    Of up to `MOST_SAMPLES` samples, and of the shards that hold them; the best of three rounds.
    """
    split, spec, store = dataset.split("train"), DataSpec(uri=dataset.uri), open_store(dataset.uri)
    samples = range(min(split.num_samples, MOST_SAMPLES))
    shards = split.shards[: split.index.shard_of(samples[-1]) + 1]
    num_fetched = sum(shard.num_samples for shard in shards)
    data = [store.get(shard.key) for shard in shards]
    ranges = [(split.index.shard_of(sample), *split.range_of(sample)) for sample in samples]
    encoded = [memoryview(data[shard])[start : start + num_bytes] for shard, start, num_bytes in ranges]

    def cached() -> None:
        with tempfile.TemporaryDirectory(prefix="roadbed-bench-") as folder:
            cache = ShardCache(Path(folder), max_bytes=2 * sum(map(len, data)) + 1_000_000)
            for shard, whole in zip(shards, data, strict=True):
                cache.fill(shard.sha256, len(whole), lambda whole=whole: whole)  # type: ignore[misc]

    def augmented(color_probability: float) -> tuple[float, float, float]:
        """Seconds for masks, for the crops of frames, and for what is then done to both."""
        colored = spec.model_copy(update={"color_probability": color_probability})
        augment = Augmenter(training_transforms(colored))
        return _augmented(split.decode_parts, augment, list(zip(samples, encoded, strict=True)), spec.crop_px)

    plain = np.array([augmented(0.0) for _ in range(_ROUNDS)]).min(0)
    colored_s = min(augmented(spec.color_probability)[2] for _ in range(_ROUNDS))
    return {
        "request and transfer": _ms(lambda: [store.get(shard.key) for shard in shards], num_fetched),
        "sha256": _ms(lambda: [hashlib.sha256(whole).digest() for whole in data], num_fetched),
        "file in the cache": _ms(cached, num_fetched),
        "mask": 1e3 * float(plain[0]) / len(samples),
        "crop of the frame": 1e3 * float(plain[1]) / len(samples),
        "resizing, mirroring, copying": 1e3 * float(plain[2]) / len(samples),
        "colours": 1e3 * max(0.0, colored_s - float(plain[2])) / len(samples),
    }


def _augmented(
    decode_parts: Callable[..., tuple[Callable[[Box], np.ndarray], np.ndarray]],
    augment: Augmenter,
    samples: list[tuple[int, memoryview]],
    size_px: tuple[int, int],
) -> tuple[float, float, float]:
    out = np.zeros((*size_px, 3), np.uint8), np.zeros(size_px, np.uint8)
    mask_s = crop_s = rest_s = 0.0
    for sample, data in samples:
        began = time.thread_time()
        cut, mask_HW = decode_parts(sample, data)
        mask_s += time.thread_time() - began
        spent: list[float] = []

        def timed(box: Box, cut: Callable[[Box], np.ndarray] = cut, spent: list[float] = spent) -> np.ndarray:
            began = time.thread_time()
            part_HW3 = cut(box)
            spent.append(time.thread_time() - began)
            return part_HW3

        began = time.thread_time()
        augment.into(timed, mask_HW, seed=sample, out=out)
        rest_s += time.thread_time() - began - sum(spent)
        crop_s += sum(spent)
    return mask_s, crop_s, rest_s


def _ms(work: Callable[[], object], num_images: int) -> float:
    """Milliseconds of one core per image, the best of the rounds."""
    best_s = float("inf")
    for _ in range(_ROUNDS):
        began = time.thread_time()
        work()
        best_s = min(best_s, time.thread_time() - began)
    return 1e3 * best_s / num_images
