"""How well the sample order mixes: what `roadbed bench order` measures, beside a full permutation of all samples.

Neighbours in the shards are near-duplicates of one video. A batch should hold few of them, and the batches of any
stretch of an epoch should have the classes of the whole dataset. Pure but for `samples_of`, which reads a split.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roadbed.data.dataset import Split
from roadbed.data.order import EpochOrder

NEAR_PLACES = 8
WINDOWS = (1, 4, 16)
NUM_EPOCHS = 5
# Drift is measured over stretches of this share of an epoch.
STRETCH_SHARE = 0.05
SYNTHETIC_DIGEST = hashlib.sha256(b"synthetic").hexdigest()


@dataclass(frozen=True)
class Samples:
    """What an order is judged on: samples in the order of the shards.

    `sequences_N` numbers the video of each sample; `values_NK` are its shares of classes (or any values to be mixed).
    """

    shard_sizes: tuple[int, ...]
    sequences_N: np.ndarray
    values_NK: np.ndarray
    digest: str


@dataclass(frozen=True)
class Mixing:
    """How one window mixes. `window_shards` of all shards is a full permutation.

    `near_percent`: samples that share their batch with one at most 8 places away in the shards.
    `apart_percent`: batches between neighbours of the shards, median, in percent of an epoch.
    `sequences`: different sequences in a batch, mean.
    `batch_deviation`, `drift`: how far the mean values of batches, and of stretches of 5 % of an epoch, deviate from
    those of the dataset, relative to what random samples without replacement would; 1 is as good as random.
    """

    window_shards: int
    is_full: bool
    near_percent: float
    apart_percent: float
    sequences: float
    batch_deviation: float
    drift: float


def synthetic_samples(num_shards: int = 400, *, shard_samples: int = 250, sequence_frames: int = 300) -> Samples:
    """A dataset of long videos, each with a value of its own that all its frames share: the hardest to mix."""
    sequences_N = np.arange(num_shards * shard_samples) // sequence_frames
    values = np.random.default_rng(0).normal(size=int(sequences_N[-1]) + 1)
    return Samples((shard_samples,) * num_shards, sequences_N, values[sequences_N][:, None], SYNTHETIC_DIGEST)


def samples_of(split: Split, *, num_classes: int, digest: str) -> Samples:
    """The samples of a prepared split; reads every mask. A sequence is a key without the number at its end."""
    names = [re.sub(r"\d+$", "", split.key(sample)) for sample in range(split.num_samples)]
    masks = (split.read_sample(sample)[1] for sample in range(split.num_samples))
    shares = [np.bincount(mask_HW.ravel(), minlength=256)[:num_classes] / mask_HW.size for mask_HW in masks]
    return Samples(tuple(split.shard_sizes), np.unique(names, return_inverse=True)[1], np.array(shares), digest)


def measure_mixing(samples: Samples, *, global_batch: int, windows: Sequence[int] = WINDOWS) -> list[Mixing]:
    """A row for every window that is smaller than the dataset, and the full permutation last."""
    num_shards = len(samples.shard_sizes)
    sizes = [*(window for window in windows if window < num_shards), num_shards]
    return [_measure_window(samples, global_batch=global_batch, window_shards=window) for window in sizes]


def full_batches(samples: Samples, *, global_batch: int, window_shards: int, epoch: int) -> np.ndarray:
    """The samples of all whole global batches of an epoch, (batches, global_batch)."""
    order = EpochOrder(
        samples.shard_sizes,
        digest=samples.digest,
        seed=0,
        epoch=epoch,
        global_batch=global_batch,
        window_shards=window_shards,
    )
    lanes = range(global_batch)
    return np.stack([order.batch(number, lanes) for number in range(order.num_samples // global_batch)])


def _measure_window(samples: Samples, *, global_batch: int, window_shards: int) -> Mixing:
    epochs = [
        full_batches(samples, global_batch=global_batch, window_shards=window_shards, epoch=epoch)
        for epoch in range(NUM_EPOCHS)
    ]
    stretch = max(1, round(STRETCH_SHARE * len(epochs[0])))
    return Mixing(
        window_shards,
        window_shards == len(samples.shard_sizes),
        near_percent=100 * float(np.mean([_near_share(batches_BG) for batches_BG in epochs])),
        apart_percent=100 * float(np.median(np.concatenate([_apart(batches_BG) for batches_BG in epochs]))),
        sequences=float(np.mean([_num_sequences(samples.sequences_N[batches_BG]) for batches_BG in epochs])),
        batch_deviation=_deviation(samples.values_NK, epochs, num_batches=1),
        drift=_deviation(samples.values_NK, epochs, num_batches=stretch),
    )


def _near_share(batches_BG: np.ndarray) -> float:
    is_near = np.diff(np.sort(batches_BG, axis=1), axis=1) <= NEAR_PLACES
    has_near = np.pad(is_near, ((0, 0), (1, 0))) | np.pad(is_near, ((0, 0), (0, 1)))
    return float(has_near.mean())


def _apart(batches_BG: np.ndarray) -> np.ndarray:
    """For every two neighbours of the shards the batches between them, as a share of the epoch."""
    num_batches, global_batch = batches_BG.shape
    by_sample = np.argsort(batches_BG, axis=None) // global_batch
    return np.asarray(np.abs(np.diff(by_sample)) / num_batches)


def _num_sequences(sequences_BG: np.ndarray) -> np.ndarray:
    return np.asarray(1 + (np.diff(np.sort(sequences_BG, axis=1), axis=1) > 0).sum(axis=1))


def _deviation(values_NK: np.ndarray, epochs: Sequence[np.ndarray], *, num_batches: int) -> float:
    """Deviation of the means of `num_batches` batches in a row, relative to that of as many random samples.

    The variance of the mean of n samples out of N without replacement is s^2 / n * (N - n) / (N - 1).
    """
    num_samples, num_drawn = len(values_NK), num_batches * epochs[0].shape[1]
    centred_NK = values_NK - values_NK.mean(axis=0)
    squares = []
    for batches_BG in epochs:
        whole_BG = batches_BG[: len(batches_BG) // num_batches * num_batches]
        means_MK = centred_NK[whole_BG.reshape(-1, num_drawn)].mean(axis=1)
        squares.append((means_MK**2).mean(axis=0).sum())
    expected = (centred_NK**2).mean(axis=0).sum() / num_drawn * (num_samples - num_drawn) / (num_samples - 1)
    return float(np.sqrt(np.mean(squares) / expected))
