"""From shards in the store to batches of pixels: read ahead, decoded and augmented in threads, straight into the batch.

Pixels stay uint8 up to the model, which normalises them on its own device; a `normalization` makes float32 batches for
those who want them. Batches come in the order of `order.py`, whatever the number of threads or ranks.

What decoding and augmenting cost is spent in code that lets go of Python's lock (libjpeg-turbo, OpenCV), so threads do
what other loaders need processes, pickles and shared memory for.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from typing import Any

import numpy as np

from roadbed.data.augment import Augmenter
from roadbed.data.cache import ShardCache
from roadbed.data.dataset import Split
from roadbed.data.memory import ShardMemory
from roadbed.data.order import EpochOrder, augmentation_seed, batches_of_process, batches_of_rank, lanes_of_rank
from roadbed.data.paste import Paste
from roadbed.data.reading import SampleReader
from roadbed.errors import DamagedError
from roadbed.spec import DataSpec

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Pair = tuple[Pixels, Pixels]

# A task of the decoding threads: enough samples that handing it over costs little, few enough to share a batch.
SAMPLES_PER_TASK = 4
READ_AHEAD_BYTES = 64_000_000
READ_AHEAD_BATCHES = 64
# Below this share of a shard its samples are read one by one: a request costs as much as some 150 kB.
RANGES_BELOW = 0.1


@dataclass(frozen=True)
class Batch:
    """One rank's share of a global batch; it may be empty in the last batch of an epoch.

    `images_BHW3` are uint8, or float32 from a loader with a normalization. `skipped` are the keys of samples of this
    share that are damaged in the store (`data.on_damaged: skip`).
    """

    epoch: int
    number: int
    samples: tuple[int, ...]
    images_BHW3: np.ndarray
    masks_BHW: Pixels
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Normalization:
    """What makes float32 frames of uint8 ones: (value / 255 - mean) / std, per channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Loader:
    """Batches of one split for one rank. Close it, or use it as a context manager: it owns threads.

    `cache` is the disk cache of this machine, if it has one for the split's store; `memory` is where shards are kept
    if that is shared with other loaders, else `data.memory_mb` of its own.
    """

    def __init__(
        self,
        split: Split,
        *,
        digest: str,
        spec: DataSpec,
        rank: int,
        num_ranks: int,
        num_threads: int,
        cache: ShardCache | None = None,
        memory: ShardMemory | None = None,
        normalization: Normalization | None = None,
    ) -> None:
        self.split = split
        self._digest = digest
        self._spec = spec
        self._rank, self._num_ranks = rank, num_ranks
        self._normalization = normalization
        self.reader = SampleReader(
            split,
            cache=cache,
            memory=memory or ShardMemory(spec.memory_mb * 1_000_000),
            by_ranges=cache is None and self._pays_ranges(),
            skips_damaged=spec.on_damaged == "skip",
        )
        self._decoders = ThreadPoolExecutor(num_threads, thread_name_prefix="roadbed-decode")
        self._begun: deque[Share] = deque()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads."""
        self._decoders.shutdown(wait=True, cancel_futures=True)
        self.reader.close()

    @property
    def num_ready(self) -> int:
        """Batches that are whole and wait to be taken. Any thread may ask."""
        return sum(share.is_whole for share in tuple(self._begun))

    def order(self, epoch: int, *, seed: int, global_batch: int) -> EpochOrder:
        """The sample order of an epoch of this split."""
        return EpochOrder(
            self.split.shard_sizes,
            digest=self._digest,
            seed=seed,
            epoch=epoch,
            global_batch=global_batch,
            window_shards=self._spec.window_shards,
        )

    def training_batches(
        self,
        augment: Augmenter,
        *,
        epoch: int,
        first_batch: int,
        seed: int,
        global_batch: int,
        process: int = 0,
        num_processes: int = 1,
    ) -> Iterator[Batch]:
        """This rank's shares of the global batches of an epoch, from `first_batch` on, augmented.

        Of several loader processes of the rank each makes every `num_processes`-th batch (see iterable.py).

        Raises DamagedError or StoreError where a sample cannot be read.
        """
        order = self.order(epoch, seed=seed, global_batch=global_batch)
        lanes = lanes_of_rank(self._rank, num_ranks=self._num_ranks, num_lanes=global_batch)

        paste = Paste.of(self._spec, self.split.class_pixels)

        def seed_of(sample: int) -> int:
            return augmentation_seed(self._digest, seed=seed, epoch=epoch, sample=sample)

        def augmented(sample: int, out: Pair) -> None:
            augment.into(*self.split.decode_parts(sample, self.reader.read(sample)), seed=seed_of(sample), out=out)

        def pasted(partners: dict[int, int], sample: int, out: Pair) -> None:
            augmented(sample, out)
            if paste is not None and paste.happens(seed_of(sample)):
                part = np.empty_like(out[0]), np.empty_like(out[1])
                with suppress(DamagedError) if self._spec.on_damaged == "skip" else nullcontext():
                    augmented(partners[sample], part)
                    paste.onto(out, part)

        def begin(number: int, samples: list[int]) -> Share:
            fill = augmented
            if paste is not None:
                fill = partial(pasted, dict(zip(samples, order.partners(number, lanes).tolist(), strict=True)))
            return Share(number, samples, self._spec.crop_px, fill, self._decoders, self._normalization)

        numbers = batches_of_process(first_batch, order.num_batches, process=process, num_processes=num_processes)
        shares = ((number, order.batch(number, lanes).tolist()) for number in numbers)
        for share in self._ahead(shares, begin, needed_bytes=self._window_bytes(len(lanes), num_lanes=global_batch)):
            yield self._finish(share, epoch)

    def evaluation_batches(self, batch_size: int) -> Iterator[Batch]:
        """This rank's canonical evaluation batches: whole frames in order, as they are.

        A canonical batch whose frames differ in size comes as several, each of one size.
        """

        def copied(sample: int, out: Pair) -> None:
            out[0][...], out[1][...] = self.split.decode(sample, self.reader.read(sample))

        def begin(number: int, samples: list[int]) -> Share:
            return Share(number, samples, self._size_px(samples[0]), copied, self._decoders, self._normalization)

        batches = batches_of_rank(
            self._rank, num_ranks=self._num_ranks, num_samples=self.split.num_samples, batch_size=batch_size
        )
        shares = (
            (number, list(same_size))
            for number, batch in enumerate(batches)
            for _, same_size in groupby(batch, key=self._size_px)
        )
        for share in self._ahead(shares, begin, needed_bytes=self._run_bytes(batch_size)):
            yield self._finish(share, 0)

    def _ahead(
        self,
        shares: Iterator[tuple[int, list[int]]],
        begin: Callable[[int, list[int]], Share],
        *,
        needed_bytes: int,
    ) -> Iterator[Share]:
        """The shares in order, begun some batches ahead; their shards are asked for further ahead than that."""
        self.reader.begin_epoch(needed_bytes=needed_bytes)
        requested: deque[tuple[int, list[int]]] = deque()
        begun = self._begun = deque()
        coming = next(shares, None)
        while True:
            while coming is not None and len(requested) < READ_AHEAD_BATCHES:
                shards = dict.fromkeys(map(self.split.index.shard_of, coming[1]))
                if len(begun) + len(requested) >= self._spec.prefetch_batches and not (
                    self.reader.outstanding_bytes < READ_AHEAD_BYTES and self.reader.may_read_ahead(shards)
                ):
                    break
                for shard in shards:
                    self.reader.request(shard)
                requested.append(coming)
                coming = next(shares, None)
            while requested and len(begun) < self._spec.prefetch_batches:
                begun.append(begin(*requested.popleft()))
            if not begun:
                return
            yield begun.popleft()

    def _finish(self, share: Share, epoch: int) -> Batch:
        samples, images_BHW3, masks_BHW, damaged = share.result()
        if damaged and self._spec.on_damaged == "fail":
            raise next(iter(damaged.values()))
        keys = tuple(self.split.key(sample) for sample in damaged)
        return Batch(epoch, share.number, samples, images_BHW3, masks_BHW, keys)

    def _size_px(self, sample: int) -> tuple[int, int]:
        record = self.split.index.record(sample)
        return record.height_px, record.width_px

    def _window_bytes(self, num_lanes_here: int, *, num_lanes: int) -> int:
        """Bytes of the shards that training has open: for each lane the window that it reads, and the next ones."""
        window_shards = self._spec.window_shards
        num_windows = math.ceil(len(self.split.shards) / window_shards)
        num_open = min(num_lanes_here, num_windows * num_lanes_here // num_lanes + 2)
        num_next = math.ceil(self._spec.prefetch_batches / (window_shards * self._samples_per_shard))
        return self._bytes_of((1 + num_next) * num_open * window_shards)

    def _run_bytes(self, batch_size: int) -> int:
        """Bytes of the shards that evaluation has open: those of the batches that are decoded, and the next ones."""
        num_open = math.ceil(self._spec.prefetch_batches * batch_size / self._samples_per_shard) + 1
        return self._bytes_of(2 * num_open)

    @property
    def _samples_per_shard(self) -> float:
        return max(self.split.num_samples / max(len(self.split.shards), 1), 1.0)

    def _bytes_of(self, num_shards: int) -> int:
        """Bytes of any `num_shards` of the split's shards, or of all if there are fewer."""
        return sum(sorted((shard.num_bytes for shard in self.split.shards), reverse=True)[:num_shards])

    def _pays_ranges(self) -> bool:
        """Whether this rank reads so few samples of each window of shards that the rest is not worth fetching."""
        if self.split.is_on_this_machine:
            return True
        window_samples = self.split.num_samples / max(len(self.split.shards), 1) * self._spec.window_shards
        return self.split.num_samples / self._num_ranks < RANGES_BELOW * window_samples


