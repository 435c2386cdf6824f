"""From samples of a source to one shard in a store, with the counts that dataset.json wants. Knows no other shard.

Holds one sample in memory at a time; the shard grows in a scratch file and is uploaded whole, its part after it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Generic

import numpy as np

from roadbed.data.encoding import IMAGE_SUFFIXES, MASK_SUFFIXES, encode_image, encode_mask
from roadbed.data.labels import LabelSpace
from roadbed.data.manifest import Channels, PrepareOptions, ShardInfo
from roadbed.data.parts import PackedShard, decode_part, encode_part, part_key
from roadbed.data.planning import ShardPlan
from roadbed.data.shards import ShardWriter, encode_index, escape_key
from roadbed.data.sources import RefT, Source
from roadbed.errors import DamagedError, DataError, NotFoundError
from roadbed.storage import Store
from roadbed.storage.checks import file_sha256

MAX_SIDE_PX = 65535


@dataclass(frozen=True)
class Packer(Generic[RefT]):
    """Makes shards below `folder` of `store`, anywhere: it pickles.

    `finished` names shards that a preparation before this one left there with their parts: they are taken if they are
    whole. `wanted` are the shards that a dataset.json names already, by key, for `mend`. With `is_check_only` samples
    are read, and nothing is encoded or written.
    """

    source: Source[RefT]
    store: Store
    folder: str
    options: PrepareOptions
    finished: frozenset[str] = frozenset()
    wanted: Mapping[str, ShardInfo] = field(default_factory=dict)
    is_check_only: bool = False

    def __call__(self, plan: ShardPlan[RefT]) -> PackedShard | list[str]:
        """The shard of `plan`, in the store now; or what is wrong with its samples, a line each, and no shard.

        Raises StoreError when the store fails.
        """
        with tempfile.TemporaryDirectory(prefix="roadbed-") as scratch:
            path = Path(scratch) / "shard.tar"
            if plan.name in self.finished and (found := self._take(plan, path)):
                return found
            with path.open("wb") as file:
                shard = self._write(plan, file)
            if shard.problems or self.is_check_only:
                return shard.problems
            return self._put(plan, path, shard)

    def mend(self, plan: ShardPlan[RefT]) -> bool | list[str]:
        """Whether the shard of `plan` now has the very bytes that are `wanted`; it is made only if it had not.

        False, and nothing is written, if other bytes came out. Or what is wrong with its samples, a line each.
        """
        info = self.wanted[shard_key(self.folder, plan.name)]
        with tempfile.TemporaryDirectory(prefix="roadbed-") as scratch:
            path = Path(scratch) / "shard.tar"
            try:
                self.store.download(info.key, path, sha256=info.sha256)
                return True
            except (DamagedError, NotFoundError):
                pass
            with path.open("wb") as file:
                shard = self._write(plan, file)
            if shard.problems:
                return shard.problems
            if file_sha256(path) != info.sha256:
                return False
            self.store.upload(path, info.key, sha256=info.sha256)
            return True

    def _take(self, plan: ShardPlan[RefT], path: Path) -> PackedShard | None:
        """The shard that is there already, if its part is whole and it has the very bytes that the part names."""
        try:
            packed = decode_part(self.store.get(part_key(self.folder, plan.name)))
            if packed is not None:
                self.store.download(packed.info.key, path, sha256=packed.info.sha256)
        except (DamagedError, NotFoundError):
            return None
        return packed

    def _write(self, plan: ShardPlan[RefT], file: IO[bytes]) -> _Shard:
        """Write the tar; from the first problem on samples are only looked at, so that all problems are told."""
        shard = _Shard(ShardWriter(file))
        for place, ref in enumerate(plan.refs):
            try:
                image_HW3, mask_HW = self._read(ref, shard)
                self._refuse_changed(ref, plan.digest(place))
            except DataError as error:
                shard.problems += dict.fromkeys((str(error), *self.source.check(ref)))
                continue
            if not (shard.problems or self.is_check_only):
                self._add(ref.key, image_HW3, mask_HW, shard.writer)
        shard.writer.close()
        return shard

    def _read(self, ref: RefT, shard: _Shard) -> tuple[np.ndarray, np.ndarray]:
        escape_key(ref.key)
        image_HW3, mask_HW = self.source.read(ref)
        mask_counts_256 = np.bincount(mask_HW.ravel(), minlength=256)
        _check_sample(ref.key, image_HW3, mask_HW, mask_counts_256, self.source.label_space)
        shard.mask_counts_256 += mask_counts_256
        shard.channel_counts_3x256 += [np.bincount(image_HW3[..., c].ravel(), minlength=256) for c in range(3)]
        return image_HW3, mask_HW

    def _refuse_changed(self, ref: RefT, digest: bytes) -> None:
        """Raises DataError if a sample is not what it was when the fingerprint was made, which would name others."""
        if digest and bytes.fromhex(self.source.digest(ref)) != digest:
            raise DataError(f"{ref.key}: changed while it was prepared; run it again")

    def _add(self, key: str, image_HW3: np.ndarray, mask_HW: np.ndarray, writer: ShardWriter) -> None:
        options = self.options
        writer.add(
            key,
            encode_image(
                image_HW3,
                encoding=options.image_encoding,
                jpeg_quality=options.jpeg_quality,
                jpeg_restarts=options.jpeg_restarts,
            ),
            encode_mask(mask_HW, encoding=options.mask_encoding),
            image_suffix=IMAGE_SUFFIXES[options.image_encoding],
            mask_suffix=MASK_SUFFIXES[options.mask_encoding],
            size_px=(mask_HW.shape[0], mask_HW.shape[1]),
        )

    def _put(self, plan: ShardPlan[RefT], path: Path, shard: _Shard) -> PackedShard:
        """Upload the shard and then its part, which says that the shard is there."""
        sha256 = file_sha256(path)
        key = shard_key(self.folder, plan.name)
        self.store.upload(path, key, sha256=sha256)
        space = self.source.label_space
        packed = PackedShard(
            split=plan.split,
            info=ShardInfo(key, path.stat().st_size, sha256, len(plan.refs)),
            class_pixels_K=shard.mask_counts_256[: space.num_classes].copy(),
            ignored_pixels=int(shard.mask_counts_256[space.ignore_id]),
            channel_sums_33=_channel_sums(shard.channel_counts_3x256),
            index=encode_index(shard.writer.records),
        )
        self.store.put(part_key(self.folder, plan.name), encode_part(packed))
        return packed


@dataclass
class _Shard:
    """A shard while it is written: pixels by mask id, and by channel and value (int64)."""

    writer: ShardWriter
    problems: list[str] = field(default_factory=list)
    mask_counts_256: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    channel_counts_3x256: np.ndarray = field(default_factory=lambda: np.zeros((3, 256), np.int64))


def shard_key(folder: str, name: str) -> str:
    """Where shard `name` of the dataset in `folder` lies."""
    return f"{folder}/{name}.tar"


def channel_moments(channel_sums_33: np.ndarray) -> tuple[Channels, Channels]:
    """Mean and standard deviation of each channel, values scaled to 0..1, rounded to 6 digits.

    Takes `PackedShard.channel_sums_33`, added over shards: whole numbers, so that their order plays no part.
    """
    num_pixels_3, sums_3, squares_3 = channel_sums_33.T
    mean_3 = sums_3 / num_pixels_3 / 255
    variance_3 = squares_3 / num_pixels_3 / 255**2 - mean_3**2
    return _channels(mean_3), _channels(np.sqrt(variance_3.clip(min=0)))


def _channel_sums(channel_counts_3x256: np.ndarray) -> np.ndarray:
    values_256 = np.arange(256)
    weights_256x3 = np.stack([np.ones_like(values_256), values_256, values_256**2], axis=1)
    return np.asarray(channel_counts_3x256 @ weights_256x3)


def _channels(values_3: np.ndarray) -> Channels:
    red, green, blue = values_3.round(6).tolist()
    return red, green, blue


def _check_sample(
    key: str, image_HW3: np.ndarray, mask_HW: np.ndarray, mask_counts_256: np.ndarray, space: LabelSpace
) -> None:
    if image_HW3.shape != (*mask_HW.shape, 3) or max(mask_HW.shape) > MAX_SIDE_PX:
        raise DataError(
            f"{key}: frame {image_HW3.shape} and mask {mask_HW.shape} must have the same height and width, "
            f"at most {MAX_SIDE_PX} pixels"
        )
    is_stray_256 = mask_counts_256 > 0
    is_stray_256[: space.num_classes] = False
    is_stray_256[space.ignore_id] = False
    if is_stray_256.any():
        strays = np.flatnonzero(is_stray_256).tolist()
        raise DataError(f"{key}: mask ids {strays} are no classes of {space.name} (0..{space.num_classes - 1})")
