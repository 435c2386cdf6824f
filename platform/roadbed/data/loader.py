"""From shards in the store to batches of pixels: shards are read whole, ahead of time, and decoded in threads.

Pixels stay uint8 up to the model, which normalises them on its own device. Batches come in the order of `order.py`,
whatever the number of threads or ranks.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from threading import Lock
from typing import Any

import numpy as np

from roadbed.data.augment import Augmenter
from roadbed.data.dataset import Split
from roadbed.data.order import EpochOrder, augmentation_seed, batches_of_rank, lanes_of_rank
from roadbed.spec import DataSpec

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Pair = tuple[Pixels, Pixels]


@dataclass(frozen=True)
class Batch:
    """One rank's share of a global batch; it may be empty in the last batch of an epoch."""

    epoch: int
    number: int
    samples: tuple[int, ...]
    images_BHW3: Pixels
    masks_BHW: Pixels


class ShardReader:
    """Whole shards of a split, read in background threads and kept in memory up to `budget_bytes`."""

    def __init__(self, split: Split, *, budget_bytes: int, num_threads: int = 2) -> None:
        self._split = split
        self._budget_bytes = budget_bytes
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="roadbed-shards")
        self._shards: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._lock = Lock()

    def request(self, shard: int) -> Future[bytes]:
        """The shard's bytes, now or soon. A failed read is raised by the future, and tried anew by the next request."""
        with self._lock:
            known = self._shards.get(shard)
            if known is None or (known.done() and known.exception()):
                known = self._shards[shard] = self._pool.submit(self._split.read_shard, shard)
            self._shards.move_to_end(shard)
            self._forget_oldest()
            return known

    def close(self) -> None:
        """Stop reading; what was asked for and not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._shards.clear()

    def _forget_oldest(self) -> None:
        held_bytes = sum(self._split.shards[shard].num_bytes for shard in self._shards)
        while held_bytes > self._budget_bytes and len(self._shards) > 1:
            shard, _ = self._shards.popitem(last=False)
            held_bytes -= self._split.shards[shard].num_bytes


class Loader:
    """Batches of one split for one rank. Close it, or use it as a context manager: it owns threads."""

    def __init__(
        self, split: Split, *, digest: str, spec: DataSpec, rank: int, num_ranks: int, num_threads: int
    ) -> None:
        self.split = split
        self._digest = digest
        self._spec = spec
        self._rank, self._num_ranks = rank, num_ranks
        self._shards = ShardReader(split, budget_bytes=spec.memory_mb * 1_000_000)
        self._decoders = ThreadPoolExecutor(num_threads, thread_name_prefix="roadbed-decode")

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads."""
        self._decoders.shutdown(wait=True, cancel_futures=True)
        self._shards.close()

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
        self, augment: Augmenter, *, epoch: int, first_batch: int, seed: int, global_batch: int
    ) -> Iterator[Batch]:
        """This rank's shares of the global batches of an epoch, from `first_batch` on, augmented.

        Raises DamagedError or StoreError where a shard cannot be read.
        """
        order = self.order(epoch, seed=seed, global_batch=global_batch)
        lanes = lanes_of_rank(self._rank, num_ranks=self._num_ranks, num_lanes=global_batch)

        def augmented(sample: int) -> Pair:
            image_HW3, mask_HW = self._decoded(sample)
            return augment(
                image_HW3, mask_HW, seed=augmentation_seed(self._digest, seed=seed, epoch=epoch, sample=sample)
            )

        numbers = range(first_batch, order.num_batches)
        shares = (order.batch(number, lanes).tolist() for number in numbers)
        for number, share in zip(numbers, self._ahead(shares, augmented), strict=True):
            yield Batch(
                epoch, number, tuple(sample for sample, _ in share), *self._stacked([pair for _, pair in share])
            )

    def evaluation_batches(self, batch_size: int) -> Iterator[Batch]:
        """This rank's canonical evaluation batches: whole frames in order, as they are.

        A canonical batch whose frames differ in size comes as several, each of one size.
        """
        batches = batches_of_rank(
            self._rank, num_ranks=self._num_ranks, num_samples=self.split.num_samples, batch_size=batch_size
        )
        for number, share in enumerate(self._ahead(iter(batches), self._decoded)):
            for _, group in groupby(share, key=lambda item: item[1][0].shape):
                same_size = list(group)
                samples = tuple(sample for sample, _ in same_size)
                yield Batch(0, number, samples, *self._stacked([pair for _, pair in same_size]))

    def _ahead(self, shares: Iterator[Sequence[int]], work: Callable[[int], Pair]) -> Iterator[list[tuple[int, Pair]]]:
        """The result of `work` for the samples of every share, in order, computed some shares ahead."""
        pending: deque[list[tuple[int, Future[Pair]]]] = deque()
        for share in shares:
            for sample in share:
                self._shards.request(self.split.index.shard_of(sample))
            pending.append([(sample, self._decoders.submit(work, sample)) for sample in share])
            if len(pending) > self._spec.prefetch_batches:
                yield [(sample, future.result()) for sample, future in pending.popleft()]
        for waiting in pending:
            yield [(sample, future.result()) for sample, future in waiting]

    def _decoded(self, sample: int) -> Pair:
        shard_bytes = self._shards.request(self.split.index.shard_of(sample)).result()
        return self.split.decode(sample, shard_bytes)

    def _stacked(self, pairs: Sequence[Pair]) -> Pair:
        if not pairs:
            height, width = self._spec.crop_px
            return np.empty((0, height, width, 3), np.uint8), np.empty((0, height, width), np.uint8)
        return np.stack([image_HW3 for image_HW3, _ in pairs]), np.stack([mask_HW for _, mask_HW in pairs])
