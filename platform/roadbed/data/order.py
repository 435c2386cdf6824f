"""The order in which samples are seen: lanes.

An epoch's order is a pure function of (dataset digest, seed, epoch, global batch, shards per window). Shards are
permuted, samples are shuffled within windows of a few shards, and the sequence so made is cut into as many lanes as a
global batch has samples. Global batch i takes item i of every lane.

The remainder: with N samples and G lanes, the first N mod G lanes hold one sample more than the others, so that the
last global batch is the short one and every sample comes exactly once.

A rank owns contiguous lanes, so it reads its own part of the shards only, and any number of ranks from 1 to G sees the
same global batches. The state of a run in the order is (epoch, next batch).

Random numbers are raw 64-bit words of PCG64, sorted: that stream is fixed, while numpy's `permutation` may change from
one version to the next and would break runs that are resumed after an update. Seeds of augmentation, one per sample and
epoch, are SplitMix64's, which costs a tenth.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

IntArray = np.ndarray[tuple[int], np.dtype[np.int64]]

_SHARDS, _SAMPLES, _AUGMENTATION = 0, 1, 2
_64_BITS = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class EpochOrder:
    """The sample order of one epoch.

    `shard_sizes[s]` is the number of samples in shard s; samples are numbered from 0 in the order of the shards.
    Windows are shuffled when they are first needed, so the cost of a batch does not depend on the dataset's size.
    """

    def __init__(
        self,
        shard_sizes: Sequence[int],
        *,
        digest: str,
        seed: int,
        epoch: int,
        global_batch: int,
        window_shards: int,
    ) -> None:
        self._entropy = (_digest_word(digest), seed, epoch)
        sizes = np.asarray(shard_sizes, dtype=np.int64)
        self.num_samples = int(sizes.sum())
        self.num_lanes = global_batch
        self.num_batches = -(-self.num_samples // global_batch)
        self._first_sample = np.cumsum(sizes) - sizes
        self._sizes = sizes
        self._shards = _permutation(len(sizes), (*self._entropy, _SHARDS))
        self._window_shards = window_shards
        ends = np.cumsum(sizes[self._shards])
        last_shards = np.arange(window_shards - 1, len(sizes) + window_shards - 1, window_shards)
        self._window_ends = ends[np.minimum(last_shards, len(sizes) - 1)]
        self._window_starts = np.concatenate([[0], self._window_ends[:-1]])
        self._window = lru_cache(maxsize=2 * global_batch + 2)(self._shuffled_window)

    def batch(self, number: int, lanes: range) -> IntArray:
        """Sample numbers that global batch `number` takes from `lanes`, in the order of the lanes.

        Fewer than `len(lanes)` in the last batch, where a lane may have ended.
        """
        return self._samples(number, lanes, further=0.0)

    def partners(self, number: int, lanes: range) -> IntArray:
        """For each sample of `batch` another one of its window, by half the window further on in the shuffled order.

        Every sample of an epoch is the partner of one sample, and of another one in another epoch. A window of a
        single sample has no other: it is its own partner.
        """
        return self._samples(number, lanes, further=0.5)

    def _samples(self, number: int, lanes: range, *, further: float) -> IntArray:
        """What lies `further` windows behind the places of a batch, from a window's end on at its beginning again."""
        short, long_lanes = divmod(self.num_samples, self.num_lanes)
        own_lanes = np.arange(lanes.start, lanes.stop)
        going_lanes = own_lanes[number < short + (own_lanes < long_lanes)]
        positions = going_lanes * short + np.minimum(going_lanes, long_lanes) + number
        windows = np.searchsorted(self._window_ends, positions, side="right")
        sizes = self._window_ends[windows] - self._window_starts[windows]
        places = (positions - self._window_starts[windows] + (further * sizes).astype(np.int64)) % sizes
        samples = (self._window(window)[place] for window, place in zip(windows.tolist(), places.tolist(), strict=True))
        return np.fromiter(samples, np.int64, len(positions))

    def _shuffled_window(self, window: int) -> IntArray:
        shards = self._shards[window * self._window_shards : (window + 1) * self._window_shards]
        samples = np.concatenate([self._first_sample[s] + np.arange(self._sizes[s]) for s in shards])
        return samples[_permutation(len(samples), (*self._entropy, _SAMPLES, window))]


def lanes_of_rank(rank: int, *, num_ranks: int, num_lanes: int) -> range:
    """The contiguous lanes that a rank owns. Every lane has one owner, and shares differ by one lane at most."""
    return range(rank * num_lanes // num_ranks, (rank + 1) * num_lanes // num_ranks)


def batches_of_process(first: int, num_batches: int, *, process: int, num_processes: int) -> range:
    """The numbers of the batches that one of a rank's loader processes makes: `first`, first + 1, ... dealt in turn.

    `num_batches` is that of the whole epoch. torch's DataLoader asks its workers in turn, so the batches come in the
    order of their numbers however many workers there are.
    """
    return range(first + process, num_batches, num_processes)


def batches_of_rank(rank: int, *, num_ranks: int, num_samples: int, batch_size: int) -> list[range]:
    """The evaluation batches of a rank: samples in order, cut into canonical batches, whole batches to ranks.

    The cut does not depend on the number of ranks, and nothing is padded, so the sum of counts over ranks is that of
    one process.
    """
    num_batches = -(-num_samples // batch_size)
    return [
        range(number * batch_size, min((number + 1) * batch_size, num_samples))
        for number in lanes_of_rank(rank, num_ranks=num_ranks, num_lanes=num_batches)
    ]


def augmentation_seed(digest: str, *, seed: int, epoch: int, sample: int) -> int:
    """The 32-bit seed of one sample's augmentation in one epoch, whoever draws it and whenever."""
    return _mixed((_augmentation_word(digest, seed, epoch) + _GOLDEN * sample) & _64_BITS) >> 32


@lru_cache(maxsize=16)
def _augmentation_word(digest: str, seed: int, epoch: int) -> int:
    return int(_words(1, (_digest_word(digest), seed, epoch, _AUGMENTATION))[0])


def _mixed(word: int) -> int:
    """64 bits of which each depends on all of `word`: the output function of SplitMix64 (Steele et al., 2014)."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _64_BITS
    return word ^ (word >> 31)


def _permutation(length: int, entropy: tuple[int, ...]) -> IntArray:
    return np.argsort(_words(length, entropy), kind="stable")


def _words(length: int, entropy: tuple[int, ...]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(length)


def _digest_word(digest: str) -> int:
    return int(digest[:16], 16)