class Share:
    """A share of a batch that is being decoded: its arrays, and the tasks that fill them."""

    def __init__(
        self,
        number: int,
        samples: list[int],
        size_px: tuple[int, int],
        fill: Callable[[int, Pair], None],
        pool: ThreadPoolExecutor,
        normalization: Normalization | None,
    ) -> None:
        self.number = number
        self._samples = samples
        self._fill = fill
        self._normalization = normalization
        shape = (len(samples), *size_px)
        self._images_BHW3 = np.empty((*shape, 3), np.uint8)
        self._floats_BHW3 = None if normalization is None else np.empty((*shape, 3), np.float32)
        self._masks_BHW = np.empty(shape, np.uint8)
        self._tasks: list[Future[dict[int, DamagedError]]] = [
            pool.submit(self._work, range(first, min(first + SAMPLES_PER_TASK, len(samples))))
            for first in range(0, len(samples), SAMPLES_PER_TASK)
        ]

    @property
    def is_whole(self) -> bool:
        """Whether all its samples are there."""
        return all(task.done() for task in self._tasks)

    def result(self) -> tuple[tuple[int, ...], np.ndarray, Pixels, dict[int, DamagedError]]:
        """Samples, frames, masks, and the error of each sample that is damaged and therefore not among them."""
        damaged: dict[int, DamagedError] = {}
        for task in self._tasks:
            damaged |= task.result()
        images_BHW3 = self._images_BHW3 if self._floats_BHW3 is None else self._floats_BHW3
        if not damaged:
            return tuple(self._samples), images_BHW3, self._masks_BHW, damaged
        whole = [place for place, sample in enumerate(self._samples) if sample not in damaged]
        return tuple(self._samples[place] for place in whole), images_BHW3[whole], self._masks_BHW[whole], damaged

    def _work(self, places: range) -> dict[int, DamagedError]:
        damaged = {}
        for place in places:
            try:
                self._fill(self._samples[place], (self._images_BHW3[place], self._masks_BHW[place]))
            except DamagedError as error:
                damaged[self._samples[place]] = error
                continue
            if self._normalization is not None and self._floats_BHW3 is not None:
                _normalize(self._images_BHW3[place], self._normalization, out=self._floats_BHW3[place])
        return damaged


def _normalize(image_HW3: Pixels, normalization: Normalization, *, out: np.ndarray) -> None:
    """A whole row at a time: numpy's inner loop over three channels would take six times as long."""
    mean_row, scale_row = _rows(normalization, image_HW3.shape[1])
    rows = out.reshape(out.shape[0], -1)
    np.subtract(image_HW3.reshape(rows.shape), mean_row, out=rows, dtype=np.float32)
    np.multiply(rows, scale_row, out=rows)


@lru_cache(maxsize=16)
def _rows(normalization: Normalization, num_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of every value of a row of `num_columns` pixels, float32."""
    mean_3, std_3 = (np.array(values, np.float32) * 255 for values in (normalization.mean, normalization.std))
    return np.tile(mean_3, num_columns), np.tile(1 / std_3, num_columns)
