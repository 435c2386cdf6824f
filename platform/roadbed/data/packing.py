"""From samples of a source to one shard in a store, with the counts that dataset.json wants. Knows no other shard.

Holds one sample in memory at a time; the shard grows in a scratch file and is uploaded whole.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import numpy as np

from roadbed.data.encoding import IMAGE_SUFFIXES, encode_image, encode_mask
from roadbed.data.manifest import Channels, PrepareOptions, ShardInfo
from roadbed.data.shards import SampleRecord, ShardWriter
from roadbed.data.sources import RefT, Source
from roadbed.errors import DataError
from roadbed.storage import Store

MAX_SIDE_PX = 65535


@dataclass(frozen=True)
class ShardPlan(Generic[RefT]):
    """Which samples a shard will hold; fixed before anything is encoded."""

    split: str
    key: str
    refs: tuple[RefT, ...]


@dataclass(frozen=True)
class PackedShard:
    """A shard of `split` that lies in the store.

    `mask_counts_256` counts pixels by id, `channel_counts_3x256` by channel and value; both int64.
    """

    split: str
    info: ShardInfo
    records: tuple[SampleRecord, ...]
    mask_counts_256: np.ndarray
    channel_counts_3x256: np.ndarray


def pack_shard(
    plan: ShardPlan[RefT],
    source: Source[RefT],
    store: Store,
    *,
    options: PrepareOptions,
    count: Callable[[], None],
) -> PackedShard:
    """Read, encode and upload the samples of `plan`; `count` is called after each.

    Raises DataError for a sample that cannot be read or stored, StoreError when the upload fails.
    """
    mask_counts_256 = np.zeros(256, np.int64)
    channel_counts_3x256 = np.zeros((3, 256), np.int64)
    with tempfile.TemporaryDirectory(prefix="roadbed-") as folder:
        path = Path(folder) / "shard.tar"
        with path.open("wb") as file:
            writer = ShardWriter(file)
            for ref in plan.refs:
                image_HW3, mask_HW = source.read(ref)
                mask_counts = np.bincount(mask_HW.ravel(), minlength=256)
                _check_sample(ref.key, image_HW3, mask_HW, mask_counts, source)
                mask_counts_256 += mask_counts
                channel_counts_3x256 += [np.bincount(image_HW3[..., c].ravel(), minlength=256) for c in range(3)]
                writer.add(
                    ref.key,
                    encode_image(image_HW3, encoding=options.image_encoding, jpeg_quality=options.jpeg_quality),
                    encode_mask(mask_HW),
                    image_suffix=IMAGE_SUFFIXES[options.image_encoding],
                    size_px=(mask_HW.shape[0], mask_HW.shape[1]),
                )
                count()
            writer.close()
        info = _upload(path, plan, store)
    return PackedShard(plan.split, info, tuple(writer.records), mask_counts_256, channel_counts_3x256)


def channel_moments(channel_counts_3x256: np.ndarray) -> tuple[Channels, Channels]:
    """Mean and standard deviation of each channel, values scaled to 0..1, rounded to 6 digits."""
    values_256 = np.arange(256) / 255
    num_pixels_3 = channel_counts_3x256.sum(axis=1)
    mean_3 = channel_counts_3x256 @ values_256 / num_pixels_3
    variance_3 = channel_counts_3x256 @ values_256**2 / num_pixels_3 - mean_3**2
    std_3 = np.sqrt(variance_3.clip(min=0))
    return _channels(mean_3), _channels(std_3)


def _channels(values_3: np.ndarray) -> Channels:
    red, green, blue = values_3.round(6).tolist()
    return red, green, blue


def _check_sample(
    key: str, image_HW3: np.ndarray, mask_HW: np.ndarray, mask_counts: np.ndarray, source: Source[RefT]
) -> None:
    if image_HW3.shape != (*mask_HW.shape, 3) or max(mask_HW.shape) > MAX_SIDE_PX:
        raise DataError(
            f"{key}: frame {image_HW3.shape} and mask {mask_HW.shape} must have the same height and width, "
            f"at most {MAX_SIDE_PX} pixels"
        )
    space = source.label_space
    is_stray_256 = mask_counts > 0
    is_stray_256[: space.num_classes] = False
    is_stray_256[space.ignore_id] = False
    if is_stray_256.any():
        strays = np.flatnonzero(is_stray_256).tolist()
        raise DataError(f"{key}: mask ids {strays} are no classes of {space.name} (0..{space.num_classes - 1})")


def _upload(path: Path, plan: ShardPlan[RefT], store: Store) -> ShardInfo:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    store.upload(path, plan.key, sha256=sha256)
    return ShardInfo(plan.key, path.stat().st_size, sha256, len(plan.refs))
